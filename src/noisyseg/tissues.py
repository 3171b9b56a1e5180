"""Tissues of a digital head: one number each, shared by anatomy and physics.

>>> NAMES[WHITE], CLASS[WHITE]
('white matter', 1)
"""

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
