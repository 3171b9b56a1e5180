"""Volumes on their grid: checked reading, whole-or-nothing writing, resampling.

Axis letters in this package: B batch, C class, K mixture part, R rater, X Y Z array
axes in NIfTI order. World coordinates are millimetres, RAS+ (x right, y front, z up).
"""

import gzip
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

GRID_TOLERANCE_VOX = 0.1  # a NIfTI quaternion (float32) may turn a head by this much
WHOLE_NUMBER_TOLERANCE = 1e-3  # labels that went through float32 or a scale factor
LABEL_TYPES = (np.uint8, np.int16, np.int32)


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

    Notes
    -----
    NIfTI scale factors (scl_slope, scl_inter) are applied. The sform is used when its
    code is set, else the qform; a warning tells when the two disagree or both lack.
    """
    data, affine = _load(path)
    with np.errstate(over="ignore"):
        data = data.astype(np.float32)
    _check_finite(path, data)
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
    Volume with uint8 data, or int16 (int32) when the values need it

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_image`, and for fractional values or values outside the table.
    """
    data, affine = _load(path)
    _check_finite(path, data)
    if data.dtype.kind == "f":
        data = _whole(path, data)
    low, high = int(data.min()), int(data.max())
    if table is not None and (low < 0 or high >= len(table)):
        stray = [int(v) for v in np.unique(data) if not 0 <= v < len(table)]
        raise ValueError(
            f"{path} must hold labels 0 to {len(table) - 1}, got {stray[:8]}; "
            "name the right coding or extend the label table"
        )
    for dtype in LABEL_TYPES:
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return Volume(data.astype(dtype), affine)
    raise ValueError(
        f"{path} must hold labels that fit in 32 bits, got {low} to {high}; "
        "check that this is a label image"
    )


def check_not_empty(labels, name):
    """Refuse labels or a mask that are background (0) everywhere.

    Raises
    ------
    ValueError
    """
    if not np.any(labels.data):
        raise ValueError(
            f"{name} must hold at least one voxel that is not background, got none in "
            f"{labels.shape}; check the labelling of this case or exclude it"
        )


def _check_finite(path, data):
    bad = data.size - np.count_nonzero(np.isfinite(data))
    if bad:
        raise ValueError(
            f"{path} must hold finite values, got {bad} voxels of NaN or infinity; "
            "repair or exclude this scan"
        )


def _whole(path, data):
    """The nearest whole numbers, refused when they are not near."""
    whole = np.rint(data)
    apart = np.abs(data - whole)
    if apart.max() > WHOLE_NUMBER_TOLERANCE:
        value = data.flat[np.argmax(apart)]
        raise ValueError(
            f"{path} must hold whole numbers, got fractions such as {value:.4g}; "
            "resample labels with nearest neighbour"
        )
    return whole


def _load(path):
    """Array (X, Y, Z) and affine of a file, with one clear error for each fault."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} must exist; check the name or make the data")
    try:
        image = nib.load(path)
        data = np.asanyarray(image.dataobj)
        if path.suffix in (".gz", ".mgz"):
            _check_gzip(path)
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
    if data.size == 0 or data.dtype.kind not in "biuf":
        raise ValueError(
            f"{path} must hold one real number a voxel, got shape {data.shape} of type "
            f"{data.dtype}; export it as a plain image"
        )
    affine = _checked_affine(path, image.affine)
    if isinstance(image, nib.Nifti1Pair):
        _warn_of_orientation(path, image, data)
    return data, affine


def _check_gzip(path):
    """Read to the end: only there stands the checksum, and nibabel stops before it."""
    with gzip.open(path) as stream:
        while stream.read(1 << 20):
            pass


def _warn_of_orientation(path, image, data):
    """Tell when the header's two transforms disagree, or when it has none."""
    qform, sform = image.get_qform(coded=True)[0], image.get_sform(coded=True)[0]
    if qform is None and sform is None:
        warnings.warn(
            f"{path} has no orientation (sform and qform codes are 0): left and right "
            "may be swapped; set the header from the scanner's own files",
            stacklevel=4,
        )
    elif qform is not None and sform is not None:
        a, b = Volume(data, qform), Volume(data, sform)
        if grid_shift_vox(a, b) > GRID_TOLERANCE_VOX:
            warnings.warn(
                f"{path} has a qform and an sform that disagree (code "
                f"{int(image.header['qform_code'])} and "
                f"{int(image.header['sform_code'])}): the sform is used",
                stacklevel=4,
            )


def _checked_affine(path, affine):
    """The affine as float64, refused when it places voxels nowhere."""
    affine = np.asarray(affine, np.float64)
    finite = np.isfinite(affine).all()
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    if not finite or abs(np.linalg.det(affine[:3, :3])) <= 1e-6 * edges.prod():
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

    Raises
    ------
    ValueError
        For another file ending, or a dtype that NIfTI lacks.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise ValueError(f"output must end in .nii or .nii.gz, got {path}; rename it")
    data = volume.data.astype(np.uint8) if volume.data.dtype == bool else volume.data
    image = nib.Nifti1Image(data, volume.affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(volume.affine, code=1)
    image.set_sform(volume.affine, code=1)
    if not np.allclose(image.get_qform(), volume.affine, atol=1e-2):
        image.set_qform(None, code=0)  # a sheared grid: the sform alone can say it
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
        When shapes differ or the corners lie more than a tenth of a voxel apart.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"{name_b} must have the shape of {name_a} {a.shape}, got {b.shape}; "
            "resample it to that grid"
        )
    shift_vox = grid_shift_vox(a, b)
    if shift_vox > GRID_TOLERANCE_VOX:
        raise ValueError(
            f"{name_b} must have the affine of {name_a}, got corners {shift_vox:.2f} "
            "voxels apart; resample it to that grid"
        )


def grid_shift_vox(a, b):
    """Largest distance of matching grid corners, in the shorter voxel edge of `a`."""
    corners = np.indices((2, 2, 2)).reshape(3, -1).T * np.array(a.shape)
    here, there = (nib.affines.apply_affine(v.affine, corners) for v in (a, b))
    return float(np.linalg.norm(here - there, axis=1).max() / min(a.spacing_mm))


def to_canonical(volume):
    """The volume with its axes flipped and permuted to the closest RAS+ order."""
    axes = nib.io_orientation(volume.affine)
    data = nib.apply_orientation(volume.data, axes)
    to_old = nib.orientations.inv_ornt_aff(axes, volume.shape)
    return Volume(np.ascontiguousarray(data), volume.affine @ to_old)


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

    Notes
    -----
    Voxels are averaged with nothing but their neighbours: to a much coarser grid,
    blur an image first.

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
        mode="grid-constant",  # plain "constant" drops border voxels by rounding
    )
    return Volume(data, reference.affine)
