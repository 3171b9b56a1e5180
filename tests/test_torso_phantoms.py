"""Cohorts of torsos on disk: layout, bytes, whole or nothing, label maps."""

import csv
import hashlib

import nibabel as nib
import numpy as np
import pytest

from noisyseg import labeltables, torso_labelmaps, torso_phantoms, torsos, volume
from noisyseg import torso_tissues as ids

TINY = {"shape": (60, 44, 56), "spacing_mm": 6.0, "tissue_spacing_mm": 6.0}
FINER = TINY | {"tissue_spacing_mm": 3.0}
SHARP = {"shape": (120, 88, 112), "spacing_mm": 3.0, "tissue_spacing_mm": 3.0}


def digests(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {
        str(p.relative_to(folder)): hashlib.md5(p.read_bytes()).hexdigest()
        for p in files
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "torso"
    return torso_phantoms.write_cohort(folder, subjects=2, seed=1, **TINY)


@pytest.fixture
def label_map(tmp_path):
    """A box of liver with kidneys, aorta and oesophagus in TotalSegmentator ids."""
    data = np.zeros((60, 50, 60), np.uint8)
    data[34:50, 10:40, 10:50] = 5
    data[40:46, 8:10, 15:45] = 29
    data[44:54, 12:22, 20:40], data[6:16, 12:22, 20:40] = 2, 3
    data[24:30, 20:26, 5:55], data[18:23, 28:33, 30:55] = 52, 15
    data[10:20, 28:45, 10:25] = 20
    path = tmp_path / "map.nii.gz"
    volume.write(path, volume.Volume(data, np.diag([4.0, 4.0, 4.0, 1.0])))
    return path


def masks_of(tree, subject="s0000"):
    folder = tree / subject / "segmentations"
    paths = {name: folder / f"{name}.nii" for name in ids.STRUCTURES}
    return {n: np.asanyarray(nib.load(p).dataobj) for n, p in paths.items()}


def test_tree_has_the_layout_of_totalsegmentator(tree):
    names = set(digests(tree))
    expected = {"meta.csv", "dseg.tsv", "README"}
    for k in ("s0000", "s0001"):
        expected |= {f"{k}/ct.nii"}
        expected |= {f"{k}/segmentations/{n}.nii" for n in ids.STRUCTURES}
    assert names == expected
    table = labeltables.read(tree / "dseg.tsv")
    assert table.names == ("background", *ids.STRUCTURES)


def test_meta_names_every_subject(tree):
    rows = list(csv.DictReader((tree / "meta.csv").open(), delimiter=";"))
    assert next(iter(rows[0])) == "image_id"
    assert [row["image_id"] for row in rows] == ["s0000", "s0001"]
    assert {row["phase"] for row in rows} <= set(ids.PHASES)
    assert all(20 < int(row["age"]) < 90 and row["gender"] in "fm" for row in rows)


def test_nibabel_reads_grid_and_values(tree):
    image = nib.load(tree / "s0000/ct.nii")
    assert image.get_data_dtype() == np.int16 and image.shape == TINY["shape"]
    assert np.array_equal(np.diag(image.affine), [6, 6, 6, 1])
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    corner = torsos.origin_mm(TINY["shape"], 6.0)
    assert np.array_equal(image.affine[:3, 3], corner)
    masks = masks_of(tree)
    assert all(set(np.unique(m)) == {0, 1} for m in masks.values())
    left, right = (np.argwhere(masks[f"kidney_{s}"])[:, 0] for s in ("left", "right"))
    assert left.max() < right.min()


def test_same_seed_same_bytes_whatever_the_workers(tree, tmp_path):
    again = torso_phantoms.write_cohort(
        tmp_path / "x", subjects=2, seed=1, workers=2, **TINY
    )
    assert digests(again) == digests(tree)


def test_subjects_differ_and_do_not_depend_on_their_number(tree, tmp_path):
    one = torso_phantoms.write_cohort(tmp_path / "x", subjects=1, seed=1, **TINY)
    some, all_ = digests(one), digests(tree)
    assert all(some[n] == all_[n] for n in some if n.startswith("s0000"))
    assert len({v for k, v in all_.items() if k.endswith(".nii")}) == 10


def test_nothing_is_left_when_a_subject_fails(tmp_path, monkeypatch):
    def fail(rng):
        raise RuntimeError("stop")

    monkeypatch.setattr(torsos, "draw", fail)
    with pytest.raises(RuntimeError, match="stop"):
        torso_phantoms.write_cohort(tmp_path / "torso", subjects=2, seed=1, **TINY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (60, 44)}, "shape must be three even numbers"),
        ({"tissue_spacing_mm": 4.0}, "tissue_spacing_mm must divide"),
        ({"spacing_mm": 0.0}, "spacing_mm must be positive"),
        ({"subjects": 0}, "subjects must be at least 1"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, change, message):
    how = {"subjects": 1, "seed": 1, **TINY, **change}
    with pytest.raises(ValueError, match=message):
        torso_phantoms.write_cohort(tmp_path / "torso", **how)
    assert list(tmp_path.iterdir()) == []


def test_existing_data_are_not_overwritten(tree):
    with pytest.raises(FileExistsError, match="must not exist yet"):
        torso_phantoms.write_cohort(tree, subjects=1, seed=1, **TINY)


def test_label_map_keeps_its_organs(label_map, tmp_path):
    tree = torso_phantoms.write_from_labelmap(
        label_map, tmp_path / "x", seed=1, **SHARP
    )
    ml = {n: m.sum() * 3.0**3 / 1000 for n, m in masks_of(tree).items()}
    assert ml["kidney_left"] == pytest.approx(10 * 10 * 20 * 0.064, rel=0.1)
    assert ml["aorta"] == pytest.approx(6 * 6 * 50 * 0.064, rel=0.1)
    assert ml["esophagus"] == pytest.approx(5 * 5 * 25 * 0.064, rel=0.15)
    image = np.asanyarray(nib.load(tree / "s0000/ct.nii").dataobj)
    assert image[0, 0, 0] < -950 and np.sum(np.abs(image + 106) < 40) > 500


def test_label_map_gets_skin_fat_and_muscle(label_map, rng):
    tissues = torso_labelmaps.read_tissues(label_map, (120, 88, 112), 3.0, rng)
    lines = tissues[50:70, :44, 50:60].transpose(0, 2, 1).reshape(200, 44)
    layers = [list(dict.fromkeys(line)) for line in lines.tolist()]  # from behind
    assert {order[1] for order in layers} == {ids.SKIN, ids.FAT}
    assert np.mean([order[1] == ids.SKIN for order in layers]) > 0.5
    assert all(order.index(ids.FAT) < order.index(ids.MUSCLE) for order in layers)


def test_subjects_of_a_label_map_are_bent_differently(label_map, tmp_path):
    tree = torso_phantoms.write_from_labelmap(
        label_map, tmp_path / "x", seed=1, subjects=2, bend_mm=4.0, **FINER
    )
    a, b = (masks_of(tree, k)["kidney_left"] for k in ("s0000", "s0001"))
    assert not np.array_equal(a, b) and 0.7 < a.sum() / b.sum() < 1.4


def test_every_label_has_a_tissue():
    table = torso_labelmaps.coding()
    assert set(table) == set(range(118))
    parts = {2: "kidney_right", 3: "kidney_left", 15: "esophagus", 52: "aorta"}
    named = {v: ids.STRUCTURE[t] for v, t in table.items() if ids.STRUCTURE[t]}
    assert named == parts


def test_unknown_label_names_file_and_value(tmp_path):
    data = np.full((8, 8, 8), 150, np.int16)
    volume.write(tmp_path / "a.nii", volume.Volume(data, np.eye(4)))
    with pytest.raises(ValueError, match=r"a\.nii must hold labels .* \[150\]"):
        torso_phantoms.write_from_labelmap(
            tmp_path / "a.nii", tmp_path / "x", seed=1, **TINY
        )
    assert not (tmp_path / "x").exists()
