"""The sections of study `mind`: labels that are borrowed, arms that learn from them."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from noisyseg.sections import Count, Positive, Strict
from noisyseg.settings import Augmentation, TrainingSettings

REFERENCE = "reference"  # a cohort's own labels
FUSIONS = ("staple", "vote", "local")  # of the labels that were carried onto a scan


class Propagation(Strict):
    """Labels of a source cohort carried by registration onto scans that have none.

    `atlases` source cases are drawn with `seed`; half of them have the structure
    `sided` on the left, half on the right, for `balance` lies on both sides. The first
    `scans` of the cohort get labels. `registration` is `registration.Settings`. STAPLE
    looks `margin_vox` beyond what any atlas marks; the local vote compares MIND within
    `radius_vox` and trusts the likest atlas the more, the larger `sharpness`. `truth`
    is a cohort of the same scans with labels, if there is one, to judge by.
    """

    source: str
    classes: Annotated[list[str], Field(min_length=2)]
    atlases: Annotated[int, Field(ge=2)]
    sided: str
    balance: str
    scans: Count
    seed: Annotated[int, Field(ge=0)]
    registration: dict[str, Any] = Field(default_factory=dict)
    margin_vox: Annotated[int, Field(ge=0)]
    radius_vox: Annotated[int, Field(ge=0)]
    sharpness: Annotated[float, Field(ge=0)]
    truth: str | None = None

    @model_validator(mode="after")
    def _has_both_structures(self):
        for role in ("sided", "balance"):
            name = getattr(self, role)
            if name not in self.classes[1:]:
                raise ValueError(
                    f"{role} must be one of {', '.join(self.classes[1:])}, got {name!r}"
                )
        return self


class DomainArm(Strict):
    """What a network learns from, and how it sees it.

    `learn` says which labels of which cohorts: their own (``reference``) or one of
    `FUSIONS`. `features` is a key of `volumes.FEATURES`.
    """

    title: str
    features: Literal["raw", "mind"]
    learn: Annotated[
        dict[str, Literal["reference", "staple", "vote", "local"]], Field(min_length=1)
    ]
    loss: dict[str, Any]
    network: dict[str, Any]
    training: TrainingSettings
    seeds: Annotated[list[int], Field(min_length=1)]


class DomainStudy(Strict):
    """Arms x seeds: networks that learn whole volumes and go to another modality.

    Scans are brought to `spacing_mm` within their slices and cut to `shape`, around the
    place where the cohort `source` has its annotations. The last `watched` share of the
    source cases only watches, at least one. A class of n voxels weighs as n to the
    `weight_power`. Each volume is changed anew by `augmentation`, at every step.
    """

    title: str
    source: str
    test: str
    classes: Annotated[list[str], Field(min_length=2)]
    spacing_mm: Positive
    shape: tuple[Count, Count, Count]
    watched: Annotated[float, Field(gt=0, lt=1)]
    weight_power: Annotated[float, Field(le=0)]
    metrics: Annotated[list[Literal["dice", "hd95_mm"]], Field(min_length=1)]
    augmentation: Augmentation
    features: Literal["raw", "mind"]
    loss: dict[str, Any]
    network: dict[str, Any]
    training: TrainingSettings
    seeds: Annotated[list[int], Field(min_length=1)]
    arms: Annotated[dict[str, DomainArm], Field(min_length=1)]

    @model_validator(mode="after")
    def _makes_sense(self):
        for name, arm in self.arms.items():
            if arm.training.steps_per_epoch is None:
                raise ValueError(
                    f"arms.{name}.training.steps_per_epoch must be given, got none; "
                    "volumes are changed at random, and one pass has no end"
                )
            if self.test in arm.learn:
                raise ValueError(
                    f"arms.{name}.learn must not hold the test cohort, got "
                    f"{self.test}; learn from another one"
                )
        return self
