"""Tables of `reports/`: at hand, as they were committed, or made anew in a clone."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

REPORTS = Path("reports")
ENVIRONMENT = "environment.json"


def read(place):
    """The tables of a folder or, where there is none of that name, of a revision."""
    return read_folder(Path(place)) if Path(place).is_dir() else read_revision(place)


def read_folder(folder):
    """Texts of the tables of a folder of reports, or of a project that has one.

    Returns
    -------
    dict of ``study/table.csv`` and ``environment.json`` to text
    """
    folder = folder / REPORTS if (folder / REPORTS).is_dir() else folder
    paths = [*folder.glob("*/*.csv"), *folder.glob(ENVIRONMENT)]
    if not any(path.suffix == ".csv" for path in paths):
        raise FileNotFoundError(f"{folder} must hold tables, got none; run dvc repro")
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


def read_revision(revision):
    """Texts of the tables as they were committed, as `read_folder`."""
    archive = _git("archive", "--format=tar", revision, str(REPORTS))
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in filter(tarfile.TarInfo.isfile, files):
            path = Path(member.name).relative_to(REPORTS)
            if path.match("*/*.csv") or path == Path(ENVIRONMENT):
                found[path.as_posix()] = files.extractfile(member).read().decode()
    return found


def make(folder, revision="HEAD"):
    """Make everything anew in a clone of this project; the tables that come out.

    Takes as long as ``make repro``. A clone that was left half done goes on.

    Parameters
    ----------
    folder : Path
        Where the clone is, or is to be.
    revision : str

    Returns
    -------
    dict, as of `read_folder`
    """
    wanted = _head(".", f"{revision}^{{commit}}")
    if not folder.exists():
        _git("clone", "--quiet", ".", str(folder))
        _git("-C", str(folder), "checkout", "--quiet", wanted)
    if (found := _head(folder)) != wanted:
        raise ValueError(
            f"{folder} must be a clone at {wanted[:7]}, got {found[:7]}; remove it, or "
            "name another folder"
        )
    source = str(folder.resolve() / "src")
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in (["sh", ".ci/data"], ["dvc", "repro"]):
        environment = {**os.environ, "PATH": paths, "PYTHONPATH": source}
        done = subprocess.run(command, cwd=folder, env=environment, check=False)
        if done.returncode:
            raise RuntimeError(
                f"{' '.join(command)} must succeed in {folder}, got status "
                f"{done.returncode}; see above, then go on with the same command"
            )
    return read_folder(folder)


def _head(folder, revision="HEAD"):
    return _git("-C", str(folder), "rev-parse", revision).decode().strip()


def _git(*arguments):
    """What git prints; a ValueError with git's reason when it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode().strip().splitlines()[:1] or [done.returncode]
        raise ValueError(
            f"git {' '.join(arguments)} must succeed, got: {reason[0]}; name a "
            "revision of this repository that has reports/, or a folder"
        )
    return done.stdout
