"""Cohorts with lesions on disk: layout, bytes, annotation against truth, errors."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from noisyseg import (
    cohorts,
    heads,
    labeltables,
    lesion_cohorts,
    lesion_phantoms,
    volume,
)

TINY = {"shape": (48, 60, 52), "spacing_mm": 4.0, "tissue_spacing_mm": 2.0}


def digests(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {
        str(p.relative_to(folder)): hashlib.md5(p.read_bytes()).hexdigest()
        for p in files
    }


def write(folder, kind, subjects=2, **more):
    what = {"kind": kind, "subjects": subjects, "seed": 1}
    return lesion_phantoms.write_cohort(folder, **what, **TINY, **more)


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Cohorts of each kind, by kind; two subjects where a test compares them."""
    root, two = tmp_path_factory.mktemp("data"), ("wmh", "tumour")
    return {
        kind: write(root / kind, kind, subjects=1 + (kind in two))
        for kind in lesion_cohorts.KINDS
    }


def label_pair(tree, subject):
    """Truth and annotation of a subject with their tables."""
    pair = []
    for part in ("truth", "annotation"):
        home = tree / "derivatives" / part
        table = labeltables.read(home / "dseg.tsv")
        path = home / subject / "anat" / f"{subject}_dseg.nii"
        pair.append((volume.read_labels(path, table).data, table))
    return pair


@pytest.mark.parametrize("kind", lesion_cohorts.KINDS)
def test_tree_is_read_as_a_cohort(trees, kind):
    what = lesion_cohorts.KINDS[kind]
    cases = cohorts.read(trees[kind], "bids", what.modalities)
    assert cohorts.table(trees[kind]) == what.truth
    for case in cases:
        truth = volume.read_labels(case.truth, what.truth)
        for path in case.images.values():
            image = volume.read_image(path)
            volume.check_same_grid(image, truth, "image", "truth")
    about = json.loads((trees[kind] / "dataset_description.json").read_text())
    assert about["DatasetType"] == "raw"


@pytest.mark.parametrize("kind", lesion_cohorts.KINDS)
def test_annotation_says_what_the_truth_says_where_it_speaks(trees, kind):
    (truth, full), (labels, table) = label_pair(trees[kind], "sub-01")
    assert table == lesion_cohorts.KINDS[kind].annotation
    for value, name in enumerate(table.names[1:], start=1):
        mask = truth == full.value(name)
        if name == "WM" and "WMH" not in table.names and "WMH" in full.names:
            mask |= truth == full.value("WMH")
        assert np.array_equal(labels == value, mask), name


@pytest.mark.parametrize("kind", lesion_cohorts.KINDS)
def test_truth_has_every_class_that_the_heads_have(trees, kind):
    truth = label_pair(trees[kind], "sub-01")[0][0]
    table = lesion_cohorts.KINDS[kind].truth
    healthy = lesion_cohorts.KINDS[kind].lesion == "none"
    values = range(4) if healthy else range(len(table))
    assert set(np.unique(truth)) == set(values)


def test_flair_is_bright_in_hyperintensities_and_dark_in_fluid(trees):
    rows = pd.read_csv(trees["wmh"] / "participants.tsv", sep="\t")
    subject = rows["participant_id"][rows["WMH_ml"].idxmax()]
    stem = trees["wmh"] / subject / "anat" / subject
    image = volume.read_image(f"{stem}_FLAIR.nii").data
    truth = label_pair(trees["wmh"], subject)[0][0]
    fluid, white, lesion = (np.median(image[truth == v]) for v in (1, 3, 4))
    assert lesion > 1.15 * white > 1.5 * fluid


def test_sites_are_taken_in_turn_and_told(trees):
    rows = pd.read_csv(trees["wmh"] / "participants.tsv", sep="\t")
    assert list(rows["site"]) == ["utrecht", "singapore"]
    sidecars = sorted(trees["wmh"].glob("sub-*/anat/*_FLAIR.json"))
    timing = [json.loads(p.read_text())["RepetitionTime"] for p in sidecars]
    assert timing == [11.0, 9.0]


def test_participants_tell_the_volumes_of_the_truth(trees):
    rows = pd.read_csv(trees["tumour"] / "participants.tsv", sep="\t")
    truth = label_pair(trees["tumour"], "sub-02")[0][0]
    assert rows["tumour_ml"][1] == pytest.approx(np.sum(truth == 5) * 0.064)
    assert rows["lesion_core_ml"][1] == pytest.approx(rows["tumour_ml"][1], rel=0.1)


def test_same_seed_same_bytes_whatever_the_workers(trees, tmp_path):
    again = write(tmp_path / "x", "wmh", workers=2)
    assert digests(again) == digests(trees["wmh"])


def test_subjects_do_not_depend_on_their_number(trees, tmp_path):
    one = digests(write(tmp_path / "x", "tumour", subjects=1))
    both = digests(trees["tumour"])
    images = [name for name in one if name.endswith(".nii")]
    assert len(images) == 6 and all(one[n] == both[n] for n in images)
    assert both["sub-01/anat/sub-01_T1w.nii"] != both["sub-02/anat/sub-02_T1w.nii"]


def test_no_head_is_in_two_cohorts(trees):
    path = "derivatives/truth/sub-01/anat/sub-01_dseg.nii"
    assert len({digests(tree)[path] for tree in trees.values()}) == len(trees)


def test_nothing_is_left_when_a_subject_fails(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("stop")

    monkeypatch.setattr(heads, "render", fail)
    with pytest.raises(RuntimeError, match="stop"):
        write(tmp_path / "x", "tumour", subjects=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"kind": "stroke"}, "kind must be one of tissue, wmh, .* got 'stroke'"),
        ({"sites": ["singapore"]}, "sites must take IR .* got 'singapore'; .* utrecht"),
        ({"sites": ["mars"]}, "sites must take T1w and FLAIR and IR .* got 'mars'"),
        ({"subjects": 0}, "subjects must be at least 1, got 0"),
        ({"tissue_spacing_mm": 3.0}, "tissue_spacing_mm must divide"),
    ],
)
def test_bad_requests_are_refused(tmp_path, change, error):
    what = {"kind": "tissue", "subjects": 1, "seed": 1} | TINY | change
    with pytest.raises(ValueError, match=error):
        lesion_phantoms.write_cohort(tmp_path / "x", **what)
    assert not (tmp_path / "x").exists()


def test_sites_must_be_a_list(tmp_path):
    with pytest.raises(TypeError, match="sites must be a list of names, got 'utrecht'"):
        write(tmp_path / "x", "tissue", sites="utrecht")


def test_existing_data_are_not_overwritten(trees):
    with pytest.raises(FileExistsError, match="must not exist yet"):
        write(trees["wmh"], "wmh")
