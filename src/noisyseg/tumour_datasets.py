"""Data sets of brain tumours, as their owners pack them: BRATS 2012, 2013, TumorSim.

BRATS 2013 gave the patients of 2012 other labels: 2 was the tumour and became oedema.
The labels of one case do not tell which they are, so that each has a reader.

References
----------
.. [1] Menze et al. 2015, The Multimodal Brain Tumor Image Segmentation Benchmark
   (BRATS), IEEE TMI 34(10).
.. [2] Prastawa, Bullitt, Gerig 2009, Simulation of Brain Tumors in MR Images for
   Evaluation of Segmentation Efficacy, Medical Image Analysis 13(2): TumorSim.
"""

import re
from dataclasses import replace
from pathlib import Path

from noisyseg.casefiles import Case, Coding, image_files, is_test, subject_name

BRATS2012 = Coding({0: "no lesion", 1: "oedema", 2: "tumour"}, marks=(1, 2))
BRATS2013 = Coding(
    {
        0: "no lesion",
        1: "necrosis",
        2: "oedema",
        3: "non-enhancing tumour",
        4: "enhancing tumour",
    },
    marks=(3, 4),
)
# Which tissue is 1, 2, 3 and 6 is not documented: the order of TumorSim's maps.
SIMULATED = Coding(
    {
        0: "background",
        1: "WM",
        2: "GM",
        3: "CSF",
        4: "oedema",
        5: "tumour",
        6: "vessels",
    },
    marks=(4, 5),
)
MODALITIES = {"t1": "T1w", "t1c": "T1ce", "t2": "T2w", "flair": "FLAIR"}
_SCAN = re.compile(r"((?:Sim)?BRATS_[HL]G\d+)_(FLAIR|T1|T1C|T2)")
_TRUTH = re.compile(r"((?:Sim)?BRATS_[HL]G\d+)_(complete_truth|truth)")
_VSD_SCAN = re.compile(r"VSD\.Brain\..*\.MR_(Flair|T1|T1c|T2)")
_VSD_TRUTH = re.compile(r"VSD\.Brain(_3more)?\..*\.OT")
_SYNTHETIC = re.compile(r"simbrats|simulat|synth", re.IGNORECASE)
_SIMULATOR_SCAN = re.compile(r"(.+)_(T1|T2|FLAIR|T1Gad)")
# The first that exists: the truth, or the tissues after both deformations.
_SIMULATOR_TRUTHS = ("_truth", "_discrete_truth", "_warped_labels2")


def read_brats2012(folder):
    """Cases of BRATS 2012, list of Case; labels 1 oedema and 2 tumour.

    ``Images/BRATS_HG0001/BRATS_HG0001_{FLAIR,T1,T1C,T2}.mha`` with
    ``Truth/BRATS_HG0001_truth.mha``, the simulated ones with
    ``SimBRATS_HG0001_complete_truth.mha`` (4 oedema, 5 tumour); or
    ``HG/0001/VSD.Brain.XX.O.MR_T1c/*.mha`` with ``VSD.Brain.XX.XX.OT``.

    Raises
    ------
    ValueError
        If a folder ``VSD.Brain_3more`` tells that the labels are those of 2013.
    """
    return _brats(folder, BRATS2012)


def read_brats2013(folder):
    """The same patients, list of Case; labels 1 necrosis, 2 oedema, 3 and 4 tumour.

    Laid out as for `read_brats2012`; the labels may be in ``VSD.Brain_3more``.
    """
    return _brats(folder, BRATS2013)


def _brats(folder, real):
    files = image_files(folder)
    return [*_named(folder, files, real), *_numbered(folder, files, real)]


def _named(folder, files, real):
    """Cases whose files bear their name."""
    images, truths = {}, {}
    for place, path in files:
        if match := _SCAN.fullmatch(place.name):
            images.setdefault(match[1], {})[match[2].lower()] = path
        elif match := _TRUTH.fullmatch(place.name):
            truths.setdefault(match[1], {})[match[2]] = path
    cases = []
    for name in sorted(images | truths):
        found = truths.get(name, {})
        complete = "complete_truth" in found
        labels = found.get("complete_truth", found.get("truth"))
        coding = SIMULATED if complete else real
        labelled = bool(found) or not is_test(_home(name, files), folder)
        cases.append(_case(name, images.get(name, {}), labels, coding, labelled))
    return cases


def _home(name, files):
    return next(place for place, _ in files if place.name.startswith(f"{name}_"))


def _numbered(folder, files, real):
    """Cases whose files bear the numbers of the archive, in folders of known names."""
    homes = {}
    for place, path in files:
        home = place.parent.parent
        if match := _VSD_SCAN.fullmatch(place.parent.name):
            homes.setdefault(home, {}).setdefault(match[1].lower(), path)
        elif match := _VSD_TRUTH.fullmatch(place.parent.name):
            homes.setdefault(home, {}).setdefault(match[1] or "truth", path)
    cases = []
    for home, found in homes.items():
        name = subject_name(home, folder)
        place = "/".join((Path(folder).name, *home.parts))
        coding = SIMULATED if _SYNTHETIC.search(place) else real
        labels = found.get("truth", found.get("_3more"))
        _check_edition(name, found, coding)
        labelled = labels is not None or not is_test(home, folder)
        cases.append(_case(name, found, labels, coding, labelled))
    return cases


def _check_edition(name, found, coding):
    if coding is BRATS2012 and "_3more" in found and "truth" not in found:
        raise ValueError(
            f"labels of {name} must be those of 2012 (1 oedema, 2 tumour), got "
            f"{found['_3more'].parent.name}, the four labels of 2013; read it with "
            "brats2013"
        )


def _case(name, found, labels, coding, labelled):
    images = {new: found[old] for old, new in MODALITIES.items() if old in found}
    reference = {"reference": labels} if labels else {}
    return Case(
        name, images, reference, coding, tuple(MODALITIES.values()), labelled=labelled
    )


def read_tumorsim(folder):
    """Cases that TumorSim made, list of Case.

    ``<any folder>/<name>_{T1,T2,FLAIR}.mha``, ``<name>_T1Gad.mha`` where it was asked
    for, and the first of ``<name>_truth.mha``, ``_discrete_truth`` and
    ``_warped_labels2``.
    """
    files = dict(image_files(folder))
    found = {}
    for place, path in files.items():
        if match := _SIMULATOR_SCAN.fullmatch(place.name):
            prefix = place.with_name(match[1])
            short = match[2].lower().replace("t1gad", "t1c")
            found.setdefault(prefix, {})[short] = path
    cases = []
    for prefix, images in found.items():
        places = [prefix.with_name(prefix.name + tail) for tail in _SIMULATOR_TRUTHS]
        labels = next((files[place] for place in places if place in files), None)
        case = _case(subject_name(prefix, folder), images, labels, SIMULATED, True)
        cases.append(replace(case, modalities=("T1w", "T2w", "FLAIR")))
    return cases
