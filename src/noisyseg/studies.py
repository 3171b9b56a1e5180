"""A study: arms x seeds trained on one cohort, then scored against every reference."""

import time
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from noisyseg import (
    annotation,
    cohorts,
    evaluation,
    inference,
    losses,
    networks,
    noise,
    slicing,
    software,
    training,
    workers,
)

TRAININGS = Path("results/train")
SOFTWARE = "software "  # prefix of the rows that are software labels, not networks


def split(params, study):
    """Training, validation and test cases of a study; the same at every call."""
    cases = software.cases_of(params, study.cohort)
    rng = np.random.default_rng(study.split.seed)
    return cohorts.split(cases, study.split.fractions, rng)


def table(params, study):
    """The label table of a study's cohort."""
    return cohorts.table(params.cohorts[study.cohort].folder)


def run_folder(params, name, arm, seed):
    """Where the weights of one training lie.

    A training that an earlier arm shares, of this study or another, is not repeated:
    its weights are those of the first.
    """
    study = params.studies[name]
    wanted = study.cohort, study.split, study.arms[arm].recipe
    for home, other in params.studies.items():
        for key, row in other.arms.items():
            if seed in row.seeds and (other.cohort, other.split, row.recipe) == wanted:
                return TRAININGS / home / key / f"seed-{seed}"
    raise KeyError(f"seed must be one of {study.arms[arm].seeds}, got {seed}")


def arms_of(study, *, loss_without=(), **fields):
    """Names of the arms with these fields, for instance labels="t1".

    Parameters
    ----------
    study : Study
    loss_without : sequence of str
        Settings that their loss must not have.
    **fields
        Values of fields of an arm.
    """
    return [
        name
        for name, arm in study.arms.items()
        if all(getattr(arm, field) == value for field, value in fields.items())
        and not set(arm.loss) & set(loss_without)
    ]


def trainings(params, name):
    """The arms and seeds of a study, (arm, seed, folder); shared ones as well."""
    return [
        (arm, seed, run_folder(params, name, arm, seed))
        for arm, row in params.studies[name].arms.items()
        for seed in row.seeds
    ]


def train(params, name):
    """Train the arms and seeds of a study, side by side as `compute` says."""
    study = params.studies[name]
    classes = table(params, study)
    for arm_name, arm in study.arms.items():
        for row in (arm.loss, arm.warmup.loss if arm.warmup else arm.loss):
            sets = label_sets(arm, row, classes)
            losses.check(f"{name}.arms.{arm_name}", row, len(classes), sets)
    jobs = [
        (params, name, arm, seed, folder)
        for arm, seed, folder in trainings(params, name)
        if folder == TRAININGS / name / arm / f"seed-{seed}"
    ]
    workers.run_parallel(
        train_run,
        jobs,
        workers=params.compute.workers,
        threads=params.compute.threads,
        scheduler=workers.scheduler_address(params.compute.scheduler),
        title=f"trainings of {name}",
    )
    training.remove_others(TRAININGS / name, [folder for *_, folder in jobs])


def train_run(params, name, arm_name, seed, folder):
    """One training: a pure function of its parameters and its input folder.

    Writes weights, history and description into its own folder. A finished run is not
    repeated, an interrupted one goes on, one of other parameters, data or code starts
    anew.
    """
    study = params.studies[name]
    arm = study.arms[arm_name]
    train_cases, validation_cases, _ = split(params, study)
    description = {
        "network": {
            **arm.network,
            "n_classes": len(table(params, study)),
            "image_size": arm.image_size,
            "in_channels": len(arm.inputs),
        },
        "loss": arm.loss,
        "warmup": arm.warmup and arm.warmup.model_dump(),
        "classes": table(params, study).names,
        "inputs": arm.inputs,
        "frame": frame_of(arm, train_cases).as_dict(),
    }
    if arm.annotated:
        description["annotated"] = arm.annotated
    update = {"seed": seed, "device": params.compute.device}
    training.fit_anew(
        partial(fresh, arm, description, table(params, study), seed),
        train=load_slices(params, study, arm, train_cases),
        validation=load_slices(params, study, arm, validation_cases),
        settings=arm.training.model_copy(update=update),
        folder=folder,
        description=description,
    )


def fresh(arm, description, classes, seed):
    """What a training learns: a new network, a new loss, and what warms it up."""

    def build(row):
        return losses.build(**row, sets=label_sets(arm, row, classes))

    network = networks.build(**description["network"], rng=np.random.default_rng(seed))
    warmup = arm.warmup and (build(arm.warmup.loss), arm.warmup.epochs)
    return {"model": network, "loss": build(arm.loss), "warmup": warmup}


def label_sets(arm, loss, classes):
    """The label-set table of an arm for a loss that asks for one, else None."""
    if not arm.annotated or loss.get("name") not in losses.OF_SETS:
        return None
    return annotation.label_sets(arm.annotated, classes.names)


def frame_of(arm, cases):
    """The pixels that the network of an arm sees, for heads of other grids."""
    return _frame_of(tuple(case.images[arm.inputs[0]] for case in cases))


@lru_cache(maxsize=1)  # the arms of a study see the same heads
def _frame_of(paths):
    return inference.Frame.of([software.load_image(path) for path in paths])


def load_slices(params, study, arm, cases):
    """The slices of some cases with the labels that an arm learns from."""
    labels = []
    for turn, case in enumerate(cases):
        target = noise.load_labels(params, study.cohort, arm.labels, case)
        if arm.annotated:
            target = _withhold(target, turn, arm, table(params, study))
        labels.append(slicing.label_slices(target, arm.image_size))
    paths = tuple(tuple(case.images.items()) for case in cases)
    images = _image_slices(paths, tuple(arm.inputs), arm.image_size)
    return training.Slices(images, torch.cat(labels))


def _withhold(labels, turn, arm, classes):
    """What a case tells when the cases annotate in turn."""
    told = annotation.withhold(labels.data, turn, arm.annotated, classes.names)
    if arm.loss["name"] not in losses.OF_SETS:
        told = annotation.as_background(told, len(classes))
    return labels.with_data(told)


@lru_cache(maxsize=2)  # training and validation heads of a study
def _image_slices(paths, inputs, size):
    """Slices of some heads, float32 (N, modality, size, size)."""
    slices = []
    for images in paths:
        loaded = software.load_images(dict(images))
        slices.append(slicing.image_slices([loaded[name] for name in inputs], size))
    return torch.cat(slices)


def evaluate(params, name):
    """Every arm, seed and software label of a study on its held-out cases.

    Returns
    -------
    scores : DataFrame
        The long table: study, arm, seed, fold, case, reference, structure, metric,
        value.
    seconds : DataFrame
        study, arm, seed, case, seconds: time to segment one head.
    """
    study = params.studies[name]
    *_, test_cases = split(params, study)
    found = workers.run_parallel(
        _score_case,
        [(params, name, case) for case in test_cases],
        workers=params.compute.workers,
        threads=params.compute.threads,
        title=f"held-out cases of {name}",
    )
    scores, seconds = (
        pd.concat(parts, ignore_index=True) for parts in zip(*found, strict=True)
    )
    return scores, seconds


def _score_case(params, name, case):
    """Scores and seconds of one case under every method."""
    study = params.studies[name]
    predictions, seconds = predict(params, name, case)
    scores = []
    for reference in study.references:
        truth = software.load_reference(params, study.cohort, reference, case)
        for (arm, seed), found in predictions.items():
            if arm == SOFTWARE + reference:
                continue
            rows = evaluation.score(
                truth,
                found,
                table(params, study),
                study.tolerance_mm,
                metrics=study.metrics,
            )
            rows.insert(0, "reference", reference)
            scores.append(_labelled(rows, name, arm, seed, case))
    rows = [
        _labelled(pd.DataFrame({"seconds": [value]}), name, arm, seed, case)
        for (arm, seed), value in seconds.items()
    ]
    return pd.concat(scores), pd.concat(rows)


def _labelled(rows, study, arm, seed, case):
    """Rows with the columns that say where they come from in front."""
    origin = {"study": study, "arm": arm, "seed": seed, "fold": 0, "case": case.subject}
    return pd.DataFrame({**{k: [v] * len(rows) for k, v in origin.items()}}).join(
        rows.reset_index(drop=True)
    )


def predict(params, name, case):
    """Labels of one case under every arm and seed, beside the software's.

    Returns
    -------
    labels : dict of (arm, seed) to Volume
    seconds : dict of (arm, seed) to float
        Time of the networks, weights loaded.
    """
    study = params.studies[name]
    images = software.load_images(case.images)
    labels, seconds = {}, {}
    for kind in params.labels[study.cohort].kinds:
        found = software.load_reference(params, study.cohort, kind, case)
        labels[SOFTWARE + kind, 0] = found
    device = workers.device(params.compute.device)
    for arm_name, seed, folder in trainings(params, name):
        arm = study.arms[arm_name]
        inputs = [images[modality] for modality in arm.inputs]
        model = training.load(folder)
        start = time.perf_counter()
        found = inference.segment(model, inputs, arm.image_size, device=device)
        seconds[arm_name, seed] = time.perf_counter() - start
        labels[arm_name, seed] = found
    return labels, seconds


def segment_head(folder, images, device="cpu"):
    """Labels of a head of any grid from the weights of one training.

    The head is brought to the pixels that the network was trained on; the class scores
    are brought back to the head's own grid before the decision.

    Parameters
    ----------
    folder : str or Path
        A run's folder, as `train_run` writes it.
    images : list of Volume
        The modalities the network was trained on, canonical axes, one grid.
    device : str
        Torch device.

    Returns
    -------
    Volume of uint8 labels on the grid of the first image
    """
    model, description = training.load(folder), training.describe(folder)
    frame = inference.Frame(**description["frame"])
    size = description["network"]["image_size"]
    return inference.segment_in_frame(model, images, size, frame, device=device)
