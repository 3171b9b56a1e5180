"""A number must lead to its rows, its worst case and its place, by hand and in full."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from noisyseg import (
    evaluation,
    params,
    tracing,
    tracing_facts,
    tracing_pictures,
    tracing_text,
)
from noisyseg.volume import Volume

STUDIES = sorted(path.parent.name for path in Path("reports").glob("*/scores.csv"))


def row(arm, seed, case, value, **more):
    told = {"reference": "truth", "structure": "bone", "metric": "dice", "fold": 0}
    return {"study": "toy", "arm": arm, "seed": seed, "case": case} | told | {
        "value": value, **more
    }  # fmt: skip


def table(folder, rows):
    """A folder of reports with one study."""
    (folder / "toy").mkdir()
    pd.DataFrame(rows).to_csv(folder / "toy/scores.csv", index=False)
    return folder


@pytest.fixture
def reports(tmp_path):
    values = {("a", 0): 0.9, ("a", 1): 0.7, ("b", 0): 0.2, ("b", 1): 0.6}
    rows = [row("ce", seed, case, v) for (case, seed), v in values.items()]
    return table(tmp_path, [*rows, row("ce", 0, "c", np.nan), row("sd", 0, "a", 0.5)])


def test_the_worst_case_comes_first_and_its_worst_seed_is_drawn(reports):
    number = tracing.find("toy", "ce", "bone", reports=reports)
    cases = tracing.cases(number)
    assert list(cases["case"]) == ["b", "a", "c"]  # means .4, .8, undefined
    np.testing.assert_allclose(cases["value"], [0.4, 0.8, np.nan])
    worst = tracing.worst(number)
    assert (worst["case"], worst["seed"], worst["value"]) == ("b", 0, 0.2)


def test_the_mean_is_that_of_the_summary(reports):
    number = tracing.find("toy", "ce", "bone", reports=reports)
    found = tracing.summary(number, reports)
    assert found["mean"] == pytest.approx(0.6) and found["cases"] == 2


@pytest.mark.parametrize(
    ("metric", "worst"),
    [("hd95_mm", 9.0), ("relative_volume", 9.0), ("nsd", 0.5), ("undecided", 9.0)],
)
def test_what_is_worst_depends_on_the_metric(metric, worst):
    values = pd.Series([0.5, 1.2, 9.0])
    assert values[tracing.badness(metric, values).idxmax()] == worst


def test_the_columns_of_a_study_tell_its_numbers_apart(tmp_path):
    rows = [row("ce", 0, "a", v, sd_mm=a) for a, v in ((0.75, 0.9), (2.0, 0.4))]
    reports = table(tmp_path, rows)
    first = tracing.find("toy", "ce", "bone", reports=reports)
    assert first.where == {"sd_mm": 0.75} and first.others["sd_mm"] == ["2"]
    other = tracing.find("toy", "ce", "bone", where={"sd_mm": "2"}, reports=reports)
    assert tracing.summary(other, reports)["mean"] == 0.4


def test_folds_are_shown_where_each_case_was_held_out_once(tmp_path):
    rows = [row("ce", 0, c, v, fold=f) for c, v, f in (("a", 0.9, 0), ("b", 0.4, 1))]
    number = tracing.find("toy", "ce", "bone", reports=table(tmp_path, rows))
    assert tracing.cases(number).values.tolist() == [["b", 0.4, 1], ["a", 0.9, 0]]


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        (("tpy", "ce", "bone"), "did you mean 'toy'"),
        (("toy", "cee", "bone"), "did you mean 'ce'"),
        (("toy", "ce", "bones"), "did you mean 'bone'"),
    ],
)
def test_a_wrong_name_leads_to_the_nearest(reports, asked, near):
    with pytest.raises(ValueError, match=near):
        tracing.find(*asked, reports=reports)


@pytest.mark.parametrize("study", STUDIES)
def test_every_number_of_a_summary_is_the_mean_of_its_cases(study):
    summary = pd.read_csv(Path("reports") / study / "summary.csv")
    for pair in summary[["arm", "structure"]].drop_duplicates().itertuples(index=False):
        number = tracing.find(study, *pair)
        mean, found = tracing.cases(number)["value"].mean(), tracing.summary(number)
        assert found["mean"] == pytest.approx(mean, abs=2e-6), pair


@pytest.mark.parametrize("study", STUDIES)
def test_anchors_of_a_study_are_unique_and_safe(study):
    pairs = tracing.read_scores(study)[["arm", "structure"]].drop_duplicates()
    anchors = [tracing.anchor(*pair) for pair in pairs.itertuples(index=False)]
    assert len(set(anchors)) == len(anchors)
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in anchors)


def test_a_number_stands_in_the_table_that_shows_it():
    number = tracing.find("sgl", "t1", "bone")
    ((path, row, column),) = tracing_facts.tables(params.load(), number)
    assert (path, column) == ("reports/sgl/dice.md", "bone")
    printed = pd.read_csv("reports/sgl/dice.csv").set_index(["method", "numbers"])
    start = f"{tracing.summary(number)['mean']:.3f}"
    assert printed.loc[(row, "ours"), column].startswith(start)


def test_an_arm_that_another_study_trains_leads_there():
    settings, rows = params.load(), tracing.find("robust", "t1", "bone").rows
    folders = tracing_facts.folders(settings, rows)
    assert folders[0].startswith("results/train/sgl/t1/seed-")
    behind = tracing_facts.stages("robust", folders, settings.scale)
    names = [stage.name for stage in behind]
    assert "train@sgl" in names and "train@robust" not in names
    assert names[0] == "study@robust" and names[-1] == "atlas@head"


def test_weights_that_are_gone_name_what_brings_them_back(monkeypatch):
    settings, number = params.load(), tracing.find("sgl", "t1", "bone")
    monkeypatch.setattr(tracing_text.training, "WEIGHTS", "gone.safetensors")
    remedy = "run dvc checkout results/train/sgl, or dvc repro train@sgl"
    with pytest.raises(FileNotFoundError, match=remedy):
        tracing_text.draw_worst(settings, number, Path("never.png"))


@pytest.mark.parametrize(("study", "figure", "_"), tracing_facts.FIGURES)
def test_figures_exist(study, figure, _):
    assert (Path("reports") / study / figure).exists()


def test_the_picture_shows_both_contours():
    truth, pred = np.zeros((2, 60, 60, 3), bool)
    truth[20:40, 20:40, 1], pred[25:45, 20:40, 1] = True, True
    image = Volume(np.ones((60, 60, 3), np.float32), np.eye(4))
    figure = tracing_pictures.draw(image, truth, pred, ("one", "two"))
    alone, both = figure.axes
    assert len(alone.collections) == 0 and len(both.collections) == 2
    assert evaluation.dice(truth, pred) == 0.75


def test_what_is_drawn_again_has_the_dice_of_the_tables():
    pages = [path.read_text() for path in Path("reports/trace").glob("*.html")]
    told = [
        text for page in pages for text in re.findall('alt="(worst case[^"]*)', page)
    ]
    assert len(told) > 100
    assert not [text for text in told if not text.endswith("as in the table")]


@pytest.mark.parametrize("study", STUDIES)
def test_the_ids_of_a_page_are_unique(study):
    ids = re.findall(r'\bid="([^"]+)"', Path(f"reports/trace/{study}.html").read_text())
    assert len(ids) == len(set(ids))
