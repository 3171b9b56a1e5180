"""Label tables: which value in a label image means which structure.

A table travels with the data as ``dseg.tsv`` (BIDS derivatives: columns index, name,
color), so that no reader has to guess what a value means.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class LabelTable:
    """Names and colours of the label values 0, 1, 2, ... of one coding.

    Parameters
    ----------
    names : tuple of str
        ``names[v]`` is the structure with label value ``v``; value 0 is background.
    colours : tuple of str
        Matching ``#rrggbb`` colours, used by every figure.

    Examples
    --------
    >>> HEAD.value("eyes"), HEAD.names[3], len(HEAD)
    (7, 'CSF', 9)
    """

    names: tuple[str, ...]
    colours: tuple[str, ...]

    def __post_init__(self):
        if len(self.names) != len(self.colours):
            raise ValueError(
                f"colours must be one for each of {len(self.names)} names, got "
                f"{len(self.colours)}; complete the table"
            )
        twice = sorted({n for n in self.names if self.names.count(n) > 1})
        if twice:
            raise ValueError(
                f"names must be unique, got {', '.join(twice)} more than once; rename "
                "or merge these labels"
            )

    def __len__(self):
        return len(self.names)

    def value(self, name):
        """Label value of a structure; ValueError with the known names otherwise."""
        if name not in self.names:
            known = ", ".join(self.names)
            raise ValueError(
                f"structure must be one of {known}, got {name!r}; correct the name"
            )
        return self.names.index(name)

    def write(self, path):
        """Write the table as a BIDS ``dseg.tsv``, under its name only when whole."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = {"index": range(len(self)), "name": self.names, "color": self.colours}
        part = path.with_name(f".{path.name}.part")
        pd.DataFrame(rows).to_csv(part, sep="\t", index=False, lineterminator="\n")
        os.replace(part, path)


HEAD = LabelTable(
    names=(
        "background",
        "WM",
        "GM",
        "CSF",
        "bone",
        "skin",
        "cavities",
        "eyes",
        "ventricles",
    ),
    colours=(
        "#000000",
        "#f2efe6",
        "#8d8d8d",
        "#3b82c4",
        "#e8c468",
        "#d98c7a",
        "#5b3a8c",
        "#3aa76d",
        "#7fd1f0",
    ),
)
"""The nine classes of the head study (Akrami, Cui et al.), SimNIBS ``masks_contr``."""


def read(path):
    """The label table stored in a BIDS ``dseg.tsv``.

    Raises
    ------
    ValueError
        When columns are missing or the values are not 0, 1, 2, ... in order.
    FileNotFoundError
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} must exist; write the label table beside labels"
        )
    rows = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    missing = {"index", "name", "color"} - set(rows.columns)
    if missing:
        raise ValueError(
            f"{path} must have the columns index, name, color, got "
            f"{', '.join(rows.columns)}; add {', '.join(sorted(missing))}"
        )
    if list(rows["index"]) != [str(value) for value in range(len(rows))]:
        raise ValueError(
            f"{path} must list the values 0 to {len(rows) - 1} in order, got "
            f"{', '.join(rows['index'])}; sort the table and fill the gaps"
        )
    return LabelTable(tuple(rows["name"]), tuple(rows["color"]))
