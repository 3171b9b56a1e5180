"""Whole volumes to learn from, one anew at every step: bent, brightened, described.

References
----------
.. [1] Heinrich et al. 2013, Towards Realtime Multimodal Fusion for Image-Guided
   Interventions Using Self-similarities, MICCAI: MIND-SSC.
"""

import hashlib
import inspect
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from noisyseg import mind
from noisyseg.batches import Slices
from noisyseg.choices import check_choice
from noisyseg.settings import Augmentation


def raw(image):
    """The image itself as one channel, of mean 0 and SD 1.

    Parameters
    ----------
    image : float32 tensor of shape (X, Y, Z)

    Returns
    -------
    float32 tensor of shape (1, X, Y, Z)
    """
    return ((image - image.mean()) / image.std().clamp(min=1e-6))[None]


def self_similar(image):
    """MIND-SSC [1]_ as the group's segmentations have it: next voxels, Gaussian .8.

    Parameters
    ----------
    image : float32 tensor of shape (X, Y, Z)

    Returns
    -------
    float32 tensor of shape (12, X, Y, Z)
    """
    return mind.mind_ssc(image, dilation=1, patch="gaussian")


FEATURES = {"raw": raw, "mind": self_similar}


@dataclass(frozen=True)
class Volumes:
    """A number of volumes, each one of the cases, changed at random.

    Among all volumes every case comes equally often, or once more. The image is turned,
    scaled, shifted and changed in contrast and noise before it is described, so that
    descriptors are those of the changed image.

    Attributes
    ----------
    images : sequence of float32 tensors of shape (X, Y, Z)
        All of one shape.
    labels : sequence of uint8 tensors of that shape
    count : int
        How many volumes there are.
    seed : int
        Volume i depends on cases, features, changes, `seed` and i alone.
    features : str
        A key of ``FEATURES``.
    changes : Augmentation
        By default none.

    Raises
    ------
    ValueError
        If there is no case, shapes differ, or `features` is unknown.
    """

    images: tuple[torch.Tensor, ...]
    labels: tuple[torch.Tensor, ...]
    count: int
    seed: int
    features: str = "raw"
    changes: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self):
        check_choice("features", self.features, FEATURES)
        shapes = {tuple(t.shape) for t in (*self.images, *self.labels)}
        if len(shapes) != 1 or len(self.images) != len(self.labels):
            raise ValueError(
                f"images and labels must be pairs of one shape, got "
                f"{len(self.images)} and {len(self.labels)} of {sorted(shapes)}; crop "
                "the volumes"
            )

    def __len__(self):
        return self.count

    def batch(self, indices, device):
        """Features (B, C, X, Y, Z) and labels (B, X, Y, Z), on `device`."""
        parts = [self._changed(int(i), device) for i in indices]
        features, labels = zip(*parts, strict=True)
        return torch.stack(features), torch.stack(labels)

    def held_on(self, device):
        """Itself: volumes go to the device one by one."""
        return self

    def fingerprint(self):
        """Hash of the cases and of what decides how they are changed."""
        about = self.count, self.seed, self.features, self.changes.model_dump()
        code = inspect.getsource(mind)  # features are made anew at every step
        digest = hashlib.blake2b(f"{about}{code}".encode(), digest_size=16)
        for tensor in (*self.images, *self.labels):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().numpy())
        return digest.hexdigest()

    def _changed(self, index, device):
        passes, place = divmod(index, len(self.images))
        order = np.random.default_rng(np.random.SeedSequence([self.seed, passes]))
        case = order.permutation(len(self.images))[place]
        seeds = np.random.SeedSequence(self.seed, spawn_key=(index,))
        rng = np.random.default_rng(seeds)
        image, labels = bend(
            self.images[case].to(device),
            self.labels[case].to(device),
            self.changes,
            rng,
        )
        return FEATURES[self.features](_recoloured(image, self.changes, rng)), labels


def described(images, labels, features):
    """Cases as they are, for validation.

    Parameters
    ----------
    images : sequence of float32 tensors of shape (X, Y, Z)
    labels : sequence of uint8 tensors of that shape
    features : str
        A key of ``FEATURES``.

    Returns
    -------
    Slices of (B, F, X, Y, Z) and (B, X, Y, Z)
    """
    stack = torch.stack([FEATURES[features](image) for image in images])
    return Slices(stack, torch.stack(tuple(labels)))


def bend(image, labels, changes, rng):
    """An image and its labels turned, scaled and shifted alike, at random.

    Parameters
    ----------
    image : float32 tensor of shape (X, Y, Z)
    labels : uint8 tensor of that shape
    changes : Augmentation
        Turns are about each axis; shifts are shares of each edge. Angles are true
        where voxels are cubes; others are sheared a little.
    rng : np.random.Generator

    Returns
    -------
    image, labels
        Linear and nearest; beyond the border its values go on.
    """
    turns = np.deg2rad(changes.rotation_deg) * rng.uniform(-1, 1, 3)
    scale = np.exp(np.log1p(changes.scaling) * rng.uniform(-1, 1))
    matrix = scale * np.eye(3)
    for axis, angle in enumerate(turns):
        i, j = (k for k in range(3) if k != axis)
        turn = np.eye(3)
        turn[[i, i, j, j], [i, j, i, j]] = (
            np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle),
        )  # fmt: skip
        matrix = turn @ matrix
    edges = np.array(image.shape)[::-1]  # affine_grid goes along Z, Y, X, from -1 to 1
    theta = np.empty((1, 3, 4), np.float32)
    theta[0, :, :3] = matrix * edges[None] / edges[:, None]
    theta[0, :, 3] = 2 * changes.shift * rng.uniform(-1, 1, 3)
    grid = F.affine_grid(
        torch.from_numpy(theta).to(image.device),
        (1, 1, *image.shape),
        align_corners=False,
    )
    how = {"padding_mode": "border", "align_corners": False}
    moved = F.grid_sample(image[None, None], grid, **how)[0, 0]
    named = F.grid_sample(labels[None, None].float(), grid, mode="nearest", **how)
    return moved, named[0, 0].to(labels.dtype)


def _recoloured(image, changes, rng):
    """Contrast and brightness changed in units of the image's SD, noise added."""
    spread = image.std()
    contrast = float(np.exp(np.log1p(changes.contrast) * rng.uniform(-1, 1)))
    offset = float(changes.brightness * rng.uniform(-1, 1))
    noise = rng.standard_normal(tuple(image.shape), np.float32)
    noise = torch.from_numpy(noise).to(image.device)
    return image * contrast + spread * (offset + changes.noise * noise)
