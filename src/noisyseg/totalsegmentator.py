"""CT scans in the layout of the TotalSegmentator data set, version 1 or 2.

    <folder>/s0000/ct.nii[.gz]
    <folder>/s0000/segmentations/<structure>.nii[.gz]   or one map of all structures,
    <folder>/s0000/segmentations.nii[.gz]               as the program's --ml writes it

Masks of structures that a scan does not show are empty files; some files of the data
set are damaged. `survey` opens everything and says so, case by case.

References
----------
.. [1] Wasserthal et al. 2023, TotalSegmentator: Robust Segmentation of 104 Anatomic
   Structures in CT Images, Radiology: Artificial Intelligence 5(5):e230024.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from tqdm import tqdm

from noisyseg import volume
from noisyseg.choices import check_choice, listed

VERSION_MARKS = {"v1": ("face", "heart_myocardium"), "v2": ("heart", "skull")}
ENDINGS = (".nii", ".nii.gz")
_LABEL = re.compile(rb'<Label\b[^>]*\bKey="(\d+)"[^>]*>(?:<!\[CDATA\[)?([^<\]]+)')


@dataclass(frozen=True)
class Scan:
    """One case: its name, its CT, and the folder or file of its segmentations."""

    name: str
    ct: Path
    segmentations: Path


def read(folder):
    """The cases of a data set, sorted by name; nothing is opened yet.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    list of Scan; a missing file is found when it is opened, or by `survey`

    Raises
    ------
    FileNotFoundError
        If the folder holds no case.
    """
    folder = Path(folder)
    homes = [
        home
        for home in sorted(folder.glob("*"))
        if not home.name.startswith(".") and (_file(home, "ct") or _segmentations(home))
    ]
    if not homes:
        raise FileNotFoundError(
            f"{folder} must hold folders with ct.nii.gz and segmentations, got "
            f"{listed(sorted(p.name for p in folder.glob('*')))}; unpack the data set "
            "there"
        )
    return [
        Scan(
            home.name,
            _file(home, "ct") or home / "ct.nii.gz",
            _segmentations(home) or home / "segmentations",
        )
        for home in homes
    ]


def _file(folder, stem):
    """The image of that name with either ending, or None."""
    found = (folder / f"{stem}{ending}" for ending in ENDINGS)
    return next((path for path in found if path.is_file()), None)


def _segmentations(home):
    inner = home / "segmentations"
    return inner if inner.is_dir() else _file(home, "segmentations")


def structures(scan):
    """Names of the structures that a case has masks of, empty ones included."""
    if scan.segmentations.is_dir():
        files = [path.name for path in scan.segmentations.iterdir() if path.is_file()]
        whole = [name for name in files if name.endswith(ENDINGS)]
        return sorted({name.partition(".nii")[0] for name in whole})
    return sorted(_label_table(scan.segmentations))


def version(scan):
    """The version of the classes, ``v1`` or ``v2``; ``unknown`` with a few masks."""
    names = structures(scan)
    found = [v for v, marks in VERSION_MARKS.items() if set(marks) & set(names)]
    return found[0] if len(found) == 1 else "unknown"


def load_ct(scan):
    """The CT, float32 HU, canonical axes."""
    return volume.to_canonical(volume.read_image(scan.ct))


def load_mask(scan, structure):
    """Mask of one structure, bool, canonical axes; it may be empty.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such structure, or its file is damaged or not binary.
    """
    if not scan.segmentations.is_dir():
        table = _label_table(scan.segmentations)
        check_choice(f"structure of {scan.name}", structure, table)
        labels = volume.to_canonical(volume.read_labels(scan.segmentations))
        return labels.with_data(labels.data == table[structure])
    path = _file(scan.segmentations, structure)
    if path is None:
        check_choice(f"structure of {scan.name}", structure, structures(scan))
    labels = volume.to_canonical(volume.read_labels(path))
    if not ((labels.data == 0) | (labels.data == 1)).all():
        raise ValueError(
            f"{path} must hold only 0 and 1, got {np.unique(labels.data)[:6]}; give "
            "one file per structure"
        )
    return labels.with_data(labels.data == 1)


def _label_table(path):
    """Names and values of a map of all structures, from the table in its header.

    Versions 1 and 2 number them differently, so that nothing can be assumed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} must exist; add the segmentations")
    volume.read_labels(path)  # one clear error for a damaged file
    extensions = getattr(nib.load(path).header, "extensions", [])
    text = b"".join(extension.content for extension in extensions)
    found = {name.decode().strip(): int(key) for key, name in _LABEL.findall(text)}
    if not found:
        raise ValueError(
            f"{path} must name its labels in the header, got no table; save one file "
            "per structure in segmentations/"
        )
    return found


def survey(scans, wanted):
    """What can be used: every case and structure with its volume or its fault.

    Parameters
    ----------
    scans : list of Scan
    wanted : sequence of str
        Structures.

    Returns
    -------
    DataFrame with columns case, version, structure, volume_ml and fault: none, or
        ``empty``, ``cut`` (it reaches the border of the scan; it can be used), or the
        error of the file. A damaged CT is the fault of all structures of its case.
    """
    rows = []
    for scan in tqdm(scans, "scans", mininterval=1, disable=len(scans) < 8):
        try:
            ct, fault = load_ct(scan), ""
        except (OSError, ValueError) as error:
            ct, fault = None, str(error)
        for structure in wanted:
            volume_ml, found = (0.0, fault) if fault else _examine(scan, structure, ct)
            rows.append((scan.name, _version(scan), structure, volume_ml, found))
    columns = ["case", "version", "structure", "volume_ml", "fault"]
    return pd.DataFrame(rows, columns=columns)


def _version(scan):
    try:
        return version(scan)
    except (OSError, ValueError):
        return "unknown"


def _examine(scan, structure, ct):
    """Volume (mL) and fault of one structure of a case."""
    try:
        mask = load_mask(scan, structure)
        volume.check_same_grid(ct, mask, f"{scan.name} ct", structure)
    except (OSError, ValueError) as error:
        return 0.0, str(error)
    if not mask.data.any():
        return 0.0, "empty"
    volume_ml = np.count_nonzero(mask.data) * np.prod(mask.spacing_mm) / 1000
    inner = mask.data[1:-1, 1:-1, 1:-1]
    cut = np.count_nonzero(inner) < np.count_nonzero(mask.data)
    return float(volume_ml), "cut" if cut else ""


def usable(table, structure):
    """Names of the cases of a survey that show a structure, whole or cut."""
    rows = table[(table["structure"] == structure) & table["fault"].isin(["", "cut"])]
    return list(rows["case"])
