"""Study `threshold`: organs x strengths of noise x folds x losses.

One small binary network each. It learns from noisy contours and gives a probability
for every voxel of a crop around the organ; where to cut that is asked afterwards.
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from noisyseg import (
    contours,
    crops,
    losses,
    networks,
    totalsegmentator,
    training,
    workers,
)

STUDY = "threshold"
TRAININGS = Path("results/train") / STUDY


@dataclass(frozen=True)
class Task:
    """One organ at one strength of noise, with one of the folds held out."""

    organ: str
    sd_mm: float
    fold: int

    def folder(self, arm):
        """Where the weights of an arm lie."""
        place = f"{self.organ}/a-{self.sd_mm:g}/{arm}/fold-{self.fold}"
        return TRAININGS / place


def tasks(params):
    """All tasks of the study."""
    study = params.threshold
    strengths = params.contours[study.cohort].sd_mm
    return [
        Task(organ, sd_mm, fold)
        for organ in study.organs
        for sd_mm in strengths
        for fold in range(study.folds)
    ]


def split(params, task):
    """Training and held-out scans of a task; every scan is held out in one fold."""
    study = params.threshold
    scans = contours.scans_with(params, study.cohort, study.organs[task.organ])
    if len(scans) < study.folds:
        raise ValueError(
            f"{task.organ} must be seen in at least {study.folds} scans, one a fold, "
            f"got {len(scans)}; lower folds or add scans"
        )
    order = np.random.default_rng(study.seed).permutation(len(scans))
    held_out = set(np.array_split(order, study.folds)[task.fold].tolist())
    return (
        [scan for i, scan in enumerate(scans) if i not in held_out],
        [scan for i, scan in enumerate(scans) if i in held_out],
    )


@dataclass(frozen=True, eq=False)  # one scan's crop is itself alone
class Crop:
    """What there is around an organ of one scan, slice by slice (Z, size, size)."""

    images: torch.Tensor  # float32 (Z, channels, size, size)
    truth: np.ndarray  # bool
    window: crops.Window
    spacing_mm: tuple[float, float, float]  # along Z, X, Y

    def noisy(self, scan, cohort, structure, sd_mm):
        """The noisy mask of one strength, bool (Z, size, size)."""
        return _noisy(self, contours.noisy(scan, cohort, sd_mm), structure)


@lru_cache(maxsize=128)  # the folds and arms of a task see the same masks
def _noisy(crop, scan, structure):
    return crop.window.cut(totalsegmentator.load_mask(scan, structure).data, False)


@lru_cache(maxsize=128)
def _crop(scan, structure, crop_mm, reach_mm, window_hu, context):
    mask, ct = (
        totalsegmentator.load_mask(scan, structure),
        totalsegmentator.load_ct(scan),
    )
    window = crops.around(mask, crop_mm, reach_mm)
    images = crops.image_slices(ct, window, window_hu, context)
    x_mm, y_mm, z_mm = mask.spacing_mm
    truth = window.cut(mask.data, False)
    lost = 1 - np.count_nonzero(truth) / np.count_nonzero(mask.data)
    if lost > 0.01:
        warnings.warn(
            f"crop_mm should hold the organ, got {crop_mm:g}, which leaves out "
            f"{lost:.0%} of {structure} of {scan.name}: that does not count",
            stacklevel=2,
        )
    return Crop(images, truth, window, (z_mm, x_mm, y_mm))


def load(params, organ, scan):
    """The crop of a scan around an organ."""
    study = params.threshold
    reach_mm = 3 * max(params.contours[study.cohort].sd_mm)
    how = study.crop_mm, reach_mm, study.window_hu, study.context_slices
    return _crop(scan, study.organs[organ], *how)


def load_slices(params, task, scans):
    """Slices of some scans with the noisy contours that a task learns from."""
    study = params.threshold
    structure, images, labels = study.organs[task.organ], [], []
    for scan in scans:
        crop = load(params, task.organ, scan)
        mask = crop.noisy(scan, study.cohort, structure, task.sd_mm)
        images.append(crop.images)
        labels.append(torch.from_numpy(mask.astype(np.uint8)))
    sizes = {part.shape[-1] for part in images}
    if len(sizes) > 1:
        raise ValueError(
            f"scans must have one spacing, got crops of {sorted(sizes)} pixels; "
            "resample the scans"
        )
    return training.Slices(torch.cat(images), torch.cat(labels))


def train(params, name=STUDY):
    """Train all networks of the study, where `compute` says."""
    arms = params.threshold.arms
    for arm_name, arm in arms.items():
        losses.check(f"{name}.arms.{arm_name}", arm.loss, 2)
    workers.run_parallel(
        train_run,
        [
            (params, task, arm)
            for task in tasks(params)
            for arm in params.threshold.arms
        ],
        workers=params.compute.workers,
        threads=params.compute.threads,
        scheduler=workers.scheduler_address(params.compute.scheduler),
        title=f"trainings of {name}",
    )
    kept = [task.folder(arm) for task in tasks(params) for arm in arms]
    training.remove_others(TRAININGS, kept)


def train_run(params, task, arm_name):
    """One training: a pure function of its parameters and its input folders.

    The arms of a task begin with the same weights and see the same slices.
    """
    arm = params.threshold.arms[arm_name]
    train_scans, _ = split(params, task)
    slices = load_slices(params, task, train_scans)
    seed = params.threshold.seed + task.fold
    network = {
        **arm.network,
        "n_classes": 2,
        "image_size": slices.images.shape[-1],
        "in_channels": slices.images.shape[1],
    }
    update = {"seed": seed, "device": params.compute.device}
    training.fit_anew(
        partial(_fresh, network, arm.loss, seed),
        train=slices,
        validation=slices.none(),
        settings=arm.training.model_copy(update=update),
        folder=task.folder(arm_name),
        description={"network": network, "loss": arm.loss, "organ": task.organ},
    )


def _fresh(network, loss, seed):
    model = networks.build(**network, rng=np.random.default_rng(seed))
    return {"model": model, "loss": losses.build(**loss)}


@torch.no_grad()
def probabilities(model, images, *, device="cpu", batch_size=32):
    """Probability of the organ in every voxel of a crop, float32 (Z, size, size)."""
    layout = {"memory_format": torch.channels_last}
    model = model.to(device, **layout).eval()
    parts = [
        model(batch.to(device, **layout)).float().softmax(1)[:, 1].cpu()
        for batch in images.split(batch_size)
    ]
    return torch.cat(parts).numpy()
