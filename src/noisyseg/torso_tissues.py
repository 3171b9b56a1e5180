"""Tissues of a digital torso: their numbers, structures and Hounsfield units.

>>> NAMES[AORTA], STRUCTURE[AORTA], STRUCTURE[LIVER]
('aortic blood', 'aorta', '')
"""

from dataclasses import dataclass

import numpy as np

STRUCTURES = ("kidney_left", "kidney_right", "aorta", "esophagus")
"""The structures with known truth, named as in the TotalSegmentator data set."""

PHASES = ("unenhanced", "arterial", "portal venous")
"""Contrast phases: before the contrast medium, some 35 s and some 70 s after it."""


@dataclass(frozen=True)
class Tissue:
    """Mean HU of one tissue in the three `PHASES`, and how it varies.

    `spread_hu` is the SD of the mean between subjects, `texture_hu` the SD of the
    grain within one.
    """

    name: str
    structure: str
    hu: tuple[float, float, float]
    spread_hu: float
    texture_hu: float


def _same(hu):
    return (hu, hu, hu)


_CORTEX, _MEDULLA, _BLOOD = (32, 165, 190), (30, 70, 165), (43, 290, 155)
_GUT = (36, 70, 80)

# name, structure, HU in the three phases, SD between subjects, SD of the grain
_TABLE = (
    ("outside air", "", _same(-1000), 0, 0),
    ("skin", "", (10, 15, 25), 8, 5),
    ("fat", "", _same(-106), 4, 8),
    ("muscle", "", (52, 55, 62), 4, 9),
    ("cortical bone", "", _same(720), 80, 40),
    ("cancellous bone", "", _same(150), 35, 40),
    ("disc", "", _same(85), 8, 8),
    ("spinal canal", "", _same(28), 5, 4),
    ("costal cartilage", "", _same(110), 20, 15),
    ("lung", "", _same(-845), 25, 25),
    ("lung vessel", "", (40, 200, 140), 5, 0),
    ("airway", "", _same(-985), 5, 0),
    ("heart muscle", "", (45, 95, 115), 4, 6),
    ("heart blood", "", (43, 260, 155), 3, 4),
    ("liver", "", (56, 68, 108), 7, 4),
    ("liver vessel", "", (43, 75, 150), 4, 0),
    ("spleen", "", (45, 120, 118), 4, 4),
    ("stomach wall", "", _GUT, 4, 5),
    ("stomach content", "", _same(15), 14, 9),
    ("gas", "", _same(-960), 15, 15),
    ("bowel wall", "", (38, 75, 85), 4, 6),
    ("bowel content", "", _same(24), 9, 10),
    ("faeces", "", _same(10), 25, 45),
    ("vena cava", "", (42, 75, 130), 4, 3),
    ("gallbladder", "", _same(8), 5, 3),
    ("pancreas", "", (40, 90, 92), 5, 9),
    ("artery", "", _BLOOD, 4, 0),
    ("vein", "", (42, 80, 140), 4, 0),
    ("urine", "", (4, 6, 20), 3, 2),
    ("left kidney cortex", "kidney_left", _CORTEX, 3, 5),
    ("left kidney medulla", "kidney_left", _MEDULLA, 3, 5),
    ("right kidney cortex", "kidney_right", _CORTEX, 3, 5),
    ("right kidney medulla", "kidney_right", _MEDULLA, 3, 5),
    ("aortic blood", "aorta", _BLOOD, 4, 3),
    ("aortic wall", "aorta", (50, 75, 75), 4, 3),
    ("aortic plaque", "aorta", _same(420), 80, 60),
    ("oesophageal wall", "esophagus", (38, 62, 72), 4, 6),
    ("oesophageal air", "esophagus", _same(-940), 20, 10),
    ("trachea wall", "", (45, 60, 65), 5, 5),
    ("adrenal gland", "", (22, 60, 65), 6, 5),
)

TISSUES = tuple(Tissue(*row) for row in _TABLE)
"""Tissues by number, at 120 kVp. Unenhanced values lie near the one unenhanced CT in
`real_torsos.csv` (its patient has a liver and a spleen some 10 HU below the usual) and
near the round numbers usual in abdominal CT; what contrast medium adds is assumed:
aorta near 300 HU in the arterial, liver near 110 HU in the portal venous phase."""

NAMES = tuple(t.name for t in TISSUES)
STRUCTURE = tuple(t.structure for t in TISSUES)
"""Structure that a tissue belongs to, "" for none."""

(
    OUTSIDE,
    SKIN,
    FAT,
    MUSCLE,
    COMPACT,
    SPONGIOSA,
    DISC,
    CANAL,
    CARTILAGE,
    LUNG,
    LUNG_VESSEL,
    AIRWAY,
    HEART,
    HEART_BLOOD,
    LIVER,
    LIVER_VESSEL,
    SPLEEN,
    STOMACH_WALL,
    STOMACH_CONTENT,
    GAS,
    BOWEL_WALL,
    BOWEL_CONTENT,
    FAECES,
    CAVA,
    GALLBLADDER,
    PANCREAS,
    ARTERY,
    VEIN,
    URINE,
    LEFT_CORTEX,
    LEFT_MEDULLA,
    RIGHT_CORTEX,
    RIGHT_MEDULLA,
    AORTA,
    AORTA_WALL,
    PLAQUE,
    OESOPHAGUS,
    OESOPHAGUS_AIR,
    TRACHEA_WALL,
    ADRENAL,
) = range(len(_TABLE))


def belonging(structure):
    """Numbers of the tissues that make up a structure, uint8 array.

    Raises
    ------
    ValueError
        For a name that is not in `STRUCTURES`.

    >>> belonging("esophagus").tolist()
    [36, 37]
    """
    if structure not in STRUCTURES:
        known = ", ".join(STRUCTURES)
        raise ValueError(
            f"structure must be one of {known}, got {structure!r}; correct the name"
        )
    found = [number for number, name in enumerate(STRUCTURE) if name == structure]
    return np.array(found, np.uint8)
