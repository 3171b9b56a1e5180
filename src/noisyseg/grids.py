"""The grids that heads are rendered on: image voxels, finer tissue voxels below.

World coordinates are mm, RAS+; the origin lies near the anterior commissure.
"""

from dataclasses import dataclass

import numpy as np

CENTRE_MM = (0.0, -14.0)  # x, y of the middle of every field of view
TOP_MM = 98.0  # z of its upper edge: the neck is what a small field of view loses


@dataclass(frozen=True)
class Grid:
    """Image grid (voxels, mm) and the edge (mm) of the tissue voxels it averages.

    >>> Grid((96, 120, 120), 2.0, 1.0).tissue_shape
    (192, 240, 240)
    """

    shape: tuple[int, int, int]
    spacing_mm: float
    tissue_spacing_mm: float

    def __post_init__(self):
        ratio = self.spacing_mm / self.tissue_spacing_mm
        if ratio < 1 or abs(ratio - round(ratio)) > 1e-6:
            raise ValueError(
                f"tissue_spacing_mm must divide spacing_mm {self.spacing_mm}, got "
                f"{self.tissue_spacing_mm}; e.g. {self.spacing_mm / 2}"
            )

    @property
    def tissue_shape(self):
        """Voxels of the tissue grid that fills the same field of view."""
        ratio = round(self.spacing_mm / self.tissue_spacing_mm)
        return tuple(ratio * n for n in self.shape)

    @property
    def affine(self):
        """Image voxel to world (mm, RAS+), float64 array (4, 4)."""
        affine = np.diag([self.spacing_mm] * 3 + [1.0])
        affine[:3, 3] = origin_mm(self.shape, self.spacing_mm)
        return affine


def origin_mm(shape, spacing_mm):
    """World position (mm) of the centre of the first voxel of a grid around a head.

    >>> origin_mm((96, 120, 120), 2.0)
    (-95.0, -133.0, -141.0)
    """
    x, y, z = (n * spacing_mm for n in shape)
    half = spacing_mm / 2
    return (CENTRE_MM[0] - x / 2 + half, CENTRE_MM[1] - y / 2 + half, TOP_MM - z + half)


def axes_mm(shape, spacing_mm):
    """World positions (mm) of the voxel centres along x, y, z: three 1-D arrays."""
    starts = origin_mm(shape, spacing_mm)
    return [a + spacing_mm * np.arange(n) for a, n in zip(starts, shape, strict=True)]
