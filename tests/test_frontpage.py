import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from noisyseg import claims, frontpage, params

PROSE = yaml.safe_load(Path("src/noisyseg/frontpage.yaml").read_text())


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The reports without their pages, in a folder of their own."""
    folder = tmp_path_factory.mktemp("reports")
    kept = ("*/*.json", "*/answer.md", "*/dice.md", "claims/ledger.csv")
    for path in (path for pattern in kept for path in Path("reports").glob(pattern)):
        target = folder / path.relative_to("reports")
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    return folder


def ledger(*rows):
    """Rows (id, ours, low, high, published, verdict) of a ledger."""
    names = ["id", "ours", "low", "high", "published", "verdict"]
    return pd.DataFrame(rows, columns=names).set_index("id")


def test_every_headline_agrees_with_the_ledger():
    verdicts = frontpage.read_ledger()["verdict"].to_dict()
    told = {n: s["headline"] for n, s in PROSE["studies"].items() if "headline" in s}
    assert len(told) == 5  # the studies of papers
    for name, headline in told.items():
        assert claims.contradictions(headline, verdicts) == [], name
        assert re.search(r"\[[a-z0-9_.]+: [a-z ]+\]", headline), name


def test_every_mark_of_a_drawing_is_a_claim_with_a_value():
    found = frontpage.read_ledger()
    for chart in (s["chart"] for s in PROSE["studies"].values() if "chart" in s):
        assert found.loc[list(chart["rows"]), "ours"].notna().all()


def test_a_headline_that_the_ledger_contradicts_gives_way_to_the_answer():
    found = ledger(("a.b", 1, 0.5, 2, np.nan, "reproduced"))
    yes = "Yes [a.b: reproduced]."
    assert frontpage.headline(yes, "No.", found) == yes
    assert frontpage.headline("Yes [a.b: inconclusive].", "No.", found) == "No."
    assert frontpage.headline("", "No.", found) == "No."


def test_the_signs_of_a_headline_lead_to_their_claims():
    said = frontpage.with_links("Yes [a.b: reproduced].")
    assert 'href="#claim-a.b" title="reproduced"' in said and ">✓</a>." in said


def test_the_committed_answers_and_tables_are_these():
    studies = frontpage.describe_all()
    answers, tables = (
        Path(f"reports/{n}.md").read_text() for n in ("answers", "README")
    )
    assert answers == frontpage.answers(studies)
    assert tables == frontpage.render("results.md.j2", studies)


def test_links_and_pictures_of_the_results_lead_somewhere():
    text = Path("reports/README.md").read_text()
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert Path("reports", link).exists(), link


def test_verdicts_are_counted_in_their_order():
    rows = pd.DataFrame({"verdict": ["inconclusive", "reproduced", "inconclusive"]})
    assert list(frontpage.count(rows).values()) == [1, 0, 2, 0, 0, 0]


def test_a_study_that_nobody_described_shows_its_own_words(reports):
    (reports / "new").mkdir()
    about = {"title": "T", "question": "Why?", "answer": "So.", "figure": "f.png"}
    (reports / "new" / "summary.json").write_text(json.dumps(about))
    assert frontpage.study_names(PROSE["studies"], reports)[-1] == "new"
    page = frontpage.compose(params.load(), reports)
    assert "## [Why?](new/new.html)\n\nSo.\n" in page
    assert '<img src="new/f.png" alt="Main figure: T">' in page
    shutil.rmtree(reports / "new")


def test_a_claim_leads_to_its_trace_when_there_is_one(reports):
    assert "trace/" not in frontpage.compose(params.load(), reports)
    (reports / "trace").mkdir()
    (reports / "trace" / "ace.html").write_text('<p id="ace-wmh">')
    page = frontpage.compose(params.load(), reports)
    assert 'href="trace/ace.html#ace-wmh"' in page and 'href="trace/ace.html"' in page
    assert "trace/mind.html" not in page


def test_every_claim_has_a_row_to_link_to(reports):
    page = frontpage.compose(params.load(), reports)
    ids = re.findall(r'<tr id="claim-([^"]+)"', page)
    assert sorted(ids) == sorted(claim.id for claim in claims.read())


def test_the_cohorts_have_the_sizes_of_the_scale():
    laptop, paper = (
        frontpage.cohort_table(params.load(scale=scale), PROSE["cohorts"])
        for scale in ("laptop", "paper")
    )
    assert set(PROSE["cohorts"]) < set(params.load().cohorts)
    assert re.search(r"`wmh` .* 24 +\| 3 +\|", laptop)
    assert re.search(r"`source` .* 105 \| 0.5 × 0.5 × 1.5 +\|", paper)
