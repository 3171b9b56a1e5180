"""Training: a network, slices and settings in, a folder with its weights out.

The folder of a finished training holds ``weights.safetensors``, ``model.json`` (the
network, the settings, a fingerprint of the data) and ``history.csv``; the same inputs
on the same processor give the same bytes. Until then there is also
``checkpoint.safetensors``, from which it goes on after any interruption, to end with
the same bytes.
"""

import csv
import hashlib
import inspect
import io
import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from noisyseg import augmentation, batches, checkpoints, losses, networks, targets
from noisyseg.batches import Plan, Slices
from noisyseg.checkpoints import MODEL, WEIGHTS, OtherRunError

__all__ = [
    "OtherRunError",
    "Slices",
    "describe",
    "fit",
    "fit_anew",
    "load",
    "remove_others",
]

HISTORY = "history.csv"
WATCHED = ("epoch", "train_loss", "validation_loss", "validation_dice")
INCIDENTAL = {"device", "checkpoint_every_steps", "checkpoint_every_s"}


def fit(model, loss, train, validation, settings, folder, *, description, warmup=None):
    """Train `model` and leave its weights in `folder`; an interrupted run goes on.

    Parameters
    ----------
    model : torch.nn.Module
        Built by ``networks.build``; gets the trained weights.
    loss : callable (logits, labels) -> scalar
        As of ``losses.build``; what a Module learns itself is learned along.
    train, validation : Slices
        Validation only watches: the weights are those of the last step, as published.
        For `train` whatever has its ``len``, ``batch``, ``held_on`` and ``fingerprint``
        does, such as ``patches.Patches``.
    settings : noisyseg.settings.TrainingSettings
    folder : str or Path
    description : dict
        What ``model.json`` says, at least "network": the arguments of
        ``networks.build``. All that decides about the result belongs into it, the loss
        for instance: a folder of another description is never continued.
    warmup : (callable, int), optional
        Another loss, and for how many epochs it comes first.

    Returns
    -------
    torch.nn.Module, `model` in evaluation mode on its device

    Raises
    ------
    OtherRunError
        If the folder holds a training of another description, settings or data.
    FloatingPointError
        If the loss is not finite.
    """
    folder, validation = Path(folder), validation.every(settings.validation_stride)
    first_loss, first_epochs = warmup or (loss, 0)
    code = code_hash(description, loss, first_loss, type(train))
    record = make_record(model, train, validation, settings, description | code)
    device = choose_device(settings.device)
    if checkpoints.is_finished(folder, record):
        model.load_state_dict(checkpoints.read_tensors(folder / WEIGHTS)[0])
        return model.to(device).eval()
    n_axes = max(weights.ndim for weights in model.parameters())
    model.to(device, memory_format=layout(settings, n_axes))
    learner = nn.ModuleDict({"model": model})
    if isinstance(loss, nn.Module):
        learner["loss"] = loss.to(device)
    optimiser = choose_optimiser(learner, settings)
    plan, clock = Plan(settings, len(train)), checkpoints.Clock(settings)
    train, validation = train.held_on(device), validation.held_on(device)

    with checkpoints.isolated_randomness(settings.seed, device):
        progress = checkpoints.resume(folder, record, learner, optimiser)
        bar = tqdm(initial=progress.step, total=plan.n_steps, mininterval=2)
        while progress.step < plan.n_steps:
            rate, indices = plan.learning_rate(progress.step), plan.batch(progress.step)
            for group in optimiser.param_groups:
                group["lr"] = rate
            images, labels = train.batch(indices, device)
            if settings.augmentation:
                how = settings.augmentation, plan.rng(progress.step)
                images, labels = augmentation.augment(images, labels, *how)
            epoch = progress.step // plan.steps_per_epoch
            loss_now = first_loss if epoch < first_epochs else loss
            value = loss_now(forward(model.train(), images, settings), labels)
            check_finite(value, plan, progress.step, rate, indices)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()

            progress.step += 1
            progress.loss_sum += value.item()
            bar.update()
            if progress.step % plan.steps_per_epoch == 0:
                scores = validate(model, loss, validation, settings, device)
                close_epoch(progress, plan, rate, scores)
                write_history(folder, progress.history)
                last = progress.history[-1]
                bar.set_postfix({key: last[key] for key in WATCHED})
            if clock.is_due(progress.step) and progress.step < plan.n_steps:
                checkpoints.save(folder, record, learner, optimiser, progress)
        bar.close()
    checkpoints.finish(folder, record, model)
    return model.eval()


def fit_anew(fresh, *, folder, **inputs):
    """`fit`, after the training of other inputs that the folder may hold is removed.

    Parameters
    ----------
    fresh : callable
        Gives what is learned: a dict of model, loss and, if there is one, warmup.
    folder : str or Path
    **inputs
        The other arguments of `fit`.
    """
    try:
        return fit(**fresh(), folder=folder, **inputs)
    except OtherRunError:
        shutil.rmtree(folder)
        return fit(**fresh(), folder=folder, **inputs)


def remove_others(folder, kept):
    """Remove the trainings below a folder that nobody asks for any more."""
    wanted = {place for run in kept for place in (run, *run.parents)}
    for place in [path for path in folder.rglob("*") if path.is_dir()]:
        if place not in wanted:
            shutil.rmtree(place, ignore_errors=True)  # or its parent is gone already


def choose_optimiser(learner, settings):
    """The optimiser of everything that is learned, as the settings name it."""
    shared = dict(lr=settings.learning_rate, weight_decay=settings.weight_decay)
    if settings.optimiser == "adam":
        return torch.optim.Adam(learner.parameters(), fused=True, **shared)
    return torch.optim.SGD(learner.parameters(), momentum=settings.momentum, **shared)


def forward(model, images, settings):
    """Logits, float32 (B, classes, ...), in the settings' precision and layout."""
    images = images.contiguous(memory_format=layout(settings, images.ndim))
    half = settings.precision == "bfloat16"
    with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
        logits = model(images)
    return logits.float()


def layout(settings, n_axes):
    """Memory format of images (B, C, ...) and weights with as many axes."""
    if not settings.channels_last:
        return torch.contiguous_format
    return {4: torch.channels_last, 5: torch.channels_last_3d}[n_axes]


@torch.inference_mode()
def validate(model, loss, slices, settings, device):
    """Mean loss per batch, Dice of every class of all slices together, and its mean.

    The mean is over the foreground. Classes that are neither labelled nor predicted do
    not count, nor do pixels whose label is no class; without slices all is NaN.
    """
    model.eval()
    values, confusion = [], 0
    for start in range(0, len(slices), settings.batch_size):
        indices = np.arange(start, min(start + settings.batch_size, len(slices)))
        images, labels = slices.batch(indices, device)
        logits = forward(model, images, settings)
        values.append(loss(logits, labels).item())
        confusion = confusion + count_pairs(logits.argmax(1), labels, logits.shape[1])
    if not values:
        return {"validation_loss": math.nan, "validation_dice": math.nan}
    either = confusion.sum(0) + confusion.sum(1)
    dice = 2 * confusion.diag() / either  # NaN where there is none
    found = {
        "validation_loss": float(np.mean(values)),
        "validation_dice": dice[1:].nanmean().item(),
    }
    return found | {f"dice_{c}": value for c, value in enumerate(dice.tolist())}


def count_pairs(pred, labels, n_classes):
    """Confusion matrix, int64 (label, prediction)."""
    kept = labels < n_classes
    pairs = labels[kept].long() * n_classes + pred[kept]
    counts = torch.bincount(pairs, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes)


def check_finite(value, plan, step, rate, indices):
    """Stop a training that has diverged, and say where."""
    if not value.isfinite():
        raise FloatingPointError(
            f"loss must be finite, got {value.item()} in epoch "
            f"{step // plan.steps_per_epoch + 1}, step {step + 1} at learning_rate "
            f"{rate:.3g}, slices {indices.tolist()}; lower the rate or see these slices"
        )


def close_epoch(progress, plan, rate, scores):
    """Append the epoch's row to the history."""
    row = {
        "epoch": progress.step // plan.steps_per_epoch,
        "step": progress.step,
        "learning_rate": rate,
        "train_loss": progress.loss_sum / plan.steps_per_epoch,
    }
    progress.history.append(row | scores)
    progress.loss_sum = 0.0


def write_history(folder, rows):
    """`history.csv`, one row per epoch; no times, so that its bytes repeat."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    checkpoints.write_bytes(folder / HISTORY, text.getvalue().encode())


def make_record(model, train, validation, settings, description):
    """All that decides about the result, as ``model.json`` keeps it."""
    if len(train) == 0:
        raise ValueError("train must hold slices, got none; check the split")
    twin = networks.build(**description["network"], rng=np.random.default_rng(0))
    check_shapes("description", twin.state_dict(), model.state_dict())
    record = {
        **description,
        "training": settings.model_dump(exclude=INCIDENTAL),
        "data": {"train": train.fingerprint(), "validation": validation.fingerprint()},
    }
    return json.loads(json.dumps(record))  # as it will be read


def code_hash(description, *parts):
    """Hash of the code that decides what a training gives: {"code": hash}.

    Parameters
    ----------
    description : dict
        Says which network.
    *parts
        The losses, and the class of the slices.
    """
    if "network" not in description:
        raise ValueError(
            f"description must say the network, got {sorted(description)}; add "
            '"network", the arguments of networks.build'
        )
    modules = {batches, augmentation, targets, sys.modules[__name__]}
    modules.add(inspect.getmodule(networks.NETWORKS[description["network"]["name"]]))
    modules.update(*(losses.modules_of(part) for part in parts))
    shared = (networks.build, losses.build, losses.Mixture)
    code = [*sorted(map(inspect.getsource, modules)), *map(inspect.getsource, shared)]
    return {"code": hashlib.sha256("".join(code).encode()).hexdigest()}


def check_shapes(name, expected, got):
    """Refuse the tensors of another network."""
    shapes = [{k: tuple(t.shape) for k, t in part.items()} for part in (expected, got)]
    for key in sorted(shapes[0].keys() | shapes[1].keys()):
        want, have = (part.get(key, "nothing") for part in shapes)
        if want != have:
            raise ValueError(
                f"{name} must be of this network, with {key} {want}, got {have}; it "
                "is a checkpoint of another network"
            )


def choose_device(name):
    """The torch device called `name`; auto takes CUDA where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device must exist, got cuda without a GPU; use auto or cpu")
    return torch.device(name, torch.cuda.current_device() if name == "cuda" else None)


def describe(folder):
    """What ``model.json`` of a finished training says, a dict."""
    for name in (MODEL, WEIGHTS):
        if not (Path(folder) / name).is_file():
            raise FileNotFoundError(
                f"{folder} must be the folder of a finished training, got no {name}; "
                "train first"
            )
    return json.loads((Path(folder) / MODEL).read_text())


def load(folder):
    """Trained network of a folder that `fit` wrote, on the CPU, in evaluation mode.

    Raises
    ------
    FileNotFoundError
        If no training has finished there.
    ValueError
        If the weights are damaged or those of another network.
    """
    model = networks.build(**describe(folder)["network"], rng=np.random.default_rng(0))
    path = Path(folder) / WEIGHTS
    weights, _ = checkpoints.read_tensors(path)
    check_shapes(path, model.state_dict(), weights)
    model.load_state_dict(weights)
    return model.eval()
