"""Real data sets as lists of cases, and a case as images and labels on one grid.

Readers know how the owners lay their data sets out (`tissue_datasets`, `brainweb`,
`tumour_datasets`); what follows sees only `Case`.
"""

from dataclasses import replace

import numpy as np

from noisyseg import (
    annotated_bids,
    brainweb,
    crossmoda,
    imagefiles,
    tissue_datasets,
    tumour_datasets,
    volume,
)
from noisyseg.choices import check_choice, listed

READERS = {
    "bids": annotated_bids.read_bids,
    "bids_truth": annotated_bids.read_truth,
    "mrbrains13": tissue_datasets.read_mrbrains13,
    "mrbrains18": tissue_datasets.read_mrbrains18,
    "wmh2017": tissue_datasets.read_wmh2017,
    "brainweb": brainweb.read_brainweb,
    "brainweb20": brainweb.read_brainweb20,
    "brats2012": tumour_datasets.read_brats2012,
    "brats2013": tumour_datasets.read_brats2013,
    "tumorsim": tumour_datasets.read_tumorsim,
    "crossmoda_source": crossmoda.read_source,
    "crossmoda_target": crossmoda.read_target,
}
# The labels of the study in the order of their values, and what the data sets call
# them. "No lesion" is a label and no class: it can mean the background or any tissue.
# Cerebellum and brainstem are none of the classes: their truth is unknown.
GROUPS = {
    "background": (
        "background",
        "fat",
        "muscle",
        "muscle and skin",
        "skin",
        "skull",
        "marrow",
        "dura",
        "connective tissue",
        "tissue around fat",
        "vessels",
    ),
    "CSF": ("CSF", "extracerebral CSF", "ventricles"),
    "GM": ("GM", "cortical GM", "basal ganglia", "glial matter"),
    "WM": ("WM",),
    "WMH": ("WMH", "MS lesion"),
    "oedema": ("oedema",),
    "tumour": ("tumour", "necrosis", "non-enhancing tumour", "enhancing tumour"),
    "no lesion": ("no lesion",),
    None: ("cerebellum", "brainstem", "infarction", "other pathology"),
}


def read(folder, reader, classes=None):
    """The cases of a data set; nothing is opened yet.

    Parameters
    ----------
    folder : str or Path
        The data set as its owner distributes it, or a folder in it.
    reader : str
        One of `READERS`.
    classes : dict of int to str, optional
        Instead of the reader's label map: for a copy that is coded otherwise.

    Returns
    -------
    list of Case

    Raises
    ------
    FileNotFoundError, ValueError
        An unknown reader, no folder, no case in it, or labels of another edition.
    """
    check_choice("reader", reader, READERS)
    cases = READERS[reader](folder)
    if not cases:
        raise FileNotFoundError(
            f"{folder} must hold cases in the layout of {reader}, got none; check the "
            "name and the reader"
        )
    if classes is None:
        return cases
    return [
        replace(case, coding=replace(case.coding, classes=classes)) for case in cases
    ]


def cases_of(where, cohort, inputs, *, labelled=True):
    """The cases of a cohort that have all the inputs and, if wanted, labels.

    Parameters
    ----------
    where : sections.Cohort
    cohort : str
        Its name, for errors.
    inputs : sequence of str
    labelled : bool

    Returns
    -------
    list of Case

    Raises
    ------
    FileNotFoundError
        If one has not, and the cohort's `missing` is ``stop``; or if none has.
    """
    wanted = ", ".join(inputs) + (" and labels" if labelled else "")
    kept = []
    for case in read(where.folder, where.reader):
        lacks = [name for name in inputs if name not in case.images]
        lacks += ["labels"] if labelled and "reference" not in case.labels else []
        if lacks and where.missing == "stop":
            raise FileNotFoundError(
                f"{case.subject} of cohort {cohort} must have {wanted}, got no "
                f"{', no '.join(lacks)}; add the files, leave the case out, or set "
                "missing: skip"
            )
        kept += [] if lacks else [case]
    if not kept:
        raise FileNotFoundError(
            f"cohort {cohort} must have cases with {wanted}, got none in "
            f"{where.folder}; add the files"
        )
    return kept


def load(case, modalities=None, rater="reference"):
    """A case's images and labels, canonical, on the grid of the first image.

    Parameters
    ----------
    case : Case
    modalities : sequence of str, optional
        The first gives the grid. Default all that the case has, in the reader's order.
    rater : str
        One of ``case.labels``.

    Returns
    -------
    images : dict of str to Volume
        float32; linear in world space where an image has another grid.
    labels : Volume
        As `load_labels`; nearest in world space where the grid differs, and 0 outside
        the field of view of the labels.

    Raises
    ------
    FileNotFoundError, ValueError
        A modality or label image that is missing or damaged.
    """
    names = tuple(case.images if modalities is None else modalities)
    lacks = [name for name in names if name not in case.images]
    if lacks or not names:
        raise FileNotFoundError(
            f"{case.subject} must have images of {listed(names)}, got "
            f"{listed(case.images)}; add the files or leave the case out"
        )
    found = {name: load_image(case, name) for name in names}
    grid = found[names[0]]
    images = {name: on_grid(image, grid, order=1) for name, image in found.items()}
    return images, on_grid(load_labels(case, rater), grid, order=0)


def load_image(case, modality):
    """One image of a case on its own grid, canonical, float32."""
    return volume.to_canonical(imagefiles.read_image(case.images[modality]))


def load_labels(case, rater="reference"):
    """Labels of a case on their own grid, canonical, in the values of its label map.

    Parameters
    ----------
    case : Case
    rater : str
        One of ``case.labels``. Where the reference holds an ignore value, so do the
        labels of every rater: the others have none of their own.

    Returns
    -------
    Volume of integers

    Raises
    ------
    FileNotFoundError, ValueError
        If the case has no such labels, or their file is damaged or holds a value
        outside the label map.
    """
    if rater not in case.labels:
        raise FileNotFoundError(
            f"{case.subject} must have labels of {rater}, got {listed(case.labels)}; "
            "add the file or leave the case out"
        )
    labels = volume.to_canonical(imagefiles.read_labels(case.labels[rater]))
    labels = labels.with_data(_unshifted(labels.data, case.coding.shift_bits))
    _check_values(case, labels.data)
    if rater == "reference" or not case.coding.ignore:
        return labels
    reference = load_labels(case)
    volume.check_same_grid(reference, labels, f"reference of {case.subject}", rater)
    unknown = np.isin(reference.data, case.coding.ignore)
    return labels.with_data(np.where(unknown, reference.data, labels.data))


def _unshifted(data, bits):
    """Values without the shift by which raw short stores them; others as they are."""
    return data >> bits if bits and data.max() > 15 else data


def _check_values(case, data):
    known = case.coding.classes
    stray = [int(value) for value in np.unique(data) if int(value) not in known]
    if stray:
        raise ValueError(
            f"labels of {case.subject} must be among {listed(known, 12)}, got "
            f"{listed(stray)}; check the reader, or give the label map of this copy"
        )


def on_grid(found, grid, order):
    """A volume on another grid; untouched where the voxels coincide."""
    same_shape = found.shape == grid.shape
    if same_shape and volume.grid_shift_vox(grid, found) <= volume.GRID_TOLERANCE_VOX:
        return grid.with_data(found.data)
    return volume.resample(found, grid, order=order)


def recode(labels, case, groups=GROUPS, ignored=255, name="groups"):
    """Labels in the values of a study: the place of each name in `groups`.

    Parameters
    ----------
    labels : Volume
        As `load` gives them.
    case : Case
    groups : dict of (str or None) to tuple of str
        Label of the study to classes of data sets; those under None are unknown.
    ignored : int
        Value of what is unknown, and of the ignore values of the data set.
    name : str
        What the error calls the groups.

    Returns
    -------
    Volume with uint8 data

    Raises
    ------
    ValueError
        If a class that occurs is in no group.
    """
    wanted = [group for group in groups if group is not None]
    value_of = {c: value for value, g in enumerate(wanted) for c in groups[g]}
    value_of |= dict.fromkeys(groups.get(None, ()), ignored)
    table = {}
    for value in map(int, np.unique(labels.data)):
        known = case.coding.classes.get(value)
        if value not in case.coding.ignore and known not in value_of:
            raise ValueError(
                f"{name} must say what {known!r} (value {value} of {case.subject}) is, "
                f"got {listed(value_of, 20)}; add it"
            )
        table[value] = ignored if value in case.coding.ignore else value_of[known]
    data = np.full(labels.shape, ignored, np.uint8)
    for value, new in table.items():
        data[labels.data == value] = new
    return labels.with_data(data)
