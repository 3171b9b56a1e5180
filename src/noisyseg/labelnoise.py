"""Label noise: labels and a draw in, noisy labels out.

The random draw (smooth Gaussian fields) is apart from the act (what the fields do to
the labels at some strength), so that every draw can be replayed, and one draw can be
looked at in several strengths.

References
----------
.. [1] Nordström, Hult, Maki 2023, Marginal Thresholding in Noisy Image Segmentation,
   arXiv 2304.04116: boundaries displaced by Gaussian fields.
"""

import warnings

import numpy as np
from scipy import ndimage, optimize, stats


def draw_fields(n, shape, spacing_mm, correlation_mm, rng, *, device="cpu"):
    """Independent stationary Gaussian fields, mean 0 and variance 1.

    Their correlation at a distance d is exp(-d^2 / (2 b^2)), b = `correlation_mm`:
    white noise smoothed by a Gaussian of SD b / sqrt(2) (proposition 3 of [1]_). The
    grid is a torus.

    Parameters
    ----------
    n : int
    shape : tuple of int
        The grid, of any number of axes.
    spacing_mm : sequence of float
    correlation_mm : float
        Below 1.5 voxels the fields are rougher than asked for, and a warning says so.
    rng : numpy.random.Generator
    device : str
        Torch device that smooths; the noise itself is drawn by `rng`.

    Returns
    -------
    float32 array (n, *shape)

    Raises
    ------
    ValueError
        If `correlation_mm` is not above 0.
    """
    import torch

    if not correlation_mm > 0:
        raise ValueError(
            f"correlation_mm must be above 0, got {correlation_mm}; a field needs a "
            "scale"
        )
    white = rng.standard_normal((n, *shape), dtype=np.float32)
    axes = tuple(range(1, 1 + len(shape)))
    spectrum = torch.fft.rfftn(torch.from_numpy(white).to(device), dim=axes)
    for axis, size, step_mm in zip(axes, shape, spacing_mm, strict=True):
        kernel = _kernel(size, correlation_mm / step_mm)
        transfer = np.fft.fft(kernel).real[: spectrum.shape[axis]]
        transfer = torch.from_numpy(transfer.astype(np.float32)).to(device)
        spectrum *= transfer.reshape([-1 if i == axis else 1 for i in (0, *axes)])
    return torch.fft.irfftn(spectrum, s=shape, dim=axes).cpu().numpy()


def _kernel(size, correlation_vox):
    """Gaussian of SD b / sqrt(2) around 0 on a circle, its squares summing to 1."""
    reach = 1 + int(4 * correlation_vox / size)
    turns = np.arange(-reach, reach + 1)
    away = np.arange(size)[:, None] + size * turns
    kernel = np.exp(-np.square(away / correlation_vox)).sum(1)
    kernel /= np.sqrt(np.square(kernel).sum())
    if size > 1 and correlation_vox < 1.5:
        wanted = np.exp(-0.5 / correlation_vox**2)
        warnings.warn(
            f"correlation_mm should be at least 1.5 voxels, got {correlation_vox:.2f}: "
            f"neighbours correlate by {kernel @ np.roll(kernel, 1):.3f}, not "
            f"{wanted:.3f}",
            stacklevel=3,
        )
    return kernel


def blend(labels, values, sd_mm):
    """One number per class as a map that changes smoothly from class to class.

    Parameters
    ----------
    labels : Volume
        Integer labels of shape (X, Y, Z), n classes.
    values : float array (n,)
    sd_mm : float
        SD of the Gaussian that blends; at a boundary between two large classes stands
        their mean.

    Returns
    -------
    float32 array (X, Y, Z)
    """
    sharp = np.asarray(values, np.float32)[labels.data]
    return ndimage.gaussian_filter(
        sharp, sd_mm / np.array(labels.spacing_mm), mode="nearest"
    )


def displace(labels, fields, sd_mm):
    """Labels taken from displaced places: every boundary wanders by so many mm.

    Parameters
    ----------
    labels : Volume
        Integer labels of shape (X, Y, Z).
    fields : float array (3, X, Y, Z)
        From `draw_fields`: the displacement along each axis in units of its SD.
    sd_mm : float, or float array (X, Y, Z)
        SD of the displacement; a map of it lets some classes wander further than
        others (see `blend`).

    Returns
    -------
    Volume of the labels at x + u(x), nearest voxel; beyond the grid its last voxel
    """
    places = _places(labels.shape, fields, sd_mm, labels.spacing_mm)
    for place, size in zip(places, labels.shape, strict=True):
        np.clip(place, 0, size - 1, out=place)
    return labels.with_data(labels.data[tuple(places)])


def deform(mask, fields, sd_mm, spacing_mm):
    """Noisy mask L(x) = I(x + a X(x)), 0 where that lies beyond the grid [1]_.

    Parameters
    ----------
    mask : array of any shape with two or three axes
        The reference I, of zeros and ones.
    fields : float array (axes, *shape)
        X from `draw_fields`.
    sd_mm : float
        a, the SD of the displacement along each axis.
    spacing_mm : sequence of float

    Returns
    -------
    bool array of the mask's shape; on average `marginal` of the same mask

    Raises
    ------
    ValueError
        If `sd_mm` is not above 0, the mask is empty or not binary, or the fields are
        of another grid.
    """
    mask = _checked_mask(mask, sd_mm)
    if fields.shape != (mask.ndim, *mask.shape):
        raise ValueError(
            f"fields must be of the mask's grid {(mask.ndim, *mask.shape)}, got "
            f"{fields.shape}; draw them for it"
        )
    places, inside = _places(mask.shape, fields, sd_mm, spacing_mm), True
    for place, size in zip(places, mask.shape, strict=True):
        inside = inside & (place >= 0) & (place < size)
        np.clip(place, 0, size - 1, out=place)
    return mask[tuple(places)] & inside


def _places(shape, fields, sd_mm, spacing_mm):
    """Nearest voxels to the displaced places, one array of indices for each axis."""
    places = []
    for axis, (field, step_mm) in enumerate(zip(fields, spacing_mm, strict=True)):
        at = np.arange(shape[axis], dtype=np.float32)
        at = at.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        places.append(np.rint(at + sd_mm * field / step_mm).astype(np.intp))
    return places


def marginal(mask, sd_mm, spacing_mm):
    """Probability of every voxel to be labelled by `deform`: the mask, blurred.

    The expectation over all draws, exact on the grid (propositions 1 and 2 of [1]_):
    it does not depend on the correlation length, and its sum falls short of the mask's
    by what is blurred beyond the grid.

    Parameters
    ----------
    mask, sd_mm, spacing_mm
        As `deform`.

    Returns
    -------
    float64 array in [0, 1] of the mask's shape
    """
    prob = _checked_mask(mask, sd_mm).astype(np.float64)
    for axis, step_mm in enumerate(spacing_mm):
        reach = int(np.ceil(6 * sd_mm / step_mm))
        edges = (np.arange(-reach, reach + 2) - 0.5) * (step_mm / sd_mm)
        weights = np.diff(stats.norm.cdf(edges))
        prob = ndimage.convolve1d(prob, weights, axis, mode="constant")
    return prob.clip(0, 1)


def _checked_mask(mask, sd_mm):
    """The mask as bool, when mask and strength make sense."""
    if not sd_mm > 0:
        raise ValueError(f"sd_mm must be above 0, got {sd_mm}; no noise needs no draw")
    values = np.unique(mask)
    if not np.isin(values, (0, 1)).all():
        raise ValueError(
            f"mask must hold only 0 and 1, got {values[:4]}; compare first, e.g. "
            "labels == 3"
        )
    if not values.any():
        raise ValueError("mask must hold the structure, got an empty one; leave it out")
    return np.asarray(mask, bool)


def swap(labels, fields, pairs, share):
    """Labels in which pairs of classes change places within random blobs.

    Parameters
    ----------
    labels : Volume
        Integer labels of shape (X, Y, Z).
    fields : float array (len(pairs), X, Y, Z)
        From `draw_fields`; the blobs of a pair are where its field is highest.
    pairs : sequence of (int, int)
        A voxel that two pairs would change follows the first of them.
    share : float in [0, 1]
        Expected share of the volume that the blobs of a pair cover.

    Returns
    -------
    Volume
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be from 0 to 1, got {share}; correct it")
    noisy, threshold = labels.data.copy(), stats.norm.isf(share)
    for (first, second), field in zip(reversed(pairs), reversed(fields), strict=True):
        blob = field > threshold
        noisy[blob & (labels.data == first)] = second
        noisy[blob & (labels.data == second)] = first
    return labels.with_data(noisy)


def calibrate(damage, target, highest):
    """The strength at which noise does a given damage.

    Parameters
    ----------
    damage : callable
        Strength to damage, 0 at 0 and rising, for instance 1 - mean Dice.
    target : float
    highest : float
        The strongest noise that makes sense.

    Returns
    -------
    float, to 2 % of itself or 0.2 % of the highest

    Raises
    ------
    ValueError
        If even `highest` does not reach the target.

    Examples
    --------
    >>> round(calibrate(lambda strength: strength**2, 0.25, 2), 2)
    0.5
    """
    if target <= 0:
        return 0.0
    most = damage(highest)
    if most < target:
        raise ValueError(
            f"strength must reach a damage of {target:.3f}, got {most:.3f} at "
            f"{highest}, the highest; ask for less"
        )
    return float(
        optimize.brentq(
            lambda strength: damage(strength) - target,
            0,
            highest,
            xtol=2e-3 * highest,
            rtol=0.02,
        )
    )
