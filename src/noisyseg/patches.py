"""Patches of volumes, drawn at random with equal chances for cohorts and labels.

References
----------
.. [1] Roulet, Fernandez Slezak, Ferrante 2019, Joint Learning of Brain Lesion and
   Anatomy Segmentation from Heterogeneous Datasets, MIDL, PMLR 102:401: "sampling with
   equal probability from all datasets and all classes".
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import torch

from noisyseg.batches import Slices

UNKNOWN = 255
CENTRES = 20_000  # of a label in a case, at most, drawn once: memory stays small


@dataclass(frozen=True)
class Case:
    """One case in memory.

    Attributes
    ----------
    name : str
    cohort : str
    images : float32 tensor of shape (C, X, Y, Z)
    labels : uint8 tensor of shape (X, Y, Z)
        255 where nothing is known.
    """

    name: str
    cohort: str
    images: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Patches:
    """A number of random patches of some cases, each made when it is asked for.

    A cohort is drawn first, then one of its labels, then a case of the cohort that has
    the label, then a voxel of it: the middle of the patch, or as near to the middle as
    the border of the volume allows [1]_.

    Attributes
    ----------
    cases : sequence of Case
    size : int
        Edge of the cubes, voxels.
    count : int
        How many patches there are.
    seed : int
        Patch i depends on the cases, `size`, `seed` and i alone.
    told : tuple of int, optional
        What is told for each label; default the label itself. It decides about the
        labels that `batch` gives, not about which patches are drawn.

    Raises
    ------
    ValueError
        If a case is smaller than a patch, or no voxel of it has a known label.
    """

    cases: tuple[Case, ...]
    size: int
    count: int
    seed: int
    told: tuple[int, ...] | None = None
    _centres: dict = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        centres = {}
        for place, case in enumerate(self.cases):
            _check_case(case, self.size)
            cohort = centres.setdefault(case.cohort, {})
            for label, voxels in _voxels(case, self.seed).items():
                cohort.setdefault(label, []).append((place, voxels))
        object.__setattr__(self, "_centres", centres)

    def __len__(self):
        return self.count

    def batch(self, indices, device):
        """Images (B, C, size, size, size) and labels (B, size, ...), on `device`."""
        images, labels = zip(*(self._patch(int(i)) for i in indices), strict=True)
        labels = torch.stack(labels)
        if self.told is not None:
            lookup = torch.full((256,), UNKNOWN, dtype=torch.uint8)
            lookup[: len(self.told)] = torch.tensor(self.told, dtype=torch.uint8)
            labels = lookup[labels.long()]
        return torch.stack(images).to(device), labels.to(device)

    def all(self):
        """All of them at once, as `Slices`."""
        return Slices(*self.batch(range(self.count), torch.device("cpu")))

    def held_on(self, device):
        """Itself: patches are cut out of volumes in the memory of the host."""
        return self

    def fingerprint(self):
        """Hash of the cases and of what decides which patches are drawn."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(str((self.size, self.count, self.seed, self.told)).encode())
        for case in self.cases:
            about = (case.name, case.cohort, tuple(case.images.shape))
            digest.update(str(about).encode())
            for tensor in (case.images, case.labels):
                digest.update(tensor.contiguous().numpy())
        return digest.hexdigest()

    def _patch(self, index):
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, index]))
        cohort = self._centres[_one_of(list(self._centres), rng)]
        place, voxels = _one_of(cohort[_one_of(list(cohort), rng)], rng)
        case = self.cases[place]
        shape = case.labels.shape
        middle = np.unravel_index(_one_of(voxels, rng), shape)
        starts = [
            min(max(int(m) - self.size // 2, 0), n - self.size)
            for m, n in zip(middle, shape, strict=True)
        ]
        box = tuple(slice(start, start + self.size) for start in starts)
        return case.images[:, *box], case.labels[box]


def _one_of(values, rng):
    return values[rng.integers(len(values))]


def _voxels(case, seed):
    """Flat places of some voxels of every label that a case has."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, *case.name.encode()]))
    flat, found = case.labels.numpy().ravel(), {}
    for label in np.unique(flat[flat != UNKNOWN]).tolist():
        voxels = np.flatnonzero(flat == label)
        if len(voxels) > CENTRES:
            voxels = np.sort(rng.choice(voxels, CENTRES, replace=False))
        found[label] = voxels
    return found


def _check_case(case, size):
    """Refuse a case that no patch can be cut from."""
    if min(case.labels.shape) < size:
        raise ValueError(
            f"{case.name} of {case.cohort} must be at least {size} voxels along "
            f"every axis, got {tuple(case.labels.shape)}; take smaller patches or "
            "leave it out"
        )
    if (case.labels == UNKNOWN).all():
        raise ValueError(
            f"{case.name} of {case.cohort} must have labels, got none that is known; "
            "leave it out"
        )
