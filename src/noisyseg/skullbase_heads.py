"""Digital skull bases: a random anatomy, and the tissue map it describes.

As `heads`, for the part of a head between the inner ears, at finer detail: bones and
vessels (`skullbase_bones`), inner ears (`skullbase_ears`), a schwannoma
(`skullbase_tumours`), and the brain of `brains` with a brain stem of its own.
"""

from dataclasses import dataclass

import numpy as np

from noisyseg import brains, heads, skulls, tissues
from noisyseg import skullbase_bones as bones
from noisyseg import skullbase_ears as ears
from noisyseg import skullbase_tissues as ids
from noisyseg import skullbase_tumours as tumours
from noisyseg.shapes import in_slabs, refine, refined_planes, slow_noise


@dataclass(frozen=True)
class SkullBase:
    """All that makes one skull base differ from another; lengths in mm."""

    head: heads.Anatomy
    right: ears.Ear
    left: ears.Ear
    schwannoma: tumours.Schwannoma
    aeration: float  # size of the mastoid air cells around 1
    sphenoid: float
    right_sinus: float  # width of the right sigmoid sinus; the left one has the rest
    basilar_mm: float  # how far the basilar artery swings aside


def draw(rng):
    """Skull base of one random adult with a schwannoma on one side.

    Parameters
    ----------
    rng : np.random.Generator

    Returns
    -------
    SkullBase
    """
    return SkullBase(
        head=heads.draw(rng),
        right=ears.draw(rng),
        left=ears.draw(rng),
        schwannoma=tumours.draw(rng),
        aeration=float(rng.uniform(0.45, 1.15)),
        sphenoid=float(rng.uniform(0.8, 1.25)),
        right_sinus=float(rng.uniform(0.75, 1.45)),
        basilar_mm=float(2.0 * np.clip(rng.standard_normal(), -2.0, 2.0)),
    )


def render(base, grid):
    """Tissue map of a skull base.

    Parameters
    ----------
    base : SkullBase
    grid : skullbase_grids.SlabGrid

    Returns
    -------
    uint8 array of shape `grid.tissue_shape`, RAS+, numbers of `skullbase_tissues`
    """
    rng = np.random.default_rng(np.random.SeedSequence(base.head.seed))
    nodes = grid.nodes_mm()
    at = _template(base.head, nodes, rng)
    noises = {"septa": 16.0, "grain": 8.0, "fine": 5.0}
    noises = {name: slow_noise(rng, nodes, mm) for name, mm in noises.items()}
    fields = in_slabs(lambda here: _fields(here, base), at) | noises
    brain = _brain_fields(at, fields["inner"], base, (grid.tissue_spacing_mm, rng))
    labels = np.zeros(grid.tissue_shape, np.uint8)
    everything = fields | brain
    for i, slab in enumerate(refined_planes(everything)):
        _paint_slab(labels[2 * i : 2 * i + 2], slab, base)
    for sign, ear in ((1.0, base.right), (-1.0, base.left)):
        _paint_ear(labels, at, fields["inner"], (sign, ear))
    _paint_tumour(labels, at, fields["inner"], base, (nodes, grid))
    return labels


def _template(head, nodes, rng):
    """Coordinates of the average head at the coarse nodes: three arrays (X, Y, Z)."""
    x, y, z = np.meshgrid(*nodes, indexing="ij", sparse=True)
    x, y, z = (a - s for a, s in zip((x, y, z), head.shift_mm, strict=True))
    pitch, yaw = head.tilt_rad
    y, z = y * np.cos(pitch) + z * np.sin(pitch), z * np.cos(pitch) - y * np.sin(pitch)
    x, y = x * np.cos(yaw) + y * np.sin(yaw), y * np.cos(yaw) - x * np.sin(yaw)
    return [
        a / scale + 0.6 * head.warp_mm * slow_noise(rng, nodes, 32.0)
        for a, scale in zip((x, y, z), head.size, strict=True)
    ]


def _fields(at, base):
    inner = bones.inner_skull(at, skulls.cavity(at))
    thick = skulls.bone_thickness(at, base.head)
    parts = bones.bone_fields(at, thick, base) | bones.vessel_fields(at, base)
    return parts | {"inner": inner, "trigeminal": bones.trigeminal(at)}


def _brain_fields(at, inner, base, how):
    """Depths of the brain, pushed aside by the tumour."""
    moved = tumours.pushed(at, base.schwannoma)
    fields = brains.depths(moved, inner, base.head, (2.0 * how[0], how[1]))
    fields |= in_slabs(lambda here: _hindbrain(here, base.head), [*moved, inner])
    x, y, z = moved
    bent = z + 0.009 * x * x + 0.25 * (y + 60.0)  # leaves of the cerebellum are bowls
    return fields | {"x": x, "y": y, "z": bent}


def _hindbrain(here, head):
    """Brain stem, cerebellum and fourth ventricle instead of those of `brains`."""
    at, inner = here[:3], here[3]
    stem, whole = bones.stem_fields(at)
    return {
        "stem": whole,
        "cerebellum": bones.cerebellum(at, inner, stem),
        "ventricle": bones.fourth_ventricle(at, 0.8 + 0.2 * head.ventricle),
    }


def _paint_slab(labels, fields, base):
    bones.paint_base(labels, fields)
    brains.paint(labels, fields | {"cavity": fields["inner"]}, base.head)
    brain = (labels == tissues.WHITE) | (labels == tissues.CEREBELLUM)
    labels[(fields["ventricle"] < 0) & brain] = tissues.VENTRICLE
    labels[(fields["fossa"] < 0) & (fields["inner"] > -2.0)] = tissues.FLUID
    nerve = (fields["trigeminal"] < 0) & (labels == tissues.FLUID)
    labels[nerve] = ids.NERVE
    bones.paint_vessels(labels, fields)


def _within(at, limits_mm):
    """Slices of the coarse nodes and of the voxels of a box around template limits."""
    inside = np.ones(at[0].shape, bool)
    for a, low, high in zip(at, limits_mm[0::2], limits_mm[1::2], strict=True):
        inside &= (a > low) & (a < high)
    coarse, fine = [], []
    for axis in range(3):
        others = tuple(i for i in range(3) if i != axis)
        hit = np.flatnonzero(inside.any(axis=others)[1:-1])
        start, stop = (int(hit[0]), int(hit[-1]) + 1) if len(hit) else (0, 0)
        coarse.append(slice(start, stop + 2))
        fine.append(slice(2 * start, 2 * stop))
    return tuple(coarse), tuple(fine)


def _side(at, sign):
    """Coordinates in which the given side is the right one."""
    return [sign * at[0], at[1], at[2]]


def _paint_ear(labels, at, inner, which):
    sign, ear = which
    at = _side(at, sign)
    coarse, fine = _within(at, ears.REACH_MM)
    here = ears.placed([refine(a[coarse]) for a in at], ear)
    ears.paint(labels[fine], here, ear, refine(inner[coarse]))


def _paint_tumour(labels, at, inner, base, where):
    nodes, grid = where
    tumour = base.schwannoma
    ear = base.right if tumour.right else base.left
    at = _side(at, 1.0 if tumour.right else -1.0)
    coarse, fine = _within(at, tumours.reach_mm(tumour))
    rng = np.random.default_rng(np.random.SeedSequence(tumour.seed))
    lines = [line[part] for line, part in zip(nodes, coarse, strict=True)]
    how = {name: refine(slow_noise(rng, lines, 8.0)) for name in ("rough", "patches")}
    how |= {"inner": refine(inner[coarse])}
    how |= {"voxel_ml": grid.tissue_spacing_mm**3 / 1000.0}
    here = ears.placed([refine(a[coarse]) for a in at], ear)
    tumours.paint(labels[fine], here, tumour, ear, how)
