import nibabel as nib
import numpy as np
import pytest

from noisyseg import datasets
from noisyseg.volume import Volume

SHAPE = (6, 5, 4)
GRID = np.diag([0.958, 0.958, 3.0, 1.0])


def save(path, data=None, affine=GRID, dtype=np.int16):
    """A NIfTI file; without data one of noise, for an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if data is None:
        data = np.random.default_rng(len(path.name)).integers(1, 99, SHAPE)
    image = nib.Nifti1Image(np.asarray(data).astype(dtype), affine)
    image.set_sform(affine, 1)
    nib.save(image, path)
    return path


def labels_of(*values):
    """A label image with one voxel of each value, background elsewhere."""
    data = np.zeros(SHAPE, int)
    data.flat[: len(values)] = values
    return data


def only(folder, reader):
    (case,) = datasets.read(folder, reader)
    return case


def values(case, **options):
    return np.unique(datasets.load(case, **options)[1].data).tolist()


# MRBrainS13


def add_mrbrains13(home, *, labels=("LabelsForTraining", "LabelsForTesting")):
    for stem in ("T1", "T1_IR", "T2_FLAIR"):
        save(home / f"{stem}.nii")
    save(home / "T1_1mm.nii", np.ones((9, 9, 9)), np.eye(4))
    contents = {"LabelsForTraining": range(9), "LabelsForTesting": range(4)}
    for stem in labels:
        save(home / f"{stem}.nii", labels_of(*contents[stem]))


def test_mrbrains13_leaves_out_the_scan_that_nothing_aligns(tmp_path):
    add_mrbrains13(tmp_path / "TrainingData/1")
    add_mrbrains13(tmp_path / "TrainingData/10")
    add_mrbrains13(tmp_path / "TrainingData/2")
    add_mrbrains13(tmp_path / "TestData/1", labels=())
    cases = datasets.read(tmp_path, "mrbrains13")
    names = ["TestData_1", "TrainingData_1", "TrainingData_2", "TrainingData_10"]
    assert [case.subject for case in cases] == names
    files = {m: path.name for m, path in cases[1].images.items()}
    assert files == {"T1w": "T1.nii", "IR": "T1_IR.nii", "FLAIR": "T2_FLAIR.nii"}
    assert [case.labelled for case in cases] == [False, True, True, True]


def test_mrbrains13_cerebellum_and_brainstem_are_never_background(tmp_path):
    """By hand: 1, 2 GM; 3 WM; 4 WMH; 5, 6 CSF; 7, 8 unknown."""
    add_mrbrains13(tmp_path / "TrainingData/1")
    case = only(tmp_path, "mrbrains13")
    assert case.labels["reference"].name == "LabelsForTraining.nii"
    found = datasets.recode(datasets.load_labels(case), case)
    assert found.data.flat[:9].tolist() == [0, 2, 2, 3, 4, 1, 1, 255, 255]


def test_mrbrains13_labels_for_testing_do_not_know_the_background(tmp_path):
    """By hand: CSF, GM, WM are 1, 2, 3, as the owner says, and 0 is anything else."""
    add_mrbrains13(tmp_path / "1", labels=("LabelsForTesting",))
    case = only(tmp_path, "mrbrains13")
    assert case.subject == "1"
    found = datasets.recode(datasets.load_labels(case), case)
    assert found.data.flat[:5].tolist() == [255, 1, 2, 3, 255]


# MRBrainS18


def test_mrbrains18_takes_the_registered_scans(tmp_path):
    home = tmp_path / "training/070"
    for stem in ("reg_T1", "reg_IR", "FLAIR"):
        save(home / f"pre/{stem}.nii.gz")
    for stem in ("pre/T1", "pre/IR", "orig/T1", "orig/FLAIR"):
        save(home / f"{stem}.nii.gz", np.ones((7, 7, 7)), np.eye(4))
    save(home / "segm.nii.gz", labels_of(*range(11)), dtype=np.float32)
    case = only(tmp_path, "mrbrains18")
    assert case.subject == "training_070"
    assert [p.name[:5] for p in case.images.values()] == ["reg_T", "reg_I", "FLAIR"]
    found = datasets.recode(datasets.load(case)[1], case).data.flat[:11].tolist()
    assert found == [0, 2, 2, 3, 4, 1, 1, 255, 255, 255, 255]


# WMH 2017


def add_wmh(home, *, values=(1, 2), affine=GRID, shape=SHAPE):
    for stem in ("FLAIR", "T1"):
        save(
            home / f"pre/{stem}.nii.gz",
            np.arange(np.prod(shape)).reshape(shape),
            affine,
        )
    save(home / "pre/3DT1.nii.gz", np.ones((9, 9, 9)), np.eye(4))
    data = np.zeros(shape)
    data.flat[: len(values)] = values
    save(home / "wmh.nii.gz", data, affine, np.float32)


@pytest.mark.parametrize(
    "place",
    [
        "training/Utrecht/0",
        "test/Amsterdam/Philips_VU .PETMR_01./160",
        "Amsterdam_GE3T/101",
        "GE3T/101",
    ],
)
def test_wmh_cases_are_found_at_any_depth(tmp_path, place):
    add_wmh(tmp_path / place)
    case = only(tmp_path, "wmh2017")
    assert case.subject == place.replace("/", "_")
    images, labels = datasets.load(case)
    assert list(images) == ["FLAIR", "T1w"] and labels.data.dtype == np.uint8


def test_wmh_inside_pre_is_a_label_of_the_case(tmp_path):
    add_wmh(tmp_path / "Utrecht/0")
    (tmp_path / "Utrecht/0/wmh.nii.gz").rename(tmp_path / "Utrecht/0/pre/wmh.nii.gz")
    case = only(tmp_path, "wmh2017")
    assert case.subject == "Utrecht_0" and values(case) == [0, 1, 2]


def test_other_pathology_is_neither_lesion_nor_background(tmp_path):
    add_wmh(tmp_path / "training/Utrecht/0")
    case = only(tmp_path, "wmh2017")
    found = datasets.recode(datasets.load(case)[1], case)
    assert list(datasets.GROUPS)[7] == "no lesion"
    assert found.data.flat[:3].tolist() == [4, 255, 7]


def test_swapped_axes_of_singapore_come_out_canonical(tmp_path):
    """The same head, stored with x and y exchanged, is the same volume."""
    add_wmh(tmp_path / "Singapore/50")
    turned = np.diag([0.958, 0.958, 3.0, 1.0])[:, [1, 0, 2, 3]]
    for path in sorted((tmp_path / "Singapore/50").rglob("*.nii.gz")):
        image = nib.load(path)
        data = np.asanyarray(image.dataobj).transpose(1, 0, 2)
        there = tmp_path / "Singapore/51" / path.relative_to(tmp_path / "Singapore/50")
        save(there, data, turned, image.get_data_dtype())
    straight, swapped = map(datasets.load, datasets.read(tmp_path, "wmh2017"))
    assert swapped[1].shape == SHAPE
    np.testing.assert_array_equal(swapped[1].data, straight[1].data)
    for name in ("FLAIR", "T1w"):
        np.testing.assert_array_equal(swapped[0][name].data, straight[0][name].data)
        np.testing.assert_allclose(swapped[0][name].affine, GRID)


@pytest.mark.parametrize("root", ["", "training"])
def test_further_raters_take_over_what_is_unknown(tmp_path, root):
    add_wmh(tmp_path / "training/Amsterdam/GE3T/101", values=(1, 2, 0))
    rated = (
        "additional_annotations/observer_o3/training/Amsterdam/GE3T/101/result.nii.gz"
    )
    save(tmp_path / rated, labels_of(0, 1, 1))
    case = only(tmp_path / root, "wmh2017")
    assert list(case.labels) == ["reference", "observer_o3"]
    found = datasets.load_labels(case, "observer_o3").data.flat[:4].tolist()
    assert found == [0, 2, 1, 0]


# Any data set


def test_further_images_are_resampled_linearly_in_world_space(tmp_path):
    add_wmh(tmp_path / "Utrecht/0")
    half = np.diag([0.958, 0.958, 6.0, 1.0])
    ramp = np.broadcast_to(np.array([0.0, 2.0]), (6, 5, 2))
    save(tmp_path / "Utrecht/0/pre/T1.nii.gz", ramp, half)
    images, _ = datasets.load(only(tmp_path, "wmh2017"))
    np.testing.assert_allclose(images["T1w"].data[2, 2], [0, 1, 2, 1], atol=1e-5)


def test_resampled_labels_invent_no_class(tmp_path):
    """Between 0 and 2 lies 1: other pathology must not get a rim of lesion."""
    add_wmh(tmp_path / "Utrecht/0")
    shifted = GRID.copy()
    shifted[2, 3] = 0.3 * 3.0
    data = np.zeros(SHAPE)
    data[:, :, 2] = 2
    save(tmp_path / "Utrecht/0/wmh.nii.gz", data, shifted)
    assert values(only(tmp_path, "wmh2017")) == [0, 2]


def test_hidden_files_and_folders_are_not_read(tmp_path):
    add_wmh(tmp_path / "Utrecht/0")
    save(tmp_path / "Utrecht/0/pre/._T1.nii.gz")
    add_wmh(tmp_path / "__MACOSX/Utrecht/0")
    assert only(tmp_path, "wmh2017").images["T1w"].name == "T1.nii.gz"


def test_value_outside_the_map_names_case_and_value(tmp_path):
    add_wmh(tmp_path / "Utrecht/0", values=(1, 3))
    case = only(tmp_path, "wmh2017")
    with pytest.raises(
        ValueError, match=r"labels of Utrecht_0 must be among 0, 1, 2, got 3"
    ):
        datasets.load(case)
    own = {0: "no lesion", 1: "WMH", 2: "other pathology", 3: "WMH"}
    (case,) = datasets.read(tmp_path, "wmh2017", classes=own)
    assert values(case) == [0, 1, 3]


def test_class_without_a_group_names_case_and_value(tmp_path):
    add_wmh(tmp_path / "Utrecht/0")
    case = only(tmp_path, "wmh2017")
    labels = Volume(labels_of(1), GRID)
    with pytest.raises(ValueError, match=r"what 'WMH' \(value 1 of Utrecht_0\) is"):
        datasets.recode(labels, case, {"no lesion": ("no lesion",)})


def test_missing_modality_labels_and_layout_are_told(tmp_path):
    add_wmh(tmp_path / "Utrecht/0")
    case = only(tmp_path, "wmh2017")
    with pytest.raises(FileNotFoundError, match="Utrecht_0 must have images of T2w"):
        datasets.load(case, ["T2w"])
    with pytest.raises(FileNotFoundError, match="labels of observer_o3, got reference"):
        datasets.load(case, rater="observer_o3")
    with pytest.raises(FileNotFoundError, match="layout of mrbrains18, got none"):
        datasets.read(tmp_path / "Utrecht/0/pre", "mrbrains18")
    with pytest.raises(ValueError, match="did you mean 'wmh2017'"):
        datasets.read(tmp_path, "wmh17")
    with pytest.raises(FileNotFoundError, match="gone must be a folder"):
        datasets.read(tmp_path / "gone", "wmh2017")
