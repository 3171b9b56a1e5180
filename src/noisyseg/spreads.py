"""How Dice is spread over cases, and what an arm changes for the worst and the best."""

import numpy as np
import pandas as pd
from scipy import stats

TAILS = ("worst", "best", "worst less best", "sd")


def dice_of_runs(scores):
    """Dice of every case under every arm and seed: arm, seed, structure, case, value.

    The structure ``all`` is the mean over the structures of a case; the background is
    none. Rows are those of `evaluate`, of one cohort.
    """
    keys = ["arm", "seed", "structure", "case", "value"]
    dice = scores[(scores["metric"] == "dice") & (scores["structure"] != "background")]
    every = dice.groupby(["arm", "seed", "case"], sort=False)["value"].mean()
    every = every.reset_index().assign(structure="all")
    return pd.concat([dice[keys], every[keys]], ignore_index=True)


def describe(scores):
    """How the Dice of cases is spread, as the paper tells it of its one network.

    Parameters
    ----------
    scores : DataFrame
        Rows of `evaluate` of one cohort.

    Returns
    -------
    DataFrame with columns arm, structure, mean, sd, min, max, failures, runs
        Over the cases of `dice_of_runs`, each seed for itself, then the mean over
        seeds. `failures` counts the runs (a case under a seed) with Dice 0 among all
        `runs`.
    """
    found = dice_of_runs(scores)
    values = found.groupby(["arm", "structure", "seed"], sort=False)["value"]
    spread = values.agg(["mean", "std", "min", "max"]).rename(columns={"std": "sd"})
    spread = spread.groupby(["arm", "structure"], sort=False).mean()
    zero = found.assign(zero=found["value"] == 0).groupby(["arm", "structure"])["zero"]
    return spread.assign(failures=zero.sum(), runs=zero.size()).reset_index()


def compare_tails(scores, arm, other, share=1 / 3):
    """What an arm changes for the worst and for the best cases of another.

    Parameters
    ----------
    scores : DataFrame
        Rows of `evaluate` of one cohort.
    arm, other : str
        Of the same seeds.
    share : float
        Of the cases that are the worst, and the best, of each arm and seed for itself.

    Returns
    -------
    DataFrame with columns structure, part, difference, low, high, clear
        The parts are ``worst``, ``best`` and ``worst less best``: mean Dice of these
        cases under `arm` less that under `other`, and ``sd``, that of the SD over
        cases; mean over seeds, with a 95 % bootstrap interval over cases (percentiles;
        rough, for tails have few cases); NaN with fewer than three cases. `clear`: the
        interval excludes zero, and three seeds or more have one sign.
    """
    found = dice_of_runs(scores[scores["arm"].isin([arm, other])])
    rows = []
    for structure, part in found.groupby("structure", sort=False):
        table = part.pivot(index="case", columns=["arm", "seed"], values="value")
        pair = [table[name].dropna().to_numpy() for name in (arm, other)]
        by_seed = _tails(*pair, share)
        low, high = _interval(lambda i, p=pair: _tails(p[0][i], p[1][i], share).mean(1),
                              len(pair[0]))  # fmt: skip
        columns = TAILS, by_seed.mean(1), low, high, _clear(by_seed, low, high)
        rows += [(structure, *row) for row in zip(*columns, strict=True)]
    columns = ["structure", "part", "difference", "low", "high", "clear"]
    return pd.DataFrame(rows, columns=columns)


def _tails(ours, theirs, share):
    """Differences of worst, of best, the first less the second, of the SD: (4, seeds).

    Both are Dice (cases, seeds).
    """
    count = max(1, round(share * len(ours)))
    change = np.sort(ours, axis=0) - np.sort(theirs, axis=0)
    worst, best = change[:count].mean(axis=0), change[-count:].mean(axis=0)
    sd = ours.std(axis=0, ddof=1) - theirs.std(axis=0, ddof=1)
    return np.stack([worst, best, worst - best, sd])


def compare_structures(scores, arm, structure, other):
    """How the Dice of one structure is spread against that of another, under one arm.

    Parameters
    ----------
    scores : DataFrame
        Rows of `evaluate` of one cohort.
    arm, structure, other : str

    Returns
    -------
    DataFrame with columns statistic, difference, low, high, clear
        Of mean, maximum, minimum and range over cases, each seed for itself, then the
        mean over seeds; intervals and `clear` as those of `compare_tails`.
    """
    found = dice_of_runs(scores[scores["arm"] == arm])
    table = found.pivot(index="case", columns=["structure", "seed"], values="value")
    ours, theirs = (table[name].to_numpy() for name in (structure, other))

    def by_seed(places):
        high, low = (
            f(ours[places], 0) - f(theirs[places], 0) for f in (np.max, np.min)
        )
        mean = (ours - theirs)[places].mean(axis=0)
        return np.stack([mean, high, low, high - low])

    low, high = _interval(lambda places: by_seed(places).mean(axis=1), len(ours))
    found = by_seed(np.arange(len(ours)))
    return pd.DataFrame(
        {
            "statistic": ("mean", "max", "min", "range"),
            "difference": found.mean(axis=1),
            "low": low,
            "high": high,
            "clear": _clear(found, low, high),
        }
    )


def compare_gaps(scores, arm, other, source, target):
    """How much smaller the gap between two modalities is under one arm than another.

    Parameters
    ----------
    scores : DataFrame
        Rows of `evaluate`.
    arm, other : str
    source, target : str
        Cohorts; a gap is mean Dice on the source less that on the target.

    Returns
    -------
    DataFrame with columns structure, gap, gap_low, gap_high, other_gap, difference,
        low, high, clear
        Mean over seeds; `difference` is the gap of `arm` less that of `other`. With
        95 % bootstrap intervals over the cases of both cohorts, drawn apart
        (percentiles; NaN with fewer than three cases). `clear` as in `compare_tails`,
        of the difference.
    """
    tables = []
    for cohort in (source, target):
        found = dice_of_runs(scores[scores["cohort"] == cohort])
        found = found[found["arm"].isin([arm, other])]
        keys = ["structure", "case", "seed"]
        tables.append(found.set_index([*keys, "arm"])["value"].unstack("arm"))
    rows = []
    for structure in tables[0].index.unique("structure"):
        pair = [table.loc[structure][[arm, other]] for table in tables]
        near, far = (part.groupby("case").mean().to_numpy() for part in pair)
        gaps = near.mean(axis=0) - far.mean(axis=0)
        seeds = [part.groupby("seed").mean() for part in pair]
        by_seed = (seeds[0] - seeds[1]).diff(-1, axis=1)[arm].to_numpy()
        ends = _interval_apart(near @ [1, -1], far @ [1, -1])
        of_gap = _interval_apart(near[:, 0], far[:, 0])
        clear = _clear(by_seed[None], *np.reshape(ends, (2, 1)))[0]
        row = (structure, gaps[0], *of_gap, gaps[1], gaps[0] - gaps[1], *ends, clear)
        rows.append(row)
    columns = ["structure", "gap", "gap_low", "gap_high", "other_gap", "difference"]
    return pd.DataFrame(rows, columns=[*columns, "low", "high", "clear"])


def _clear(by_seed, low, high):
    """Whether intervals exclude zero and three seeds or more (axis 1) have one sign."""
    agree = (np.ptp(np.sign(by_seed), axis=1) == 0) & (by_seed.shape[1] >= 3)
    return agree & ((np.asarray(low) > 0) | (np.asarray(high) < 0))


def _interval_apart(here, there):
    """Interval of the mean of some cases less that of others."""
    if min(len(here), len(there)) < 3:
        return np.nan, np.nan
    found = stats.bootstrap(
        (here, there),
        lambda here, there, axis: here.mean(axis=axis) - there.mean(axis=axis),
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return found.confidence_interval


def _interval(statistic, n_cases):
    """Percentile bootstrap intervals over cases of four statistics of their places."""
    if n_cases < 3:
        return np.full((2, 4), np.nan)
    return stats.bootstrap(
        (np.arange(n_cases),),
        statistic,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
