import nibabel as nib
import numpy as np
import pytest

from noisyseg import cohorts, labeltables, volume
from noisyseg.cohorts import Case

T1_GRID = np.diag([1.0, 1.0, 1.2, 1.0])
T2_GRID = np.diag([0.9, 0.9, 0.9, 1.0])
HEAD = labeltables.HEAD.names.index


def save(path, data=None, affine=T1_GRID):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.ones((4, 4, 4), np.int16) if data is None else np.asarray(data)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def add_subject(root, name, modalities=("T1w", "T2w"), session="", ending=".nii"):
    for modality in modalities:
        grid = T1_GRID if modality == "T1w" else T2_GRID
        place = root / name / session / "anat"
        save(place / f"{name}_{modality}{ending}", affine=grid)


@pytest.fixture
def bids(tmp_path):
    for name in ("sub-02", "sub-01", "sub-10"):
        add_subject(tmp_path, name)
        save(tmp_path / f"derivatives/truth/{name}/anat/{name}_dseg.nii")
    labeltables.HEAD.write(tmp_path / "derivatives/truth/dseg.tsv")
    return tmp_path


# BIDS


def test_bids_cases_are_sorted_and_complete(bids):
    (bids / "participants.tsv").write_text("participant_id\n")
    (bids / "sub-99.txt").write_text("a file, not a subject")
    cases = cohorts.read(bids)
    assert [case.subject for case in cases] == ["sub-01", "sub-02", "sub-10"]
    anat = bids / "sub-01/anat"
    assert cases[0].images == {m: anat / f"sub-01_{m}.nii" for m in ("T1w", "T2w")}
    truth = bids / "derivatives/truth/sub-01/anat/sub-01_dseg.nii"
    assert cases[0].truth == truth and truth.exists()


def test_only_the_asked_modalities_are_read(bids):
    save(bids / "sub-01/anat/sub-01_FLAIR.nii")
    (bids / "sub-01/anat/sub-01_T1w.json").write_text("{}")
    (bids / "sub-01/anat/._sub-01_T1w.nii").write_text("left by a file manager")
    cases = cohorts.read(bids, modalities=("T1w",))
    assert list(cases[0].images) == ["T1w"]


@pytest.mark.filterwarnings("ignore:sub-")
def test_modality_is_the_whole_suffix(bids):
    save(bids / "sub-01/anat/sub-01_inplaneT2.nii")
    path = save(bids / "sub-01/anat/sub-01_T2.nii")
    (case,) = cohorts.read(bids, modalities=("T2",), missing="skip")
    assert case.images == {"T2": path}


def test_session_level_and_compressed_files_are_found(tmp_path):
    save(tmp_path / "sub-01/ses-1/anat/sub-01_ses-1_acq-3d_T1w.nii.gz")
    save(tmp_path / "derivatives/truth/sub-01/ses-1/anat/sub-01_ses-1_dseg.nii.gz")
    (case,) = cohorts.read(str(tmp_path), modalities=("T1w",))
    assert case.images["T1w"].name == "sub-01_ses-1_acq-3d_T1w.nii.gz"
    assert case.truth.name == "sub-01_ses-1_dseg.nii.gz"


def test_subject_without_truth_has_none(bids):
    add_subject(bids, "sub-11")
    assert [case.truth is None for case in cohorts.read(bids)] == [0, 0, 0, 1]


def test_missing_modality_stops_and_names_every_gap(bids):
    (bids / "sub-02/anat/sub-02_T2w.nii").unlink()
    add_subject(bids, "sub-12", ())
    (bids / "sub-12").mkdir()
    text = "got: sub-02 has no T2w, sub-12 has no T1w or T2w; .* missing: skip"
    with pytest.raises(FileNotFoundError, match=text):
        cohorts.read(bids)


def test_missing_modality_is_skipped_with_a_warning(bids):
    (bids / "sub-02/anat/sub-02_T2w.nii").unlink()
    with pytest.warns(UserWarning, match="^sub-02 has no T2w: skipped$") as told:
        cases = cohorts.read(bids, missing="skip")
    assert [case.subject for case in cases] == ["sub-01", "sub-10"]
    assert len(told) == 1 and told[0].filename == __file__


@pytest.mark.filterwarnings("ignore:sub-")
def test_no_complete_case_is_an_error(bids):
    with pytest.raises(FileNotFoundError, match="T1w and FLAIR, got none of 3"):
        cohorts.read(bids, modalities=("T1w", "FLAIR"), missing="skip")


@pytest.mark.parametrize(
    "twin",
    [
        "anat/sub-01_T1w.nii.gz",
        "anat/sub-01_run-2_T1w.nii",
        "ses-2/anat/sub-01_ses-2_T1w.nii",
    ],
)
def test_two_files_for_one_modality_are_refused(bids, twin):
    save(bids / "sub-01" / twin)
    with pytest.raises(ValueError, match=f"sub-01 must have one T1w.*{twin}.*keep one"):
        cohorts.read(bids)


def test_two_truths_are_refused(bids):
    save(bids / "derivatives/truth/sub-01/anat/sub-01_seg-rater2_dseg.nii")
    with pytest.raises(ValueError, match="sub-01 must have one dseg image"):
        cohorts.read(bids)


def test_missing_folder_and_folder_without_subjects_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone must be a folder of scans"):
        cohorts.read(tmp_path / "gone")
    (tmp_path / "dwi").mkdir()
    with pytest.raises(FileNotFoundError, match=r"sub-\*, got dwi; check the name"):
        cohorts.read(tmp_path)


def test_unknown_choices_name_the_nearest(bids):
    with pytest.raises(ValueError, match=r"reader must be.*'cam-can'.*mean 'camcan'"):
        cohorts.read(bids, reader="cam-can")
    with pytest.raises(
        ValueError, match=r"missing must be.*'stopp'.*did you mean 'stop'"
    ):
        cohorts.read(bids, missing="stopp")
    with pytest.raises(TypeError, match=r"modalities must be a list .*\[T1w\]"):
        cohorts.read(bids, modalities="T1w")


# Cam-CAN as distributed


@pytest.mark.parametrize("root", ["", "anat"])
@pytest.mark.parametrize("session", ["", "ses-pre"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_camcan_tree_is_read(tmp_path, root, session, ending):
    add_subject(tmp_path / root, "sub-CC110033", session=session, ending=ending)
    (tmp_path / "dwi/sub-CC110033/dwi").mkdir(parents=True)
    (case,) = cohorts.read(tmp_path, "camcan")
    t1, t2 = (volume.read_image(case.images[m]) for m in ("T1w", "T2w"))
    assert case.subject == "sub-CC110033" and case.truth is None
    with pytest.raises(ValueError, match="T2 must have the affine of T1"):
        volume.check_same_grid(t1, t2, "T1", "T2")


def test_camcan_subject_without_t2_is_skipped(tmp_path):
    add_subject(tmp_path / "anat", "sub-CC110033")
    add_subject(tmp_path / "anat", "sub-CC110037", ("T1w",), ending=".nii.gz")
    with pytest.warns(UserWarning, match="sub-CC110037 has no T2w"):
        cases = cohorts.read(tmp_path, "camcan", missing="skip")
    assert [case.subject for case in cases] == ["sub-CC110033"]
    assert len(cohorts.read(tmp_path, "camcan", ("T1w",))) == 2


# Label table


def test_table_is_that_of_the_truth(bids):
    own = labeltables.LabelTable(("background", "heart"), ("#000000", "#ff0000"))
    own.write(bids / "derivatives/truth/dseg.tsv")
    assert cohorts.table(bids) == own


def test_table_of_a_cohort_without_truth_is_head(tmp_path):
    assert cohorts.table(tmp_path) is labeltables.HEAD


def test_truth_without_table_is_refused(bids):
    (bids / "derivatives/truth/dseg.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"dseg\.tsv must exist"):
        cohorts.table(bids)


# Split


def people(n):
    return [Case(f"sub-{k:02d}", {}) for k in range(n)]


@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 1, 1), (4, 2, 1), (5, 2, 1), (60, 20, 20)],
)
def test_split_sizes_follow_the_largest_remainder(rng, sizes):
    n = sum(sizes)
    parts = cohorts.split(people(n), (0.6, 0.2, 0.2), rng)
    assert tuple(len(part) for part in parts) == sizes
    assert sorted(c.subject for p in parts for c in p) == [c.subject for c in people(n)]


def test_split_leaves_no_part_empty(rng):
    parts = cohorts.split(people(4), (0.98, 0.01, 0.01), rng)
    assert [len(part) for part in parts] == [2, 1, 1]


def test_split_keeps_a_person_together(rng):
    twice = people(6) + people(6)
    train, test = cohorts.split(twice, (0.5, 0.5), rng)
    assert not {c.subject for c in train} & {c.subject for c in test}
    assert len(train) == len(test) == 6


def test_split_replays_and_varies_with_the_seed():
    def subjects(seed, cases):
        parts = cohorts.split(cases, (0.6, 0.2, 0.2), np.random.default_rng(seed))
        return [sorted(c.subject for c in part) for part in parts]

    cases = people(20)
    assert subjects(1, cases) == subjects(1, cases) == subjects(1, cases[::-1])
    assert subjects(1, cases) != subjects(2, cases)


def test_split_is_the_same_on_every_machine():
    parts = cohorts.split(people(5), (0.6, 0.2, 0.2), np.random.default_rng(1))
    numbers = ["".join(case.subject[-1] for case in part) for part in parts]
    assert numbers == ["014", "2", "3"]


def test_split_is_fair(rng):
    parts = [cohorts.split(people(5), (0.8, 0.2), rng)[1] for _ in range(1000)]
    drawn = [case.subject for (case,) in parts]
    counts = [drawn.count(case.subject) for case in people(5)]
    assert np.allclose(counts, 200, atol=4 * np.sqrt(1000 * 0.2 * 0.8))


def test_split_refuses_bad_shares_and_too_few_people(rng):
    with pytest.raises(ValueError, match=r"above 0 and sum to 1, got \(0\.7, 0\.2"):
        cohorts.split(people(9), (0.7, 0.2, 0.2), rng)
    with pytest.raises(ValueError, match=r"above 0 and sum to 1, got \(1, 0\)"):
        cohorts.split(people(9), (1, 0), rng)
    with pytest.raises(ValueError, match="at least 3 subjects, one a part, got 2"):
        cohorts.split(people(2), (0.6, 0.2, 0.2), rng)
