"""A number of a report: the rows of the long table behind it, its cases, its place.

Every ``reports/<study>/scores.csv`` has a row per arm, seed or fold, case, reference,
structure and metric; studies add a column that tells strengths or scenarios apart.
"""

import re
import shlex
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import pandas as pd

from noisyseg import evaluation
from noisyseg.choices import check_choice

REPORTS = Path("reports")
SHARED = ("study", "arm", "seed", "fold", "case", "reference", "structure", "metric")
SHARED += ("value", "organ")  # the last is the structure
USUAL = {"cohort": "target_test"}  # whose numbers a report prints first
ALIASES = {"sd_mm": "a_mm"}  # columns that a summary calls otherwise
BADNESS = {  # how bad a value of a metric is; of other metrics the least is worst
    "hd95_mm": lambda value: value,
    "undecided": lambda value: value,
    "relative_volume": lambda value: (value - 1).abs(),
    "threshold": lambda value: (value - 0.5).abs(),
}


@dataclass(frozen=True)
class Number:
    """One number of a study, and the rows of its long table that it is the mean of.

    Attributes
    ----------
    where : dict
        Value of each column that only this study has, for instance its scenario.
    rows : DataFrame
    others : dict of str to list of str
        Values of reference, metric and the columns of `where` that would tell another
        number.
    """

    study: str
    arm: str
    structure: str
    metric: str
    reference: str
    where: dict
    rows: pd.DataFrame
    others: dict

    @property
    def told(self):
        """What tells this number from others of its study, a dict."""
        names = ("arm", "structure", "metric", "reference")
        return {name: getattr(self, name) for name in names} | self.where


def find(study, arm, structure, *, metric="dice", reference=None, where=None,
         reports=REPORTS):  # fmt: skip
    """One number of a study; what is not said is what its report prints first.

    Parameters
    ----------
    study, arm, structure, metric, reference : str
    where : dict of str to str, optional
        Columns of this study alone, for instance ``{"scenario": "wmh"}``.
    reports : Path

    Returns
    -------
    Number

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such study, arm, ..., naming the nearest.
    """
    rows, others, given = read_scores(study, reports), {}, dict(where or {})
    for key, value in {"arm": arm, "structure": structure, "metric": metric}.items():
        told = rows
        rows = _chosen(rows, key, value, f"{key} of study {study}")
    others["metric"] = _without(told["metric"].unique(), metric)
    own = [key for key in rows if key not in SHARED]
    for key in given:
        check_choice(f"where of study {study}", key, own)
    found = {}
    for key, value in {"reference": reference, **dict.fromkeys(own), **given}.items():
        known = [as_text(each) for each in rows[key].unique()]
        value = value or (USUAL.get(key) if USUAL.get(key) in known else known[0])
        rows = _chosen(rows, key, value, f"{key} of {arm}, {structure}")
        found[key], others[key] = rows[key].iloc[0], _without(known, value)
    others = {key: values for key, values in others.items() if values}
    reference = found.pop("reference")
    return Number(study, arm, structure, metric, reference, found, rows, others)


def _chosen(rows, key, value, name):
    """The rows in which a column has a value, written as text."""
    known = {as_text(each): each for each in rows[key].unique()}
    check_choice(name, as_text(value), known)
    return rows[rows[key] == known[as_text(value)]]


def _without(values, value):
    return [as_text(each) for each in values if as_text(each) != as_text(value)]


def as_text(value):
    """A value of a table as people type it.

    >>> as_text(2.0), as_text("2.0"), as_text("wmh"), as_text(0.75)
    ('2', '2', 'wmh', '0.75')
    """
    try:
        return f"{float(value):g}"
    except ValueError:
        return str(value)


def read_scores(study, reports=REPORTS):
    """The long table of a study.

    Raises
    ------
    ValueError
        If there is no such study, naming the nearest.
    """
    known = sorted(path.parent.name for path in reports.glob("*/scores.csv"))
    check_choice(f"study in {reports}", study, known)
    return read_table(reports / study / "scores.csv")


def read_table(path, **how):
    """A table of a report, read once until it changes."""
    return _read(path, path.stat().st_mtime_ns, **how)


@lru_cache(maxsize=32)
def _read(path, _changed_ns, dtype=None):
    return pd.read_csv(path, dtype=dtype or {"case": str})


def summary(number, reports=REPORTS):
    """Mean, interval, cases and seed SD as the report has them, a Series.

    Of numbers that no ``summary.csv`` holds they are computed here.
    """
    path = reports / number.study / "summary.csv"
    if path.exists():
        asked = tuple(number.told.items())
        rows = _summary_rows(path, path.stat().st_mtime_ns, asked)
        if len(rows) == 1:
            return rows.iloc[0]
    return evaluation.summarise(number.rows).iloc[0]


@cache
def _summary_rows(path, changed_ns, told):
    rows = _read(path, changed_ns)
    for key, value in told:
        rows = rows[rows[ALIASES.get(key, key)] == value]
    return rows


def cases(number):
    """The cases behind a number, the worst first.

    Returns
    -------
    DataFrame with columns case, value (mean over seeds) and a column for each seed; or
        case, value and fold, where each case was held out in one fold
    """
    rows = number.rows
    if told_by(rows) == "fold":
        table = rows[["case", "value", "fold"]]
    else:
        wide = rows.pivot(index="case", columns="seed", values="value")
        names = {seed: f"seed {seed}" for seed in wide}
        table = wide.rename(columns=names).rename_axis(columns=None)
        table.insert(0, "value", wide.mean(axis=1))
        table = table.reset_index()
    order = badness(number.metric, table["value"])
    order = order.sort_values(ascending=False, kind="stable")
    return table.loc[order.index].reset_index(drop=True)


def told_by(rows):
    """What tells the networks behind one number apart: seed, or fold."""
    return "fold" if rows["fold"].nunique() > 1 else "seed"


def badness(metric, values):
    """How bad values of a metric are, a Series: the higher, the worse."""
    return BADNESS.get(metric, lambda value: -value)(values)


def worst(number):
    """The worst row of the worst case, a Series; None if no case has a value."""
    table = cases(number).dropna(subset="value")
    if table.empty:
        return None
    rows = number.rows[number.rows["case"] == table["case"].iloc[0]]
    return rows.loc[badness(number.metric, rows["value"]).idxmax()]


def command(number):
    """The call of `noisyseg trace` for the first number of an arm and structure."""
    return shlex.join(["noisyseg", "trace", number.study, number.arm, number.structure])


def anchor(arm, structure):
    """The id of an arm and structure in a page.

    >>> anchor("software t1", "WM"), anchor("beta_0.7", "bone")
    ('software-t1-wm', 'beta-0-7-bone')
    """
    return re.sub(r"[^a-z0-9]+", "-", f"{arm}-{structure}".lower()).strip("-")


def link(study, arm, structure):
    """Where a number is traced, from the page that leads to every report.

    >>> link("sgl", "t1t2", "bone")
    'trace/sgl.html#t1t2-bone'
    """
    return f"trace/{study}.html#{anchor(arm, structure)}"
