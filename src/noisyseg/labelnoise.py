"""Label noise: labels and a draw in, noisy labels out.

The random draw (smooth Gaussian fields) is apart from the act (what the fields do to
the labels at some strength), so that every draw can be replayed, and one draw can be
looked at in several strengths.

References
----------
.. [1] Nordström, Hult, Maki 2023, Marginal Thresholding in Noisy Image Segmentation,
   arXiv 2304.04116: boundaries displaced by Gaussian fields.
"""

import numpy as np
from scipy import ndimage, optimize, stats


def draw_fields(n, shape, spacing_mm, correlation_mm, rng):
    """Independent stationary Gaussian fields, mean 0 and variance 1.

    Their correlation at a distance d is exp(-d^2 / (2 b^2)), b = `correlation_mm`:
    white noise smoothed by a Gaussian of SD b / sqrt(2) [1]_. The grid is a torus.

    Parameters
    ----------
    n : int
    shape : tuple of int
        The grid, of any number of axes.
    spacing_mm : sequence of float
    correlation_mm : float
    rng : numpy.random.Generator

    Returns
    -------
    float32 array (n, *shape)

    Raises
    ------
    ValueError
        If `correlation_mm` is not above 0.
    """
    if not correlation_mm > 0:
        raise ValueError(
            f"correlation_mm must be above 0, got {correlation_mm}; a field needs a "
            "scale"
        )
    fields = rng.standard_normal((n, *shape), dtype=np.float32)
    for axis, step_mm in enumerate(spacing_mm):
        sigma = correlation_mm / (np.sqrt(2) * step_mm)
        impulse = np.zeros(shape[axis])
        impulse[0] = 1
        kernel = ndimage.gaussian_filter1d(impulse, sigma, mode="wrap")
        for field in fields:
            ndimage.gaussian_filter1d(field, sigma, axis, output=field, mode="wrap")
        fields /= np.sqrt(np.square(kernel).sum())
    return fields


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
    places = []
    for axis, (field, step_mm) in enumerate(
        zip(fields, labels.spacing_mm, strict=True)
    ):
        at = np.arange(labels.shape[axis], dtype=np.float32)
        at = at.reshape([-1 if i == axis else 1 for i in range(3)])
        there = np.rint(at + sd_mm * field / step_mm).astype(np.intp)
        places.append(there.clip(0, labels.shape[axis] - 1))
    return labels.with_data(labels.data[tuple(places)])


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
