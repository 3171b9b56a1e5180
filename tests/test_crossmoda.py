"""crossMoDA 2021: names and values as distributed; resampling, crop and way back."""

import nibabel as nib
import numpy as np
import pytest

from noisyseg import checking, crossmoda, datasets, volume
from noisyseg.volume import Volume

SHAPE = (16, 14, 6)
GRID = np.diag([-0.41, -0.41, 1.5, 1.0])  # LPS, as the scans are stored
GRID[:3, 3] = 3.0, 2.0, -4.0


def save(path, data=None, dtype=np.int16, affine=GRID):
    """A NIfTI file; without data one of noise, for an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if data is None:
        data = np.random.default_rng(len(path.name)).integers(1, 99, SHAPE)
    nib.save(nib.Nifti1Image(np.asarray(data).astype(dtype), affine), path)


def labels_of(*values):
    """A tumour voxel on one side, further values beside it."""
    data = np.zeros(SHAPE, int)
    data[4, 5 : 5 + len(values), 2] = values
    return data


def add_source(folder, number, values=(1, 2), prefix="crossmoda", dtype=np.uint8):
    home = folder / "source_training"
    save(home / f"{prefix}_{number}_ceT1.nii.gz")
    save(home / f"{prefix}_{number}_Label.nii.gz", labels_of(*values), dtype)


def add_target(folder, number, prefix="crossmoda", part="target_training"):
    thin = GRID.copy()
    thin[2, 2] = 1.0
    save(folder / part / f"{prefix}_{number}_hrT2.nii.gz", affine=thin)


@pytest.fixture
def tree(tmp_path):
    for number in (1, 10, 9, 105):
        add_source(tmp_path / "crossmoda_training", number)
    for number in (110, 106):
        add_target(tmp_path / "crossmoda_training", number)
    add_target(tmp_path / "crossmoda_validation", 211, part="target_validation")
    return tmp_path


def test_source_cases_come_with_labels_in_order_of_their_numbers(tree):
    cases = datasets.read(tree, "crossmoda_source")
    assert [c.subject for c in cases] == [f"crossmoda_{n}" for n in (1, 9, 10, 105)]
    images, labels = datasets.load(cases[1])
    assert list(images) == ["T1ce"] and labels.data.dtype == np.uint8
    assert images["T1ce"].spacing_mm == pytest.approx((0.41, 0.41, 1.5))
    found = datasets.recode(labels, cases[1], crossmoda.GROUPS)
    assert np.bincount(found.data.ravel()).tolist() == [16 * 14 * 6 - 2, 1, 1]
    assert list(crossmoda.GROUPS) == ["background", "schwannoma", "cochlea"]


def test_target_cases_have_no_labels_and_take_none_of_the_source(tree):
    cases = datasets.read(tree, "crossmoda_target")
    assert [c.subject for c in cases] == [f"crossmoda_{n}" for n in (106, 110, 211)]
    assert not any(case.labels or case.labelled for case in cases)
    image = datasets.load_image(cases[0], "T2w")
    assert image.spacing_mm == pytest.approx((0.41, 0.41, 1.0))
    with pytest.raises(FileNotFoundError, match="crossmoda_106 must have labels"):
        datasets.load_labels(cases[0])


def test_target_labels_of_an_own_copy_are_taken(tree):
    home = tree / "crossmoda_training/target_training"
    save(home / "crossmoda_110_Label.nii.gz", labels_of(1, 2), np.uint8)
    cases = datasets.read(tree, "crossmoda_target")
    assert [case.labelled for case in cases] == [False, True, False]
    names = [case.subject for case in datasets.read(tree, "crossmoda_source")]
    assert "crossmoda_110" not in names


def test_names_of_later_editions_are_the_same_cases(tmp_path):
    for number in (2, 10):
        add_source(tmp_path, number, prefix="crossmoda2021_ldn")
    add_source(tmp_path, 1, prefix="crossmoda2022_etz")
    add_target(tmp_path, 106, prefix="crossmoda2021_ldn")
    source = datasets.read(tmp_path, "crossmoda_source")
    assert [c.subject for c in source] == [f"crossmoda2021_ldn_{n}" for n in (2, 10)]
    (target,) = datasets.read(tmp_path, "crossmoda_target")
    assert target.subject == "crossmoda2021_ldn_106"


def test_whole_data_set_is_checked(tree):
    assert checking.check(tree, "crossmoda_source").empty
    assert checking.check(tree, "crossmoda_target").empty
    home = tree / "crossmoda_training/source_training"
    (home / "crossmoda_9_Label.nii.gz").unlink()
    (home / "crossmoda_10_ceT1.nii.gz").unlink()
    found = checking.check(tree, "crossmoda_source")
    rows = [tuple(row) for row in found.itertuples(index=False)]
    assert rows == [
        ("crossmoda_9", "labels", "missing"),
        ("crossmoda_10", "T1ce", "missing"),
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels_stored_as_float_are_whole_numbers(tmp_path, dtype):
    add_source(tmp_path, 1, dtype=dtype)
    (case,) = datasets.read(tmp_path, "crossmoda_source")
    labels = datasets.load_labels(case)
    assert labels.data.dtype == np.uint8 and labels.data.max() == 2


def test_sum_of_tumour_and_cochlea_is_refused_until_it_is_named(tmp_path):
    """By hand: 1 + 2 is 3 where the two overlap; the tumour is what is known there."""
    add_source(tmp_path, 7, values=(1, 3, 2), dtype=np.float64)
    (case,) = datasets.read(tmp_path, "crossmoda_source")
    with pytest.raises(ValueError, match=r"crossmoda_7 must be among 0, 1, 2, got 3"):
        datasets.load_labels(case)
    (case,) = datasets.read(tmp_path, "crossmoda_source", classes=crossmoda.ADDED)
    labels = datasets.load_labels(case)
    found = datasets.recode(labels, case, crossmoda.GROUPS)
    assert np.bincount(found.data.ravel()).tolist()[1:] == [2, 1]


def test_case_that_is_there_twice_is_refused(tree):
    add_source(tree / "copy", 9)
    with pytest.raises(ValueError, match=r"crossmoda_9_\w+ must be there once"):
        datasets.read(tree, "crossmoda_source")


# Resampling, crop, way back


def scan(shape=(50, 40, 12), spacing_mm=(0.41, 0.41, 1.5), seed=0):
    """A smooth image that is x + 2 y + 3 z (mm), on a grid off the origin."""
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = -7.0, 11.0, 3.0
    at = nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    return Volume((at @ [1.0, 2.0, 3.0]).astype(np.float32), affine)


def middle_mm(found):
    return nib.affines.apply_affine(found.affine, (np.array(found.shape) - 1) / 2)


def test_resampling_keeps_place_slices_and_a_linear_image():
    found = crossmoda.resample_in_plane(scan())
    assert found.spacing_mm == pytest.approx((0.5, 0.5, 1.5))
    assert found.shape == (41, 33, 12)
    np.testing.assert_allclose(middle_mm(found), middle_mm(scan()), atol=1e-9)
    same = volume.resample(scan(), found)
    inside = np.s_[1:-1, 1:-1, :]
    np.testing.assert_allclose(found.data[inside], same.data[inside], atol=1e-3)
    assert found.data.min() > 0.9 * scan().data.min()  # no dark rim


def test_resampling_to_the_same_voxels_is_nothing():
    fine = scan(spacing_mm=(0.5, 0.5, 1.0))
    assert crossmoda.resample_in_plane(fine) is fine
    with pytest.raises(ValueError, match="spacing_mm must be positive, got 0"):
        crossmoda.resample_in_plane(fine, 0)


def test_crop_changes_no_value_and_knows_its_place():
    whole = scan()
    part = crossmoda.crop(whole, (20, 16, 6), offset_mm=(2.05, -0.82, 1.5))
    np.testing.assert_array_equal(part.data, whole.data[20:40, 10:26, 4:10])
    np.testing.assert_allclose(part.data, volume.resample(whole, part).data, atol=1e-4)


def test_crop_beyond_the_scan_is_filled_with_zeros():
    part = crossmoda.crop(scan(), (60, 20, 20))
    assert part.shape == (60, 20, 20)
    np.testing.assert_array_equal(part.data[5:55, :, 4:16], scan().data[:, 10:30])
    assert not part.data[:5].any() and not part.data[..., 16:].any()
    with pytest.raises(ValueError, match="offset_mm must keep the crop in the volume"):
        crossmoda.crop(scan(), (4, 4, 4), offset_mm=(0, 0, 99))


def test_segmentation_returns_to_the_grid_of_its_scan():
    original = scan()
    labels = original.with_data(np.zeros(original.shape, np.uint8))
    labels.data[15:35, 12:30, 3:9] = 1
    labels.data[22:26, 18:22, 5:7] = 2
    small = crossmoda.crop(labels, (36, 30, 8))
    back = crossmoda.restore(small, original)
    np.testing.assert_array_equal(back.data, labels.data)
    np.testing.assert_array_equal(back.affine, original.affine)
    fine = crossmoda.crop(crossmoda.resample_in_plane(labels, order=0), (30, 26, 8))
    back = crossmoda.restore(fine, original)
    assert back.shape == original.shape and back.data.dtype == np.uint8
    for value in (1, 2):
        both = np.sum((back.data == value) & (labels.data == value))
        assert both > 0.85 * np.sum(labels.data == value)


def test_crop_at_the_span_of_all_annotations_loses_none():
    cases = []
    for corner in ((4, 30, 2), (40, 8, 9)):
        labels = scan().with_data(np.zeros((50, 40, 12), np.uint8))
        labels.data[tuple(slice(c, c + 2) for c in corner)] = 1
        cases.append(labels)
    offset_mm, size_mm = crossmoda.annotated_span_mm(cases)
    np.testing.assert_allclose(size_mm, [38 * 0.41, 24 * 0.41, 9 * 1.5])
    shape = (39, 25, 10)
    for labels in cases:
        assert crossmoda.crop(labels, shape, offset_mm).data.sum() == 8
    with pytest.raises(ValueError, match="labels must hold an annotation"):
        crossmoda.annotated_span_mm([scan().with_data(np.zeros((50, 40, 12), int))])
