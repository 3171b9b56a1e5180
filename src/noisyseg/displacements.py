"""Displacement fields: warping images and labels, folding, inverses, files.

A field lives on the grid of the fixed image. It tells for each of that grid's voxels,
at world position x, how far from there the same anatomy lies in the moving image:
``warped(x) = moving(x + u(x))``, x and u in mm, RAS+.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch.nn import functional

from noisyseg.volume import Volume

VECTOR = "vector"  # NIfTI intent, code 1007
INVERSION_STEPS = 30


@dataclass(frozen=True)
class Field:
    """Where each voxel of a grid is found in another image.

    Parameters
    ----------
    data : float32 array of shape (3, X, Y, Z)
        World displacement in mm along R, A, S, from the voxel to the moving image.
    affine : float64 array of shape (4, 4)
        Voxel index to world coordinates in mm, RAS+.
    """

    data: np.ndarray
    affine: np.ndarray

    def __post_init__(self):
        if (
            self.data.ndim != 4
            or self.data.shape[0] != 3
            or self.data.dtype.kind != "f"
        ):
            raise ValueError(
                "data must be a float array (3, X, Y, Z), got "
                f"{self.data.dtype} {self.data.shape}; put the components first"
            )

    @property
    def shape(self):
        """Number of voxels along X, Y, Z."""
        return self.data.shape[1:]


def warp(moving, field, order=1):
    """The moving image or labels on the field's grid; zero where it was not imaged.

    Parameters
    ----------
    moving : Volume
        On any grid; bool, integer or float.
    field : Field
    order : int
        1 linear, for images; 0 nearest, for labels, whose type and values stay.

    Returns
    -------
    Volume on the field's grid, float32 (order 1) or of the type of `moving` (order 0)

    Raises
    ------
    ValueError
        For another order, a singular affine, or a moving volume that is not 3-D.

    Examples
    --------
    >>> line = Volume(np.arange(4.0).reshape(4, 1, 1), np.eye(4))
    >>> right = np.zeros((3, 4, 1, 1), np.float32)
    >>> right[0] = 0.5  # mm to the right
    >>> warp(line, Field(right, np.eye(4))).data.ravel().tolist()
    [0.5, 1.5, 2.5, 1.5]
    """
    if order not in (0, 1):
        raise ValueError(
            f"order must be 0 or 1, got {order}; 0 for labels, 1 for images"
        )
    if moving.data.ndim != 3:
        raise ValueError(f"moving must be 3-D, got {moving.shape}; pick one volume")
    where = _voxels(field, moving)
    if order == 0:
        return Volume(_nearest(moving.data, where), field.affine)
    image = torch.from_numpy(moving.data.astype(np.float32))[None]
    framed = functional.pad(image, [1] * 6)  # beyond the border there is nothing
    return Volume(sample(framed, where + 1)[0].numpy(), field.affine)


def folding(field):
    """Share of voxels that the field turns inside out.

    Parameters
    ----------
    field : Field

    Returns
    -------
    float in [0, 1]
        Where the determinant of d(x + u)/dx, by central differences, is not above 0.
    """
    return float((jacobian(field) <= 0).mean())


def jacobian(field):
    """Determinant of d(x + u)/dx: how much of the moving image a voxel holds.

    Returns
    -------
    float32 array of shape (X, Y, Z)
        1 keeps the volume, 2 is read from twice the volume, below 0 is folded.
    """
    slopes = [
        np.gradient(field.data, axis=axis) if field.data.shape[axis] > 1 else 0
        for axis in (1, 2, 3)
    ]
    to_voxel = np.linalg.inv(field.affine[:3, :3])
    rows = np.empty((*field.shape, 3, 3), np.float32)
    for world in range(3):
        parts = zip(slopes, to_voxel[:, world], strict=True)
        slope = sum(slope * np.float32(part) for slope, part in parts)
        rows[..., world] = np.moveaxis(np.broadcast_to(slope, field.data.shape), 0, -1)
    rows += np.eye(3, dtype=np.float32)
    return np.linalg.det(rows)


def invert(field, reference=None):
    """The field of the way back, v(y) = -u(y + v(y)), by fixed-point iteration.

    Parameters
    ----------
    field : Field
        Without folds; beyond its border the edge voxel's displacement repeats.
    reference : Volume, optional
        The grid of the way back, usually the moving image's; else the field's own.

    Returns
    -------
    Field on the grid of `reference`
    """
    reference = field if reference is None else reference
    there = torch.from_numpy(np.ascontiguousarray(field.data, np.float32))
    back = np.zeros((3, *reference.shape), np.float32)
    for _ in range(INVERSION_STEPS):
        where = _voxels(Field(back, reference.affine), field)
        back = -sample(there, where).numpy()
    return Field(back, np.array(reference.affine, np.float64))


def write(path, field):
    """Write a field as a NIfTI vector image; it appears under its name only when whole.

    Shape (X, Y, Z, 1, 3), float32, intent code 1007, mm along R, A, S. ITK and ANTs
    want the first two components negated (L, P, S).

    Raises
    ------
    ValueError
        For another ending than ``.nii`` or ``.nii.gz``.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise ValueError(f"output must end in .nii or .nii.gz, got {path}; rename it")
    data = np.moveaxis(field.data, 0, -1)[:, :, :, None].astype(np.float32)
    image = nib.Nifti1Image(data, field.affine)
    image.header.set_intent(VECTOR, name="displacement, mm, RAS")
    image.header.set_xyzt_units("mm")
    image.set_sform(field.affine, code=1)
    image.set_qform(None, code=0)
    ending = ".nii.gz" if path.name.endswith(".gz") else ".nii"
    part = path.with_name(f".{path.name}.part{ending}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        nib.save(image, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read(path):
    """A field that `write` has written.

    Raises
    ------
    FileNotFoundError, ValueError
        When the file is missing, or no NIfTI vector image of three components.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path} must exist; check the name or register again")
    image = nib.load(path)
    intent = (
        image.header.get_intent()[0] if isinstance(image, nib.Nifti1Pair) else "none"
    )
    if intent != VECTOR or image.ndim != 5 or image.shape[3:] != (1, 3):
        raise ValueError(
            f"{path} must be a NIfTI vector image (X, Y, Z, 1, 3), got intent "
            f"{intent!r} and shape {image.shape}; give the displacement field"
        )
    data = np.asarray(image.dataobj, np.float32)[:, :, :, 0]
    return Field(np.ascontiguousarray(np.moveaxis(data, -1, 0)), image.affine)


def _nearest(data, where):
    """Values of the voxels nearest to `where`, 0 outside."""
    index = torch.round(where).to(torch.int64).numpy()
    size = np.array(data.shape).reshape(3, 1, 1, 1)
    inside = ((index >= 0) & (index < size)).all(0)
    found = np.zeros(inside.shape, data.dtype)
    found[inside] = data[tuple(index[:, inside])]
    return found


def _voxels(field, image):
    """Voxel coordinates in `image` of the displaced voxels: float32 (3, X, Y, Z)."""
    if abs(np.linalg.det(image.affine[:3, :3])) < 1e-12:
        raise ValueError(
            f"affine must be invertible, got {np.asarray(image.affine)[:3].tolist()}; "
            "repair the header (sform/qform)"
        )
    to_voxel = np.linalg.inv(image.affine)
    step = torch.from_numpy(np.ascontiguousarray(field.data, np.float32))
    moved = transform(to_voxel @ field.affine, lattice_points(field.shape))
    turn = torch.tensor(to_voxel[:3, :3], dtype=torch.float32)
    return moved + (turn @ step.reshape(3, -1)).view_as(step)


def lattice_points(shape, device="cpu"):
    """Indices of all voxels, float32 tensor (3, X, Y, Z)."""
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def transform(affine, points):
    """Points (3, ...) under an affine (4, 4)."""
    matrix = torch.as_tensor(affine, dtype=torch.float32, device=points.device)
    moved = matrix[:3, :3] @ points.reshape(3, -1) + matrix[:3, 3:]
    return moved.view_as(points)


def sample(channels, where):
    """Channels read linearly between voxels; the edge voxel repeats outside.

    Parameters
    ----------
    channels : float32 tensor of shape (C, X, Y, Z)
    where : float32 tensor of shape (3, ...), three axes
        Voxel coordinates.

    Returns
    -------
    float32 tensor of shape (C, ...)
    """
    scale = [2 / max(n - 1, 1) for n in channels.shape[1:]]
    grid = torch.stack([where[axis] * scale[axis] - 1 for axis in (2, 1, 0)], -1)
    return functional.grid_sample(
        channels[None], grid[None], padding_mode="border", align_corners=True
    )[0]
