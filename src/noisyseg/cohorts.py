"""Folders of scans as lists of cases.

A reader knows how one data set is laid out; everything after it sees only `Case`.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noisyseg import labeltables
from noisyseg.choices import check_choice, listed

TRUTH = "derivatives/truth"


@dataclass(frozen=True)
class Case:
    """One person's files.

    Parameters
    ----------
    subject : str
        Name of the subject's folder, such as ``sub-01``.
    images : dict of str to Path
        One image per modality, each on its own grid.
    truth : Path or None
        Label image of the known truth, where the cohort has one.
    """

    subject: str
    images: dict[str, Path]
    truth: Path | None = None


def read(folder, reader="bids", modalities=("T1w", "T2w"), missing="stop"):
    """The cases of a cohort, sorted by subject.

    Parameters
    ----------
    folder : str or Path
    reader : str
        ``bids``: ``sub-*/[ses-*/]anat/sub-*_<modality>.nii[.gz]`` with the truth in
        ``derivatives/truth/sub-*/[ses-*/]anat/sub-*_dseg.nii[.gz]``. ``camcan``: the
        same, where the subjects may lie one folder deeper, in ``anat/``.
    modalities : tuple of str
        The modalities that a case must have.
    missing : str
        What to do about a case that lacks one: ``stop``, or ``skip`` it with a warning.

    Returns
    -------
    list of Case

    Raises
    ------
    FileNotFoundError
        No folder, no subject, or a missing modality when `missing` is ``stop``.
    ValueError
        An unknown `reader` or `missing`, or several files for one modality.

    Notes
    -----
    A session level needs no ``ses-`` in the file name (Cam-CAN has none). Several
    sessions, runs, or both endings of one image are refused, never chosen between.
    """
    check_choice("missing", missing, ("stop", "skip"))
    check_choice("reader", reader, READERS)
    if isinstance(modalities, str):
        raise TypeError(
            f"modalities must be a list of names, got {modalities!r}; write "
            f"[{modalities}]"
        )
    folder = Path(folder)
    found = [_case(home, folder, modalities) for home in _subjects(folder, reader)]
    gaps = {
        case.subject: [m for m in modalities if m not in case.images] for case in found
    }
    _report({subject: lacks for subject, lacks in gaps.items() if lacks}, missing)
    cases = [case for case in found if not gaps[case.subject]]
    if not cases:
        raise FileNotFoundError(
            f"{folder} must hold a subject with {' and '.join(modalities)}, got none "
            f"of {len(found)}; correct the modalities"
        )
    return cases


def table(folder):
    """The label table of a cohort's truth.

    Returns
    -------
    LabelTable
        From ``derivatives/truth/dseg.tsv``; HEAD for a cohort without truth, whose
        labels are then made in that coding.

    Raises
    ------
    FileNotFoundError
        When there is a truth but no table: the BIDS default (GM 1, WM 2) and HEAD
        (WM 1, GM 2) differ, so that nothing may be assumed.
    """
    truth = Path(folder) / TRUTH
    if not truth.exists():
        return labeltables.HEAD
    return labeltables.read(truth / "dseg.tsv")


def split(cases, fractions, rng):
    """The cases in parts, every subject in exactly one.

    Parameters
    ----------
    cases : list of Case
    fractions : tuple of float
        Share of the subjects in each part, above 0, together 1.
    rng : np.random.Generator

    Returns
    -------
    list of list of Case
        One list per fraction, in the order of `cases`. Sizes by largest remainder,
        with at least one subject in each part.

    Examples
    --------
    >>> cases = [Case(f"sub-{n}", {}) for n in range(10)]
    >>> parts = split(cases, (0.6, 0.2, 0.2), np.random.default_rng(0))
    >>> [len(part) for part in parts]
    [6, 2, 2]
    """
    if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            f"fractions must be above 0 and sum to 1, got {tuple(fractions)}; "
            "correct the shares"
        )
    subjects = sorted({case.subject for case in cases})
    if len(subjects) < len(fractions):
        raise ValueError(
            f"cases must be of at least {len(fractions)} subjects, one a part, got "
            f"{len(subjects)}; add subjects or drop a part"
        )
    sizes = _largest_remainder(len(subjects), np.asarray(fractions, float))
    parts = np.repeat(np.arange(len(sizes)), sizes)
    part_of = dict(zip(rng.permutation(subjects), parts, strict=True))
    return [[c for c in cases if part_of[c.subject] == k] for k in range(len(sizes))]


def _bids_root(folder):
    return folder


def _camcan_root(folder):
    """The folder with the subjects: as given, or its ``anat/`` (one per data type)."""
    inner = folder / "anat"
    return inner if any(inner.glob("sub-*")) else folder


READERS = {"bids": _bids_root, "camcan": _camcan_root}


def _subjects(folder, reader):
    """The subjects' folders, sorted."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} must be a folder of scans; check the name or make the data"
        )
    root = READERS[reader](folder)
    homes = sorted(home for home in root.glob("sub-*") if home.is_dir())
    if not homes:
        raise FileNotFoundError(
            f"{folder} must hold folders sub-*, got {listed(_names(root))}; check "
            f"the name and the reader ({reader})"
        )
    return homes


def _names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def _case(home, folder, modalities):
    """The case of one subject's folder, with the modalities that it has."""
    images = {m: _only_file(home, m) for m in modalities}
    images = {m: path for m, path in images.items() if path is not None}
    return Case(home.name, images, _only_file(folder / TRUTH / home.name, "dseg"))


def _only_file(home, suffix):
    """The subject's one image with this BIDS suffix, or None."""
    found = [
        path
        for level in ("", "ses-*/")
        for ending in (".nii", ".nii.gz")
        for path in sorted(home.glob(f"{level}anat/{home.name}_*{suffix}{ending}"))
        if path.name.removesuffix(ending).split("_")[-1] == suffix
    ]
    if len(found) > 1:
        names = [str(path.relative_to(home)) for path in found]
        raise ValueError(
            f"{home.name} must have one {suffix} image, got {listed(names)}; keep one "
            "session, run and file ending"
        )
    return found[0] if found else None


def _report(gaps, missing):
    """Stop at, or warn of, every case that lacks a modality."""
    texts = [f"{subject} has no {' or '.join(m)}" for subject, m in gaps.items()]
    if missing == "skip":
        for text in texts:
            warnings.warn(f"{text}: skipped", stacklevel=3)
    elif texts:
        raise FileNotFoundError(
            f"every case must have all modalities, got: {listed(texts)}; add the "
            "files or set missing: skip"
        )


def _largest_remainder(total, fractions):
    """Whole sizes that sum to `total`; a part left empty takes one from the largest."""
    quotas = total * fractions
    sizes = np.floor(quotas + 1e-9).astype(int)
    order = np.argsort(-(quotas - sizes).round(9), kind="stable")
    sizes[order[: total - sizes.sum()]] += 1
    while sizes.min() == 0:
        sizes[sizes.argmax()] -= 1
        sizes[sizes.argmin()] += 1
    return sizes
