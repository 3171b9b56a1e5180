"""Study `mind` on small trees: a labelled modality, another one without labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from noisyseg import (
    borrowing,
    crossmoda,
    decisions,
    domain_cases,
    domain_scores,
    domains,
    params,
    spreads,
    thresholds,
    training,
    volume,
)
from noisyseg.skullbase_tissues import TABLE
from noisyseg.volume import Volume

SHAPE, AFFINE = (36, 28, 16), np.diag([2.0, 2.0, 3.0, 1.0])
COHORTS = {  # modality, where its labels lie, sides of the tumours
    "source": ("T1ce", "annotation", "llrrr"),
    "target": ("T2w", "truth", "lr"),
    "target_test": ("T2w", "annotation", "lr"),
}
QUICK = {"affine_levels": [[4, 1, 3]], "levels": [], "refinements": 0}


def anatomy(side, rng):
    """A tumour on one side (left is low x), a cochlea on each."""
    x, y, z = np.indices(SHAPE)
    labels = np.zeros(SHAPE, np.uint8)
    for at in (8, 27):
        labels[at - 1 : at + 2, 13:16, 7:9] = 2
    at = 12 if side == "l" else 23
    labels[(x - at) ** 2 + (y - 15) ** 2 + 2 * (z - 8) ** 2 < 10] = 1
    return np.roll(labels, rng.integers(-1, 2, 2), (0, 1))


def write_case(home, name, modality, part, side, rng):
    labels = anatomy(side, rng)
    bright = np.array([1, 3, 2] if modality == "T1ce" else [2, 1, 4])
    image = bright[labels] + 0.1 * rng.standard_normal(SHAPE)
    image[[0, 1, 2, -3, -2, -1]] = 0  # air
    path = home / name / f"anat/{name}_{modality}.nii"
    volume.write(path, Volume(image.astype(np.float32), AFFINE))
    path = home / f"derivatives/{part}/{name}/anat/{name}_dseg.nii"
    volume.write(path, Volume(labels, AFFINE))


@pytest.fixture
def loaded(tmp_path, monkeypatch, rng):
    """The study at tiny scale with three arms, its data in the working folder."""
    found = params.load(scale="tiny")
    monkeypatch.chdir(tmp_path)
    for name, (modality, part, sides) in COHORTS.items():
        for k, side in enumerate(sides):
            write_case(tmp_path / name, f"sub-{k}", modality, part, side, rng)
        for folder in ("annotation", "truth"):
            TABLE.write(tmp_path / name / "derivatives" / folder / "dseg.tsv")
    cohorts = {
        name: found.cohorts[name].model_copy(update={"folder": name.split("_truth")[0]})
        for name in (*COHORTS, "target_truth")
    }
    how = {"registration": QUICK}
    propagation = {k: v.model_copy(update=how) for k, v in found.propagation.items()}
    arms = {name: found.mind.arms[name] for name in ("raw", "noisy", "truth")}
    update = {"shape": (34, 14, 10), "arms": arms}
    update = {"mind": found.mind.model_copy(update=update), "cohorts": cohorts}
    compute = found.compute.model_copy(update={"workers": 1, "device": "cpu"})
    update |= {"propagation": propagation, "compute": compute}
    return found.model_copy(update=update)


def changed(loaded, section, **change):
    """The same parameters with other values in one section."""
    if section in loaded.propagation:
        other = loaded.propagation[section].model_copy(update=change)
        return loaded.model_copy(update={"propagation": {section: other}})
    other = getattr(loaded, section).model_copy(update=change)
    return loaded.model_copy(update={section: other})


# --- labels that are borrowed ---


def test_half_of_the_atlases_have_their_tumour_on_either_side(loaded):
    four = changed(loaded, "target", atlases=4)
    found = borrowing.choose_atlases(four, four.propagation["target"])
    assert [side for _, side in found.values()] == ["left", "left", "right", "right"]
    assert set(found) > {"sub-0", "sub-1"}  # the only two on the left
    again = borrowing.choose_atlases(four, four.propagation["target"])
    assert list(found) == list(again)


def test_more_atlases_than_a_side_has_are_refused(loaded):
    six = changed(loaded, "target", atlases=6)
    message = r"atlases must be at most .* got 6 of 2 with schwannoma on the left; take"
    with pytest.raises(ValueError, match=message):
        borrowing.choose_atlases(six, six.propagation["target"])


def test_borrowed_labels_lie_on_the_scans_and_say_who_was_right(loaded):
    borrowing.propagate_cohort(loaded, "target")
    for subject in ("sub-0", "sub-1"):
        for kind in ("staple", "vote", "local"):
            labels = borrowing.read_fused("target", subject, kind)
            assert labels.shape == SHAPE and np.allclose(labels.affine, AFFINE)
            assert np.count_nonzero(labels.data == 2) > 10  # atlases agree on cochleas
    raters = pd.read_csv("results/propagation/target/raters.csv")
    assert raters.groupby(["case", "label"]).size().tolist() == [2] * 4
    assert set(raters["side"]) == {"left", "right"}


def test_what_earlier_settings_left_behind_goes(loaded):
    borrowing.propagate_cohort(loaded, "target")
    borrowing.propagate_cohort(changed(loaded, "target", scans=1), "target")
    found = sorted(p.name for p in borrowing.PROPAGATED.glob("target/*"))
    assert found == ["raters.csv", "sub-0"]
    with pytest.raises(FileNotFoundError, match="sub-1 of cohort target must have bor"):
        borrowing.read_fused("target", "sub-1", "staple")


def test_an_atlas_whose_labels_end_up_elsewhere_is_a_rater_who_says_nothing(loaded):
    settings = changed(loaded, "target", margin_vox=0).propagation["target"]
    rng = np.random.default_rng(0)
    image = Volume(rng.random((12, 12, 12), np.float32), np.eye(4))
    raters = np.zeros((3, 12, 12, 12), np.uint8)
    raters[1:, 4:8, 4:8, 4:8] = 1
    found, table = borrowing.fuse(image, raters, [image] * 3, settings)
    assert all(np.array_equal(labels, raters[1]) for labels in found.values())
    sensitivity = table[table["label"] == 1]["sensitivity"]
    assert sensitivity.round(6).tolist() == [0, 1, 1]
    assert table[table["label"] == 2]["sensitivity"].isna().all()


# --- the crop ---


def test_the_crop_holds_all_annotations_of_the_source(loaded):
    crop = domains.choose_crop(loaded)
    for case in domain_cases.source_cases(loaded)[0]:
        labels = domain_cases.load_labels(case, loaded.mind.classes)
        cut = crop.cut(labels, order=0)
        assert cut.shape == (34, 14, 10)
        assert np.count_nonzero(cut.data) == np.count_nonzero(labels.data)
        back = crossmoda.restore(cut, labels)
        assert np.array_equal(back.data, labels.data)


def test_a_crop_that_would_lose_annotations_is_refused(loaded):
    small = changed(loaded, "mind", shape=(20, 14, 10))
    with pytest.raises(ValueError, match=r"mind.shape must hold all .* take more"):
        domains.choose_crop(small)


# --- learning ---


def test_cases_that_watch_are_neither_learned_from_nor_atlases(loaded):
    seen, watched = domain_cases.source_cases(loaded)
    assert [c.subject for c in watched] == ["sub-4"] and len(seen) == 4
    assert domains.taught(loaded, "source", "reference") == seen
    four = changed(loaded, "target", atlases=4)
    found = borrowing.choose_atlases(four, four.propagation["target"])
    assert set(found) == {c.subject for c in seen}


def test_the_truth_is_learned_of_the_scans_that_borrow(loaded):
    one = changed(loaded, "target", scans=1)
    assert [c.subject for c in domains.taught(one, "target", "staple")] == ["sub-0"]
    (twin,) = domains.taught(one, "target_truth", "reference")
    assert twin.subject == "sub-0" and "truth" in str(twin.labels["reference"])


def test_the_image_is_that_of_the_cohorts_modality(loaded):
    name = "target/sub-0/anat/sub-0"
    other = volume.read_image(f"{name}_T2w.nii")
    volume.write(f"{name}_T1w.nii", other.with_data(-other.data))  # first by name
    case = domain_cases.cases_of(loaded, "target", labelled=False)[0]
    assert np.array_equal(domain_cases.load_image(case).data, other.data)


def test_weights_are_inverse_roots_of_voxel_counts():
    labels = [torch.tensor([0] * 60 + [1] * 4), torch.tensor([0] * 40 + [2, 255])]
    weights = domains.weigh_classes(labels, 4, -0.5)
    raw = np.array([0.1, 0.5, 1, 1])  # of 100, 4 and 1 voxels; the absent as of one
    np.testing.assert_allclose(weights, raw / raw.sum())


def test_undoing_the_weights_gives_the_posterior_back(rng):
    posterior = rng.dirichlet([1, 1, 1], (4, 5)).transpose(2, 0, 1)
    weights = [0.05, 0.25, 0.7]
    trained = posterior * np.reshape(weights, (3, 1, 1))
    trained /= trained.sum(0)
    np.testing.assert_allclose(decisions.unweighted(trained, weights), posterior)


def test_the_cut_of_one_structure_is_its_dice_optimal_mask(rng):
    prob = rng.random((6, 7))
    three = np.stack([1 - prob, prob, np.zeros_like(prob)])
    mask = prob >= thresholds.dice_optimal(prob)[0]
    assert np.array_equal(decisions.dice_optimal(three), mask)


def test_who_knows_the_truth_has_dice_1(loaded, monkeypatch):
    crop = domains.choose_crop(loaded)
    (case, _) = domain_cases.cases_of(loaded, "target_test")
    truth = crop.cut(domain_cases.load_labels(case, loaded.mind.classes), order=0).data
    known = np.stack([truth == c for c in range(3)]).astype(np.float32)
    monkeypatch.setattr(domain_scores, "predict", lambda *_: known)
    about = {"loss": {"class_weights": [0.2, 0.3, 0.5]}}
    monkeypatch.setattr(training, "describe", lambda _: about)
    found = domain_scores.score_networks(loaded, "target_test", case, crop)
    assert len(found) == 3 * 2 * 3 and (found["value"] == 1).all()


def test_the_study_trains_and_is_scored(loaded):
    for cohort in ("target", "target_test"):
        borrowing.propagate_cohort(loaded, cohort)
    domains.train(loaded)
    for arm, channels in {"raw": 1, "noisy": 12, "truth": 12}.items():
        about = training.describe(domains.Run(arm, 0).folder)
        assert about["network"]["in_channels"] == channels
        assert sum(about["loss"]["class_weights"]) == pytest.approx(1)
    scores = domain_scores.evaluate(loaded)
    arms = scores.groupby("cohort")["arm"].unique().map(set)
    networks = {a + cut for a in ("raw", "noisy", "truth") for cut in ("", "_star")}
    labels = {f"labels_{kind}" for kind in ("staple", "vote", "local", "single")}
    assert arms["source"] == networks and arms["target"] == labels
    assert arms["target_test"] == networks | labels
    assert scores["value"].between(0, 1).all()
    assert (
        scores.query("cohort == 'target_test' and arm == 'raw'")["case"].nunique() == 2
    )


def as_distributed(name, first, ending):
    """A tree's scans in the names of crossMoDA, their slices of other thicknesses."""
    part = COHORTS[name][1]
    for k, image in enumerate(sorted(Path(name).glob("sub-*/anat/*.nii"))):
        labels = next(
            Path(name).glob(f"derivatives/{part}/{image.parts[1]}/anat/*.nii")
        )
        affine = np.diag([2, 2, 3 - 0.5 * (k % 2), 1])
        for path, what in ((image, ending), (labels, "Label")):
            data = volume.read_image(path).data.astype(
                np.int16 if path is image else np.uint8
            )
            place = Path(f"{name}_cm/crossmoda_{first + k}_{what}.nii.gz")
            volume.write(place, Volume(data[: 36 - k % 2], affine))
    return f"{name}_cm"


def test_the_study_runs_on_files_as_the_challenge_distributes_them(loaded):
    cohorts = dict(loaded.cohorts)
    for name, first, ending in (
        ("source", 1, "ceT1"), ("target", 106, "hrT2"), ("target_test", 211, "hrT2"),
    ):  # fmt: skip
        reader = "crossmoda_source" if name == "source" else "crossmoda_target"
        where = {"folder": as_distributed(name, first, ending), "reader": reader}
        cohorts[name] = loaded.cohorts[name].model_copy(update=where)
    Path("target_cm/crossmoda_106_Label.nii.gz").unlink()
    found = changed(loaded, "target", truth=None).model_copy(
        update={"cohorts": cohorts}
    )
    arms = {"noisy": loaded.mind.arms["noisy"]}
    found = changed(found, "mind", shape=(34, 14, 12), arms=arms)
    borrowing.propagate_cohort(found, "target")
    domains.train(found)
    scores = domain_scores.evaluate(found)
    assert set(scores["case"]) == {"crossmoda_5", "crossmoda_211", "crossmoda_212"}
    assert scores["value"].notna().all()


def test_a_misspelt_loss_costs_no_training(loaded):
    arm = loaded.mind.arms["raw"].model_copy(update={"loss": {"name": "cros_entropy"}})
    with pytest.raises(
        ValueError, match=r"mind.arms.raw: loss must be .* did you mean"
    ):
        domains.train(changed(loaded, "mind", arms={"raw": arm}))
    assert not domains.TRAININGS.exists()


# --- what it says ---


def rows(arm, *seeds, structure="tumour", cohort="t"):
    """Dice of cases, a sequence for each seed."""
    about = {"arm": arm, "structure": structure, "metric": "dice", "cohort": cohort}
    return pd.concat(
        pd.DataFrame(
            {"case": [f"c{k}" for k in range(len(values))], "value": values}
        ).assign(seed=seed, **about)
        for seed, values in enumerate(seeds)
    )


def test_the_spread_is_that_of_one_seed_and_failures_count_every_run():
    scores = rows("a", [0, 0.4, 0.8], [0.5, 0, 0])
    other = rows("a", [0.2, 0.4, 0], [0.5, 0.1, 0.3], structure="cochlea")
    found = spreads.describe(pd.concat([scores, other])).set_index("structure")
    mean = (0.4 + 0.5 / 3) / 2
    expected = pytest.approx([mean, 0, (0.8 + 0.5) / 2, 3, 6])
    columns = ["mean", "min", "max", "failures", "runs"]
    assert found.loc["tumour", columns].tolist() == expected
    sd = (np.std([0, 0.4, 0.8], ddof=1) + np.std([0.5, 0, 0], ddof=1)) / 2
    assert found.loc["tumour", "sd"] == pytest.approx(sd)
    assert found.loc["all", ["failures", "runs"]].tolist() == [0, 6]


def test_tails_tell_who_gains():
    before, after = np.linspace(0, 0.9, 9), np.linspace(0.6, 0.9, 9)
    noisy = rows("noisy", after, after[::-1], after - 0.01)
    found = spreads.compare_tails(
        pd.concat([noisy, rows("mind", *[before] * 3)]), "noisy", "mind"
    )
    found = found[found["structure"] == "tumour"].set_index("part")
    worst = after[:3].mean() - before[:3].mean() - 0.01 / 3
    best = after[-3:].mean() - before[-3:].mean() - 0.01 / 3
    sd = after.std(ddof=1) - before.std(ddof=1)
    expected = pytest.approx([worst, best, worst - best, sd])
    assert found["difference"].reindex(spreads.TAILS).tolist() == expected
    assert (found["low"] <= found["difference"]).all() and found.loc["worst", "low"] > 0
    assert found.loc["worst", "clear"] and not found.loc["best", "clear"]


def test_one_structure_against_another():
    scores = [rows("a", [0.1, 0.5, 0.9], [0.2, 0.5, 0.8])]
    scores += [rows("a", [0.4, 0.5, 0.6], [0.3, 0.4, 0.5], structure="cochlea")]
    found = spreads.compare_structures(pd.concat(scores), "a", "tumour", "cochlea")
    found = found.set_index("statistic")["difference"]
    # seed 0: 0, .3, -.3; seed 1: .1, .3, -.1
    assert found.tolist() == pytest.approx([0.05, 0.3, -0.2, 0.5])


def test_a_gap_is_what_is_lost_from_one_modality_to_the_other():
    scores = [rows("raw", [0.8, 0.7, 0.6], cohort="s"), rows("raw", [0, 0.1, 0.2])]
    scores += [rows("mind", [0.7, 0.6, 0.5], cohort="s"), rows("mind", [0.5, 0.5, 0.5])]
    found = spreads.compare_gaps(pd.concat(scores), "mind", "raw", "s", "t").iloc[0]
    assert found[["gap", "other_gap", "difference"]].tolist() == pytest.approx(
        [0.1, 0.6, -0.5]
    )
    assert found[["low", "high"]].tolist() == pytest.approx([-0.6, -0.4])
    assert not found["clear"]  # one seed


# --- parameters ---


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("target: staple}", "taget: staple}", r"mind.arms.noisy.learn must be one of"),
        ("balance: cochlea", "balance: cochle", r"balance must be one of .* 'cochle'"),
        (
            "  test: target_test\n  classes",
            "  test: x\n  classes",
            r"mind.test must be",
        ),
    ],
)
def test_wrong_names_in_the_parameters_are_refused(tmp_path, old, new, message):
    text = open("params.yaml").read()
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        params.load(tmp_path / "params.yaml")
