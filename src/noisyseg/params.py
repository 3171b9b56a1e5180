"""`params.yaml` as typed models: an unknown or mistyped key is an error with a remedy.

The sections hold each study as its paper has it; ``scales`` holds what a scale changes.
`load` applies one scale and returns plain, frozen, checked values.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

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


class Arm(Strict):
    """One row of a study: which labels it learns from, what it sees, which loss."""

    title: str
    labels: str
    inputs: Annotated[list[str], Field(min_length=1)]
    loss: dict[str, Any]


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
    tolerance_mm: Positive
    network: dict[str, Any]
    training: TrainingSettings
    seeds: Annotated[list[int], Field(min_length=1)]
    arms: dict[str, Arm]


class Compute(Strict):
    """Processes side by side and torch threads in each; device auto, cpu or cuda."""

    workers: Count
    threads: Count
    device: Literal["auto", "cpu", "cuda"]


class Params(Strict):
    """All of `params.yaml` at one scale."""

    scale: str
    compute: Compute
    data: Data
    cohorts: dict[str, Cohort]
    labels: dict[str, Labels]
    sgl: Study

    @property
    def studies(self):
        """Every study by name, in the order of this class."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: part for name, part in found.items() if isinstance(part, Study)}

    @model_validator(mode="after")
    def _names_exist(self):
        for name, labels in self.labels.items():
            _one_of(f"labels.{name}", name, self.cohorts)
            for kind, channels in labels.kinds.items():
                for channel in channels:
                    known = self.cohorts[name].modalities
                    _one_of(f"labels.{name}.kinds.{kind}", channel, known)
        for name, study in self.studies.items():
            _check_study(name, study, self)
        return self


def _check_study(name, study, params):
    """Refuse a study that names a cohort, a label kind or a modality nobody has."""
    _one_of(f"{name}.cohort", study.cohort, params.cohorts)
    kinds = [*params.labels[study.cohort].kinds, "truth"]
    for reference in study.references:
        _one_of(f"{name}.references", reference, kinds)
    for arm_name, arm in study.arms.items():
        _one_of(f"{name}.arms.{arm_name}.labels", arm.labels, kinds)
        for modality in arm.inputs:
            known = params.cohorts[study.cohort].modalities
            _one_of(f"{name}.arms.{arm_name}.inputs", modality, known)


def _one_of(where, value, known):
    if value not in known:
        raise ValueError(f"{where} must be one of {', '.join(known)}, got {value!r}")


def load(path="params.yaml", scale=None):
    """The parameters of one scale.

    Parameters
    ----------
    path : str or Path
    scale : str, optional
        A name under ``scales``; default the ``scale`` of the file. ``paper`` changes
        nothing.

    Returns
    -------
    Params

    Raises
    ------
    FileNotFoundError, ValueError
        Naming the key, the value, and the nearest right key where one is near.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} must exist; run in the folder that holds params.yaml"
        )
    try:
        raw = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} must be valid YAML, got: {error}") from error
    if not isinstance(raw, dict):
        raise ValueError(f"{path} must hold sections, got {type(raw).__name__}")
    return _apply(path, raw, scale)


def _apply(path, raw, scale):
    """The file's sections with the overrides of one scale, checked."""
    scales = raw.pop("scales", None) or {}
    scale = scale or raw.get("scale")
    if scale not in scales:
        near = _nearest(str(scale), scales)
        raise ValueError(
            f"scale must be one of {', '.join(scales)}, got {scale!r}{near}"
        )
    merged = _merge(raw, {**(scales[scale] or {}), "scale": scale})
    try:
        return Params.model_validate(merged)
    except ValidationError as error:
        faults = "\n".join(_explain(fault) for fault in error.errors())
        raise ValueError(f"{path} (scale {scale}):\n{faults}") from None


def _merge(base, over):
    """`over` laid on `base`, section by section; neither is changed.

    Arms and other named rows are merged too, so a scale may change one value of one.
    A value of None removes the key.

    Examples
    --------
    >>> _merge({"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"x": 9}, "b": None})
    {'a': {'x': 9, 'y': 2}}
    """
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = _merge(base[key], value)
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def _explain(fault):
    """One line for one fault: where, the rule, the value, the nearest right name."""
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        near = _nearest(str(fault["loc"][-1]), _known_keys(fault["loc"][:-1]))
        return f"{where} must be a known key, got {fault['loc'][-1]!r}{near}"
    if fault["type"] == "missing":
        return f"{where} must be given, got nothing; add it"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    rule = fault["msg"].removeprefix("Input should be ")
    return f"{where} must be {rule}, got {fault['input']!r}; correct it"


def _known_keys(loc):
    """The field names of the section that a location leads to."""
    model = Params
    for part in loc:
        if model is None:
            return []
        field = getattr(model, "model_fields", {}).get(part)
        model = _model_of(field.annotation) if field else model
    return list(getattr(model, "model_fields", {}))


def _model_of(annotation):
    """The model inside `Model` or `dict[str, Model]`, else None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = getattr(annotation, "__args__", ())
    return next((_model_of(a) for a in inner if _model_of(a)), None)


def _nearest(name, known):
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
