"""Label maps as anatomies: whole-head label maps of several codings as tissue maps."""

import numpy as np
from scipy import ndimage

from noisyseg import tissues as ids
from noisyseg import volume
from noisyseg.grids import CENTRE_MM, TOP_MM, axes_mm
from noisyseg.shapes import slow_noise

SKIN_MM = 2.0


def _coding(**tissues):
    return {v: getattr(ids, name) for name, values in tissues.items() for v in values}


CODINGS = {
    "synthseg": _coding(
        OUTSIDE=(0,),
        WHITE=(2, 41, 7, 46, 16, 28, 60, 25, 57, 77, 85, 251, 252, 253, 254, 255),
        CORTEX=(3, 42),
        CEREBELLUM=(8, 47),
        DEEP_GREY=(10, 11, 12, 13, 17, 18, 26, 49, 50, 51, 52, 53, 54, 58),
        FLUID=(24, 30, 62),
        VENTRICLE=(4, 5, 14, 15, 31, 43, 44, 63, 72, 136, 137, 163, 164),
        COMPACT=(515,),
        MARROW=(516,),
        SKIN=(511,),
        MUSCLE=(507, 508),
        MUCOSA=(509,),
        VITREOUS=(506,),
        OPTIC_NERVE=(530,),
        CORD=(512,),
        VEIN=(514,),
        ARTERY=(502,),
    ),
    "charm": _coding(
        OUTSIDE=(0,),
        WHITE=(1,),
        CORTEX=(2,),
        FLUID=(3,),
        COMPACT=(4, 7),
        SKIN=(5,),
        VITREOUS=(6,),
        MARROW=(8,),
        VEIN=(9,),
        MUSCLE=(10,),
        CARTILAGE=(11,),
        FAT=(12,),
    ),
    "head": _coding(
        OUTSIDE=(0,),
        WHITE=(1,),
        CORTEX=(2,),
        FLUID=(3,),
        COMPACT=(4,),
        MUSCLE=(5,),
        AIR=(6,),
        VITREOUS=(7,),
        VENTRICLE=(8,),
    ),
}
"""Label value to tissue. synthseg: FreeSurfer ids, and SimNIBS charm's beyond the brain
(136, 137, 163, 164 border on the lateral ventricles: taken as choroid plexus); charm:
its final_tissues; head: the nine classes of this package."""


def read_tissues(path, coding, grid, rng, *, bend_mm=0.0):
    """Tissue map (uint8, RAS+) of a label map on the tissue grid, nearest neighbour.

    The head is brought into the field of view by its top and its centre; it keeps its
    orientation. Background that the head encloses becomes air inside; soft tissue gets
    the fat that label maps lack.

    Parameters
    ----------
    path : str or Path
    coding : str
        A key of `CODINGS`.
    grid : Grid
    rng : np.random.Generator
        Draws fat and deformation.
    bend_mm : float
        SD of a smooth random deformation.

    Raises
    ------
    ValueError
        For a value that the coding lacks, naming file and value.
    """
    labels = volume.to_canonical(volume.read_labels(path))
    table = CODINGS[coding]
    unknown = [int(v) for v in np.unique(labels.data) if int(v) not in table]
    if unknown:
        raise ValueError(
            f"{path} must hold labels of the coding {coding!r}, got {unknown[:8]}; "
            f"choose another of {', '.join(CODINGS)}"
        )
    volume.check_not_empty(labels, str(path))
    lookup = np.zeros(max(table) + 1, np.uint8)
    lookup[list(table)] = list(table.values())
    tissues = lookup[labels.data]
    tissues[_enclosed(tissues)] = ids.AIR
    _add_fat(tissues, labels.spacing_mm, rng)
    bend = None
    if bend_mm:
        axes = axes_mm(grid.tissue_shape, grid.tissue_spacing_mm)
        bend = [bend_mm * slow_noise(rng, axes, 32.0) for _ in range(3)]
    return _place(tissues, labels.spacing_mm, grid, bend)


def _enclosed(tissues):
    """Background enclosed by the head in two of the three kinds of slices.

    The lower edge counts as closed, so that the airway of a cut neck is inside.
    """
    head = np.pad(tissues > 0, ((0, 0), (0, 0), (1, 0)), constant_values=True)
    votes = np.zeros(tissues.shape, np.uint8)
    for axis in range(3):
        flat = np.moveaxis(head if axis < 2 else head[:, :, 1:], axis, 0)
        filled = np.stack([ndimage.binary_fill_holes(s) for s in flat])
        filled = np.moveaxis(filled, 0, axis)
        votes += filled[:, :, 1:] if axis < 2 else filled
    return (votes >= 2) & (tissues == 0)


def _add_fat(tissues, spacing_mm, rng):
    """Soft tissue gets the fat that label maps lack: under the skin, between muscles.

    The outer `SKIN_MM` of what is called skin stay skin, the rest becomes fat; sheets
    and lobules of fat run through muscle ("other tissue" in most codings).
    """
    steps = max(round(SKIN_MM / np.mean(spacing_mm)), 1)
    deep = ndimage.binary_erosion(tissues > 0, iterations=steps)
    tissues[deep & (tissues == ids.SKIN)] = ids.FAT
    axes = [e * np.arange(n) for e, n in zip(spacing_mm, tissues.shape, strict=True)]
    septa = slow_noise(rng, axes, 16.0)
    fatty = (np.abs(septa) < 0.07) | (septa > 1.3)
    tissues[fatty & (tissues == ids.MUSCLE)] = ids.FAT


def _place(tissues, edges_mm, grid, bend):
    """The map on the tissue grid, its top and centre where digital heads have them."""
    lines = axes_mm(grid.tissue_shape, grid.tissue_spacing_mm)
    anchors = (0.0, CENTRE_MM[1] + 3.0, TOP_MM - 12.0)
    where = []
    for axis, (line, anchor) in enumerate(zip(lines, anchors, strict=True)):
        others = tuple(i for i in range(3) if i != axis)
        filled = np.flatnonzero((tissues > 0).any(axis=others))
        voxel = filled[-1] if axis == 2 else (filled[0] + filled[-1]) / 2
        points = line.reshape([-1 if i == axis else 1 for i in range(3)]) - anchor
        if bend is not None:
            points = points + bend[axis]
        index = points / edges_mm[axis] + voxel
        where.append(np.broadcast_to(index, grid.tissue_shape))
    return ndimage.map_coordinates(tissues, where, order=0, mode="constant", cval=0)
