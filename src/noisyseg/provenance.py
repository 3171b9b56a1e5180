"""What a stage of `dvc.yaml` was made of: its code and parameters before it ran.

DVC hashes what a stage depends on after its command has ended, so that code which was
edited meanwhile is recorded as if it had made the outputs. `guarded` takes the hashes
before, compares them at the end, and leaves them as an output of the stage:
``results/provenance/<stage>.json``.
"""

import hashlib
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from noisyseg.choices import check_choice, listed

PIPELINE, LOCK = Path("dvc.yaml"), Path("dvc.lock")
RECORDS = Path("results/provenance")
CODE = ("src/noisyseg/", "notebooks/")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a tenth of the time


class ChangedCodeError(RuntimeError):
    """The code of a stage was edited while the stage ran."""


@dataclass(frozen=True)
class Stage:
    """A stage of `dvc.yaml` with its templates filled in."""

    name: str
    cmd: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    params: tuple[str, ...]

    @property
    def code(self):
        """The modules, tables and notebooks among what it depends on."""
        return tuple(sorted({dep for dep in self.deps if dep.startswith(CODE)}))

    @property
    def record(self):
        """Where it leaves what it was made of."""
        return RECORDS / f"{self.name}.json"


def pipeline(path=PIPELINE, scale=""):
    """All stages of a `dvc.yaml` by name, those of `foreach` one by one.

    DVC's own reader takes two seconds to say the same (a test compares the two); this
    one knows the templates that the file has: ``${item}``, ``${item.field}``,
    ``${key}`` and ``${scale}``.

    Parameters
    ----------
    path : str or Path
    scale : str
        What ``${scale}`` stands for.

    Returns
    -------
    dict of str to Stage
    """
    path, found = Path(path), {}
    for name, about in _load(path, path.stat().st_mtime_ns).get("stages", {}).items():
        if "foreach" not in about:
            found[name] = _stage(name, about, {"scale": scale})
            continue
        items = about["foreach"]
        if not isinstance(items, dict):
            items = {str(item): item for item in items}
        for key, item in items.items():
            values = {"scale": scale, "key": key, "item": item}
            if isinstance(item, dict):
                values |= {f"item.{field}": value for field, value in item.items()}
            found[f"{name}@{key}"] = _stage(f"{name}@{key}", about["do"], values)
    return found


@lru_cache(maxsize=4)
def _load(path, _changed_ns):
    return yaml.load(path.read_text(), LOADER)


def _stage(name, about, values):
    """A stage whose templates are filled with values."""

    def fill(text):
        return re.sub(r"\$\{([\w.]+)\}", lambda match: str(values[match[1]]), text)

    parts = {
        part: tuple(
            fill(row if isinstance(row, str) else next(iter(row)))
            for row in about.get(part, [])
        )
        for part in ("deps", "outs", "params")
    }
    return Stage(name, fill(about["cmd"]), **parts)


def find_stage(stage, name, path=PIPELINE, scale=""):
    """The stage of `dvc.yaml` that ``noisyseg stage STAGE NAME`` runs.

    Raises
    ------
    ValueError
        If there is none, naming the nearest.
    """
    stages = {found.cmd: found for found in pipeline(path, scale).values()}
    command = " ".join(["noisyseg stage", *filter(None, [stage, name])])
    check_choice(f"command of a stage in {path}", command, stages)
    return stages[command]


@contextmanager
def guarded(stage, name, settings):
    """Run a stage within this block: its code must stay the same until the end.

    The code is hashed at the beginning, before the stage imports it. A stage that
    ended well leaves its record, one that failed leaves none.

    Parameters
    ----------
    stage, name : str
        As in ``noisyseg stage STAGE NAME``.
    settings : Params
        With which it runs.

    Raises
    ------
    ChangedCodeError
        At the end, if a file that the stage lists among its `deps` has changed.
    """
    found = find_stage(stage, name, scale=settings.scale)
    record = make_record(found, settings)
    found.record.unlink(missing_ok=True)
    yield record
    before, after = record["code"], hash_files(found.code)
    changed = [path for path in before if before[path] != after[path]]
    if changed:
        raise ChangedCodeError(
            f"{listed(changed)} must stay as it was while the stage {found.name} runs, "
            "got other content; run dvc repro again"
        )
    found.record.parent.mkdir(parents=True, exist_ok=True)
    part = found.record.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1) + "\n")
    part.replace(found.record)


def make_record(stage, settings):
    """What a stage is made of now, without a time: the same inputs, the same record.

    Parameters
    ----------
    stage : Stage
    settings : Params

    Returns
    -------
    dict of stage, cmd, scale, code (path to SHA-256), code_sha256 (of all together),
        params (section to values, those of the scale filled in) and params_sha256
    """
    code, params = hash_files(stage.code), settings.model_dump(mode="json")
    asked = [key for key in stage.params if key.split(".")[0] != "scales"]
    sections = {key: _section(params, key) for key in sorted({"scale", *asked})}
    return {
        "stage": stage.name,
        "cmd": stage.cmd,
        "scale": settings.scale,
        "code": code,
        "code_sha256": hash_of(code),
        "params": sections,
        "params_sha256": hash_of(sections),
    }


def _section(params, key):
    """The section ``a.b`` of nested dicts."""
    for part in key.split("."):
        params = params[part]
    return params


def hash_of(values):
    """SHA-256 of plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def hash_files(paths):
    """SHA-256 by path; None where there is no file."""
    return {str(path): hash_file(path) for path in paths}


def hash_file(path, algorithm="sha256"):
    """Hash of a file in hexadecimal digits; None where there is no file."""
    if not Path(path).is_file():
        return None
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def read_record(stage):
    """What a stage was made of before it ran, a dict; None if it left no record."""
    return json.loads(stage.record.read_text()) if stage.record.is_file() else None


def read_lock(stage, path=LOCK):
    """What `dvc.lock` says of a stage.

    Parameters
    ----------
    stage : Stage
    path : str or Path

    Returns
    -------
    deps, outs : dict of path to MD5, of a folder with ``.dir`` at its end
        Empty if DVC has not run the stage yet.
    """
    path = Path(path)
    whole = _load(path, path.stat().st_mtime_ns) if path.is_file() else {}
    about = whole.get("stages", {}).get(stage.name, {})
    return tuple(
        {row["path"]: row["md5"] for row in about.get(part, [])}
        for part in ("deps", "outs")
    )


def changed_code(stage, path=LOCK):
    """The code of a stage that is no longer what `dvc.lock` says, sorted paths."""
    deps, _ = read_lock(stage, path)
    known = (code for code in stage.code if code in deps)
    return [code for code in known if hash_file(code, "md5") != deps[code]]
