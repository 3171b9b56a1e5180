"""What made a number: its stages, their hashes and inputs, its networks, its place."""

import re
from pathlib import Path

import pandas as pd
import yaml

from noisyseg import predictions, provenance, training
from noisyseg.provenance import hash_file
from noisyseg.tracing import REPORTS, as_text, read_table, summary, told_by

PLAIN = {  # rows of tables that stand for no arm of params.yaml
    "software t1": "T1-W SGL",
    "software t1t2": "T1-W+T2-W SGL",
    "marginal": "exact marginal",
    "labels_staple": "STAPLE labels, no network",
    "labels_vote": "vote labels, no network",
    "labels_local": "local-vote labels, no network",
}
CUT_TITLES = {
    "threshold": {"": ", 1/2", "_star": ", t*", "_oracle": ", oracle"},
    "mind": {"_star": ": weights undone, cut"},
    "cross": {"_star": ", cut"},
}
# study, table, what it holds, what else its rows say, the column
TABLES = (
    ("sgl", "dice", {"metric": "dice", "reference": "t1t2"}, {}, "{structure}"),
    ("sgl", "truth", {"reference": "truth"}, {"numbers": "{metric}"}, "{structure}"),
    ("robust", "dice", {"metric": "dice", "reference": "t1t2"}, {}, "{structure}"),
    ("robust", "arms", {"metric": "dice"}, {"numbers": "{reference}"}, "{structure}"),
    ("ace", "dice", {"metric": "dice"}, {"scenario": "{scenario}"}, "{structure}"),
    ("mind", "dice", {"metric": "dice", "cohort": "target_test"}, {}, "{structure}"),
    ("threshold", "dice", {"metric": "dice"},
     {"reference": "{reference}", "structure": "{structure}"}, "a = {sd_mm:g} mm"),
)  # fmt: skip
_SHOWN = {"metric": "dice", "structure": "(?!background).*"}
FIGURES = (  # study, figure, which numbers it shows
    ("sgl", "distributions.png", {"metric": "dice", "reference": "truth"}),
    ("robust", "sweep.png", {**_SHOWN, "arm": r"ce|beta(_[\d.e-]+)?"}),
    ("threshold", "main.png", {**_SHOWN, "arm": "ce|sd|ce_star"}),
    ("ace", "main.png", _SHOWN),
    ("mind", "main.png", {**_SHOWN, "cohort": "target_test"}),
)


def title(params, study, arm):
    """The name of an arm in the tables of its report."""
    base = predictions.base_arm(study, arm)
    name = predictions.arm_settings(params, study, arm).get("title")
    name = name or PLAIN.get(base, base)
    return name + CUT_TITLES.get(study, {}).get(arm.removeprefix(base), "")


def recipe(params, study, arm):
    """What decides about the networks of an arm, a dict of key to YAML on one line.

    Without what every run has of its own (the seed) and what decides about nothing.
    """
    settings = predictions.arm_settings(params, study, arm)
    aside, found = training.INCIDENTAL | {"seed"}, {}
    for key, value in settings.items():
        if key == "training":
            value = {k: v for k, v in value.items() if k not in aside and v is not None}
        told = yaml.safe_dump(value, default_flow_style=True, width=10**6)
        found[key] = told.strip().removesuffix("...").strip()
    return found


def tables(params, number, reports=REPORTS):
    """The tables for people in which a number stands: (file, row, column)."""
    start, found = f"{summary(number, reports)['mean']:.3f}", []
    for study, name, holds, rows, column in TABLES:
        path = reports / number.study / f"{name}.csv"
        fits = all(str(number.told.get(key)) == value for key, value in holds.items())
        if study != number.study or not fits or not path.exists():
            continue
        row = title(params, number.study, number.arm)
        wanted = {"method": row}
        wanted |= {key: text.format(**number.told) for key, text in rows.items()}
        column, table = column.format(**number.told), read_table(path, dtype=str)
        for key, value in wanted.items():
            table = table[table[key] == value]
        cells = table.get(column, pd.Series(dtype=str)).astype(str)
        if cells.str.startswith(start).any():
            found.append((str(path.with_suffix(".md")), row, column))
    return found


def drawings(number, reports=REPORTS):
    """The figures that show a number."""
    told = {key: as_text(value) for key, value in number.told.items()}
    return [
        str(reports / study / name)
        for study, name, rules in FIGURES
        if study == number.study
        and all(re.fullmatch(rule, told[key]) for key, rule in rules.items())
    ]


def folders(params, rows):
    """The folders of weights behind rows of a long table, each once."""
    columns = [key for key in rows if key not in ("metric", "value", "case")]
    every = rows[columns].drop_duplicates().to_dict("records")
    found = (folder for row in every for folder in predictions.networks(params, row))
    return list(dict.fromkeys(map(str, found)))


def networks(params, rows):
    """The networks behind rows of a long table.

    Returns
    -------
    DataFrame with columns network (its seed or fold), folder, weights (SHA-256; None if
        they are not there), code (hash of the code before the training) and data
        (fingerprint of what was learned)
    """
    by, found = told_by(rows), {}
    columns = [key for key in rows if key not in ("metric", "value", "case")]
    for row in rows[columns].drop_duplicates().to_dict("records"):
        for folder in predictions.networks(params, row):
            if folder not in found:
                found[folder] = {
                    "network": f"{by} {row[by]}",
                    "folder": str(folder),
                    "weights": hash_file(folder / training.WEIGHTS),
                    **_told(folder),
                }
    columns = ["network", "folder", "weights", "code", "data"]
    table = pd.DataFrame(list(found.values()), columns=columns)
    return table.sort_values(["network", "folder"]).reset_index(drop=True)


def _told(folder):
    """What a training says of its own code and data."""
    try:
        about = training.describe(folder)
    except FileNotFoundError:
        return {}
    return {"code": about.get("code"), "data": about["data"]["train"]}


def stages(study, folders, scale, pipeline=provenance.PIPELINE):
    """The stages that made a number: the study's, its trainings', and all before.

    Parameters
    ----------
    study : str
    folders : sequence of str
        Of the networks behind the number.
    scale : str
    pipeline : Path

    Returns
    -------
    list of provenance.Stage, the last first, as they stand in `dvc.yaml`
    """
    every = provenance.pipeline(pipeline, scale)
    makers = {out: stage for stage in every.values() for out in stage.outs}
    homes = {str(place) for folder in folders for place in Path(folder).parents}
    queue, found = [makers.get(str(REPORTS / study))], []
    while queue:
        stage = queue.pop(0)
        if stage is None or stage in found:
            continue
        trains = [out for out in stage.outs if out.startswith("results/train/")]
        if trains and not homes & set(trains):
            continue  # trains other arms
        found.append(stage)
        queue += [makers.get(dep) for dep in stage.deps if dep not in stage.code]
    return [stage for stage in reversed(every.values()) if stage in found]
