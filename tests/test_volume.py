import gzip

import nibabel as nib
import numpy as np
import pytest

from noisyseg import labeltables, volume
from noisyseg.volume import Volume

OBLIQUE = np.array(
    [[0, -1.2, 0.1, 9], [0.8, 0, 0.2, -7], [0, 0.1, 2, 5], [0, 0, 0, 1]], float
)
CODES = ("sform_code", "qform_code")


def save(path, data, affine=OBLIQUE):
    nib.save(nib.Nifti1Image(np.asarray(data), affine), path)
    return path


@pytest.fixture
def image(rng):
    return Volume(rng.normal(100, 20, (5, 6, 7)).astype(np.float32), OBLIQUE)


# Reading and writing what is whole


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_image_comes_back_as_written(tmp_path, image, ending):
    volume.write(tmp_path / f"a{ending}", image)
    back = volume.read_image(tmp_path / f"a{ending}")
    assert np.array_equal(back.data, image.data) and back.data.dtype == np.float32
    assert np.allclose(back.affine, OBLIQUE, atol=1e-5)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_same_volume_gives_the_same_bytes(tmp_path, image, ending):
    a, b = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    volume.write(a, image)
    volume.write(b, image)
    assert a.read_bytes() == b.read_bytes()


def test_sheared_grid_is_kept_by_the_sform_alone(tmp_path, image, recwarn):
    sheared = OBLIQUE @ np.array([[1, 0.3, 0, 0], *np.eye(4)[1:]])
    volume.write(tmp_path / "a.nii", Volume(image.data, sheared))
    assert np.allclose(volume.read_image(tmp_path / "a.nii").affine, sheared, atol=1e-5)
    assert not recwarn


def test_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path, image, monkeypatch
):
    path = tmp_path / "a.nii"
    volume.write(path, image)
    old = path.read_bytes()

    def half(_, part):
        part.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nib, "save", half)
    with pytest.raises(OSError, match="disk full"):
        volume.write(path, image.with_data(image.data + 1))
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


def test_output_name_must_say_nifti(tmp_path, image):
    with pytest.raises(ValueError, match=r"must end in \.nii or \.nii\.gz, got .*mgz"):
        volume.write(tmp_path / "a.mgz", image)


def test_header_extension_does_not_shift_the_voxels(tmp_path):
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), OBLIQUE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 500))
    nib.save(image, tmp_path / "a.nii")
    assert nib.load(tmp_path / "a.nii").dataobj.offset > 352
    read = volume.read_image(tmp_path / "a.nii")
    assert read.data.ravel().tolist() == list(range(24))


def test_scale_factors_are_applied(tmp_path):
    image = nib.Nifti1Image(np.array([0, 1, 5], np.int16).reshape(3, 1, 1), OBLIQUE)
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "a.nii")
    stored = np.frombuffer((tmp_path / "a.nii").read_bytes()[352:], np.int16)
    read = volume.read_image(tmp_path / "a.nii").data.ravel()
    assert stored.tolist() != read.tolist()
    assert np.array_equal(read, stored * 0.5 + 10)


def test_trailing_axes_of_length_one_are_dropped(tmp_path):
    path = save(tmp_path / "a.nii", np.ones((2, 3, 4, 1, 1), np.uint8))
    assert volume.read_labels(path).shape == (2, 3, 4)


# Which transform counts


def test_sform_is_used_and_a_disagreeing_qform_told(tmp_path):
    image = nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4))
    image.set_sform(np.eye(4), code=2)
    image.set_qform(np.diag([-1, 1, 1, 1]), code=1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.warns(UserWarning, match="disagree .code 1 and 2.: the sform is used"):
        read = volume.read_image(tmp_path / "a.nii")
    assert np.array_equal(read.affine, np.eye(4))


def test_qform_is_used_where_there_is_no_sform(tmp_path, recwarn):
    image = nib.Nifti1Image(np.ones((4, 4, 4), np.float32), None)
    image.set_qform(np.diag([2, 2, 3, 1]), code=1)
    nib.save(image, tmp_path / "a.nii")
    assert volume.read_image(tmp_path / "a.nii").spacing_mm == (2, 2, 3)
    assert not recwarn


def test_header_without_orientation_is_told(tmp_path):
    path = save(tmp_path / "a.nii", np.ones((2, 2, 2), np.float32), None)
    with pytest.warns(UserWarning, match="no orientation .* left and right"):
        volume.read_image(path)


# Bad files


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.nii must exist"):
        volume.read_image(tmp_path / "gone.nii")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.9, -1])
def test_truncated_file_is_refused(tmp_path, image, ending, kept):
    path = tmp_path / f"a{ending}"
    volume.write(path, image)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if 0 < kept < 1 else kept])
    with pytest.raises(ValueError, match="must be a whole image file"):
        volume.read_image(path)


def test_flipped_bit_in_a_compressed_file_is_refused(tmp_path, image):
    raw = tmp_path / "a.nii"
    volume.write(raw, image)
    packed = bytearray(gzip.compress(raw.read_bytes(), compresslevel=0))
    packed[-40] ^= 1  # stored uncompressed: only the checksum can tell
    (tmp_path / "b.nii.gz").write_bytes(packed)
    with pytest.raises(ValueError, match=r"whole image file, got BadGzipFile \(CRC"):
        volume.read_image(tmp_path / "b.nii.gz")


def test_text_under_an_image_name_is_refused(tmp_path):
    (tmp_path / "a.nii").write_text("not an image")
    with pytest.raises(ValueError, match="must be a whole image file"):
        volume.read_image(tmp_path / "a.nii")


@pytest.mark.parametrize("read", [volume.read_image, volume.read_labels])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted(tmp_path, read, value):
    data = np.ones((3, 3, 3), np.float32)
    data[0, 0, :2] = value
    path = save(tmp_path / "a.nii", data)
    with pytest.raises(ValueError, match="must hold finite values, got 2 voxels"):
        read(path)


def test_number_beyond_float32_is_not_finite(tmp_path):
    path = save(tmp_path / "a.nii", np.full((2, 2, 2), 1e300))
    with pytest.raises(ValueError, match="got 8 voxels of NaN or infinity"):
        volume.read_image(path)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6, 2), (4, 5, 6, 1, 3)])
def test_other_than_three_axes_are_refused(tmp_path, shape):
    path = save(tmp_path / "a.nii", np.ones(shape, np.float32))
    with pytest.raises(ValueError, match=r"must be 3-D, got shape \(4, 5"):
        volume.read_image(path)


@pytest.mark.parametrize("dtype", [np.complex64, [(c, "u1") for c in "RGB"]])
def test_colour_and_complex_images_are_refused(tmp_path, dtype):
    path = save(tmp_path / "a.nii", np.zeros((2, 2, 2), dtype))
    with pytest.raises(ValueError, match="must hold one real number a voxel"):
        volume.read_image(path)


@pytest.mark.parametrize("edges", [(1, 1, 0), (1, np.nan, 1)])
def test_affine_without_inverse_is_refused(tmp_path, edges):
    path = save(tmp_path / "a.nii", np.ones((2, 2, 2), np.float32))
    raw = bytearray(path.read_bytes())
    rows = np.diag([*edges, 1])[:3].astype("<f4")
    raw[280:328] = rows.tobytes()  # srow_x, srow_y, srow_z of the NIfTI-1 header
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="must have an invertible affine"):
        volume.read_image(path)


def test_tiny_voxels_are_not_a_flat_affine(tmp_path):
    fine = np.diag([1e-4, 1e-4, 1e-4, 1])
    path = save(tmp_path / "a.nii", np.ones((2, 2, 2), np.float32), fine)
    assert volume.read_image(path).spacing_mm == pytest.approx([1e-4] * 3)


# Labels


@pytest.mark.parametrize(
    "values, dtype",
    [
        ((0, 255), np.uint8),
        ((0, 500), np.int16),
        ((-1, 2), np.int16),
        ((0, 70000), np.int32),
    ],
)
def test_labels_take_the_smallest_type_that_holds_them(tmp_path, values, dtype):
    path = save(tmp_path / "a.nii", np.array(values, np.float32).reshape(2, 1, 1))
    labels = volume.read_labels(path)
    assert labels.data.dtype == dtype and tuple(labels.data.ravel()) == values


def test_labels_near_whole_numbers_are_rounded(tmp_path):
    path = save(tmp_path / "a.nii", np.float32([0, 1.9999, 3.0001]).reshape(3, 1, 1))
    assert volume.read_labels(path).data.ravel().tolist() == [0, 2, 3]


def test_fractional_labels_are_refused(tmp_path):
    path = save(tmp_path / "a.nii", np.float32([0, 1, 2.25]).reshape(3, 1, 1))
    with pytest.raises(ValueError, match=r"must hold whole numbers, .* such as 2\.25"):
        volume.read_labels(path)


def test_labels_beyond_32_bits_are_refused(tmp_path):
    path = save(tmp_path / "a.nii", np.full((2, 2, 2), 2.0**40))
    with pytest.raises(ValueError, match="must hold labels that fit in 32 bits"):
        volume.read_labels(path)


@pytest.mark.parametrize("stray", [9, -1, 500])
def test_labels_outside_the_table_are_listed(tmp_path, stray):
    path = save(tmp_path / "a.nii", np.int16([0, 8, stray]).reshape(3, 1, 1))
    with pytest.raises(ValueError, match=rf"must hold labels 0 to 8, got \[{stray}\]"):
        volume.read_labels(path, labeltables.HEAD)


def test_empty_labels_are_refused_when_asked():
    empty = Volume(np.zeros((2, 3, 4), np.uint8), np.eye(4))
    with pytest.raises(ValueError, match=r"^truth of sub-03 must hold at least one"):
        volume.check_not_empty(empty, "truth of sub-03")
    volume.check_not_empty(empty.with_data(empty.data + 1), "truth of sub-03")


# Grids


def test_other_shape_is_refused(image):
    other = Volume(np.zeros((5, 6, 8)), OBLIQUE)
    with pytest.raises(ValueError, match=r"T2 must have the shape of T1 \(5, 6, 7\)"):
        volume.check_same_grid(image, other, "T1", "T2")
    with pytest.raises(ValueError, match="data must have the grid's shape"):
        image.with_data(other.data)


@pytest.mark.parametrize("shift_vox", [0.2, 1, -50])
def test_shifted_affine_is_refused(image, shift_vox):
    moved = OBLIQUE.copy()
    moved[:3, 3] += shift_vox * min(image.spacing_mm)  # along the diagonal
    text = f"T2 must have the affine of T1, got corners {abs(shift_vox) * 3**0.5:.2f}"
    with pytest.raises(ValueError, match=text):
        volume.check_same_grid(image, Volume(image.data, moved), "T1", "T2")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flip_about_the_centre_is_another_grid(image, axis):
    flip = np.eye(4)
    flip[axis, axis], flip[axis, 3] = -1, image.shape[axis] - 1
    flipped = Volume(image.data, OBLIQUE @ flip)
    with pytest.raises(ValueError, match="must have the affine"):
        volume.check_same_grid(image, flipped, "T1", "T2")


def test_float32_affine_is_the_same_grid(image):
    rounded = Volume(image.data, OBLIQUE.astype(np.float32).astype(float))
    volume.check_same_grid(image, rounded, "T1", "T2")


def test_slice_thickness_of_a_single_slice_counts():
    thin, thick = (Volume(np.zeros((4, 4, 1)), np.diag([1, 1, t, 1])) for t in (1, 5))
    with pytest.raises(ValueError, match="must have the affine"):
        volume.check_same_grid(thin, thick, "a", "b")


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32])
def test_canonical_axes_hold_the_same_voxels_at_the_same_places(image, dtype):
    labels = Volume((image.data > 100).astype(dtype), OBLIQUE)
    canonical = volume.to_canonical(labels)
    assert nib.aff2axcodes(canonical.affine) == ("R", "A", "S")
    back = volume.resample(canonical, labels, order=0)
    assert np.array_equal(back.data, labels.data) and back.data.dtype == dtype


@pytest.mark.parametrize("order", [0, 1, 3])
def test_resampling_to_its_own_grid_changes_nothing(image, order):
    same = volume.resample(image, image, order)
    assert np.allclose(same.data, image.data, atol=1e-3)


def test_nearest_reaches_to_the_voxel_edge():
    line = Volume(np.array([5, 6, 7], np.uint8).reshape(3, 1, 1), np.eye(4))
    moved = np.eye(4)
    moved[0, 3] = -0.4
    on_moved = volume.resample(line, Volume(np.zeros((4, 1, 1)), moved), order=0)
    assert on_moved.data.ravel().tolist() == [5, 6, 7, 0]


def test_resampling_finds_world_coordinates():
    where = np.indices((8, 9, 10)).astype(float)
    x_mm = np.tensordot(OBLIQUE[0, :3], where, 1) + OBLIQUE[0, 3]
    inner = OBLIQUE @ np.array([[0.5, 0, 0, 2], [0, 0.5, 0, 3], [0, 0, 1, 4], [0] * 4])
    inner[3, 3] = 1
    inner[:3, 3] += OBLIQUE[:3, 3]
    target = Volume(np.zeros((3, 3, 3)), inner)
    got = volume.resample(Volume(x_mm, OBLIQUE), target).data
    expected = np.tensordot(inner[0, :3], np.indices((3, 3, 3)), 1) + inner[0, 3]
    assert np.allclose(got, expected)
