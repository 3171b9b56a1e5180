"""The few numbers that `dvc metrics show` prints, from the summaries of the studies."""

import json
from pathlib import Path

import pandas as pd

from noisyseg import reporting

REPORTS = Path("reports")


def write(params, reports=REPORTS):
    """Write ``metrics.json``: by study and arm the mean Dice over structures.

    Parameters
    ----------
    params : Params
        ``metrics`` says which arms, and which rows of the study's ``summary.csv``.
    reports : Path
    """
    found = {
        study: headline(pd.read_csv(reports / study / "summary.csv"), chosen)
        for study, chosen in params.metrics.items()
    }
    reporting.write_text(reports / "metrics.json", json.dumps(found, indent=1) + "\n")


def headline(summary, chosen):
    """Mean Dice of some arms over their structures, the background left out.

    Parameters
    ----------
    summary : DataFrame
        As of `evaluation.summarise`, and what else tells its rows apart.
    chosen : Headline

    Returns
    -------
    dict of arm to float, four decimals; arms that a scale lacks are left out

    Examples
    --------
    >>> from noisyseg.sections import Headline
    >>> rows = [("ce", "dice", "background", 1.0), ("ce", "dice", "GM", 0.5),
    ...         ("ce", "dice", "WM", 0.7), ("ce", "nsd", "GM", 0.1)]
    >>> summary = pd.DataFrame(rows, columns=["arm", "metric", "structure", "mean"])
    >>> headline(summary, Headline(arms=["ce", "mae"]))
    {'ce': 0.6}
    """
    kept = (summary["metric"] == "dice") & (summary["structure"] != "background")
    for column, value in chosen.where.items():
        kept &= summary[column] == value
    means = summary[kept].groupby("arm")["mean"].mean()
    return {arm: round(float(means[arm]), 4) for arm in chosen.arms if arm in means}
