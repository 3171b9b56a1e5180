"""Grids around the skull base: thin pixels, thick slices, and fine tissue voxels.

World coordinates (mm, RAS+) as in `grids`: origin at the anterior commissure.
"""

from dataclasses import dataclass

import numpy as np

CENTRE_MM = (0.0, -27.0, -42.0)
"""Middle of every field of view: between the inner ears."""
LEAST_MM = (88.0, 64.0, 44.0)  # what holds both inner ears of any head
MOST_MM = (116.0, 116.0, 100.0)  # beyond, the anatomy has no skin, eyes and vault


@dataclass(frozen=True)
class SlabGrid:
    """Image grid (voxels, mm along x, y, z) and the edge (mm) of the tissue voxels.

    Each image voxel averages a block of whole tissue voxels.

    >>> SlabGrid((96, 96, 48), (1.0, 1.0, 1.5), 0.5).tissue_shape
    (192, 192, 144)
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    tissue_spacing_mm: float

    def __post_init__(self):
        for name in ("shape", "spacing_mm"):
            value = getattr(self, name)
            if isinstance(value, str) or len(tuple(np.atleast_1d(value))) != 3:
                raise ValueError(
                    f"{name} must be three numbers (x, y, z), got {value}; "
                    "e.g. (96, 96, 48) voxels of (1.0, 1.0, 1.5) mm"
                )
            object.__setattr__(self, name, tuple(value))
        self._check_ratios()
        self._check_extent()

    def _check_ratios(self):
        blocks = np.array(self.spacing_mm) / self.tissue_spacing_mm
        if (blocks < 1 - 1e-6).any() or (abs(blocks - np.rint(blocks)) > 1e-6).any():
            raise ValueError(
                f"tissue_spacing_mm must divide spacing_mm {self.spacing_mm}, got "
                f"{self.tissue_spacing_mm}; e.g. {min(self.spacing_mm) / 2}"
            )
        if any(n % 2 for n in self.tissue_shape):
            raise ValueError(
                f"shape must give an even number of tissue voxels, got {self.shape} "
                f"voxels of {self.ratios}; use even numbers"
            )

    def _check_extent(self):
        extent = np.array(self.shape) * self.spacing_mm
        if (extent < LEAST_MM).any() or (extent > MOST_MM).any():
            raise ValueError(
                f"shape must span {LEAST_MM} to {MOST_MM} mm, which hold the inner "
                f"ears, got {tuple(extent.tolist())}; e.g. 96 x 96 x 72 mm"
            )

    @property
    def ratios(self):
        """Tissue voxels in an image voxel along x, y, z."""
        return tuple(round(s / self.tissue_spacing_mm) for s in self.spacing_mm)

    @property
    def tissue_shape(self):
        """Voxels of the tissue grid that fills the same field of view."""
        return tuple(n * r for n, r in zip(self.shape, self.ratios, strict=True))

    @property
    def voxel_ml(self):
        """Volume of an image voxel."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    @property
    def affine(self):
        """Image voxel to world (mm, RAS+), float64 array (4, 4)."""
        affine = np.diag([*self.spacing_mm, 1.0])
        extent = np.array(self.shape) * self.spacing_mm
        affine[:3, 3] = CENTRE_MM - extent / 2 + np.array(self.spacing_mm) / 2
        return affine

    def nodes_mm(self):
        """World positions of coarse nodes, each amid 2 x 2 x 2 tissue voxels.

        Three 1-D float64 arrays, with one more node at either end, as
        `shapes.refined_planes` wants them.
        """
        step = 2.0 * self.tissue_spacing_mm
        return [
            centre + step * (np.arange(-1, n // 2 + 1) + 0.5 - n / 4)
            for centre, n in zip(CENTRE_MM, self.tissue_shape, strict=True)
        ]
