"""Organs of a torso that are only background: chest, glands and vessels.

Coordinates as in `torso_walls`.
"""

import numpy as np

from noisyseg import torso_tissues as ids
from noisyseg.shapes import cut, ellipsoid, join, ramp, tube
from noisyseg.torso_walls import cavity, diaphragm

_TRACHEA = [(9, 30, 262), (9, 36, 232), (6, 37, 205), (4, 37, 193)]
_BRONCHI = (
    [(4, 37, 193), (24, 33, 176), (40, 24, 158), (46, 14, 130)],
    [(4, 37, 193), (-22, 34, 178), (-40, 26, 162), (-47, 12, 132)],
)
_PULMONARY = [(-10, 88, 148), (-16, 78, 168), (-16, 58, 182)]
_PULMONARY_ARMS = (
    [(-16, 62, 182), (8, 52, 178), (38, 40, 172), (56, 26, 150), (58, 14, 122)],
    [(-16, 58, 182), (-34, 42, 182), (-50, 24, 164), (-56, 10, 128)],
)


def chest_fields(at, torso):
    """Distances to mediastinum, heart with its chambers, airways and lung vessels."""
    big = torso.heart
    turned = _turned(at, (-16, 70, 112), 0.6)
    heart = ellipsoid(turned, (-16, 70, 112), (62 * big, 41 * big, 45 * big))
    atria = ellipsoid(at, (26, 62, 122), (27 * big, 29 * big, 38 * big))
    atria = join(atria, ellipsoid(at, (2, 46, 146), (34 * big, 19 * big, 21 * big)), 8)
    left = ellipsoid(turned, (-28, 62, 110), (36 * big, 17 * big, 22 * big))
    right = ellipsoid(turned, (2, 88, 112), (38 * big, 15 * big, 26 * big))
    trunk = tube(at, _PULMONARY, [14, 13, 11])
    arms = [tube(at, line, [9, 9, 8, 6, 4][-len(line) :]) for line in _PULMONARY_ARMS]
    cava = tube(
        at, [(24, 60, 140), (27, 58, 170), (26, 58, 205), (18, 62, 240)], [9] * 4
    )
    whole = join(heart, atria, 10.0)
    column = ellipsoid(at, (2, 46, 178), (36, 46, 62))
    behind = ellipsoid(at, (-7, 26, 120), (27, 30, 130))
    fat = join(join(whole - 4.0, column, 14.0), behind, 8.0)
    return {
        "fat": fat,
        "heart": whole,
        "blood": np.minimum(np.minimum(left, right), atria + 3.0),
        "vessel": np.minimum(np.minimum(trunk, cava), np.minimum(*arms)),
        "airway": airway(at),
        "dome": diaphragm(at, torso),
        "inner": cavity(at, torso),
    }


def airway(at):
    """Signed distance (mm) to the lumen of trachea and main bronchi."""
    bronchi = [tube(at, line, [6.5, 5.5, 4.0, 2.5]) for line in _BRONCHI]
    return np.minimum(tube(at, _TRACHEA, [8.5, 8.5, 8.5, 8.0]), np.minimum(*bronchi))


def _turned(at, centre, sine):
    """Coordinates turned about the vertical axis through `centre`."""
    x, y, cosine = at[0] - centre[0], at[1] - centre[1], (1.0 - sine * sine) ** 0.5
    return (
        centre[0] + cosine * x - sine * y,
        centre[1] + sine * x + cosine * y,
        at[2] - 0.25 * (x + 0.5 * y),
    )


def paint_chest(labels, fields, torso):
    """Writes mediastinal fat, heart, great vessels and airways above the diaphragm."""
    free = (fields["inner"] < -1.0) & (fields["dome"] > 1.0)
    free &= (labels == ids.LUNG) | (labels == ids.LUNG_VESSEL) | (labels == ids.MUSCLE)
    free |= (fields["inner"] < -1.0) & (fields["dome"] > 0) & (labels == ids.FAT)
    labels[free & (fields["fat"] < 0)] = ids.FAT
    labels[free & (fields["vessel"] < 0)] = ids.HEART_BLOOD
    labels[free & (fields["heart"] < 0)] = ids.HEART
    inside = (fields["heart"] < -2.5) & (fields["blood"] < 0)
    labels[free & inside] = ids.HEART_BLOOD
    labels[free & (fields["airway"] < 1.6)] = ids.TRACHEA_WALL
    labels[free & (fields["airway"] < 0)] = ids.AIRWAY


def gland_fields(at, torso):
    """Distances to liver, gallbladder, spleen, pancreas and adrenal glands."""
    x, y, z = at
    z = z - torso.breath_mm
    big = torso.liver
    here = (x, y, z)
    right = ellipsoid(here, (76, 30, 14), (72 * big, 96 * big, 92 * big))
    left = ellipsoid(here, (0, 76, 38), (66 * big, 50 * big, 46 * big))
    liver = join(right, left, 18.0)
    limit = np.maximum(diaphragm(at, torso) + 0.8, cavity(at, torso) + 1.2)
    lateral = x - 30.0
    slope = 0.35 * lateral + 0.4 * np.maximum(lateral, 0.0)
    under = 8.0 - slope - 0.15 * (y - 40.0) - z
    under = 0.78 * np.maximum(under, -66.0 - z)
    liver = cut(cut(liver, limit, 1.5), under, 10.0)
    medial = join(36.0 - x, 0.4 * (26.0 - x) + 0.91 * (38.0 - y), 14.0)
    liver = cut(liver, medial, 8.0)
    bladder = ellipsoid(here, (66, 74, -8), (14, 16, 28))
    liver = cut(liver, -bladder - 1.0, 3.0)
    size = torso.spleen
    tilt = (x, y + 0.35 * (z - 26.0), z - 0.15 * (x + 98.0))
    spleen = ellipsoid(tilt, (-98, -4, 26), (27 * size, 41 * size, 46 * size))
    hollow = ellipsoid(here, (-58, 16, 20), (28, 40, 46))
    spleen = cut(cut(spleen, -hollow, 8.0), limit, 3.0)
    return {
        "liver": liver,
        "bladder": bladder,
        "spleen": spleen,
        "pancreas": _pancreas(here),
        "adrenal": _adrenals(at),
    }


def _pancreas(at):
    line = [(30, 50, -34), (28, 56, -12), (2, 57, 2), (-30, 50, 12), (-74, 22, 20)]
    return tube(at, line, [10, 12, 8, 9, 9])


def _adrenals(at):
    right = tube(at, [(24, 8, 12), (30, 6, 26), (36, -6, 22)], [2.8, 3.4, 2.6])
    left = tube(at, [(-34, 16, 2), (-36, 14, 18), (-42, 2, 12)], [2.8, 3.4, 2.6])
    return np.minimum(right, left)


def paint_glands(labels, fields, torso):
    """Writes pancreas, adrenal glands, spleen, liver with its veins, gallbladder."""
    open_ = labels == ids.FAT
    grainy = fields["pancreas"] + 3.0 * np.abs(fields["septa"]) - 1.5
    labels[open_ & (grainy < 0)] = ids.PANCREAS
    labels[open_ & (fields["spleen"] < 0)] = ids.SPLEEN
    labels[open_ & (fields["liver"] < 0)] = ids.LIVER
    gland = (fields["adrenal"] < 0) & np.isin(labels, (ids.FAT, ids.LIVER))
    labels[gland] = ids.ADRENAL
    deep = fields["liver"] < -5.0
    thread = fields["thread"] < 0.05 + 0.14 * ramp(-fields["liver"], 8.0, 40.0)
    labels[deep & thread & (labels == ids.LIVER)] = ids.LIVER_VESSEL
    labels[(fields["bladder"] < 0) & np.isin(labels, _SOFT)] = ids.GALLBLADDER


_SOFT = (ids.FAT, ids.LIVER, ids.LIVER_VESSEL)


def vessel_fields(at, torso):
    """Distances to vena cava, portal, renal and mesenteric vessels, azygos vein."""
    cava = [(20, 30, -120), (14, 33, -90), (12, 30, -50), (13, 30, -25), (17, 32, 10)]
    cava += [(22, 35, 49), (25, 40, 68), (25, 52, 88)]
    wide = torso.cava
    cava = tube(at, cava, [wide * r for r in (8, 9, 9.5, 11, 11.5, 10, 9.5, 11)])
    portal = [(4, 56, -60), (6, 56, -10), (26, 56, 16), (48, 52, 32)]
    portal = tube(at, portal, [4.5, 5.5, 6.5, 6])
    splenic = tube(at, [(6, 56, -4), (-30, 44, 8), (-74, 16, 20)], [4, 4, 3.5])
    vein = tube(at, [(12, 38, -18), (-12, 46, -19), (-40, 14, -16)], [4.5, 3.8, 4.5])
    vein = np.minimum(vein, tube(at, [(14, 32, -24), (40, 6, -28)], [4.5, 4.5]))
    azygos = tube(
        at, [(8, 20, -10), (7, 20, 120), (12, 22, 190), (24, 48, 198)], [3, 4, 4.5, 4.5]
    )
    root = [(-13, 38, -2), (-10, 50, -16), (-6, 54, -60), (-2, 58, -110)]
    artery = tube(at, root, [3.8, 3.8, 3.4, 2.5])
    celiac = tube(at, [(-14, 36, 12), (-10, 54, 12), (20, 54, 14)], [3.6, 3.4, 2.6])
    renal = tube(at, [(-15, 30, -14), (-42, 4, -16)], [2.8, 2.6])
    renal = np.minimum(
        renal, tube(at, [(-14, 28, -16), (12, 18, -22), (42, 0, -28)], [2.8] * 3)
    )
    iliac = tube(at, [(-6, 36, -94), (-24, 40, -140)], [5.5, 5.5])
    iliac = np.minimum(iliac, tube(at, [(-6, 36, -94), (20, 40, -140)], [5.5, 5.5]))
    return {
        "cava": cava,
        "vein": np.minimum(np.minimum(portal, splenic), np.minimum(vein, azygos)),
        "artery": np.minimum(np.minimum(artery, celiac), np.minimum(renal, iliac)),
    }


def paint_vessels(labels, fields, torso):
    """Writes veins and the branches of the aorta through everything but bone."""
    soft = (labels != ids.COMPACT) & (labels != ids.SPONGIOSA) & (labels != ids.LUNG)
    soft &= labels != ids.DISC
    labels[soft & (fields["vein"] < 0)] = ids.VEIN
    labels[soft & (fields["cava"] < 0)] = ids.CAVA
    labels[soft & (fields["artery"] < 0)] = ids.ARTERY


PARTS = (
    ((-95, 75, -10, 125, 55, 300), chest_fields, paint_chest, ()),
    ((-135, 140, -55, 135, -75, 105), gland_fields, paint_glands, ("septa", "thread")),
)
VESSELS = (((-85, 60, -20, 70, -200, 240), vessel_fields, paint_vessels, ()),)
"""Parts for `torso_painting`; the vessels are painted after the gut."""
