"""Tissues of the skull base, numbered after those of the head, and their classes.

>>> NAMES[SCHWANNOMA], CLASS[SCHWANNOMA], CLASS[LYMPH], CLASS[DUCT]
('schwannoma', 'schwannoma', 'background', 'cochlea')
"""

from noisyseg import tissues
from noisyseg.labeltables import LabelTable
from noisyseg.tissues import Tissue

TABLE = LabelTable(
    ("background", "schwannoma", "cochlea"), ("#000000", "#e0559b", "#3aa76d")
)
"""The classes of the data set crossMoDA 2021."""

_NERVE = "assumed: as the optic nerve"
_PERILYMPH = "assumed: water with some protein"
_TUMOUR = "assumed: within the wide ranges reported for schwannomas"

# name, class, density, T1, T2, T2* (ms), source
_TABLE = (
    ("cranial nerve", "background", 0.75, 1083, 78, 40, _NERVE),
    ("fluid of vestibule and canals", "background", 1.00, 3600, 1300, 300, _PERILYMPH),
    ("fluid of the cochlea", "cochlea", 1.00, 3600, 1300, 300, _PERILYMPH),
    ("modiolus", "cochlea", 0.45, 900, 25, 8, "assumed: thin bone and nerve fibres"),
    ("schwannoma", "schwannoma", 0.88, 1450, 105, 60, _TUMOUR),
    ("loose schwannoma", "schwannoma", 0.92, 1900, 190, 100, _TUMOUR + " (Antoni B)"),
    ("cyst", "schwannoma", 0.98, 3000, 700, 250, _TUMOUR + " (protein-rich fluid)"),
)

(NERVE, LYMPH, DUCT, MODIOLUS, SCHWANNOMA, LOOSE, CYST) = range(
    len(tissues.TISSUES), len(tissues.TISSUES) + len(_TABLE)
)

TISSUES = tissues.TISSUES + tuple(Tissue(name, *rest) for name, _, *rest in _TABLE)
"""Parameters by tissue number: the tissues of the head, then those of the ear."""

NAMES = tuple(tissue.name for tissue in TISSUES)
CLASS = ("background",) * len(tissues.TISSUES) + tuple(name for _, name, *_ in _TABLE)
"""Class by tissue number."""

GADOLINIUM_MM = {
    SCHWANNOMA: 0.60,
    LOOSE: 0.32,
    CYST: 0.02,
    tissues.VEIN: 0.65,
    tissues.MUCOSA: 0.5,
    tissues.DURA: 0.25,
    tissues.MUSCLE: 0.08,
    tissues.MARROW: 0.05,
    tissues.CORTEX: 0.015,
    tissues.CEREBELLUM: 0.015,
    tissues.WHITE: 0.008,
}
"""Contrast medium (mmol/L) minutes after injection, assumed; none in other tissues."""

RELAXIVITY_PER_MM_MS = 0.0037
"""What 1 mmol/L of a gadolinium chelate adds to 1/T1 (1/ms), assumed for 3 T."""


def after_contrast(number, t1_ms, dose=1.0):
    """T1 (ms) of a tissue with contrast medium in it: 1/T1 + relaxivity x amount.

    >>> after_contrast(LYMPH, 3600.0), round(after_contrast(SCHWANNOMA, 1450.0))
    (3600.0, 344)
    """
    amount_mm = dose * GADOLINIUM_MM.get(number, 0.0)
    return 1.0 / (1.0 / t1_ms + RELAXIVITY_PER_MM_MS * amount_mm)
