"""How far a measured number of the reports may move when everything is made anew.

On the same machine nothing moves. Another processor rounds differently, and a training
may carry that as far as another seed would: the spread over seeds in the committed
scores is the yardstick, known from a few seeds only. What no training made may move by
as much as a few voxels that software gives to the other class.
"""

import re
from math import sqrt
from statistics import NormalDist

import pandas as pd

CHANCE = 0.01  # of a number of a table beyond its tolerance, were the spread known
ROUNDING = 1e-3  # relative: sums
VOXELS = 0.02  # relative: scores of software labels and of registration
DETERMINISTIC = {"cohorts.csv", "sizes.csv", "theory.csv"}
PRINTED = {"paper", "published"}  # columns with the papers' own numbers
UNTRAINED = re.compile(r"software\b.*|labels_.*|marginal(_star|_oracle|:.*)?")
ARMS = ("arm", "other", "between", "pair")
TRAINING = {"arm", "seed", "fold"}
SIZES = ("value", "mean", "difference")  # of what a row is about
SMALL = 0.05  # a difference below counts as that
ENDS = ("low", "high")
# What a spread depends on, and under which other column a table may have it.
CONTEXT = {
    "scenario": (),
    "cohort": (),
    "sd_mm": ("a_mm",),
    "reference": ("numbers",),
    "structure": ("organ",),
    "metric": ("numbers",),
    "bin": (),
}
# How many arms' means stand in one value, told by a column of the table.
COMBINED = {"difference": 2, "undone": 4, "gap": 4}


class Spread:
    """SD of a value of one case from one training of an arm to the next.

    Parameters
    ----------
    table : DataFrame of text
        A long table with columns arm, seed, fold and some of `CONTEXT`. Where no case
        was seen by two networks of an arm, as under cross-validation, the SD over
        cases stands in, which is larger.
    column : str
    """

    def __init__(self, table, column):
        learned = table[~table["arm"].map(is_untrained)]
        names = [name for name in CONTEXT if name in table]
        by = [*names, "arm", *[name for name in ("case",) if name in table]]
        if not learned.duplicated(by).any():
            by = [*names, "arm"]
        values = pd.to_numeric(learned[column])
        variance = values.groupby([learned[name] for name in by]).var().dropna()
        self._variance = variance.groupby(level=[*names, "arm"]).mean().reset_index()
        trainings = learned[sorted(TRAINING & set(learned))].drop_duplicates()
        self._trainings = trainings["arm"].value_counts().to_dict()
        self._known = {name: set(table[name]) for name in names}
        self._pooled = {}

    def trainings(self, row):
        """How many trainings stand behind the arms of a row, 1 where it names none."""
        named = {row.get(name) for name in ARMS} & set(self._trainings)
        return min((self._trainings[arm] for arm in named), default=1)

    def sd(self, row, column):
        """Root mean square over the arms, and over all that the row leaves open.

        Parameters
        ----------
        row : dict of column to text
        column : str
            May name the structure or the metric, too; without a metric it is Dice.
        """
        where = tuple(self._where(row, column).items())
        if where not in self._pooled:
            found = self._variance
            for name, value in where:
                found = found[found[name] == value]
            if dict(where).get("structure") is None and "structure" in found:
                found = found[found["structure"] != "background"]
            column = found.columns[-1]
            self._pooled[where] = sqrt(found[column].mean()) if len(found) else 0.0
        return self._pooled[where]

    def _where(self, row, column):
        found = {}
        for name, known in self._known.items():
            said = [row.get(key) for key in (name, *CONTEXT[name])]
            said += [column.partition(":")[0], "dice" if name == "metric" else None]
            value = next((text for text in said if text in known), None)
            found |= {} if value is None else {name: value}
        return found


class Tolerances:
    """Tolerances of all measured numbers of some reports.

    Parameters
    ----------
    tables : dict of ``study/table.csv`` to DataFrame of text
        The committed ones; a study's ``scores.csv`` gives the spread over seeds.
    """

    def __init__(self, tables):
        self._tables = tables
        self._spreads = {}
        self._claims = {}

    def of(self, name, row, column, count):
        """The tolerance of one measured number.

        Parameters
        ----------
        name : str
            ``study/table.csv``
        row : dict of column to text
        column : str
        count : int
            Measured numbers in this table.

        Returns
        -------
        float
            z sqrt(2 m / n) SD: z of `CHANCE` over `count`, 2 for two runs, m arms'
            means in the value, n trainings in each, SD that of `Spread`; what software
            made may move by `VOXELS` of the row's size, what was computed or printed
            not at all. The end of an interval may move by the interval's width: a
            bootstrap over few cases moves in steps. A share of v voxels, by
            1 / sqrt(v).
        """
        study, table = name.split("/")
        width = _width(row) if column in ENDS and table not in DETERMINISTIC else 0.0
        if table == "ledger.csv":
            study, row = row["study"], self._behind(row)
        if row is None or _is_fixed(table, row, column):
            return width
        if _is_untrained(row):
            return max(width, VOXELS * _size(row))
        long = _is_long(self._tables[name])
        spread = self._spread(name, column) if long else self._of_study(study)
        if spread is None:
            return width
        means = max([m for key, m in COMBINED.items() if key in row], default=1)
        share = 1 if long else means / spread.trainings(row)
        chance = reach(count) * sqrt(2 * share) * spread.sd(row, column)
        return max(width, chance, _share_of_few(row, column))

    def _of_study(self, study):
        return self._spread(f"{study}/scores.csv", "value")

    def _spread(self, name, column):
        if (name, column) not in self._spreads:
            table = self._tables.get(name)
            known = table is not None and _is_long(table)
            self._spreads[name, column] = Spread(table, column) if known else None
        return self._spreads[name, column]

    def _behind(self, row):
        """What a row of the ledger stands for; None for what is computed or unknown."""
        from noisyseg import claims

        if not self._claims:
            self._claims = {claim.id: claim for claim in claims.read()}
        claim = self._claims.get(row["id"])
        found = claim and (claim.mean or claim.difference or claim.cell)
        if not found:
            return None
        if claim.cell:
            table = self._tables.get(f"{claim.study}/{claim.cell.table}", ())
            found = dict.fromkeys(table, "") | claim.cell.where
        elif claim.difference:
            found = {"difference": "", **found}
        return {key: str(value) for key, value in found.items()}


def is_untrained(arm):
    """Whether the rows of an arm come from no training of ours.

    >>> is_untrained("software t1"), is_untrained("marginal_dice")
    (True, False)
    """
    return UNTRAINED.fullmatch(arm) is not None


def reach(count):
    """How many SD the largest of `count` normal numbers stays within.

    >>> round(reach(1), 2), round(reach(1000), 2)
    (2.58, 4.42)
    """
    return NormalDist().inv_cdf(1 - CHANCE / (2 * max(count, 1)))


def _width(row):
    """Width of the bootstrap interval of a row, 0 where it has none."""
    low, high = (row.get(end) for end in ENDS)
    return float(high) - float(low) if low and high else 0.0


def _is_long(table):
    return {"arm", "seed"} <= set(table)


def _is_fixed(table, row, column):
    """Whether a number comes from a paper or from data alone."""
    printed = column in PRINTED or row.get("numbers") == "paper"
    return table in DETERMINISTIC or printed


def _is_untrained(row):
    """Whether all arms that a row names are software's."""
    arms = [row[name] for name in ARMS if row.get(name)]
    return bool(arms) and all(map(is_untrained, arms))


def _size(row):
    """The largest of the values that a row is about; a difference is one of scores."""
    least = SMALL if row.get("difference") else 0.0
    return max([least, *(abs(float(row[name])) for name in SIZES if row.get(name))])


def _share_of_few(row, column):
    """How far a share of few voxels may move, 0 for other numbers."""
    voxels = float(row.get("voxels") or 0)
    return 1 / sqrt(voxels) if voxels and column != "voxels" else 0.0
