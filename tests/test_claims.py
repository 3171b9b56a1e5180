"""The claims ledger: rows that make sense, verdicts by rule, and prose that agrees."""

from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from noisyseg import claims, errata
from noisyseg.claims import Claim, Finding

ROW = {"id": "t.row", "study": "t", "kind": "sentence", "source": "s", "claim": "c"}
MEAN = {"mean": {"arm": "a", "structure": "x"}}


def claim(**change):
    return Claim(**(ROW | {"expects": "positive"} | MEAN | change))


@pytest.fixture(scope="module")
def ledger():
    """The ledger over the reports as they are committed."""
    return claims.ledger(claims.read()).set_index("id")


@pytest.mark.parametrize("study", ["sgl", "robust", "threshold", "ace", "mind"])
def test_every_row_names_what_exists(ledger, study):
    rows = ledger[ledger["study"] == study]
    assert {"sentence", "erratum"} <= set(rows["kind"])
    for name, row in rows.iterrows():
        assert pd.isna(row.figure) or Path(f"reports/{study}/{row.figure}").exists(), (
            name
        )
        assert row.verdict in claims.VERDICTS


def test_the_committed_ledger_is_this_one(ledger):
    committed = pd.read_csv("reports/claims/ledger.csv").set_index("id")
    assert committed["verdict"].to_dict() == ledger["verdict"].to_dict()
    np.testing.assert_allclose(committed["ours"], ledger["ours"], atol=1e-5)


def test_prose_does_not_contradict_the_ledger(ledger):
    verdicts = ledger["verdict"].to_dict()
    texts = [Path("README.md").read_text(), Path("CHANGELOG.md").read_text()]
    texts += [path.read_text() for path in Path("reports").glob("*/*.md")]
    for path in Path("notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        texts += [c.source for c in cells if c.cell_type == "markdown"]
    assert not [
        line for text in texts for line in claims.contradictions(text, verdicts)
    ]


def test_a_contradiction_in_prose_is_found():
    said = "It holds [mind.gap: reproduced], not [t.row: inconclusive], see [x: y]."
    found = claims.contradictions(said, {"mind.gap": "not reproduced"})
    assert found == [
        "mind.gap is not reproduced, said to be reproduced",
        "t.row is not in the ledger, said to be inconclusive",
    ]


def test_every_computation_is_a_number_and_is_used():
    used = {c.computed for c in claims.read() if c.computed}
    assert used == set(errata.COMPUTED)


@pytest.mark.parametrize(
    "expects, value, low, high, verdict",
    [
        ("positive", 0.2, 0.1, 0.3, "reproduced"),
        ("positive", -0.2, -0.3, -0.1, "not reproduced"),
        ("positive", 0.2, -0.1, 0.5, "inconclusive"),
        ("negative", -0.2, -0.3, -0.1, "reproduced"),
        ("none", 0.0, -0.01, 0.01, "reproduced"),
        ("none", 0.0, -0.1, 0.1, "inconclusive"),
        ("none", 0.2, 0.1, 0.3, "not reproduced"),
        ("near", 0.51, 0.49, 0.52, "reproduced"),
        ("near", 0.51, 0.40, 0.60, "inconclusive"),
        ("near", 0.70, 0.60, 0.80, "not reproduced"),
        ("not worse", 0.1, -0.01, 0.3, "reproduced"),
        ("not worse", -0.015, -0.03, 0.0, "inconclusive"),
        ("not worse", -0.1, -0.2, -0.03, "not reproduced"),
        ("positive", np.nan, np.nan, np.nan, "inconclusive"),
        ("real data", 0.2, 0.1, 0.3, "needs the real data"),
        ("untested", 0.2, 0.1, 0.3, "not tested"),
        ("reading", 0.2, 0.1, 0.3, "by reading"),
    ],
)
def test_verdicts_follow_from_numbers(expects, value, low, high, verdict):
    found = Finding(value, low, high, clear=low > 0 or high < 0)
    row = claim(expects=expects, published=0.5, tolerance=0.02)
    assert claims.judge(row, found) == verdict


def test_nothing_is_within_a_tolerance_that_seeds_exceed():
    same = claim(expects="none", tolerance=0.02)
    for spread, verdict in ((0.01, "reproduced"), (0.03, "inconclusive")):
        found = Finding(0, -0.01, 0.01, clear=False, seed_spread=spread)
        assert claims.judge(same, found) == verdict


def test_printed_numbers_and_settings_by_hand():
    of = {"study": "sgl", "arm": "t1_robust", "other": "t1"}
    assert claims.find(claim(mean=None, printed=of)).value == -0.001111
    bone = claims.find(claim(mean=None, printed=of | {"structure": "bone"}))
    assert bone.value == 0.02 and bone.clear
    for path, value in (("sgl.image_size", 256), ("threshold.organs", 3)):
        assert claims.find(claim(mean=None, setting=path)).value == value
    with pytest.raises(ValueError, match=r"setting must be one of .*'betta'"):
        claims.find(claim(mean=None, setting="robust.arms.t1_robust.loss.betta"))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"mean": None}, "t.row must have one of mean, .* got 0"),
        ({"computed": "x"}, "t.row must have one of mean, .* got 2"),
        ({"mean": None, "computed": "nothing"}, "computed of t.row must be one of"),
        ({"expects": "near"}, "must have a tolerance, and published or target"),
        ({"expects": "none"}, "must have a tolerance"),
        ({"expects": "postive"}, "Input should be"),
        ({"id": "Bad id"}, "String should match"),
    ],
)
def test_incomplete_rows_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        claim(**change)


def scores(**arms):
    """Three structures of six cases under three seeds."""
    rows = [
        {"arm": arm, "seed": seed, "case": f"c{k}", "structure": structure}
        | {"value": value + (0.01 if arm == "a" else 0.02) * k + 0.001 * seed}
        for arm, value in arms.items()
        for seed in range(3)
        for k in range(6)
        for structure in ("background", "x", "y")
    ]
    return pd.DataFrame(rows).assign(fold=0, reference="truth", metric="dice")


@pytest.fixture
def reports(tmp_path):
    (tmp_path / "t").mkdir()
    scores(a=0.5, b=0.3).to_csv(tmp_path / "t/scores.csv", index=False)
    return tmp_path


def test_a_mean_and_a_difference_by_hand(reports):
    found = claims.find(claim(), reports)
    assert found.value == pytest.approx(0.5 + 0.025 + 0.001)
    of = {"arm": "a", "other": "b"}  # over both structures
    found = claims.find(claim(mean=None, difference=of), reports)
    assert found.value == pytest.approx(0.2 - 0.01 * 2.5) and found.clear


def test_a_planted_change_changes_the_verdict(reports):
    row = claim(mean=None, difference={"arm": "a", "other": "b"})
    assert claims.judge(row, claims.find(row, reports)) == "reproduced"
    scores(a=0.3, b=0.5).to_csv(reports / "t/scores.csv", index=False)
    assert claims.judge(row, claims.find(row, reports)) == "not reproduced"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"mean": {"arm": "c"}}, "claim t.row: rows must be there for c"),
        ({"mean": {"arm": "a", "structure": "z"}}, "claim t.row: rows must be there"),
        ({"mean": {"arm": "a", "organ": "z"}}, "claim t.row: key must be one of"),
        ({"study": "u"}, "claim t.row: .*scores.csv must exist"),
        (
            {"mean": None, "cell": {"table": "scores.csv", "where": {"arm": "a"},
             "value": "value"}},
            "must have one row .*, got 54",
        ),
    ],
)  # fmt: skip
def test_rows_that_name_nothing_are_refused(reports, change, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        claims.find(claim(**change), reports)
