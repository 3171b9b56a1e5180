"""A page per study on which every number has its place: what made it, case by case."""

import shutil
from html import escape
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from PIL import Image

from noisyseg import (
    domains,
    organs,
    pages,
    predictions,
    provenance,
    reporting,
    scenarios,
    tracing,
    tracing_facts,
    tracing_pictures,
    tracing_text,
    workers,
)
from noisyseg.tracing import anchor, as_text

PAGES = tracing.REPORTS / "trace"
EXAMPLE = ("sgl", "t1", "bone")  # of the README
OTHER_CASES = ("scenario", "cohort")  # whose cases are others, of the same names
STYLE = """<style>
.wide { overflow-x: auto; } .wide code { white-space: nowrap; }
li code { word-break: break-all; } h2 a, h3 a { color: inherit; }
img.worst { width: 616px; max-width: 100%; }
</style>"""


def write(params):
    """Write ``reports/trace/<study>.html`` and the pictures of worst cases beside it.

    Each arm and structure has the id `tracing.anchor`. The arms of a paper's table of
    Dice have pictures. ``example.md`` is what the README shows.
    """
    studies = [*params.studies, scenarios.STUDY, organs.STUDY, domains.STUDY]
    shutil.rmtree(PAGES, ignore_errors=True)
    workers.run_parallel(
        write_page,
        [(params, study) for study in studies],  # those that take long first
        workers=params.compute.workers,
        threads=params.compute.threads,
        title="pages of traces",
    )
    text = tracing_text.brief(params, tracing.find(*EXAMPLE))
    reporting.write_text(PAGES / "example.md", f"```text\n{text}\n```\n")


def write_page(params, study):
    """Write the page of one study and its pictures."""
    numbers = find_all(study)
    said = draw_all(params, [n for n in numbers if _is_drawn(params, n)])
    folders = tracing_facts.folders(params, tracing.read_scores(study))
    behind = tracing_facts.stages(study, folders, params.scale)
    parts = [STYLE, *_opening(params, study, numbers), "<h2>Stages</h2>"]
    used = {dep for stage in behind for dep in stage.deps}
    parts += [f"<ul>{''.join(_stage(stage, used) for stage in behind)}</ul>"]
    for arm, group in groupby(numbers, key=lambda number: number.arm):
        parts += _arm(params, study, arm)
        parts += [_number(params, number, said) for number in group]
    text = "\n\n".join(parts)
    pages.markdown_page(text, PAGES / f"{study}.html", home=pages.HOME)


def find_all(study):
    """The first number of every arm and structure of a study, list of Number.

    In the order of the scores, but for an arm's numbers, which stand together.
    """
    pairs = tracing.read_scores(study)[["arm", "structure"]].drop_duplicates()
    together = pairs.groupby("arm", sort=False).ngroup().sort_values(kind="stable")
    pairs = pairs.loc[together.index].itertuples(index=False)
    return [tracing.find(study, *pair) for pair in pairs]


def _is_drawn(params, number):
    """Whether a paper printed Dice of the same arm, or no Dice at all."""
    for path, row, _ in tracing_facts.tables(params, number):
        table = tracing.read_table(Path(path).with_suffix(".csv"), dtype=str)
        if Path(path).stem == "dice":
            printed = table.get("numbers", pd.Series("paper", table.index)) == "paper"
            return row in set(table["method"][printed])
    return False


def draw_all(params, numbers):
    """Draw the worst case of each number; a dict of link to what the picture shows.

    What several of them show is segmented once.
    """

    def origin(pair):
        return tuple(map(str, pair[1].drop(["structure", "metric", "value"])))

    pairs = ((number, tracing.worst(number)) for number in numbers)
    pairs = sorted((pair for pair in pairs if pair[1] is not None), key=origin)
    said = {}
    for _, group in groupby(pairs, key=origin):
        said |= _draw_group(params, list(group))
    return said


def _draw_group(params, pairs):
    """Pictures of several structures of one segmentation."""
    tracing_text.check_weights(params, *pairs[0])
    segmentation, said = predictions.again(params, pairs[0][1]), {}
    for number, row in pairs:
        path = picture(number)
        said[_link(number)] = tracing_text.draw(number, row, segmentation, path)
        _shrink(path)
    return said


def picture(number):
    """Where the picture of a number lies."""
    name = anchor(number.arm, number.structure)
    return PAGES / number.study / f"{name}.png"


def _link(number):
    return tracing.link(number.study, number.arm, number.structure)


def _shrink(path):
    """Write a PNG again in greys and shades of the contours: a third of the bytes."""
    greys = [[level] * 3 for level in np.linspace(0, 255, 30)]
    contours = np.array([to_rgb(code) for code in tracing_pictures.COLOURS.values()])
    shades = [shade * contours for shade in (0.5, 0.75, 1)]
    shades += [1 - shade * (1 - contours) for shade in (0.35, 0.65)]
    colours = np.concatenate([greys, *(255 * np.array(shades))])
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours.astype(np.uint8).tobytes())
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def _opening(params, study, numbers):
    """What the page is, and its first numbers, each a link."""
    title = getattr(params, study).title
    arms = list(dict.fromkeys(number.arm for number in numbers))
    names = list(dict.fromkeys(number.structure for number in numbers))
    cells = {(n.arm, n.structure): f"{tracing.summary(n)['mean']:.3f}" for n in numbers}
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = []
    for arm in arms:
        links = [
            f'<td><a href="#{anchor(arm, name)}">{cells[arm, name]}</a></td>'
            if (arm, name) in cells
            else "<td></td>"
            for name in names
        ]
        first = f'<td><a href="#{anchor(arm, "arm")}">{escape(arm)}</a></td>'
        rows.append(f"<tr>{first}{''.join(links)}</tr>")
    return [
        f"# Where the numbers of study {study} come from",
        f"[{title}](../{study}/{study}.html). A number leads to its cases, its "
        "networks and the stages that made it. Code was hashed before each stage ran; "
        "a stage whose code changed meanwhile fails. The numbers are Dice; reference, "
        "scenario and strength of noise are the first of the report, the others stand "
        "under each number.",
        f'<div class="wide"><table><tr><th>arm</th>{head}</tr>{"".join(rows)}</table>'
        "</div>",
    ]


def _stage(stage, used):
    """What is known of a stage, an item of a list; of outputs those that are used."""
    deps, outs = provenance.read_lock(stage)
    record = provenance.read_record(stage)
    facts = [f"<b>{stage.name}</b>"]
    if record is None:
        facts.append(f"left no record yet: {_code(f'dvc repro {stage.name}')}")
    else:
        files = [f"{path} {code}" for path, code in record["code"].items()]
        facts += [
            f"code, SHA-256 before the run {_code(record['code_sha256'])}",
            f"parameters {_code(record['params_sha256'])} at scale {record['scale']}",
            _folded(f"{len(files)} files of code", _list(map(_code, files))),
        ]
    inputs = {path: md5 for path, md5 in deps.items() if path not in stage.code}
    outputs = {path: md5 for path, md5 in outs.items() if path in used}
    for what, hashes in {"from": inputs, "gave": outputs}.items():
        facts += [f"{what} {_code(path)} {_code(md5)}" for path, md5 in hashes.items()]
    return f"<li>{'<br>'.join(facts)}</li>"


def _arm(params, study, arm):
    """The heading of an arm, its parameters and networks."""
    rows = tracing.read_scores(study)
    found = tracing_facts.networks(params, rows[rows["arm"] == arm])
    title, name = tracing_facts.title(params, study, arm), anchor(arm, "arm")
    parts = [
        f'<h2 id="{name}"><a href="#{name}">{escape(title)}</a>: {_code(arm)}</h2>'
    ]
    recipe = tracing_facts.recipe(params, study, arm)
    if recipe:
        lines = [f"{key}: {_code(value)}" for key, value in recipe.items()]
        parts.append(_folded(f"Parameters at scale {params.scale}", _list(lines)))
    lines = [
        f"{row['network']} {_code(row['folder'])}"
        f"<br>weights {_code(row['weights'])}"
        f"<br>code before the training {_code(row['code'])}"
        f"<br>data {_code(row['data'])}"
        for row in found.to_dict("records")
    ]
    if lines:
        parts.append(_folded(f"{len(lines)} networks", _list(lines)))
    return parts


def _number(params, number, said):
    """A number, what leads to it, its cases, its picture."""
    row, name = tracing.summary(number), anchor(number.arm, number.structure)
    where = [f"{key} {as_text(value)}" for key, value in number.where.items()]
    value = f"<b>{row['mean']:.3f}</b>"
    if row["low"] == row["low"]:
        value += f" [{row['low']:.3f}, {row['high']:.3f}]"
    about = ", ".join([f"Dice against {number.reference}", *where])
    places = [
        f"{_code(path)}, row “{escape(row)}”, column {escape(column)}"
        for path, row, column in tracing_facts.tables(params, number)
    ]
    folders = tracing_facts.folders(params, number.rows)
    behind = tracing_facts.stages(number.study, folders, params.scale)
    lines = [
        f'<h3 id="{name}"><a href="#{name}">{escape(number.structure)}</a></h3>',
        f"<p>{escape(about)}: {value}, {row['cases']:.0f} cases.",
        f"{'; '.join(places)}<br>",
        f"Stages: {' ← '.join(stage.name for stage in behind)}<br>",
        f"{_code(tracing.command(number))}{_others(number)}</p>",
        _folded("Cases, the worst first", f'<div class="wide">{_cases(number)}</div>'),
    ]
    if _link(number) in said:
        text = escape(said[_link(number)])
        source = picture(number).relative_to(PAGES)
        shown = f'<img class="worst" loading="lazy" src="{source}" alt="{text}">'
        lines.append(f"<p>{shown}<br>{text[0].upper()}{text[1:]}.</p>")
    return "\n".join(lines)


def _others(number):
    """How to ask for other numbers of the same arm and structure."""
    options = {"reference": "--reference ", "metric": "--metric "}
    told = [
        _code(options.get(key, f"--where {key}=") + " | ".join(values))
        for key, values in number.others.items()
    ]
    return f"<br>Others: {', '.join(told)}" if told else ""


def _cases(number):
    """Dice of every case, under every reference and strength of noise, as HTML."""
    scores = tracing.read_scores(number.study)
    rows = scores[scores["metric"] == number.metric]
    alike = [key for key in number.where if key not in OTHER_CASES]
    for key, value in number.told.items():
        if key not in ("reference", *alike):
            rows = rows[rows[key] == value]
    told = [key for key in ("reference", *alike) if key in number.others]
    wide = rows.pivot_table(index="case", columns=told or ["metric"], values="value")
    names = wide.columns.to_frame().map(as_text).to_dict("records")
    if told:
        wide.columns = [", ".join(f"{k} {v}" for k, v in n.items()) for n in names]
    order = tracing.cases(number)["case"]
    rest = [case for case in wide.index if case not in set(order)]
    table = wide.reindex([*order, *rest]).reset_index()
    return table.to_html(index=False, border=0, na_rep="", float_format="{:.4f}".format)


def _code(text):
    return f"<code>{escape(str(text))}</code>"


def _list(items):
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def _folded(title, content):
    return f"<details><summary>{escape(title)}</summary>{content}</details>"
