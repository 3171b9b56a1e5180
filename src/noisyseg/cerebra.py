"""The cerebrum in a tissue map: where lesions may lie, distances and smooth fields.

Everything is worked out in a box around the brain. Distances and noise are computed on
a grid twice as coarse and refined: fast, and good to about a millimetre.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from noisyseg import tissues
from noisyseg.grids import axes_mm
from noisyseg.shapes import refine, slow_noise

INSIDE_SKULL = (
    tissues.WHITE,
    tissues.CORTEX,
    tissues.DEEP_GREY,
    tissues.CEREBELLUM,
    tissues.FLUID,
    tissues.VENTRICLE,
)


@dataclass(frozen=True)
class Cerebrum:
    """A box around the brain of a head.

    Parameters
    ----------
    labels : uint8 array (X, Y, Z) of even lengths
        The part of the tissue map in the box.
    lines_mm : three 1-D float64 arrays
        World positions of its voxels along x, y, z (RAS+, see `grids`).
    spacing_mm : float
    """

    labels: np.ndarray
    lines_mm: tuple[np.ndarray, np.ndarray, np.ndarray]
    spacing_mm: float

    @property
    def at(self):
        """Coordinates (mm) as three broadcastable arrays."""
        return np.meshgrid(*self.lines_mm, indexing="ij", sparse=True)

    def voxels(self, volume_ml):
        """Number of voxels that comes nearest to a volume."""
        return round(volume_ml * 1000.0 / self.spacing_mm**3)


def box(labels):
    """Slices of a box of even lengths around cerebral cortex and white matter."""
    found = ndimage.find_objects((labels == tissues.CORTEX).view(np.uint8))
    if not found:
        raise ValueError(
            "labels must hold a brain, got no cortex; render a head that reaches it"
        )
    starts = [max(s.start // 2 * 2 - 4, 0) for s in found[0]]
    stops = [
        min((s.stop + 1) // 2 * 2 + 4, n)
        for s, n in zip(found[0], labels.shape, strict=True)
    ]
    return tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))


def cerebrum(labels, spacing_mm):
    """The box around the brain of a tissue map.

    Parameters
    ----------
    labels : uint8 array (X, Y, Z) of even lengths, RAS+, as from `heads.render`
    spacing_mm : float

    Returns
    -------
    Cerebrum

    Raises
    ------
    ValueError
        When there is no cortex.
    """
    here = box(labels)
    lines = axes_mm(labels.shape, spacing_mm)
    lines = tuple(line[s] for line, s in zip(lines, here, strict=True))
    return Cerebrum(labels[here], lines, spacing_mm)


def white_matter(brain):
    """White matter of the cerebrum: no cerebellum, brain stem or cord (bool)."""
    return (brain.labels == tissues.WHITE) & region(brain)


def region(brain):
    """Where the cerebrum lies: above the tentorium, outside the brain stem (bool)."""
    x, y, z = brain.at
    tent = 3.0 - 0.58 * np.sqrt(x * x + 16.0) - 0.5 * np.maximum(-50.0 - y, 0.0)
    above = 0.85 * (z - tent - 2.0) + 0.7 * np.maximum(y + 38.0, 0.0) > 4.0
    stem = (np.abs(x) < 18.0) & (z < 4.0) & (y > -48.0) & (y < 2.0)
    return above & ~stem


def lateral_ventricles(brain):
    """The lateral ventricles but for their temporal horns (bool)."""
    x, _, z = brain.at
    place = (z > -4.0) & ((np.abs(x) > 5.0) | (z > 11.0))
    return (brain.labels == tissues.VENTRICLE) & place


def distance_mm(brain, mask):
    """Distance (mm) to the nearest voxel of a mask, float64; 0 in it.

    Raises
    ------
    ValueError
        When the mask is empty.
    """
    if not mask.any():
        raise ValueError("mask must hold a voxel, got none; is the brain in the box?")
    apart = ndimage.distance_transform_edt(~any_in_block(mask))
    fine = refine(np.pad(apart, 1, mode="edge")) * (2.0 * brain.spacing_mm)
    fine[mask] = 0.0
    return fine


def any_in_block(mask):
    """Whether any voxel of a block of 2 x 2 x 2 is in the mask."""
    for axis in range(3):
        mask = np.moveaxis(mask, axis, 0)
        mask = np.moveaxis(mask[0::2] | mask[1::2], 0, axis)
    return mask


def smooth_field(brain, length_mm, rng):
    """Smooth noise of mean 0 and SD near 1 over `length_mm`, float64, within 2.5 SD."""
    nodes = [
        line[0] + brain.spacing_mm * (2.0 * np.arange(-1, len(line) // 2 + 1) + 0.5)
        for line in brain.lines_mm
    ]
    return np.clip(refine(slow_noise(rng, nodes, length_mm)), -2.5, 2.5)


def lowest(score, allowed, count):
    """Mask of the `count` allowed voxels with the lowest score; all when they are few.

    >>> lowest(np.array([3.0, 1.0, 2.0]), np.array([True, False, True]), 1).tolist()
    [False, False, True]
    """
    values = score[allowed]
    if count >= len(values):
        return allowed.copy()
    return allowed & (score < np.partition(values, count)[count])
