"""The sections of `params.yaml`: what each may say."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from noisyseg.settings import TrainingSettings

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Strict(BaseModel):
    """A section of `params.yaml`: known keys only, never changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class HeadPhantoms(Strict):
    """The default head cohort: how many digital heads, on which grid."""

    subjects: Count
    atlas_subjects: Count
    shape: tuple[Count, Count, Count]
    spacing_mm: Positive
    tissue_spacing_mm: Positive
    seed: int


class Data(Strict):
    """What `noisyseg data` makes."""

    head: HeadPhantoms


class Cohort(Strict):
    """Where the images of a cohort lie and who reads them."""

    folder: str
    reader: str
    modalities: Annotated[list[str], Field(min_length=1)]
    missing: Literal["stop", "skip"] = "stop"


class Labels(Strict):
    """Software-generated labels of a cohort: one kind per set of channels."""

    software: Literal["em", "headreco", "charm"]
    atlas: str
    kinds: dict[str, list[str]]
    folders: dict[str, str] = {}


class Displacement(Strict):
    """Noise that moves boundaries: `classes` says how far, relative to each other."""

    form: Literal["displacement"]
    times: Positive
    correlation_mm: Positive
    classes: dict[str, Positive]


class Swap(Strict):
    """Noise that exchanges two classes within blobs."""

    form: Literal["swap"]
    times: Positive
    correlation_mm: Positive
    pairs: Annotated[list[tuple[str, str]], Field(min_length=1)]


class Noise(Strict):
    """Controlled noise on `clean` labels, `times` as harmful as the labels `like`."""

    clean: str
    like: str
    seed: Annotated[int, Field(ge=0)]
    kinds: dict[str, Annotated[Displacement | Swap, Field(discriminator="form")]]


class Warmup(Strict):
    """Another loss for the first epochs."""

    epochs: Count
    loss: dict[str, Any]


class Arm(Strict):
    """One row of a study: which labels it learns from, what it sees, which loss.

    What an arm does not say about network, training, slices, seeds and warm-up is the
    study's.
    An arm `like: STUDY.ARM` is the one of that name, settings of its study included,
    but for what it says itself.
    """

    title: str
    labels: str
    inputs: Annotated[list[str], Field(min_length=1)]
    loss: dict[str, Any]
    warmup: Warmup | None = None
    network: dict[str, Any]
    training: TrainingSettings
    image_size: Count
    seeds: Annotated[list[int], Field(min_length=1)]

    @property
    def recipe(self):
        """All that decides what a training of this arm gives, but for the seed.

        A warm-up by the loss itself is none.
        """
        found = self.model_dump(exclude={"title", "seeds"})
        if self.warmup and self.warmup.loss == self.loss:
            found["warmup"] = None
        return found


class Split(Strict):
    """Shares of the subjects, drawn once."""

    fractions: tuple[Positive, Positive, Positive]
    seed: int


class Study(Strict):
    """Arms x seeds on one cohort, scored against every reference that exists."""

    title: str
    cohort: str
    references: Annotated[list[str], Field(min_length=1)]
    split: Split
    image_size: Count
    metrics: Annotated[list[Literal["dice", "hd95_mm", "nsd"]], Field(min_length=1)]
    tolerance_mm: Positive
    network: dict[str, Any]
    training: TrainingSettings
    warmup: Warmup | None = None
    seeds: Annotated[list[int], Field(min_length=1)]
    arms: dict[str, Arm]


class Compute(Strict):
    """Processes side by side and torch threads in each; device auto, cpu or cuda."""

    workers: Count
    threads: Count
    device: Literal["auto", "cpu", "cuda"]
