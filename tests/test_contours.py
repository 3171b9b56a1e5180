import warnings

import numpy as np
import pytest
from test_totalsegmentator import box, truncate, write_map, write_mask, write_scan

from noisyseg import (
    contours,
    evaluation,
    labelnoise,
    params,
    thresholds,
    totalsegmentator,
)
from noisyseg.sections import Compute, ContourNoise

SD_MM = [1.0, 2.0]


def settings(folder, *, missing="stop", seed=5):
    """The parameters of a small cohort of scans in a folder."""
    loaded = params.load("params.yaml", "tiny")
    update = {"folder": str(folder), "missing": missing}
    cohort = loaded.cohorts["torso"].model_copy(update=update)
    noise = ContourNoise(
        structures=["aorta", "kidney_left"], correlation_mm=3.0, sd_mm=SD_MM, seed=seed
    )
    update = {
        "compute": Compute(workers=1, threads=1, device="cpu"),
        "cohorts": loaded.cohorts | {"torso": cohort},
        "contours": {"torso": noise},
    }
    return loaded.model_copy(update=update)


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Parameters of three equal scans; the working directory is empty."""
    for name in ("s0", "s1", "s2"):
        masks = {"aorta": box(2, 6), "kidney_left": box(7, 13)}
        write_scan(tmp_path / "data", name, **masks)
    loaded = settings(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return loaded


def files(folder=contours.CONTOURS):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.*")}


def test_masks_are_written_for_every_scan_structure_and_strength(found):
    contours.deform_cohort(found, "torso")
    masks = {
        f"torso/a-{sd}/{case}/segmentations/{structure}.nii.gz"
        for sd in (1, 2)
        for case in ("s0", "s1", "s2")
        for structure in ("aorta", "kidney_left")
    }
    written = {name for name in files() if name.endswith("gz")}
    assert written == masks and set(files()) - masks == {"torso/cases.csv"}
    scans = contours.scans_with(found, "torso", "aorta")
    assert [scan.name for scan in scans] == ["s0", "s1", "s2"]


def test_a_replay_gives_the_same_bytes_and_another_seed_others(found, tmp_path):
    contours.deform_cohort(found, "torso")
    first = files()
    contours.deform_cohort(found, "torso")
    assert files() == first
    noise = found.contours["torso"].model_copy(update={"seed": 6})
    other = found.model_copy(update={"contours": {"torso": noise}})
    contours.deform_cohort(other, "torso")
    changed = {name for name, content in files().items() if content != first[name]}
    assert changed == set(first) - {"torso/cases.csv"}


def test_one_draw_deforms_all_structures_at_all_strengths(found):
    contours.deform_cohort(found, "torso")
    scan = totalsegmentator.read("data")[1]
    grid = totalsegmentator.load_ct(scan)
    fields = contours.draw(found.contours["torso"], "s1", grid)
    for structure in ("aorta", "kidney_left"):
        mask = totalsegmentator.load_mask(scan, structure).data
        for sd_mm in SD_MM:
            there = contours.noisy(scan, "torso", sd_mm)
            noisy = totalsegmentator.load_mask(there, structure)
            expected = labelnoise.deform(mask, fields, sd_mm, (1, 1, 1))
            assert (noisy.data == expected).all() and (expected != mask).any()
            assert (noisy.affine == grid.affine).all()


def test_equal_scans_of_other_cases_have_other_draws(found):
    contours.deform_cohort(found, "torso")
    masks = [
        totalsegmentator.load_mask(contours.noisy(scan, "torso", 2.0), "aorta").data
        for scan in totalsegmentator.read("data")
    ]
    assert (masks[0] != masks[1]).any() and (masks[1] != masks[2]).any()


def test_a_scan_does_not_depend_on_which_others_there_are(found, tmp_path):
    contours.deform_cohort(found, "torso")
    first = files()
    (tmp_path / "data/s0").rename(tmp_path / "elsewhere")
    (tmp_path / "results").rename(tmp_path / "before")
    contours.deform_cohort(found, "torso")
    rest = {name: first[name] for name in files() if name.endswith("gz")}
    assert {n: c for n, c in files().items() if n.endswith("gz")} == rest
    assert len(rest) == 8


def test_a_damaged_scan_stops_with_one_line(found):
    truncate(totalsegmentator.read("data")[1].ct, None)
    with pytest.raises(ValueError, match=r"got: s1 aorta: .*ct\.nii\.gz") as error:
        contours.deform_cohort(found, "torso")
    assert "\n" not in str(error.value) and "missing: skip" in str(error.value)
    assert not contours.CONTOURS.exists()


def test_a_damaged_scan_is_left_out_with_a_warning(found):
    truncate(totalsegmentator.read("data")[1].ct, None)
    cohort = found.cohorts["torso"].model_copy(update={"missing": "skip"})
    found = found.model_copy(update={"cohorts": {"torso": cohort}})
    with pytest.warns(UserWarning, match=r"s1 .*left out") as told:
        contours.deform_cohort(found, "torso")
    assert len(told) == 2  # one for each structure
    for structure in ("aorta", "kidney_left"):
        scans = contours.scans_with(found, "torso", structure)
        assert [scan.name for scan in scans] == ["s0", "s2"]
    assert not any("s1" in name for name in files())


def test_an_empty_structure_is_left_out_and_others_are_kept(found):
    scan = totalsegmentator.read("data")[0]
    write_mask(scan.segmentations / "aorta.nii.gz", box(0, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is no damage
        contours.deform_cohort(found, "torso")
    written = {name for name in files() if "/s0/" in name and "/a-1/" in name}
    assert written == {"torso/a-1/s0/segmentations/kidney_left.nii.gz"}
    aortas = contours.scans_with(found, "torso", "aorta")
    kidneys = contours.scans_with(found, "torso", "kidney_left")
    assert (len(aortas), len(kidneys)) == (2, 3)


def test_a_map_of_all_structures_gives_the_masks_that_a_folder_does(found, tmp_path):
    contours.deform_cohort(found, "torso")
    first = files()
    home = tmp_path / "data/s2"
    (home / "segmentations").rename(tmp_path / "masks")
    labels = 52 * box(2, 6) + 3 * box(7, 13)
    write_map(home / "segmentations.nii.gz", labels)
    contours.deform_cohort(found, "torso")
    assert files() == first


# --- what the theory says ---


def ball(radius_vox, reach_vox):
    at = np.arange(-reach_vox, reach_vox + 1.0)
    return sum(np.meshgrid(at**2, at**2, at**2)) <= radius_vox**2


@pytest.mark.parametrize(
    ("ratio", "threshold", "dice", "dice_half"),
    [
        (0.2, 0.382, 0.765, 0.754),
        (0.4, 0.277, 0.555, 0.464),
        (0.6, 0.193, 0.386, 0.075),
    ],
)
def test_thresholds_of_a_ball(ratio, threshold, dice, dice_half):
    """A ball blurred by a Gaussian of SD a, for a / radius."""
    sd_vox = 12 * ratio
    prob = labelnoise.marginal(ball(12, 12 + int(4 * sd_vox)), sd_vox, (1, 1, 1))
    assert thresholds.dice_optimal(prob) == pytest.approx((threshold, dice), abs=0.01)
    half = thresholds.expected_dice(prob, 0.5)
    assert half == pytest.approx(dice_half, abs=0.01)


def test_draws_agree_with_the_optimal_threshold_better_than_with_a_half(rng):
    """At a / R = .5 the theory has .46 against .28."""
    mask = ball(8, 20)
    prob = labelnoise.marginal(mask, 4.0, (1, 1, 1))
    cuts, scores = (thresholds.dice_optimal(prob)[0], 0.5), []
    for _ in range(40):
        fields = labelnoise.draw_fields(3, mask.shape, (1, 1, 1), 4.0, rng)
        noisy = labelnoise.deform(mask, fields, 4.0, (1, 1, 1))
        scores.append([evaluation.dice(noisy, prob >= t) for t in cuts])
    star, half = np.mean(scores, 0)
    assert star > half + 0.1
    assert star == pytest.approx(0.464, abs=0.05)
    assert half == pytest.approx(0.283, abs=0.05)


def test_a_case_may_be_called_by_a_number(found, tmp_path):
    for i, scan in enumerate(totalsegmentator.read("data")):
        scan.ct.parent.rename(tmp_path / f"data/00{i}")
    contours.deform_cohort(found, "torso")
    scans = contours.scans_with(found, "torso", "aorta")
    assert [scan.name for scan in scans] == ["000", "001", "002"]


def test_a_cohort_that_shows_nothing_says_so(found):
    for scan in totalsegmentator.read("data"):
        for structure in ("aorta", "kidney_left"):
            write_mask(scan.segmentations / f"{structure}.nii.gz", box(0, 0))
    contours.deform_cohort(found, "torso")
    assert contours.scans_with(found, "torso", "aorta") == []
