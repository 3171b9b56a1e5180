"""What a network learns from, and in which order.

References
----------
.. [1] Chen et al. 2021, TransUNet, arXiv 2102.04306, and its code,
   github.com/Beckschen/TransUNet: the rate falls polynomially, step by step.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch

from noisyseg.settings import TrainingSettings


@dataclass(frozen=True)
class Slices:
    """Slices to learn from, all of one size; or patches of volumes.

    Attributes
    ----------
    images : float32 tensor of shape (N, C, H, W), or (N, C, X, Y, Z)
    labels : uint8 tensor of shape (N, H, W), or (N, X, Y, Z)
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __post_init__(self):
        images, labels = self.images, self.labels
        if images.dtype != torch.float32 or labels.dtype != torch.uint8:
            raise TypeError(
                "images must be float32 and labels uint8, got "
                f"{images.dtype} and {labels.dtype}; convert them"
            )
        n, *size = images.shape[:1] + images.shape[2:]
        if images.ndim not in (4, 5) or labels.shape != (n, *size):
            raise ValueError(
                "images must be (N, C, H, W) and labels (N, H, W), got "
                f"{tuple(images.shape)} and {tuple(labels.shape)}; one label per pixel"
            )
        if not images.isfinite().all():
            raise ValueError("images must be finite, got NaN or inf; clean the volumes")

    def __len__(self):
        return len(self.images)

    def every(self, stride):
        """Every so many-th slice."""
        return Slices(self.images[::stride], self.labels[::stride])

    def none(self):
        """No slices, of the same shape."""
        return Slices(self.images[:0], self.labels[:0])

    def held_on(self, device):
        """Itself in the memory of `device` if at most half of it is needed.

        Otherwise in pinned memory of the host, from which batches are copied.
        """
        if device.type == "cpu":
            return self
        size = self.images.nbytes + self.labels.nbytes
        if size < 0.5 * torch.cuda.mem_get_info(device)[0]:
            return Slices(self.images.to(device), self.labels.to(device))
        return Slices(self.images.pin_memory(), self.labels.pin_memory())

    def batch(self, indices, device):
        """Images and labels of some slices, on `device`."""
        rows = torch.as_tensor(indices, device=self.images.device)
        images, labels = self.images[rows], self.labels[rows]
        return images.to(device, non_blocking=True), labels.to(device)

    def fingerprint(self):
        """Hash of shapes and values."""
        digest = hashlib.blake2b(digest_size=16)
        for tensor in (self.images, self.labels):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.cpu().contiguous().numpy())
        return digest.hexdigest()


@dataclass(frozen=True)
class Plan:
    """What every step of a training does: a pure function of the step's number."""

    settings: TrainingSettings
    n_slices: int

    @property
    def steps_per_pass(self):
        return math.ceil(self.n_slices / self.settings.batch_size)

    @property
    def steps_per_epoch(self):
        return self.settings.steps_per_epoch or self.steps_per_pass

    @property
    def n_steps(self):
        return self.settings.epochs * self.steps_per_epoch

    def learning_rate(self, step):
        """Polynomial schedule of [1]_: rate * (1 - step / n_steps) ** power."""
        epochs = self.settings.schedule_epochs or self.settings.epochs
        left = 1 - step / (epochs * self.steps_per_epoch)
        return self.settings.learning_rate * left**self.settings.power

    def batch(self, step):
        """Slices of a step; each pass over the data has a permutation of its own."""
        passes, position = divmod(step, self.steps_per_pass)
        seeds = np.random.SeedSequence([self.settings.seed, passes])
        order = np.random.default_rng(seeds).permutation(self.n_slices)
        size = self.settings.batch_size
        return order[position * size : (position + 1) * size]

    def rng(self, step):
        """What changes the slices of a step at random."""
        seeds = np.random.SeedSequence(self.settings.seed, spawn_key=(step,))
        return np.random.default_rng(seeds)
