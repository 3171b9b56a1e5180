"""Segment whole volumes with a trained network."""

from dataclasses import asdict, dataclass

import numpy as np
import torch

from noisyseg import atlases, slicing, volume
from noisyseg.volume import Volume


def scores(model, images, size, *, device="cpu", batch_size=16):
    """Class scores of every voxel from a network that works slice by slice.

    Parameters
    ----------
    model : torch.nn.Module
        (B, modality, size, size) -> logits (B, C, size, size).
    images : sequence of Volume
        The modalities the network was trained on, canonical axes, one grid (X, Y, Z).
    size : int
        Edge of the slices the network was trained on, pixels.
    device : str
        Torch device on which the network runs.
    batch_size : int
        Slices at once.

    Returns
    -------
    float32 tensor (C, X, Y, Z) on the CPU
    """
    parts = list(_slice_scores(model, images, size, device, batch_size))
    return torch.cat(parts).permute(1, 2, 3, 0)


def probabilities(model, images, size, *, device="cpu", batch_size=16):
    """Probability of every class in every voxel, float32 array (C, X, Y, Z).

    Arguments as `scores`.
    """
    logits = _slice_scores(model, images, size, device, batch_size)
    prob = torch.cat([part.softmax(1) for part in logits]).permute(1, 2, 3, 0)
    return np.ascontiguousarray(prob.numpy())


def segment(model, images, size, *, device="cpu", batch_size=16):
    """The most likely class of every voxel; arguments as `scores`.

    Returns
    -------
    Volume of uint8 labels on the grid of the first image
    """
    logits = _slice_scores(model, images, size, device, batch_size)
    labels = torch.cat([part.argmax(1).to(torch.uint8) for part in logits])
    return images[0].with_data(np.ascontiguousarray(labels.permute(1, 2, 0).numpy()))


@torch.inference_mode()
def _slice_scores(model, images, size, device, batch_size):
    """Scores of some slices after the other, (B, C, X, Y) on the CPU."""
    model = model.to(device, memory_format=torch.channels_last).eval()
    for batch in slicing.image_slices(images, size).split(batch_size):
        logits = model(batch.to(device, memory_format=torch.channels_last))
        yield slicing.resize(logits.float(), images[0].shape[:2]).cpu()


@dataclass(frozen=True)
class Frame:
    """The pixels a network was trained on: a head of another grid is brought there.

    Parameters
    ----------
    shape : tuple (X, Y)
        Pixels of a slice before it was made square.
    spacing_mm : tuple of 3 floats
    centre_mm : tuple (x, y)
        Mean place of the head's centre relative to the middle of the slice.
    """

    shape: tuple[int, int]
    spacing_mm: tuple[float, float, float]
    centre_mm: tuple[float, float]

    @classmethod
    def of(cls, images):
        """The frame of some training heads, which share one shape and spacing."""
        first = images[0]
        offsets = [_centre_in_slice_mm(image) for image in images]
        centre = tuple(float(c) for c in np.mean(offsets, axis=0))
        return cls(first.shape[:2], first.spacing_mm, centre)

    def as_dict(self):
        """Plain values for JSON."""
        return asdict(self)

    def around(self, head):
        """An empty grid with these pixels, the head where the training heads were.

        Parameters
        ----------
        head : Volume
            Canonical axes.
        """
        spacing = np.array(self.spacing_mm)
        height_mm = head.shape[2] * head.spacing_mm[2]
        shape = (*self.shape, int(np.ceil(height_mm / spacing[2])))
        affine = np.diag([*spacing, 1.0])
        middle_xy = atlases.head_centre(head)[:2] - self.centre_mm
        affine[:2, 3] = middle_xy - spacing[:2] * (np.array(shape[:2]) - 1) / 2
        affine[2, 3] = head.affine[2, 3]
        return Volume(np.zeros(shape, np.float32), affine)


def _centre_in_slice_mm(image):
    """Place of the head's centre relative to the middle of the slice, mm (2,)."""
    middle = image.affine @ [*((np.array(image.shape) - 1) / 2), 1]
    return atlases.head_centre(image)[:2] - middle[:2]


def segment_in_frame(model, images, size, frame, *, device="cpu"):
    """Labels of a head of any grid, which is brought to the training pixels and back.

    Parameters
    ----------
    model, images, size, device
        As `scores`; the images may have any spacing and field of view.
    frame : Frame

    Returns
    -------
    Volume of uint8 labels on the grid of the first image; the class scores, not the
    labels, are interpolated, and beyond the frame stands class 0
    """
    grid = frame.around(images[0])
    framed = [volume.resample(image, grid) for image in images]
    found = scores(model, framed, size, device=device)
    best = np.full(images[0].shape, -np.inf, np.float32)
    labels = np.zeros(images[0].shape, np.uint8)
    lowest = float(found.min())
    for value, score in enumerate(found.numpy()):
        # shifted so that what lies beyond the frame (0) is below every score
        shifted = Volume(score - lowest + 1, grid.affine)
        there = volume.resample(shifted, images[0]).data
        better = there > best
        best[better], labels[better] = there[better], value
    return images[0].with_data(labels)
