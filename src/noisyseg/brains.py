"""Brains: grey and white matter, ventricles and cisterns from coordinates.

Coordinates are mm in the frame of an average head: origin at the anterior commissure,
x to the right, y to the front, z up. Fields are signed distances (`shapes`), or depths
(positive inside). Positions are those of common atlases, rounded to millimetres.
"""

import numpy as np
from scipy import ndimage

from noisyseg import tissues
from noisyseg.shapes import cut, ellipsoid, in_slabs, join, noise, ramp, tilted, tube

REACH_MM = (-76, 76, -116, 84, -76, 88)  # x, y, z limits that hold every brain
DEEP_MM = (-46, 46, -76, 40, -44, 38)  # ... the ventricles and nuclei
_STEM = [(0, -15, -2), (0, -22, -10), (0, -24, -28), (0, -33, -50), (0, -43, -70)]
_STEM_MM = [10, 13, 14.5, 9, 6.5]
_LATERAL = [
    (8, 28, 2),
    (7.5, 20, 8),
    (7.5, 8, 15),
    (9, -12, 18),
    (17, -32, 17),
    (24, -42, 7),
]
_LATERAL_MM = [2.5, 4.6, 5.4, 4.8, 4.8, 6.0]
_CAUDATE = [(13, 17, 2), (15, 8, 9), (18, -8, 16), (20, -24, 16)]
_CALLOSUM = [
    (0, 20, -3),
    (0, 30, 4),
    (0, 27, 16),
    (0, 10, 24),
    (0, -14, 25),
    (0, -31, 19),
    (0, -38, 10),
]


def depths(at, cavity, anatomy, how):
    """Smooth depth fields (mm, positive inside) from which `paint` makes tissues.

    Parameters
    ----------
    at : triple of float64 arrays of shape (X, Y, Z), mm
    cavity : float64 array (X, Y, Z), signed distance (mm) to the inner skull
    anatomy : heads.Anatomy
    how : (float, np.random.Generator)
        Spacing (mm) of the grid; the generator draws the folding.

    Returns
    -------
    dict of float64 arrays (X, Y, Z), mm
    """
    fields = in_slabs(lambda part: _lobes(part[:3], part[3], anatomy), [*at, cavity])
    return fields | _folds(at, fields["surface"], anatomy, how)


def _lobes(at, cavity, anatomy):
    hull = -cavity - _fluid_gap(at, anatomy)
    stem = _stem(at)
    surface = np.minimum(hull, _fissure(at, anatomy))
    outside = join(_cisterns(at, stem), _above_tentorium(at), 3.0)
    return {
        "surface": surface,
        "cerebrum": np.minimum(surface, outside),
        "sylvian": _sylvian(at, anatomy),
        "cerebellum": _cerebellum(at, cavity, stem),
        "stem": stem,
    }


def _fluid_gap(at, anatomy):
    """Subarachnoid space (mm): wide over the top and in front when the brain shrank."""
    _, y, z = at
    high = ramp(z, 10.0, 60.0) + 0.6 * ramp(y, 20.0, 60.0) - 0.6 * ramp(-z, 5.0, 25.0)
    return anatomy.fluid_mm * (0.75 + 0.5 * high)


def _stem(at):
    x, y, z = at
    side = (np.abs(x), y, z)
    stem = tube(at, _STEM, _STEM_MM)
    peduncle = tube(side, [(7, -14, -8), (14, -8, 6)], [7, 7])
    arm = tube(side, [(8, -28, -30), (20, -46, -33)], [7.5, 5.5])
    return join(join(stem, peduncle, 5.0), arm, 5.0)


def _fissure(at, anatomy):
    """Depth below the walls of the fissure between hemispheres, above the callosum."""
    x, y, z = at
    core = ellipsoid((0.0 * y, y, z), (0, -3, 4), (1, 36, 23))
    ending = np.maximum(-core, 0.0)
    return np.sqrt(x * x + ending * ending) - 0.7 - 0.35 * anatomy.sulcus_mm


def _tentorium(at):
    x, y, _ = at
    return 3.0 - 0.58 * np.sqrt(x * x + 16.0) - 0.5 * np.maximum(-50.0 - y, 0.0)


def _above_tentorium(at):
    _, y, z = at
    return 0.85 * (z - _tentorium(at) - 2.0) + 0.7 * np.maximum(y + 38.0, 0.0)


def _cisterns(at, stem):
    """Signed distance to the fluid around the brain stem and above the sella."""
    _, _, z = at
    ambient = cut(stem - 3.5, z + 5.0)
    sella = ellipsoid(at, (0, 0, -20), (15, 17, 12))
    quadrigeminal = ellipsoid(at, (0, -42, 0), (11, 8, 9))
    return join(join(ambient, sella, 4.0), quadrigeminal, 4.0)


def _sylvian(at, anatomy):
    """Depth below the walls of the Sylvian fissure and the insula behind it."""
    x, y, z = at
    lateral, height = np.abs(x), z + 14.0 - 0.4 * (20.0 - y)
    inner = 38.0 - 15.0 * ramp(y, -2.0, 14.0)
    ends = np.maximum(np.maximum(y - 27.0, -42.0 - y), 0.0)
    slit = np.maximum(inner - lateral, 0.0)
    slit = np.sqrt((0.93 * height) ** 2 + slit * slit + ends * ends)
    over = np.maximum(np.abs(height - 4.0) - 10.0, 0.0)
    ends = np.maximum(np.abs(y - 0.0) - 20.0, 0.0)
    dome = 39.0 - 0.006 * y * y - 0.01 * (height - 4.0) ** 2
    insula = np.sqrt((lateral - dome) ** 2 + over * over + ends * ends)
    return np.minimum(slit, insula) - 0.6 - 0.8 * anatomy.sulcus_mm


def _cerebellum(at, cavity, stem):
    _, y, z = at
    lobes = ellipsoid(at, (0, -60, -30), (54, 37, 34))
    below = 0.87 * (z - _tentorium(at)) + 1.0
    shape = cut(cut(cavity + 2.5, lobes, 4.0), below, 4.0)
    return -cut(shape, 2.0 - stem - 0.25 * (y + 60.0), 2.0)


def _folds(at, surface, anatomy, how):
    """Signed distance to the sheets of the sulci, and the depth each one reaches.

    The sheets are the zero set of a band-passed random field that changes little with
    depth: it is read where the ray from the centre of the brain meets the surface.
    """
    spacing_mm, rng = how
    pattern = noise(rng, (48, 64, 52), 4.0, anatomy.gyrus_mm * 2.0)
    slow = noise(rng, (24, 32, 26), 8.0, 55.0)
    inside = np.flatnonzero(surface.ravel() > -4.0)
    here = [np.broadcast_to(a, surface.shape).ravel()[inside] for a in at]
    push = 1.0 + 0.6 * np.maximum(surface.ravel()[inside], 0.0) / 45.0
    spot = [(a * push + c) for a, c in zip(here, (96.0, 132.0, 96.0), strict=True)]
    sheet, reach = np.full(surface.shape, 9.0), np.full(surface.shape, 12.0)
    sheet.ravel()[inside] = _read(pattern, spot, 4.0)
    reach.ravel()[inside] = _read(slow, spot, 8.0)
    slope = np.sqrt(sum(g * g for g in np.gradient(sheet, spacing_mm)))
    typical = 2 * np.pi / (2.0 * anatomy.gyrus_mm)
    sheet = sheet / np.sqrt(slope * slope + (0.45 * typical) ** 2)
    return {"sheet": sheet, "reach": np.clip(14.0 + 5.0 * reach, 4.0, 23.0)}


def _read(lattice, spot, spacing_mm):
    return ndimage.map_coordinates(
        lattice, [s / spacing_mm for s in spot], order=3, mode="grid-wrap"
    )


def paint(labels, fields, anatomy):
    """Writes cerebrum, cerebellum and brain stem into a part of the tissue map.

    Parameters
    ----------
    labels : uint8 array (X, Y, Z), changed in place
    fields : dict of float64 arrays (X, Y, Z): `depths`, x, y, z (mm) and cavity
    anatomy : heads.Anatomy
    """
    _paint_cerebrum(labels, fields, anatomy)
    _paint_cerebellum(labels, fields)
    labels[(fields["stem"] < 0) & (fields["cavity"] < -0.5)] = tissues.WHITE


def _paint_cerebrum(labels, fields, anatomy):
    below = np.maximum(fields["surface"] - fields["reach"], 0.0)
    width = anatomy.sulcus_mm * (
        1.0 - 0.4 * np.clip(fields["surface"] / 15.0, 0.0, 1.0)
    )
    sulcus = np.maximum(np.abs(fields["sheet"]) - width, 0.0)
    closed = np.abs(fields["sheet"]) - width
    depth = np.where(below > 0, np.sqrt(sulcus * sulcus + below * below), closed)
    depth = np.minimum(np.minimum(fields["cerebrum"], fields["sylvian"]), depth)
    inside = depth > 0
    labels[inside & (depth < anatomy.cortex_mm)] = tissues.CORTEX
    labels[inside & (depth >= anatomy.cortex_mm)] = tissues.WHITE


def _paint_cerebellum(labels, fields):
    x, y, z = (fields[name] for name in "xyz")
    depth = fields["cerebellum"]
    bend = 0.08 * np.clip(fields["sheet"], -6.0, 6.0)
    phase = np.arctan2(z + 33.0, -(y + 40.0)) / 0.16 + 0.03 * np.abs(x) + bend
    leaf = np.abs(phase - np.floor(phase) - 0.5)  # 0 in a fissure, 0.5 amid a leaf
    slit = (leaf < 0.07) & (depth < 6.0)
    labels[(depth > 0) & ~slit] = tissues.CEREBELLUM
    core = (depth > 11.0) | ((depth > 4.0) & (leaf > 0.38))
    labels[core & (depth > 0)] = tissues.WHITE


def deep_fields(at, anatomy):
    """Signed distances (mm) to the deep nuclei, the ventricles and the callosum."""
    x, y, z = at
    side = (np.abs(x), y, z)
    grey = ellipsoid(side, (10.5, -18, 7), (8.5, 14, 8.5))
    putamen = ellipsoid(tilted(side, (25, 1, 1), 0.1), (25, 1, 1), (5.2, 16, 9))
    grey = np.minimum(grey, putamen)
    grey = np.minimum(grey, ellipsoid(side, (18, -5, -1), (4.5, 8, 5)))
    grey = np.minimum(grey, tube(side, _CAUDATE, [5.5, 5.0, 3.2, 2.0]))
    grey = np.minimum(grey, ellipsoid(side, (22, -4, -18), (7, 7, 7)))
    hippocampus = [(20, -34, -4), (26, -22, -13), (24, -9, -18)]
    grey = np.minimum(grey, tube(side, hippocampus, [3.5, 4.5, 5.0]))
    narrow = (np.maximum(side[0] - 11.0, 0.0), y, z)
    callosum = tube(narrow, _CALLOSUM, [2.2, 4.6, 3.6, 3.0, 3.0, 3.6, 5.0])
    ventricle = _ventricles(at, anatomy)
    return {"grey": grey, "ventricle": ventricle, "callosum": callosum}


def paint_deep(labels, fields):
    """Writes deep nuclei, ventricles and corpus callosum, where brain is."""
    solid = (labels == tissues.WHITE) | (labels == tissues.CORTEX)
    labels[(fields["grey"] < 0) & solid] = tissues.DEEP_GREY
    wall = (fields["ventricle"] < 1.2) & (labels == tissues.FLUID)
    labels[wall] = tissues.WHITE
    solid |= wall | (labels == tissues.CEREBELLUM)
    labels[(fields["ventricle"] < 0) & solid] = tissues.VENTRICLE
    labels[fields["callosum"] < 0] = tissues.WHITE


def _ventricles(at, anatomy):
    """Signed distance to the lateral, third and fourth ventricles."""
    x, y, z = at
    side = (np.abs(x), y, z)
    big = anatomy.ventricle
    lateral = tube(side, _LATERAL, [big * r for r in _LATERAL_MM])
    occipital = tube(side, [(24, -42, 7), (22, -64, 4)], [4.5 * big, 1.5 * big])
    horn = [(26, -42, 3), (33, -28, -9), (30, -12, -17)]
    temporal = tube(side, horn, [4.0 * big, 2.6 * big, 2.0 * big])
    lateral = join(join(lateral, occipital, 3.0), temporal, 3.0)
    lateral = cut(lateral, 0.9 - side[0])
    third = ellipsoid(at, (0, -9, -1), (1.0 + 1.3 * big, 16, 10))
    fourth = ellipsoid(at, (0, -40, -31), (3.5 + 3.0 * big, 3.0 + big, 9))
    aqueduct = tube(at, [(0, -24, -5), (0, -36, -24)], [1.2, 1.4])
    return np.minimum(np.minimum(lateral, third), np.minimum(fourth, aqueduct))
