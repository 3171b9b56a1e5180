"""The claims ledger: what the papers say, sentence by sentence, and what we find.

A row of ``claims.yaml`` names a claim, where our answer to it is found in the tables of
``reports/``, and which value would confirm it. The numbers that the papers print
(``published.csv``) are rows, too: only the papers' own data could confirm those.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import Field, model_validator

from noisyseg import errata, evaluation
from noisyseg.choices import check_choice
from noisyseg.sections import Positive, Strict

REPORTS = Path("reports")
REAL_DATA, READING = "needs the real data", "by reading"
VERDICTS = ("reproduced", "not reproduced", "inconclusive", REAL_DATA, READING)
STAGES = {"sgl": "study@sgl", "robust": "study@robust"}  # others are named as the study
ALL = "all"  # structures: the mean over all of a case but the background
STATISTICS = ("mean", "sd", "min", "max")
SPREAD = {f"dice_{name}": name for name in STATISTICS[1:]}

Key = str | float | int


class Cell(Strict):
    """One number of a table of a report, and the columns of its interval."""

    table: str
    where: dict[str, Key]
    value: str
    low: str | None = None
    high: str | None = None
    clear: str | None = None


class Claim(Strict):
    """A row of the ledger; exactly one of the last four says what we find.

    `mean` and `difference` select rows of the study's long table: `arm` (and `other`),
    `structure`, by default the mean over all but the background, `metric`, by default
    Dice, and what else is needed. `computed` is a function of `errata`. Without any of
    them nothing of ours can answer. What `expects` says: `judge`.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(\.[a-z0-9_]+)+$")]
    study: str
    kind: Literal["number", "sentence", "erratum"]
    source: str
    claim: str
    published: float | None = None
    expects: Literal["positive", "negative", "none", "near", "real data", "reading"]
    tolerance: Positive | None = None
    figure: str | None = None
    mean: dict[str, Key] | None = None
    difference: dict[str, Key] | None = None
    cell: Cell | None = None
    computed: str | None = None

    @model_validator(mode="after")
    def _is_complete(self):
        found = [self.mean, self.difference, self.cell, self.computed]
        count = sum(part is not None for part in found)
        without = self.expects in ("real data", "reading")
        if count > 1 or (count == 0 and not without):
            raise ValueError(
                f"{self.id} must have one of mean, difference, cell and computed, got "
                f"{count}; say where our answer stands"
            )
        if self.expects == "near" and None in (self.published, self.tolerance):
            raise ValueError(
                f"{self.id} must have published and tolerance to be near, got "
                f"{self.published} and {self.tolerance}; add them"
            )
        if self.computed is not None:
            check_choice(f"computed of {self.id}", self.computed, errata.COMPUTED)
        return self


@dataclass(frozen=True)
class Finding:
    """What we find: a value, its interval, and whether that is clear of 0."""

    value: float
    low: float
    high: float
    clear: bool


def read():
    """All claims: those of ``claims.yaml``, then the numbers that papers print.

    Returns
    -------
    list of Claim

    Raises
    ------
    ValueError
        If two rows have one id, or a row is incomplete.
    """
    text = resources.files("noisyseg").joinpath("claims.yaml").read_text()
    found = [Claim(**row) for row in yaml.safe_load(text)] + printed_numbers()
    ids = pd.Series([claim.id for claim in found])
    if ids.duplicated().any():
        raise ValueError(
            f"ids must be unique, got {', '.join(ids[ids.duplicated()])} again; rename"
        )
    return found


def printed_numbers():
    """A claim for every number of ``published.csv``."""
    with resources.files("noisyseg").joinpath("published.csv").open() as file:
        rows = pd.read_csv(file)
    return [_printed(row) for row in rows.itertuples()]


def _printed(row):
    study, _, scenario = row.study.partition(".")
    where = {"arm": row.arm, "structure": row.structure}
    if study == "sgl":
        where["reference"] = "t1t2"
        study = "robust" if row.arm == "t1_robust" else "sgl"
    where |= {"scenario": scenario} if scenario else {}
    where |= {"cohort": "target_test"} if study == "mind" else {}
    statistic = SPREAD.get(row.metric, "mean")
    names = [row.arm, row.structure, statistic]
    return Claim(
        id=".".join(_word(part) for part in (row.study, *names)),
        study=study,
        kind="number",
        source=row.source,
        claim=f"{row.row}, {row.structure}: Dice, {statistic} over cases.",
        published=row.value,
        expects="real data",
        mean=where | {"statistic": statistic},
    )


def _word(text):
    return text.lower().replace(" ", "_")


def ledger(claims, reports=REPORTS, *, strict=True):
    """What we find for every claim, and the verdict.

    Parameters
    ----------
    claims : list of Claim
    reports : Path
    strict : bool
        Whether a row that names nothing is an error, or else has no finding: a scale
        may leave out arms and strengths of noise.

    Returns
    -------
    DataFrame with columns id, study, kind, claim, source, published, ours, low, high,
        verdict, figure, stage
    """
    rows = []
    for claim in claims:
        found = find(claim, reports) if strict else _find_or_none(claim, reports)
        ours = {} if found is None else {
            "ours": found.value, "low": found.low, "high": found.high
        }  # fmt: skip
        about = claim.model_dump(
            include={"id", "study", "kind", "claim", "source", "published", "figure"}
        )
        stage = STAGES.get(claim.study, claim.study)
        verdict = judge(claim, found)
        rows.append(about | ours | {"verdict": verdict, "stage": stage})
    columns = ["id", "study", "kind", "claim", "source", "published", "ours"]
    columns += ["low", "high", "verdict", "figure", "stage"]
    return pd.DataFrame(rows).reindex(columns=columns)


def judge(claim, found):
    """The verdict on a claim, one of `VERDICTS`.

    Parameters
    ----------
    claim : Claim
        With ``positive`` or ``negative`` a clear value of that sign confirms it, and
        one of the other sign refutes it. With ``near`` the interval within `tolerance`
        of what was published, or wholly beyond; with ``none`` the same about 0, where a
        clear value refutes it as well. ``real data`` would be needed for others, and
        some slips (``reading``) are seen in the paper itself.
    found : Finding or None
    """
    if claim.expects == "real data":
        return REAL_DATA
    if claim.expects == "reading":
        return READING
    if found is None or np.isnan(found.value):
        return "inconclusive"
    if claim.expects in ("positive", "negative"):
        if not found.clear:
            return "inconclusive"
        agrees = (found.value > 0) == (claim.expects == "positive")
        return "reproduced" if agrees else "not reproduced"
    middle = claim.published if claim.expects == "near" else 0.0
    reach = claim.tolerance or 0.0
    if middle - reach <= found.low and found.high <= middle + reach:
        return "reproduced"
    beyond = found.low > middle + reach or found.high < middle - reach
    refuted = beyond or (claim.expects == "none" and found.clear)
    return "not reproduced" if refuted else "inconclusive"


def find(claim, reports=REPORTS):
    """Our answer to a claim, a Finding, or None where there is none.

    Raises
    ------
    FileNotFoundError, ValueError
        If the claim names a table, arm, class or column that does not exist.
    """
    try:
        if claim.computed is not None:
            value = float(errata.COMPUTED[claim.computed]())
            return Finding(value, value, value, value != 0)
        if claim.cell is not None:
            return _cell(reports / claim.study, claim.cell)
        if claim.difference is not None:
            return _difference(_scores(reports / claim.study), dict(claim.difference))
        if claim.mean is not None:
            return _mean(_scores(reports / claim.study), dict(claim.mean))
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"claim {claim.id}: {error}") from error
    return None


def _find_or_none(claim, reports):
    try:
        return find(claim, reports)
    except (FileNotFoundError, ValueError):
        return None


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
        if key not in chosen:
            raise ValueError(f"key must be one of {', '.join(chosen)}, got {key!r}")
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
        return Finding(value, np.nan, np.nan, False)
    (row,) = evaluation.summarise(chosen).itertuples()
    return Finding(row.mean, row.low, row.high, bool(row.low > 0 or row.high < 0))


def _difference(scores, where):
    arms = [where.pop("arm"), where.pop("other")]
    (row,) = evaluation.compare(_select(scores, where, arms), *arms).itertuples()
    return Finding(row.difference, row.low, row.high, bool(row.clear))


def _cell(folder, cell):
    path = folder / cell.table
    table = _table(path)
    for key in (*cell.where, cell.value, cell.low, cell.high, cell.clear):
        if key is not None and key not in table:
            raise ValueError(f"{path} must have a column {key!r}; correct the row")
    for key, value in cell.where.items():
        table = table[table[key] == value]
    if len(table) != 1:
        raise ValueError(f"{path} must have one row {cell.where}, got {len(table)}")
    row = table.iloc[0]
    value = float(row[cell.value])
    low, high = (float(row[key]) if key else value for key in (cell.low, cell.high))
    clear = bool(row[cell.clear]) if cell.clear else bool(low > 0 or high < 0)
    return Finding(value, low, high, clear)


def contradictions(text, verdicts):
    """Verdicts in prose that are not those of the ledger.

    Parameters
    ----------
    text : str
        Prose names a row and its verdict as ``[mind.gap: reproduced]``.
    verdicts : dict of id to verdict

    Returns
    -------
    list of str, one line for each contradiction or unknown row
    """
    said = re.findall(r"\[([a-z0-9_.]+\.[a-z0-9_.]+): ([a-z ]+)\]", text)
    return [
        f"{name} is {verdicts.get(name, 'not in the ledger')}, said to be {verdict}"
        for name, verdict in said
        if verdict in VERDICTS and verdicts.get(name) != verdict
    ]
