"""Data sets of brain tissues and of white matter lesions, as their owners pack them.

MRBrainS13 and MRBrainS18 (tissues, lesions), WMH 2017 (lesions).

References
----------
.. [1] Mendrik et al. 2015, MRBrainS Challenge, Comput. Intell. Neurosci. 813696;
   https://doi.org/10.34894/645ZIN.
.. [2] Kuijf, MRBrainS18, https://doi.org/10.34894/E0U32Q.
.. [3] Kuijf et al. 2019, Standardized Assessment of Automatic Segmentation of White
   Matter Hyperintensities, IEEE TMI 38(11); https://doi.org/10.34894/AECRSD.
"""

from pathlib import Path

from noisyseg.casefiles import (
    Case,
    Coding,
    grouped,
    image_files,
    is_test,
    pick,
    subject_name,
)

_REGIONS = {
    0: "background",
    1: "cortical GM",
    2: "basal ganglia",
    3: "WM",
    4: "WMH",
    5: "extracerebral CSF",
    6: "ventricles",
    7: "cerebellum",
    8: "brainstem",
}
# The challenge leaves cerebellum and brainstem out of its scores.
MRBRAINS13 = Coding(_REGIONS, ignore=(7, 8), marks=(4, 5, 6, 7, 8))
# Here they are 0, as the background is, so that 0 says nothing.
MRBRAINS13_TESTING = Coding({0: "background", 1: "CSF", 2: "GM", 3: "WM"}, ignore=(0,))
MRBRAINS18 = Coding(
    _REGIONS | {9: "infarction", 10: "other pathology"},
    ignore=(9, 10),
    marks=(4, 5, 6, 7, 8),
)
WMH = Coding({0: "no lesion", 1: "WMH", 2: "other pathology"}, ignore=(2,), marks=(1,))


def read_mrbrains13(folder):
    """Cases of MRBrainS13, list of Case.

    ``TrainingData/1/{T1,T1_IR,T2_FLAIR,LabelsForTraining,LabelsForTesting}.nii``, and
    ``TestData`` without labels. ``LabelsForTraining`` is taken, or the other where it
    alone exists. ``T1_1mm`` lies on a grid that nothing aligns: it is left out.
    """
    names = {"T1w": "T1", "IR": "T1_IR", "FLAIR": "T2_FLAIR"}
    codings = {"LabelsForTraining": MRBRAINS13, "LabelsForTesting": MRBRAINS13_TESTING}
    homes = grouped(image_files(folder), (*names.values(), *codings))
    cases = []
    for home, files in homes.items():
        stem = next((stem for stem in codings if stem in files), "LabelsForTraining")
        labels = pick(files, {"reference": stem})
        cases.append(_case(folder, home, files, names, labels, coding=codings[stem]))
    return cases


def read_mrbrains18(folder):
    """Cases of MRBrainS18, list of Case.

    ``training/070/pre/{reg_T1,reg_IR,FLAIR}.nii.gz`` and ``segm.nii.gz``. ``pre/T1``
    and ``pre/IR`` lie on their native grids: they are left out.
    """
    names = {"T1w": "pre/reg_T1", "IR": "pre/reg_IR", "FLAIR": "pre/FLAIR"}
    cases = []
    for home, files in grouped(image_files(folder), (*names.values(), "segm")).items():
        labels = pick(files, {"reference": "segm"})
        cases.append(_case(folder, home, files, names, labels, coding=MRBRAINS18))
    return cases


def read_wmh2017(folder):
    """Cases of the WMH challenge 2017, list of Case.

    ``<any folders>/<id>/pre/{FLAIR,T1}.nii.gz`` with ``wmh.nii.gz`` beside or inside
    ``pre``: releases differ in the folders above. Further raters come from
    ``additional_annotations/observer_o3/<the same folders>/result.nii.gz``. ``3DT1``
    lies on a grid of its own: it is left out.
    """
    names = {"FLAIR": "pre/FLAIR", "T1w": "pre/T1"}
    homes = grouped(image_files(folder), (*names.values(), "pre/wmh", "wmh"))
    cases = []
    for home, files in homes.items():
        own = files.get("wmh", files.get("pre/wmh"))
        labels = {"reference": own, **_observers(Path(folder), home)} if own else {}
        cases.append(_case(folder, home, files, names, labels, coding=WMH))
    return cases


def _observers(folder, home):
    """Label images of the further raters of a case, by rater.

    They lie beside ``training``, which is in `folder` or is `folder` itself.
    """
    return {
        observer.name: path
        for base, place in ((folder, home), (folder.parent, folder.name / home))
        for observer in sorted(base.glob("additional_annotations/observer_*"))
        if (path := observer / place / "result.nii.gz").is_file()
    }


def _case(folder, home, files, names, labels, *, coding):
    """A case of images and labels that its owner put on one grid."""
    return Case(
        subject=subject_name(home, folder),
        images=pick(files, names),
        labels=labels,
        coding=coding,
        modalities=tuple(names),
        labelled=bool(labels) or not is_test(home, folder),
    )
