"""Files that are whole or absent: tensors, text, and the state of a training.

Tensors are safetensors and everything else is JSON, so that no file can run code when
it is read. Every file is written beside its place, flushed to the disk and then moved:
a process killed at any moment leaves the old file or the new one.
"""

import json
import os
import platform
import random
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch

WEIGHTS, MODEL = "weights.safetensors", "model.json"
CHECKPOINT = "checkpoint.safetensors"


class OtherRunError(ValueError):
    """The folder belongs to another network, other settings or other data."""


@dataclass
class Progress:
    """How far a training is."""

    step: int = 0
    loss_sum: float = 0.0  # of the epoch under way
    history: list = field(default_factory=list)


class Clock:
    """Says when a checkpoint is due: every so many steps, or else seconds."""

    def __init__(self, settings):
        self.steps = settings.checkpoint_every_steps
        self.wait_s = settings.checkpoint_every_s
        self.last_s = time.monotonic()

    def is_due(self, step):
        if self.steps is not None:
            return step % self.steps == 0
        if time.monotonic() - self.last_s < self.wait_s:
            return False
        self.last_s = time.monotonic()
        return True


def write_bytes(path, content):
    """Replace the file at `path` by `content`, all or nothing."""
    path = Path(path)
    who = f"{platform.node()}-{os.getpid()}"  # on a cluster two may write for a moment
    partial = path.with_name(f"{path.name}.{who}.partial")
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the move itself
    finally:
        os.close(folder)


def write_tensors(path, tensors, state=None):
    """Write tensors by name, and a JSON-able `state` beside them, into one file."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    metadata = None if state is None else {"state": json.dumps(state)}
    write_bytes(path, safetensors.torch.save(tensors, metadata))


def read_tensors(path):
    """Tensors by name, on the CPU, and the state that `write_tensors` was given.

    Raises
    ------
    ValueError
        If the file is damaged or not of this kind.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return tensors, json.loads((file.metadata() or {}).get("state", "null"))
    except (safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} must be a whole safetensors file, got {error}; "
            "delete it and train again"
        ) from error


@contextmanager
def isolated_randomness(seed, device):
    """Seed every global generator, and put all back as they were at the end."""
    devices = [device] if device.type == "cuda" else []
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def random_state(device):
    """State of every global generator: tensors by name, and a JSON-able rest."""
    tensors = {"random.torch": torch.random.get_rng_state()}
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    name, words, *rest = np.random.get_state()  # noqa: NPY002
    numpy = [name, words.tolist(), *rest]
    return tensors, {"python": random.getstate(), "numpy": numpy}


def restore_random_state(tensors, rest, device):
    """Undo `random_state`; what another device had is left out."""
    torch.random.set_rng_state(tensors["random.torch"])
    if device.type == "cuda" and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"], device)
    version, words, gauss = rest["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(tuple(rest["numpy"]))  # noqa: NPY002


def save(folder, record, learner, optimiser, progress):
    """Write the checkpoint: all that is learned, the optimiser's and random states."""
    device = next(learner.parameters()).device
    random_tensors, rest = random_state(device)
    tensors = {f"learner.{name}": t for name, t in learner.state_dict().items()}
    for name, parameter in learner.named_parameters():
        for key, value in optimiser.state[parameter].items():
            if value is not None:
                tensors[f"optimiser.{key}.{name}"] = value
    state = {"record": record, "random": rest, "progress": asdict(progress)}
    write_tensors(Path(folder) / CHECKPOINT, tensors | random_tensors, state)


def resume(folder, record, learner, optimiser):
    """Progress of the checkpoint, if there is one, with everything put back.

    Raises
    ------
    OtherRunError
        If the checkpoint is of another run.
    """
    path = Path(folder) / CHECKPOINT
    if not path.exists():
        return Progress()
    tensors, state = read_tensors(path)
    check_same_run(path, record, (state or {}).get("record"))
    learner.load_state_dict(_under("learner.", tensors))
    parameters = dict(learner.named_parameters())
    for place, tensor in _under("optimiser.", tensors).items():
        key, name = place.split(".", 1)
        parameter = parameters[name]
        if tensor.shape == parameter.shape:  # in the layout of the parameter
            tensor = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
        optimiser.state[parameter][key] = tensor.to(parameter.device)
    restore_random_state(tensors, state["random"], next(learner.parameters()).device)
    return Progress(**state["progress"])


def _under(prefix, tensors):
    """The tensors whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def is_finished(folder, record):
    """Whether this very run has left its weights; clears what a kill left behind.

    Raises
    ------
    OtherRunError
        If another run has left its weights.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / WEIGHTS).exists():
        return False
    check_same_run(folder / MODEL, record, json.loads((folder / MODEL).read_text()))
    clear(folder)
    return True


def finish(folder, record, model):
    """Write description and weights, the weights last, and remove the checkpoint."""
    weights = model.state_dict()
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise FloatingPointError(
                f"weights must be finite, got NaN or inf in {name}; lower learning_rate"
            )
    text = json.dumps(record, indent=2) + "\n"
    write_bytes(Path(folder) / MODEL, text.encode())
    write_tensors(Path(folder) / WEIGHTS, weights)
    clear(Path(folder))


def clear(folder):
    """Remove the checkpoint, and what a kill during a write has left."""
    for path in (folder / CHECKPOINT, *folder.glob("*.partial")):
        path.unlink(missing_ok=True)


def check_same_run(path, expected, got):
    """Refuse to continue or to reuse another run; say what differs."""
    if difference := first_difference(expected, got):
        where, want, have = difference
        raise OtherRunError(
            f"{path} must be of this run, with {where} = {want!r}, got {have!r}; it is "
            "a checkpoint of another network, other settings or other data: delete "
            "the folder or choose another"
        )


def first_difference(expected, got, where=""):
    """Dotted name and both values of the first difference; None if there is none."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in sorted(expected.keys() | got.keys()):
            name = f"{where}.{key}" if where else key
            if found := first_difference(expected.get(key), got.get(key), name):
                return found
        return None
    return None if expected == got else (where, expected, got)
