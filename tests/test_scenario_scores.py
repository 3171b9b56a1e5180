import numpy as np
import pandas as pd
import pytest

from noisyseg import evaluation, scenario_scores
from noisyseg.labeltables import LabelTable
from noisyseg.volume import Volume

TABLE = LabelTable(("background", "GM", "WMH"), ("#000000", "#888888", "#ff0000"))


def line(*places, length=12):
    """A row of voxels, some of which are true."""
    mask = np.zeros((length, 1, 1), bool)
    mask[list(places)] = True
    return mask


def volume(values):
    data = np.array(values, np.uint8).reshape(-1, 1, 1)
    return Volume(data, np.eye(4))


@pytest.mark.parametrize(
    "truth, found, f1, recall, precision",
    [
        (
            (0, 1, 4),
            (1, 2, 6, 8),
            2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3),
            1 / 2,
            1 / 3,
        ),
        ((0, 1, 4), (0, 4), 1, 1, 1),  # touched is seen, whatever the size
        ((0, 4, 8), range(12), 1, 1, 1),  # one find may see several
        (range(12), (0, 4, 8), 1, 1, 1),
        ((0,), (2,), 0, 0, 0),
        ((0,), (), 0, 0, np.nan),
        ((), (0, 4), 0, np.nan, 0),
        ((), (), np.nan, np.nan, np.nan),
    ],
)
def test_lesions_by_hand(truth, found, f1, recall, precision):
    scores = scenario_scores.lesion_scores(line(*truth), line(*found))
    assert list(scores) == ["lesion_f1", "lesion_recall", "lesion_precision"]
    expected = [f1, recall, precision]
    np.testing.assert_allclose(list(scores.values()), expected, equal_nan=True)


def test_lesions_touch_over_faces_only():
    truth = np.zeros((4, 4, 1), bool)
    truth[[0, 1], [0, 1]] = True  # over an edge
    found = np.zeros_like(truth)
    found[0, 0] = True
    assert scenario_scores.lesion_scores(truth, found)["lesion_recall"] == 0.5


def test_truth_and_finds_exchanged_exchange_recall_and_precision(rng):
    truth, found = rng.random((2, 8, 8, 8)) < 0.1
    there = scenario_scores.lesion_scores(truth, found)
    back = scenario_scores.lesion_scores(found, truth)
    assert there["lesion_recall"] == back["lesion_precision"]
    assert there["lesion_f1"] == pytest.approx(back["lesion_f1"])


def test_voxels_of_unknown_truth_do_not_count():
    """By hand: of WMH 1 of 1 and of GM 1 of 2 voxels; behind 255 all is the same."""
    truth, other = volume([2, 1, 1, 255, 255]), np.array([2, 1, 0, 2, 1], np.uint8)
    tables = [
        scenario_scores.score(truth, found.reshape(-1, 1, 1), TABLE, ["dice"])
        for found in (other, np.array([2, 1, 0, 0, 0]))
    ]
    pd.testing.assert_frame_equal(*tables)
    value = tables[0].set_index(["structure", "metric"])["value"]
    assert value["WMH", "dice"] == 1 and value["GM", "dice"] == pytest.approx(2 / 3)
    assert value["WMH", "lesion_precision"] == 1


def test_without_unknown_voxels_scores_are_those_of_evaluation(rng):
    truth, found = (volume(rng.integers(0, 3, 60)) for _ in range(2))
    metrics = ["dice", "hd95_mm"]
    rows = scenario_scores.score(truth, found.data, TABLE, metrics)
    own = rows[~rows["metric"].str.startswith("lesion")]
    theirs = evaluation.score(truth, found, TABLE, 1.0, metrics=metrics)
    pd.testing.assert_frame_equal(own, theirs)
    assert set(rows["structure"][len(own) :]) == {"WMH"} and len(rows) == len(own) + 3
