import numpy as np
import pytest
import torch
from rankseg import rankseg_rma
from scipy import ndimage

from noisyseg import labelnoise, thresholds

SEED_VECTOR = np.array([0.9, 0.8, 0.6, 0.45, 0.4, 0.3, 0.1, 0.05])


@pytest.fixture(params=["random", "smooth", "float32", "rare"])
def prob(request, rng):
    uniform = rng.random((12, 11, 10))
    if request.param == "smooth":
        return labelnoise.marginal(
            ndimage.gaussian_filter(uniform, 2) > 0.5, 2, [1] * 3
        )
    if request.param == "rare":  # nothing reaches 1/2
        return 0.4 * uniform**4
    return uniform.astype(np.float32) if request.param == "float32" else uniform


def test_the_iteration_reaches_the_threshold_of_the_sort():
    found = thresholds.iterate(SEED_VECTOR)
    assert [round(t, 4) for t in found] == [0.5, 0.3485, 0.3663, 0.3663]
    assert found[-1] == pytest.approx(
        thresholds.dice_optimal(SEED_VECTOR)[0], abs=1e-15
    )


def test_sort_and_iteration_agree(prob):
    threshold, dice = thresholds.dice_optimal(prob)
    steps = thresholds.iterate(prob)
    assert steps[-1] == pytest.approx(threshold, rel=1e-9)
    assert steps[1:] == sorted(steps[1:]) and len(steps) < 10
    assert thresholds.expected_dice(prob, threshold) == pytest.approx(dice, rel=1e-9)


def test_the_mask_is_that_of_rankseg_to_one_voxel(prob):
    """It sums 2 m / (k + sum of m + 1): a voxel that is chosen is certainly there."""
    theirs = rankseg_rma(
        torch.from_numpy(prob)[None, None], output_mode="multilabel", pruning_prob=0.0
    )[0, 0].numpy()
    threshold, dice = thresholds.dice_optimal(prob)
    assert np.count_nonzero((prob >= threshold) != (theirs > 0)) <= 1
    lowest = prob[theirs > 0].min()
    assert thresholds.expected_dice(prob, lowest) == pytest.approx(dice, rel=1e-5)


def test_no_other_threshold_is_better(prob):
    _, best = thresholds.dice_optimal(prob)
    others = [thresholds.expected_dice(prob, t) for t in np.linspace(0, 1, 201)]
    assert 0.95 * best < max(others) <= best * (1 + 1e-9)


def test_the_threshold_is_at_most_a_half_and_is_a_half_without_doubt(prob):
    assert thresholds.dice_optimal(prob)[0] <= 0.5
    assert thresholds.dice_optimal(np.array([0.0, 1.0, 1.0])) == (0.5, 1.0)


def test_the_dice_optimal_mask_holds_the_accurate_one(prob):
    t = thresholds.dice_optimal(prob)[0]
    assert (prob >= t)[prob >= 0.5].all()


def test_nothing_likely_gives_an_empty_mask():
    threshold, dice = thresholds.dice_optimal(np.zeros(4))
    assert threshold == 0.5 and np.isnan(dice)
    assert thresholds.iterate(np.zeros(4)) == [0.5]


def test_the_oracle_knows_the_mask():
    prob = np.array([0.9, 0.2, 0.2, 0.1, 0.0])
    mask = np.array([True, True, False, False, False])
    threshold, dice = thresholds.best_against(prob, mask)  # both 0.2 or none of them
    assert (threshold, dice) == (0.2, pytest.approx(0.8))
    assert np.isnan(thresholds.best_against(prob, mask & False)).all()


def test_the_oracle_is_at_least_as_good_as_any_threshold(prob, rng):
    mask = rng.random(prob.shape) < prob
    best = thresholds.best_against(prob, mask)[1]
    for t in (0.1, thresholds.dice_optimal(prob)[0], 0.5):
        found = prob >= t
        assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) <= best + 1e-12


def test_every_structure_has_its_own_threshold(prob):
    both = np.stack([prob, prob**2])
    each = [thresholds.dice_optimal(part)[0] for part in both]
    assert list(thresholds.one_vs_rest(both)) == each and each[0] != each[1]


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan])
@pytest.mark.parametrize("function", [thresholds.dice_optimal, thresholds.iterate])
def test_what_is_no_probability_is_refused(function, wrong):
    with pytest.raises(ValueError, match=r"prob must lie in \[0, 1\], got"):
        function(np.array([0.5, wrong]))


def test_other_kinds_and_grids_are_refused():
    with pytest.raises(TypeError, match="prob must be a float array, got int64"):
        thresholds.dice_optimal(np.array([0, 1]))
    with pytest.raises(ValueError, match=r"grid of prob \(2,\), got \(1, 2\)"):
        thresholds.best_against(np.array([0.5, 0.2]), np.ones((1, 2), bool))
