"""Skulls and faces: bone, air, eyes and soft tissue from coordinates.

Coordinates are mm in the frame of an average head: origin at the anterior commissure,
x to the right, y to the front, z up. Fields are signed distances (`shapes`).
"""

import numpy as np

from noisyseg import tissues
from noisyseg.shapes import cut, ellipsoid, join, ramp, tube

FACE_MM = (-88, 88, -85, 100, -160, 8)
SHARED = ("cavity", "surface", "grain")  # head fields that `paint_face` needs
EYES_MM = ((6, 52, 5, 75, -56, -16), (-52, -6, 5, 75, -56, -16))
_CANAL = [(0, -34, -45), (0, -42, -66), (0, -44, -80), (0, -50, -150)]


def cavity(at):
    """Signed distance (mm, first order) to the inner surface of the skull."""
    x, y, z = at
    side = (np.abs(x), y, z)
    vault = ellipsoid(at, (0, -16, 2), (69, 86, 72))
    vault = cut(vault, 9.0 * ramp(side[0], 10.0, 28.0) - 27.0 - z, 6.0)
    middle = ellipsoid(side, (42, -1, -22), (25, 33, 26))
    posterior = ellipsoid(at, (0, -52, -26), (55, 47, 35))
    petrous = (y + 8.4 - 0.6 * (z + 30.0) + 0.42 * side[0]) / 1.24
    posterior = cut(posterior, petrous, 8.0)
    skull = join(join(vault, middle, 6.0), posterior, 6.0)
    return join(skull, tube(at, _CANAL, [17, 13, 9, 8]), 8.0)


def head_fields(at, anatomy):
    """Fields of the layers around the brain: distances and thicknesses (mm)."""
    return {
        "cavity": cavity(at),
        "surface": surface(at, anatomy),
        "bone": bone_thickness(at, anatomy),
        "fat": fat_thickness(at, anatomy),
    }


def bone_thickness(at, anatomy):
    """Thickness (mm) of the skull over the brain: thin temples and base, no canal."""
    x, y, z = at
    thick = anatomy.skull_mm * (
        1.0 + 0.25 * ramp(-y, 40.0, 90.0) + 0.15 * ramp(y, 20.0, 60.0)
    )
    temple = ramp(np.abs(x), 40.0, 60.0) * ramp(-z, -25.0, 5.0) * ramp(y, -40.0, -15.0)
    base = ramp(-z, 12.0, 24.0) * ramp(y, -30.0, -5.0)
    thick = thick * (1.0 - 0.45 * temple) * (1.0 - 0.4 * base)
    return np.maximum(thick, 1.6) * ramp(z, -72.0, -62.0)


def surface(at, anatomy):
    """Signed distance (mm) to the skin: scalp, face, neck and ears."""
    x, y, z = at
    side = (np.abs(x), y, z)
    wall = anatomy.skull_mm + anatomy.scalp_mm
    head = ellipsoid(at, (0, -16, 1), (68 + wall, 86 + wall, 73 + wall))
    neck = ellipsoid(at, (0, -43, -110), (64, 58, 140))
    sides = ellipsoid(at, (0, -24, -42), (78, 78, 54))
    face = ellipsoid(at, (0, 10, -58), (68, 59, 62))
    jaw = ellipsoid(at, (0, 38, -100 - anatomy.chin_mm), (38, 35, 22))
    brow = ellipsoid(at, (0, 56, -13), (50, 26, 22))
    cheek = ellipsoid(side, (34, 38, -58), (28, 30, 28))
    lips = ellipsoid(at, (0, 64, -88), (24, 13, 14))
    ear = ellipsoid(side, (77 + 0.1 * (-20.0 - y), -32, -40), (5, 15, 27))
    whole = join(head, neck, 20.0)
    for part, blend in (
        (sides, 10.0),
        (face, 20.0),
        (jaw, 16.0),
        (brow, 12.0),
        (cheek, 12.0),
    ):
        whole = join(whole, part, blend)
    whole = join(join(whole, lips, 10.0), _nose(side, anatomy), 8.0)
    eye = np.array(anatomy.eye_mm)
    lids = tube(side, [eye, eye - [2, 6, 0]], [anatomy.eye_radius_mm + 3.2, 15])
    return join(join(whole, ear, 5.0), lids, 5.0)


def _nose(side, anatomy):
    tip = 83 + anatomy.nose_mm
    bridge = tube(side, [(0, 68, -26), (0, 71, -40), (0, tip, -64)], [9, 10, 10])
    root = tube(side, [(0, 62, -40), (0, 68, -68)], [13, 15])
    wing = ellipsoid(side, (11, tip - 8, -67), (8, 11, 8))
    return join(join(bridge, root, 8.0), wing, 6.0)


def fat_thickness(at, anatomy):
    """Thickness (mm) of the fat under the skin: thick on cheeks and neck."""
    z = at[2]
    low = ramp(-z, 20.0, 60.0)
    return anatomy.fat_mm * (1.0 + 0.9 * low)


def paint_soft(labels, fields, anatomy):
    """Writes skin, fat and muscle into a slab of the tissue map, from the skin inward.

    Parameters
    ----------
    labels : uint8 array, changed in place
    fields : dict of float64 arrays: surface, cavity, bone, fat, grain (see `heads`)
    anatomy : heads.Anatomy
    """
    depth = -fields["surface"]
    labels[depth > 0] = tissues.SKIN
    under = depth > anatomy.skin_mm
    septa = fields["septa"]
    fatty = (depth < anatomy.skin_mm + fields["fat"]) | (np.abs(septa) < 0.07)
    fatty |= septa > 1.3
    labels[under & fatty] = tissues.FAT
    labels[under & ~fatty] = tissues.MUSCLE


def paint_skull(labels, fields, anatomy):
    """Writes the skull around the brain, and the fluid inside it."""
    height, thick = fields["cavity"], fields["bone"]
    shell = (height > 0) & (height < thick) & (fields["surface"] < -2.0)
    labels[shell] = tissues.COMPACT
    table = np.maximum(0.5 * (1.0 - anatomy.diploe) * thick, 1.3)
    middle = (height > table) & (height < thick - table)
    labels[middle & shell] = tissues.MARROW
    labels[(height < 0.0) & (fields["surface"] < -2.0)] = tissues.FLUID


def face_fields(at, anatomy):
    """Signed distances (mm) to the bones, sinuses and nose, on the coarse grid."""
    side = (np.abs(at[0]), at[1], at[2])
    bone, marrow = None, None
    for part, shell_mm in _bones(at, side):
        bone = part if bone is None else np.minimum(bone, part)
        inner = part + shell_mm
        marrow = inner if marrow is None else np.minimum(marrow, inner)
    spine = tube(at, [(0, -29, -76), (0, -34, -150)], [8, 9])
    air = _sinuses(side, anatomy)
    throat = _throat(at)
    nose = ellipsoid(side, (0, 46, -58), (15, 34, 20))
    cells = _cells(side)
    openings = _openings(side)
    cord = tube(at, [(0, -42, -68), (0, -45, -82), (0, -51, -152)], [6.3, 5, 5])
    return {
        "bones": bone,
        "marrow": marrow,
        "spine": spine,
        "cord": cord,
        "nose": nose,
        "throat": throat,
        "air": np.minimum(air, throat),
        "cells": cells,
        "openings": openings,
    }


def _bones(at, side):
    """Pairs of a bone's signed distance and the thickness of its compact shell."""
    yield tube(at, [(0, 12, -38), (0, -6, -44), (0, -27, -64)], [14, 12, 6]), 2.0
    yield tube(side, [(14, -13, -44), (40, -24, -42), (57, -33, -42)], [7, 9, 12]), 4.0
    yield ellipsoid(side, (57, -36, -54), (10, 13, 15)), 4.0
    orbit = ellipsoid(side, (28.5, 45, -36), (16.5, 23, 15.5))
    yield cut(cut(orbit - 2.5, -orbit), at[1] - 56.0), 9.0
    yield ellipsoid(at, (0, 40, -62), (40, 23, 23)), 6.0
    yield ellipsoid(at, (0, 71, -14), (30, 8, 15)), 3.0
    zygoma = [(34, 58, -50), (56, 42, -50), (66, 12, -46), (66, -10, -45)]
    yield tube(side, zygoma, [5, 5, 3, 3.5]), 3.0
    yield tube(at, [(0, 72, -30), (0, 80, -46)], [4, 2]), 9.0
    yield tube(side, [(0, 66, -88), (16, 60, -88), (25, 36, -87)], [6, 6, 6]), 9.0
    jaw = [(0, 64, -108), (20, 58, -107), (40, 22, -100), (48, 4, -86), (52, -10, -50)]
    yield tube(side, jaw, [7, 6.5, 6.5, 6, 5]), 2.5
    yield tube(at, [(0, -29, -70), (0, -34, -150)], [8.5, 9.5]), 1.8
    ring = np.abs(tube(at, _CANAL[2:], [10.5, 9.5])) - 1.5
    yield cut(ring, at[2] + 72.0), 2.5
    yield tube(at, [(0, -62, -84), (0, -70, -150)], [4, 4]), 2.0
    yield tube(side, [(16, -38, -66), (20, -38, -150)], [6, 5]), 2.0


def _sinuses(side, anatomy):
    f, m, s = anatomy.frontal_sinus, anatomy.maxillary_sinus, anatomy.sphenoid_sinus
    frontal = ellipsoid(side, (10, 72, -17), (10 * f, 5 * f, 10 * f))
    maxillary = ellipsoid(side, (27, 38, -62), (13 * m, 18 * m, 17 * m))
    sphenoid = ellipsoid(side, (8, 6, -35), (7.5 * s, 13 * s, 9.5 * s))
    return np.minimum(np.minimum(frontal, maxillary), sphenoid)


def _throat(at):
    points = [(0, 12, -64), (0, 1, -74), (0, -7, -96), (0, -2, -150)]
    return tube(at, points, [8.5, 8.5, 5.5, 7])


def _cells(side):
    ethmoid = ellipsoid(side, (6.5, 40, -37), (7, 22, 12))
    return np.minimum(ethmoid, ellipsoid(side, (52, -30, -43), (9, 12, 13)))


def _openings(side):
    """Ear canals and nostrils."""
    canal = tube(side, [(84, -27, -43), (50, -24, -41)], [3.2, 3.5])
    return np.minimum(canal, tube(side, [(6, 86, -76), (5, 68, -66)], [3.5, 3.5]))


def paint_face(labels, fields):
    """Writes the bones of base, face, jaw and neck, then the air in them."""
    outside = fields["cavity"] > 0
    free = outside & (fields["surface"] < -3.0)
    labels[(fields["bones"] < 0) & free] = tissues.COMPACT
    labels[(fields["marrow"] < 0) & free] = tissues.MARROW
    step = (fields["z"] + 80.0) / 18.0
    disc = np.abs(step - np.floor(step) - 0.5) < 0.13
    labels[(fields["spine"] < 0) & disc & free] = tissues.CARTILAGE
    labels[(fields["cord"] < 0) & (fields["cavity"] < -1.0)] = tissues.CORD
    buried = (fields["cavity"] > 1.0) & (fields["surface"] < -3.0)
    labels[(fields["nose"] < 0) & buried] = tissues.MUCOSA
    labels[(fields["throat"] < 1.2) & buried] = tissues.MUCOSA
    labels[(fields["cells"] < 1.0) & buried] = tissues.COMPACT
    air = np.minimum(fields["air"], _airways(fields))
    air = np.minimum(
        air, np.maximum(fields["cells"], 1.5 - 8 * np.abs(fields["grain"]))
    )
    labels[(air < 0) & buried] = tissues.AIR
    opened = (fields["openings"] < 0) & (fields["surface"] < 0) & (fields["cavity"] > 1)
    labels[opened] = tissues.AIR


def _airways(fields):
    """Slits of air between the septum and the turbinates of either side."""
    x, z = np.abs(fields["x"]), fields["z"]
    septum = np.abs(x - 2.6) - 1.1
    step = (z + 72.0) / 9.0
    shelf = (0.5 - np.abs(step - np.floor(step) - 0.5)) * 9.0 - 1.3
    return np.maximum(
        np.minimum(septum, np.maximum(shelf, 4.0 - x)), fields["nose"] + 2
    )


def paint_eyes(labels, fields, anatomy):
    """Writes orbital fat, muscles, optic nerve and eye of one side."""
    x, y, z = fields["x"], fields["y"], fields["z"]
    side = (np.abs(x), y, z)
    eye_x, eye_y, eye_z = anatomy.eye_mm
    orbit = ellipsoid(side, (28.5, 45, -36), (16.5, 23, 15.5))
    orbit = np.maximum(orbit, fields["surface"] + anatomy.skin_mm)
    labels[orbit < 0] = tissues.FAT
    cone = tube(side, [(13, 18, -31), (eye_x, eye_y, eye_z)], [3.0, 12.5])
    bellies = np.abs(np.abs(side[0] - eye_x) - np.abs(z - eye_z)) > 4.0
    belly = (np.abs(cone) < 1.3) & bellies & (y < eye_y - 2)
    labels[belly & (orbit < 0)] = tissues.MUSCLE
    nerve = [(8, 8, -27), (13, 18, -31), (eye_x, eye_y - 10, eye_z)]
    labels[tube(side, nerve, [2.0, 2.0, 2.0]) < 0] = tissues.OPTIC_NERVE
    radius = anatomy.eye_radius_mm
    eye = ellipsoid(side, (eye_x, eye_y, eye_z), (radius, radius, radius))
    bone = (labels == tissues.COMPACT) | (labels == tissues.AIR)
    labels[(eye < 2.0) & bone] = tissues.FAT
    labels[eye < 0] = tissues.VITREOUS
    lens = ellipsoid(side, (eye_x, eye_y + radius - 5.0, eye_z), (4.5, 2.0, 4.5))
    labels[lens < 0] = tissues.LENS
