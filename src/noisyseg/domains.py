"""Study `mind`: arms x seeds, networks that learn one modality and segment another.

Scans of both are resampled in their planes and cut to one crop (`crossmoda`), learned
as whole volumes, and what a network finds goes back to the grid of its scan.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from noisyseg import (
    borrowing,
    crossmoda,
    datasets,
    losses,
    networks,
    thresholds,
    training,
    volumes,
    workers,
)
from noisyseg.domain_sections import REFERENCE

STUDY = "mind"
TRAININGS = Path("results/train") / STUDY


@dataclass(frozen=True)
class Run:
    """One training: an arm and a seed."""

    arm: str
    seed: int

    @property
    def folder(self):
        """Where its weights lie."""
        return TRAININGS / self.arm / f"seed-{self.seed}"


@dataclass(frozen=True)
class Crop:
    """The part of every scan that is learned.

    Attributes
    ----------
    spacing_mm : float
        Edge of a voxel within the slice.
    shape : triple of int
    offset_mm : triple of float
        Its middle, from the middle of the scan.
    """

    spacing_mm: float
    shape: tuple[int, int, int]
    offset_mm: tuple[float, float, float]

    def cut(self, found, order=1):
        """The crop of a canonical volume; `order` 1 for images, 0 for labels."""
        there = crossmoda.resample_in_plane(found, self.spacing_mm, order=order)
        return crossmoda.crop(there, self.shape, self.offset_mm)


def runs(params, arm=None):
    """The trainings of the study, or those of one arm."""
    return [
        Run(name, seed)
        for name, row in params.mind.arms.items()
        for seed in row.seeds
        if arm in (None, name)
    ]


def choose_crop(params):
    """The crop around the annotations of the source cohort.

    Raises
    ------
    ValueError
        If it does not hold them all.
    """
    study = params.mind
    where = params.cohorts[study.source]
    return _choose_crop(where, study.source, study.spacing_mm, study.shape)


@lru_cache(maxsize=2)
def _choose_crop(where, cohort, spacing_mm, shape):
    found = [
        crossmoda.resample_in_plane(datasets.load_labels(case), spacing_mm, order=0)
        for case in datasets.cases_of(where, cohort, where.modalities)
    ]
    offset_mm, span_mm = crossmoda.annotated_span_mm(found)
    held_mm = np.min([labels.spacing_mm for labels in found], axis=0) * shape
    if (held_mm < span_mm).any():
        raise ValueError(
            f"mind.shape must hold all annotations of cohort {cohort}, which span "
            f"{_in_mm(span_mm)}, got {shape} for {_in_mm(held_mm)}; take more voxels"
        )
    return Crop(spacing_mm, shape, offset_mm)


def _in_mm(edges):
    return " x ".join(f"{edge:.1f}" for edge in edges) + " mm"


def source_cases(params):
    """The cases of the source cohort that learn, and those that only watch.

    Returns
    -------
    seen, watched : lists of casefiles.Case
    """
    study = params.mind
    where = params.cohorts[study.source]
    cases = datasets.cases_of(where, study.source, where.modalities)
    n_seen = len(cases) - min(round(study.watched * len(cases)), len(cases) - 1)
    return cases[:n_seen], cases[n_seen:]


def load_image(case, crop):
    """A case's image as the networks see it, Volume of float32 on the crop's grid."""
    return crop.cut(datasets.load_image(case, next(iter(case.images))))


def load_labels(case, cohort, kind, classes):
    """Labels of a case on its own grid, uint8 Volume in the places of `classes`.

    Parameters
    ----------
    case : casefiles.Case
    cohort : str
    kind : str
        ``reference``, or a fusion of borrowed labels.
    classes : sequence of str
    """
    if kind == REFERENCE:
        return borrowing.recoded(datasets.load_labels(case), case, classes)
    return borrowing.read_fused(cohort, case.subject, kind)


def taught(params, cohort, kind):
    """The cases of a cohort that an arm learns from, by labels of one kind."""
    if cohort == params.mind.source:
        return source_cases(params)[0]
    if kind != REFERENCE:
        return borrowing.chosen_scans(params, cohort)
    where = params.cohorts[cohort]
    return datasets.cases_of(where, cohort, where.modalities)


def _load(params, cases, cohort, kind):
    """Images float32 and labels uint8 of cases, as lists of tensors (X, Y, Z)."""
    crop, pairs = choose_crop(params), []
    for case in cases:
        labels = load_labels(case, cohort, kind, params.mind.classes)
        cuts = load_image(case, crop).data, crop.cut(labels, order=0).data
        pairs.append([torch.from_numpy(np.ascontiguousarray(cut)) for cut in cuts])
    return tuple(zip(*pairs, strict=True)) if pairs else ((), ())


def load_lessons(params, arm):
    """All that an arm learns from: images and labels, tuples of tensors (X, Y, Z)."""
    images, labels = (), ()
    for cohort, kind in arm.learn.items():
        more = _load(params, taught(params, cohort, kind), cohort, kind)
        images, labels = images + more[0], labels + more[1]
    return images, labels


def weigh_classes(labels, n_classes, power):
    """Weights of the classes, n ** power for n voxels, their sum 1; list of float.

    Parameters
    ----------
    labels : sequence of integer tensors
        Classes that do not occur weigh as if one voxel did.
    n_classes : int
    power : float

    Examples
    --------
    >>> labels = [torch.tensor([0] * 64 + [1] * 4 + [2])]
    >>> [round(weight, 4) for weight in weigh_classes(labels, 3, -0.5)]
    [0.0769, 0.3077, 0.6154]
    """
    counts = sum(torch.bincount(part.flatten(), minlength=n_classes) for part in labels)
    weights = counts[:n_classes].clamp(min=1).double() ** power
    return (weights / weights.sum()).tolist()


def train(params, name=STUDY):
    """Train all networks of the study, where `compute` says."""
    study = params.mind
    for arm, row in study.arms.items():
        weights = [1.0] * len(study.classes)
        losses.check(
            f"{name}.arms.{arm}", {**row.loss, "class_weights": weights}, len(weights)
        )
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
    """One training: a pure function of its parameters and its input folders."""
    study, arm = params.mind, params.mind.arms[run.arm]
    images, labels = load_lessons(params, arm)
    settings = _settings(params, run, len(images))
    steps = settings.epochs * settings.steps_per_epoch * settings.batch_size
    learned = volumes.Volumes(
        images, labels, steps, run.seed, arm.features, study.augmentation
    )
    network = {
        **arm.network,
        "n_classes": len(study.classes),
        "image_size": max(study.shape),
        "in_channels": len(volumes.FEATURES[arm.features](images[0])),
    }
    weights = weigh_classes(labels, len(study.classes), study.weight_power)
    loss = {**arm.loss, "class_weights": weights}
    training.fit_anew(
        partial(_fresh, network, loss, run.seed),
        train=learned,
        validation=_watched(params, learned),
        settings=settings,
        folder=run.folder,
        description={"network": network, "loss": loss, "features": arm.features},
    )


def _settings(params, run, n_images):
    """Settings of a training; an epoch is one pass where nothing else is said."""
    given = params.mind.arms[run.arm].training
    update = {
        "steps_per_epoch": given.steps_per_epoch or -(-n_images // given.batch_size),
        "seed": run.seed,
        "device": params.compute.device,
    }
    return given.model_copy(update=update)


def _fresh(network, loss, seed):
    model = networks.build(**network, rng=np.random.default_rng(seed))
    return {"model": model, "loss": losses.build(**loss)}


def _watched(params, learned):
    """The source cases that only watch, unchanged, as `Slices`; maybe none."""
    study = params.mind
    _, cases = source_cases(params)
    images, labels = _load(params, cases, study.source, REFERENCE)
    if not cases:
        images, labels = learned.images[:1], learned.labels[:1]
    found = volumes.described(images, labels, learned.features)
    return found if cases else found.none()


@torch.inference_mode()
def probabilities(model, image, features, device="cpu"):
    """Probabilities of every class, float32 array (C, X, Y, Z).

    Parameters
    ----------
    model : torch.nn.Module
        Features (1, F, X, Y, Z) to logits (1, C, X, Y, Z).
    image : Volume
        As `load_image` gives it.
    features : str
        A key of ``volumes.FEATURES``.
    device : str
        Torch device.
    """
    layout = torch.channels_last_3d
    model = model.to(device, memory_format=layout).eval()
    data = torch.from_numpy(np.ascontiguousarray(image.data)).to(device)
    described = volumes.FEATURES[features](data)[None]
    logits = model(described.contiguous(memory_format=layout))
    return logits[0].float().softmax(0).cpu().numpy()


def most_likely(prob):
    """The most likely class of every voxel, uint8 array (X, Y, Z)."""
    return prob.argmax(0).astype(np.uint8)


def unweighted(prob, weights):
    """Probabilities as they would be without class weights in the loss.

    A proper loss whose labels weigh w_c is least at p_c w_c / sum_k p_k w_k, p the true
    probabilities; this undoes it (as Saerens, Latinne, Decaestecker 2002, Neural
    Computation 14, for changed priors).

    Parameters
    ----------
    prob : float array of shape (C, X, Y, Z)
    weights : sequence of C floats, above 0

    Examples
    --------
    >>> unweighted(np.array([[0.2], [0.8]]), [1, 4])
    array([[0.5],
           [0.5]])
    """
    shares = prob / np.reshape(weights, (-1, *[1] * (prob.ndim - 1)))
    return (shares / shares.sum(axis=0)).astype(prob.dtype)


def dice_optimal(prob):
    """The classes that reach their Dice-optimal thresholds, uint8 array (X, Y, Z).

    Each structure is cut at its own threshold (`thresholds.one_vs_rest`); of two that
    claim a voxel the one that exceeds its threshold by more, as a factor, has it.

    Parameters
    ----------
    prob : float array of shape (C, X, Y, Z)
        The background first.

    Examples
    --------
    >>> rows = [[0.1, 0.5, 0.6, 1], [0.9, 0.5, 0, 0], [0, 0, 0.4, 0]]
    >>> dice_optimal(np.array(rows))  # cut at .41 and .29
    array([1, 1, 2, 0], dtype=uint8)
    """
    cuts = thresholds.one_vs_rest(prob[1:])
    excess = prob[1:] / cuts.reshape(-1, *[1] * (prob.ndim - 1))
    return np.where((excess >= 1).any(0), excess.argmax(0) + 1, 0).astype(np.uint8)
