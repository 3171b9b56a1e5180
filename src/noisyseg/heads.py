"""Digital heads: a random anatomy, and the tissue map it describes.

A head is drawn once (`draw`: a dataclass of plain numbers, so it can be tabulated and
replayed) and rendered on any grid (`render`). Shapes stand in the frame of an average
head (mm from the anterior commissure; `skulls`, `brains`); each subject has its own
size, pose, smooth warp, thicknesses and folding. Smooth fields are computed on a grid
twice as coarse and refined slab by slab; only then are they cut into tissues.
"""

from dataclasses import dataclass

import numpy as np

from noisyseg import brains, skulls
from noisyseg.grids import origin_mm
from noisyseg.shapes import in_slabs, refined_planes, slow_noise


@dataclass(frozen=True)
class Anatomy:
    """All that makes one head differ from another; lengths in mm.

    `age` runs from 0 (young) to 1 (old); ventricles, sulci and fluid grow with it.
    """

    seed: int
    age: float
    size: tuple[float, float, float]
    tilt_rad: tuple[float, float]
    shift_mm: tuple[float, float, float]
    warp_mm: float
    skull_mm: float
    diploe: float
    scalp_mm: float
    skin_mm: float
    fat_mm: float
    fluid_mm: float
    sulcus_mm: float
    cortex_mm: float
    gyrus_mm: float
    ventricle: float
    frontal_sinus: float
    maxillary_sinus: float
    sphenoid_sinus: float
    eye_radius_mm: float
    eye_mm: tuple[float, float, float]
    nose_mm: float
    chin_mm: float


def draw(rng):
    """Anatomy of one random adult head.

    Parameters
    ----------
    rng : np.random.Generator

    Returns
    -------
    Anatomy
    """

    def around(mean, deviation, reach=2.0):
        return float(mean + deviation * np.clip(rng.standard_normal(), -reach, reach))

    age = float(rng.uniform())
    head = around(1.0, 0.025)
    return Anatomy(
        seed=int(rng.integers(2**31)),
        age=age,
        size=tuple(head * around(1.0, 0.022) for _ in range(3)),
        tilt_rad=(around(0.0, 0.06), around(0.0, 0.02)),
        shift_mm=tuple(around(0.0, 2.0) for _ in range(3)),
        warp_mm=around(2.0, 0.3),
        skull_mm=around(5.3, 0.6),
        diploe=around(0.32, 0.08),
        scalp_mm=around(7.8, 1.0),
        skin_mm=around(1.9, 0.2),
        fat_mm=around(2.6, 0.7),
        fluid_mm=around(2.6 + 2.6 * age, 0.3),
        sulcus_mm=around(0.45 + 0.55 * age, 0.08),
        cortex_mm=around(2.6 - 0.25 * age, 0.1),
        gyrus_mm=around(11.8, 0.6),
        ventricle=around(0.95 + 1.3 * age, 0.18),
        frontal_sinus=around(1.0, 0.2),
        maxillary_sinus=around(1.0, 0.1),
        sphenoid_sinus=around(1.0, 0.12),
        eye_radius_mm=around(11.0, 0.3),
        eye_mm=(around(31.5, 1.2), around(54.5, 1.2), around(-35.5, 1.2)),
        nose_mm=around(0.0, 2.0),
        chin_mm=around(0.0, 3.0),
    )


@dataclass(frozen=True)
class _Box:
    """A part of the grid: coarse fields carry one extra node at either end."""

    start: tuple[int, int, int]
    size: tuple[int, int, int]

    @property
    def coarse(self):
        pairs = zip(self.start, self.size, strict=True)
        return tuple(slice(a, a + n + 2) for a, n in pairs)

    @property
    def fine(self):
        pairs = zip(self.start, self.size, strict=True)
        return tuple(slice(2 * a, 2 * (a + n)) for a, n in pairs)


def render(anatomy, shape, spacing_mm):
    """Tissue map of a head, air outside = 0.

    Parameters
    ----------
    anatomy : Anatomy
    shape : triple of even int
        Voxels of the tissue grid, placed around the head as in `grids`.
    spacing_mm : float
        Edge of a tissue voxel, about 1 (2 gives a coarse head for tests).

    Returns
    -------
    uint8 array of `shape`, RAS+, values of `tissues`
    """
    shape = check_shape(shape, spacing_mm)
    rng = np.random.default_rng(np.random.SeedSequence(anatomy.seed))
    nodes = _nodes(shape, spacing_mm)
    at = _template(anatomy, nodes, rng)
    labels = np.zeros(shape, np.uint8)
    whole = _Box((0, 0, 0), tuple(n // 2 for n in shape))
    fields = _head_fields(at, anatomy, nodes, rng)
    for part, slab in _sweep(labels, whole, fields):
        skulls.paint_soft(part, slab, anatomy)
        skulls.paint_skull(part, slab, anatomy)
    _render_face(labels, at, fields, anatomy)
    _render_brain(labels, at, fields, anatomy, (spacing_mm, rng))
    return labels


def check_shape(shape, spacing_mm):
    if len(shape) != 3 or any(int(n) != n or n < 16 or n % 2 for n in shape):
        raise ValueError(
            f"shape must be three even numbers of at least 16, got {tuple(shape)}; "
            "e.g. (192, 240, 240) at 1 mm"
        )
    if not spacing_mm > 0:
        raise ValueError(f"spacing_mm must be positive, got {spacing_mm}; e.g. 1.0")
    return tuple(int(n) for n in shape)


def _nodes(shape, spacing_mm):
    """World positions (mm) of the coarse nodes along x, y, z, one more at each end."""
    starts = origin_mm(shape, spacing_mm)
    return [
        start + spacing_mm * (2.0 * np.arange(-1, n // 2 + 1) + 0.5)
        for start, n in zip(starts, shape, strict=True)
    ]


def _template(anatomy, nodes, rng):
    """Coordinates of the average head at the coarse nodes: three arrays (X, Y, Z)."""
    x, y, z = np.meshgrid(*nodes, indexing="ij", sparse=True)
    x, y, z = (a - s for a, s in zip((x, y, z), anatomy.shift_mm, strict=True))
    pitch, yaw = anatomy.tilt_rad
    y, z = y * np.cos(pitch) + z * np.sin(pitch), z * np.cos(pitch) - y * np.sin(pitch)
    x, y = x * np.cos(yaw) + y * np.sin(yaw), y * np.cos(yaw) - x * np.sin(yaw)
    return [
        a / scale + anatomy.warp_mm * slow_noise(rng, nodes, 32.0)
        for a, scale in zip((x, y, z), anatomy.size, strict=True)
    ]


def _head_fields(at, anatomy, nodes, rng):
    wobble, uneven = (slow_noise(rng, nodes, 32.0) for _ in range(2))
    fields = in_slabs(lambda here: skulls.head_fields(here, anatomy), at)
    return {
        **fields,
        "bone": fields["bone"] * (1.0 + 0.12 * wobble),
        "fat": np.maximum(fields["fat"] * (1.0 + 0.25 * uneven), 0.8),
        "grain": slow_noise(rng, nodes, 8.0),
        "septa": slow_noise(rng, nodes, 16.0),
    }


def _within(at, limits_mm):
    """Box of the grid around the template limits (x0, x1, y0, y1, z0, z1), mm."""
    start, size = [], []
    inside = np.ones(at[0].shape, bool)
    for a, low, high in zip(at, limits_mm[0::2], limits_mm[1::2], strict=True):
        inside &= (a > low) & (a < high)
    for axis in range(3):
        others = tuple(i for i in range(3) if i != axis)
        hit = np.flatnonzero(inside.any(axis=others)[1:-1])
        start.append(int(hit[0]) if len(hit) else 0)
        size.append(int(hit[-1]) + 1 - start[-1] if len(hit) else 0)
    return _Box(tuple(start), tuple(size))


def _sweep(labels, box, fields):
    """Slabs of the box: the part of `labels`, and the fields refined to its grid.

    Two fine planes at a time, so that what is computed on them fits the cache.
    """
    view = labels[box.fine]
    for i, slab in enumerate(refined_planes(fields)):
        yield view[2 * i : 2 * i + 2], slab


def _render_face(labels, at, fields, anatomy):
    box = _within(at, skulls.FACE_MM)
    here = [a[box.coarse] for a in at]
    wanted = {name: fields[name][box.coarse] for name in skulls.SHARED}
    parts = wanted | in_slabs(lambda slab: skulls.face_fields(slab, anatomy), here)
    parts |= {"x": here[0], "z": here[2]}
    for part, slab in _sweep(labels, box, parts):
        skulls.paint_face(part, slab)
    for limits in skulls.EYES_MM:
        box = _within(at, limits)
        here = dict(zip("xyz", (a[box.coarse] for a in at), strict=True))
        here["surface"] = fields["surface"][box.coarse]
        for part, slab in _sweep(labels, box, here):
            skulls.paint_eyes(part, slab, anatomy)


def _render_brain(labels, at, fields, anatomy, how):
    spacing_mm, rng = how
    box = _within(at, brains.REACH_MM)
    here = [a[box.coarse] for a in at]
    cavity = fields["cavity"][box.coarse]
    parts = brains.depths(here, cavity, anatomy, (2 * spacing_mm, rng))
    parts |= dict(zip("xyz", here, strict=True)) | {"cavity": cavity}
    for part, slab in _sweep(labels, box, parts):
        brains.paint(part, slab, anatomy)
    box = _within(at, brains.DEEP_MM)
    here = [a[box.coarse] for a in at]
    parts = in_slabs(lambda slab: brains.deep_fields(slab, anatomy), here)
    for part, slab in _sweep(labels, box, parts):
        brains.paint_deep(part, slab)
