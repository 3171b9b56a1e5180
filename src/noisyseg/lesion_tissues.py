"""Tissues of brain lesions, numbered after those of the head, and what each is called.

White matter hyperintensities and oedema have two grades each, for real ones fade; a
penumbra around hyperintensities is paler still and counts as white matter.

>>> NAMES[WMH], CLASS[WMH], CLASS[PENUMBRA], CLASS[NECROSIS]
('hyperintensity', 'WMH', 'WM', 'tumour')
"""

from noisyseg import tissues
from noisyseg.tissues import Tissue

_WATER = "assumed: white matter with more free water, T1 and T2 between WM and CSF"
_GLIOMA = "assumed: within the wide ranges reported for gliomas at 3 T"

# name, class, density, T1, T2, T2* (ms), source
_TABLE = (
    ("penumbra", "WM", 0.71, 900, 88, 48, _WATER),
    ("pale hyperintensity", "WMH", 0.76, 1080, 108, 56, _WATER),
    ("hyperintensity", "WMH", 0.82, 1350, 135, 68, _WATER),
    ("pale oedema", "oedema", 0.78, 1200, 115, 60, _WATER),
    ("oedema", "oedema", 0.86, 1500, 150, 80, _WATER),
    ("tumour without enhancement", "tumour", 0.90, 1900, 200, 100, _GLIOMA),
    ("enhancing tumour", "tumour", 0.85, 1450, 112, 60, _GLIOMA),
    ("necrosis", "tumour", 0.94, 2500, 260, 130, _GLIOMA),
)

(PENUMBRA, PALE_WMH, WMH, PALE_OEDEMA, OEDEMA, CORE, RIM, NECROSIS) = range(
    len(tissues.TISSUES), len(tissues.TISSUES) + len(_TABLE)
)

TISSUES = tissues.TISSUES + tuple(Tissue(name, *rest) for name, _, *rest in _TABLE)
"""Parameters by tissue number: the tissues of the head, then those of lesions."""

NAMES = tuple(tissue.name for tissue in TISSUES)

_BRAIN = {1: "WM", 2: "GM", 3: "CSF", 8: "CSF"}  # of the nine classes of a head
CLASS = tuple(_BRAIN.get(int(nine), "background") for nine in tissues.CLASS) + tuple(
    name for _, name, *_ in _TABLE
)
"""Class by tissue number: background, CSF (ventricles too), GM, WM or a lesion."""

GADOLINIUM_MM = {
    RIM: 0.55,
    CORE: 0.03,
    NECROSIS: 0.04,
    tissues.MUCOSA: 0.5,
    tissues.MUSCLE: 0.08,
    tissues.SKIN: 0.12,
    tissues.MARROW: 0.05,
    tissues.CORTEX: 0.015,
    tissues.DEEP_GREY: 0.015,
    tissues.CEREBELLUM: 0.015,
    tissues.WHITE: 0.008,
}
"""Contrast medium (mmol/L) minutes after injection, assumed; none in other tissues."""

RELAXIVITY_PER_MM_MS = 0.0037
"""What 1 mmol/L of a gadolinium chelate adds to 1/T1 (1/ms), assumed for 3 T."""


def after_contrast(number, t1_ms):
    """T1 (ms) of a tissue with the contrast medium in it: 1/T1 + relaxivity x amount.

    >>> after_contrast(WMH, 1350.0)
    1350.0
    """
    return 1.0 / (1.0 / t1_ms + RELAXIVITY_PER_MM_MS * GADOLINIUM_MM.get(number, 0.0))
