"""Volumes on their grid: checked reading, whole-or-nothing writing, resampling.

Axis letters in this package: B batch, C class, K mixture part, R rater, X Y Z array
axes in NIfTI order. World coordinates are millimetres, RAS+ (x right, y front, z up).
"""

import os
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

AFFINE_TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class Volume:
    """An array and where its voxels lie.

    Parameters
    ----------
    data : array of shape (X, Y, Z)
    affine : float64 array of shape (4, 4)
        Voxel index to world coordinates in mm, RAS+.
    """

    data: np.ndarray
    affine: np.ndarray

    @property
    def shape(self):
        """Number of voxels along X, Y, Z."""
        return self.data.shape

    @property
    def spacing_mm(self):
        """Voxel edge lengths in mm along X, Y, Z."""
        return tuple(float(s) for s in nib.affines.voxel_sizes(self.affine))

    def with_data(self, data):
        """The same grid with other contents of the same shape."""
        if data.shape != self.shape:
            raise ValueError(
                f"data must have the grid's shape {self.shape}, got {data.shape}; "
                "resample it first"
            )
        return Volume(data, self.affine)


def read_image(path):
    """An image as float32.

    Parameters
    ----------
    path : str or Path
        NIfTI (``.nii``, ``.nii.gz``), MGH or any other format that nibabel reads.

    Returns
    -------
    Volume with float32 data of shape (X, Y, Z)

    Raises
    ------
    FileNotFoundError, ValueError
        When the file is missing, truncated, not 3-D, or holds NaN or infinity.
    """
    data, affine = _load(path)
    data = data.astype(np.float32)
    bad = data.size - np.count_nonzero(np.isfinite(data))
    if bad:
        raise ValueError(
            f"{path} must hold finite intensities, got {bad} voxels of NaN or "
            "infinity; repair or exclude this scan"
        )
    return Volume(data, affine)


def read_labels(path, table=None):
    """A label image as integers.

    Parameters
    ----------
    path : str or Path
    table : LabelTable, optional
        When given, every value must stand in the table.

    Returns
    -------
    Volume with uint8 data, or int16 when values exceed 255

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_image`, and for fractional values or values outside the table.
    """
    data, affine = _load(path)
    if not np.array_equal(data, np.round(data)):
        raise ValueError(
            f"{path} must hold whole numbers, got fractions; resample labels with "
            "nearest neighbour"
        )
    values = np.unique(data).astype(int)
    if table is not None and (values[0] < 0 or values[-1] >= len(table)):
        stray = [int(v) for v in values if not 0 <= v < len(table)]
        raise ValueError(
            f"{path} must hold labels 0 to {len(table) - 1}, got {stray}; "
            "name the right coding or extend the label table"
        )
    small = 0 <= values[0] and values[-1] <= 255
    return Volume(data.astype(np.uint8 if small else np.int16), affine)


def _load(path):
    """Array (X, Y, Z) and affine of a file, with one clear error for each fault."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} must exist; check the name or make the data")
    try:
        image = nib.load(path)
        data = np.asanyarray(image.dataobj)
    except Exception as error:
        raise ValueError(
            f"{path} must be a whole image file, got {type(error).__name__} "
            f"({str(error).splitlines()[0] if str(error) else 'no text'}); "
            "copy or convert it again"
        ) from error
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise ValueError(f"{path} must be 3-D, got shape {data.shape}; pick one volume")
    return data, _checked_affine(path, image.affine)


def _checked_affine(path, affine):
    """The affine as float64, refused when it places voxels nowhere."""
    affine = np.asarray(affine, np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ValueError(
            f"{path} must have an invertible affine, got {affine[:3].tolist()}; "
            "repair the header (sform/qform)"
        )
    return affine


def write(path, volume):
    """Write a volume as NIfTI; the file appears under its name only when whole.

    Parameters
    ----------
    path : str or Path
        ``.nii`` (uncompressed, the same bytes everywhere) or ``.nii.gz``.
    volume : Volume
        Bool is written as uint8; other dtypes are kept.
    """
    path = Path(path)
    data = volume.data.astype(np.uint8) if volume.data.dtype == bool else volume.data
    image = nib.Nifti1Image(data, volume.affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(volume.affine, code=1)
    image.set_sform(volume.affine, code=1)
    ending = ".nii.gz" if path.name.endswith(".gz") else ".nii"
    part = path.with_name(f".{path.name}.part{ending}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        nib.save(image, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_same_grid(a, b, name_a, name_b):
    """Refuse two volumes whose voxels do not coincide.

    Raises
    ------
    ValueError
        When shapes differ or the affines differ by more than a micrometre scale.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"{name_b} must have the shape of {name_a} {a.shape}, got {b.shape}; "
            "resample it to that grid"
        )
    shift_mm = np.abs(corners_mm(a) - corners_mm(b)).max()
    if shift_mm > AFFINE_TOLERANCE_MM * max(a.shape):
        raise ValueError(
            f"{name_b} must have the affine of {name_a}, got corners {shift_mm:.2f} mm "
            "apart; resample it to that grid"
        )


def corners_mm(volume):
    """World coordinates of the eight corner voxels, float64 array (8, 3), mm."""
    corner = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(volume.shape) - 1)
    return nib.affines.apply_affine(volume.affine, corner)


def to_canonical(volume):
    """The volume with its axes flipped and permuted to the closest RAS+ order."""
    image = nib.as_closest_canonical(nib.Nifti1Image(volume.data, volume.affine))
    return Volume(np.asarray(image.dataobj), image.affine)


def resample(volume, reference, order=1):
    """The volume on another grid, in world space; zero outside.

    Parameters
    ----------
    volume : Volume
    reference : Volume
        Only its shape and affine are used.
    order : int
        0 nearest (labels), 1 linear, 3 cubic.

    Returns
    -------
    Volume on the reference's grid, dtype of `volume`

    Examples
    --------
    >>> line = Volume(np.arange(4.0).reshape(4, 1, 1), np.eye(4))
    >>> half = np.diag([0.5, 1, 1, 1])
    >>> resample(line, Volume(np.empty((6, 1, 1)), half)).data.ravel().tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    """
    to_voxel = np.linalg.inv(volume.affine) @ reference.affine
    data = ndimage.affine_transform(
        volume.data,
        to_voxel[:3, :3],
        to_voxel[:3, 3],
        output_shape=reference.shape,
        order=order,
    )
    return Volume(data, reference.affine)
