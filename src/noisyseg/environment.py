"""Where results were made: interpreter, processor, packages; no people, no hosts.

The last digits of a number depend on these, and through a training much more.
"""

import importlib.metadata
import json
import os
import platform
import re
import tomllib
from pathlib import Path

from noisyseg import workers


def describe(params):
    """The environment of this process, a dict of text and numbers.

    Parameters
    ----------
    params : Params
        Its scale, and how many processes and threads share the work.
    """
    import torch

    device = workers.device(params.compute.device)
    gpu = {"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}
    return {
        "scale": params.scale,
        "python": platform.python_version(),
        "system": " ".join([platform.system(), platform.machine(), *_libc()]),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "processes": params.compute.workers,
        "threads": params.compute.threads,
        "device": device,
        **gpu,
        "torch kernels": torch.backends.cpu.get_cpu_capability(),
        "packages": _packages(),
    }


def _libc():
    return [part for part in platform.libc_ver() if part]


def _processor(source="/proc/cpuinfo"):
    """The model of the processor; less than that where the system does not say."""
    path = Path(source)
    lines = path.read_text().splitlines() if path.exists() else []
    models = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return models[0].strip() if models else platform.processor() or platform.machine()


def _packages(project="pyproject.toml"):
    """Versions of the packages that the project imports."""
    wanted = tomllib.loads(Path(project).read_text())["project"]["dependencies"]
    names = {re.match(r"[\w.-]+", line)[0] for line in wanted}
    return {name: _version(name) for name in sorted(names)}


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def write(params, path):
    """Write the environment of this process as JSON."""
    Path(path).write_text(json.dumps(describe(params), indent=1) + "\n")


def compare(committed, present):
    """Lines that say what differs between two environments.

    Parameters
    ----------
    committed : str or None
        JSON as of `write`.
    present : dict
        As of `describe`.
    """
    if committed is None:
        return "environment: the reference does not say where it was made"
    rows = differences(json.loads(committed), present)
    if not rows:
        return "environment: that of the reference, all tables are due to be the same"
    lines = [f"    {what}: {old} -> {new}" for what, old, new in rows]
    return "\n".join(["environment, that of the reference -> this one", *lines])


def differences(committed, present):
    """What differs between two environments.

    Parameters
    ----------
    committed, present : dict, as of `describe`

    Returns
    -------
    list of (what, committed, present), text; ``-`` where one of them says nothing

    Examples
    --------
    >>> differences({"cpus": 2, "packages": {"torch": "2.1"}}, {"cpus": 2})
    [('torch', '2.1', '-')]
    """
    here, there = _flat(committed), _flat(present)
    return [
        (name, str(here.get(name, "-")), str(there.get(name, "-")))
        for name in here | there
        if here.get(name) != there.get(name)
    ]


def _flat(found):
    return {**found, **found.get("packages", {}), "packages": None}
