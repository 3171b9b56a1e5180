"""Augmentation: slices turned, scaled and shifted, their intensities changed."""

import numpy as np
import torch
import torch.nn.functional as F


def augment(images, labels, settings, rng):
    """A batch, every slice changed in its own way.

    Parameters
    ----------
    images : float32 tensor of shape (B, C, H, H)
        Squares; a turn would shear others.
    labels : integer tensor of shape (B, H, H)
    settings : noisyseg.settings.Augmentation
    rng : numpy.random.Generator
        Draws the changes; the same rng gives the same batch.

    Returns
    -------
    images, labels
        Bilinear and nearest; beyond the slice its border goes on.
    """
    turned = _affine(len(images), settings, rng).to(images.device)
    grid = F.affine_grid(
        turned, (len(images), 1, *images.shape[2:]), align_corners=False
    )
    how = {"padding_mode": "border", "align_corners": False}
    moved = F.grid_sample(images, grid, mode="bilinear", **how)
    planes = labels[:, None].to(images.dtype)
    names = F.grid_sample(planes, grid, mode="nearest", **how)[:, 0].to(labels.dtype)
    return _change_intensity(moved, settings, rng), names


def _affine(n, settings, rng):
    """Random turn, scale and shift of n slices as theta of `affine_grid` (n, 2, 3)."""
    angle = np.deg2rad(settings.rotation_deg) * rng.uniform(-1, 1, n)
    scale = np.exp(np.log1p(settings.scaling) * rng.uniform(-1, 1, n))
    shift = 2 * settings.shift * rng.uniform(-1, 1, (n, 2))  # of [-1, 1]
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    theta = np.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1)
    return torch.from_numpy(theta.reshape(n, 2, 3).astype(np.float32))


def _change_intensity(images, settings, rng):
    """Contrast and brightness of every slice changed, white noise added."""
    n = len(images)
    contrast = np.exp(np.log1p(settings.contrast) * rng.uniform(-1, 1, n))
    brightness = settings.brightness * rng.uniform(-1, 1, n)
    noise = settings.noise * rng.standard_normal(tuple(images.shape), np.float32)
    contrast, brightness, noise = (
        torch.from_numpy(np.asarray(part, np.float32)).to(images.device)
        for part in (contrast, brightness, noise)
    )
    wide = (slice(None), None, None, None)
    return images * contrast[wide] + brightness[wide] + noise
