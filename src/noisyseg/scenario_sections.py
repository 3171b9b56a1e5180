"""The section of study `ace`: cohorts that each annotate one task, what labels mean."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from noisyseg.sections import Count, Positive, Strict
from noisyseg.settings import TrainingSettings


class Task(Strict):
    """What one cohort teaches: its labels, and the classes that each of them can mean.

    `inputs` are the modalities of a network that learns this task alone.
    """

    cohort: str
    inputs: Annotated[list[str], Field(min_length=1)]
    labels: Annotated[dict[str, list[str]], Field(min_length=1)]


class Scenario(Strict):
    """Tasks whose classes one network is to learn from the inputs that all share.

    The background comes first among the classes. Where networks of single tasks are
    put together, the labels of a later task prevail. `length` is how many epochs there
    are for each of an arm's.
    """

    title: str
    classes: Annotated[list[str], Field(min_length=2)]
    inputs: Annotated[list[str], Field(min_length=1)]
    tasks: Annotated[dict[str, Task], Field(min_length=1)]
    test: str
    length: Positive = 1.0

    @property
    def sets(self):
        """The labels of all tasks as numbers: first the classes, then the others.

        Returns
        -------
        numbers : dict of str to int
        sets : list of list of int
            The classes that each number can mean; number c < C means class c.
        """
        numbers, sets = {}, [[c] for c in range(len(self.classes))]
        for task in self.tasks.values():
            for label, names in task.labels.items():
                classes = [self.classes.index(name) for name in names]
                if len(classes) == 1:
                    numbers[label] = classes[0]
                elif label not in numbers:
                    numbers[label] = len(sets)
                    sets.append(classes)
        return numbers, sets


class DiceWarmup(Strict):
    """First epochs in which a share of (marginal) Dice is mixed into every loss."""

    epochs: Count
    dice: Annotated[float, Field(gt=0, le=1)]


class ScenarioArm(Strict):
    """How networks learn from several tasks.

    A loss that knows no sets takes a label that can mean several classes for the
    background. `networks: per_task` trains one network for each task, with all its
    inputs, and puts them together.
    """

    title: str
    networks: Literal["one", "per_task"] = "one"
    loss: dict[str, Any]
    network: dict[str, Any]
    training: TrainingSettings
    warmup: DiceWarmup | None = None
    seeds: Annotated[list[int], Field(min_length=1)]


class ScenarioStudy(Strict):
    """Scenarios x arms x seeds: networks for volumes, learned from patches.

    `validation` is the share of each cohort that only watches, by
    `validation_patches` patches. Volumes are segmented window by window, at most
    `window` voxels along each edge, overlapping by the share `overlap`.
    """

    title: str
    validation: Annotated[float, Field(ge=0, lt=1)]
    validation_patches: Count
    patch_size: Count
    window: Count
    overlap: Annotated[float, Field(ge=0, lt=1)]
    metrics: Annotated[list[Literal["dice", "hd95_mm"]], Field(min_length=1)]
    network: dict[str, Any]
    training: TrainingSettings
    warmup: DiceWarmup | None = None
    seeds: Annotated[list[int], Field(min_length=1)]
    scenarios: Annotated[dict[str, Scenario], Field(min_length=1)]
    arms: Annotated[dict[str, ScenarioArm], Field(min_length=1)]

    @model_validator(mode="after")
    def _makes_sense(self):
        for name, scenario in self.scenarios.items():
            for key, task in scenario.tasks.items():
                for label in task.labels:
                    where = f"scenarios.{name}.tasks.{key}.labels.{label}"
                    _check_label(where, label, task, scenario)
        for name, arm in self.arms.items():
            if arm.training.steps_per_epoch is None:
                raise ValueError(
                    f"arms.{name}.training.steps_per_epoch must be given, got none; "
                    "patches are drawn at random, and one pass over them has no end"
                )
        return self


def _check_label(where, label, task, scenario):
    """Refuse a label that means nothing, no class, or two things in two cohorts."""
    classes = task.labels[label]
    unknown = [c for c in classes if c not in scenario.classes]
    if unknown or not classes:
        raise ValueError(
            f"{where} must name some of the classes {', '.join(scenario.classes)}, got "
            f"{', '.join(unknown) or 'none'}; correct the label-set table"
        )
    for other in scenario.tasks.values():
        meant = other.labels.get(label, classes)
        if set(meant) != set(classes):
            raise ValueError(
                f"{where} must mean the same in every cohort, got {', '.join(classes)} "
                f"in {task.cohort}, but {', '.join(meant)} in {other.cohort}; give one "
                "another name"
            )
