import warnings

import nibabel as nib
import numpy as np
import pytest

from noisyseg import checking, cli, datasets

SHAPE = (12, 12, 6)
GRID = np.diag([1.0, 1.0, 3.0, 1.0])
WHOLE = ("training/1", "training/2", "training/3")


def save(path, data, affine=GRID, code=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data.astype(np.float32), affine)
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    nib.save(image, path)


def regions():
    """Labels of MRBrainS18, 144 voxels or more of WM, GM and CSF."""
    data = np.zeros(SHAPE)
    data[:, :, 1], data[:, :, 2], data[:, :, 3], data[0, :, 3] = 3, 1, 5, 4
    return data


def add_case(home):
    """WM brightest on T1, then GM, then CSF."""
    t1 = np.array([10.0, 60, 60, 90, 80, 20, 20, 60, 60])[regions().astype(int)]
    for stem in ("reg_T1", "reg_IR", "FLAIR"):
        save(home / f"pre/{stem}.nii.gz", t1)
    save(home / "segm.nii.gz", regions())


@pytest.fixture
def folder(tmp_path):
    for place in WHOLE:
        add_case(tmp_path / place)
    return tmp_path


def test_whole_data_set_has_an_empty_table(folder):
    table = checking.check(folder, "mrbrains18")
    assert list(table.columns) == ["case", "what", "problem"] and table.empty
    assert checking.describe(table, 3) == "all 3 cases are whole"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def relabel(value):
    def act(path):
        save(path, np.where(regions() == 3, value, regions()))

    return act


@pytest.mark.parametrize(
    ("name", "act", "what", "problem"),
    [
        ("pre/reg_IR", lambda p: p.unlink(), "IR", "missing"),
        ("segm", lambda p: p.unlink(), "labels", "missing"),
        ("pre/FLAIR", truncate, "FLAIR", "^FLAIR.nii.gz must be a whole image file"),
        ("segm", truncate, "labels", "^segm.nii.gz must be a whole image file"),
        ("segm", relabel(11), "labels", "must be among 0, 1, .* got 11"),
        ("segm", relabel(2.5), "labels", "got fractions such as 2.5"),
        ("segm", lambda p: save(p, regions() * 0), "labels", "^no foreground$"),
        ("segm", lambda p: save(p, regions() * 0 + 9), "labels", "^no foreground$"),
        ("segm", lambda p: save(p, regions()[1:]), "labels", "have the shape of T1w"),
        (
            "pre/FLAIR",
            lambda p: save(p, regions(), np.diag([1, 1.2, 3, 1])),
            "FLAIR",
            "affine of T1w",
        ),
        ("pre/FLAIR", lambda p: save(p, regions() * 0), "FLAIR", "holds 0 everywhere"),
        ("segm", lambda p: save(p, regions() * np.nan), "labels", "of NaN or infinity"),
    ],
)
def test_every_fault_is_one_row_of_its_case(folder, name, act, what, problem):
    act(folder / "training/2" / f"{name}.nii.gz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = checking.check(folder, "mrbrains18")
    assert list(table["case"]) == ["training_2"]
    assert list(table["what"]) == [what]
    assert table["problem"].str.contains(problem).all()
    assert "1 faults; 1 of 3 cases" in checking.describe(table, 3)


def test_missing_orientation_is_told(folder):
    for path in sorted((folder / "training/2").rglob("*.nii.gz")):
        save(path, np.asanyarray(nib.load(path).dataobj), GRID, 0)
    table = checking.check(folder, "mrbrains18")
    assert list(table["what"]) == ["T1w", "IR", "FLAIR", "labels"]
    assert table["problem"].str.match(r"\w+\.nii\.gz has no orientation").all()


def test_several_faults_of_a_case_are_all_told(folder):
    (folder / "training/1/pre/reg_T1.nii.gz").unlink()
    truncate(folder / "training/1/pre/FLAIR.nii.gz")
    (folder / "training/1/segm.nii.gz").write_bytes(b"")
    table = checking.check(folder, "mrbrains18")
    assert list(table["what"]) == ["T1w", "FLAIR", "labels"]


def test_exchanged_tissues_are_told_by_their_brightness(folder):
    """The natural order 1 GM, 3 WM is wrong for labels coded the other way round."""
    swapped = {1: 3.0, 3: 1.0}
    data = regions()
    new = np.select([data == k for k in swapped], list(swapped.values()), data)
    save(folder / "training/1/segm.nii.gz", new)
    table = checking.check(folder, "mrbrains18")
    assert list(table["case"]) == ["training_1"]
    assert "T1w brightness is CSF 20 < WM 60 < GM 90" in table["problem"][0]


def test_test_cases_need_no_labels(folder):
    add_case(folder / "test/9")
    (folder / "test/9/segm.nii.gz").unlink()
    assert checking.check(folder, "mrbrains18").empty


def test_another_coding_is_told_from_the_whole_data_set(folder):
    """Labels CSF, GM, WM only, as for testing, under the name of the nine regions."""
    coarse = np.array([0, 2, 2, 3, 3, 1, 1, 0, 0])[regions().astype(int)]
    for number, place in enumerate(WHOLE):
        table = checking.check(folder, "mrbrains18")
        assert not (table["case"] == "(all)").any(), number
        save(folder / place / "segm.nii.gz", coarse)
    table = checking.check(folder, "mrbrains18")
    assert list(table["case"])[-1] == "(all)"
    assert "no case shows one of 4 (WMH)" in table["problem"].iloc[-1]


def test_labels_outside_the_image_are_no_foreground(folder):
    """Where grids may differ, only what lies inside the image counts."""
    far = GRID.copy()
    far[0, 3] = 500
    save(folder / "training/1/segm.nii.gz", regions(), far)
    table = checking.check_cases(datasets.read(folder, "mrbrains18")[:1])
    assert list(table["what"]) == ["labels", "labels"]
    assert table["problem"][1] == "no foreground inside the first image"


def test_wrong_reader_or_folder_is_an_error(folder):
    with pytest.raises(FileNotFoundError, match="layout of brats2012, got none"):
        checking.check(folder, "brats2012")


def test_the_command_tells_faults_and_fails_only_when_asked_to(folder, capsys):
    command = ["check", str(folder), "--reader", "mrbrains18"]
    assert cli.main([*command, "--strict"]) == 0
    assert capsys.readouterr().out == "all 3 cases are whole\n"
    (folder / WHOLE[0] / "segm.nii.gz").unlink()
    assert cli.main(command) == 0 and cli.main([*command, "--strict"]) == 1
    assert "1 faults; 1 of 3 cases have some" in capsys.readouterr().out
    assert cli.main(["check", str(folder), "--reader", "mrbrain18"]) == 2
    assert "did you mean 'mrbrains18'" in capsys.readouterr().err
