"""The sections of `params.yaml`: what each may say."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

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


class TorsoPhantoms(Strict):
    """The default torso cohort: how many digital torsos, on which grid."""

    subjects: Count
    shape: tuple[Count, Count, Count]
    spacing_mm: Positive
    tissue_spacing_mm: Positive
    seed: int


class LesionPhantoms(Strict):
    """The default cohorts of study `ace`: how many heads of each kind, on which grid.

    The kinds are those of `lesion_cohorts.KINDS`.
    """

    subjects: Annotated[dict[str, Count], Field(min_length=1)]
    shape: tuple[Count, Count, Count]
    spacing_mm: Positive
    tissue_spacing_mm: Positive
    seed: int


class SkullBasePhantoms(Strict):
    """The default cohorts of study `mind`: how many skull bases, on which grid.

    The kinds are those of `skullbase_phantoms.KINDS`.
    """

    subjects: Annotated[dict[str, Count], Field(min_length=1)]
    shape: tuple[Count, Count, Count]
    spacing_mm: tuple[Positive, Positive, Positive]
    tissue_spacing_mm: Positive
    seed: int


class Data(Strict):
    """What `noisyseg data` makes."""

    head: HeadPhantoms
    torso: TorsoPhantoms
    lesions: LesionPhantoms
    skullbase: SkullBasePhantoms


class Cohort(Strict):
    """Where the images of a cohort lie and who reads them."""

    folder: str
    reader: str
    modalities: Annotated[tuple[str, ...], Field(min_length=1)]
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


class ContourNoise(Strict):
    """Masks deformed by Gaussian fields, one draw a case, at several strengths."""

    structures: Annotated[list[str], Field(min_length=1)]
    correlation_mm: Positive
    sd_mm: Annotated[list[Positive], Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)]


class Warmup(Strict):
    """Another loss for the first epochs."""

    epochs: Count
    loss: dict[str, Any]


class Arm(Strict):
    """One row of a study: which labels it learns from, what it sees, which loss.

    What an arm does not say about network, training, slices, seeds and warm-up is the
    study's.
    An arm `like: STUDY.ARM` is the one of that name, settings of its study included,
    but for what it says itself. `annotated` are the structures that the cases annotate
    in turn (`annotation`); without it every case annotates all.
    """

    title: str
    labels: str
    annotated: list[list[str]] | None = None
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
    """Arms x seeds on one cohort, scored against every reference that exists.

    `beta` is that of every loss which needs one and gives none; where it stands in a
    title as ``{beta}`` it is filled in.
    """

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
    beta: Positive | None = None
    seeds: Annotated[list[int], Field(min_length=1)]
    arms: dict[str, Arm]


class OrganArm(Strict):
    """How binary networks are taught; network and training as the study if unsaid."""

    title: str
    loss: dict[str, Any]
    network: dict[str, Any]
    training: TrainingSettings


class OrganStudy(Strict):
    """Organs x strengths of noise x folds x arms, one small binary network each."""

    title: str
    cohort: str
    organs: Annotated[dict[str, str], Field(min_length=1)]
    folds: Annotated[int, Field(ge=2)]
    seed: Annotated[int, Field(ge=0)]
    crop_mm: Positive
    context_slices: Annotated[int, Field(ge=0)]
    window_hu: tuple[float, float]
    network: dict[str, Any]
    training: TrainingSettings
    arms: Annotated[dict[str, OrganArm], Field(min_length=1)]

    @model_validator(mode="after")
    def _makes_sense(self):
        low, high = self.window_hu
        if not low < high:
            raise ValueError(f"window_hu must rise, got {low} to {high}; swap them")
        for arm in self.arms:
            if arm == "marginal" or arm.endswith(("_star", "_oracle")):
                raise ValueError(
                    f"arms must not be called marginal, *_star or *_oracle, got "
                    f"{arm!r}; these names are those of what they are compared with"
                )
        return self


class Headline(Strict):
    """Arms whose mean Dice `dvc metrics show` prints, and from which rows it is."""

    arms: Annotated[list[str], Field(min_length=1)]
    where: dict[str, str | float] = {}


class Compute(Strict):
    """Processes side by side and torch threads in each; device auto, cpu or cuda.

    `scheduler` is that of a Dask cluster, tcp://host:port or its scheduler file, whose
    workers do the trainings instead; without it $DASK_SCHEDULER_ADDRESS names one.
    """

    workers: Count
    threads: Count
    device: Literal["auto", "cpu", "cuda"]
    scheduler: str | None = None
