"""Inner ears: cochlea, vestibule, semicircular canals, ear canal and its nerves.

Coordinates are mm in the frame of an average head (see `skulls`), x the distance from
the midline: both ears are drawn as the right one. Positions and sizes are those of
anatomy textbooks, rounded.
"""

from dataclasses import dataclass

import numpy as np

from noisyseg import skullbase_tissues as ids
from noisyseg import tissues
from noisyseg.shapes import cut, ellipsoid, tube

REACH_MM = (6, 48, -52, -6, -64, -24)  # x, y, z limits that hold an ear
PIVOT_MM = (31.0, -25.0, -42.0)  # an ear turns about this point
PORUS_MM = (19.5, -27.5, -42.0)  # where the inner ear canal opens ...
FUNDUS_MM = (30.3, -25.6, -42.0)  # ... and where it ends
_NUCLEUS = (11.0, -34.0, -45.0)  # where the nerves leave the brain stem
_BASE = (30.9, -23.4, -42.6)  # middle of the base of the cochlea
_AXIS = np.array([0.55, 0.80, -0.24])  # ... and its axis, towards the apex
TURNS = 2.5
HEIGHT_MM = 4.6
_ROTATION = np.sqrt(0.5)
_MIDDLE, NEAR_MM = (31.0, -25.5, -41.5), 14.0  # a ball that holds all of an ear
# middle, normal and radius (mm) of the semicircular canals
_LOOPS = (
    ((36.0, -26.6, -38.4), (_ROTATION, -_ROTATION, 0.0), 3.1),  # superior
    ((38.3, -30.0, -41.6), (_ROTATION, _ROTATION, 0.0), 2.9),  # posterior
    ((38.3, -28.6, -40.4), (0.0, -0.42, 0.91), 2.4),  # lateral
)
LOOP_MM = 0.62  # radius of their tubes


@dataclass(frozen=True)
class Ear:
    """All that makes one inner ear differ from another; lengths in mm."""

    shift_mm: tuple[float, float, float]
    turn_rad: float  # about the vertical axis
    cochlea: float  # scale around 1
    canal_mm: float  # radius of the inner ear canal


def draw(rng):
    """Inner ear of one side of a random adult.

    Parameters
    ----------
    rng : np.random.Generator

    Returns
    -------
    Ear
    """

    def around(mean, deviation):
        return float(mean + deviation * np.clip(rng.standard_normal(), -2.0, 2.0))

    return Ear(
        shift_mm=tuple(around(0.0, s) for s in (0.7, 0.8, 0.9)),
        turn_rad=around(0.0, 0.06),
        cochlea=around(1.02, 0.03),
        canal_mm=around(2.35, 0.25),
    )


def placed(at, ear):
    """Coordinates (mm) in which this ear stands where the average ear does.

    Parameters
    ----------
    at : triple of float64 arrays, mm, x the distance from the midline
    ear : Ear

    Returns
    -------
    list of three float64 arrays
    """
    x, y, z = (a - s - p for a, s, p in zip(at, ear.shift_mm, PIVOT_MM, strict=True))
    cos, sin = np.cos(ear.turn_rad), np.sin(ear.turn_rad)
    turned = cos * x + sin * y, cos * y - sin * x, z
    return [a + p for a, p in zip(turned, PIVOT_MM, strict=True)]


def paint(labels, at, ear, inner):
    """Writes an inner ear with its nerves.

    Parameters
    ----------
    labels : uint8 array (X, Y, Z), changed in place
    at : triple of float64 arrays (X, Y, Z), mm, as from `placed`
    ear : Ear
    inner : float64 array (X, Y, Z)
        Signed distance (mm) to the inside of the skull.
    """
    near = sum((a - c) ** 2 for a, c in zip(at, _MIDDLE, strict=True)) < NEAR_MM**2
    spots = [a[near] for a in at]
    labels[near] = _painted(labels[near], spots, ear, inner[near])
    wet = np.flatnonzero(labels == tissues.FLUID)
    spots = [a.ravel()[wet] for a in at]
    close = tube(spots, [_NUCLEUS, PORUS_MM, FUNDUS_MM], [3.0, 3.0, 3.0]) < 0
    spots = [a[close] for a in spots]
    nerve = wet[close][_nerves(spots) < 0]
    labels[np.unravel_index(nerve, labels.shape)] = ids.NERVE


def _painted(labels, at, ear, inner):
    """Labels of voxels around the ear, all arrays of shape (N,)."""
    canal = canal_field(at, ear)
    lymph = _labyrinth(at)
    snail, duct = cochlea_fields(at, ear)
    bony = np.minimum(np.minimum(lymph, snail), canal) < 2.2
    labels[bony & (inner > -0.3)] = tissues.COMPACT
    labels[(lymph < 0) & (inner > 0.3)] = ids.LYMPH
    labels[snail < 0] = ids.MODIOLUS
    labels[duct < 0] = ids.DUCT
    labels[(canal < 0) & (snail > 0) & (lymph > 0)] = tissues.FLUID
    return labels


def canal_field(at, ear):
    """Signed distance (mm) to the inner ear canal, wider at its opening."""
    wide = [ear.canal_mm + 0.5, ear.canal_mm, ear.canal_mm - 0.4]
    middle = [0.5 * (a + b) for a, b in zip(PORUS_MM, FUNDUS_MM, strict=True)]
    return tube(at, [PORUS_MM, middle, FUNDUS_MM], wide)


def _labyrinth(at):
    """Signed distance (mm) to vestibule and semicircular canals."""
    whole = ellipsoid(at, (35.0, -27.2, -41.2), (1.9, 2.9, 2.5))
    for centre, normal, radius in _LOOPS:
        offset = [a - c for a, c in zip(at, centre, strict=True)]
        along = sum(o * n for o, n in zip(offset, normal, strict=True))
        across = np.sqrt(np.maximum(sum(o * o for o in offset) - along * along, 0.0))
        ring = np.sqrt((across - radius) ** 2 + along * along) - LOOP_MM
        whole = np.minimum(whole, ring)
    return whole


def cochlea_fields(at, ear):
    """Signed distances (mm) to the whole cochlea and to the fluid in its duct.

    The duct is a spiral of two and a half turns that narrows and rises along the axis;
    the whole is the cone around it, with the modiolus inside.

    Parameters
    ----------
    at : triple of float64 arrays (X, Y, Z), mm, as from `placed`
    ear : Ear

    Returns
    -------
    snail, duct : float64 arrays (X, Y, Z)
        The duct is exact within a millimetre around the snail, large elsewhere.
    """
    up, a, b = _axes()
    local = [(c - m) / ear.cochlea for c, m in zip(at, _BASE, strict=True)]
    height = sum(o * n for o, n in zip(local, up, strict=True))
    one = sum(o * n for o, n in zip(local, a, strict=True))
    two = sum(o * n for o, n in zip(local, b, strict=True))
    apart = np.sqrt(one * one + two * two)
    radius = 4.35 - 0.56 * np.clip(height, 0.0, HEIGHT_MM)
    snail = cut(0.87 * (apart - radius), np.abs(height - 2.2) - 2.5, 1.2)
    duct = np.full(snail.shape, 9.0)
    near = snail < 1.0
    points, wide = spiral()
    duct[near] = tube((one[near], two[near], height[near]), points, wide)
    return np.minimum(snail, duct - 0.15) * ear.cochlea, duct * ear.cochlea


def _axes():
    """Unit vectors along the axis of the cochlea, to the vestibule, and across."""
    up = _AXIS / np.sqrt(np.sum(_AXIS * _AXIS))
    back = np.array([0.75, -0.66, 0.0])
    back = back - up * np.sum(back * up)
    back /= np.sqrt(np.sum(back * back))
    return (
        up,
        back,
        np.array(
            [
                up[1] * back[2] - up[2] * back[1],
                up[2] * back[0] - up[0] * back[2],
                up[0] * back[1] - up[1] * back[0],
            ]
        ),
    )


def spiral():
    """Points (mm) along the duct, from the vestibule to the apex, and its radii."""
    share = np.linspace(0.0, 1.0, 41)
    angle = 2.0 * np.pi * TURNS * share
    radius = 3.3 - 2.5 * share**0.8
    height = 0.6 + (HEIGHT_MM - 1.0) * share
    points = np.column_stack([radius * np.cos(angle), radius * np.sin(angle), height])
    wide = 1.0 - 0.42 * share
    entry = points[0] + [1.6, 0.4, -0.5]
    return [tuple(entry), *map(tuple, points)], [1.0, *wide]


def _nerves(at):
    """Signed distance (mm) to facial, cochlear and vestibular nerves."""
    whole = None
    for forward, upward, radius in (
        (0.8, 0.8, 0.55),
        (0.8, -0.8, 0.6),
        (-0.8, 0.7, 0.5),
        (-0.8, -0.7, 0.5),
    ):
        spread = np.array([0.0, forward, upward])
        bundle = np.array([0.0, 0.5 * np.sign(forward + 0.5 * upward), 0.0])
        points = [
            tuple(np.array(_NUCLEUS) + bundle),
            tuple(np.array(PORUS_MM) + 0.7 * bundle + 0.3 * spread),
            tuple(np.array(FUNDUS_MM) + spread),
        ]
        one = tube(at, points, [radius, radius, radius])
        whole = one if whole is None else np.minimum(whole, one)
    return whole
