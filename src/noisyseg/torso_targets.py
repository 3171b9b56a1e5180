"""The target organs of a torso: kidneys, oesophagus and aorta from coordinates.

Coordinates as in `torso_walls`; these parts are painted last.
"""

import numpy as np

from noisyseg import torso_tissues as ids
from noisyseg.shapes import cut, ellipsoid, ramp, tube
from noisyseg.torso_walls import along

_DESCENDING = (
    (-7, 36, -92),
    (-9, 36, -78),
    (-13, 35, -50),
    (-15, 31, -20),
    (-15, 29, 8),
    (-16, 31, 30),
    (-16, 30, 50),
    (-16, 29, 70),
    (-17, 27, 90),
    (-19, 25, 112),
    (-21, 23, 135),
    (-23, 22, 165),
    (-23, 24, 190),
)
_ARCH = ((-21, 30, 208), (-13, 43, 219), (-1, 57, 222), (11, 69, 212))
_ASCENDING = ((16, 76, 190), (13, 80, 168), (4, 78, 148))
_DESCENDING_MM = (0.7, 0.72, 0.75, 0.78, 0.86, 0.97, 1, 1, 1, 1.01, 1.02, 1.04, 1.06)
_ARCH_MM = (1.08, 1.1, 1.14, 1.2, 1.27, 1.3, 1.27)
_GULLET = (
    (-36, 46, 54),
    (-27, 53, 64),
    (-19, 52, 73),
    (-10, 47, 88),
    (-3, 41, 106),
    (0, 35, 127),
    (1, 33, 146),
    (-1, 33, 166),
    (-1, 30, 186),
    (5, 24, 206),
    (8, 19, 226),
    (8, 19, 260),
)


def kidney_fields(at, torso, side):
    """Distances to one kidney: whole bean, sinus, pelvis, and place along its axis.

    Parameters
    ----------
    at : triple of float64 arrays, mm
    torso : torsos.Torso
    side : int
        1 for the right kidney, -1 for the left.
    """
    right = side > 0
    centre = torso.kidney_right_mm if right else torso.kidney_left_mm
    half_mm = torso.kidney_right_half_mm if right else torso.kidney_left_half_mm
    turn = torso.kidney_right_rad if right else torso.kidney_left_rad
    wide, thick, high = half_mm
    medial, depth, axis = _kidney_frame(at, centre, turn, side)
    bent = medial - 0.09 * wide * (axis / (0.6 * high)) ** 2 + 0.09 * wide
    bean = ellipsoid((bent, depth, axis), (0, 0, 0), (wide, thick, high))
    here = (medial, depth, axis)
    open_mm = (0.66 * wide, 0.36 * thick, 0.42 * high)
    sinus = ellipsoid(here, (0.74 * wide, 0.05 * thick, 0), open_mm)
    basin = (0.32 * wide, 0.16 * thick, 0.16 * high)
    pelvis = ellipsoid(here, (0.72 * wide, -0.05 * thick, -0.05 * high), basin)
    return {
        "bean": bean,
        "sinus": sinus,
        "pelvis": pelvis,
        "axis": axis,
        "depth": depth,
    }


def _kidney_frame(at, centre, turn, side):
    """Coordinates towards the hilum, across and along the kidney (mm)."""
    out, y, z = side * (at[0] - centre[0]), at[1] - centre[1], at[2] - centre[2]
    coronal, sagittal, axial = ((np.cos(a), np.sin(a)) for a in turn)
    out, z = coronal[0] * out + coronal[1] * z, coronal[0] * z - coronal[1] * out
    y, z = sagittal[0] * y + sagittal[1] * z, sagittal[0] * z - sagittal[1] * y
    medial = axial[1] * y - axial[0] * out
    return medial, axial[0] * y + axial[1] * out, z


def paint_kidney(labels, fields, torso, side):
    """Writes one kidney with the fat around it and in its sinus."""
    cortex = ids.RIGHT_CORTEX if side > 0 else ids.LEFT_CORTEX
    medulla = ids.RIGHT_MEDULLA if side > 0 else ids.LEFT_MEDULLA
    bean = fields["bean"] + 0.7 * fields["fine"]
    sinus = fields["sinus"] - 1.6 * fields["fine"]
    near = (bean < torso.perirenal_mm) & np.isin(labels, _YIELDING)
    labels[near] = ids.FAT
    flesh = cut(bean, -sinus, 3.0)
    labels[flesh < 0] = cortex
    pyramid = _pyramids(fields["axis"], fields["depth"], torso.pyramid_mm)
    deep = (bean < -torso.cortex_mm - 1.2 * fields["fine"]) & pyramid
    labels[deep & (flesh < 0)] = medulla
    hollow = (sinus < 0) & (bean < 0) & (flesh >= 0)
    vessels = (labels == ids.VEIN) | (labels == ids.ARTERY)
    labels[hollow & ~vessels] = ids.FAT
    labels[hollow & (fields["pelvis"] < 0)] = ids.URINE
    labels[hollow & (fields["thread"] < 0.22)] = ids.VEIN


def _pyramids(axis, depth, size_mm):
    """Staggered round bundles along and across the kidney, bool."""
    row = np.floor(axis / size_mm)
    along_ = axis / size_mm - row - 0.5
    across = depth / size_mm + 0.5 * (row - 2.0 * np.floor(0.5 * row))
    across = across - np.floor(across) - 0.5
    return along_ * along_ + across * across < 0.17


_YIELDING = (
    ids.LIVER,
    ids.LIVER_VESSEL,
    ids.SPLEEN,
    ids.PANCREAS,
    ids.STOMACH_WALL,
    ids.STOMACH_CONTENT,
    ids.GAS,
    ids.BOWEL_WALL,
    ids.BOWEL_CONTENT,
    ids.FAECES,
    ids.GALLBLADDER,
)


def gullet_fields(at, torso):
    """Distance to the outside of the oesophagus, and half-width of its lumen (mm)."""
    x, y, z = at
    flat, radius = torso.oesophagus_flat, torso.oesophagus_mm
    points = _moved(_GULLET, torso.oesophagus_shift_mm)
    stretched = [(a / flat, b * flat, c) for a, b, c in points]
    shares = (0.9, 1.0, 0.98, 1.0, 1.02, 0.98, 0.95, 0.97, 1.0, 1.0, 0.95, 0.95)
    sizes = [radius * s for s in shares]
    outside = tube((x / flat, y * flat, z), stretched, sizes)
    return {"gullet": outside}


def paint_gullet(labels, fields, torso):
    """Writes the oesophagus with its air pockets down to the stomach."""
    gullet = fields["gullet"] + 0.6 * fields["fine"]
    solid = (labels == ids.COMPACT) | (labels == ids.SPONGIOSA)
    taken = np.isin(labels, (ids.STOMACH_WALL, ids.STOMACH_CONTENT, ids.GAS))
    taken |= solid | (labels == ids.AIRWAY) | (labels == ids.DISC)
    inside = (gullet < 0) & ~taken
    labels[inside] = ids.OESOPHAGUS
    opening = torso.oesophagus_mm * (0.08 + 0.28 * fields["slow"] + torso.air)
    core = gullet < opening - torso.oesophagus_mm
    labels[inside & core & (gullet < -2.2)] = ids.OESOPHAGUS_AIR


def aorta_fields(at, torso):
    """Distance to the outside of the aorta from its root to the bifurcation."""
    points = [*_moved(_DESCENDING, torso.aorta_wander_mm), *_ARCH, *_ASCENDING]
    sizes = [torso.aorta_mm * r for r in _DESCENDING_MM + _ARCH_MM]
    taper = along(np.array([p[2] for p in points]), (-92, 60), (torso.taper, 1.0))
    return {
        "aorta": tube(at, points, [s * t for s, t in zip(sizes, taper, strict=True)])
    }


def _moved(points, wander_mm):
    """The points, shifted sideways and to the front by waves along z (mm)."""
    ax, ay, bx, by = wander_mm
    moved = []
    for x, y, z in points:
        long, short = ramp(z, -100.0, 40.0), ramp(z, 20.0, 140.0)
        wave = 4.0 * long * (1.0 - long), 4.0 * short * (1.0 - short)
        moved.append(
            (x + ax * wave[0] + bx * wave[1], y + ay * wave[0] + by * wave[1], z)
        )
    return moved


def paint_aorta(labels, fields, torso):
    """Writes the aorta: blood, wall, plaques of old age, and the fat around it."""
    tube_mm = fields["aorta"] + 0.35 * fields["fine"]
    labels[(tube_mm < 1.2) & np.isin(labels, _YIELDING)] = ids.FAT
    bony = (labels == ids.COMPACT) | (labels == ids.SPONGIOSA) | (labels == ids.DISC)
    whole = (tube_mm < 0) & ~bony
    labels[whole] = ids.AORTA_WALL
    labels[whole & (tube_mm < -1.5)] = ids.AORTA
    shell = whole & (tube_mm > -2.2) & (tube_mm < -0.4)
    labels[shell & (fields["septa"] > 3.6 - 0.037 * (torso.age_years - 22.0))] = (
        ids.PLAQUE
    )


def _kidney_part(limits, side):
    def fields(at, torso):
        return kidney_fields(at, torso, side)

    def paint(labels, values, torso):
        paint_kidney(labels, values, torso, side)

    return limits, fields, paint, ("fine", "thread")


PARTS = (
    _kidney_part((20, 125, -65, 50, -125, 75), 1),
    _kidney_part((-125, -20, -65, 50, -110, 90), -1),
    ((-55, 30, 0, 75, 40, 300), gullet_fields, paint_gullet, ("fine", "slow")),
    ((-55, 45, 0, 105, -115, 300), aorta_fields, paint_aorta, ("fine", "septa")),
)
"""Parts for `torso_painting`."""
