"""Images and labels of any format that the brain data sets come in.

NIfTI and MINC are read by `volume`, MetaImage by SimpleITK, and BrainWeb's raw files,
which have no header, by their size.
"""

import gzip
import warnings
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np

from noisyseg import volume
from noisyseg.volume import Volume

META = (".mha", ".mhd")
RAW = (".rawb", ".raws", ".bin")
# BrainWeb's grids, shape (Z, Y, X): voxel edge and centre of the first voxel
# (x, y, z), in mm.
RAW_GRIDS = {
    (181, 217, 181): (1.0, (-90.0, -126.0, -72.0)),  # the normal and MS phantoms
    (362, 434, 362): (0.5, (-90.25, -126.25, -72.25)),  # tissues of the 20 models
    (181, 256, 256): (1.0, (-127.75, -145.75, -72.25)),  # T1 of the 20 models
}
RAW_MAX = 4095  # 12 bits; what lies above was written in the other byte order
# A byte of MINC stands for 1/255 of its slice's range: half a step of labels to 11.
MINC_TOLERANCE = 0.03


def read_image(path):
    """An image as float32.

    Parameters
    ----------
    path : str or Path
        NIfTI, MINC, MetaImage (``.mha``, ``.mhd``), or BrainWeb's raw byte and raw
        short (``.rawb``, ``.raws``, ``.bin``), compressed or not.

    Returns
    -------
    Volume with float32 data of shape (X, Y, Z); MINC has its own order of axes

    Raises
    ------
    FileNotFoundError, ValueError
        When the file is missing, damaged, not 3-D, or holds NaN or infinity.
    """
    path = Path(path)
    read = _own_reader(path)
    if read is None:
        _check_minc2(path)
        return volume.read_image(path)
    found = read(path)
    data = found.data.astype(np.float32)
    bad = data.size - np.count_nonzero(np.isfinite(data))
    if bad:
        raise ValueError(
            f"{path} must hold finite values, got {bad} voxels of NaN or infinity; "
            "repair or exclude this scan"
        )
    return Volume(data, found.affine)


def read_labels(path):
    """A label image as integers.

    Parameters
    ----------
    path : str or Path
        As `read_image`. Whole numbers stored as float are accepted.

    Returns
    -------
    Volume with uint8 data, or int16 (int32) when the values need it

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_image`, and for fractional values.
    """
    path = Path(path)
    read = _own_reader(path)
    if read is None and not _is(path, (".mnc",)):
        return volume.read_labels(path)
    found = read(path) if read else read_image(path)
    data = found.data
    if data.dtype.kind == "f":
        tolerance = volume.WHOLE_NUMBER_TOLERANCE if read else MINC_TOLERANCE
        data = _whole(path, data, tolerance)
    kinds = [np.iinfo(dtype) for dtype in volume.LABEL_TYPES]
    kind = next((k for k in kinds if k.min <= data.min() <= data.max() <= k.max), None)
    if kind is None:
        raise ValueError(
            f"{path} must hold labels that fit in 32 bits, got {data.min()} to "
            f"{data.max()}; check that this is a label image"
        )
    return Volume(data.astype(kind.dtype), found.affine)


def _whole(path, data, tolerance):
    """The nearest whole numbers, refused when they are not near."""
    whole = np.rint(data)
    near = np.abs(data - whole) <= tolerance
    if not near.all():
        raise ValueError(
            f"{path} must hold whole numbers, got fractions such as "
            f"{data[~near][0]:.4g}; resample labels with nearest neighbour"
        )
    return whole


def _is(path, endings):
    return path.name.removesuffix(".gz").endswith(endings)


def _own_reader(path):
    if not path.exists():
        raise FileNotFoundError(f"{path} must exist; check the name or get the data")
    if _is(path, RAW):
        return _read_raw
    return _read_meta if _is(path, META) else None


def _check_minc2(path):
    """MINC 2 is HDF5, for which a further package is needed."""
    if path.suffix != ".mnc" or not _head(path).startswith(b"\x89HDF"):
        return
    try:
        import h5py  # noqa: F401
    except ImportError:
        raise ValueError(
            f"{path} must be MINC 1 where h5py is not installed, got MINC 2; install "
            "h5py, or convert it: mincconvert"
        ) from None


def _head(path):
    with path.open("rb") as stream:
        return stream.read(4096)


def _read_meta(path):
    """A MetaImage with its own dtype, axes (X, Y, Z), world coordinates RAS."""
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
        data = sitk.GetArrayFromImage(image)
    except RuntimeError as error:
        raise ValueError(
            f"{path} must be a whole MetaImage, got: {str(error).splitlines()[-1]}; "
            "copy or convert it again"
        ) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(
            f"{path} must be 3-D with one number a voxel, got {image.GetSize()} of "
            f"{image.GetNumberOfComponentsPerPixel()}; pick one volume"
        )
    header = _head(path).partition(b"ElementDataFile")[0]
    if not any(key in header for key in (b"TransformMatrix", b"Rotation", b"Orienta")):
        warnings.warn(
            f"{path} has no orientation (no TransformMatrix): left and right may be "
            "swapped; set the header from the scanner's own files",
            stacklevel=3,
        )
    return Volume(data.transpose(2, 1, 0), _ras_affine(image))


def _ras_affine(image):
    """Voxel index to world, from SimpleITK's LPS geometry."""
    affine = np.eye(4)
    direction = np.reshape(image.GetDirection(), (3, 3))
    affine[:3, :3] = direction * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _read_raw(path):
    """One of BrainWeb's raw files, whose size tells the grid and the type.

    The documentation says big-endian for raw short, today's files are little-endian:
    values above 12 bits tell the wrong order.
    """
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} must be a whole gzip file, got {type(error).__name__} ({error}); "
            "copy it again"
        ) from error
    shape, dtype = _raw_kind(path, len(content))
    data = np.frombuffer(content, dtype).reshape(shape)
    if data.max() > RAW_MAX:
        data = data.byteswap()
    if data.max() > RAW_MAX:
        raise ValueError(
            f"{path} must hold 12-bit numbers, got {data.max()} in either byte order; "
            "download it again as raw short"
        )
    edge_mm, start_mm = RAW_GRIDS[shape]
    affine = nib.affines.from_matvec(np.eye(3) * edge_mm, start_mm)
    return Volume(data.transpose(2, 1, 0), affine)


def _raw_kind(path, n_bytes):
    """Shape and dtype of a raw file of this size."""
    kinds = {
        int(np.prod(shape)) * np.dtype(dtype).itemsize: (shape, dtype)
        for shape in RAW_GRIDS
        for dtype in ("u1", "<u2")
    }
    if n_bytes not in kinds:
        raise ValueError(
            f"{path} must have the size of a BrainWeb volume {sorted(kinds)}, got "
            f"{n_bytes} bytes; slices thicker than 1 mm need MINC, which has a header"
        )
    return kinds[n_bytes]
