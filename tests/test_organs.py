import numpy as np
import pytest
import torch
from test_contours import settings
from test_totalsegmentator import box, write_mask, write_scan

from noisyseg import (
    contours,
    crops,
    evaluation,
    labelnoise,
    networks,
    organ_scores,
    organs,
    totalsegmentator,
    training,
)
from noisyseg.volume import Volume

GRID = organ_scores.GRID


def changed(loaded, **update):
    """Parameters with some changes of study `threshold`."""
    study = loaded.threshold.model_copy(update=update)
    return loaded.model_copy(update={"threshold": study})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Parameters of a study whose four scans are trained, in its folder."""
    folder = tmp_path_factory.mktemp("study")
    for i in range(4):
        masks = {"aorta": box(2, 5), "kidney_left": box(4 + i % 2, 10)}
        write_scan(folder / "data", f"s{i}", **masks)
    loaded = changed(
        settings(folder / "data"), organs={"kidney": "kidney_left"}, crop_mm=12.0
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        contours.deform_cohort(loaded, "torso")
        organs.train(loaded)
        yield loaded


@pytest.fixture(scope="module")
def tables(trained):
    return organ_scores.evaluate(trained)


# --- the study: folds, crops, trainings ---


@pytest.mark.parametrize("folds", [2, 3, 4])
def test_every_scan_is_held_out_once_and_never_learned_from(trained, folds):
    loaded = changed(trained, folds=folds)
    tasks = [t for t in organs.tasks(loaded) if t.sd_mm == 1]
    assert [t.fold for t in tasks] == list(range(folds))
    splits = [organs.split(loaded, task) for task in tasks]
    for train, held_out in splits:
        assert not {s.name for s in train} & {s.name for s in held_out}
        assert len(train) + len(held_out) == 4
    held_out = sorted(scan.name for _, part in splits for scan in part)
    assert held_out == ["s0", "s1", "s2", "s3"]


def test_too_few_scans_are_refused(trained):
    loaded = changed(trained, folds=5)
    with pytest.raises(ValueError, match=r"seen in at least 5 scans.* got 4; lower"):
        organs.split(loaded, organs.tasks(loaded)[0])


def test_tasks_are_organs_times_strengths_times_folds(trained):
    loaded = changed(trained, organs={"a": "aorta", "k": "kidney_left"}, folds=3)
    tasks = organs.tasks(loaded)
    assert len(set(tasks)) == len(tasks) == 2 * 2 * 3
    folders = {task.folder(arm) for task in tasks for arm in ("ce", "sd")}
    assert len(folders) == 24


def test_slices_hold_the_noisy_contours_of_the_training_scans(trained):
    task = organs.tasks(trained)[-1]
    train, _ = organs.split(trained, task)
    slices = organs.load_slices(trained, task, train)
    crop = organs.load(trained, "kidney", train[0])
    noisy = crop.noisy(train[0], "torso", "kidney_left", task.sd_mm)
    n = len(noisy)
    np.testing.assert_array_equal(slices.labels[:n], noisy)
    assert torch.equal(slices.images[:n], crop.images)
    assert slices.images.shape[1:] == (3, 12, 12)
    assert (noisy != crop.truth).any()


def test_a_training_leaves_weights_and_is_not_repeated(trained, monkeypatch):
    task = organs.tasks(trained)[0]
    folders = [t.folder(a) for t in organs.tasks(trained) for a in ("ce", "sd")]
    assert all((folder / "weights.safetensors").is_file() for folder in folders)
    monkeypatch.setattr(training, "forward", None)  # a step would need it
    organs.train_run(trained, task, "ce")


def test_arms_of_a_task_begin_alike(trained):
    arm = trained.threshold.arms["ce"]
    network = {**arm.network, "n_classes": 2, "image_size": 12, "in_channels": 3}
    models = [
        organs._fresh(network, arm.loss, 5)["model"].state_dict()
        for arm in trained.threshold.arms.values()
    ]
    assert len(models) == 2
    for name, tensor in models[0].items():
        assert torch.equal(tensor, models[1][name])


def test_probabilities_do_not_depend_on_the_batch(trained):
    task = organs.tasks(trained)[0]
    model = training.load(task.folder("ce"))
    images = organs.load(trained, "kidney", organs.split(trained, task)[1][0]).images
    whole, single = (organs.probabilities(model, images, batch_size=n) for n in (32, 1))
    assert whole.shape == (len(images), 12, 12) and whole.dtype == np.float32
    np.testing.assert_allclose(whole, single, atol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(whole, model(images).softmax(1)[:, 1], atol=1e-5)


def test_the_marginal_arm_knows_the_slice_distance(trained, tmp_path, monkeypatch):
    write_scan(tmp_path, "s0", spacing_mm=(1, 1, 2), kidney_left=box(5, 9))
    cohort = trained.cohorts["torso"].model_copy(update={"folder": str(tmp_path)})
    loaded = trained.model_copy(update={"cohorts": {"torso": cohort}})
    (scan,), task = totalsegmentator.read(tmp_path), organs.tasks(trained)[-1]
    monkeypatch.chdir(tmp_path)
    noisy = contours.noisy(scan, "torso", task.sd_mm).segmentations
    write_mask(noisy / "kidney_left.nii.gz", box(4, 10))
    probs, noisy, truth = organ_scores.predict(loaded, task, scan, {})
    assert list(probs) == ["marginal"] and (noisy.sum(), truth.sum()) == (216, 64)
    whole = labelnoise.marginal(box(5, 9), task.sd_mm, (1, 1, 2))
    window = organs.load(loaded, "kidney", scan).window
    np.testing.assert_allclose(probs["marginal"], window.cut(whole, 0.0), atol=1e-6)


# --- the scores ---


def test_scores_hold_every_arm_cut_and_reference(trained, tables):
    scores = tables[0]
    cuts = {
        f"{arm}{cut}"
        for arm in ("ce", "sd", "marginal")
        for cut in ("", "_star", "_oracle")
    }
    keys = ["sd_mm", "case", "reference"]
    assert len(scores.groupby(keys)) == 2 * 4 * 2
    for _, rows in scores.groupby(keys):
        dice = rows[rows["metric"] == "dice"]
        assert set(dice["arm"]) == cuts and len(dice) == 9
        assert rows["fold"].nunique() == 1 and len(rows) == 9 * 3 + 3
    assert set(scores["structure"]) == {"kidney"} == set(scores["organ"])


def test_no_cut_is_better_than_the_oracle_and_a_half_is_a_half(tables):
    scores = tables[0]
    keys = ["sd_mm", "case", "reference", "metric", "arm"]
    value = scores.set_index(keys)["value"].unstack("arm")
    dice, cut = value.xs("dice", level="metric"), value.xs("threshold", level="metric")
    for arm in ("ce", "sd", "marginal"):
        best = dice[f"{arm}_oracle"] + 1e-12
        assert (dice[arm] <= best).all() and (dice[f"{arm}_star"] <= best).all()
        assert (cut[arm] == 0.5).all() and (cut[f"{arm}_star"] <= 0.5).all()


def test_curves_and_reliability_count_every_held_out_voxel(trained, tables):
    _, curves, reliability = tables
    assert len(curves) == 2 * 4 * 3 * len(GRID)
    scans = organs.split(trained, organs.tasks(trained)[0])[1]
    voxels = sum(organs.load(trained, "kidney", scan).truth.size for scan in scans)
    rows = reliability.query("fold == 0 and sd_mm == 1")
    assert (rows.groupby("arm")["voxels"].sum() == voxels).all()
    assert rows["arm"].nunique() == 3
    low, high = rows["bin"] / 20, (rows["bin"] + 1) / 20
    assert rows["predicted"].between(low - 1e-6, high + 1e-6).all()
    assert rows["observed"].between(0, 1).all()


def test_cuts_by_hand():
    """D of the first 1 to 4 of 6 voxels is .586, .729, .742, .720."""
    prob = np.array([0.97, 0.6, 0.4, 0.3, 0.04, 0.0])
    mask = np.array([1, 1, 0, 1, 0, 0], bool)
    rows = organ_scores.score_cuts({"a": prob}, mask)
    found = rows.set_index(["metric", "arm"])["value"]
    for metric, expected in {
        "dice": (4 / 5, 4 / 6, 6 / 7),
        "relative_volume": (2 / 3, 1, 4 / 3),
        "threshold": (0.5, 1.97 / 5.31, 0.3),
    }.items():
        assert list(found[metric][["a", "a_star", "a_oracle"]]) == pytest.approx(
            list(expected)
        )
    assert found["undecided", "a"] == 3 / 4


def test_the_curve_is_the_dice_at_every_threshold(rng):
    mask = rng.random((5, 6, 7)) < 0.3
    prob = (0.5 * rng.random(mask.shape) + 0.3 * mask).round(2)  # some on the grid
    curve = organ_scores.dice_curve(prob, mask, GRID)
    expected = [evaluation.dice(mask, prob >= t) for t in GRID]
    np.testing.assert_allclose(curve, expected, atol=1e-12)
    assert max(expected) > 0.5 and min(expected) == 0


def test_bins_keep_their_sums(rng):
    prob = np.append(rng.random(500), [0, 1, 0.05]).astype(np.float32)
    mask = rng.random(503) < prob
    voxels, predicted, observed = organ_scores.count_bins(prob, mask)
    assert voxels.sum() == 503 and observed.sum() == mask.sum()
    assert predicted.sum() == pytest.approx(prob.sum())
    last = prob >= 0.95
    assert voxels[-1] == last.sum() and observed[-1] == mask[last].sum()


def test_the_marginal_of_a_crop_is_the_crop_of_the_marginal():
    mask = np.zeros((40, 36, 44), bool)
    mask[15:22, 12:20, 18:27] = True
    grid = Volume(mask, np.diag([1.0, 1.0, 2.0, 1.0]))
    window = crops.around(grid, 20.0, 9.0)
    x_mm, y_mm, z_mm = grid.spacing_mm
    cropped = window.cut(mask, False)
    inner = labelnoise.marginal(cropped, 3.0, (z_mm, x_mm, y_mm))
    whole = labelnoise.marginal(mask, 3.0, grid.spacing_mm)
    np.testing.assert_allclose(inner, window.cut(whole, 0.0), atol=1e-12)
    assert 0.01 < inner[:, 0].max() < 0.5  # it reaches the border


def test_probabilities_leave_the_network_as_it_was():
    model = networks.build(
        "unet", n_classes=2, image_size=8, in_channels=3, channels=[4, 8]
    )
    organs.probabilities(model, torch.zeros(2, 3, 8, 8))
    assert not next(model.parameters()).is_inference()
