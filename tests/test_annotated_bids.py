import shutil

import nibabel as nib
import numpy as np
import pytest

from noisyseg import annotated_bids, checking, datasets
from noisyseg.lesion_cohorts import WMH_ALL

ANNOTATION = "derivatives/annotation"


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, np.eye(4))
    image.set_sform(np.eye(4), 1)
    nib.save(image, path)


def add_case(root, home, *, modalities=("FLAIR", "T1w"), labelled=True):
    """Labels 0 to 4 in slabs, as bright on T1 as they should be."""
    labels = np.repeat(np.arange(5, dtype=np.uint8), 200).reshape(10, 10, 10)
    stem = home.replace("/", "_")
    for modality in modalities:
        bright = np.float32([5, 20, 60, 90, 80])[labels]
        save(root / home / f"anat/{stem}_{modality}.nii.gz", bright)
    if labelled:
        save(root / ANNOTATION / home / f"anat/{stem}_dseg.nii.gz", labels)


@pytest.fixture
def tree(tmp_path):
    add_case(tmp_path, "sub-01")
    add_case(tmp_path, "sub-02")
    WMH_ALL.write(tmp_path / ANNOTATION / "dseg.tsv")
    return tmp_path


def test_a_tree_is_read_by_its_layout(tree):
    save(tree / "derivatives/truth/sub-01/anat/sub-01_dseg.nii", np.zeros((2, 2, 2)))
    save(tree / "sub-01/func/sub-01_bold.nii", np.zeros((2, 2, 2)))
    cases = annotated_bids.read_bids(tree)
    assert [case.subject for case in cases] == ["sub-01", "sub-02"]
    case = cases[0]
    assert {m: p.name for m, p in case.images.items()} == {
        m: f"sub-01_{m}.nii.gz" for m in ("FLAIR", "T1w")
    }
    assert case.labels == {
        "reference": tree / ANNOTATION / "sub-01/anat/sub-01_dseg.nii.gz"
    }
    assert case.coding.classes == dict(enumerate(WMH_ALL.names))
    assert case.modalities == ("FLAIR", "T1w") and case.labelled


def test_each_session_is_a_case_with_its_own_labels(tree):
    for session in ("ses-a", "ses-b"):
        add_case(tree, f"sub-03/{session}", labelled=session == "ses-b")
    cases = {case.subject: case for case in annotated_bids.read_bids(tree)}
    assert list(cases)[2:] == ["sub-03_ses-a", "sub-03_ses-b"]
    assert cases["sub-03_ses-a"].labels == {}
    assert "ses-b" in str(cases["sub-03_ses-b"].labels["reference"])
    assert "ses-b" in str(cases["sub-03_ses-b"].images["T1w"])


def test_two_images_of_one_modality_are_refused(tree):
    shutil.copy(
        tree / "sub-01/anat/sub-01_T1w.nii.gz",
        tree / "sub-01/anat/sub-01_run-2_T1w.nii.gz",
    )
    with pytest.raises(ValueError, match="T1w of sub-01 must be one file, got sub-01_"):
        annotated_bids.read_bids(tree)


def test_a_tree_without_a_table_is_refused(tree, tmp_path):
    (tree / ANNOTATION / "dseg.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"annotation/dseg\.tsv must exist"):
        annotated_bids.read_bids(tree)
    with pytest.raises(FileNotFoundError, match="must be a folder of scans"):
        annotated_bids.read_bids(tmp_path / "nowhere")


def test_it_is_the_reader_called_bids_and_its_cases_can_be_checked(tree):
    cases = datasets.read(tree, "bids")
    assert [c.subject for c in cases] == ["sub-01", "sub-02"]
    assert checking.check_cases(cases).empty


def test_missing_files_of_one_case_are_told(tree):
    add_case(tree, "sub-03", modalities=["FLAIR"], labelled=False)
    table = checking.check(tree, "bids")
    assert set(table["case"]) == {"sub-03"}
    assert list(table["what"]) == ["T1w", "labels"]
    assert (table["problem"] == "missing").all()


def test_a_cohort_that_nobody_has_annotated_misses_no_labels(tree):
    for subject in ("sub-01", "sub-02"):
        shutil.rmtree(tree / ANNOTATION / subject)
    assert not any(case.labelled for case in annotated_bids.read_bids(tree))
    assert checking.check(tree, "bids").empty
