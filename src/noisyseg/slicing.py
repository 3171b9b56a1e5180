"""Volumes as stacks of 2-D slices, and stacks back as volumes.

The 2-D studies cut along the third array axis (axial in canonical order) and bring
every slice to one square size, as the published training code does.
"""

import numpy as np
import torch
from torch.nn import functional

CEILING_PERCENTILE = 99.5


def normalise(data):
    """Intensities scaled so that 0 stays 0 and the 99.5th percentile becomes 1.

    Parameters
    ----------
    data : float array of shape (X, Y, Z)
        Magnitude image; negatives (interpolation) become 0.

    Returns
    -------
    float32 array of the same shape, one scale for the whole volume

    Raises
    ------
    ValueError
        When the volume has no positive intensity.
    """
    positive = np.clip(data, 0, None)
    ceiling = np.percentile(positive, CEILING_PERCENTILE)
    if ceiling <= 0:
        raise ValueError(
            "image must hold positive intensities in at least 0.5 % of its voxels, "
            "got none; check the scan"
        )
    return (positive / ceiling).astype(np.float32)


def image_slices(images, size):
    """A head as a stack of square slices with one channel per modality.

    Parameters
    ----------
    images : sequence of Volume
        Modalities of one head on one grid, shape (X, Y, Z).
    size : int
        Edge of the square slices in pixels; bilinear.

    Returns
    -------
    float32 tensor (Z, modality, size, size)
    """
    stack = np.stack([normalise(image.data) for image in images])
    slices = torch.from_numpy(stack).permute(3, 0, 1, 2)  # (Z, modality, X, Y)
    return resize(slices, (size, size)).contiguous()


def label_slices(labels, size):
    """Labels as square slices by nearest neighbour, uint8 tensor (Z, size, size)."""
    rows, columns = (
        ((np.arange(size) + 0.5) * n / size).astype(int) for n in labels.shape[:2]
    )
    taken = labels.data[np.ix_(rows, columns)].transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(taken, np.uint8))


def resize(stack, shape):
    """A stack (B, C, H, W) at another number of pixels (H', W'), bilinear."""
    return functional.interpolate(stack, shape, mode="bilinear", align_corners=False)
