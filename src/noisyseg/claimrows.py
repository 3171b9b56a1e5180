"""What the papers claim: the rows of ``claims.yaml``, and the numbers that are printed.

A row names a claim, where our answer to it is found in the tables of ``reports/``, and
which value would confirm it. The numbers that the papers print (``published.csv``) are
rows, too: only the papers' own data could confirm those.

Kinds: a `sentence` of result; a `number`, printed; one `derived` from printed numbers;
a `setting`, printed, which our scale ``paper`` should have; an `erratum`, a slip.
"""

import re
from importlib import resources
from typing import Annotated, Literal

import pandas as pd
import yaml
from pydantic import Field, model_validator

from noisyseg import errata
from noisyseg.choices import check_choice, listed
from noisyseg.sections import Positive, Strict

KINDS = ("sentence", "derived", "number", "setting", "erratum")
WITHOUT = {  # what is expected where nothing of ours answers, and the verdict
    "real data": "needs the real data",
    "untested": "not tested",
    "reading": "by reading",
}
VERDICTS = ("reproduced", "not reproduced", "inconclusive", *WITHOUT.values())
ANSWERS = ("mean", "difference", "cell", "printed", "setting", "computed")
MARK = re.compile(r"\[([a-z0-9_]+(?:\.[a-z0-9_]+)+): ([a-z ]+)\]")  # id, verdict
SPREAD = {"dice_sd": "sd", "dice_min": "min", "dice_max": "max"}  # metric to statistic

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
    """A row of the ledger; exactly one of the last six says what we find.

    `mean` and `difference` select rows of the study's long table: `arm` (and `other`),
    `structure`, by default the mean over all but the background, `metric`, by default
    Dice, and what else is needed. `printed` does the same in a paper's own table;
    `setting` names a parameter at scale ``paper``, or a list by its length; `computed`
    is a function of `errata`. Without any of them nothing of ours can answer.
    `published` is what a paper prints, `target` what `near` is to be near to, if that
    is something else. What `expects` says: `judge`.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+(\.[a-z0-9_]+)+$")]
    study: str
    kind: Literal[KINDS]
    source: str
    claim: str
    published: float | None = None
    target: float | None = None
    expects: Literal["positive", "negative", "none", "near", "not worse", *WITHOUT]
    tolerance: Positive | None = None
    figure: str | None = None
    mean: dict[str, Key] | None = None
    difference: dict[str, Key] | None = None
    cell: Cell | None = None
    printed: dict[str, Key] | None = None
    setting: str | None = None
    computed: str | None = None

    @property
    def middle(self):
        """What a value is to be near to."""
        if self.expects != "near":
            return 0.0
        return self.published if self.target is None else self.target

    @model_validator(mode="after")
    def _is_complete(self):
        count = len(self.answers())
        if count > 1 or (count == 0 and self.expects not in WITHOUT):
            raise ValueError(
                f"{self.id} must have one of {listed(ANSWERS)}, got {count}; say where "
                "our answer stands"
            )
        if self.expects in ("near", "none", "not worse") and (
            self.middle is None or self.tolerance is None
        ):
            raise ValueError(
                f"{self.id} must have a tolerance, and published or target to be near, "
                f"got {self.tolerance} and {self.middle}; add them"
            )
        if self.computed is not None:
            check_choice(f"computed of {self.id}", self.computed, errata.COMPUTED)
        return self

    def answers(self):
        """What says what we find, dict of field to value."""
        return {
            name: getattr(self, name)
            for name in ANSWERS
            if getattr(self, name) is not None
        }


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


def rule(claim):
    """What would confirm a claim, in words.

    Examples
    --------
    >>> row = {"id": "a.b", "study": "a", "kind": "sentence", "source": "", "claim": ""}
    >>> answer = {"mean": {"arm": "x"}}
    >>> rule(Claim(**row, **answer, expects="near", target=0.5, tolerance=0.1))
    'within 0.1 of 0.5'
    >>> rule(Claim(**row, **answer, expects="not worse", tolerance=0.03))
    'not below -0.03'
    """
    tolerance = f"{claim.tolerance or 0:g}"
    printed = "the data of the paper, and the printed value within our interval"
    words = {
        "positive": "clearly above 0",
        "negative": "clearly below 0",
        "none": f"within {tolerance} of 0",
        "near": f"within {tolerance} of {claim.middle or 0:g}",
        "not worse": f"not below -{tolerance}",
        "real data": "the data of the paper" if claim.published is None else printed,
        "untested": "none of the studies asks it",
        "reading": "seen in the paper",
    }
    return words[claim.expects]


def expression(claim):
    """Where our value comes from, in words; nothing where there is none.

    Examples
    --------
    >>> row = {"id": "a.b", "study": "a", "kind": "sentence", "source": "", "claim": ""}
    >>> expression(Claim(**row, expects="near", setting="sgl.image_size",
    ...                  published=256, tolerance=1))
    'params.yaml, scale paper: sgl.image_size'
    """
    for name, answer in claim.answers().items():
        if name == "cell":
            return f"{answer.table}: {answer.value}, {_pairs(answer.where)}"
        if name in ("mean", "difference"):
            return f"scores.csv: {name}, {_pairs(answer)}"
        if name == "printed":
            return f"published.csv: difference, {_pairs(answer)}"
        if name == "setting":
            return f"params.yaml, scale paper: {answer}"
        return f"errata.{answer}()"
    return ""


def _pairs(where):
    return ", ".join(f"{key}={value}" for key, value in where.items())


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
    return [
        f"{name} is {verdicts.get(name, 'not in the ledger')}, said to be {verdict}"
        for name, verdict in MARK.findall(text)
        if verdicts.get(name) != verdict
    ]
