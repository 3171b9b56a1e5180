"""Cohorts on disk: layout, bytes, whole or nothing, label maps as anatomies."""

import hashlib
import json

import numpy as np
import pytest

from noisyseg import heads, labelmaps, labeltables, phantoms, physics, tissues, volume

TINY = {"shape": (48, 60, 60), "spacing_mm": 4.0, "tissue_spacing_mm": 2.0}


def digests(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {
        str(p.relative_to(folder)): hashlib.md5(p.read_bytes()).hexdigest()
        for p in files
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "head"
    return phantoms.write_cohort(folder, subjects=2, seed=1, **TINY)


@pytest.fixture
def maps(tmp_path):
    """Two whole-head maps in FreeSurfer ids: white matter in grey, bone, skin."""
    data = np.zeros((40, 48, 44), np.int16)
    for margin, value in ((4, 511), (8, 515), (10, 24), (12, 3), (15, 2)):
        data[margin:-margin, margin:-margin, margin:-margin] = value
    data[6, 20, 20] = 506
    for name in ("a.nii.gz", "b.nii"):
        affine = np.diag([-4.0, 4.0, 4.0, 1.0])
        volume.write(tmp_path / "maps" / name, volume.Volume(data, affine))
    return tmp_path / "maps"


def test_tree_has_the_bids_layout(tree):
    names = set(digests(tree))
    for k in ("sub-01", "sub-02"):
        for suffix in ("T1w", "T2w"):
            assert f"{k}/anat/{k}_{suffix}.nii" in names
            assert f"{k}/anat/{k}_{suffix}.json" in names
        assert f"derivatives/truth/{k}/anat/{k}_dseg.nii" in names
    assert labeltables.read(tree / "derivatives/truth/dseg.tsv") == labeltables.HEAD
    about = json.loads((tree / "dataset_description.json").read_text())
    assert about["DatasetType"] == "raw"
    assert len((tree / "participants.tsv").read_text().splitlines()) == 3


def test_images_and_truth_share_a_grid(tree):
    image = volume.read_image(tree / "sub-01/anat/sub-01_T1w.nii")
    path = tree / "derivatives/truth/sub-01/anat/sub-01_dseg.nii"
    truth = volume.read_labels(path, labeltables.HEAD)
    volume.check_same_grid(image, truth, "image", "truth")
    assert set(np.unique(truth.data)) == set(range(9))
    assert image.spacing_mm == (4.0, 4.0, 4.0)


def test_same_seed_same_bytes_whatever_the_workers(tree, tmp_path):
    again = phantoms.write_cohort(tmp_path / "x", subjects=2, seed=1, workers=2, **TINY)
    assert digests(again) == digests(tree)


def test_subjects_differ_and_do_not_depend_on_their_number(tree, tmp_path):
    one = digests(phantoms.write_cohort(tmp_path / "x", subjects=1, seed=1, **TINY))
    both = digests(tree)
    assert one["sub-01/anat/sub-01_T1w.nii"] == both["sub-01/anat/sub-01_T1w.nii"]
    assert len({v for k, v in both.items() if k.endswith(".nii")}) == 6


def test_nothing_is_left_when_a_subject_fails(tmp_path, monkeypatch):
    real, count = heads.draw, iter(range(9))

    def fail_on_the_second(rng):
        if next(count) == 1:
            raise RuntimeError("stop")
        return real(rng)

    monkeypatch.setattr(heads, "draw", fail_on_the_second)
    with pytest.raises(RuntimeError, match="stop"):
        phantoms.write_cohort(tmp_path / "head", subjects=2, seed=1, **TINY)
    assert list(tmp_path.iterdir()) == []


def test_existing_data_are_not_overwritten(tree):
    with pytest.raises(FileExistsError, match="must not exist yet"):
        phantoms.write_cohort(tree, subjects=1, seed=1, **TINY)


def heads_from(maps, folder, **how):
    tree = phantoms.write_from_labelmaps(
        maps, folder, coding="synthseg", seed=1, **how, **TINY
    )
    return [volume.read_labels(p).data for p in sorted(tree.rglob("*_dseg.nii"))]


def test_label_maps_become_heads_as_they_are(maps, tmp_path):
    truth = heads_from(maps, tmp_path / "out")
    assert len(truth) == 2 and np.array_equal(*truth)  # the same map twice
    assert set(np.unique(truth[0])) >= {0, 1, 2, 3, 4, 5}
    assert np.sum(truth[0] == 1) == pytest.approx(10 * 18 * 14, rel=0.05)


def test_more_heads_than_maps_are_bent_differently(maps, tmp_path):
    truth = heads_from(maps, tmp_path / "out", subjects=3)
    assert len(truth) == 3
    assert not np.array_equal(truth[0], truth[1])
    assert not np.array_equal(truth[0], truth[2])


def test_unknown_label_names_file_and_value(maps, tmp_path):
    data = np.full((8, 8, 8), 999, np.int16)
    volume.write(maps / "c.nii", volume.Volume(data, np.eye(4)))
    with pytest.raises(ValueError, match=r"c\.nii must hold labels .* \[999\]"):
        phantoms.write_from_labelmaps(
            maps, tmp_path / "out", coding="synthseg", seed=1, **TINY
        )
    assert not (tmp_path / "out").exists()


def test_unknown_coding_and_empty_folder(maps, tmp_path):
    with pytest.raises(ValueError, match="coding must be one of"):
        phantoms.write_from_labelmaps(maps, tmp_path / "x", coding="fs", seed=1, **TINY)
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="must hold label maps"):
        phantoms.write_from_labelmaps(
            tmp_path / "none", tmp_path / "x", coding="head", seed=1, **TINY
        )


def test_own_truth_can_be_rendered_again(tree, tmp_path):
    source = tree / "derivatives/truth/sub-01/anat"
    again = phantoms.write_from_labelmaps(
        source, tmp_path / "x", coding="head", seed=1, **TINY
    )
    old = volume.read_labels(source / "sub-01_dseg.nii").data
    new = volume.read_labels(next(again.rglob("*_dseg.nii"))).data
    ratio = np.bincount(new.ravel())[1:5] / np.bincount(old.ravel())[1:5]
    assert np.allclose(ratio, 1, atol=0.1)


def test_every_coding_uses_known_tissues():
    for table in labelmaps.CODINGS.values():
        assert table[0] == tissues.OUTSIDE
        assert max(table.values()) < len(physics.TISSUES)


def test_tissue_spacing_must_divide(tmp_path):
    bad = TINY | {"tissue_spacing_mm": 3.0}
    with pytest.raises(ValueError, match="tissue_spacing_mm must divide"):
        phantoms.write_cohort(tmp_path / "x", subjects=1, seed=1, **bad)
