import numpy as np
import pandas as pd
import pytest

from noisyseg import drawings


def found_rows(*rows):
    """Rows (id, ours, low, high, published, verdict)."""
    names = ["id", "ours", "low", "high", "published", "verdict"]
    return pd.DataFrame(rows, columns=names).set_index("id")


def test_marks_stand_at_their_values():
    found = found_rows(("a", 0.5, 0.0, 1.0, 1.0, "reproduced"))
    drawn = drawings.chart("Dice", {"a": "eyes"}, found)
    (mark,) = drawn["rows"]
    assert mark["ours"] == (mark["low"] + mark["high"]) / 2
    assert mark["paper"] == mark["high"]
    zero = next(tick["x"] for tick in drawn["ticks"] if tick["text"] == "0")
    assert zero == mark["low"]
    assert drawn["words"] == "Dice: eyes +0.500 [0.000, 1.000], in the paper +1.000."


def test_a_drawing_does_without_what_has_no_value():
    found = found_rows(
        ("a", np.nan, np.nan, np.nan, 1, "inconclusive"),
        ("b", 1, np.nan, np.nan, 0, "inconclusive"),
    )
    assert drawings.chart("Dice", {"a": "eyes", "c": "skin"}, found) is None
    (mark,) = drawings.chart("Dice", {"a": "eyes", "b": "skin"}, found)["rows"]
    assert mark["low"] == mark["ours"] == mark["high"] and mark["paper"] is None


def test_places_keep_the_proportions_of_values():
    found = found_rows(("a", -2.0, -4, 0, np.nan, "x"), ("b", 6.0, 6, 6, np.nan, "x"))
    low, high = drawings.chart("Dice", {"a": "a", "b": "b"}, found)["rows"]
    ratio = (high["ours"] - low["high"]) / (low["high"] - low["ours"])
    assert ratio == pytest.approx(6 / 2, rel=0.01)  # places have one decimal
    assert (high["y"] - low["y"]) == drawings.ROW


def test_what_rounds_to_zero_has_no_minus():
    found = found_rows(("a", -0.0002, -0.1, 0.1, np.nan, "x"))
    assert drawings.chart("Dice", {"a": "a"}, found)["rows"][0]["text"] == "+0.000"
