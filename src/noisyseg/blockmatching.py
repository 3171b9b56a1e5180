"""Block matching: how well parts of two images agree under many displacements.

Images are read on a lattice, a grid of cubes over the fixed image, and described by
MIND-SSC. A control point stands in each cell of the lattice; the cost of displacing it
is the squared difference of the two images' mean features in the cell and around.
"""

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import nibabel as nib
import numpy as np
import torch
from torch.nn import functional

from noisyseg import warping
from noisyseg.displacements import lattice_points, sample, transform
from noisyseg.mind import mind_ssc

DILATION = 1  # in nodes: of T1 and T2 heads, 1 aligns more than the usual 2


class Search(NamedTuple):
    """Where a level searches, in nodes: cells of `cell`, `radius` steps of `step`."""

    cell: int
    step: int
    radius: int


@dataclass(frozen=True)
class Lattice:
    """Cubes along the fixed image's axes, an even number of them along each.

    `affine` takes an index to world coordinates (mm, RAS+).
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing_mm(self):
        """Edge of a cube."""
        return float(np.linalg.norm(self.affine[:3, 0]))


@dataclass(frozen=True)
class Scan:
    """An image on its device: float32 tensor (X, Y, Z), and its affine, mm, RAS+."""

    data: torch.Tensor
    affine: np.ndarray

    @property
    def edges_mm(self):
        """Voxel edge lengths along X, Y, Z."""
        return nib.affines.voxel_sizes(self.affine)


def cover(scan, spacing_mm):
    """The lattice over a scan, from the same first corner; its end may hang over."""
    edges = scan.edges_mm
    extents = edges * np.array(scan.data.shape)
    halves = [math.ceil(e / (2 * spacing_mm) - 1e-3) for e in extents]
    shift = np.eye(4)
    shift[:3, :3] = np.diag(spacing_mm / edges)
    shift[:3, 3] = (spacing_mm / edges - 1) / 2
    return Lattice(tuple(2 * max(2, n) for n in halves), scan.affine @ shift)


def blurred(scan, spacing_mm):
    """The scan without what nodes `spacing_mm` apart cannot show."""
    ratio = spacing_mm / scan.edges_mm
    sigma_vox = np.sqrt(np.maximum(ratio**2 - 1, 0)) / 2
    edges_in_sigma = 1 / np.maximum(sigma_vox, 1e-6)
    data = warping.smooth(scan.data[None], 1.0, edges_in_sigma.tolist())[0]
    return Scan(data, scan.affine)


def read_at(scan, lattice, to_scan, displacement=None):
    """The scan on the lattice, under a world affine after a displacement in nodes.

    Parameters
    ----------
    scan : Scan
    lattice : Lattice
    to_scan : float array of shape (4, 4)
        World of the lattice to world of the scan, mm.
    displacement : float32 tensor of shape (3, *lattice.shape), optional

    Returns
    -------
    float32 tensor of the lattice's shape
    """
    where = lattice_points(lattice.shape, scan.data.device)
    if displacement is not None:
        where += displacement
    to_voxel = np.linalg.inv(scan.affine) @ to_scan @ lattice.affine
    return sample(scan.data[None], transform(to_voxel, where))[0]


def features(image, pool=1):
    """MIND-SSC of an image on a lattice, averaged over cubes of `pool` nodes.

    Parameters
    ----------
    image : float32 tensor of shape (X, Y, Z)
    pool : int

    Returns
    -------
    float32 tensor of shape (12, X // pool, Y // pool, Z // pool)
    """
    found = mind_ssc(image, dilation=DILATION)
    return _means(found, pool, pool) if pool > 1 else found


def steps_tried(search, device="cpu"):
    """The displacements a level tries, in nodes, shortest first: float32 (K, 3).

    >>> steps_tried(Search(cell=4, step=2, radius=1))[:3].tolist()
    [[0.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [0.0, -2.0, 0.0]]
    """
    steps = range(-search.radius, search.radius + 1)
    tried = sorted(itertools.product(steps, repeat=3), key=lambda s: (np.dot(s, s), s))
    return torch.tensor(tried, dtype=torch.float32, device=device) * search.step


def control_points(n_points, search, device="cpu"):
    """Places of the control points in nodes: float32 tensor (3, *n_points)."""
    return lattice_points(n_points, device) * search.cell + offset(search)


def offset(search):
    """Place of the first control point along each axis, in nodes."""
    return (search.cell - 1) / 2 - search.cell // 2


def costs(fixed, moving, search):
    """Squared feature difference of each control point under each displacement.

    Parameters
    ----------
    fixed, moving : float32 tensors of shape (C, X, Y, Z)
        Features on one lattice.
    search : Search
        A cell must be a whole number of steps.

    Returns
    -------
    float32 tensor of shape (K, x, y, z)
        In the order of `steps_tried`; averaged twice over a point and its neighbours.
    """
    cell, step, radius = search
    here = _cell_means(fixed, cell, cell)
    size = here.shape[1:]
    stride = cell // step
    reach = [(n - 1) * stride + 1 for n in size]
    there = _cell_means(moving, cell, step)[:, : reach[0], : reach[1], : reach[2]]
    there = functional.pad(there[None], [radius] * 6, mode="replicate")[0]
    steps = (steps_tried(search) / step + radius).int().tolist()
    found = here.new_empty((len(steps), *size))
    for cost, starts in zip(found, steps, strict=True):
        x, y, z = (
            slice(start, start + length, stride)
            for start, length in zip(starts, reach, strict=True)
        )
        torch.sum((there[:, x, y, z] - here).square_(), 0, out=cost)
    return box_mean(box_mean(found))


def box_mean(field):
    """Mean over 3 x 3 x 3 neighbours, the edge repeated: (C, X, Y, Z) to the same."""
    for axis in (1, 2, 3):
        rest = field.shape[axis] - 1
        total = field.clone()
        total.narrow(axis, 0, rest).add_(field.narrow(axis, 1, rest))
        total.narrow(axis, 1, rest).add_(field.narrow(axis, 0, rest))
        total.select(axis, 0).add_(field.select(axis, 0))
        total.select(axis, rest).add_(field.select(axis, rest))
        field = total
    return field.div_(27)


def _cell_means(channels, cell, step):
    """Means over cells of nodes every `step` nodes, the edge repeated outside."""
    padded = functional.pad(channels[None], [cell // 2] * 6, mode="replicate")[0]
    return _means(padded, cell, step)


def _means(channels, cell, step):
    """Means over cubes of `cell` nodes, every `step` nodes, whole cubes only."""
    for axis in (1, 2, 3):
        length = (channels.shape[axis] - cell) // step * step + 1
        before = [slice(None)] * axis
        total = channels[(*before, slice(0, length, step))].clone()
        for start in range(1, cell):
            total += channels[(*before, slice(start, start + length, step))]
        channels = total
    return channels.div_(cell**3)
