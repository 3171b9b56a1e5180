"""Gliomas, drawn into the tissue map of a head.

A tumour is drawn once (`draw`: plain numbers) and painted (`paint`): it pushes the
brain aside, smoothly and never the skull; necrosis lies in an enhancing rim; oedema
spreads from it along white matter and hardly enters grey matter.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from noisyseg import cerebra, tissues
from noisyseg import lesion_tissues as ids
from noisyseg.shapes import ramp, refine

FADE_MM = 14.0  # the push fades over this depth below the skull
STEPS = 24  # of the spread of oedema, each up to two voxels far
PALE = 0.35  # share of the oedema at its far end that is pale


@dataclass(frozen=True)
class Tumour:
    """All that makes one glioma differ from another."""

    seed: int
    core_ml: float
    oedema_ml: float
    enhancing: bool
    rim_mm: float  # typical thickness of the rim around the necrosis
    stretch: float  # length over width
    ragged: float  # SD of the surface, share of the radius
    push: float  # how far the surface was pushed out, share of the radius


def draw(rng):
    """Tumour of one random person: core of 5 to 60 mL in oedema of 20 to 120 mL.

    Three of four enhance, as high-grade gliomas do; the others have less oedema.

    Parameters
    ----------
    rng : np.random.Generator

    Returns
    -------
    Tumour
    """
    enhancing = bool(rng.uniform() < 0.75)
    core_ml = 20.0 * np.exp(0.65 * rng.standard_normal())
    oedema_ml = (60.0 if enhancing else 35.0) * np.exp(0.45 * rng.standard_normal())
    return Tumour(
        seed=int(rng.integers(2**31)),
        core_ml=float(np.clip(core_ml, 5.0, 60.0)),
        oedema_ml=float(np.clip(oedema_ml, 20.0, 120.0)),
        enhancing=enhancing,
        rim_mm=float(rng.uniform(2.5, 7.0)),
        stretch=float(rng.uniform(1.0, 1.6)),
        ragged=float(rng.uniform(0.12, 0.26)),
        push=float(rng.uniform(0.12, 0.28)),
    )


def paint(labels, tumour, spacing_mm):
    """Tissue map with the tumour in it and the brain around it pushed aside.

    Parameters
    ----------
    labels : uint8 array (X, Y, Z) of even lengths, RAS+, as from `heads.render`
    tumour : Tumour
    spacing_mm : float
        Edge of a voxel.

    Returns
    -------
    uint8 array (X, Y, Z), a copy; nothing outside of the skull's inside has changed

    Raises
    ------
    ValueError
        When there is no brain, or too little of it for the tumour.
    """
    brain = cerebra.cerebrum(labels, spacing_mm)
    rng = np.random.default_rng(np.random.SeedSequence(tumour.seed))
    depth_mm = cerebra.distance_mm(brain, ~np.isin(brain.labels, cerebra.INSIDE_SKULL))
    centre_mm = _place(brain, depth_mm, tumour, rng)
    pushed, source_x = _pushed(brain, depth_mm, centre_mm, tumour)
    space = np.isin(pushed.labels, _GROUND) & (depth_mm > 3.0) & cerebra.region(brain)
    space &= source_x * np.sign(centre_mm[0]) > 1.5
    level = _level(brain, centre_mm, tumour, rng)
    _check_room(brain, space, tumour)
    core = cerebra.lowest(level, space, brain.voxels(tumour.core_ml))
    part = pushed.labels
    _paint_oedema(part, pushed, core, tumour, rng)
    _paint_core(part, brain, core, tumour, rng)
    painted = labels.copy()
    painted[cerebra.box(labels)] = part
    return painted


_GROUND = (tissues.WHITE, tissues.CORTEX, tissues.DEEP_GREY, tissues.FLUID)


def _radius_mm(tumour):
    return float(np.cbrt(tumour.core_ml * 1000.0 * 0.75 / np.pi))


def _check_room(brain, space, tumour):
    room_ml = np.count_nonzero(space) * brain.spacing_mm**3 / 1000.0
    if tumour.core_ml > 0.5 * room_ml:
        raise ValueError(
            f"core_ml must fit half of the brain, got {tumour.core_ml:.1f} where "
            f"{0.5 * room_ml:.1f} fit; draw a smaller tumour"
        )


def _place(brain, depth_mm, tumour, rng):
    """Centre (mm): white matter with room for the tumour up to skull and midline."""
    white = cerebra.white_matter(brain)
    room = np.minimum(depth_mm, np.abs(brain.at[0]) + 2.0)[white]
    if not len(room):
        raise ValueError(
            "labels must hold cerebral white matter, got none; render the whole head"
        )
    enough = min(0.9 * _radius_mm(tumour) + 3.0, 0.85 * float(room.max()))
    places = np.argwhere(white)[room >= enough]
    spot = places[rng.integers(len(places))]
    return [float(line[i]) for line, i in zip(brain.lines_mm, spot, strict=True)]


def _pushed(brain, depth_mm, centre_mm, tumour):
    """The brain with its tissue moved away from the centre, and where each x came from.

    A point at q radii moves by D q / (1 + q^2)^(3/2), D so that the surface (q = 1)
    moves by `push` radii: no folds (D below a radius), and like 1 / q^2 far away, as
    around a growing ball in a soft solid. Towards the skull the push fades.
    """
    radius = _radius_mm(tumour)
    apart = [a - c for a, c in zip(brain.at, centre_mm, strict=True)]
    q2 = sum(a * a for a in apart) / (radius * radius)
    share = 2.0 * np.sqrt(2.0) * tumour.push / ((1.0 + q2) * np.sqrt(1.0 + q2))
    share *= ramp(depth_mm, 0.0, FADE_MM)
    index = []
    for axis, (a, n) in enumerate(zip(apart, share.shape, strict=True)):
        view = [1, 1, 1]
        view[axis] = n
        here = np.arange(n).reshape(view) - share * a / brain.spacing_mm
        index.append(np.clip(np.rint(here), 0, n - 1).astype(np.intp))
    moved = cerebra.Cerebrum(
        brain.labels[tuple(index)], brain.lines_mm, brain.spacing_mm
    )
    return moved, brain.lines_mm[0][index[0]]


def _level(brain, centre_mm, tumour, rng):
    """Distance to the centre, longer across than along, with a ragged surface."""
    way = rng.standard_normal(3)
    way /= np.sqrt(np.sum(way * way))
    apart = [a - c for a, c in zip(brain.at, centre_mm, strict=True)]
    along = sum(a * w for a, w in zip(apart, way, strict=True))
    square = sum(a * a for a in apart)
    square = square - (1.0 - 1.0 / tumour.stretch**2) * along * along
    rough = cerebra.smooth_field(brain, 16.0, rng)
    rough = rough + 0.5 * cerebra.smooth_field(brain, 8.0, rng)
    return np.sqrt(np.maximum(square, 0.0)) * (1.0 + tumour.ragged * rough)


def _paint_oedema(part, brain, core, tumour, rng):
    """Writes oedema into white matter, nearest to the core first."""
    white = brain.labels == tissues.WHITE
    reached = _spread(brain, white, core, rng)
    space = white & ~core & (reached > 0.0)
    wet = cerebra.lowest(-reached, space, brain.voxels(tumour.oedema_ml))
    dense = round((1.0 - PALE) * np.count_nonzero(wet))
    part[wet] = ids.PALE_OEDEMA
    part[cerebra.lowest(-reached, wet, dense)] = ids.OEDEMA


def _spread(brain, white, core, rng):
    """How much fluid from the core arrives: 1 at its surface, 0 far away.

    Steps of blur on a grid twice as coarse, each followed by a loss: small in white
    matter, large in grey matter, total in fluid. What has arrived falls off with the
    length of the way through white matter.
    """
    source = cerebra.any_in_block(core)
    grey = np.isin(brain.labels, (tissues.CORTEX, tissues.DEEP_GREY))
    uneven = 0.96 + 0.03 * cerebra.smooth_field(brain, 16.0, rng)[::2, ::2, ::2]
    passes = np.clip(uneven, 0.8, 1.0) * _block_mean(white) + 0.35 * _block_mean(grey)
    fluid = source.astype(float)
    for _ in range(STEPS):
        for axis in range(3):
            fluid = ndimage.correlate1d(fluid, [0.25, 0.5, 0.25], axis)
        fluid *= passes
        fluid[source] = 1.0
    return refine(np.pad(fluid, 1, mode="edge"))


def _block_mean(mask):
    total = mask.astype(float)
    for axis in range(3):
        total = np.moveaxis(total, axis, 0)
        total = np.moveaxis(0.5 * (total[0::2] + total[1::2]), 0, axis)
    return total


def _paint_core(part, brain, core, tumour, rng):
    """Writes rim, necrosis and solid patches into the core.

    The rim wavers in thickness. Without enhancement there is no rim: a solid mass with
    a few cysts.
    """
    depth_mm = cerebra.distance_mm(brain, ~core)
    uneven, patches = (cerebra.smooth_field(brain, s, rng) for s in (8.0, 12.0))
    if not tumour.enhancing:
        part[core] = ids.CORE
        part[core & (depth_mm > 4.0) & (patches > 1.2)] = ids.NECROSIS
        return
    part[core] = ids.RIM
    part[core & (patches > 0.9)] = ids.CORE
    rim_mm = tumour.rim_mm * np.maximum(1.0 + 0.4 * uneven, 0.3)
    part[core & (depth_mm > rim_mm)] = ids.NECROSIS
