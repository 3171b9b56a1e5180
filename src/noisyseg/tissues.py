"""Tissues of a digital head: their numbers, classes and MR parameters.

>>> NAMES[WHITE], int(CLASS[WHITE])
('white matter', 1)
"""

from dataclasses import dataclass

import numpy as np

# name, class in the nine-class table (0 background ... 8 ventricles)
_TABLE = (
    ("outside air", 0),
    ("white matter", 1),
    ("cortical grey matter", 2),
    ("deep grey matter", 2),
    ("cerebellar cortex", 2),
    ("cerebrospinal fluid", 3),
    ("ventricular fluid", 8),
    ("compact bone", 4),
    ("bone marrow", 4),
    ("fat", 5),
    ("skin", 5),
    ("muscle", 5),
    ("mucosa", 5),
    ("cartilage", 5),
    ("inside air", 6),
    ("vitreous body", 7),
    ("lens", 7),
    ("optic nerve", 5),
    ("spinal cord", 1),
    ("venous blood", 3),
    ("arterial blood", 5),
    ("dura", 3),
)

NAMES = tuple(name for name, _ in _TABLE)
CLASS = np.array([nine for _, nine in _TABLE], dtype=np.uint8)

(
    OUTSIDE,
    WHITE,
    CORTEX,
    DEEP_GREY,
    CEREBELLUM,
    FLUID,
    VENTRICLE,
    COMPACT,
    MARROW,
    FAT,
    SKIN,
    MUSCLE,
    MUCOSA,
    CARTILAGE,
    AIR,
    VITREOUS,
    LENS,
    OPTIC_NERVE,
    CORD,
    VEIN,
    ARTERY,
    DURA,
) = range(len(_TABLE))


@dataclass(frozen=True)
class Tissue:
    """Proton density (water = 1) and relaxation times (ms) of one tissue at 3 T."""

    name: str
    density: float
    t1_ms: float
    t2_ms: float
    t2star_ms: float
    source: str


_WANSAPURA = "T1, T2, T2*: Wansapura 1999, JMRI 9:531"
_STANISZ = "T1, T2: Stanisz 2005, MRM 54:507"
_GOLD = "T1, T2: Gold 2004, AJR 183:343"
_LIN = "T1: Lin 2001, JMRI 14:368 (3 T); T2 of nearly free water"
_BONE = "T1 140-260, T2* 0.42-0.50 at 1.5 T: Radiat Oncol 2013 8:51, table 1"
_ASSUMED = "assumed: "

TISSUES = tuple(
    Tissue(name, *values)
    for name, values in zip(
        NAMES,
        (
            (0.00, 1000, 1.0, 1.0, "no protons"),
            (0.70, 832, 80, 45, _WANSAPURA + " (WM)"),
            (0.82, 1331, 93, 42, _WANSAPURA + " (GM; T2 between its 80 and 110)"),
            (0.80, 1150, 80, 35, _ASSUMED + "between WM and GM: myelin and iron"),
            (0.82, 1250, 90, 42, _ASSUMED + "GM with thin white laminae"),
            (1.00, 4163, 1800, 800, _LIN),
            (1.00, 4163, 2000, 900, _LIN),
            (0.20, 200, 0.45, 0.45, _BONE),
            (0.75, 365, 110, 12, _GOLD + " (marrow fat, less T2 for red marrow)"),
            (0.85, 371, 133, 30, _GOLD + " (subcutaneous fat)"),
            (0.65, 900, 30, 12, _ASSUMED + "dermis: short T2 (collagen)"),
            (0.80, 1412, 40, 25, _STANISZ + " (muscle: T2 50; Gold 2004: 32)"),
            (0.85, 1400, 75, 20, _ASSUMED + "vascular soft tissue near air"),
            (0.70, 1168, 27, 15, _STANISZ + " (cartilage)"),
            (0.00, 1000, 1.0, 1.0, "no protons"),
            (1.00, 3800, 900, 400, _ASSUMED + "nearly free water, little protein"),
            (0.65, 1200, 30, 20, _ASSUMED + "dense protein"),
            (0.75, 1083, 78, 40, _STANISZ + " (optic nerve)"),
            (0.72, 993, 78, 45, _STANISZ + " (spinal cord)"),
            (0.85, 1932, 60, 20, _STANISZ + " (blood T1; T2 of venous blood)"),
            (0.10, 1932, 100, 40, _ASSUMED + "flow void"),
            (0.60, 1000, 25, 12, _ASSUMED + "dense collagen"),
        ),
        strict=True,
    )
)
"""Tissue parameters by tissue number (`noisyseg.tissues`), with their sources."""
