import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from noisyseg import evaluation, figures, labeltables, reporting
from noisyseg.volume import Volume


def summary(**means):
    rows = [
        (arm, "truth", "eyes", "dice", mean, 0.1, mean - 0.1, mean + 0.1, 5, 0, 0.01)
        for arm, mean in means.items()
    ]
    numbers = ["mean", "sd", "low", "high", "cases", "undefined", "seed_sd"]
    keys = ["arm", "reference", "structure", "metric"]
    return pd.DataFrame(rows, columns=keys + numbers)


def table(**means):
    return reporting.paper_table(
        summary(**means),
        reporting.published("sgl"),
        reference="truth",
        metric="dice",
        titles={"t1": "T1-W TransUNet", "t1_robust": "T1-W TransUNet Robust"},
        structures=["eyes"],
    )


def test_published_table_has_the_papers_rows():
    rows = reporting.published("sgl").pivot(
        index="arm", columns="structure", values="value"
    )
    assert rows.shape == (4, 9)
    assert rows.loc["t1t2", "bone"] == 0.89
    assert rows.loc["t1_robust"].mean() == pytest.approx(
        0.852, abs=5e-4
    )  # errata (g) 3


def test_our_number_stands_above_the_papers_which_may_stand_alone():
    found = table(t1=0.5)
    assert found["eyes"].tolist() == ["0.500 [0.40, 0.60]", "0.74", "0.68"]
    assert found["numbers"].tolist() == ["ours", "paper", "paper"]


def test_an_undefined_score_is_called_absent():
    assert table(t1=np.nan)["eyes"].iloc[0] == "absent"


def test_tables_are_written_as_csv_and_markdown(tmp_path):
    reporting.write_table(table(t1=0.5), tmp_path / "sub" / "dice")
    assert pd.read_csv(tmp_path / "sub" / "dice.csv")["eyes"].iloc[1] == "0.74"
    assert "| T1-W TransUNet" in (tmp_path / "sub" / "dice.md").read_text()


def gains(**differences):
    rows = [
        {"structure": name, "difference": d, "low": d - 0.01, "high": d + 0.01}
        for name, d in differences.items()
    ]
    clear = [abs(d) > 0.01 for d in differences.values()]
    return pd.DataFrame(rows).assign(clear=clear)


def test_the_sentence_follows_the_signs():
    said = reporting.describe_gain(gains(CSF=0.1, WM=-0.05, GM=0.001), "T2", "Dice")
    assert said.startswith("T2 raised Dice for CSF (+0.100 [+0.090, +0.110]); lowered")
    assert "WM (-0.050" in said and said.endswith(
        "1 of 3 classes show no clear change."
    )


def test_the_sentence_says_when_nothing_changed():
    said = reporting.describe_gain(gains(CSF=0.0), "T2", "Dice")
    assert said.startswith("T2 changed Dice for no class;")


def head():
    labels = Volume(np.zeros((10, 12, 8), np.uint8), np.diag([2.0, 1, 1, 1]))
    labels.data[2:5, 3:9, 2:6] = 3
    return labels.with_data(100.0 * (labels.data > 0)), labels


def test_planes_show_left_on_the_left_and_top_up():
    _, labels = head()
    cut, aspect = figures.planes(labels, (3, 5, 4))["coronal"]
    assert cut.shape == (8, 10) and aspect == 0.5
    assert cut[8 - 1 - 2, 2] == 3 and cut[8 - 1 - 6, 2] == 0  # rows run from the top


def test_an_overlay_appears_whole_and_twice_the_same(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        figures.overlay_png(*head(), labeltables.HEAD, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_the_distribution_has_a_panel_per_structure_and_is_twice_the_same(tmp_path):
    rows = [("t1", 0, "truth", case, "eyes", "dice", 0.5) for case in "abc"]
    names = ["arm", "seed", "reference", "case", "structure", "metric", "value"]
    scores = evaluation.mean_over_seeds(pd.DataFrame(rows, columns=names))
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        figure = figures.distribution_figure(scores, "dice", {"t1": "T1"}, ["eyes"])
        assert figure.axes[0].get_title() == "eyes"
        figures.save(figure, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_marked_places_are_filled_and_can_be_filled_again(tmp_path):
    (tmp_path / "a.md").write_text("new\n")
    place = "x\n<!-- from a.md -->\n{}<!-- end -->\ny"
    filled = reporting.fill(place.format("old\n"), tmp_path)
    assert filled == place.format("new\n") == reporting.fill(filled, tmp_path)


def test_the_readme_shows_the_committed_results():
    readme = Path("README.md").read_text()
    assert "<!-- from reports/answers.md -->" in readme
    assert reporting.fill(readme, Path()) == readme


@pytest.mark.parametrize(
    "ours, clear, paper, verdict",
    [
        (0.05, True, 0.02, "reproduced"),
        (-0.05, True, 0.02, "contradicted"),
        (0.05, False, 0.02, "inconclusive"),
        (0.05, True, 0.0, "none printed"),
        (0.05, True, np.nan, "none printed"),
    ],
)
def test_verdict_on_a_printed_difference(ours, clear, paper, verdict):
    found = pd.DataFrame({"structure": ["eyes"], "difference": ours, "clear": clear})
    judged = reporting.judge(found, pd.Series({"eyes": paper}))
    assert judged["verdict"].tolist() == [verdict]


@pytest.mark.parametrize(
    "low, difference, clear, said",
    [
        (0.1, 0.05, True, r"cost 0\.200 .* Dice; it undid \+0\.050"),
        (0.1, -0.05, True, "it made it worse"),
        (0.1, 0.05, False, "it had no clear effect"),
        (-0.1, 0.05, True, "cost no clear Dice .* nothing for it to undo"),
    ],
)
def test_remedy_is_judged_by_what_it_undoes(low, difference, clear, said):
    suffered = {"mean": 0.2, "low": low, "high": 0.3}
    undone = {"difference": difference, "low": 0, "high": 1, "clear": clear}
    undone |= {"seeds_agree": True, "seed_spread": 0.1}
    assert re.search(said, reporting.describe_remedy("Noise", "it", suffered, undone))


def test_a_remedy_below_the_seed_spread_is_called_so():
    suffered = {"mean": 0.2, "low": 0.1, "high": 0.3}
    undone = {"difference": 0.05, "low": 0.04, "high": 0.06, "clear": False}
    undone |= {"seeds_agree": True, "seed_spread": 0.1}
    said = reporting.describe_remedy("Noise", "it", suffered, undone)
    assert "with every seed, which is less than seeds differ (SD 0.100)" in said
