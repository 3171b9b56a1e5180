"""Crops of CT scans around one organ: all that the networks of a study see."""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Window:
    """Which voxels of a scan a crop holds: a square of each slice from low to high.

    Parameters
    ----------
    corner : (int, int)
        First voxel along X and Y; may lie outside of the scan.
    size : int
        Edge of the square in voxels.
    slices : slice
        Along Z, within the scan.
    """

    corner: tuple[int, int]
    size: int
    slices: slice

    def cut(self, data, outside):
        """The crop of an array (X, Y, Z) as slices (Z, size, size)."""
        stack = np.full((self.size, self.size, data.shape[2]), outside, data.dtype)
        there, here = [], []
        for corner, n in zip(self.corner, data.shape[:2], strict=True):
            low, high = max(corner, 0), min(corner + self.size, n)
            there.append(slice(low, high))
            here.append(slice(low - corner, high - corner))
        stack[tuple(here)] = data[tuple(there)]
        return np.ascontiguousarray(stack[..., self.slices].transpose(2, 0, 1))

    def widened(self, by):
        """The window with so many more voxels on each side within the slice."""
        corner = tuple(start - by for start in self.corner)
        return Window(corner, self.size + 2 * by, self.slices)


def around(mask, edge_mm, reach_mm):
    """Window around the middle of an organ.

    Parameters
    ----------
    mask : Volume
        Bool, not empty; its voxels must be squares within the slice.
    edge_mm : float
        Edge of the square.
    reach_mm : float
        How far the window goes beyond the organ along Z, where the scan does.

    Raises
    ------
    ValueError
        If the voxels are no squares within the slice.
    """
    x_mm, y_mm, z_mm = mask.spacing_mm
    if abs(x_mm - y_mm) > 0.01 * x_mm:
        raise ValueError(
            f"spacing must be equal along x and y, got {x_mm:.3f} and {y_mm:.3f} mm; "
            "resample the scan"
        )
    size = round(edge_mm / x_mm)
    filled = [np.flatnonzero(mask.data.any(axis=a)) for a in ((1, 2), (0, 2), (0, 1))]
    middle = [(line[0] + line[-1] + 1) // 2 for line in filled]
    reach = int(np.ceil(reach_mm / z_mm))
    low, high = max(filled[2][0] - reach, 0), filled[2][-1] + 1 + reach
    corner = tuple(int(m) - size // 2 for m in middle[:2])
    return Window(corner, size, slice(int(low), int(min(high, mask.shape[2]))))


def image_slices(ct, window, window_hu, context):
    """Slices of a CT with their neighbours as channels.

    Parameters
    ----------
    ct : Volume
        HU.
    window : Window
    window_hu : (float, float)
        These HU become 0 and 1; what lies beyond is clipped.
    context : int
        Neighbours on either side; at the ends of the scan its last slice.

    Returns
    -------
    float32 tensor (Z, 2 context + 1, size, size)
    """
    low, high = window_hu
    scaled = ((ct.data - low) / (high - low)).clip(0, 1).astype(np.float32)
    every = Window(window.corner, window.size, slice(None))
    stack = every.cut(scaled, np.float32(0))
    centres = np.arange(len(stack))[window.slices, None]
    neighbours = centres + np.arange(-context, context + 1)
    return torch.from_numpy(stack[neighbours.clip(0, len(stack) - 1)])
