import gzip
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.io import netcdf_file

from noisyseg import imagefiles, volume

GRID = (3, 4, 5)  # Z, Y, X of a tiny stand-in for one of BrainWeb's volumes
LABELS = np.arange(60, dtype=np.uint8).reshape(GRID) % 12


@pytest.fixture
def small_raw(monkeypatch):
    """BrainWeb's table of grids with one that fits into a test."""
    monkeypatch.setattr(imagefiles, "RAW_GRIDS", {GRID: (0.5, (-1.0, -2.0, -3.0))})


def write_minc(path, data, *, high, start_mm=(-3.0, -2.0, -1.0)):
    """MINC 1 in bytes that stand for 0 to `high`, axes (Z, Y, X)."""
    with netcdf_file(path, "w") as file:
        axes = ("zspace", "yspace", "xspace")
        for axis, n, start in zip(axes, data.shape, start_mm, strict=True):
            file.createDimension(axis, n)
            variable = file.createVariable(axis, "i", ())
            variable.spacing, variable.start, variable.step = b"regular__", start, 0.5
        for name, value in (("image-min", 0.0), ("image-max", high)):
            file.createVariable(name, "d", ()).data[...] = value
        image = file.createVariable("image", "b", axes)
        image.signtype = b"unsigned"
        image.valid_range = np.array([0.0, 255.0])
        image[:] = np.rint(data / high * 255).astype(np.uint8).view(np.int8)


# MetaImage


def write_meta(path, data, affine_lps=None):
    image = sitk.GetImageFromArray(data)
    if affine_lps is not None:
        image.SetDirection(np.ravel(affine_lps[0]))
        image.SetOrigin(affine_lps[1])
    image.SetSpacing((1.0, 2.0, 3.0))
    sitk.WriteImage(image, path)


def test_metaimage_is_turned_from_lps_to_ras(tmp_path):
    """By hand: LPS (10, 20, 30) is RAS (-10, -20, 30); x runs to the left."""
    write_meta(tmp_path / "a.mha", LABELS, (np.eye(3), (10.0, 20.0, 30.0)))
    found = imagefiles.read_labels(tmp_path / "a.mha")
    assert (found.data == LABELS.transpose(2, 1, 0)).all()
    assert found.affine.tolist()[:3] == [
        [-1, 0, 0, -10],
        [0, -2, 0, -20],
        [0, 0, 3, 30],
    ]


def test_swapped_axes_of_a_metaimage_come_out_canonical(tmp_path):
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
    write_meta(tmp_path / "a.mhd", LABELS, (swap, (0.0, 0.0, 0.0)))
    found = volume.to_canonical(imagefiles.read_image(tmp_path / "a.mhd"))
    assert found.shape == (4, 5, 3) and found.spacing_mm == (2.0, 1.0, 3.0)
    np.testing.assert_array_equal(found.data, LABELS.transpose(1, 2, 0)[::-1, ::-1])


def test_nifti_and_metaimage_of_one_volume_agree(tmp_path):
    """Reference: SimpleITK writes both."""
    for ending in (".nii", ".mha"):
        write_meta(tmp_path / f"a{ending}", LABELS, (np.eye(3), (1.0, 2.0, 3.0)))
    a, b = (imagefiles.read_image(tmp_path / f"a{e}") for e in (".nii", ".mha"))
    np.testing.assert_array_equal(a.data, b.data)
    np.testing.assert_allclose(a.affine, b.affine, atol=1e-6)


def test_metaimage_without_orientation_is_warned_of(tmp_path):
    header = b"NDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\n"
    (tmp_path / "a.mha").write_bytes(header + b"ElementDataFile = LOCAL\n" + bytes(8))
    with pytest.warns(UserWarning, match=r"a\.mha has no orientation"):
        imagefiles.read_labels(tmp_path / "a.mha")


@pytest.mark.parametrize("content", [b"", b"NDims = 3\n"])
def test_damaged_metaimage_is_one_clear_error(tmp_path, content):
    (tmp_path / "a.mha").write_bytes(content)
    with pytest.raises(ValueError, match="must be a whole MetaImage, got"):
        imagefiles.read_image(tmp_path / "a.mha")


def test_fractions_and_nan_in_a_metaimage_are_refused(tmp_path):
    write_meta(tmp_path / "a.mha", LABELS / np.float32(2))
    with pytest.raises(ValueError, match=r"whole numbers, got fractions such as 2\.5"):
        imagefiles.read_labels(tmp_path / "a.mha")
    write_meta(tmp_path / "b.mha", np.full(GRID, np.nan, np.float32))
    with pytest.raises(ValueError, match="got 60 voxels of NaN"):
        imagefiles.read_image(tmp_path / "b.mha")


# BrainWeb: raw and MINC


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2"])
@pytest.mark.parametrize("packed", [False, True])
def test_raw_is_read_by_its_size_in_any_byte_order(tmp_path, small_raw, dtype, packed):
    content = (LABELS.astype(int) * 16).astype(dtype).tobytes()
    path = tmp_path / ("a.raws.gz" if packed else "a.raws")
    path.write_bytes(gzip.compress(content) if packed else content)
    found = imagefiles.read_labels(path)
    np.testing.assert_array_equal(found.data, LABELS.transpose(2, 1, 0) * 16.0)
    assert found.affine[:3, 3].tolist() == [-1, -2, -3]
    assert found.spacing_mm == (0.5, 0.5, 0.5)


def test_raw_of_unknown_size_or_range_is_refused(tmp_path, small_raw):
    (tmp_path / "a.rawb").write_bytes(bytes(61))
    with pytest.raises(ValueError, match=r"volume \[60, 120\], got 61 bytes; slices"):
        imagefiles.read_image(tmp_path / "a.rawb")
    (tmp_path / "a.raws").write_bytes(b"\xff" * 120)
    with pytest.raises(ValueError, match="12-bit numbers, got 65535"):
        imagefiles.read_image(tmp_path / "a.raws")
    (tmp_path / "a.rawb.gz").write_bytes(gzip.compress(bytes(60))[:-9])
    with pytest.raises(ValueError, match="must be a whole gzip file, got EOFError"):
        imagefiles.read_image(tmp_path / "a.rawb.gz")


@pytest.mark.parametrize("ending", [".mnc", ".mnc.gz"])
def test_minc_and_raw_of_one_volume_agree(tmp_path, small_raw, ending):
    (tmp_path / "a.rawb").write_bytes(LABELS.tobytes())
    write_minc(str(tmp_path / "a.mnc"), LABELS, high=11.0)
    if ending == ".mnc.gz":
        content = (tmp_path / "a.mnc").read_bytes()
        (tmp_path / "a.mnc.gz").write_bytes(gzip.compress(content))
    paths = tmp_path / "a.rawb", tmp_path / f"a{ending}"
    raw, minc = (volume.to_canonical(imagefiles.read_labels(p)) for p in paths)
    np.testing.assert_array_equal(raw.data, minc.data)
    np.testing.assert_array_equal(raw.affine, minc.affine)


def test_minc2_without_h5py_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "a.mnc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match="got MINC 2; install h5py, or convert"):
        imagefiles.read_image(tmp_path / "a.mnc")


@pytest.mark.parametrize("name", ["a.mha", "a.rawb", "a.mnc", "a.nii"])
def test_missing_file_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=f"{name} must exist"):
        imagefiles.read_image(tmp_path / name)
