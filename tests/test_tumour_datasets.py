import numpy as np
import pytest
import SimpleITK as sitk

from noisyseg import datasets

NAMED = ("FLAIR", "T1", "T1C", "T2")
NUMBERED = ("Flair", "T1", "T1c", "T2")


def save(path, *values):
    """A tiny MetaImage with one voxel of each value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.zeros((3, 4, 5), np.int16)
    data.flat[: len(values)] = values
    sitk.WriteImage(sitk.GetImageFromArray(data), path)


def add_named(folder, name, truth, values, *, beside=False):
    for number, modality in enumerate(NAMED):
        save(folder / f"Images/{name}/{name}_{modality}.mha", number + 1)
    place = f"Images/{name}" if beside else "Truth"
    save(folder / place / f"{name}_{truth}.mha", *values)


def add_numbered(folder, place, truth, values):
    for number, modality in enumerate(NUMBERED):
        home = folder / place / f"VSD.Brain.XX.O.MR_{modality}"
        save(home / f"VSD.Brain.XX.O.MR_{modality}.{684 + number}.mha", number + 1)
    save(folder / place / truth / f"{truth}.999.mha", *values)


def names(case):
    """Class of the first voxels of a case's labels."""
    data = datasets.load(case)[1].data.transpose(2, 1, 0).ravel()
    data = data[np.flatnonzero(data)] if data.any() else data
    return [case.coding.classes[int(value)] for value in data]


def brightness(case):
    return {m: image.data.max() for m, image in datasets.load(case)[0].items()}


@pytest.mark.parametrize("beside", [False, True])
def test_named_packaging_has_real_and_simulated_cases(tmp_path, beside):
    add_named(tmp_path, "BRATS_HG0022", "truth", (1, 2), beside=beside)
    add_named(tmp_path, "SimBRATS_LG0001", "complete_truth", (3, 4, 5), beside=beside)
    real, simulated = datasets.read(tmp_path, "brats2012")
    assert (real.subject, simulated.subject) == ("BRATS_HG0022", "SimBRATS_LG0001")
    assert set(names(real)) == {"oedema", "tumour"}
    assert set(names(simulated)) == {"CSF", "oedema", "tumour"}
    assert brightness(real) == {"FLAIR": 1, "T1w": 2, "T1ce": 3, "T2w": 4}


def test_numbered_packaging_tells_t1_from_t1c(tmp_path):
    add_numbered(tmp_path, "HG/0001", "VSD.Brain.XX.XX.OT", (1, 2))
    add_numbered(tmp_path, "LG/0001", "VSD.Brain.XX.XX.OT", (1, 2))
    cases = datasets.read(tmp_path, "brats2012")
    assert [case.subject for case in cases] == ["HG_0001", "LG_0001"]
    assert brightness(cases[0]) == {"FLAIR": 1, "T1w": 2, "T1ce": 3, "T2w": 4}
    assert set(names(cases[0])) == {"oedema", "tumour"}


@pytest.mark.parametrize("root", ["", "Synthetic_Data"])
def test_numbered_packaging_has_simulated_cases(tmp_path, root):
    add_numbered(tmp_path, "Synthetic_Data/HG/0001", "VSD.Brain_3more.XX.XX.OT", (4, 5))
    for reader in ("brats2012", "brats2013"):
        (case,) = datasets.read(tmp_path / root, reader)
        assert set(names(case)) == {"oedema", "tumour"}


def test_value_2_is_tumour_in_2012_and_oedema_in_2013(tmp_path):
    add_named(tmp_path, "BRATS_HG0001", "truth", (2,))
    (case,) = datasets.read(tmp_path, "brats2012")
    assert names(case) == ["tumour"]
    (case,) = datasets.read(tmp_path, "brats2013")
    assert names(case) == ["oedema"]


def test_four_labels_are_refused_by_the_reader_of_two(tmp_path):
    add_numbered(tmp_path, "HG/0001", "VSD.Brain_3more.XX.XX.OT", (1, 2, 3, 4))
    with pytest.raises(
        ValueError, match=r"HG_0001 must .* 2012 .*read it with brats2013"
    ):
        datasets.read(tmp_path, "brats2012")
    (case,) = datasets.read(tmp_path, "brats2013")
    found = datasets.recode(datasets.load(case)[1], case)
    assert np.unique(found.data).tolist() == [5, 6, 7]  # 1, 3, 4 are the tumour


def test_named_labels_of_2013_are_told_by_their_values(tmp_path):
    add_named(tmp_path, "BRATS_HG0001", "truth", (1, 2, 3, 4))
    (case,) = datasets.read(tmp_path, "brats2012")
    with pytest.raises(
        ValueError, match="BRATS_HG0001 must be among 0, 1, 2, got 3, 4"
    ):
        datasets.load(case)


def test_test_cases_have_no_labels(tmp_path):
    add_named(tmp_path / "Testing", "BRATS_HG0301", "truth", (1,))
    (tmp_path / "Testing/Truth/BRATS_HG0301_truth.mha").unlink()
    (case,) = datasets.read(tmp_path, "brats2012")
    assert not case.labelled and case.labels == {}


@pytest.mark.parametrize(
    ("truths", "taken"),
    [
        (("truth", "discrete_truth", "warped_labels2"), "truth"),
        (("warped_labels1", "warped_labels2"), "warped_labels2"),
    ],
)
def test_tumorsim_takes_the_final_labels(tmp_path, truths, taken):
    home = tmp_path / "Output00T"
    for number, modality in enumerate(("T1", "T2", "FLAIR", "T1Gad")):
        save(home / f"SimTumor00T_{modality}.mha", number + 1)
    for number, truth in enumerate(truths):
        save(home / f"SimTumor00T_{truth}.mha", number + 1, 4, 5)
    save(home / "SimTumor00T_prob4.mha", 1000)
    (case,) = datasets.read(tmp_path, "tumorsim")
    assert case.subject == "Output00T_SimTumor00T"
    assert brightness(case) == {"T1w": 1, "T1ce": 4, "T2w": 2, "FLAIR": 3}
    assert case.labels["reference"].name == f"SimTumor00T_{taken}.mha"


def test_label_map_of_tumorsim_can_be_given(tmp_path):
    save(tmp_path / "SimTumor_T1.mha", 1)
    save(tmp_path / "SimTumor_truth.mha", 1, 5)
    own = {0: "background", 1: "GM", 5: "tumour"}
    (case,) = datasets.read(tmp_path, "tumorsim", classes=own)
    found = datasets.recode(datasets.load(case)[1], case)
    assert sorted(np.unique(found.data)) == [0, 2, 6]
