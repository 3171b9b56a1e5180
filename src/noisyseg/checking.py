"""What is wrong with a copy of a data set, case by case, before it trains anything."""

import warnings

import numpy as np
import pandas as pd
from tqdm import tqdm

from noisyseg import datasets, volume

COLUMNS = ["case", "what", "problem"]
FAULTS = (OSError, ValueError)
TISSUES = ("CSF", "GM", "WM")  # in the order of their brightness on T1
MANY = 100  # voxels of a tissue, to tell its brightness


def check(folder, reader):
    """The faults of a data set, one row each.

    Parameters
    ----------
    folder : str or Path
    reader : str
        One of `datasets.READERS`.

    Returns
    -------
    DataFrame with columns case, what (a modality, ``labels`` or a rater) and problem;
        empty when all cases are whole

    Raises
    ------
    FileNotFoundError, ValueError
        Only if there is no case to check or the reader is not the right one.
    """
    return check_cases(datasets.read(folder, reader))


def check_cases(cases):
    """The faults of some cases of one data set, as `check`; every file is read."""
    rows, seen = [], []
    for case in tqdm(cases, "cases", mininterval=1, disable=len(cases) < 8):
        faults, values = _faults(case)
        rows += [(case.subject, what, problem) for what, problem in faults]
        if values is not None:
            seen.append((case.coding, values))
    rows += [("(all)", "labels", problem) for problem in _unmarked(seen)]
    return pd.DataFrame(rows, columns=COLUMNS)


def describe(table, n_cases):
    """A text for people: the table of faults, or that there is none.

    Examples
    --------
    >>> describe(pd.DataFrame(columns=COLUMNS), 3)
    'all 3 cases are whole'
    """
    if table.empty:
        return f"all {n_cases} cases are whole"
    faulty = table.loc[table["case"] != "(all)", "case"].nunique()
    text = table.to_string(index=False, justify="left", max_colwidth=None)
    return f"{text}\n\n{len(table)} faults; {faulty} of {n_cases} cases have some"


def _faults(case):
    """Faults of a case, list of (what, problem), and the values of its labels."""
    faults = [(m, "missing") for m in case.modalities if m not in case.images]
    images, labels = {}, {}
    for name in case.images:
        images[name] = _opened(case, name, datasets.load_image, faults)
    for name in case.labels:
        labels[name] = _opened(case, name, datasets.load_labels, faults)
    if case.labelled and not case.labels:
        faults.append(("labels", "missing"))
    images = {name: image for name, image in images.items() if image is not None}
    labels = {name: found for name, found in labels.items() if found is not None}
    faults += _constant(images) + _grid_faults(case, images, labels)
    faults += _label_faults(case, images, labels)
    reference = labels.get("reference")
    return faults, None if reference is None else set(np.unique(reference.data))


def _opened(case, name, load, faults):
    """An image or labels, or None; what went wrong or was warned of joins `faults`."""
    path = case.images.get(name, case.labels.get(name))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = load(case, name)
        except FAULTS as error:
            found = None
            told.append(error)
    for each in told:
        text = str(getattr(each, "message", each))
        faults.append((_called(name), text.replace(str(path), path.name)))
    return found


def _called(name):
    return "labels" if name == "reference" else name


def _constant(images):
    return [
        (name, f"holds {image.data.flat[0]:g} everywhere")
        for name, image in images.items()
        if image.data.min() == image.data.max()
    ]


def _grid_faults(case, images, labels):
    """Volumes whose voxels are not those of the first image, where they should be."""
    if not case.one_grid or not images:
        return []
    first, grid = next(iter(images.items()))
    faults = []
    for name, found in (images | labels).items():
        try:
            volume.check_same_grid(grid, found, first, _called(name))
        except ValueError as error:
            faults.append((_called(name), str(error)))
    return faults


def _label_faults(case, images, labels):
    """Labels without foreground, and tissues whose brightness belies their names."""
    faults = []
    grid = next(iter(images.values()), None)
    for name, found in labels.items():
        if not np.isin(found.data, _foreground(case.coding)).any():
            faults.append((_called(name), "no foreground"))
        elif grid is not None:
            found = datasets.on_grid(found, grid, order=0)
            if not np.isin(found.data, _foreground(case.coding)).any():
                faults.append((_called(name), "no foreground inside the first image"))
            elif name == "reference" and "T1w" in images:
                image = datasets.on_grid(images["T1w"], grid, order=1)
                faults += _belied(case.coding, image, found)
    return faults


def _foreground(coding):
    """The values that are a class to learn."""
    nothing = ("background", "no lesion")
    names = coding.classes.items()
    return [v for v, name in names if name not in nothing and v not in coding.ignore]


def _belied(coding, t1, labels):
    """On T1 white matter is brighter than grey matter, and both than CSF."""
    level = {}
    for tissue in TISSUES:
        names = datasets.GROUPS[tissue]
        values = [v for v, name in coding.classes.items() if name in names]
        mask = np.isin(labels.data, values)
        if np.count_nonzero(mask) >= MANY:
            level[tissue] = float(np.median(t1.data[mask]))
    order = sorted(level, key=level.get)
    if order == list(level):
        return []
    text = " < ".join(f"{tissue} {level[tissue]:.4g}" for tissue in order)
    return [("labels", f"T1w brightness is {text}: check the label map and the axes")]


def _unmarked(seen):
    """Codings of which no case shows a value that the data set must have."""
    problems = []
    codings = {coding.marks: coding for coding, _ in seen if coding.marks}
    for marks, coding in codings.items():
        values = set().union(*(v for c, v in seen if c.marks == marks))
        if not values & set(marks):
            wanted = ", ".join(f"{v} ({coding.classes.get(v)})" for v in marks)
            problems.append(
                f"no case shows one of {wanted}: the labels seem to be coded otherwise"
            )
    return problems
