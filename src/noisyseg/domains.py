"""Study `mind`: arms x seeds, networks that learn one modality and segment another.

Scans of both are resampled in their planes and cut to one crop (`crossmoda`), learned
as whole volumes, and what a network finds goes back to the grid of its scan.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from noisyseg import (
    borrowing,
    crossmoda,
    domain_cases,
    losses,
    networks,
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
    found = [
        crossmoda.resample_in_plane(labels, study.spacing_mm, order=0)
        for case in domain_cases.cases_of(params, study.source)
        for labels in [domain_cases.load_labels(case, study.classes)]
    ]
    offset_mm, span_mm = crossmoda.annotated_span_mm(found)
    held_mm = np.min([labels.spacing_mm for labels in found], axis=0) * study.shape
    if (held_mm < span_mm).any():
        raise ValueError(
            f"mind.shape must hold all annotations of cohort {study.source}, which "
            f"span {_in_mm(span_mm)}, got {study.shape} for {_in_mm(held_mm)}; take "
            "more voxels"
        )
    return Crop(study.spacing_mm, study.shape, offset_mm)


def _in_mm(edges):
    return " x ".join(f"{edge:.1f}" for edge in edges) + " mm"


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
        return domain_cases.load_labels(case, classes)
    return borrowing.read_fused(cohort, case.subject, kind)


def taught(params, cohort, kind):
    """The cases of a cohort that an arm learns from, by labels of one kind.

    Of the source cohort those that do not watch. Of scans that borrow labels, and of
    their twins whose truth is known, as many as borrow.
    """
    if cohort == params.mind.source:
        return domain_cases.source_cases(params)[0]
    if kind != REFERENCE:
        return borrowing.chosen_scans(params, cohort)
    cases = domain_cases.cases_of(params, cohort)
    borrowers = [name for name, s in params.propagation.items() if s.truth == cohort]
    for name in borrowers:
        subjects = {scan.subject for scan in borrowing.chosen_scans(params, name)}
        cases = [case for case in cases if case.subject in subjects]
    return cases


def _load(params, cases, cohort, kind, crop):
    """Images float32 and labels uint8 of cases, two tuples of tensors (X, Y, Z)."""
    pairs = []
    for case in cases:
        labels = load_labels(case, cohort, kind, params.mind.classes)
        image = crop.cut(domain_cases.load_image(case))
        cuts = image.data, crop.cut(labels, order=0).data
        pairs.append([torch.from_numpy(np.ascontiguousarray(cut)) for cut in cuts])
    return tuple(zip(*pairs, strict=True))


def load_lessons(params, arm, crop):
    """All that an arm learns from: images and labels, tuples of tensors (X, Y, Z)."""
    images, labels = (), ()
    for cohort, kind in arm.learn.items():
        more = _load(params, taught(params, cohort, kind), cohort, kind, crop)
        images, labels = images + more[0], labels + more[1]
    return images, labels


def weigh_classes(labels, n_classes, power):
    """Weights of the classes, n ** power for n voxels, their sum 1; list of float.

    Labels beyond the classes are unknown and do not count.

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
    counts = sum(
        torch.bincount(part.flatten(), minlength=n_classes)[:n_classes]
        for part in labels
    )
    weights = counts.clamp(min=1).double() ** power
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
    crop = choose_crop(params)
    images, labels = load_lessons(params, arm, crop)
    about = {"seed": run.seed, "device": params.compute.device}
    settings = arm.training.model_copy(update=about)
    count = settings.epochs * settings.steps_per_epoch * settings.batch_size
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
        train=volumes.Volumes(
            images, labels, count, run.seed, arm.features, study.augmentation
        ),
        validation=_watched(params, arm.features, crop),
        settings=settings,
        folder=run.folder,
        description={"network": network, "loss": loss, "features": arm.features},
    )


def _fresh(network, loss, seed):
    model = networks.build(**network, rng=np.random.default_rng(seed))
    return {
        "model": model,
        "loss": losses.build(**loss, ignore_index=domain_cases.UNKNOWN),
    }


def _watched(params, features, crop):
    """The source cases that only watch, as `Slices`."""
    _, cases = domain_cases.source_cases(params)
    images, labels = _load(params, cases, params.mind.source, REFERENCE, crop)
    return volumes.described(images, labels, features)


@torch.inference_mode()
def probabilities(model, image, features, device="cpu"):
    """Probabilities of every class, float32 array (C, X, Y, Z).

    Parameters
    ----------
    model : torch.nn.Module
        Features (1, F, X, Y, Z) to logits (1, C, X, Y, Z).
    image : Volume
        On the grid of the crop.
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
