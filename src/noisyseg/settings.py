"""Settings of a training, as a row of params.yaml gives them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0)]


class Augmentation(BaseModel):
    """How far slices are changed at random, each anew at every step.

    Turned by up to `rotation_deg`, scaled by up to a factor 1 + `scaling`, shifted by
    up to a share `shift` of the slice; intensities times up to 1 + `contrast`, plus up
    to `brightness`, plus white noise of SD `noise`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotation_deg: Share = 0.0
    scaling: Share = 0.0
    shift: Share = 0.0
    contrast: Share = 0.0
    brightness: Share = 0.0
    noise: Share = 0.0


class TrainingSettings(BaseModel):
    """How a network is trained; unknown names are errors, values never change.

    Stochastic gradient descent with momentum, or Adam (which has no use for
    `momentum`), whose rate at step i of n falls as
    learning_rate * (1 - i / n) ** power. With `schedule_epochs` longer than `epochs`
    the training stops early on the longer schedule. `steps_per_epoch` shortens an
    epoch, which is otherwise one pass over the slices; the next epoch goes on where
    the last one stopped. Validation looks at every `validation_stride`-th slice, for
    neighbours are much alike. A checkpoint is written every `checkpoint_every_steps`,
    or, without that, every `checkpoint_every_s` seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Count
    batch_size: Count
    seed: Annotated[int, Field(ge=0)] = 0
    optimiser: Literal["sgd", "adam"] = "sgd"
    learning_rate: Positive = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Share = 1e-4
    power: Share = 0.9
    schedule_epochs: Count | None = None
    steps_per_epoch: Count | None = None
    validation_stride: Count = 1
    augmentation: Augmentation | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_every_steps: Count | None = None
    checkpoint_every_s: Positive = 60.0

    @model_validator(mode="after")
    def _schedule_is_long_enough(self):
        if self.schedule_epochs is not None and self.schedule_epochs < self.epochs:
            raise ValueError(
                f"schedule_epochs must be at least epochs ({self.epochs}), got "
                f"{self.schedule_epochs}; the rate would be below 0"
            )
        return self
