"""`params.yaml` as typed models: an unknown or mistyped key is an error with a remedy.

The sections hold each study as its paper has it; ``scales`` holds what a scale changes.
`load` applies one scale and returns plain, frozen, checked values.
"""

import difflib
from pathlib import Path

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from noisyseg.choices import check_choice
from noisyseg.domain_sections import REFERENCE, DomainStudy, Propagation
from noisyseg.scenario_sections import ScenarioStudy
from noisyseg.sections import (
    Cohort,
    Compute,
    ContourNoise,
    Data,
    Headline,
    Labels,
    Noise,
    OrganStudy,
    Strict,
    Study,
)


class Params(Strict):
    """All of `params.yaml` at one scale."""

    scale: str
    compute: Compute
    data: Data
    cohorts: dict[str, Cohort]
    labels: dict[str, Labels]
    noise: dict[str, Noise] = Field(default_factory=dict)
    contours: dict[str, ContourNoise]
    propagation: dict[str, Propagation]
    sgl: Study
    robust: Study
    cross: Study
    threshold: OrganStudy
    ace: ScenarioStudy
    mind: DomainStudy
    metrics: dict[str, Headline] = Field(default_factory=dict)

    @property
    def studies(self):
        """The studies of label maps by name, in the order of this class."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: part for name, part in found.items() if isinstance(part, Study)}

    @model_validator(mode="after")
    def _names_exist(self):
        for name, labels in self.labels.items():
            check_choice(f"labels.{name}", name, self.cohorts)
            for kind, channels in labels.kinds.items():
                for channel in channels:
                    known = self.cohorts[name].modalities
                    check_choice(f"labels.{name}.kinds.{kind}", channel, known)
        for name, noise in self.noise.items():
            check_choice(f"noise.{name}", name, self.labels)
            _check_noise(name, noise, self)
        for name in self.contours:
            check_choice(f"contours.{name}", name, self.cohorts)
        for name, study in self.studies.items():
            _check_study(name, study, self)
        _check_organs("threshold", self.threshold, self)
        for name, scenario in self.ace.scenarios.items():
            _check_scenario(f"ace.scenarios.{name}", scenario, self)
        for name, settings in self.propagation.items():
            _check_propagation(f"propagation.{name}", name, settings, self)
        _check_domains("mind", self.mind, self)
        return self


def _check_noise(name, noise, params):
    """Refuse noise on labels that no software makes."""
    kinds = params.labels[name].kinds
    check_choice(f"noise.{name}.clean", noise.clean, kinds)
    check_choice(f"noise.{name}.like", noise.like, kinds)
    for kind in noise.kinds:
        if kind in kinds:
            raise ValueError(f"noise.{name}.kinds must have new names, got {kind!r}")


def _check_study(name, study, params):
    """Refuse a study that names a cohort, a label kind or a modality nobody has."""
    check_choice(f"{name}.cohort", study.cohort, params.cohorts)
    kinds = [*params.labels[study.cohort].kinds, "truth"]
    for reference in study.references:
        check_choice(f"{name}.references", reference, kinds)
    if study.cohort in params.noise:
        kinds += params.noise[study.cohort].kinds
    for arm_name, arm in study.arms.items():
        check_choice(f"{name}.arms.{arm_name}.labels", arm.labels, kinds)
        for modality in arm.inputs:
            known = params.cohorts[study.cohort].modalities
            check_choice(f"{name}.arms.{arm_name}.inputs", modality, known)


def _check_organs(name, study, params):
    """Refuse organs that are not made noisy."""
    check_choice(f"{name}.cohort", study.cohort, params.contours)
    known = params.contours[study.cohort].structures
    for organ, structure in study.organs.items():
        check_choice(f"{name}.organs.{organ}", structure, known)


def _check_scenario(name, scenario, params):
    """Refuse cohorts that nobody has, and inputs that a cohort lacks."""
    check_choice(f"{name}.test", scenario.test, params.cohorts)
    needed = {scenario.test: set(scenario.inputs)}
    for key, task in scenario.tasks.items():
        check_choice(f"{name}.tasks.{key}.cohort", task.cohort, params.cohorts)
        needed[scenario.test] |= set(task.inputs)
        needed.setdefault(task.cohort, set()).update(scenario.inputs, task.inputs)
    for cohort, inputs in needed.items():
        lacks = sorted(inputs - set(params.cohorts[cohort].modalities))
        if lacks:
            raise ValueError(
                f"{name}.inputs must be modalities that every cohort has, got "
                f"{', '.join(lacks)}, which cohort {cohort} lacks; leave it out"
            )


def _check_propagation(where, name, settings, params):
    """Refuse cohorts that nobody has, and classes other than those of the study."""
    check_choice(where, name, params.cohorts)
    check_choice(f"{where}.source", settings.source, params.cohorts)
    if settings.truth is not None:
        check_choice(f"{where}.truth", settings.truth, params.cohorts)
    if settings.classes != params.mind.classes:
        raise ValueError(
            f"{where}.classes must be those of mind, {', '.join(params.mind.classes)}, "
            f"got {', '.join(settings.classes)}; use the same list"
        )


def _check_domains(name, study, params):
    """Refuse cohorts that nobody has, and borrowed labels that nobody carries over."""
    for role in ("source", "test"):
        check_choice(f"{name}.{role}", getattr(study, role), params.cohorts)
    cohorts = {study.source, study.test}
    for arm, row in study.arms.items():
        for cohort, kind in row.learn.items():
            known = params.cohorts if kind == REFERENCE else params.propagation
            check_choice(f"{name}.arms.{arm}.learn", cohort, known)
        cohorts |= set(row.learn)
    for cohort in sorted(cohorts):
        if len(params.cohorts[cohort].modalities) != 1:
            raise ValueError(
                f"cohorts.{cohort}.modalities must be one for study {name}, got "
                f"{', '.join(params.cohorts[cohort].modalities)}; leave one"
            )


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
        return Params.model_validate(_complete_arms(merged))
    except ValidationError as error:
        faults = error.errors()
        places = {fault["loc"] for fault in faults}
        said = (f for f in faults if not _is_inherited(f["loc"], places))
        text = "\n".join(_explain(fault) for fault in said)
        raise ValueError(f"{path} (scale {scale}):\n{text}") from None


INHERITED = ("network", "training", "warmup", "image_size", "seeds", "loss", "features")


def _complete_arms(raw):
    """Every arm with all that it inherits, from its study or from the arm it is like.

    Examples
    --------
    >>> study = {"seeds": [0], "arms": {"a": {"loss": 1}}}
    >>> other = {"seeds": [5], "arms": {"b": {"like": "s.a", "loss": 2}}}
    >>> _complete_arms({"s": study, "t": other})["t"]["arms"]
    {'b': {'seeds': [0], 'loss': 2}}
    """
    done, alike = dict(raw), []
    for name, study in raw.items():
        if not isinstance(study, dict) or not isinstance(study.get("arms"), dict):
            continue
        own = {key: study[key] for key in INHERITED if key in study}
        done[name] = {**study, "arms": dict(study["arms"])}
        for arm, row in study["arms"].items():
            if not isinstance(row, dict):
                where = f"{name}.arms.{arm}"
                raise ValueError(f"{where} must be a section, got {row!r}; fill it")
            if "like" in row:
                alike.append((name, arm))
            else:
                row = _with_beta(row, study.get("beta"))
                done[name]["arms"][arm] = _inherit(own, row)
    for name, arm in alike:
        row = dict(raw[name]["arms"][arm])
        base = _arm_called(row.pop("like"), f"{name}.arms.{arm}.like", done)
        done[name]["arms"][arm] = _inherit(base, row)
    return done


OF_BETA = ("beta_cross_entropy", "hybrid_cross_entropy")


def _with_beta(row, beta):
    """An arm with the study's beta where its loss needs one and gives none."""
    loss = row.get("loss")
    if beta is None or not isinstance(loss, dict) or loss.get("name") not in OF_BETA:
        return row
    title = str(row.get("title", "")).replace("{beta}", str(beta))
    return {**row, "title": title, "loss": {"name": "", "beta": beta, **loss}}


def _arm_called(place, where, studies):
    """The arm STUDY.ARM, which is not itself like another."""
    study, _, arm = str(place).partition(".")
    known = studies.get(study) if isinstance(studies.get(study), dict) else {}
    arms = known.get("arms") or {}
    if arm not in arms or "like" in arms[arm]:
        near = _nearest(arm, arms) if arms else f"; there is no study {study!r}"
        raise ValueError(f"{where} must be an arm STUDY.ARM, got {place!r}{near}")
    return arms[arm]


def _inherit(base, row):
    """A row on top of what it inherits; training settings one by one."""
    arm = {**base, **row}
    if isinstance(row.get("training"), dict) and isinstance(base.get("training"), dict):
        arm["training"] = {**base["training"], **row["training"]}
    return arm


def _is_inherited(loc, locs):
    """Whether an arm's fault was already found in its study."""
    return loc[1:2] == ("arms",) and (loc[0], *loc[3:]) in locs


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
            if key not in base:
                near = _nearest(key, base)
                raise ValueError(
                    f"a scale must remove what is there, got {key!r}{near}"
                )
            del merged[key]
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
        return f"{where}.{fault['ctx']['error']}".removeprefix(".")
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
