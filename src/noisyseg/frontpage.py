"""The page that leads to all reports: questions, answers, claims, methods, data.

Its prose is ``frontpage.md.j2`` and, study by study, ``frontpage.yaml``; every number
is read from the reports, the claims ledger and the parameters. A study that is not in
``frontpage.yaml`` is shown by its own words and figure. For those who read the
repository itself: ``reports/README.md`` (``results.md.j2``) has all answers and tables,
``reports/answers.md`` the questions and answers in short.
"""

import json
import re
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from noisyseg import claims, drawings, pages, reporting, tracing

REPORTS = Path("reports")
OTHERS = ("claims", "phantoms", "trace")  # reports that are no study
SIGNS = dict(zip(claims.VERDICTS, "✓✗?○–§", strict=True))
KINDS = dict(
    zip(claims.KINDS, ("", "Table:", "Number:", "Setting:", "Slip:"), strict=True)
)
WORDS = dict(enumerate("no one two three four five six seven eight nine ten".split()))
HEADLINE = 260  # characters of an answer that serves as headline, about
MARK = re.compile(rf"\s{claims.MARK.pattern}")


def write(params, reports=REPORTS, readme="README.md"):
    """Write the front page and its short forms, and fill the README's marked places.

    Parameters
    ----------
    params : Params
    reports, readme : str or Path
    """
    readme, reports = Path(readme), Path(reports)
    studies = describe_all(reports)
    reporting.write_text(reports / "README.md", render("results.md.j2", studies))
    reporting.write_text(reports / "answers.md", answers(studies))
    reporting.write_text(readme, reporting.fill(readme.read_text(), readme.parent))
    pages.markdown_page(compose(params, reports), reports / "index.html")


def compose(params, reports=REPORTS):
    """The front page as Markdown."""
    studies = describe_all(reports)
    return render(
        "frontpage.md.j2",
        studies,
        count=WORDS.get(len(studies), str(len(studies))),
        signs=SIGNS,
        kinds=KINDS,
        summary=_summary(reports / "claims")["answer"],
        cohorts=cohort_table(params, _prose()["cohorts"]),
        phantoms=_phantoms(reports),
        scale=params.scale,
    )


def render(template, studies, **names):
    """Markdown of a template of this package, filled with studies and other names."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("noisyseg", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"slug": _slug, "links": with_links, "signs": with_signs}
    return environment.get_template(template).render(studies=studies, **names)


def answers(studies):
    """The studies as a Markdown list: name, question and what came out."""
    line = "- **`{name}`: {question}** {short}\n"
    return "".join(
        line.format(**study, short=with_signs(study["headline"])) for study in studies
    )


def describe_all(reports=REPORTS):
    """What the pages show of every study that has a report, in their order."""
    prose, ledger = _prose()["studies"], read_ledger(reports)
    return [
        describe(name, prose.get(name, {}), ledger, reports)
        for name in study_names(prose, reports)
    ]


def study_names(known, reports=REPORTS):
    """The studies that have a report: those known in their order, then any other."""
    there = sorted(path.parent.name for path in reports.glob("*/summary.json"))
    names = [name for name in known if name in there]
    return names + [name for name in there if name not in (*names, *OTHERS)]


def read_ledger(reports=REPORTS):
    """The claims ledger with the arm and structure that each claim is about, by id."""
    ledger = pd.read_csv(reports / "claims" / "ledger.csv").set_index("id")
    about = {claim.id: claim.mean or claim.difference or {} for claim in claims.read()}
    for key in ("arm", "structure"):
        ledger[key] = [about.get(name, {}).get(key) for name in ledger.index]
    return ledger


def describe(name, prose, ledger, reports=REPORTS):
    """What the page shows of a study, by the names that its template uses."""
    summary, rows = _summary(reports / name), ledger[ledger["study"] == name]
    sentences = rows[rows["kind"] == "sentence"]
    trace = _optional(reports / "trace" / f"{name}.html")
    return {
        "name": name,
        "title": summary["title"],
        "question": summary["question"],
        "page": f"{name}/{name}.html",
        "figure": f"{name}/{summary['figure']}",
        "picture": prose.get("picture", f"Main figure: {summary['title']}"),
        "paper": prose.get("paper", ""),
        "reading": prose.get("reading", ""),
        "headline": headline(prose.get("headline", ""), summary["answer"], ledger),
        "chart": _chart(prose.get("chart"), ledger),
        "total": len(sentences),
        "counts": count(sentences),
        "all_counts": count(rows),
        "claims": [_claim(row, trace) for row in rows.reset_index().itertuples()],
        "answer": _optional(reports / name / "answer.md") or summary["answer"],
        "table": _optional(reports / name / "dice.md"),
    }


def headline(text, answer, ledger):
    """A headline with marks ``[ID: VERDICT]``, each of which the ledger confirms.

    If the ledger says otherwise of any of them, or there is no headline, the first
    sentences of the study's answer stand in its place.

    Parameters
    ----------
    text, answer : str
    ledger : DataFrame
        From `read_ledger`.
    """
    if not text or claims.contradictions(text, ledger["verdict"].to_dict()):
        return first_sentences(answer)
    return text


def with_links(text):
    """A headline whose marks are signs that lead to the claims they name."""

    def link(match):
        name, verdict = match.groups()
        style = f'class="sign {_slug(verdict)}" href="#claim-{name}"'
        about = f'title="{verdict}" aria-label="{verdict}"'
        return f"&nbsp;<a {style} {about}>{SIGNS[verdict]}</a>"

    return MARK.sub(link, text)


def with_signs(text):
    """A headline whose marks are signs only.

    Examples
    --------
    >>> with_signs("It finds bone [sgl.labels_bone: reproduced].")
    'It finds bone (✓).'
    """
    return MARK.sub(lambda match: f" ({SIGNS[match[2]]})", text)


def first_sentences(text):
    """As many of the first sentences of a text as fit a card, at least one.

    Examples
    --------
    >>> first_sentences("It did. " + "No" * 300 + ".")
    'It did.'
    """
    sentences = re.split(r"(?<=[.?!]) (?=[A-Z*])", text)
    kept = sentences[:1]
    for sentence in sentences[1:]:
        if len(" ".join([*kept, sentence])) > HEADLINE:
            break
        kept.append(sentence)
    return " ".join(kept)


def count(rows):
    """How many claims have each verdict, in the order of `claims.VERDICTS`."""
    found = rows["verdict"].value_counts()
    return {verdict: int(found.get(verdict, 0)) for verdict in claims.VERDICTS}


def _chart(about, ledger):
    """The drawing of a study, or None if it has none."""
    return drawings.chart(about["title"], about["rows"], ledger) if about else None


def _claim(row, trace):
    """A row of the ledger as the page shows it."""
    return {
        **{key: getattr(row, key) for key in ("id", "claim", "kind", "verdict")},
        "source": row.source,
        "rule": row.rule,
        "ours": drawings.finding_text(row.ours, row.low, row.high),
        "paper": drawings.number_text(row.published),
        "links": list(_links(row, trace)),
    }


def _links(row, trace):
    """Name and address of what stands behind a claim; `trace` is its study's page."""
    if isinstance(row.figure, str):
        yield "figure", f"{row.study}/{row.figure}"
    yield "page", f"{row.study}/{row.study}.html"
    if isinstance(row.arm, str) and trace:
        anchor = tracing.anchor(row.arm, str(row.structure))
        known = f'id="{anchor}"' in trace
        yield "trace", f"trace/{row.study}.html" + (f"#{anchor}" if known else "")


def cohort_table(params, prose):
    """The cohorts as a Markdown table: images, cases, voxels, the real data instead."""
    data = params.data
    made = {"head": data.head, "torso": data.torso}
    cases = {name: section.subjects for name, section in made.items()}
    for section in (data.lesions, data.skullbase):
        made |= dict.fromkeys(section.subjects, section)
        cases |= section.subjects
    rows = [
        {
            "cohort": f"`{name}`",
            "what": about["what"],
            "images": ", ".join(params.cohorts[name].modalities),
            "cases": cases[name],
            "voxels, mm": _spacing(made[name].spacing_mm),
            "the real data in its place (reader)": about["real"],
        }
        for name, about in prose.items()
        if name in params.cohorts and name in made
    ]
    return pd.DataFrame(rows).to_markdown(index=False)


def _spacing(spacing_mm):
    """`3` or `1.2 × 1.2 × 1.8`."""
    if isinstance(spacing_mm, tuple) and len(set(spacing_mm)) > 1:
        return " × ".join(drawings.number_text(length) for length in spacing_mm)
    return drawings.number_text(np.atleast_1d(spacing_mm)[0])


def _slug(text):
    return text.replace(" ", "-")


def _phantoms(reports):
    folder = reports / "phantoms"
    if not (folder / "summary.json").exists():
        return None
    summary = _summary(folder)
    return summary | {"figure": f"phantoms/{summary['figure']}"}


def _summary(folder):
    return json.loads((folder / "summary.json").read_text())


def _optional(path):
    return path.read_text().strip() if path.exists() else ""


def _prose():
    text = resources.files("noisyseg").joinpath("frontpage.yaml").read_text()
    return yaml.safe_load(text)
