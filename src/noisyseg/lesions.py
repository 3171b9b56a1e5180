"""White matter hyperintensities, drawn into the tissue map of a head.

A person's lesions are drawn once (`draw`: plain numbers, so they can be tabulated and
replayed) and painted (`paint`): caps and bands around the lateral ventricles, and deep
lesions from points to patches that flow together, all within cerebral white matter.
"""

from dataclasses import dataclass

import numpy as np

from noisyseg import cerebra, tissues
from noisyseg import lesion_tissues as ids
from noisyseg.shapes import ramp

MOST_LESIONS = 1500  # deep ones in a head; reached by no load that `draw` gives
FADE_MM = 3.0  # from the rim of a cap or band to its middle
GRADES = ((1.3, ids.PENUMBRA), (1.0, ids.PALE_WMH), (0.8, ids.WMH))
"""Tissue below each level; the level is 1 at the rim of a lesion, 0 in its middle."""


@dataclass(frozen=True)
class Hyperintensities:
    """All that makes the lesions of one person differ from another's."""

    seed: int
    load_ml: float
    periventricular: float  # share of the load that lies around the ventricles
    caps_mm: float  # how much thicker the caps at the horns are than the bands
    deep_mm3: float  # median volume of a deep lesion


def draw(rng, age, median_ml=(0.8, 24.0)):
    """Lesions of one random person: log-normal load, its median growing with age.

    Parameters
    ----------
    rng : np.random.Generator
    age : float
        From 0 (young) to 1 (old), as `heads.Anatomy.age`.
    median_ml : (float, float)
        Median load of the young and of the old.

    Returns
    -------
    Hyperintensities
        Of 0.3 to 60 mL.
    """
    young_ml, old_ml = median_ml
    load_ml = young_ml ** (1 - age) * old_ml**age
    load_ml *= np.exp(0.6 * rng.standard_normal())
    load_ml = float(np.clip(load_ml, 0.3, 60.0))
    return Hyperintensities(
        seed=int(rng.integers(2**31)),
        load_ml=load_ml,
        periventricular=float(rng.uniform(0.5, 0.8)),
        caps_mm=float(rng.uniform(2.0, 6.0)),
        deep_mm3=float((15.0 + 2.0 * load_ml) * rng.uniform(0.7, 1.4)),
    )


def paint(labels, lesions, spacing_mm):
    """Tissue map with the lesions in it.

    Parameters
    ----------
    labels : uint8 array (X, Y, Z), RAS+, as from `heads.render`
    lesions : Hyperintensities
    spacing_mm : float
        Edge of a voxel.

    Returns
    -------
    uint8 array (X, Y, Z), a copy; only white matter has changed

    Raises
    ------
    ValueError
        When the head has too little white matter for the load.
    """
    brain = cerebra.cerebrum(labels, spacing_mm)
    rng = np.random.default_rng(np.random.SeedSequence(lesions.seed))
    space = _space(brain)
    count = brain.voxels(lesions.load_ml)
    _check_room(lesions, count, np.count_nonzero(space))
    around = round(lesions.periventricular * count)
    level = _periventricular(brain, space, around, (lesions, rng))
    _add_deep(level, brain, space, count - around, (lesions, rng))
    painted = labels.copy()
    part = painted[cerebra.box(labels)]
    for limit, tissue in GRADES:
        part[space & (level < limit)] = tissue
    return painted


def _check_room(lesions, count, room):
    if count > 0.4 * room:
        most_ml = lesions.load_ml * 0.4 * room / count
        raise ValueError(
            f"load_ml must fit the white matter, got {lesions.load_ml:.1f} where "
            f"{most_ml:.1f} fit; draw a smaller load"
        )


def _space(brain):
    """Where lesions may lie: white matter away from the cortex and the callosum."""
    rind = np.isin(brain.labels, (tissues.CORTEX, tissues.FLUID))
    deep = cerebra.distance_mm(brain, rind) > 1.5 * brain.spacing_mm
    return cerebra.white_matter(brain) & deep & (np.abs(brain.at[0]) > 6.0)


def _periventricular(brain, space, count, how):
    """Level of caps and bands: below 1 in `count` voxels of the space, above elsewhere.

    The distance to the ventricle less a thickness that wavers along the wall and is
    larger at the frontal and occipital horns: a small load fills the thickest places,
    not a thin layer all around; a large one makes the bands meet.
    """
    lesions, rng = how
    wall_mm = cerebra.distance_mm(brain, cerebra.lateral_ventricles(brain))
    _, y, _ = brain.at
    horns = 1.2 * ramp(y, 12.0, 26.0) + ramp(-y, 32.0, 48.0)
    uneven = 2.2 * cerebra.smooth_field(brain, 16.0, rng)
    ragged = 1.0 * cerebra.smooth_field(brain, 8.0, rng)
    excess_mm = wall_mm - lesions.caps_mm * horns - uneven - ragged
    border_mm = np.partition(excess_mm[space], count)[count]
    return 1.0 + (excess_mm - border_mm) / FADE_MM


def _add_deep(level, brain, space, missing, how):
    """Lowers the level at lesions of log-normal volumes: below 1 in `missing` more."""
    lesions, rng = how
    ragged = 1.0 + 0.25 * cerebra.smooth_field(brain, 8.0, rng)
    places = np.argwhere(space & (level > 2.0))
    for _ in range(MOST_LESIONS):
        if missing <= 0:
            break
        volume_mm3 = lesions.deep_mm3 * np.exp(1.25 * rng.standard_normal())
        radius_mm = np.cbrt(np.clip(volume_mm3, 6.0, 4000.0) * 0.75 / np.pi)
        centre = places[rng.integers(len(places))]
        part = _around(centre, 2.5 * radius_mm / brain.spacing_mm, level.shape)
        spot = _spot(brain, centre, part, radius_mm, rng) * ragged[part]
        new = space[part] & (spot < 1.0) & (level[part] >= 1.0)
        level[part] = np.minimum(level[part], spot)
        missing -= np.count_nonzero(new)


def _around(centre, reach_vox, shape):
    reach = int(np.ceil(reach_vox)) + 1
    return tuple(
        slice(max(c - reach, 0), min(c + reach + 1, n))
        for c, n in zip(centre, shape, strict=True)
    )


def _spot(brain, centre, part, radius_mm, rng):
    """Level of an ellipsoid, up to 1.8 times as long as wide in a random direction."""
    way = rng.standard_normal(3)
    way /= np.sqrt(np.sum(way * way))
    stretch = rng.uniform(1.0, 1.8)
    lines = zip(brain.lines_mm, part, centre, strict=True)
    apart = [line[here] - line[c] for line, here, c in lines]
    apart = np.meshgrid(*apart, indexing="ij", sparse=True)
    along = sum(a * w for a, w in zip(apart, way, strict=True))
    square = sum(a * a for a in apart) - (1.0 - 1.0 / stretch**2) * along * along
    return np.sqrt(np.maximum(square, 0.0)) * (np.cbrt(stretch) / radius_mm)
