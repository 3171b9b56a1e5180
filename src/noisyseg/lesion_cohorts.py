"""The cohorts of study `ace`: what each shows, and which of its classes are annotated.

>>> KINDS["wmh"].annotation.names, KINDS["tissue"].annotation.names
(('no lesion', 'WMH'), ('background', 'CSF', 'GM', 'WM'))
"""

from dataclasses import dataclass

import numpy as np

from noisyseg import lesion_tissues
from noisyseg.labeltables import LabelTable
from noisyseg.physics import majority

COLOURS = {
    "background": "#000000",
    "no lesion": "#000000",
    "CSF": "#3b82c4",
    "GM": "#8d8d8d",
    "WM": "#f2efe6",
    "WMH": "#e0559b",
    "oedema": "#e8c468",
    "tumour": "#d9534f",
}


def _table(*names):
    return LabelTable(names, tuple(COLOURS[name] for name in names))


TISSUES = _table("background", "CSF", "GM", "WM")
WMH_ONLY = _table("no lesion", "WMH")
TUMOUR_ONLY = _table("no lesion", "oedema", "tumour")
WMH_ALL = _table("background", "CSF", "GM", "WM", "WMH")
TUMOUR_ALL = _table("background", "CSF", "GM", "WM", "oedema", "tumour")


PATIENTS_ML = (5.0, 45.0)
"""Median loads, young and old, of people who are seen because of their lesions."""
VOLUNTEERS_ML = (0.3, 3.0)
"""Those of a cohort that was taken for its tissues."""


@dataclass(frozen=True)
class Kind:
    """What a cohort shows, what is known of it, and what has been annotated."""

    title: str
    modalities: tuple[str, ...]
    sites: tuple[str, ...]
    lesion: str  # wmh, tumour or none
    truth: LabelTable
    annotation: LabelTable
    load_ml: tuple[float, float] = PATIENTS_ML  # of hyperintensities, if there are any


_TUMOUR_MR = ("T1w", "T1ce", "T2w", "FLAIR")
_WMH_MR = ("T1w", "FLAIR", "IR")
_WMH_SITES = ("utrecht", "singapore", "amsterdam")
_TITLES = ("tissues annotated", "lesions annotated", "all annotated")

KINDS = {
    "tissue": Kind(
        _TITLES[0], _WMH_MR, ("utrecht",), "wmh", WMH_ALL, TISSUES, VOLUNTEERS_ML
    ),
    "wmh": Kind(_TITLES[1], ("T1w", "FLAIR"), _WMH_SITES, "wmh", WMH_ALL, WMH_ONLY),
    "wmh_test": Kind(_TITLES[2], _WMH_MR, ("utrecht",), "wmh", WMH_ALL, WMH_ALL),
    "tumour_tissue": Kind(
        _TITLES[0], ("T1w",), ("brainweb",), "none", TUMOUR_ALL, TISSUES
    ),
    "tumour": Kind(
        _TITLES[1], _TUMOUR_MR, ("brats",), "tumour", TUMOUR_ALL, TUMOUR_ONLY
    ),
    "tumour_test": Kind(
        _TITLES[2], _TUMOUR_MR, ("tumorsim",), "tumour", TUMOUR_ALL, TUMOUR_ALL
    ),
}
"""The cohorts of the two scenarios, each in the manner of a real data set:
MRBrainS13, WMH 2017, MRBrainS18; BrainWeb, BRATS 2012, TumorSim."""


def kind_of(name):
    """The cohort of this name; ValueError with the known names otherwise."""
    if name not in KINDS:
        raise ValueError(
            f"kind must be one of {', '.join(KINDS)}, got {name!r}; correct it"
        )
    return KINDS[name]


def true_classes(labels, table, grid):
    """Labels of a tissue map on the image grid, by majority.

    Parameters
    ----------
    labels : uint8 array of shape `grid.tissue_shape`, numbers of `lesion_tissues`
    table : LabelTable
        Classes that it lacks become background (0).
    grid : Grid

    Returns
    -------
    uint8 array of shape `grid.shape`, values of the table
    """
    names = lesion_tissues.CLASS
    values = [table.names.index(n) if n in table.names else 0 for n in names]
    ratio = round(grid.spacing_mm / grid.tissue_spacing_mm)
    return majority(np.array(values, np.uint8)[labels], ratio)


def annotated(truth, what):
    """What people have annotated of a cohort, of whom nothing is wrong, only missing.

    Who annotates tissues alone calls a hyperintensity white matter, as in MRBrainS13;
    who annotates lesions alone says of all else no more than that it is none.

    Parameters
    ----------
    truth : uint8 array, values of `what.truth`
    what : Kind

    Returns
    -------
    uint8 array of the same shape, values of `what.annotation`
    """
    names = what.annotation.names
    said = [{"WMH": "WM"}.get(n, n) if n not in names else n for n in what.truth.names]
    values = [names.index(name) if name in names else 0 for name in said]
    return np.array(values, np.uint8)[truth]
