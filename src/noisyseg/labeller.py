"""Tissue labels of a head by expectation maximisation: the open software labeller.

A Gaussian mixture with several parts per class explains the intensities of one or more
channels; an aligned atlas, deformed along the way, says where each class may lie; a
Markov random field ties neighbours; a smooth field models uneven coil sensitivity.
The lineage is Van Leemput et al., IEEE TMI 1999 (EM, atlas, bias field, MRF) and
Ashburner & Friston, NeuroImage 2005 (several Gaussians per class, deformed atlas).

Symbols as in scikit-learn: resp, means, covariances, weights. Axis letters: C class,
K mixture part, N voxels, D channels.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from noisyseg import volume, warping
from noisyseg.volume import Volume

HEAD_PARTS = (2, 1, 2, 2, 3, 4, 2, 2, 1)
SMALLEST_SD = 0.01
EPSILON = 1e-30


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture whose parts belong to classes.

    Parameters
    ----------
    means : float32 tensor of shape (K, D)
    covariances : float32 tensor of shape (K, D, D)
    weights : float32 tensor of shape (K,)
        Share of each part within its class.
    owner : int64 tensor of shape (K,)
        Class of each part.
    """

    means: torch.Tensor
    covariances: torch.Tensor
    weights: torch.Tensor
    owner: torch.Tensor


def log_gaussians(x, means, covariances):
    """Log density of every point under every Gaussian.

    The squared distance is written as one matrix product over 1, x and x x^T.

    Parameters
    ----------
    x : float32 tensor of shape (N, D)
    means : float32 tensor of shape (K, D)
    covariances : float32 tensor of shape (K, D, D)

    Returns
    -------
    float32 tensor of shape (K, N)
    """
    precision = torch.linalg.inv(covariances.double())
    linear = (precision @ means.double()[:, :, None])[:, :, 0]
    constant = (linear * means).sum(1) + covariances.double().logdet()
    constant = constant + x.shape[1] * math.log(2 * math.pi)
    rows = [-0.5 * constant[:, None], linear, -0.5 * precision.flatten(1)]
    return torch.cat(rows, 1).float() @ _moments(x).T


def _moments(x):
    """Columns 1, x and x x^T of every point, (N, 1 + D + D D)."""
    squares = (x[:, :, None] * x[:, None]).flatten(1)
    return torch.cat([torch.ones_like(x[:, :1]), x, squares], 1)


def expectation(x, means, covariances, weights):
    """Responsibility of every Gaussian for every point: the E step.

    ``resp[k, n] = weights[k] N(x[n]; means[k], covariances[k]) / sum over k``

    Parameters
    ----------
    x : float32 tensor of shape (N, D)
    means, covariances : float32 tensors of shape (K, D) and (K, D, D)
    weights : float32 tensor of shape (K,) or (K, N)
        One weight per Gaussian, or a prior per Gaussian and point.

    Returns
    -------
    float32 tensor of shape (K, N); sums to 1 over K
    """
    prior = weights if weights.ndim == 2 else weights[:, None]
    return torch.softmax(
        log_gaussians(x, means, covariances) + (prior + EPSILON).log(), 0
    )


def maximisation(x, resp, smallest_sd=SMALLEST_SD):
    """Means, covariances and weights that fit the responsibilities: the M step.

    Parameters
    ----------
    x : float32 tensor of shape (N, D)
    resp : float32 tensor of shape (K, N)
    smallest_sd : float
        Added in square to the variances, so that no Gaussian collapses.

    Returns
    -------
    means (K, D), covariances (K, D, D), weights (K,)
    """
    d = x.shape[1]
    total = (resp @ _moments(x)).double()
    mass = total[:, :1] + 1e-6
    means = total[:, 1 : 1 + d] / mass
    spread = (total[:, 1 + d :] / mass).reshape(-1, d, d)
    spread = spread - means[:, :, None] * means[:, None]
    floor = smallest_sd**2 * torch.eye(d, device=x.device)
    return means.float(), (spread + floor).float(), (mass[:, 0] / mass.sum()).float()


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
        Added to the prior of every class that the atlas knows.
    mrf : float
        Weight of a pair of neighbours; 0 leaves the voxelwise answer.
    mrf_steps : int
        Mean-field sweeps.
    bias_order : int
        Highest order of the polynomials in the log of the bias field.
    stiffness_mm : float
        Smoothness of the deformation of the atlas; infinity keeps the affine atlas.
    """

    parts: tuple[int, ...] = HEAD_PARTS
    schedule: tuple[tuple[float, int], ...] = ((8.0, 8), (5.0, 8), (3.0, 10))
    prior_floor: float = 1e-3
    final_blur_mm: float = 1.5
    mrf: float = 0.3
    mrf_steps: int = 4
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
    Volume with uint8 data on the grid of the channels
    """
    settings = settings or Settings()
    _check_input(channels, priors, settings)
    spacing_mm = channels[0].spacing_mm
    box = _head_box(priors[0], spacing_mm)
    x = torch.from_numpy(np.stack([_scaled(v.data, box) for v in channels])).to(device)
    prior = torch.from_numpy(priors[(slice(None), *box)]).to(device).contiguous()
    mixture, bias, displacement = _fit(x, prior, spacing_mm, settings)
    basis = _basis(x.shape[1:], settings.bias_order, device)
    x = x / torch.exp(bias @ basis).reshape(x.shape)
    prior = warping.smooth(prior, settings.final_blur_mm, spacing_mm)
    prior = warping.warp(prior, displacement, spacing_mm)
    resp = _classify(x, prior, mixture, spacing_mm, settings)
    labels = np.zeros(channels[0].shape, np.uint8)
    labels[box] = resp.argmax(0).to(torch.uint8).cpu().numpy()
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
            if mixture is None:
                mixture = _first_mixture(even, local.flatten(1), settings.parts)
            weights = mixture.weights[:, None] * local.flatten(1)[mixture.owner]
            resp = expectation(even, mixture.means, mixture.covariances, weights)
            classes = _members(mixture.owner, len(prior)) @ resp
            mixture = _refit(even, resp, mixture.owner, len(prior))
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


def _known(prior):
    """1 for a class that the atlas knows, 0 for one that it lacks, (C, 1, 1, 1)."""
    return (prior.amax((1, 2, 3), keepdim=True) > 0).float()


def _first_mixture(x, prior, parts):
    """Each class split into equal shares along the first channel, darkest first."""
    owner = torch.tensor(
        [c for c, n in enumerate(parts) for _ in range(n)], device=x.device
    )
    order = x[:, 0].argsort(stable=True)
    resp = []
    for weight, count in zip(prior[:, order] ** 2, parts, strict=True):
        rank = weight.cumsum(0) / weight.sum().clamp_min(EPSILON) * count
        part = rank.clamp(0, count - 0.5).long()
        resp += [weight * (part == m) for m in range(count)]
    return _refit(x[order], torch.stack(resp), owner, len(parts))


def _refit(x, resp, owner, n_classes):
    """The mixture after one M step, weights shared out within each class."""
    means, covariances, weights = maximisation(x, resp)
    members = _members(owner, n_classes)
    total = (members @ weights)[owner]
    return Mixture(means, covariances, weights / total.clamp_min(EPSILON), owner)


def _members(owner, n_classes):
    """Float matrix (C, K): 1 where the part belongs to the class."""
    classes = torch.arange(n_classes, device=owner.device)
    return (owner == classes[:, None]).float()


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
    unary = class_log_likelihood(x.reshape(len(x), -1).T, mixture, len(prior))
    unary = unary.reshape(prior.shape)
    unary += (prior + settings.prior_floor * _known(prior) + EPSILON).log()
    return mean_field(
        unary, pair_costs(prior), spacing_mm, settings.mrf, settings.mrf_steps
    )


def class_log_likelihood(x, mixture, n_classes):
    """Log density of every point under the mixture of each class, (C, N)."""
    log_part = log_gaussians(x, mixture.means, mixture.covariances)
    log_part += (mixture.weights + EPSILON).log()[:, None]
    return torch.stack(
        [log_part[mixture.owner == c].logsumexp(0) for c in range(n_classes)]
    )


def pair_costs(prior):
    """Cost of each pair of neighbouring classes, from how often the atlas has them.

    ``cost[k, l] = -log(n[k, l] / sqrt(n[k, k] n[l, l]))``, at least 0, at most 5, with
    n the expected number of neighbour pairs; 0 on the diagonal.
    """
    n = torch.zeros(len(prior), len(prior), device=prior.device)
    for axis in range(1, 4):
        some = [slice(None), *[slice(None, None, 2)] * 3]  # every other pair is enough
        some[axis] = slice(None, prior.shape[axis] - 1, 2)
        a = prior[tuple(some)].flatten(1)
        some[axis] = slice(1, None, 2)
        b = prior[tuple(some)].flatten(1)
        n += a @ b.T + b @ a.T
    own = n.diagonal().clamp_min(1e-6)
    return -(n / (own[:, None] * own).sqrt()).clamp(math.exp(-5), 1).log()


def mean_field(unary, costs, spacing_mm, strength, steps):
    """Posterior of a Markov field over six neighbours, by mean-field sweeps.

    Parameters
    ----------
    unary : float32 tensor of shape (C, X, Y, Z)
        Log likelihood plus log prior.
    costs : float32 tensor of shape (C, C)
    spacing_mm : three floats
        A neighbour counts with the inverse of its distance, scaled to mean 1.
    strength : float
        0 leaves the voxelwise posterior.
    steps : int

    Returns
    -------
    float32 tensor of shape (C, X, Y, Z); sums to 1 over C
    """
    resp = torch.softmax(unary, 0)
    if strength == 0:
        return resp
    near = 1 / np.array(spacing_mm)
    near = (near / near.mean()).tolist()
    for _ in range(steps):
        around = torch.zeros_like(resp)
        for axis, weight in enumerate(near, start=1):
            size = resp.shape[axis] - 1
            lower, upper = resp.narrow(axis, 0, size), resp.narrow(axis, 1, size)
            around.narrow(axis, 0, size).add_(upper, alpha=weight)
            around.narrow(axis, 1, size).add_(lower, alpha=weight)
        energy = (costs @ around.reshape(len(costs), -1)).reshape(unary.shape)
        resp = torch.softmax(unary - strength * energy, 0)
    return resp


def _scaled(data, box):
    """The intensities inside a box over their 98th percentile, float32."""
    part = data[box].astype(np.float32)
    return part / np.percentile(part[::2, ::2, ::2], 98)


def _check_input(channels, priors, settings):
    """Refuse images and priors from which no labels can come."""
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
