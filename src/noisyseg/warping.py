"""Smoothing and smooth deformation of class probabilities, as torch tensors.

Axis letters: C class, X Y Z voxels. Displacements are in mm along the array axes and
point from the target voxel to where the probabilities are read: ``p(x + u(x))``.
"""

import math

import torch
from torch.nn import functional


def smooth(field, sigma_mm, spacing_mm):
    """The field blurred by a Gaussian; the border repeats the edge voxel.

    Parameters
    ----------
    field : float32 tensor of shape (C, X, Y, Z)
    sigma_mm : float
        Standard deviation; 0 returns the field itself.
    spacing_mm : three floats

    Returns
    -------
    float32 tensor of shape (C, X, Y, Z)
    """
    for axis, spacing in enumerate(spacing_mm, start=1):
        sigma_vox = sigma_mm / spacing
        if sigma_vox > 0.2:
            field = _smooth_axis(field, sigma_vox, axis)
    return field


def _smooth_axis(field, sigma_vox, axis):
    """One Gaussian pass along one axis, cut off at 2.5 sigma."""
    reach = max(1, math.ceil(2.5 * sigma_vox))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma_vox) ** 2)
    taps = (taps / taps.sum()).tolist()
    size = field.shape[axis]
    index = torch.arange(-reach, size + reach, device=field.device).clamp(0, size - 1)
    padded = field.index_select(axis, index)
    total = taps[0] * padded.narrow(axis, 0, size)
    for offset, tap in enumerate(taps[1:], start=1):
        total.add_(padded.narrow(axis, offset, size), alpha=tap)
    return total


def warp(field, displacement_mm, spacing_mm):
    """The field read at displaced positions, linearly; the edge voxel repeats outside.

    Parameters
    ----------
    field : float32 tensor of shape (C, X, Y, Z)
    displacement_mm : float32 tensor of shape (3, X, Y, Z)
    spacing_mm : three floats

    Returns
    -------
    float32 tensor of shape (C, X, Y, Z)
    """
    shape = field.shape[1:]
    position = []
    for axis, (size, spacing) in enumerate(zip(shape, spacing_mm, strict=True)):
        view = [1, 1, 1]
        view[axis] = size
        index = torch.arange(size, device=field.device).view(view)
        position.append((index + displacement_mm[axis] / spacing) * 2 / (size - 1) - 1)
    grid = torch.stack(position[::-1], dim=-1)
    return functional.grid_sample(
        field[None], grid[None], padding_mode="border", align_corners=True
    )[0]


def upsample(field, shape, stride):
    """A field given at every stride-th voxel, linearly on all voxels of ``shape``."""
    reach = [(n - 1) * s + 1 for n, s in zip(field.shape[1:], stride, strict=True)]
    fine = functional.interpolate(
        field[None], size=reach, mode="trilinear", align_corners=True
    )
    missing = [0, shape[2] - reach[2], 0, shape[1] - reach[1], 0, shape[0] - reach[0]]
    return functional.pad(fine, missing, mode="replicate")[0]


def gradient(field, spacing_mm):
    """Central differences along X, Y, Z: list of three tensors (C, X, Y, Z), per mm."""
    return [
        torch.gradient(field, spacing=float(spacing), dim=axis)[0]
        for axis, spacing in enumerate(spacing_mm, start=1)
    ]


def demons_step(prob, weight, displacement_mm, spacing_mm, *, stiffness_mm, limit_mm):
    """The displacement after one step uphill in the sum of ``weight * log prob``.

    The gradient of the expected log prior, sum_k w_k grad(p_k) / p_k, divided by its
    Gauss-Newton curvature, sum_k w_k |grad p_k|^2 / p_k^2, as in Thirion's demons
    (Medical Image Analysis 1998); then limited in length and smoothed.

    Parameters
    ----------
    prob : float32 tensor of shape (C, X, Y, Z)
        Probabilities already read at the present displacement.
    weight : float32 tensor of shape (C, X, Y, Z)
        Responsibility of each class for each voxel.
    displacement_mm : float32 tensor of shape (3, X, Y, Z)
    stiffness_mm : float
        Standard deviation of the Gaussian that smooths the displacement.
    limit_mm : float
        Longest step of a voxel.

    Returns
    -------
    float32 tensor of shape (3, X, Y, Z), mm
    """
    ratio = weight / (prob + 1e-3)
    slopes = gradient(prob, spacing_mm)
    force = torch.stack([(ratio * slope).sum(0) for slope in slopes])
    bend = (ratio / (prob + 1e-3) * sum(slope**2 for slope in slopes)).sum(0)
    step = force / (bend + 1 / max(limit_mm, 1e-3) ** 2)
    length = (step**2).sum(0).sqrt().clamp_min(1e-6)
    step = step * (limit_mm / length).clamp_max(1)
    return smooth(displacement_mm + step, stiffness_mm, spacing_mm)
