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
    DataFrame with columns structure, part, difference, low, high, seeds_agree
        The parts are ``worst``, ``best`` and ``worst less best``: mean Dice of these
        cases under `arm` less that under `other`, and ``sd``, that of the SD over
        cases; mean over seeds, with a 95 % bootstrap interval over cases (percentiles;
        rough, for tails have few cases); NaN with fewer than three cases.
        `seeds_agree`: three seeds or more, one sign.
    """
    found = dice_of_runs(scores[scores["arm"].isin([arm, other])])
    rows = []
    for structure, part in found.groupby("structure", sort=False):
        table = part.pivot(index="case", columns=["arm", "seed"], values="value")
        pair = [table[name].dropna().to_numpy() for name in (arm, other)]
        by_seed = _tails(*pair, share)
        low, high = _interval(lambda i, p=pair: _tails(p[0][i], p[1][i], share).mean(1),
                              len(pair[0]))  # fmt: skip
        agree = (np.ptp(np.sign(by_seed), axis=1) == 0) & (by_seed.shape[1] >= 3)
        columns = TAILS, by_seed.mean(axis=1), low, high, agree
        rows += [(structure, *row) for row in zip(*columns, strict=True)]
    columns = ["structure", "part", "difference", "low", "high", "seeds_agree"]
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
    DataFrame with columns statistic, difference, low, high
        Of mean, maximum, minimum and range over cases, each seed for itself, then the
        mean over seeds; intervals as those of `compare_tails`.
    """
    found = dice_of_runs(scores[scores["arm"] == arm])
    table = found.pivot(index="case", columns=["structure", "seed"], values="value")
    ours, theirs = (table[name].to_numpy() for name in (structure, other))

    def statistics(places):
        high, low = (
            f(ours[places], 0) - f(theirs[places], 0) for f in (np.max, np.min)
        )
        mean = (ours - theirs)[places].mean(axis=0)
        return np.stack([mean, high, low, high - low]).mean(axis=1)

    places = np.arange(len(ours))
    low, high = _interval(statistics, len(ours))
    columns = ("mean", "max", "min", "range"), statistics(places), low, high
    return pd.DataFrame(
        zip(*columns, strict=True), columns=["statistic", "difference", "low", "high"]
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
    DataFrame with columns structure, gap, other_gap, difference, low, high
        Mean over seeds; `difference` is the gap of `arm` less that of `other`, with a
        95 % bootstrap interval over the cases of both cohorts, drawn apart
        (percentiles; NaN with fewer than three cases).
    """
    tables = []
    for cohort in (source, target):
        found = dice_of_runs(scores[scores["cohort"] == cohort])
        found = found[found["arm"].isin([arm, other])]
        mean = found.groupby(["structure", "case", "arm"], sort=False)["value"].mean()
        tables.append(mean.unstack("arm")[[arm, other]])
    rows = []
    for structure in tables[0].index.unique("structure"):
        near, far = (table.loc[structure].to_numpy() for table in tables)
        gaps = near.mean(axis=0) - far.mean(axis=0)
        low, high = _interval_of_gaps(near, far)
        rows.append((structure, *gaps, gaps[0] - gaps[1], low, high))
    columns = ["structure", "gap", "other_gap", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _interval_of_gaps(near, far):
    """Interval of the first column's gap less the second's."""
    change = near[:, 0] - near[:, 1], far[:, 0] - far[:, 1]
    if min(map(len, change)) < 3:
        return np.nan, np.nan
    found = stats.bootstrap(
        change,
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
