"""Study `ace` on three small trees: tissues, hyperintensities, and both to test."""

import nibabel as nib
import numpy as np
import pytest
import torch

from noisyseg import (
    datasets,
    labelsets,
    params,
    scenario_scores,
    scenario_sections,
    scenarios,
    training,
)
from noisyseg.lesion_cohorts import TISSUES, WMH_ALL, WMH_ONLY, annotated, kind_of
from noisyseg.patches import Case

SETS = [[0], [1], [2], [3], [4], [0, 1, 2, 3]]
COHORTS = {  # modalities, table, number of cases
    "tissue": (("T1w", "FLAIR", "IR"), TISSUES, 3),
    "wmh": (("T1w", "FLAIR"), WMH_ONLY, 3),
    "wmh_test": (("T1w", "FLAIR", "IR"), WMH_ALL, 2),
}


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, np.diag([2, 2, 2, 1.0]))
    image.set_sform(image.affine, 1)
    nib.save(image, path)


def write_cohort(folder, kind, shape=(16, 16, 16)):
    """Slabs of background, CSF, GM, WM and a lesion, in noise."""
    modalities, table, n_cases = COHORTS[kind]
    rng = np.random.default_rng(len(kind))
    for name in [f"sub-{n}" for n in range(n_cases)]:
        truth = np.zeros(shape, np.uint8)
        for start, value in {2: 1, 5: 2, 8: 3, 12: 4}.items():
            truth[start + rng.integers(2) :] = value
        for modality in modalities:
            image = 20 * truth + rng.normal(100, 2, shape)
            path = folder / kind / name / f"anat/{name}_{modality}.nii"
            save(path, image.astype(np.float32))
        labels = annotated(truth, kind_of(kind))
        home = folder / kind / "derivatives/annotation"
        save(home / name / f"anat/{name}_dseg.nii", labels)
    table.write(home / "dseg.tsv")


def small(folder, **change):
    """The study at tiny scale with one scenario and four arms, its data in `folder`."""
    loaded = params.load(scale="tiny")
    arms = ("multi", "naive_ce", "ace", "ace_dice")
    update = {
        "scenarios": {"wmh": loaded.ace.scenarios["wmh"]},
        "arms": {name: loaded.ace.arms[name] for name in arms},
    }
    cohorts = {
        name: loaded.cohorts[name].model_copy(update={"folder": str(folder / name)})
        for name in COHORTS
    }
    study = loaded.ace.model_copy(update=update | change)
    compute = loaded.compute.model_copy(update={"workers": 1, "device": "cpu"})
    update = {"ace": study, "cohorts": cohorts, "compute": compute}
    return loaded.model_copy(update=update)


@pytest.fixture
def data(tmp_path):
    for kind in COHORTS:
        write_cohort(tmp_path, kind)
    return tmp_path


def only(loaded, arm, task=scenarios.TOGETHER):
    (run,) = [r for r in scenarios.runs(loaded, arm=arm) if r.task == task]
    return run


# --- what labels mean ---


def test_labels_of_all_tasks_have_numbers_and_sets():
    numbers, sets = params.load().ace.scenarios["wmh"].sets
    assert sets == SETS
    classes = {"background": 0, "CSF": 1, "GM": 2, "WM": 3, "WMH": 4}
    assert numbers == classes | {"no lesion": 5}


def test_a_network_of_one_task_learns_its_labels_as_classes():
    scenario = params.load().ace.scenarios["tumour"]
    alone = scenarios.lesson(scenario, "lesion")
    assert alone.tasks == ("lesion",)
    assert alone.inputs == ("T1w", "T1ce", "T2w", "FLAIR")
    assert alone.classes == ("no lesion", "oedema", "tumour")
    assert alone.sets == [[0], [1], [2]]
    together = scenarios.lesson(scenario, scenarios.TOGETHER)
    assert together.inputs == ("T1w",) and together.tasks == ("tissue", "lesion")


def test_runs_are_scenarios_times_arms_times_seeds_times_networks():
    loaded = params.load(scale="paper")
    runs = scenarios.runs(loaded)
    assert len({run.folder for run in runs}) == len(runs) == 2 * 3 * (8 + 2)
    tasks = [run.task for run in scenarios.runs(loaded, "wmh", "multi", 1)]
    assert tasks == ["tissue", "lesion"]  # the later one prevails


# --- what the networks see ---


def test_arms_see_the_same_patches_but_naive_ones_are_told_background(
    data, monkeypatch
):
    loaded, batches = small(data), {}
    for arm in ("naive_ce", "ace", "ace_dice"):
        seen = {}
        monkeypatch.setattr(
            training, "fit_anew", lambda _, seen=seen, **how: seen.update(how)
        )
        scenarios.train_run(loaded, only(loaded, arm))
        batches[arm] = seen["train"].batch(range(40), torch.device("cpu"))
    images, labels = batches["ace"]
    assert set(labels.unique().tolist()) == {0, 1, 2, 3, 4, 5}
    naive = labels.masked_fill(labels == 5, 0)
    for arm, wanted in {"naive_ce": naive, "ace_dice": labels}.items():
        assert torch.equal(batches[arm][0], images)
        assert torch.equal(batches[arm][1], wanted)


def test_a_warmup_mixes_dice_into_the_arms_own_loss(data, monkeypatch):
    loaded, seen = small(data), {}
    arm = loaded.ace.arms["ace"].model_copy(
        update={"warmup": scenario_sections.DiceWarmup(epochs=1, dice=0.5)}
    )
    study = loaded.ace.model_copy(update={"arms": {**loaded.ace.arms, "ace": arm}})
    monkeypatch.setattr(training, "fit_anew", lambda fresh, **how: seen.update(fresh()))
    loaded = loaded.model_copy(update={"ace": study})
    scenarios.train_run(loaded, only(loaded, "ace"))
    first, epochs = seen["warmup"]
    assert epochs == 1 and first.first.func is seen["loss"].func
    assert first.second.func is labelsets.marginal_dice


def test_networks_of_one_task_see_its_cohort_with_all_its_inputs(data):
    loaded = small(data)
    seen, watched = scenarios.load_cases(loaded, only(loaded, "multi", "tissue"))
    assert {c.cohort for c in seen + watched} == {"tissue"}
    assert seen[0].images.shape == (3, 16, 16, 16)
    seen, _ = scenarios.load_cases(loaded, only(loaded, "multi", "lesion"))
    assert set(seen[0].labels.unique().tolist()) == {0, 1}


def test_cases_that_watch_are_not_learned_from(data):
    loaded = small(data)
    parts = scenarios.load_cases(loaded, only(loaded, "ace"))
    names = [[(c.cohort, c.name) for c in part] for part in parts]
    assert len(names[0]) == 4 and not set(names[0]) & set(names[1])
    assert [cohort for cohort, _ in names[1]] == ["tissue", "wmh"]


def test_a_study_without_validation_trains(data, monkeypatch):
    loaded = small(data, validation=0.0)
    monkeypatch.chdir(data)
    scenarios.train_run(loaded, only(loaded, "ace"))
    folder = only(loaded, "ace").folder
    assert "nan" in (folder / "history.csv").read_text()


def test_classes_of_no_study_are_unknown(data):
    """A cerebellum is none of the classes, wherever a reader tells of one."""
    table = data / "tissue/derivatives/annotation/dseg.tsv"
    table.write_text(table.read_text().replace("GM", "cerebellum"))
    loaded = small(data)
    seen, _ = scenarios.load_cases(loaded, only(loaded, "ace"))
    assert set(seen[0].labels.unique().tolist()) == {0, 1, 3, 255}


# --- segmentation ---


class Brightness(torch.nn.Module):
    """A network that knows one class of bright voxels, and one of all others."""

    def __init__(self, n_classes, bright, other, least):
        super().__init__()
        self.about = n_classes, bright, other, least

    def forward(self, x):
        n_classes, bright, other, least = self.about
        logits = torch.full((len(x), n_classes, *x.shape[2:]), -99.0)
        logits[:, bright], logits[:, other] = x[:, 0] - least, least - x[:, 0]
        return logits


def noise(*shape, channels=3):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(channels, *shape, generator=generator)
    return Case("a", "wmh_test", images, torch.zeros(shape, dtype=torch.uint8))


@pytest.mark.parametrize("window", [8, 16, 100])
def test_volumes_of_any_size_are_segmented_window_by_window(tmp_path, window):
    images, study = noise(13, 16, 21).images, small(tmp_path, window=window).ace
    found = scenarios.segment(Brightness(2, 1, 0, 0.5), images, study)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, images[0] > 0.5)


def test_lesions_prevail_where_networks_of_tasks_are_put_together(
    tmp_path, monkeypatch
):
    """WM where bright and GM elsewhere, and WMH in the brightest voxels."""
    networks = {"tissue": Brightness(4, 3, 2, 0.5), "lesion": Brightness(2, 1, 0, 0.8)}
    monkeypatch.setattr(training, "load", lambda folder: networks[folder.parts[-2]])
    case = noise(9, 10, 11)
    found = scenarios.predict(small(tmp_path), "wmh", "multi", 0, case)
    bright = case.images[0].numpy()
    expected = np.select([bright > 0.8, bright > 0.5], [4, 3], 2)
    np.testing.assert_array_equal(found, expected)


def test_a_network_gets_its_own_inputs_in_its_own_order(tmp_path, monkeypatch):
    seen, case = {}, noise(8, 8, 8)

    def segment(task, images, *_):
        seen[task] = images
        return np.zeros((8, 8, 8), np.uint8)

    monkeypatch.setattr(training, "load", lambda folder: folder.parts[-2])
    monkeypatch.setattr(scenarios, "segment", segment)
    for arm in ("multi", "ace"):
        scenarios.predict(small(tmp_path), "wmh", arm, 0, case)
    for task, channels in {"tissue": [0, 2, 1], "lesion": [0, 1]}.items():
        assert torch.equal(seen[task], case.images[channels])  # T1w, IR, FLAIR
    assert torch.equal(seen[scenarios.TOGETHER], case.images[:2])


# --- the whole study ---


@pytest.fixture
def trained(data, monkeypatch):
    """The parameters of a study whose networks are trained, and its folder."""
    loaded = small(data)
    monkeypatch.chdir(data)
    (data / "results/train/ace/wmh/old").mkdir(parents=True)
    scenarios.train(loaded)
    return loaded


def test_a_training_leaves_weights_and_is_not_repeated(trained, monkeypatch):
    for run in scenarios.runs(trained):
        about = training.describe(run.folder)
        assert len(about["sets"]) == {"tissue": 4, "lesion": 2}.get(run.task, 6)
    assert not (scenarios.TRAININGS / "wmh/old").exists()
    monkeypatch.setattr(training, "forward", None)  # a step would need it
    scenarios.train(trained)


def test_the_table_holds_every_arm_case_class_and_metric(trained):
    scores = scenario_scores.evaluate(trained)
    assert len(scores) == 4 * 2 * (5 * 2 + 3)  # arms, cases, classes, metrics
    keys = ["study", "scenario", "arm", "seed", "fold", "case", "reference"]
    assert set(scores) == {*keys, "structure", "metric", "value"}
    assert not scores.duplicated([*keys, "structure", "metric"]).any()
    assert set(scores["case"]) == {"sub-0", "sub-1"}
    dice = scores.query("metric == 'dice'")["value"]
    assert dice.between(0, 1).all()


# --- what makes no sense ---


def test_a_label_that_is_not_in_the_table_is_refused(data):
    table = data / "wmh/derivatives/annotation/dseg.tsv"
    table.write_text(table.read_text().replace("WMH", "scar"))
    loaded = small(data)
    message = (
        r"label-set table of cohort wmh must say what 'scar' \(value 1 of sub-0\) is, "
        "got no lesion, WMH, MS lesion, .*; add it"
    )
    with pytest.raises(ValueError, match=message):
        scenarios.load_cases(loaded, only(loaded, "ace"))


def test_a_case_without_a_shared_sequence_is_refused_or_left_out(data):
    (data / "wmh/sub-1/anat/sub-1_FLAIR.nii").unlink()
    (data / "wmh/derivatives/annotation/sub-2/anat/sub-2_dseg.nii").unlink()
    where = small(data).cohorts["wmh"]
    message = r"sub-1 of cohort wmh must have T1w, FLAIR and labels, got no FLAIR; add"
    with pytest.raises(FileNotFoundError, match=message):
        datasets.cases_of(where, "wmh", ["T1w", "FLAIR"])
    with pytest.raises(FileNotFoundError, match=r"sub-2 of cohort wmh .* no labels"):
        datasets.cases_of(where, "wmh", ["T1w"])
    skipping = where.model_copy(update={"missing": "skip"})
    (kept,) = datasets.cases_of(skipping, "wmh", ["T1w", "FLAIR"])
    assert kept.subject == "sub-0"
    with pytest.raises(FileNotFoundError, match="cohort wmh must have cases with IR"):
        datasets.cases_of(skipping, "wmh", ["IR"])


def test_a_wrong_loss_is_refused_before_any_training(data):
    loaded = small(data)
    arm = loaded.ace.arms["ace"]
    for row, message in (
        ({"name": "label_set_crossentropy"}, "loss must be one of .* did you mean"),
        ({"name": "leaf_dice", "sets": [[0]]}, "multiple values for .* 'sets'"),
        ({}, "missing 1 required positional argument: 'name'"),
    ):
        arms = {"ace": arm.model_copy(update={"loss": row})}
        with pytest.raises(ValueError, match=rf"ace\.arms\.ace: .*{message}"):
            scenarios.train(small(data, arms=arms))
