"""What we find for a claim: a value of the tables in ``reports/``, and its interval."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from noisyseg import errata, evaluation, params, reporting
from noisyseg.choices import check_choice

REPORTS = Path("reports")
ALL = "all"  # structures: the mean over all of a case but the background
STATISTICS = ("mean", "sd", "min", "max")


@dataclass(frozen=True)
class Finding:
    """What we find: a value, its interval, and whether that is clear of 0.

    `cases` is over how many cases, `seed_spread` the SD over seeds where there are any.
    """

    value: float
    low: float
    high: float
    clear: bool
    cases: int | None = None
    seed_spread: float = 0.0


def exactly(value):
    """A finding without chance: clear unless it is 0."""
    value = float(value)
    return Finding(value, value, value, value != 0)


def find(claim, reports=REPORTS):
    """Our answer to a claim, a Finding, or None where there is none.

    Raises
    ------
    FileNotFoundError, ValueError
        If the claim names a table, arm, class or column that does not exist.
    """
    try:
        if claim.computed is not None:
            return exactly(errata.COMPUTED[claim.computed]())
        if claim.setting is not None:
            return exactly(_setting(claim.setting))
        if claim.printed is not None:
            return exactly(_printed_difference(**claim.printed))
        if claim.cell is not None:
            return _cell(reports / claim.study, claim.cell)
        if claim.difference is not None:
            return _difference(_scores(reports / claim.study), dict(claim.difference))
        if claim.mean is not None:
            return _mean(_scores(reports / claim.study), dict(claim.mean))
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"claim {claim.id}: {error}") from error
    return None


@lru_cache(maxsize=1)
def _paper_scale():
    return params.load(scale="paper")


def _setting(path):
    """A parameter ``a.b.c`` at scale ``paper``; of a list or dict its length."""
    found = _paper_scale()
    for key in path.split("."):
        try:
            found = found[int(key)] if key.isdigit() else getattr(found, key)
        except AttributeError:
            check_choice("setting", key, found)
            found = found[key]
    return len(found) if hasattr(found, "__len__") else found


def _printed_difference(study, arm, other, structure=None):
    """A printed Dice of an arm less that of another; the mean over all structures."""
    rows = reporting.published(study)
    rows = rows[rows["metric"] == "dice"]
    table = rows.pivot(index="structure", columns="arm", values="value")
    for name in (arm, other):
        check_choice("arm", name, list(table))
    change = table[arm] - table[other]
    return round(float(change.mean() if structure is None else change[structure]), 6)


def _scores(folder):
    return _table(folder / "scores.csv")


def _table(path):
    if not path.exists():
        raise FileNotFoundError(f"{path} must exist; run dvc repro, or correct the row")
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _read(path, _changed_ns):
    return pd.read_csv(path, dtype={"case": str})


def _select(scores, where, arms):
    """Rows of some arms, one structure and one metric, told by what else is said."""
    where = {"metric": "dice", "structure": ALL} | where
    structure = where.pop("structure")
    chosen = scores[scores["arm"].isin(arms)]
    for key, value in where.items():
        check_choice("key", key, list(chosen))
        chosen = chosen[chosen[key] == value]
    if structure == ALL:
        chosen = chosen[chosen["structure"] != "background"]
        keys = ["arm", "seed", "case", "reference", "metric"]
        chosen = chosen.groupby(keys, sort=False)["value"].mean().reset_index()
        chosen = chosen.assign(structure=ALL)
    chosen = chosen[chosen["structure"] == structure]
    lacks = [arm for arm in arms if arm not in set(chosen["arm"])]
    if lacks or chosen["reference"].nunique() != 1:
        raise ValueError(
            f"rows must be there for {', '.join(arms)} and one reference, got none of "
            f"{', '.join(lacks) or 'neither'} and {chosen['reference'].nunique()} "
            "references; correct the row"
        )
    one = [key for key in ("arm", "seed", "fold", "case") if key in chosen]
    if chosen.duplicated(one).any():
        told = [key for key in chosen if chosen[key].nunique() > 1]
        raise ValueError(
            f"a case must have one value, got several, which differ in "
            f"{', '.join(told)}; say which of them"
        )
    return chosen


def _mean(scores, where):
    statistic = where.pop("statistic", "mean")
    check_choice("statistic", statistic, STATISTICS)
    chosen = _select(scores, where, [where.pop("arm")])
    if statistic != "mean":
        by_seed = chosen.groupby("seed")["value"]
        value = float(by_seed.agg("std" if statistic == "sd" else statistic).mean())
        return Finding(value, np.nan, np.nan, False, chosen["case"].nunique())
    (row,) = evaluation.summarise(chosen).itertuples()
    clear = bool(row.low > 0 or row.high < 0)
    return Finding(row.mean, row.low, row.high, clear, row.cases, row.seed_sd)


def _difference(scores, where):
    arms = [where.pop("arm"), where.pop("other")]
    chosen = _select(scores, where, arms)
    (row,) = evaluation.compare(chosen, *arms).itertuples()
    cases = chosen["case"].nunique()
    found = row.difference, row.low, row.high, bool(row.clear)
    return Finding(*found, cases, row.seed_spread)


def _cell(folder, cell):
    path = folder / cell.table
    table = _table(path)
    for key in (*cell.where, cell.value, cell.low, cell.high, cell.clear):
        if key is not None and key not in table:
            raise ValueError(f"{path} must have a column {key!r}; correct the row")
    for key, value in cell.where.items():
        table = table[table[key] == value]
    if len(table) != 1:
        raise ValueError(
            f"{path} must have one row {cell.where}, got {len(table)}; say which"
        )
    row = table.iloc[0]
    value = float(row[cell.value])
    low, high = (float(row[key]) if key else value for key in (cell.low, cell.high))
    clear = bool(row[cell.clear]) if cell.clear else bool(low > 0 or high < 0)
    return Finding(value, low, high, clear)
