import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from noisyseg import evaluation, labeltables
from noisyseg.volume import Volume

TWO = labeltables.LabelTable(("background", "organ"), ("#000000", "#ffffff"))


def grid(data, spacing_mm=(1, 1, 1)):
    return Volume(np.asarray(data, np.uint8), np.diag([*spacing_mm, 1.0]))


def organ(scores, metric):
    rows = scores[(scores.structure == "organ") & (scores.metric == metric)]
    return rows.value.item()


def long_table(values):
    """values[arm][seed] is a list over cases."""
    rows = [
        (arm, seed, "truth", f"sub-{case}", "organ", "dice", value)
        for arm, seeds in values.items()
        for seed, cases in enumerate(seeds)
        for case, value in enumerate(cases)
    ]
    names = ["arm", "seed", "reference", "case", "structure", "metric", "value"]
    return pd.DataFrame(rows, columns=names)


def test_one_voxel_beside_another_by_hand():
    a, b = np.zeros((2, 5, 5, 5))
    a[2, 2, 2], b[2, 2, 4] = 1, 1
    scores = evaluation.score(grid(a, (1, 1, 3)), grid(b, (1, 1, 3)), TWO, 5.9)
    assert organ(scores, "hd95_mm") == pytest.approx(6)  # 2 voxels of 3 mm
    assert organ(scores, "nsd") == 0
    assert organ(scores, "dice") == 0


def test_nsd_reaches_one_at_the_distance():
    a, b = np.zeros((2, 5, 5, 5))
    a[2, 2, 2], b[2, 2, 4] = 1, 1
    scores = evaluation.score(grid(a, (1, 1, 3)), grid(b, (1, 1, 3)), TWO, 6)
    assert organ(scores, "nsd") == 1


def test_a_mask_inside_another_by_hand():
    a, b = np.zeros((2, 7, 7, 7))
    a[2:5, 2:5, 2:5], b[2, 2:5, 2:5] = 1, 1  # the shell of a cube, and one of its faces
    scores = evaluation.score(grid(a), grid(b), TWO, 0)
    assert organ(scores, "hd95_mm") == 2  # 9 of 26 + 9 voxels are that far from it
    assert organ(scores, "nsd") == pytest.approx((9 + 9) / (26 + 9))


def test_a_mask_is_right_where_it_is_the_truth():
    a = np.zeros((5, 5, 5))
    a[1:4, 2, 2] = 1
    scores = evaluation.score(grid(a), grid(a), TWO, 0)
    assert [organ(scores, m) for m in evaluation.METRICS] == [1, 0, 1]


def test_a_missed_structure_counts():
    a = np.zeros((3, 4, 12))
    a[1, 1, 1] = 1
    scores = evaluation.score(grid(a), grid(0 * a), TWO, 1)
    assert organ(scores, "dice") == 0
    assert organ(scores, "nsd") == 0
    assert organ(scores, "hd95_mm") == 13  # sqrt(3^2 + 4^2 + 12^2)


def test_absent_on_both_sides_is_undefined():
    scores = evaluation.score(
        grid(np.zeros((3, 3, 3))), grid(np.zeros((3, 3, 3))), TWO, 1
    )
    assert scores[scores.structure == "organ"].value.isna().all()


def test_monai_agrees_on_random_blobs(rng):
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice
    from scipy.ndimage import gaussian_filter

    a, b = (gaussian_filter(rng.normal(size=(20, 18, 16)), 2) > 0.02 for _ in "ab")
    ours = evaluation.score(grid(a, (1, 2, 1)), grid(b, (1, 2, 1)), TWO, 1.5)
    x, y = (torch.from_numpy(m)[None, None] for m in (b, a))
    options = {"include_background": True, "spacing": (1.0, 2.0, 1.0)}
    hd95 = compute_hausdorff_distance(x, y, percentile=95, **options).item()
    nsd = compute_surface_dice(x, y, [1.5], **options).item()
    assert organ(ours, "hd95_mm") == pytest.approx(hd95, rel=1e-5)
    assert organ(ours, "nsd") == pytest.approx(nsd, rel=1e-5)


def test_other_grid_is_refused():
    a = grid(np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="predicted must have the affine of reference"):
        evaluation.score(a, grid(a.data, (1, 1, 2)), TWO, 1)


def test_summary_by_hand():
    table = long_table({"ours": [[0.5, 0.7, 0.9], [0.7, 0.9, np.nan]]})
    row = evaluation.summarise(table).iloc[0]
    assert row["mean"] == pytest.approx((0.6 + 0.8 + 0.9) / 3)
    assert row.seed_sd == pytest.approx(np.std([0.7, 0.8], ddof=1))
    assert row.low < row["mean"] < row.high
    assert (row.cases, row.undefined) == (3, 0)


def test_undefined_cases_are_counted():
    row = evaluation.summarise(long_table({"ours": [[0.5, np.nan]]})).iloc[0]
    assert (row.cases, row.undefined) == (1, 1)


def test_a_constant_gain_is_clear_and_its_reverse_has_the_other_sign(rng):
    base = rng.uniform(0.4, 0.6, 8)
    gain = 0.1 + rng.uniform(0, 0.01, 8)
    table = long_table({"a": [base + gain] * 3, "b": [base] * 3})
    there, back = (evaluation.compare(table, *pair).iloc[0] for pair in ("ab", "ba"))
    assert there.clear and there.difference == pytest.approx(gain.mean())
    assert back.difference == pytest.approx(-there.difference)
    assert there.p == pytest.approx(2 / 2**8)  # all eight signs agree


def test_a_gain_below_the_seed_spread_is_not_clear(rng):
    base = rng.uniform(0.4, 0.6, 8)
    other = [base - 0.1, base, base + 0.1]
    table = long_table({"a": [seed + 0.01 for seed in other], "b": other})
    found = evaluation.compare(table, "a", "b").iloc[0]
    assert found.low > 0 and found.seeds_agree and not found.clear


def test_holm_by_hand():
    corrected = evaluation._holm(pd.Series([0.01, 0.04, np.nan, 0.03]))
    expected = pytest.approx([0.03, 0.06, np.nan, 0.06], nan_ok=True)
    assert corrected.to_list() == expected


def test_holm_as_in_statsmodels(rng):
    p = rng.uniform(size=9) ** 3
    expected = multipletests(p, method="holm")[1]
    assert evaluation._holm(pd.Series(p)).to_numpy() == pytest.approx(expected)


def test_mean_dice_is_that_of_the_scores_without_background(rng):
    a, b = (grid(rng.integers(0, 3, (6, 5, 4))) for _ in "ab")
    three = labeltables.LabelTable(
        ("background", "x", "y"), ("#000000", "#ff0000", "#00ff00")
    )
    found = evaluation.score(a, b, three, 1, metrics=["dice"])
    assert evaluation.mean_dice(a, b, 4) == pytest.approx(found.value[1:].mean())
    assert set(found.metric) == {"dice"}  # and class 3, which neither has, is left out


def test_two_seeds_or_seeds_that_disagree_make_nothing_clear(rng):
    base = rng.uniform(0.4, 0.6, 8)
    two = long_table({"a": [base + 0.1] * 2, "b": [base] * 2})
    seeds = [base + 0.3, base + 0.31, base - 0.01]
    mixed = long_table({"a": seeds, "b": [base] * 3})
    for table in (two, mixed):
        found = evaluation.compare(table, "a", "b").iloc[0]
        assert found.low > 0 and not found.clear


def test_what_has_no_seed_is_judged_by_its_interval_alone(rng):
    base = rng.uniform(0.4, 0.6, 8)
    table = long_table({"a": [base + 0.1], "b": [base]})
    assert evaluation.compare(table, "a", "b", seeds=False).iloc[0].clear
    assert not evaluation.compare(table, "a", "b").iloc[0].clear


@pytest.mark.parametrize("worst, clear", [(-0.001, False), (0.001, True)])
def test_of_few_cases_all_must_have_one_sign(worst, clear):
    gain = np.array([worst, 0.05, 0.06, 0.07])
    table = long_table({"a": [0.5 + gain], "b": [np.full(4, 0.5)]})
    found = evaluation.compare(table, "a", "b", seeds=False).iloc[0]
    assert found.low > 0 and found.clear == clear


def test_the_order_of_the_arms_changes_the_sign_only(rng):
    base = rng.uniform(0.4, 0.6, 8)
    table = long_table({"net": [base + 0.1, base + 0.11, base + 0.12], "em": [base]})
    there, back = (
        evaluation.compare(table, *pair).iloc[0]
        for pair in (("net", "em"), ("em", "net"))
    )
    assert there.clear and back.clear and there.difference == -back.difference


def test_seeds_without_a_value_do_not_agree(rng):
    base = rng.uniform(0.4, 0.6, 8)
    nothing = np.full(8, np.nan)
    table = long_table({"a": [base + 0.1, nothing, nothing], "b": [base] * 3})
    found = evaluation.compare(table, "a", "b").iloc[0]
    assert found.low > 0 and not found.seeds_agree and not found.clear


def test_arms_of_other_cases_are_refused():
    table = long_table({"a": [[0.1, 0.2, 0.3]], "b": [[0.1, 0.2]]})
    for pair in ("ab", "ac"):
        with pytest.raises(
            ValueError, match=r"arms a and . must hold the same cases, got"
        ):
            evaluation.compare(table, *pair)


def test_shared_cases_can_be_compared():
    table = long_table({"a": [[0.1, 0.2, 0.3]], "b": [[0.1, 0.1]], "c": [[0.5]]})
    shared = evaluation.shared_cases(table, "a", "b")
    assert shared["case"].nunique() == 2
    found = evaluation.compare(shared, "a", "b", seeds=False)
    assert found["difference"].item() == pytest.approx(0.05)
