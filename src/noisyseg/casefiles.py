"""What a data set's reader hands on: the files of a case, and what its labels mean.

Readers only look at names of files; images are opened when a case is loaded.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ENDINGS = tuple(
    f"{plain}{packed}"
    for plain in (".nii", ".mha", ".mhd", ".mnc", ".rawb", ".raws", ".bin")
    for packed in ("", ".gz")
)
TEST_FOLDERS = ("test", "testing", "testdata")


@dataclass(frozen=True)
class Coding:
    """What the values of a data set's label images mean.

    Parameters
    ----------
    classes : dict of int to str
        Class of every value that may occur; several values may share one.
    ignore : tuple of int
        Values of unknown truth: they are neither background nor a class to learn.
    marks : tuple of int
        Values of which a whole data set shows at least one, unless it is coded
        otherwise.
    shift_bits : int
        Values above 15 are stored shifted left by so many bits.
    """

    classes: dict[int, str]
    ignore: tuple[int, ...] = ()
    marks: tuple[int, ...] = ()
    shift_bits: int = 0


@dataclass(frozen=True)
class Case:
    """One subject's files.

    Parameters
    ----------
    subject : str
        The folder below the data set's, its separators replaced, such as
        ``TrainingData_1``.
    images : dict of str to Path
        One image per modality; the first has the grid that the case is loaded on.
    labels : dict of str to Path
        ``reference`` and, where there are some, further raters by name.
    coding : Coding
    modalities : tuple of str
        The modalities that every case of the data set should have.
    labelled : bool
        Whether the owner has published labels of such a case.
    one_grid : bool
        Whether the owner has put images and labels on one grid.
    """

    subject: str
    images: dict[str, Path]
    labels: dict[str, Path]
    coding: Coding
    modalities: tuple[str, ...]
    labelled: bool = True
    one_grid: bool = True


def image_files(folder):
    """Every image below a folder by its name without ending, in natural order.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    list of (PurePosixPath, Path)
        The path from `folder` without ending, and the file. Of one name with several
        endings the first of `ENDINGS` is taken. Names that begin with ``.`` or ``_``
        are left out, and so are all in such folders.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} must be a folder of scans; check the name")
    found = {}
    for path in folder.rglob("*"):
        place = PurePosixPath(path.relative_to(folder).as_posix())
        ending = _ending(place.name)
        if ending and not any(part.startswith((".", "_")) for part in place.parts):
            bare = place.with_name(place.name.removesuffix(ending))
            found.setdefault(bare, []).append((ENDINGS.index(ending), path))
    ordered = sorted(found.items(), key=lambda item: natural(item[0]))
    return [(bare, min(paths)[1]) for bare, paths in ordered]


def _ending(name):
    """The ending of an image's name, empty for other files."""
    found = [e for e in ENDINGS if name.endswith(e) and name != e]
    return found[0] if found else ""


def natural(name):
    """A key that sorts names with numbers in them as people do.

    Examples
    --------
    >>> sorted(["b1", "a10", "a9", "070"], key=natural)
    ['070', 'a9', 'a10', 'b1']
    """
    parts = re.split(r"(\d+)", str(name))
    return [(int(part), part) if part.isdigit() else (-1, part) for part in parts]


def grouped(files, tails):
    """The files of every home: the folder from which a file has a known name.

    Parameters
    ----------
    files : list of (PurePosixPath, Path)
        As `image_files` gives them.
    tails : tuple of str
        Known names, with folders where the layout has some: ``pre/FLAIR``, ``wmh``.
        Of two that fit, the longer one counts.

    Returns
    -------
    dict of PurePosixPath to dict of str to Path
        Home, known name, file.
    """
    known = sorted((PurePosixPath(tail).parts for tail in tails), key=len, reverse=True)
    homes = {}
    for place, path in files:
        parts = place.parts
        tail = next((t for t in known if parts[-len(t) :] == t), None)
        if tail is not None:
            home = PurePosixPath(*parts[: -len(tail)])
            homes.setdefault(home, {})["/".join(tail)] = path
    return homes


def subject_name(home, folder):
    """A case's name: the path of its folder, separators replaced.

    Examples
    --------
    >>> subject_name(PurePosixPath("test/Amsterdam/Philips_VU .PETMR_01./101"), "wmh")
    'test_Amsterdam_Philips_VU .PETMR_01._101'
    >>> subject_name(PurePosixPath("."), "data/070")
    '070'
    """
    return "_".join(home.parts) or Path(folder).name


def pick(files, names):
    """The files that exist under their new names: ``{"T1w": "pre/T1"}`` to paths."""
    return {new: files[old] for new, old in names.items() if old in files}


def is_test(home, folder):
    """Whether a folder's path says that it belongs to the test set."""
    parts = (Path(folder).name, *home.parts)
    return any(part.lower() in TEST_FOLDERS for part in parts)
