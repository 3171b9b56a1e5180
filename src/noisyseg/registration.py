"""Registration across contrasts: where each voxel of one head lies in another.

First an affine, by matching blocks. Then displacements of control points, each chosen
from a dense set by coupled convex optimisation [1]_: a point's best displacement and a
smooth field pull on each other, ever more. Last a few Gauss-Newton steps on the same
features. Both images are described by MIND-SSC, which T1 and T2 share.

References
----------
.. [1] Heinrich, Papież, Schnabel, Handels 2014, Non-parametric Discrete Registration
   with Convex Optimisation, WBIR. Siebert, Hansen, Heinrich 2021, Fast 3D Registration
   with Accurate Optimisation and Little Learning for Learn2Reg 2021.
"""

import nibabel as nib
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, field_validator
from pydantic import Field as Setting

from noisyseg import affine, blockmatching, deformation
from noisyseg.blockmatching import Scan, Search
from noisyseg.displacements import Field, folding, invert, lattice_points, sample, warp
from noisyseg.displacements import transform as transformed

__all__ = ["Field", "Settings", "folding", "invert", "register", "warp"]

POOL = 2  # nodes of the features' lattice to a node of the deformation's
MAX_NODES = 6_000_000  # of the features' lattice: 2 GB of memory
LEAST_OVERLAP = 0.05  # of the smaller field of view
STARTS = ("world", "centre")


class Settings(BaseModel):
    """How two images are registered; unknown names are errors, values never change.

    The features' lattice has nodes `spacing_mm` apart; by default as many as the fixed
    image has voxels. All searches count nodes of a lattice of twice that spacing
    (`levels`), or of one of 170,000 nodes (`affine_levels`): cells, step and number of
    steps each way. `couplings` weighs the smooth field against the costs, per squared
    step. `refinements` Gauss-Newton steps follow, damped by `damping`. With `symmetric`
    every step is also sought the other way, and what both ways agree on is taken.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    spacing_mm: float | None = Setting(None, gt=0)
    affine_levels: tuple[Search, ...] = affine.LEVELS
    levels: tuple[Search, ...] = (Search(4, 2, 4), Search(3, 1, 3), Search(2, 1, 2))
    couplings: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    refinements: int = Setting(4, ge=0)
    damping: float = Setting(0.05, gt=0)
    symmetric: bool = False

    @field_validator("affine_levels", "levels")
    @classmethod
    def _are_searches(cls, levels):
        for cell, step, radius in levels:
            if step < 1 or radius < 1 or cell < step or cell % step:
                raise ValueError(
                    "a level must be (cell, step, radius), the cell a multiple of the "
                    f"step, got {(cell, step, radius)}; e.g. (4, 2, 3)"
                )
        return levels


def register(fixed, moving, settings=None, *, start="world", device="cpu"):
    """The field that brings the moving image onto the fixed image's grid.

    Parameters
    ----------
    fixed, moving : Volume
        Images of any contrasts, grids and fields of view, voxels in mm.
    settings : Settings, optional
    start : "world" or "centre"
        Trust the headers, or first lay the heads' centres upon one another.
    device : str
        Torch device.

    Returns
    -------
    Field on the fixed image's grid, mm

    Raises
    ------
    ValueError
        For images that are not 3-D, not finite, constant, without a common field of
        view or with a singular affine; when no sensible affine is found.

    Notes
    -----
    On one machine and number of threads the same bytes each time. Where the moving
    image ends, its edge is continued.
    """
    settings = Settings() if settings is None else settings
    with torch.no_grad():
        fixed_scan = _scan(fixed, "fixed", device)
        moving_scan = _scan(moving, "moving", device)
        to_moving = _start(fixed_scan, moving_scan, start)
        to_moving = affine.align(
            fixed_scan, moving_scan, to_moving, settings.affine_levels
        )
        lattice = _lattice(fixed_scan, settings.spacing_mm)
        nodes = _deform(fixed_scan, moving_scan, lattice, to_moving, settings)
        return _field(fixed_scan, lattice, to_moving, nodes)


def _deform(fixed, moving, lattice, to_moving, settings):
    """Displacement before the affine, in nodes of the pooled lattice: (3, x, y, z)."""
    fixed, moving = (
        blockmatching.blurred(s, lattice.spacing_mm) for s in (fixed, moving)
    )

    def features(scan, *place):
        image = blockmatching.read_at(scan, lattice, *place)
        return blockmatching.features(image, POOL)

    here = features(fixed, np.eye(4))
    there = features(moving, to_moving)
    found = here.new_zeros((3, *here.shape[1:]))
    for search in settings.levels:
        moved = sample(there, lattice_points(found.shape[1:], found.device) + found)
        step = deformation.search_step(here, moved, found, search, settings)
        found = deformation.compose(found, step)
    if settings.refinements:
        fine = _finer(found, lattice.shape)
        there = features(moving, to_moving, fine)
        step = deformation.refining_step(here, there, found, settings)
        found = deformation.compose(found, step)
    return found


def _finer(displacement, shape):
    """A pooled lattice's displacement on all nodes of the lattice, in its nodes."""
    nodes = lattice_points(shape, displacement.device)
    return sample(displacement, (nodes - (POOL - 1) / 2) / POOL) * POOL


def _field(fixed, lattice, to_moving, displacement):
    """The whole way in mm: from the fixed voxel to the place in the moving image."""
    voxels = lattice_points(fixed.data.shape, displacement.device)
    to_node = np.linalg.inv(lattice.affine) @ fixed.affine
    nodes = transformed(to_node, voxels)
    step = sample(displacement, (nodes - (POOL - 1) / 2) / POOL) * POOL
    shift = to_moving @ fixed.affine - fixed.affine
    turn = (to_moving @ lattice.affine)[:3, :3]
    turn = torch.tensor(turn, dtype=torch.float32, device=step.device)
    far = transformed(shift, voxels)
    far += (turn @ step.flatten(1)).view_as(far)
    return Field(far.cpu().numpy(), np.array(fixed.affine, np.float64))


def _lattice(fixed, spacing_mm):
    """The features' lattice: by default with as many nodes as the image has voxels."""
    if spacing_mm is None:
        spacing_mm = float(np.prod(fixed.edges_mm) ** (1 / 3))
        spacing_mm *= max(1.0, fixed.data.numel() / MAX_NODES) ** (1 / 3)
    lattice = blockmatching.cover(fixed, spacing_mm)
    if np.prod(lattice.shape) > 2 * MAX_NODES:
        raise ValueError(
            f"spacing_mm must leave at most {2 * MAX_NODES} nodes, got {spacing_mm} mm "
            f"for {lattice.shape}; take a wider spacing, or leave it out"
        )
    return lattice


def _scan(volume, name, device):
    """The checked image on its device, intensities brought to the range 0 to 1."""
    data = volume.data
    if data.ndim != 3 or min(data.shape) < 2 or data.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must be 3-D, real and at least two voxels along each axis, got "
            f"{data.dtype} {data.shape}; pick one volume"
        )
    low, high = float(data.min()), float(data.max())
    if not np.isfinite([low, high]).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity; repair the scan")
    if low == high:
        raise ValueError(
            f"{name} must show something, got {low} in every voxel; check this scan"
        )
    _check_invertible(volume.affine, name)
    scaled = ((data.astype(np.float32) - low) / (high - low)).astype(np.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(scaled)).to(device)
    return Scan(tensor, np.asarray(volume.affine, np.float64))


def _check_invertible(matrix, name):
    matrix = np.asarray(matrix, np.float64)
    edges = np.linalg.norm(matrix[:3, :3], axis=0)
    finite = np.isfinite(matrix).all()
    if not finite or abs(np.linalg.det(matrix[:3, :3])) <= 1e-6 * edges.prod():
        raise ValueError(
            f"{name} must have an invertible affine, got {matrix[:3].tolist()}; "
            "repair the header (sform/qform)"
        )


def _start(fixed, moving, start):
    """A first affine, world to world, that lets the fields of view overlap."""
    if start not in STARTS:
        raise ValueError(f"start must be one of {STARTS}, got {start!r}; e.g. 'world'")
    guess = np.eye(4)
    if start == "centre":
        guess[:3, 3] = _centre_mm(moving) - _centre_mm(fixed)
    inside = max(
        _seen(fixed, moving, guess), _seen(moving, fixed, np.linalg.inv(guess))
    )
    if inside < LEAST_OVERLAP:
        raise ValueError(
            f"fixed and moving must overlap by {LEAST_OVERLAP:.0%} of a field of view, "
            f"got {inside:.0%}; check the headers, or take start='centre'"
        )
    return guess


def _seen(scan, other, to_other):
    """Share of a scan's field of view that lies within another's."""
    voxels = (
        np.indices((9, 9, 9)).reshape(3, -1).T / 8 * (np.array(scan.data.shape) - 1)
    )
    matrix = np.linalg.inv(other.affine) @ to_other @ scan.affine
    there = nib.affines.apply_affine(matrix, voxels)
    return ((there >= 0) & (there <= np.array(other.data.shape) - 1)).all(1).mean()


def _centre_mm(scan):
    """World position of the middle of what is brighter than the mean."""
    bright = torch.nonzero(scan.data > scan.data.mean()).double().mean(0).cpu().numpy()
    return scan.affine[:3, :3] @ bright + scan.affine[:3, 3]
