"""Walls of a torso: skin, fat, muscle, ribs and spine from coordinates.

Coordinates are mm in the frame of an average torso whose spine is straight: origin at
the centre of the first lumbar vertebra, x to the right, y to the front, z up. A part is
a pair of functions: signed distances (`shapes`) on a coarse grid, and the tissues they
mean on a fine one.
"""

import numpy as np

from noisyseg import torso_tissues as ids
from noisyseg.shapes import cut, ellipsoid, join, ramp, tube

# z of the centres of the vertebrae L5 to T2; two stand outside the field of view
LEVELS_MM = (-136, -101, -68, -34, 0, 31, 60, 87, 113, 138, 163, 188, 213, 237, 259)
_WALL_Z = (-120, -60, 0, 50, 90, 140, 190, 230)
_SIDE_MM = (116, 121, 128, 132, 132, 125, 112, 96)
_BACK_MM = (-40, -42, -45, -47, -48, -48, -45, -40)
_FRONT_MM = (86, 98, 113, 123, 125, 119, 106, 90)


def along(z, heights_mm, values):
    """Values at the heights z, linear between those listed."""
    return np.interp(z, heights_mm, values)


def oval(x, y, half_width, half_depth):
    """Signed distance (mm, first order) to an oval a little squarer than an ellipse."""
    u, v = (x / half_width) ** 2, (y / half_depth) ** 2
    two, four = np.sqrt(u + v), np.sqrt(np.sqrt(u * u + v * v))
    slope = np.sqrt(u / half_width**2 + v / half_depth**2)
    return (0.5 * (two + four) - 1.0) * two / np.maximum(slope, 1e-9)


def cavity(at, torso):
    """Signed distance (mm) to the inner surface of chest and abdominal wall."""
    x, y, z = at
    front = along(z, _WALL_Z, _FRONT_MM) + torso.visceral_mm * ramp(-z, -100.0, -10.0)
    back = along(z, _WALL_Z, _BACK_MM)
    width = along(z, _WALL_Z, _SIDE_MM) + 0.3 * torso.visceral_mm * ramp(-z, -60.0, 0.0)
    return oval(x, y - 0.5 * (front + back), width, 0.5 * (front - back))


def diaphragm(at, torso):
    """Signed distance (mm) to the domes of the diaphragm, negative in the abdomen."""
    x, y, z = at
    up = (x, y, np.maximum(z - torso.breath_mm, 6.0))
    right = ellipsoid(up, (60, 34, 6), (84, 104, 82))
    left = ellipsoid(up, (-58, 34, 6), (83, 104, 68))
    middle = ellipsoid(up, (0, 48, 6), (60, 76, 60))
    return join(join(right, left, 20.0), middle, 20.0)


def wall_fields(at, torso):
    """Distance to the inner surface of the wall, its thickness and that of its fat."""
    x, y, z = at
    inner = cavity(at, torso)
    side, low = np.abs(x), ramp(-z, -50.0, 10.0)
    belly = low * ramp(y, 40.0, 75.0)
    thick = 15.0 - 5.0 * belly * (1.0 + ramp(side, 55.0, 66.0) * ramp(-side, -95, -80))
    thick = thick + 8.0 * ramp(-y, 5.0, 45.0) * ramp(-side, -105.0, -75.0)
    axilla = ramp(z, 120.0, 210.0)
    thick = thick + axilla * (2.0 + 16.0 * ramp(side, 50.0, 110.0))
    fat = (
        1.0 + low * (0.35 * ramp(-y, -40.0, 30.0) + 0.15) - 0.35 * ramp(z, 60.0, 150.0)
    )
    bulge = ellipsoid((side, y, z), (66, 112, 132), (58, 40, 52))
    return {
        "inner": inner,
        "muscle": torso.muscle * thick,
        "fat": torso.fat_mm * fat,
        "breast": bulge + 60.0 * (1.0 - torso.breast),
        "dome": diaphragm(at, torso),
    }


def paint_wall(labels, fields, torso):
    """Writes skin, fat, muscle and what fills chest and abdomen."""
    skin_mm, inner = torso.skin_mm, fields["inner"]
    uneven = 1.0 + 0.18 * fields["slow"]
    outer = inner - fields["muscle"] - fields["fat"] * uneven
    outer = join(outer, fields["breast"], 16.0)
    labels[outer < skin_mm] = ids.SKIN
    labels[outer < 0] = ids.FAT
    septa = np.abs(fields["septa"]) < 0.035
    solid = (inner < fields["muscle"]) & ~septa
    line = (np.abs(fields["x"]) < 2.5) & (fields["y"] > 40) & (fields["z"] < 40)
    labels[solid & (inner > 0) & ~line] = ids.MUSCLE
    labels[inner <= 0] = ids.FAT
    chest = fields["dome"] > 0
    sheet = (fields["dome"] < 2.5) & chest & (inner <= 0)
    labels[sheet] = ids.MUSCLE
    labels[chest & ~sheet & (inner < -1.5)] = ids.LUNG
    thread = fields["thread"] < 0.07 + 0.16 * ramp(-np.abs(fields["x"]), -75.0, -35.0)
    labels[thread & (labels == ids.LUNG)] = ids.LUNG_VESSEL


def rib_fields(at, torso):
    """Distances to the ribs and the breast bone, which lie in the chest wall."""
    x, y, z = at
    side = np.abs(x)
    inner = cavity(at, torso)
    drop = z + torso.rib_slope * (y + 50.0)
    level = along(drop, LEVELS_MM, np.arange(len(LEVELS_MM)))
    near = np.floor(level + 0.5)
    height = drop - along(near, np.arange(len(LEVELS_MM)), LEVELS_MM)
    rib = ellipsoid((inner, height, 0.0), (5.0, 0, 0), (4.2, 7.5, 1e6))
    end = along(near, (4, 5, 6, 7, 8, 14), (-60, -5, 50, 90, 112, 150))
    rib = np.maximum(np.maximum(rib, y - end), 12.0 - side)
    plate = np.maximum(np.abs(inner - 5.5) - 5.0, side - 17.0 + 0.02 * (220.0 - z))
    plate = np.maximum(plate, np.maximum(104.0 - z, 60.0 - y))
    joint = 86.0 - 0.3 * (near - 5.0) * 8.0
    margin = cut(np.abs(inner - 6.0) - 5.0, np.abs(z - 122.0 + 1.15 * side) - 8.0)
    margin = np.maximum(np.maximum(margin, 50.0 - y), np.maximum(z - 118, -30 - z))
    return {
        "rib": rib,
        "bone": joint - y,
        "plate": plate,
        "margin": margin,
    }


def blade_fields(at, torso):
    """Distance to the shoulder blades."""
    x, y, z = at
    sheet = np.abs(cavity(at, torso) - torso.muscle * 19.0) - 2.2
    width = 58.0 - 0.5 * np.maximum(215.0 - z, 0.0)
    reach = np.maximum(np.abs(np.abs(x) - 98.0) - 0.5 * width, 158.0 - z)
    return {"blade": np.maximum(np.maximum(sheet, reach), y - 5.0)}


def paint_blade(labels, fields, torso):
    """Writes the shoulder blades into the muscle behind the ribs."""
    blade = (fields["blade"] < 0) & (labels == ids.MUSCLE)
    labels[blade] = ids.COMPACT
    labels[blade & (fields["blade"] < -1.5)] = ids.SPONGIOSA


def paint_ribs(labels, fields, torso):
    """Writes ribs with their marrow, cartilages and breast bone."""
    wall = (labels == ids.MUSCLE) | (labels == ids.FAT)
    bony = fields["bone"] > 0
    for name, shell_mm in (("rib", 1.6), ("plate", 1.5)):
        inside = (fields[name] < 0) & wall
        hard = inside & (bony | (name != "rib"))
        labels[hard] = ids.COMPACT
        labels[hard & (fields[name] < -shell_mm)] = ids.SPONGIOSA
        labels[inside & ~hard] = ids.CARTILAGE
    soft = (fields["margin"] < 0) & wall & (labels != ids.COMPACT)
    labels[soft & (labels != ids.SPONGIOSA)] = ids.CARTILAGE


def muscle_fields(at, torso):
    """Distances to the muscles along the spine and to the crura of the diaphragm."""
    x, y, z = at
    side = (np.abs(x), y, z)
    strong = torso.muscle
    psoas = [(25, -4, 12), (33, -2, -30), (38, 2, -68), (43, 9, -110), (47, 14, -140)]
    size = [strong * r for r in (4.0, 10.0, 14.0, 16.5, 17.5)]
    width = along(z, (-110, -20, 40, 110), (33, 35, 27, 20)) * strong
    depth = along(z, (-110, -20, 40, 110), (19, 18, 13, 10)) * strong
    erector = oval(side[0] - 1.0 - width, y + 50.0, width, depth)
    erector = np.minimum(erector, oval(side[0], y + 40.0, 40.0 * strong, 14.0))
    flank = ellipsoid(side, (66, -44, -70), (24 * strong, 7 * strong, 72))
    right = [(15, 17, -90), (13, 22, -50), (7, 27, 0), (7, 38, 40), (14, 44, 66)]
    left = [(-21, 14, -70), (-26, 17, -40), (-29, 23, 0), (-29, 30, 30), (-20, 48, 66)]
    crus = np.minimum(
        tube(at, right, [2, 4, 5.5, 5.5, 4]), tube(at, left, [2, 4, 4.5, 4.5, 4])
    )
    stretch = (side[0] * 1.15, 0.87 * y, z)
    psoas = [(1.15 * a, 0.87 * b, c) for a, b, c in psoas]
    belly = np.minimum(np.minimum(tube(stretch, psoas, size), flank), erector)
    return {"belly": belly, "crus": crus}


def paint_muscles(labels, fields, torso):
    """Writes muscles with the fat between their bundles."""
    bundle = (fields["belly"] < 0) & (np.abs(fields["septa"]) > 0.06)
    labels[bundle & (labels != ids.COMPACT)] = ids.MUSCLE
    labels[(fields["crus"] < 0) & (labels != ids.LUNG)] = ids.MUSCLE


def spine_fields(at, torso):
    """Distances to vertebral bodies, discs, arches and canal."""
    x, y, z = at
    side = np.abs(x)
    level = along(z, LEVELS_MM, np.arange(len(LEVELS_MM)))
    near = np.floor(level + 0.5)
    local = z - along(near, np.arange(len(LEVELS_MM)), LEVELS_MM)
    count = np.arange(len(LEVELS_MM))
    half_mm = along(near, count, 0.5 * np.gradient(np.array(LEVELS_MM, float)))
    disc_mm = along(z, (-100, 0, 100, 200), (9.0, 7.0, 4.5, 3.5))
    waist = 2.0 * ramp(-np.abs(local), -12.0, -3.0)
    width = along(z, (-120, -30, 60, 130, 220), (25.5, 22.5, 18.0, 15.5, 14.0)) - waist
    depth = along(z, (-120, -30, 60, 130, 220), (17.5, 17.0, 15.5, 14.5, 13)) - waist
    column = cut(oval(x, y, width, depth), -oval(x, y + 24.5, 11.0, 9.5), 3.0)
    canal = oval(x, y + 24.0, 10.0, 8.0)
    return {
        "column": column,
        "slab": np.abs(local) - half_mm + 0.5 * disc_mm,
        "canal": canal,
        "arch": _arch(side, y, local, z),
        "gap": local,
    }


def _arch(side, y, local, z):
    """Lamina, joints, transverse and spinous processes of each vertebra."""
    chest = ramp(z, 20.0, 60.0)
    at = (side, y, local)
    ring = np.maximum(oval(side, y + 25.0, 16.0, 13.5), np.abs(local + 2.0) - 10.0)
    facet = ellipsoid((side, y, np.abs(local)), (15, -35, 13), (6.0, 6.0, 9.0))
    reach, back = 36.0 - 6.0 * chest, -27.0 - 15.0 * chest
    span = np.clip((side - 14.0) / (reach - 14.0), 0.0, 1.0)
    line = -25.0 + span * (back + 25.0)
    away = np.maximum(side - reach, 0.0)
    wing = np.sqrt((y - line) ** 2 + (local - 3.0) ** 2 + away * away) - 4.0
    tail = ellipsoid(at, (0, -50, -4.0), (3.4, 18.0, 11.0))
    return np.minimum(np.minimum(ring, facet), np.minimum(wing, tail))


def paint_spine(labels, fields, torso):
    """Writes vertebrae with their shells and marrow, discs and canal."""
    column, slab = fields["column"], fields["slab"]
    body = np.maximum(column, slab)
    labels[(column < -0.5) & (slab >= 0)] = ids.DISC
    bone = np.minimum(body, fields["arch"])
    labels[bone < 0] = ids.COMPACT
    labels[bone < -1.5] = ids.SPONGIOSA
    labels[fields["canal"] < 0] = ids.CANAL


_WALL_NEEDS = ("x", "y", "z", "slow", "septa", "thread")
PARTS = (
    ((-220, 220, -150, 240, -400, 500), wall_fields, paint_wall, _WALL_NEEDS),
    ((-150, 150, -75, 145, -60, 300), rib_fields, paint_ribs, ()),
    ((-135, 135, -90, 10, 150, 300), blade_fields, paint_blade, ()),
    ((-95, 95, -75, 60, -200, 300), muscle_fields, paint_muscles, ("septa",)),
    ((-46, 46, -75, 25, -200, 300), spine_fields, paint_spine, ()),
)
"""Parts for `torso_painting`."""
