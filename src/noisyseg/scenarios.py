"""Study `ace`: scenarios x arms x seeds, one network from cohorts that share no labels.

A scenario has a task for each of its cohorts, and a label of a task is a number: that
of the class it means or, where it can mean several, one beyond the classes
(`Scenario.sets`). A loss that knows no sets gets background for such a label.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from noisyseg import (
    datasets,
    losses,
    networks,
    patches,
    slicing,
    training,
    workers,
)
from noisyseg.labeltables import LabelTable
from noisyseg.lesion_cohorts import COLOURS

STUDY = "ace"
TRAININGS = Path("results/train") / STUDY
TOGETHER = "together"  # the network that learns all tasks of a scenario at once


@dataclass(frozen=True)
class Run:
    """One training: an arm and a seed in a scenario, of one task or of all together."""

    scenario: str
    arm: str
    task: str
    seed: int

    @property
    def folder(self):
        """Where its weights lie."""
        place = f"{self.scenario}/{self.arm}/{self.task}/seed-{self.seed}"
        return TRAININGS / place


@dataclass(frozen=True)
class Lesson:
    """What a network learns: from which tasks and inputs, and what labels mean.

    Attributes
    ----------
    tasks, inputs, classes : tuple of str
    numbers : dict of str to int
        Label to number.
    sets : list of list of int
        The classes that each number can mean.
    """

    tasks: tuple[str, ...]
    inputs: tuple[str, ...]
    classes: tuple[str, ...]
    numbers: dict[str, int]
    sets: list[list[int]]


def runs(params, scenario=None, arm=None, seed=None):
    """The trainings of the study, or those of one scenario, arm or seed."""
    study = params.ace
    return [
        Run(place, name, task, number)
        for place, about in study.scenarios.items()
        for name, row in study.arms.items()
        for number in row.seeds
        for task in (about.tasks if row.networks == "per_task" else [TOGETHER])
        if scenario in (None, place) and arm in (None, name) and seed in (None, number)
    ]


def lesson(scenario, task):
    """What a network of one task learns, or of all tasks `TOGETHER`."""
    if task == TOGETHER:
        taught = tuple(scenario.tasks), tuple(scenario.inputs), tuple(scenario.classes)
        return Lesson(*taught, *scenario.sets)
    alone = scenario.tasks[task]
    names = tuple(alone.labels)
    numbers = {name: i for i, name in enumerate(names)}
    sets = [[i] for i in range(len(names))]
    return Lesson((task,), tuple(alone.inputs), names, numbers, sets)


def table(scenario):
    """The label table of a scenario's classes."""
    colours = tuple(COLOURS.get(name, "#7fd1f0") for name in scenario.classes)
    return LabelTable(tuple(scenario.classes), colours)


def load(case, cohort, inputs, numbers):
    """A case in memory.

    Parameters
    ----------
    case : casefiles.Case
    cohort : str
    inputs : sequence of str
    numbers : dict of str to int
        The label-set table of the cohort: its labels and their numbers.

    Returns
    -------
    patches.Case
    labels : Volume
        The same labels on the grid of the images, uint8; 255 is unknown.

    Raises
    ------
    ValueError
        If the case has a label that is not in the table.
    """
    images, labels = datasets.load(case, inputs)
    groups = {name: datasets.GROUPS.get(name, (name,)) for name in numbers}
    groups[None] = datasets.GROUPS[None]
    called = f"label-set table of cohort {cohort}"
    found = datasets.recode(labels, case, groups, patches.UNKNOWN, called)
    lookup = np.full(256, patches.UNKNOWN, np.uint8)
    lookup[: len(numbers)] = list(numbers.values())
    numbered = found.with_data(lookup[found.data])
    stack = np.stack([slicing.normalise(images[name].data) for name in inputs])
    tensors = torch.from_numpy(stack), torch.from_numpy(numbered.data)
    return patches.Case(case.subject, cohort, *tensors), numbered


def train(params, name=STUDY):
    """Train all networks of the study, where `compute` says."""
    for run in runs(params):
        arm = params.ace.arms[run.arm]
        taught = lesson(params.ace.scenarios[run.scenario], run.task)
        where = f"{name}.arms.{run.arm}"
        losses.check(where, arm.loss, len(taught.classes), _sets(arm, taught))
    workers.run_parallel(
        train_run,
        [(params, run) for run in runs(params)],
        workers=params.compute.workers,
        threads=params.compute.threads,
        scheduler=workers.scheduler_address(params.compute.scheduler),
        title=f"trainings of {name}",
    )
    training.remove_others(TRAININGS, [run.folder for run in runs(params)])


def train_run(params, run):
    """One training: a pure function of its parameters and its input folders.

    The arms of a scenario see the same patches, those of one seed in the same order.
    """
    study, arm = params.ace, params.ace.arms[run.arm]
    scenario = study.scenarios[run.scenario]
    taught = lesson(scenario, run.task)
    seen, watched = load_cases(params, run)
    network = {
        **arm.network,
        "n_classes": len(taught.classes),
        "image_size": study.patch_size,
        "in_channels": len(taught.inputs),
    }
    settings, warmup = _timing(params, run)
    n_patches = settings.epochs * settings.steps_per_epoch * settings.batch_size
    told = _told(arm, taught)
    training.fit_anew(
        partial(_fresh, network, arm.loss, _sets(arm, taught), warmup, run.seed),
        train=patches.Patches(seen, study.patch_size, n_patches, run.seed, told),
        validation=_validation(seen, watched, study, told),
        settings=settings,
        folder=run.folder,
        description={
            "network": network,
            "loss": arm.loss,
            "warmup": warmup,
            "sets": taught.sets,
        },
    )


def _sets(arm, taught):
    """The label-set table for a loss that asks for one."""
    return taught.sets if arm.loss.get("name") in losses.OF_SETS else None


def _told(arm, taught):
    """What a loss that knows no sets is told for each number: background for a set."""
    if _sets(arm, taught) is not None:
        return None
    return tuple(s[0] if len(s) == 1 else 0 for s in taught.sets)


def _timing(params, run):
    """Settings of a training, and its warm-up: (share of Dice, epochs) or None."""
    study, arm = params.ace, params.ace.arms[run.arm]
    length = study.scenarios[run.scenario].length

    def scaled(epochs):
        return max(1, round(length * epochs))

    update = {
        "epochs": scaled(arm.training.epochs),
        "seed": run.seed,
        "device": params.compute.device,
    }
    warmup = arm.warmup and (arm.warmup.dice, scaled(arm.warmup.epochs))
    return arm.training.model_copy(update=update), warmup


def _fresh(network, loss, sets, warmup, seed):
    model = networks.build(**network, rng=np.random.default_rng(seed))
    build = partial(losses.build, sets=sets, ignore_index=patches.UNKNOWN)
    parts = {"model": model, "loss": build(**loss)}
    if warmup is not None:
        dice, epochs = warmup
        parts["warmup"] = build(**(loss | {"dice": dice})), epochs
    return parts


def _validation(seen, watched, study, told):
    """The same patches for all that learn from the same cases, or none."""
    count = study.validation_patches
    found = patches.Patches(watched or seen, study.patch_size, count, 0, told).all()
    return found if watched else found.none()


def load_cases(params, run):
    """Training and validation cases of a training, the same for every arm.

    Returns
    -------
    train, validation : tuple of patches.Case
    """
    study = params.ace
    scenario, seen, watched = study.scenarios[run.scenario], (), ()
    taught = lesson(scenario, run.task)
    for task in taught.tasks:
        about = scenario.tasks[task]
        numbers = {name: taught.numbers[name] for name in about.labels}
        where = params.cohorts[about.cohort]
        cases = _load_cohort(where, about.cohort, taught.inputs, tuple(numbers.items()))
        n_seen = len(cases) - _number_watched(len(cases), study.validation)
        seen, watched = seen + cases[:n_seen], watched + cases[n_seen:]
    return seen, watched


def _number_watched(n_cases, share):
    """How many cases only watch: at least one, if there is any share and another one.

    >>> [_number_watched(n, 0.2) for n in (1, 2, 5, 60)], _number_watched(60, 0)
    ([0, 1, 1, 12], 0)
    """
    return min(max(round(share * n_cases), int(share > 0)), n_cases - 1)


@lru_cache(maxsize=4)  # the arms of a scenario learn from the same cases
def _load_cohort(where, cohort, inputs, numbers):
    cases = datasets.cases_of(where, cohort, inputs)
    return tuple(load(case, cohort, inputs, dict(numbers))[0] for case in cases)


def load_test(params, name, number):
    """One of the test cases of a scenario.

    Returns
    -------
    case : patches.Case
        With the inputs of all tasks, in the order of `inputs_of_tests`.
    reference : Volume
        Labels in the numbers of the classes, uint8; 255 is unknown.
    """
    scenario = params.ace.scenarios[name]
    numbers = {label: i for i, label in enumerate(scenario.classes)}
    inputs, where = inputs_of_tests(scenario), params.cohorts[scenario.test]
    case = datasets.cases_of(where, scenario.test, inputs)[number]
    return load(case, scenario.test, inputs, numbers)


def inputs_of_tests(scenario):
    """The inputs of all networks of a scenario, each once."""
    every = list(scenario.inputs)
    every += [name for task in scenario.tasks.values() for name in task.inputs]
    return list(dict.fromkeys(every))


def predict(params, name, arm, seed, case, device="cpu"):
    """Classes of a test case under one arm and seed, uint8 array (X, Y, Z).

    Parameters
    ----------
    params : Params
    name, arm : str
        Scenario and arm.
    seed : int
    case : patches.Case
        As `load_test` gives it.
    device : str
        Torch device.
    """
    study = params.ace
    scenario, found = study.scenarios[name], 0
    for run in runs(params, name, arm, seed):
        taught = lesson(scenario, run.task)
        channels = [inputs_of_tests(scenario).index(i) for i in taught.inputs]
        model = training.load(run.folder)
        labels = segment(model, case.images[channels], study, device)
        classes = _classes_of(scenario, run.task)[labels]
        found = np.where(classes > 0, classes, found)
    return found.astype(np.uint8)


def _classes_of(scenario, task):
    """The scenario's class for each class of a network; 0 for what can be several."""
    if task == TOGETHER:
        return np.arange(len(scenario.classes))
    meant = scenario.tasks[task].labels.values()
    return np.array([scenario.classes.index(m[0]) if len(m) == 1 else 0 for m in meant])


@torch.inference_mode()
def segment(model, images, study, device="cpu"):
    """Classes of a volume, window by window, uint8 array (X, Y, Z).

    Where windows overlap, logits are averaged with Gaussian weights (MONAI).

    Parameters
    ----------
    model : torch.nn.Module
        (B, C, X, Y, Z) to logits.
    images : float32 tensor of shape (C, X, Y, Z)
    study : ScenarioStudy
        Gives the window and the overlap.
    device : str
        Torch device.
    """
    from monai.inferers import sliding_window_inference

    layout = {"memory_format": torch.channels_last_3d}
    model = model.to(device, **layout).eval()
    step = study.patch_size  # which the network can halve as often as it needs to
    most = max(study.window // step, 1)
    logits = sliding_window_inference(
        images[None].to(device).contiguous(**layout),
        [step * min(most, -(-n // step)) for n in images.shape[1:]],
        1,
        model,
        overlap=study.overlap,
        mode="gaussian",
    )
    return logits[0].cpu().numpy().argmax(0).astype(np.uint8)  # torch's is far slower
