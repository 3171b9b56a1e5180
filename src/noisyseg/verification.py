"""Whether results came out as the committed ones: compared by meaning, table by table.

Text, integers, counts and verdicts must be equal, measured numbers within a tolerance
that follows from the spread over seeds (`tolerances`). A flag of a row, such as whether
its seeds agree, may turn with the row's numbers, as may the side of .05 on which a
p-value lies. The order of rows and columns means nothing, and times are not compared.
"""

from dataclasses import dataclass, field

from noisyseg import tablepairs, tolerances
from noisyseg.choices import check_choice, listed

SAME, WITHIN, CHANGED = "same", "within tolerance", "changed"
P_VALUES, LEVEL = {"p", "p_holm"}, 0.05  # compared by which side of it they lie on
FLAGS = {"True", "False"}
SHOWN = 3  # cells to print of a table that changed


@dataclass(frozen=True)
class Move:
    """A cell that is not as it was; `allowed` is None where nothing may move."""

    where: str
    old: str
    new: str
    gap: float = 0.0
    allowed: float | None = None
    row: int | None = None
    follows: bool = False  # from the numbers of its row

    @property
    def share(self):
        """The gap as a share of what is allowed; above 1 it is a change."""
        if self.allowed:
            return self.gap / self.allowed
        return 0.0 if self.gap == 0 and self.allowed == 0 else float("inf")

    def __str__(self):
        limit = "must be equal"
        if self.allowed is not None:
            limit = f"moved {self.gap:.3g}, allowed {self.allowed:.3g}"
        old, new = self.old or "nothing", self.new or "nothing"
        return f"{self.where}: {old} -> {new}; {limit}"


@dataclass(frozen=True)
class Outcome:
    """What became of one table."""

    name: str
    verdict: str
    note: str = ""
    changes: list = field(default_factory=list)


def compare(committed, present, studies=(), *, exact=False):
    """Outcomes of all tables, or those of some studies, in the order of their names.

    Parameters
    ----------
    committed, present : dict of ``study/table.csv`` to text
    studies : sequence of str
    exact : bool
        Whether no number may move at all, as on the machine that made the tables.

    Yields
    ------
    Outcome
    """
    names = sorted(name for name in committed | present if name.endswith(".csv"))
    known = dict.fromkeys(name.split("/")[0] for name in names)
    for study in studies:
        check_choice("study", study, known)
    old = {
        name: tablepairs.read(committed[name]) for name in names if name in committed
    }
    limits = None if exact else tolerances.Tolerances(old)
    for name in names:
        if studies and name.split("/")[0] not in studies:
            continue
        if name not in present or name not in committed:
            what = "lost" if name in committed else "new"
            yield Outcome(name, CHANGED, f"the table is {what}")
        elif committed[name] == present[name]:
            yield Outcome(name, SAME)
        else:
            yield compare_table(name, old[name], tablepairs.read(present[name]), limits)


def compare_table(name, old, new, limits=None):
    """The outcome of one table.

    Parameters
    ----------
    name : str
        ``study/table.csv``
    old, new : DataFrame of text
    limits : Tolerances, optional
        Without them no number may move.
    """
    if set(old) != set(new):
        lost, added = (
            listed(sorted(set(a) - set(b))) for a, b in ((old, new), (new, old))
        )
        return Outcome(name, CHANGED, f"columns lost: {lost}; columns new: {added}")
    pair = tablepairs.pair(old, new)
    rows = [Move(_place(pair.keys, key), "a row", "") for key in pair.lost]
    rows += [Move(_place(pair.keys, key), "", "a row") for key in pair.added]
    timed = _timed(name, old)
    columns = [key for key in old if key not in {*pair.keys, *timed}]
    numbers = pair.old[columns].map(lambda cell: len(tablepairs.parse(cell)[1]))
    count = int(numbers.to_numpy().sum())
    moves = list(_moves(name, pair, limits, columns, count))
    verdict, note, changes = _judge(rows, moves, count)
    if timed and verdict == SAME:
        note = "in its rows; times are not compared"
    return Outcome(name, verdict, note, changes)


def _judge(rows, moves, count):
    """The verdict on a table, why, and what changed, the worst first."""
    moved = {m.row for m in moves if 0 < m.share <= 1}
    turned = [m for m in moves if m.share > 1 and m.follows and m.row in moved]
    changes = [m for m in moves if m.share > 1 and m not in turned]
    changes.sort(key=lambda move: -move.share)
    far = sum(move.allowed is not None for move in changes)
    if rows or changes:
        note = f"too far: {far} of {count} numbers; other cells: {len(changes) - far}; "
        return CHANGED, f"{note}rows lost or new: {len(rows)}", rows + changes
    if not moves:
        return SAME, "in another order", []
    most = max(move.share for move in moves if move not in turned)
    numbers = len(moves) - len(turned)
    note = f"moved: {numbers} of {count} numbers, at most {most:.0%} of what may be"
    note += f"; turned with them: {len(turned)} flags" if turned else ""
    return WITHIN, note, []


def _timed(name, table):
    """Columns that hold times, or come with them."""
    whole = name.split("/")[1].startswith("seconds")
    return [key for key in table if whole or key.startswith("seconds")]


def _moves(name, pair, limits, columns, count):
    """A Move for every cell that differs."""
    for column in columns:
        old, new = (table[column].to_numpy() for table in (pair.old, pair.new))
        unit = tablepairs.column_unit(old)
        for place in (old != new).nonzero()[0]:
            row = pair.old.iloc[place].to_dict()
            allowed = limits and limits.of(name, row, column, count)
            pair_of = old[place], new[place]
            gap, allowed = _gap(column, *pair_of, allowed, unit)
            where = _place(pair.keys, pair.old.index[place]) + f": {column}"
            follows = column in P_VALUES or set(pair_of) == FLAGS
            yield Move(where, *pair_of, gap, allowed, place, follows)


def _gap(column, old, new, tolerance, unit):
    """How far a cell moved and may move; for several numbers that nearest its limit."""
    around, mine = tablepairs.parse(old)
    other, theirs = tablepairs.parse(new)
    if around != other or not mine or tolerance is None:
        return 0.0, None
    if column in P_VALUES:
        return 0.0, 0.0 if (float(old) < LEVEL) == (float(new) < LEVEL) else None
    found = []
    for a, b in zip(mine, theirs, strict=True):
        step = unit if a == old else tablepairs.last_digit(a)
        rounding = tolerances.ROUNDING * abs(float(a))
        found.append((abs(float(a) - float(b)), max(tolerance, rounding) + step))
    return max(found, key=lambda pair: pair[0] / pair[1])


def _place(keys, values):
    return ", ".join(f"{key} {value}" for key, value in zip(keys, values, strict=False))


def describe(outcome):
    """Lines about one table: its verdict and, when it changed, the worst changes."""
    line = f"{outcome.name:<28}{outcome.verdict:<18}{outcome.note}".rstrip()
    more = len(outcome.changes) - SHOWN
    lines = [line, *(f"    {move}" for move in outcome.changes[:SHOWN])]
    return "\n".join([*lines, f"    and {more} more"] if more > 0 else lines)


def conclude(outcomes):
    """One line that counts the verdicts."""
    counts = [sum(o.verdict == verdict for o in outcomes)
              for verdict in (SAME, WITHIN, CHANGED)]  # fmt: skip
    return "{} tables: {} same, {} within tolerance, {} changed".format(
        len(outcomes), *counts
    )
