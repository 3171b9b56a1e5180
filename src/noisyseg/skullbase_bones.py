"""Skull base: petrous bones, clivus, air cells, vessels and soft tissue around them.

Coordinates are mm in the frame of an average head (see `skulls`). Fields are signed
distances (`shapes`), negative inside; `side` stands for (|x|, y, z).
"""

from itertools import pairwise

import numpy as np

from noisyseg import shapes, tissues
from noisyseg.shapes import cut, ellipsoid, join

FAR_MM = 6.0  # distances to tubes are cut off here
RIDGE_Z = -33.0  # upper edge of the petrous bone
_MARROW = (2.0, 2.2)  # compact shell (mm), and how rough the inner border is


def tube(at, points, radii):
    """As `shapes.tube`, cut off at `FAR_MM`: pieces that lie aside cost nothing."""
    low, high = at[0].min() - FAR_MM, at[0].max() + FAR_MM
    distance = FAR_MM
    for (a, ra), (b, rb) in pairwise(zip(points, radii, strict=True)):
        if max(a[0] + ra, b[0] + rb) > low and min(a[0] - ra, b[0] - rb) < high:
            distance = np.minimum(distance, shapes.tube(at, [a, b], [ra, rb]))
    if distance is FAR_MM:
        return np.full(np.broadcast_shapes(*(a.shape for a in at)), FAR_MM)
    return distance


def petrous_depth(side):
    """Distance (mm) behind the posterior face of the petrous bone, negative in front.

    The face runs at half a right angle to the midline, through the inner ear canal.
    """
    x, y, z = side
    return -(x + y + 6.0 - 0.25 * (z + 42.0)) * np.sqrt(0.5)


def petrous(at):
    """Signed distance (mm, first order) to the petrous pyramids."""
    side = x, y, z = np.abs(at[0]), at[1], at[2]
    behind = petrous_depth(side)
    above = 0.92 * (z - RIDGE_Z + 0.35 * np.maximum(-behind, 0.0))
    above = join(above, ellipsoid(side, (35.5, -25.5, -38.0), (6.0, 6.0, 6.5)), 3.0)
    ahead = 0.94 * (y + 4.5 + 0.35 * (x - 10.0))
    pyramid = cut(cut(behind, above, 4.0), ahead, 5.0)
    pyramid = cut(pyramid, 8.0 - x, 4.0)
    return cut(pyramid, -58.0 - z, 4.0)


def inner_skull(at, cavity):
    """Signed distance to the inside of the skull, the pyramids standing into it."""
    return cut(cavity, -petrous(at), 2.0)


def bone_fields(at, thick, base):
    """Signed distances (mm) to the bones and cavities of the base.

    Parameters
    ----------
    at : triple of float64 arrays, mm
    thick : float64 array
        Thickness (mm) of the skull's wall.
    base : skullbase_heads.SkullBase
    """
    x, y, z = at
    side = np.abs(x), y, z
    clivus = tube(at, [(0, 12, -38), (0, -4, -45), (0, -25, -64)], [13, 11, 6])
    mastoid = ellipsoid(side, (51, -40, -48), (17, 17, 20))
    condyle = ellipsoid(side, (14, -36, -66), (7, 9, 6))
    wing = tube(side, [(14, 8, -44), (34, 8, -50), (56, 2, -44)], [5, 4, 5])
    bone = join(join(clivus, mastoid, 4.0), np.minimum(condyle, wing), 2.0)
    bone = join(bone, petrous(at), 2.0)
    aeration = base.aeration
    cells = ellipsoid(
        side, (50, -40, -48), (14 * aeration, 14 * aeration, 17 * aeration)
    )
    cells = cut(cells, bone + 2.0)
    drum = tube(side, [(41.5, -21, -36), (42.5, -22, -47)], [2.6, 3.0])
    drum = np.minimum(drum, tube(side, [(42, -23, -36), (46, -33, -36)], [2.5, 5]))
    canal = tube(side, [(43, -22, -44), (80, -26, -45)], [3.4, 3.6])
    s = base.sphenoid
    sinus = ellipsoid(side, (7.5, 9, -36), (7 * s, 12 * s, 9 * s))
    spine = tube(at, [(0, -28, -74), (0, -32, -120)], [6, 8])
    arch = np.abs(tube(at, [(0, -43, -70), (0, -48, -120)], [13, 12])) - 2.0
    spine = np.minimum(spine, arch)
    throat = tube(at, [(0, 14, -62), (0, 4, -72), (0, -2, -110)], [8, 8, 6])
    return {
        "bone": bone,
        "shell": thick,
        "cells": cells,
        "air": np.minimum(np.minimum(drum, canal), np.minimum(sinus, throat)),
        "throat": throat,
        "spine": cut(spine, z + 70.0),
        "fossa": ellipsoid(side, (17, -9, -34), (3.2, 6.5, 3.6)),
    }


def paint_base(labels, fields):
    """Writes soft tissue, bones, air and the fluid inside the skull into a slab.

    Parameters
    ----------
    labels : uint8 array, changed in place
    fields : dict of float64 arrays: `bone_fields`, inner, septa, grain and fine
        (noise)
    """
    septa, inner, bone = fields["septa"], fields["inner"], fields["bone"]
    labels[...] = tissues.MUSCLE
    fatty = (np.abs(septa) < 0.16) | (septa > 1.2) | (np.abs(fields["grain"]) < 0.03)
    labels[fatty] = tissues.FAT
    _paint_spongy(labels, np.minimum(fields["spine"], bone), fields["grain"])
    shell = (inner > 0) & (inner < fields["shell"])
    labels[shell] = tissues.COMPACT
    middle = (inner > 1.6) & (inner < fields["shell"] - 1.6)
    labels[middle] = tissues.MARROW
    labels[(fields["throat"] < 1.5) & (inner > 1.0)] = tissues.MUCOSA
    walls = 1.1 - 2.2 * np.abs(fields["fine"])  # of the air cells
    air = np.minimum(fields["air"], np.maximum(fields["cells"], walls))
    labels[(air < 0.8) & (inner > 1.0)] = tissues.COMPACT
    labels[(fields["throat"] < 0.8) & (inner > 1.0)] = tissues.MUCOSA
    labels[(air < 0) & (inner > 1.2)] = tissues.AIR
    labels[inner < 0] = tissues.FLUID


def _paint_spongy(labels, bone, rough):
    """Bone with marrow inside."""
    labels[bone < 0] = tissues.COMPACT
    shell, amount = _MARROW
    labels[bone < -shell - amount * (1.0 + rough)] = tissues.MARROW


def vessel_fields(at, base):
    """Signed distances (mm) to arteries and venous sinuses."""
    x, y, z = at
    side = np.abs(x), y, z
    bend = base.basilar_mm
    basilar = [(0, -9, -22), (0.6 * bend, -14, -32), (bend, -18, -42), (0, -25, -51)]
    artery = tube(at, basilar, [1.7, 1.7, 1.8, 1.7])
    vertebral = [(0.5, -25, -51), (7, -31, -62), (13, -38, -74), (16, -42, -90)]
    artery = np.minimum(artery, tube(side, vertebral, [1.5, 1.6, 1.6, 1.6]))
    carotid = [
        (27, -12, -110),
        (27, -13, -58),
        (26, -13.5, -50),
        (19, -8, -46),
        (12, -2, -42),
        (9, 6, -34),
        (8, 11, -28),
    ]
    artery = np.minimum(artery, tube(side, carotid, [2.7, 2.7, 2.7, 2.5, 2.5, 2.4, 2]))
    wide = np.where(x > 0, base.right_sinus, 2.0 - base.right_sinus)
    sigmoid = [(58, -62, -32), (51, -53, -40), (45, -47, -50), (37, -38, -57)]
    vein = tube(side, sigmoid, [4.2, 4.2, 4.2, 4.2])
    bulb = [(37, -38, -57), (30, -30, -56), (29, -23, -66), (29, -20, -110)]
    vein = np.minimum(vein, tube(side, bulb, [4.2, 4.6, 4.2, 4.6])) + 3.0 * (1.0 - wide)
    cavernous = ellipsoid(side, (11, 5, -30), (3.6, 9, 5))
    straight = tube(at, [(0, -62, -4), (0, -110, -20)], [2, 3])
    vein = np.minimum(vein, np.minimum(cavernous, straight))
    return {"artery": artery, "vein": vein}


def paint_vessels(labels, fields):
    """Writes venous sinuses and arteries, and thin bone around those in the base."""
    outside = fields["inner"] > 0.0
    near = np.minimum(fields["vein"], fields["artery"]) < 1.0
    airy = (labels == tissues.AIR) | (labels == tissues.MARROW)
    labels[near & outside & airy] = tissues.COMPACT
    free = (labels != tissues.WHITE) & (labels != tissues.CEREBELLUM)
    labels[(fields["vein"] < 0) & (outside | free)] = tissues.VEIN
    labels[(fields["artery"] < 0) & (outside | free)] = tissues.ARTERY


def stem_fields(at):
    """Signed distances (mm) to the brain stem, and to it with the arms of the pons."""
    side = np.abs(at[0]), at[1], at[2]
    pons = ellipsoid(at, (0, -31, -33), (17.5, 12.5, 13.5))
    midbrain = tube(at, [(0, -24, -14), (0, -29, -28)], [13, 13])
    legs = tube(side, [(7, -14, -8), (14, -8, 6)], [7, 7])
    arm = tube(side, [(11, -35, -35), (25, -49, -38)], [8.5, 6])
    course = [(0, -35, -46), (0, -40, -58), (0, -45, -76), (0, -50, -120)]
    medulla = tube(at, course, [9.0, 7.5, 6.0, 6.0])
    stem = join(join(join(pons, midbrain, 4.0), legs, 4.0), medulla, 3.0)
    return stem, join(stem, arm, 5.0)


def cerebellum(at, inner, brain_stem):
    """Depth (mm, positive inside) of the cerebellum, behind the brain stem.

    The cistern between it, the pons and the petrous bone is left free. Depths are half
    of the true ones, so that the leaves of `brains.paint` are twice as long.
    """
    side = np.abs(at[0]), at[1], at[2]
    lobes = ellipsoid(at, (0, -62, -34), (54, 38, 33))
    floccule = ellipsoid(side, (19.5, -39, -45), (4.5, 4.5, 3.5))
    shape = cut(cut(inner + 2.0, lobes, 4.0), _tentorium(at), 4.0)
    cistern = ellipsoid(side, (18, -29, -43), (9.5, 12.0, 9.0))
    shape = cut(shape, -cistern, 3.0)
    shape = cut(shape, 2.5 * (1.5 - brain_stem), 2.0)
    vallecula = ellipsoid(at, (0, -52, -60), (6, 12, 9))
    shape = cut(shape, -vallecula, 3.0)
    return -0.5 * join(shape, cut(floccule, inner + 1.0), 1.5)


def fourth_ventricle(at, big):
    """Signed distance (mm) to the fourth ventricle, `big` its size around 1."""
    side = np.abs(at[0]), at[1], at[2]
    body = ellipsoid(at, (0, -46, -36), (7.0 * big, 3.2 * big, 9.0))
    recess = tube(side, [(4, -45, -42), (13, -42, -46)], [1.6, 1.0])
    aqueduct = tube(at, [(0, -32, -10), (0, -43, -29)], [1.2, 1.6])
    return np.minimum(join(body, recess, 2.0), aqueduct)


def _tentorium(at):
    """Signed distance (mm, first order) to all that lies below the tentorium."""
    x, y, z = at
    sheet = 3.0 - 0.58 * np.sqrt(x * x + 16.0) - 0.5 * np.maximum(-50.0 - y, 0.0)
    return 0.87 * (z - sheet) + 1.0


def trigeminal(at):
    """Signed distance (mm) to the trigeminal nerves, the thickest of this region."""
    side = np.abs(at[0]), at[1], at[2]
    return tube(side, [(15, -28, -35), (17, -14, -33.5)], [1.5, 1.3])
