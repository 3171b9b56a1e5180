"""Cohorts of skull bases on disk: layout, bytes, annotation, contrast, errors."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from noisyseg import cohorts, datasets, labeltables, skullbase_heads, volume
from noisyseg import skullbase_phantoms as phantoms
from noisyseg.skullbase_tissues import TABLE

TINY = {"shape": (48, 48, 24), "spacing_mm": (2, 2, 3), "tissue_spacing_mm": 1.0}


def digests(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {
        str(p.relative_to(folder)): hashlib.md5(p.read_bytes()).hexdigest()
        for p in files
    }


def write(folder, kind, subjects=1, **more):
    what = {"kind": kind, "subjects": subjects, "seed": 1}
    return phantoms.write_cohort(folder, **what, **TINY, **more)


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return {k: write(root / k, k, 1 + (k == "source")) for k in phantoms.KINDS}


def pair(tree, subject="sub-001"):
    """Image and true labels of a subject."""
    (path,) = (tree / subject / "anat").glob("*.nii")
    home = tree / "derivatives/truth"
    truth = home / subject / "anat" / f"{subject}_dseg.nii"
    table = labeltables.read(home / "dseg.tsv")
    return volume.read_image(path), volume.read_labels(truth, table)


@pytest.mark.parametrize("kind", phantoms.KINDS)
def test_tree_is_read_as_a_cohort(trees, kind):
    modality = phantoms.KINDS[kind].modality
    cases = cohorts.read(trees[kind], "bids", (modality,))
    assert cohorts.table(trees[kind]) == TABLE
    assert [set(case.images) for case in cases] == [{modality}] * len(cases)
    image, truth = pair(trees[kind])
    volume.check_same_grid(image, truth, "image", "truth")
    assert image.spacing_mm == (2, 2, 3) and set(np.unique(truth.data)) == {0, 1, 2}


@pytest.mark.parametrize("kind", phantoms.KINDS)
def test_annotation_is_the_truth_or_absent(trees, kind):
    cases = datasets.read(trees[kind], "bids")
    assert all(bool(c.labels) == phantoms.KINDS[kind].annotated for c in cases)
    for case in cases:
        if case.labels:
            labels = datasets.load_labels(case)
            truth = pair(trees[kind], case.subject)[1]
            assert np.array_equal(labels.data, truth.data)


def medians(image, truth):
    return [float(np.median(image.data[truth.data == v])) for v in (0, 1, 2)]


def test_schwannoma_enhances_and_the_cochlea_is_dark_on_t1(trees):
    nothing, tumour, cochlea = medians(*pair(trees["source"]))
    assert tumour > 1.7 * nothing > 1.7 * cochlea


def test_cochlea_is_bright_on_t2_and_the_schwannoma_is_not(trees):
    nothing, tumour, cochlea = medians(*pair(trees["target"]))
    assert cochlea > 1.2 * tumour > 0.9 * nothing


def test_participants_tell_side_and_volumes_of_the_truth(trees):
    rows = pd.read_csv(trees["source"] / "participants.tsv", sep="\t")
    for row in rows.itertuples():
        truth = pair(trees["source"], row.participant_id)[1].data
        assert row.schwannoma_ml == pytest.approx(np.sum(truth == 1) * 0.012)
        assert row.schwannoma_ml == pytest.approx(row.schwannoma_volume_ml, rel=0.25)
        right = np.argwhere(truth == 1)[:, 0].mean() > 23.5
        assert row.side == ("right" if right else "left")
        assert row.koos in (1, 2, 3, 4)


def test_sidecar_tells_the_sequence(trees):
    (path,) = (trees["source"] / "sub-001").rglob("*.json")
    assert json.loads(path.read_text())["ContrastBolusIngredient"] == "GADOLINIUM"
    (path,) = (trees["target"] / "sub-001").rglob("*.json")
    about = json.loads(path.read_text())
    assert about["RepetitionTime"] == 0.0094 and "InversionTime" not in about


def test_same_seed_same_bytes_whatever_the_workers(trees, tmp_path):
    again = write(tmp_path / "x", "source", 2, workers=2)
    assert digests(again) == digests(trees["source"])


def test_subjects_do_not_depend_on_their_number(trees, tmp_path):
    one = digests(write(tmp_path / "x", "source"))
    both = digests(trees["source"])
    images = [name for name in one if name.endswith(".nii")]
    assert len(images) == 3 and all(one[n] == both[n] for n in images)
    first, second = (f"sub-00{k}/anat/sub-00{k}_T1ce.nii" for k in (1, 2))
    assert both[first] != both[second]


def test_no_person_is_in_two_cohorts(trees):
    path = "derivatives/truth/sub-001/anat/sub-001_dseg.nii"
    assert len({digests(tree)[path] for tree in trees.values()}) == len(trees)


def test_nothing_is_left_when_a_subject_fails(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("stop")

    monkeypatch.setattr(skullbase_heads, "render", fail)
    with pytest.raises(RuntimeError, match="stop"):
        write(tmp_path / "x", "source")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"kind": "sauce"}, "kind must be one of source, .* did you mean 'source'"),
        ({"subjects": 0}, "subjects must be at least 1, got 0"),
        ({"tissue_spacing_mm": 0.7}, "tissue_spacing_mm must divide"),
        ({"spacing_mm": 2.0}, r"spacing_mm must be three numbers \(x, y, z\), got 2.0"),
        ({"shape": (32, 48, 24)}, "shape must span"),
        ({"shape": (47, 47, 25), "tissue_spacing_mm": 1.0}, "shape must give an even"),
    ],
)
def test_bad_requests_are_refused(tmp_path, change, error):
    what = {"kind": "source", "subjects": 1, "seed": 1} | TINY | change
    with pytest.raises(ValueError, match=error):
        phantoms.write_cohort(tmp_path / "x", **what)
    assert not (tmp_path / "x").exists()


def test_existing_data_are_not_overwritten(trees):
    with pytest.raises(FileExistsError, match="must not exist yet"):
        write(trees["source"], "source")
