"""Tables and sentences for people, made from the long table of scores."""

import os
import re
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd


def published(study):
    """The numbers a paper printed, one row per arm, structure and metric.

    Returns
    -------
    DataFrame with columns study, arm, row (the paper's name of the row), structure,
        metric, value, source
    """
    with resources.files("noisyseg").joinpath("published.csv").open() as file:
        rows = pd.read_csv(file)
    return rows[rows["study"] == study].reset_index(drop=True)


def paper_table(summary, published_rows, *, reference, metric, titles, structures):
    """The table of a paper, its own numbers beside ours.

    Parameters
    ----------
    summary : DataFrame
        From `evaluation.summarise`.
    published_rows : DataFrame
        From `published`; its arms without a row in `summary` stand alone.
    reference, metric : str
        Which rows of `summary` to show.
    titles : dict
        Arm name to row name, in the order of the rows.
    structures : sequence of str
        The columns.

    Returns
    -------
    DataFrame of text with the columns method, numbers and one per structure; values
        ``mean [low, high]``
    """
    chosen = (summary["reference"] == reference) & (summary["metric"] == metric)
    ours = summary[chosen].set_index(["arm", "structure"])
    paper = published_rows[published_rows["metric"] == metric]
    paper = paper.set_index(["arm", "structure"])["value"]
    rows = []
    for arm, title in titles.items():
        cells = [_cell(ours, (arm, name)) for name in structures]
        if any(cells):
            rows.append([title, "ours", *cells])
        if arm in paper.index.get_level_values(0):
            printed = [paper.get((arm, name)) for name in structures]
            cells = ["" if v is None else f"{v:.2f}" for v in printed]
            rows.append([title, "paper", *cells])
    return pd.DataFrame(rows, columns=["method", "numbers", *structures])


def _cell(summary, key):
    """`mean [low, high]` of one row of a summary; empty when there is none."""
    if key not in summary.index:
        return ""
    row = summary.loc[key]
    if np.isnan(row["mean"]):
        return "absent"
    if np.isnan(row["low"]):
        return f"{row['mean']:.3f}"
    return f"{row['mean']:.3f} [{row['low']:.2f}, {row['high']:.2f}]"


def write_table(table, stem):
    """Write a table as ``stem.csv`` and ``stem.md``."""
    stem = Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(stem.with_suffix(".csv"), index=False, lineterminator="\n")
    text = table.to_markdown(index=False, disable_numparse=True)
    stem.with_suffix(".md").write_text(text + "\n")


def write_text(path, text):
    """Write a text file that appears under its name only when whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def fill(markdown, folder):
    """Markdown in which every marked place holds the text of the file it names.

    A place runs from ``<!-- from FILE -->`` to ``<!-- end -->``; the markers stay.

    Parameters
    ----------
    markdown : str
    folder : Path
        What the files are relative to.
    """

    def replace(match):
        text = (folder / match["file"]).read_text().strip()
        return f"<!-- from {match['file']} -->\n{text}\n<!-- end -->"

    pattern = r"<!-- from (?P<file>\S+) -->\n.*?<!-- end -->"
    return re.sub(pattern, replace, markdown, flags=re.DOTALL)


def judge(differences, printed):
    """Verdict on every difference that a paper printed: did ours go the same way?

    Parameters
    ----------
    differences : DataFrame
        Rows of `evaluation.compare` of one reference and one metric.
    printed : Series
        The paper's difference by structure, two decimals.

    Returns
    -------
    DataFrame like `differences` with the columns paper and verdict: ``reproduced``
        or ``contradicted`` when ours is clear and has the same or the other sign,
        ``inconclusive`` when it is not clear, ``none printed`` where the paper has no
        change.
    """
    paper = differences["structure"].map(printed).round(2)
    same = np.sign(paper) == np.sign(differences["difference"])
    clear = differences["clear"].to_numpy(bool)
    verdict = np.select(
        [paper.isna() | (paper == 0), ~clear, same],
        ["none printed", "inconclusive", "reproduced"],
        "contradicted",
    )
    return differences.assign(paper=paper, verdict=verdict)


def describe_remedy(noise, remedy, suffered, undone):
    """One sentence: what a kind of noise does, and how much of it a remedy undoes.

    Parameters
    ----------
    noise, remedy : str
    suffered : Series
        Row of `evaluation.summarise`: Dice lost by the noise without the remedy.
    undone : Series
        Row of `evaluation.compare`: Dice lost without, less Dice lost with the remedy.
    """
    lost = f"{suffered['mean']:.3f} [{suffered['low']:.3f}, {suffered['high']:.3f}]"
    if not suffered["low"] > 0:
        return f"{noise} cost no clear Dice ({lost}): nothing for {remedy} to undo."
    verdict = f"had no clear effect on it ({signed(undone)})"
    if undone["clear"] and undone["difference"] > 0:
        verdict = f"undid {signed(undone)} of it"
    elif undone["clear"]:
        verdict = f"made it worse ({signed(undone)})"
    elif undone["seeds_agree"] and undone["low"] > 0:
        verdict = (
            f"undid {signed(undone)} of it with every seed, which is less than seeds "
            f"differ (SD {undone['seed_spread']:.3f})"
        )
    return f"{noise} cost {lost} Dice; {remedy} {verdict}."


def describe_gain(differences, cause, what):
    """One sentence on which structures gained and which lost, with the numbers.

    Parameters
    ----------
    differences : DataFrame
        Rows of `evaluation.compare` of one reference and one metric.
    cause, what : str
        ``{cause} raised {what} for ...``
    """
    clear = differences[differences["clear"]]
    parts = [
        _gains(clear[clear["difference"] > 0], f"raised {what} for"),
        _gains(clear[clear["difference"] < 0], "lowered it for"),
    ]
    said = "; ".join(part for part in parts if part) or f"changed {what} for no class"
    rest = len(differences) - len(clear)
    return f"{cause} {said}; {rest} of {len(differences)} classes show no clear change."


def _gains(rows, verb):
    """`verb WM (+0.03 [0.02, 0.04]), ...`, largest first; empty without rows."""
    ordered = rows.reindex(rows["difference"].abs().sort_values(ascending=False).index)
    named = [f"{row['structure']} ({signed(row)})" for _, row in ordered.iterrows()]
    return f"{verb} {', '.join(named)}" if named else ""


def signed(row, ends=("low", "high"), *, doubt=False):
    """`+0.030 [+0.020, +0.040]` of a row of `evaluation.compare`.

    Parameters
    ----------
    row : Series or dict
    ends : pair of str
        Which of its columns are the ends of the interval.
    doubt : bool
        Whether to say ``not clear`` where it is not.
    """
    low, high = (row[end] for end in ends)
    said = f"{row['difference']:+.3f} [{low:+.3f}, {high:+.3f}]"
    return said if not doubt or row["clear"] else f"{said}, not clear"
