"""Shapes as signed distances in mm: negative inside, positive outside.

Every function takes `at`, a triple of broadcastable float64 arrays of coordinates (mm).
Values are exact or first-order distances, good within a few millimetres of the surface.
Only elementwise float64 arithmetic is used: the same numbers everywhere.
"""

from itertools import pairwise

import numpy as np
from scipy import ndimage


def ellipsoid(at, centre, radii):
    """Signed distance (mm, first order) to an ellipsoid.

    >>> float(ellipsoid((9.0, 0.0, 0.0), (0, 0, 0), (8, 8, 8)))
    1.0
    """
    parts = [(a - c) / r for a, c, r in zip(at, centre, radii, strict=True)]
    x2, y2, z2 = (p * p for p in parts)
    rx, ry, rz = radii
    level = np.sqrt(x2 + y2 + z2)
    slope = np.sqrt(x2 * (1 / rx**2) + y2 * (1 / ry**2) + z2 * (1 / rz**2))
    return level * (level - 1) / np.maximum(slope, 1e-9)


def tilted(at, centre, angle):
    """Coordinates turned by `angle` (rad) in the sagittal plane about `centre`."""
    y, z = at[1] - centre[1], at[2] - centre[2]
    cos, sin = np.cos(angle), np.sin(angle)
    return at[0], centre[1] + cos * y + sin * z, centre[2] - sin * y + cos * z


def tube(at, points, radii):
    """Signed distance (mm) to a chain of round cones.

    Parameters
    ----------
    at : triple of float64 arrays, mm
    points : sequence of (x, y, z), mm
    radii : sequence of float, one per point, mm

    Examples
    --------
    >>> float(tube((0.0, 3.0, 5.0), [(0, 0, 0), (0, 0, 9)], [1, 1]))
    2.0
    """
    distance = None
    for (a, ra), (b, rb) in _segments(points, radii):
        axis = [q - p for p, q in zip(a, b, strict=True)]
        offset = [u - p for u, p in zip(at, a, strict=True)]
        along = sum(o * s for o, s in zip(offset, axis, strict=True))
        along = np.clip(along / sum(s * s for s in axis), 0.0, 1.0)
        apart = sum((o - along * s) ** 2 for o, s in zip(offset, axis, strict=True))
        one = np.sqrt(apart) - (ra + along * (rb - ra))
        distance = one if distance is None else np.minimum(distance, one)
    return distance


def _segments(points, radii):
    return pairwise(zip(points, radii, strict=True))


def join(a, b, blend_mm=0.0):
    """Union of two shapes, its crease rounded over `blend_mm`.

    >>> float(join(1.0, 3.0)), float(join(0.0, 0.0, 4.0))
    (1.0, -1.0)
    """
    if not blend_mm:
        return np.minimum(a, b)
    overlap = np.maximum(blend_mm - np.abs(a - b), 0.0)
    return np.minimum(a, b) - overlap * overlap / (4.0 * blend_mm)


def cut(a, b, blend_mm=0.0):
    """Intersection of two shapes, its edge rounded over `blend_mm`."""
    return -join(-a, -b, blend_mm)


def ramp(value, low, high):
    """Smooth step: 0 up to `low`, 1 from `high` on.

    >>> float(ramp(0.5, 0.0, 1.0))
    0.5
    """
    s = np.clip((value - low) / (high - low), 0.0, 1.0)
    return s * s * (3.0 - 2.0 * s)


def halve(field, axis):
    """Field on a grid twice as fine along `axis`, by linear interpolation.

    The coarse field carries one extra node at either end: n + 2 nodes give 2 n values,
    a quarter of a coarse step to the left and to the right of each inner node.
    """
    shape = list(field.shape)
    shape[axis] = 2 * (shape[axis] - 2)
    fine = np.empty(shape)
    before, inner, after, even, odd = (
        (slice(None),) * axis + (part,) for part in _HALVES
    )
    quarter = 0.25 * field
    near = 3.0 * quarter[inner]
    np.add(near, quarter[before], out=fine[even])
    np.add(near, quarter[after], out=fine[odd])
    return fine


_HALVES = (
    slice(None, -2),
    slice(1, -1),
    slice(2, None),
    slice(0, None, 2),
    slice(1, None, 2),
)


def refine(field):
    """Field (X + 2, Y + 2, Z + 2) on the grid (2 X, 2 Y, 2 Z) twice as fine."""
    return halve(halve(halve(field, 2), 1), 0)


def refined_planes(fields):
    """Pairs of planes of `refine`, one pair for each inner node along x, in turn.

    Parameters
    ----------
    fields : dict of float64 arrays (X + 2, Y + 2, Z + 2)

    Yields
    ------
    dict of float64 arrays (2, 2 Y, 2 Z), X times
    """
    count = len(next(iter(fields.values())))
    recent = []
    for i in range(count):
        recent.append({n: 0.25 * halve(halve(f[i], 1), 0) for n, f in fields.items()})
        if i >= 2:
            yield {n: _pair(*(planes[n] for planes in recent)) for n in fields}
            recent.pop(0)


def _pair(before, inner, after):
    """The two fine planes around the inner of three coarse ones, given as quarters."""
    fine = np.empty((2, *inner.shape))
    near = 3.0 * inner
    np.add(near, before, out=fine[0])
    np.add(near, after, out=fine[1])
    return fine


def in_slabs(function, at, planes=2):
    """The dict of arrays `function(at)`, computed a few planes at a time.

    The same values as in one go, several times faster: a slab fits the cache.
    `function` must work elementwise.
    """
    count, result = at[0].shape[0], {}
    for i in range(0, count, planes):
        for name, part in function([a[i : i + planes] for a in at]).items():
            if name not in result:
                result[name] = np.empty((count, *part.shape[1:]))
            result[name][i : i + planes] = part
    return result


def noise(rng, shape, spacing_mm, wavelength_mm):
    """Smooth random field with features of `wavelength_mm`: mean 0, SD about 1.

    Band-passed: the difference of two Gaussian smoothings of white noise, so that
    neither finer nor coarser features are left.

    Parameters
    ----------
    rng : np.random.Generator
    shape : triple of int
    spacing_mm, wavelength_mm : float
    """
    sigma = wavelength_mm / (2 * np.pi * spacing_mm) * 1.18
    white = rng.standard_normal(shape)
    fine = ndimage.gaussian_filter(white, sigma, mode="wrap", truncate=4.0)
    coarse = ndimage.gaussian_filter(white, 1.6 * sigma, mode="wrap", truncate=4.0)
    band = fine - coarse
    return band / np.sqrt(np.mean(band * band))


def slow_noise(rng, axes_mm, length_mm):
    """Smooth random field of mean 0 and SD near 1, changing over about `length_mm`.

    White noise on a lattice fixed in space, smoothed by Chaikin's rule (a quadratic
    B-spline) and read linearly: the same field on every grid.

    Parameters
    ----------
    rng : np.random.Generator
    axes_mm : three 1-D float64 arrays
        Positions along x, y, z; the field repeats after about 400 mm.
    length_mm : float

    Returns
    -------
    float64 array (X, Y, Z)
    """
    count = int(np.ceil(400.0 / length_mm))
    field = 1.9 * rng.standard_normal((count, count, count))
    doublings = 1 if length_mm < 12.0 else 2  # the lattice is then 4 to 8 mm wide
    for _ in range(doublings):
        field = refine(np.pad(field, 1, mode="wrap"))
    for axis, line in enumerate(axes_mm):
        spot = line * (2**doublings / length_mm)
        low = np.floor(spot).astype(int)
        shape = [-1 if i == axis else 1 for i in range(3)]
        part = (spot - low).reshape(shape)
        before = np.take(field, low % (2**doublings * count), axis=axis)
        after = np.take(field, (low + 1) % (2**doublings * count), axis=axis)
        field = before + part * (after - before)
    return field
