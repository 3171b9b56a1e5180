"""Stomach and bowel of a torso: hollow organs with content and gas.

Coordinates as in `torso_walls`. In cross-section they resemble oesophagus and aorta.
"""

import numpy as np

from noisyseg import torso_tissues as ids
from noisyseg.shapes import cut, ellipsoid, ramp, tube
from noisyseg.torso_walls import cavity, diaphragm

_STOMACH = [(-60, 22, 50), (-58, 50, 34), (-46, 78, 4), (-8, 90, -14), (32, 72, -14)]
_STOMACH_MM = (35, 32, 25, 19, 10)
_DUODENUM = [(32, 74, -14), (48, 52, -18), (50, 36, -52), (24, 44, -66)]
_DUODENUM += [(-14, 50, -60), (-34, 52, -40)]
_DUODENUM_MM = (11, 12, 12, 11, 10, 11)
_COLON_MM = (28, 28, 26, 23, 22, 22, 22, 20, 17, 16, 16)


def stomach_fields(at, torso):
    """Distances to the outside of stomach, duodenum and colon."""
    x, y, z = at
    here = (x, y, z - torso.breath_mm)
    stomach = tube(here, _STOMACH, [torso.stomach * r for r in _STOMACH_MM])
    limit = np.maximum(diaphragm(at, torso) + 3.5, cavity(at, torso) + 2.0)
    low = torso.transverse_mm
    colon = [(96, 14, -150), (98, 16, -90), (96, 24, -40), (84, 62, -30)]
    colon += [(46, 92, low), (0, 98, low - 8), (-48, 92, low + 16), (-88, 50, 22)]
    colon += [(-104, 22, 0), (-106, 4, -50), (-104, 8, -140)]
    colon = tube(here, colon, [torso.colon * r for r in _COLON_MM])
    return {
        "stomach": cut(stomach, limit, 4.0),
        "duodenum": tube(here, _DUODENUM, _DUODENUM_MM),
        "colon": cut(colon, cavity(at, torso) + 3.0, 4.0),
    }


def paint_stomach(labels, fields, torso):
    """Writes colon, duodenum and stomach: wall, content, and gas on top."""
    y = fields["y"]
    place = np.isin(labels, (ids.FAT, ids.PANCREAS))
    haustra = fields["colon"] + 3.0 * fields["fine"] + 1.5
    grain = fields["septa"] + 0.4 * fields["slow"]
    level = 0.9 - 0.5 * torso.gas - ramp(y, 40.0, 110.0)
    _hollow(labels, place, haustra, 2.2, ids.FAECES)
    labels[place & (haustra < -2.2) & (grain > level)] = ids.GAS
    bubbles = (fields["fine"] > 0.9) & (haustra < -4.0)
    labels[place & bubbles & (y > 0)] = ids.GAS
    duodenum = fields["duodenum"] + 1.5 * fields["fine"]
    _hollow(labels, place, duodenum, 2.5, ids.BOWEL_CONTENT)
    wall_mm = 3.6 + 0.8 * fields["slow"]
    stomach = fields["stomach"] + 1.5 * fields["fine"]
    place = np.isin(labels, (ids.FAT, ids.PANCREAS, ids.LIVER, ids.SPLEEN))
    _hollow(labels, place, stomach, wall_mm, ids.STOMACH_CONTENT)
    labels[place & (stomach < -wall_mm) & (y > torso.gas_level_mm)] = ids.GAS


def _hollow(labels, place, outside, wall_mm, content):
    wall = ids.STOMACH_WALL if content == ids.STOMACH_CONTENT else ids.BOWEL_WALL
    labels[place & (outside < 0)] = wall
    labels[place & (outside < -wall_mm)] = content


def bowel_fields(at, torso):
    """Distances between loops of small bowel: pieces of tube that share the space."""
    first = second = np.full(at[0].shape, 99.0)
    filling = np.zeros(at[0].shape)
    for centre, half, content in _loops(np.random.default_rng(torso.seed)):
        if centre[0] < at[0].min() - 52.0 or centre[0] > at[0].max() + 52.0:
            continue  # too far to touch a wall here
        one = tube(at, [centre - half, centre + half], [0.0, 0.0])
        nearer = one < first
        second = np.where(nearer, first, np.minimum(second, one))
        filling = np.where(nearer, content, filling)
        first = np.where(nearer, one, first)
    border = 0.5 * (first - second)
    region = ellipsoid(at, (-4, 56, -92), (88, 38 + 0.6 * torso.visceral_mm, 72))
    loop = np.maximum(np.maximum(border + 0.8, first - 15.0), region)
    return {"loop": loop, "filling": filling}


def _loops(rng):
    """Centre and half-length (mm, arrays of 3) and filling (0 to 1) of each piece."""
    steps = np.array([30.0, 27.0, 28.0])
    for i, j, k in np.ndindex(6, 3, 4):
        place = np.array([i - 2.5, j - 1.0, k - 1.5]) * steps + (-6.0, 68.0, -74.0)
        centre = place + rng.uniform(-7.0, 7.0, 3)
        half = 16.0 * rng.uniform(-1.0, 1.0, 3) + 6.0 * np.sign(rng.uniform(-1, 1, 3))
        yield centre, half, rng.uniform()


def paint_bowel(labels, fields, torso):
    """Writes small bowel where fat has room for it, some loops with gas."""
    place = labels == ids.FAT
    loop = fields["loop"] + 1.2 * fields["fine"]
    _hollow(labels, place, loop, 2.3, ids.BOWEL_CONTENT)
    gassy = (fields["filling"] > 1.0 - 0.25 * torso.gas) & (fields["y"] > 60)
    labels[place & gassy & (loop < -2.3)] = ids.GAS
    thread = fields["thread"] < 0.06
    mesentery = (fields["y"] > 30) & (np.abs(fields["x"]) < 80)
    labels[thread & mesentery & (labels == ids.FAT)] = ids.VEIN


_GUT_NEEDS = ("y", "slow", "septa", "fine")
_LOOP_NEEDS = ("x", "y", "fine", "thread")
PARTS = (
    ((-132, 132, -20, 125, -200, 90), stomach_fields, paint_stomach, _GUT_NEEDS),
    ((-105, 105, 12, 130, -160, 0), bowel_fields, paint_bowel, _LOOP_NEEDS),
)
"""Parts for `torso_painting`."""
