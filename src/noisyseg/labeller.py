"""Tissue labels of a head by expectation maximisation: the open software labeller.

A Gaussian mixture with several parts per class explains the intensities of one or more
channels; an aligned atlas, deformed along the way, says where each class may lie; a
Markov random field ties neighbours; a smooth field models uneven coil sensitivity.
The lineage is Van Leemput et al., IEEE TMI 1999 (EM, atlas, bias field, MRF) and
Ashburner & Friston, NeuroImage 2005 (several Gaussians per class, deformed atlas).

Axis letters: B basis function, C class, K mixture part, N voxels, D channels.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from noisyseg import markov, mixtures, volume, warping
from noisyseg.volume import Volume

HEAD_PARTS = (2, 1, 1, 2, 3, 4, 1, 1, 1)


@dataclass(frozen=True)
class Settings:
    """What the labeller assumes about a head.

    Parameters
    ----------
    parts : tuple of int
        Gaussians per class, in class order.
    schedule : tuple of (float, int)
        Blur of the priors in mm and EM steps, coarse to fine.
    prior_floor : float
        Added to the prior of every class that the atlas knows, so that a misplaced
        atlas can find its way.
    final_floor : float
        The same for the labels themselves.
    final_blur_mm : float
        Blur of the priors for the labels themselves.
    tied : tuple of tuple of int
        Groups of classes whose Gaussians are drawn to a common covariance: brain and
        fluids, air outside and inside the head.
    tie : float
        How far, from 0 to 1.
    shared : tuple of tuple of int
        Groups of classes that have Gaussians in common: fluids, air.
    mrf : float
        Weight of a pair of neighbours; 0 leaves the voxelwise answer.
    mrf_steps : int
        Mean-field sweeps.
    bias_order : int
        Highest order of the polynomials in the log of the bias field.
    stiffness_mm : float
        Standard deviation of the Gaussian that smooths the atlas's deformation.
    limit_mm : float
        Longest step of the deformation; 0 keeps the affine atlas.
    work_mm : float
        Spacing of the voxels from which everything but the labels is estimated.
    """

    parts: tuple[int, ...] = HEAD_PARTS
    schedule: tuple[tuple[float, int], ...] = ((8.0, 8), (5.0, 8), (3.0, 10))
    prior_floor: float = 1e-3
    final_floor: float = 1e-4
    final_blur_mm: float = 1.5
    tied: tuple[tuple[int, ...], ...] = ((1, 2, 3, 7, 8), (0, 6))
    tie: float = 0.5
    shared: tuple[tuple[int, ...], ...] = ((3, 7, 8), (0, 6))
    mrf: float = 0.4
    mrf_steps: int = 3
    bias_order: int = 3
    stiffness_mm: float = 6.0
    limit_mm: float = 4.0
    work_mm: float = 6.0


def segment(channels, priors, *, settings=None, device="cpu"):
    """Labels of a head from its T1, or T1 and T2.

    Parameters
    ----------
    channels : list of Volume
        One or more images of a head on one grid, canonical axes.
    priors : float32 array of shape (C, X, Y, Z)
        Aligned class probabilities; class 0 is the background.
    settings : Settings, optional
    device : str
        Where torch computes.

    Returns
    -------
    Volume with uint8 data on the grid of the channels; background lies outside only,
    what the head encloses takes its next best class

    Raises
    ------
    ValueError
        Grids that differ, NaN or infinity, a constant image, priors of another shape.
    """
    settings = settings or Settings()
    _check_input(channels, priors, settings)
    spacing_mm = channels[0].spacing_mm
    box = _head_box(priors[0], spacing_mm)
    x = torch.from_numpy(np.stack([_scaled(v.data, box) for v in channels])).to(device)
    prior = torch.from_numpy(
        np.ascontiguousarray(priors[(slice(None), *box)], np.float32)
    ).to(device)
    mixture, bias, displacement = _fit(x, prior, spacing_mm, settings)
    basis = _basis(x.shape[1:], settings.bias_order, device)
    x = x / torch.exp(bias @ basis).reshape(x.shape)
    prior = warping.smooth(prior, settings.final_blur_mm, spacing_mm)
    prior = warping.warp(prior, displacement, spacing_mm)
    resp = _classify(x, prior, mixture, spacing_mm, settings)
    labels = np.zeros(channels[0].shape, np.uint8)
    labels[box] = _most_likely(resp).cpu().numpy()
    holes = ndimage.binary_fill_holes(labels > 0) & (labels == 0)
    enclosed = resp[1:, torch.from_numpy(holes[box]).to(device)]
    labels[holes] = 1 + enclosed.argmax(0).cpu().numpy()
    return Volume(labels, channels[0].affine)


def _fit(x, prior, spacing_mm, settings):
    """Mixture, bias coefficients and displacement from every stride-th voxel."""
    stride = [max(1, round(settings.work_mm / s)) for s in spacing_mm]
    every = (slice(None), *(slice(None, None, n) for n in stride))
    coarse_mm = [s * n for s, n in zip(spacing_mm, stride, strict=True)]
    thin, sharp = x[every], prior[every].contiguous()
    flat = thin.reshape(len(x), -1).T
    basis = _basis(thin.shape[1:], settings.bias_order, x.device)
    bias = torch.zeros(len(x), len(basis), device=x.device)
    displacement = torch.zeros(3, *thin.shape[1:], device=x.device)
    mixture = None
    floor = settings.prior_floor * _known(prior)
    for blur_mm, steps in settings.schedule:
        blurred = warping.smooth(sharp, blur_mm, coarse_mm)
        for _ in range(steps):
            local = warping.warp(blurred, displacement, coarse_mm) + floor
            even = flat / torch.exp(bias @ basis).T
            mixture, resp = _em_step(even, local.flatten(1), mixture, settings)
            classes = mixtures.members(mixture.owner, len(prior)) @ resp
            bias = bias + _bias_step(even, resp, mixture, basis)
            displacement = warping.demons_step(
                local,
                classes.reshape(local.shape),
                displacement,
                coarse_mm,
                stiffness_mm=settings.stiffness_mm,
                limit_mm=settings.limit_mm,
            )
    return mixture, bias, warping.upsample(displacement, x.shape[1:], stride)


def _em_step(x, prior, mixture, settings):
    """The mixture after one E and one M step, and the responsibilities (K, N)."""
    if mixture is None:
        mixture = mixtures.first_mixture(x, prior, settings.parts)
    weights = mixture.weights[:, None] * prior[mixture.owner]
    resp = mixtures.expectation(x, mixture.means, mixture.covariances, weights)
    mixture = mixtures.refit(x, resp, mixture.owner, len(prior))
    mass = resp.sum(1)
    mixture = mixtures.tie_covariances(mixture, mass, settings.tied, settings.tie)
    return mixtures.share_parts(mixture, mass, settings.shared), resp


def _known(prior):
    """1 for a class that the atlas knows, 0 for one that it lacks, (C, 1, 1, 1)."""
    return (prior.amax((1, 2, 3), keepdim=True) > 0).float()


def _basis(shape, order, device):
    """Products of Legendre polynomials up to a total order, (B, N), no constant."""
    axes = [
        torch.from_numpy(
            np.polynomial.legendre.legvander(np.linspace(-1, 1, size), order)
        ).to(device, torch.float32)
        for size in shape
    ]
    columns = [
        torch.einsum("i,j,k->ijk", axes[0][:, i], axes[1][:, j], axes[2][:, k])
        for i in range(order + 1)
        for j in range(order + 1 - i)
        for k in range(order + 1 - i - j)
        if i + j + k > 0
    ]
    if not columns:
        return torch.zeros(0, math.prod(shape), device=device)
    return torch.stack(columns).flatten(1)


def _bias_step(x, resp, mixture, basis):
    """Gauss-Newton step (D, B) of the log bias coefficients, channel by channel.

    Minimises ``sum resp (x - mean (1 + step @ basis))^2 / variance`` (Van Leemput et
    al. 1999, in the intensity domain), with a slight pull to zero.
    """
    steps = []
    for channel in range(x.shape[1]):
        mean = mixture.means[:, channel]
        precision = 1 / mixture.covariances[:, channel, channel]
        weight = (mean**2 * precision) @ resp
        pull = (mean * precision) @ resp * x[:, channel] - weight
        normal = (basis * weight) @ basis.T
        ridge = 1e-4 * weight.sum() * torch.eye(len(basis), device=x.device)
        steps.append(torch.linalg.solve(normal + ridge, basis @ pull))
    return torch.stack(steps)


def _head_box(outside, spacing_mm, margin_mm=12.0):
    """Slices around all voxels where something other than background may lie."""
    head = outside[::2, ::2, ::2] < 0.95
    box = []
    for axis, (size, spacing) in enumerate(zip(outside.shape, spacing_mm, strict=True)):
        found = np.flatnonzero(head.any(tuple(a for a in range(3) if a != axis)))
        low, high = (2 * found[0], 2 * found[-1]) if len(found) else (0, size)
        margin = math.ceil(margin_mm / spacing)
        box.append(slice(max(0, low - margin), min(size, high + margin + 1)))
    return tuple(box)


def _classify(x, prior, mixture, spacing_mm, settings):
    """Posterior probabilities (C, X, Y, Z) with the Markov field."""
    unary = mixtures.class_log_likelihood(x.reshape(len(x), -1).T, mixture, len(prior))
    unary = unary.reshape(prior.shape)
    unary += (prior + settings.final_floor * _known(prior) + mixtures.EPSILON).log()
    return markov.mean_field(
        unary, markov.pair_costs(prior), spacing_mm, settings.mrf, settings.mrf_steps
    )


def _most_likely(resp):
    """Class of the largest posterior, uint8 (X, Y, Z); argmax over C is slower."""
    best, labels = resp[0], torch.zeros(resp.shape[1:], dtype=torch.uint8)
    labels = labels.to(resp.device)
    for value, found in enumerate(resp[1:], 1):
        labels = torch.where(found > best, value, labels)
        best = torch.maximum(best, found)
    return labels


def _scaled(data, box):
    """The intensities inside a box over their 98th percentile, float32."""
    part = data[box].astype(np.float32)
    return part / np.percentile(part[::2, ::2, ::2], 98)


def _check_input(channels, priors, settings):
    """Refuse images and priors from which no labels can come."""
    if not channels:
        raise ValueError("channels must hold at least one image, got none; give the T1")
    for number, channel in enumerate(channels):
        name = f"channels[{number}]"
        volume.check_same_grid(channels[0], channel, "channels[0]", name)
        if not np.isfinite(channel.data).all():
            raise ValueError(f"{name} must be finite, got NaN or infinity; repair it")
        if channel.data.min() == channel.data.max():
            raise ValueError(
                f"{name} must vary, got {channel.data.flat[0]} everywhere; "
                "give an image of a head"
            )
    expected = (len(settings.parts), *channels[0].shape)
    if priors.shape != expected:
        raise ValueError(
            f"priors must have shape {expected}, got {priors.shape}; "
            "align the atlas to this image"
        )
    if not np.isfinite(priors).all():
        raise ValueError("priors must be finite, got NaN or infinity; align again")
    if not priors[1:].any():
        raise ValueError(
            "priors must give some class other than background a chance, got zeros; "
            "check the alignment"
        )
