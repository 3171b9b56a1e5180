"""BrainWeb: the simulated normal and MS brain, and the 20 anatomical models.

Files may lie in any folder, as MINC or raw, under the names of the web form or of its
download aliases.

References
----------
.. [1] Collins et al. 1998, Design and Construction of a Realistic Digital Brain
   Phantom, IEEE TMI 17(3); https://brainweb.bic.mni.mcgill.ca.
.. [2] Aubert-Broche, Evans, Collins 2006, A new improved version of the realistic
   digital brain phantom, NeuroImage 32(1): the 20 models.
"""

import re

from noisyseg.casefiles import Case, Coding, image_files

_TISSUES = {0: "background", 1: "CSF", 2: "GM", 3: "WM", 4: "fat"}
NORMAL = Coding(
    _TISSUES
    | {
        5: "muscle and skin",
        6: "skin",
        7: "skull",
        8: "glial matter",
        9: "connective tissue",
        10: "MS lesion",
    },
    marks=(4, 5, 6, 7),
    shift_bits=4,  # raw short; "occasionally other bits may be set" below
)
MODELS = Coding(  # differs from 5 on
    _TISSUES
    | {
        5: "muscle",
        6: "muscle and skin",
        7: "skull",
        8: "vessels",
        9: "tissue around fat",
        10: "dura",
        11: "marrow",
    },
    marks=(11,),
    shift_bits=4,
)
MODALITIES = {"t1": "T1w", "t2": "T2w", "pd": "PDw"}
_SCAN = re.compile(
    r"(t1|t2|pd)_(?:icbm_(normal)|ai_(msles\d))_((\d+)mm_pn\d+_rf\d+)", re.IGNORECASE
)
_CRISP = re.compile(r"phantom_1\.0mm_(normal|msles\d)_crisp", re.IGNORECASE)
_MODEL_T1 = re.compile(r"subject_?(\d\d)_t1w?(_p4)?", re.IGNORECASE)
_MODEL_CRISP = re.compile(r"subject_?(\d\d)(_crisp(_v)?)?", re.IGNORECASE)


def read_brainweb(folder):
    """Cases of the normal and the MS brain, list of Case.

    ``t1_icbm_normal_1mm_pn3_rf20`` (or t2, pd; ``t1_ai_msles2_...``) with
    ``phantom_1.0mm_normal_crisp``. A case is one anatomy with one setting of slice
    thickness, noise and inhomogeneity, such as ``normal_1mm_pn3_rf20``.
    """
    files = image_files(folder)
    crisp = {match[1].lower(): path for match, path in _matching(_CRISP, files)}
    scans = {}
    for match, path in _matching(_SCAN, files):
        key = (match[2] or match[3]).lower(), match[4].lower(), match[5] == "1"
        scans.setdefault(key, {})[MODALITIES[match[1].lower()]] = path
    for anatomy in crisp.keys() - {key[0] for key in scans}:
        scans[anatomy, "", True] = {}
    return [
        Case(
            subject=f"{anatomy}_{setting}".removesuffix("_"),
            images={m: images[m] for m in MODALITIES.values() if m in images},
            labels=_reference(crisp, anatomy),
            coding=NORMAL,
            modalities=("T1w",),
            one_grid=thin,
        )
        for (anatomy, setting, thin), images in sorted(scans.items())
    ]


def read_brainweb20(folder):
    """Cases of the 20 models, list of Case.

    ``subject04_t1w_p4`` (1 mm) with ``subject04_crisp_v`` (0.5 mm, a smaller field of
    view), or ``subject_04`` for the latter, as some programs save it.
    """
    files = image_files(folder)
    scans = {match[1]: path for match, path in _matching(_MODEL_T1, files)}
    crisp = {match[1]: path for match, path in _matching(_MODEL_CRISP, files)}
    return [
        Case(
            subject=f"subject{number}",
            images={"T1w": scans[number]} if number in scans else {},
            labels=_reference(crisp, number),
            coding=MODELS,
            modalities=("T1w",),
            one_grid=False,
        )
        for number in sorted(scans | crisp)
    ]


def _matching(pattern, files):
    """Matches of a pattern with whole names, where ``+`` is as good as ``_``."""
    for place, path in files:
        match = pattern.fullmatch(place.name.replace("+", "_"))
        if match:
            yield match, path


def _reference(crisp, key):
    return {"reference": crisp[key]} if key in crisp else {}
