"""Fusion: by hand, limits, a published EM, SimpleITK, small structures, bad input."""

import warnings

import numpy as np
import pytest
import SimpleITK as sitk

from noisyseg import fusion
from noisyseg.volume import Volume

SHAPE = (48, 40, 32)
BOXES = {1: np.s_[12:22, 12:22, 8:14], 2: np.s_[34:38, 20:24, 10:13]}


def boxes():
    """Structures of 600 and 48 voxels, as those of the study are sized."""
    truth = np.zeros(SHAPE, np.uint8)
    for value, box in BOXES.items():
        truth[box] = value
    return truth


def shifted(rng, raters, reach):
    """Raters that put every structure a random whole number of voxels aside."""
    truth, found = boxes(), np.zeros((raters, *SHAPE), np.uint8)
    for given in found:
        for value in BOXES:
            step = rng.integers(-reach, reach + 1, 3)
            given[np.roll(truth == value, step, (0, 1, 2))] = value
    return found


def noisy(rng, truth, sensitivity, specificity):
    """One rater with these rates."""
    hit = rng.random(truth.shape)
    return np.where(truth, hit < sensitivity, hit >= specificity).astype(np.uint8)


def dice(a, b):
    return 2.0 * np.sum(a & b) / (np.sum(a) + np.sum(b))


# Votes


def test_vote_by_hand_gives_ties_to_the_lower_value():
    labels = np.array(
        [[1, 2, 0, 0, 2], [1, 2, 1, 0, 1], [2, 1, 2, 0, 1], [0, 1, 2, 2, 2]]
    )
    fused = fusion.majority_vote(labels, n_classes=3)
    assert fused.tolist() == [1, 1, 2, 0, 1] and fused.dtype == np.uint8


def test_one_rater_outvotes_nobody_and_equal_raters_agree():
    truth = boxes()
    for raters in (1, 2, 30):
        labels = np.repeat(truth[None], raters, 0)
        assert np.array_equal(fusion.majority_vote(labels, n_classes=3), truth)


def test_weighted_vote_by_hand():
    labels = np.array([[1, 1, 0], [2, 2, 2], [2, 0, 0]])
    weights = np.array([[5, 1, 0], [2, 2, 0], [2, 2, 0]])
    fused = fusion.weighted_vote(labels, weights, n_classes=3)
    assert fused.tolist() == [1, 0, 0]  # in the last voxel all weights are 0


def test_equal_weights_are_a_majority():
    labels = shifted(np.random.default_rng(0), 7, 2)
    weights = np.full(labels.shape, 0.25, np.float32)
    fused = fusion.weighted_vote(labels, weights, n_classes=3)
    assert np.array_equal(fused, fusion.majority_vote(labels, n_classes=3))


def test_vote_agrees_with_simpleitk():
    labels = shifted(np.random.default_rng(1), 9, 1)
    voting = sitk.LabelVotingImageFilter()
    voting.SetLabelForUndecidedPixels(9)
    peer = voting.Execute([sitk.GetImageFromArray(each) for each in labels])
    peer = sitk.GetArrayFromImage(peer)
    decided = peer != 9
    ours = fusion.majority_vote(labels, n_classes=3)
    assert np.array_equal(ours[decided], peer[decided]) and decided.mean() > 0.99


# STAPLE


def test_staple_gives_the_published_estimates():
    """A vector of binary EM: p = 1, .75, 1; q = 1, 1, .667; W = 1, 1, 1, 1, 0, ..."""
    labels = np.array([[1] * 4 + [0] * 6, [1] * 3 + [0] * 7, [1] * 6 + [0] * 4])
    fused, raters = fusion.staple(labels, n_classes=2, margin_vox=4)
    assert fused.tolist() == [1] * 4 + [0] * 6
    np.testing.assert_allclose(raters["sensitivity"], [1, 0.75, 1], atol=1e-6)
    np.testing.assert_allclose(raters["specificity"], [1, 1, 2 / 3], atol=1e-6)
    assert list(raters.columns) == fusion.COLUMNS and set(raters["label"]) == {1}


def test_staple_finds_the_rates_of_forty_raters():
    """Forty factors of a probability do not underflow, and the bad ones are told."""
    rng = np.random.default_rng(2)
    truth = np.zeros((30, 30, 30), bool)
    truth[5:25, 5:25, 5:25] = True
    wanted = np.column_stack([np.linspace(0.6, 0.95, 40), np.linspace(0.9, 0.7, 40)])
    labels = np.array([noisy(rng, truth, *rates) for rates in wanted])
    fused, raters = fusion.staple(labels, n_classes=2)
    assert np.mean((fused > 0) != truth) < 1e-3
    found = raters[["sensitivity", "specificity"]]
    np.testing.assert_allclose(found, wanted, atol=0.02)


def test_staple_trusts_three_good_raters_against_four_bad_ones():
    rng = np.random.default_rng(3)
    truth = np.zeros((24, 24, 24), bool)
    truth[6:18, 6:18, 6:18] = True
    rates = [0.95] * 3 + [0.65] * 4
    labels = np.array([noisy(rng, truth, rate, rate) for rate in rates])
    fused, raters = fusion.staple(labels, n_classes=2)
    vote = fusion.majority_vote(labels, n_classes=2)
    assert dice(fused > 0, truth) > 0.95 > 0.9 > dice(vote > 0, truth)
    assert raters["sensitivity"][:3].min() > raters["sensitivity"][3:].max() + 0.2


@pytest.mark.parametrize("raters", [10, 30])
@pytest.mark.parametrize("reach", [1, 2])
def test_small_structures_do_not_vanish(raters, reach):
    """600 and 48 voxels under random shifts; shifts of two leave a vote nothing."""
    truth, scores, votes = boxes(), [], []
    for seed in range(4):
        labels = shifted(np.random.default_rng(seed), raters, reach)
        fused, _ = fusion.staple(labels, n_classes=3)
        vote = fusion.majority_vote(labels, n_classes=3)
        scores.append([dice(fused == value, truth == value) for value in (1, 2)])
        votes.append(dice(vote == 2, truth == 2))
    least = {1: (0.84, 0.55), 2: (0.75, 0.35)}[reach]
    assert np.min(scores) > 0.1 and np.all(np.mean(scores, axis=0) > least)
    assert reach == 1 or np.mean(votes) < 0.15


def test_surroundings_change_nothing():
    """The region is that of the label: neither a larger image nor another label."""
    labels = shifted(np.random.default_rng(5), 6, 1)
    fused, raters = fusion.staple(labels, n_classes=3)
    wide, same = fusion.staple(np.pad(labels, [(0, 0)] + [(9, 9)] * 3), n_classes=3)
    assert np.array_equal(wide[9:-9, 9:-9, 9:-9], fused)
    assert raters.equals(same)
    alone, _ = fusion.staple(np.where(labels == 1, 1, 0), n_classes=2)
    assert np.array_equal(alone == 1, fused == 1)


def test_order_of_raters_changes_nothing_but_the_table():
    labels = shifted(np.random.default_rng(6), 5, 2)
    fused, raters = fusion.staple(labels, n_classes=3)
    turned, table = fusion.staple(labels[::-1], n_classes=3)
    assert np.array_equal(turned, fused)
    found = table["sensitivity"].to_numpy().reshape(2, 5)[:, ::-1].ravel()
    np.testing.assert_allclose(found, raters["sensitivity"], atol=1e-9)


def test_equal_raters_are_perfect():
    fused, raters = fusion.staple(np.repeat(boxes()[None], 4, 0), n_classes=3)
    assert np.array_equal(fused, boxes())
    assert (raters[["sensitivity", "specificity"]] == 1).all(axis=None)


def test_whole_image_of_one_label_is_no_fault():
    fused, raters = fusion.staple(np.ones((2, 3, 3, 3), np.uint8), n_classes=2)
    assert fused.all() and (raters["sensitivity"] == 1).all()


def test_without_agreement_a_label_is_left_out():
    labels = np.eye(3, dtype=np.uint8).repeat(4, axis=1)
    fused, raters = fusion.staple(labels, n_classes=2, margin_vox=0)
    assert not fused.any()
    np.testing.assert_allclose(raters["sensitivity"], 1 / 3)


def test_label_of_nobody_is_absent_and_told():
    with warnings.catch_warnings(action="error"):
        fused, raters = fusion.staple(np.zeros((3, *SHAPE), np.uint8), n_classes=3)
    assert not fused.any() and len(raters) == 6
    assert raters[["sensitivity", "specificity"]].isna().all(axis=None)


def test_a_rater_without_the_label_has_no_sensitivity():
    labels = np.repeat(boxes()[None], 4, 0)
    labels[2][labels[2] == 2] = 0
    fused, raters = fusion.staple(labels, n_classes=3)
    assert np.array_equal(fused, boxes())
    mine = raters[(raters["label"] == 2) & (raters["rater"] == 2)]
    assert mine["sensitivity"].item() == pytest.approx(0, abs=1e-6)


def test_multi_label_filter_of_simpleitk_still_miscounts_ties():
    """Why it is not used; delete this test, and the reason, once it fails.

    By hand: the raters agree on one voxel of label 1 and on one of label 0, so that
    rater 0 has the row (0, 1) for its label 1; the ties write into that row too.
    """
    labels = np.array([[0, 1, 0, 1], [0, 1, 1, 0]], np.uint8)
    peer = sitk.MultiLabelSTAPLEImageFilter()
    peer.SetMaximumNumberOfIterations(0)
    peer.Execute([sitk.GetImageFromArray(each[None]) for each in labels])
    row = np.array(peer.GetConfusionMatrix(0)).reshape(-1, 2)[1]
    np.testing.assert_allclose(row, [0.5, 0.5])
    fused, _ = fusion.staple(labels, n_classes=2)
    assert fused[:2].tolist() == [0, 1]


# Weights by similarity


def scene(rng, raters=5):
    """Descriptors of an image, and raters that are right in one half each."""
    truth = np.zeros((20, 12, 12), np.uint8)
    truth[6:14, 4:8, 4:8] = 1
    wrong = np.roll(truth, 3, axis=1)
    fixed = rng.random((12, *truth.shape), np.float32)
    labels, moved = [], []
    for number in range(raters):
        good = (np.arange(20) < 10) == (number == 0)
        good = np.broadcast_to(good[:, None, None], truth.shape)
        labels.append(np.where(good, truth, wrong))
        moved.append(
            fixed + np.where(good, 0.05, 0.3) * rng.standard_normal(fixed.shape)
        )
    return truth, fixed, np.array(labels), moved


def test_similar_raters_outvote_a_wrong_majority():
    """On the left one rater of five is right, on the right four are."""
    truth, fixed, labels, moved = scene(np.random.default_rng(7))
    weights = fusion.local_weights(fixed, iter(moved), radius_vox=1)
    fused = fusion.weighted_vote(labels, weights, n_classes=2)
    vote = fusion.majority_vote(labels, n_classes=2)
    assert dice(fused > 0, truth > 0) > 0.9 > 0.7 > dice(vote > 0, truth > 0)


def test_weights_by_hand():
    """Distances 1 and 3: weights in the ratio exp(-1) to exp(-3), least of 1."""
    fixed = np.zeros((2, 3, 3, 3))
    moved = [np.ones_like(fixed), np.full_like(fixed, np.sqrt(3))]
    weights = fusion.local_weights(fixed, moved)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(weights[0] / weights[1], np.exp(2), rtol=1e-3)


def test_blunt_weights_are_equal_and_identical_images_too():
    fixed = np.random.default_rng(8).random((12, 5, 5, 5))
    moved = [fixed + 0.1, fixed + 0.5]
    flat = fusion.local_weights(fixed, moved, sharpness=0.0)
    np.testing.assert_allclose(flat, 0.5)
    np.testing.assert_allclose(fusion.local_weights(fixed, [fixed, fixed]), 0.5)


# Bad input


def test_raters_on_different_grids_are_refused():
    a = Volume(boxes(), np.eye(4))
    moved = Volume(boxes(), np.diag([2.0, 1, 1, 1]))
    assert fusion.stack([a, a]).shape == (2, *SHAPE)
    with pytest.raises(ValueError, match="rater 1 must have the affine of rater 0"):
        fusion.stack([a, moved])
    with pytest.raises(ValueError, match="rater 1 must have the shape of rater 0"):
        fusion.stack([a, Volume(boxes()[1:], np.eye(4))])
    with pytest.raises(ValueError, match="volumes must hold a rater"):
        fusion.stack([])


@pytest.mark.parametrize(
    ("labels", "n_classes", "error"),
    [
        (np.zeros((1, 4)), 2, "labels must be integers, got float64"),
        (np.zeros(4, int), 2, r"labels must have the shape \(R, X, Y, Z\)"),
        (np.zeros((0, 4), int), 2, r"got \(0, 4\)"),
        (np.full((2, 4), 3), 3, "labels must lie in 0 to 2, got 3 to 3"),
        (np.zeros((2, 4), int), 1, "n_classes must be 2 to 256, got 1"),
        (np.zeros((1, 4), int), 2, "at least two raters, got one"),
    ],
)
def test_bad_labels_are_refused(labels, n_classes, error):
    with pytest.raises((TypeError, ValueError), match=error):
        fusion.staple(labels, n_classes=n_classes)


@pytest.mark.parametrize(
    ("weights", "error"),
    [
        (np.ones((2, 5)), r"weights must have the shape of labels \(2, 4\) or 2 numb"),
        (np.full((2, 4), -1.0), "weights must be 0 or more, got -1.0"),
        (np.array([1.0, np.nan]), "weights must be 0 or more, got nan"),
    ],
)
def test_bad_weights_are_refused(weights, error):
    with pytest.raises(ValueError, match=error):
        fusion.weighted_vote(np.zeros((2, 4), int), weights, n_classes=2)


def test_bad_descriptors_are_refused():
    fixed = np.zeros((12, 3, 3, 3))
    with pytest.raises(ValueError, match="moved must have the shape of fixed"):
        fusion.local_weights(fixed, [fixed, fixed[:, 1:]])
    with pytest.raises(ValueError, match="moved must hold a rater"):
        fusion.local_weights(fixed, [])
    with pytest.raises(ValueError, match="must not be negative, got -1 and 1"):
        fusion.local_weights(fixed, [fixed], radius_vox=-1)
