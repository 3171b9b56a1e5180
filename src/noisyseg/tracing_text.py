"""What is known of a number, as text for a terminal; and its worst case, a picture."""

import textwrap
from pathlib import Path

import pandas as pd

from noisyseg import (
    evaluation,
    predictions,
    provenance,
    tracing,
    tracing_facts,
    tracing_pictures,
    training,
)

TRACES = Path("results/traces")
WIDTH = 88


def describe(params, number):
    """All that is known of a number, text of at most 88 columns."""
    folders = tracing_facts.networks(params, number.rows)
    behind = tracing_facts.stages(number.study, folders["folder"], params.scale)
    parts = [
        _heading(number),
        _places(params, number),
        "stages, the last first (code: SHA-256 before the run; from, gave: MD5)",
        *(_stage(stage) for stage in behind),
        f"arm (params.yaml, scale {params.scale})",
        _arm(params, number),
        "networks (weights, code before the training: SHA-256; data: fingerprint)",
        *(_network(row, behind) for row in folders.to_dict("records")),
        "" if len(folders) else "  none: these are labels, or computed from them",
        "cases, the worst first",
        textwrap.indent(_cases(number), "  "),
    ]
    return "\n".join(part for part in parts if part)


def brief(params, number):
    """A number, its place and its cases: the beginning and the end of `describe`."""
    cases = textwrap.indent(_cases(number), "  ")
    return "\n".join([_heading(number), _places(params, number), "...", cases])


def _heading(number):
    row, told = tracing.summary(number), number.told
    said = ", ".join(f"{key} {tracing.as_text(value)}" for key, value in told.items())
    value = f"{row['mean']:.6g}"
    if row["low"] == row["low"]:
        value += f" [{row['low']:.6g}, {row['high']:.6g}]"
    counts = f"{row['cases']:.0f} cases"
    counts += f", {row['undefined']:.0f} undefined" if row["undefined"] else ""
    if row["seed_sd"] == row["seed_sd"]:
        counts += f", SD over seeds {row['seed_sd']:.3g}"
    return _wrapped(f"{number.study}: {said}", "", "  ") + f"\n{value}  ({counts})"


def _places(params, number):
    """Where the number stands, and which others there are."""
    lines = [
        _wrapped(f'{path}, row "{row}", column {column}', "  table   ")
        for path, row, column in tracing_facts.tables(params, number)
    ]
    lines += [f"  figure  {path}" for path in tracing_facts.drawings(number)]
    folder = tracing.REPORTS / number.study
    rows = f"{folder}/summary.csv; {len(number.rows)} rows of {folder}/scores.csv"
    traced = tracing.link(number.study, number.arm, number.structure)
    pages = f"{folder}/{number.study}.html; {tracing.REPORTS}/{traced}"
    lines += [_wrapped(rows, "  rows    "), _wrapped(pages, "  page    ")]
    how = {"reference": "--reference", "metric": "--metric"}
    for key, values in number.others.items():
        option = how.get(key, f"--where {key}=")
        gap = "" if option.endswith("=") else " "
        lines.append(_wrapped(f"{option}{gap}{' | '.join(values)}", "  others  "))
    return "\n".join(lines)


def _stage(stage):
    deps, outs = provenance.read_lock(stage)
    record, changed = provenance.read_record(stage), provenance.changed_code(stage)
    lines = [f"  {stage.name}"]
    if record is None:
        lines.append(f"    code    no record: dvc repro {stage.name}")
    else:
        lines += [
            f"    code    {record['code_sha256']} {len(record['code'])} files",
            f"    params  {record['params_sha256']}",
            f"    record  {stage.record}, scale {record['scale']}",
        ]
    lines += [_hashed("from", path, md5) for path, md5 in deps.items()
              if path not in stage.code]  # fmt: skip
    lines += [_hashed("gave", path, md5) for path, md5 in outs.items()
              if path != str(stage.record)]  # fmt: skip
    now = f"edited since: {', '.join(changed)}" if changed else "code as it is now"
    now = now if deps else f"not there: dvc repro {stage.name}"
    return "\n".join([*lines, _wrapped(now, "    lock    ")])


def _hashed(what, path, md5):
    return f"    {what}    {path:<38} {md5}"


def _arm(params, number):
    """The resolved row of `params.yaml`, a key to a line."""
    told = tracing_facts.recipe(params, number.study, number.arm)
    told = told or {"title": tracing_facts.title(params, number.study, number.arm)}
    return "\n".join(_wrapped(text, f"  {key:<10} ") for key, text in told.items())


def _network(row, behind):
    lines = [f"  {row['network']:<8} {row['folder']}"]
    if pd.isna(row["weights"]):
        lines.append(f"           no weights: {remedy(row['folder'], behind)}")
    else:
        lines += [f"    {key:<8} {row[key]}" for key in ("weights", "code", "data")]
    return "\n".join(lines)


def remedy(folder, behind):
    """What to run for weights that are not there."""
    homes = {str(place) for place in Path(folder).parents}
    for stage in behind:
        for out in sorted(homes & set(stage.outs)):
            return f"dvc checkout {out}, or dvc repro {stage.name}"
    return "dvc repro"


def _cases(number):
    table = tracing.cases(number)
    return table.to_string(index=False, float_format=lambda value: f"{value:.4f}")


def _wrapped(text, first, rest=None):
    """Text of at most `WIDTH` columns behind a label."""
    rest = " " * len(first) if rest is None else rest
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=rest,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def picture_path(number):
    """Where the picture of a number goes unless another place is named."""
    name = tracing.anchor(number.arm, number.structure)
    return TRACES / f"{number.study}-{name}.png"


def draw_worst(params, number, path):
    """Write a picture of the worst case of a number.

    Returns
    -------
    str
        Which case, seed and slice it is, and whether its Dice is that of the table.

    Raises
    ------
    FileNotFoundError
        If the weights are not there, with what to run.
    ValueError
        If no case has a value.
    """
    row = tracing.worst(number)
    if row is None:
        raise ValueError(
            f"cases of {number.arm}, {number.structure} must have a value, got none; "
            "there is no worst one to draw"
        )
    check_weights(params, number, row)
    return draw(number, row, predictions.again(params, row), path)


def check_weights(params, number, row):
    """Refuse to draw what a network whose weights are gone would find."""
    folders = [str(folder) for folder in predictions.networks(params, row)]
    behind = tracing_facts.stages(number.study, folders, params.scale)
    for folder in folders:
        if not (Path(folder) / training.WEIGHTS).is_file():
            raise FileNotFoundError(
                f"{folder} must hold weights, got none; run {remedy(folder, behind)}"
            )


def draw(number, row, segmentation, path):
    """Write the picture of one row behind a number; one sentence on it.

    Parameters
    ----------
    number : tracing.Number
    row : Series
    segmentation : predictions.Segmentation
    path : Path
    """
    truth, pred = segmentation.masks(row["structure"])
    by = tracing.told_by(number.rows)
    z, by = tracing_pictures.worst_slice(truth, pred), f"{by} {row[by]}"
    titles = f"{row['case']}, slice {z}", f"{row['structure']}, {row['arm']}, {by}"
    tracing_pictures.write(path, segmentation, row["structure"], titles)
    found, dice = evaluation.dice(truth, pred), _dice_of(row, number)
    said = f"worst case {row['case']}, {by}, axial slice {z}: Dice {found:.6f}"
    if dice is None:
        return said + " in the picture"
    same = abs(found - dice) < 1e-5 or (found != found and dice != dice)
    return said + (", as in the table" if same else f", in the table {dice:.6f}")


def _dice_of(row, number):
    """The Dice of the same segmentation in the long table; None if there is none."""
    rows = tracing.read_scores(number.study)
    told = number.told | {"metric": "dice", "case": row["case"], "seed": row["seed"]}
    for key, value in (told | {"fold": row["fold"]}).items():
        rows = rows[rows[key] == value]
    return float(rows["value"].iloc[0]) if len(rows) == 1 else None
