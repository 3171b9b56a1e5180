"""Numbers that answer claims about noisy contours and the threshold against them.

All are statements of [1]_, shown on discs of pixels of 1 mm, or on eight voxels whose
2^8 masks can all be looked at.

References
----------
.. [1] Nordström, Hult, Maki 2023, Marginal Thresholding in Noisy Image Segmentation,
   arXiv 2304.04116.
"""

from itertools import product

import numpy as np
from scipy import optimize

from noisyseg import evaluation, labelnoise, thresholds

PIXEL_MM = (1.0, 1.0)
CHANCES = np.array([0.9, 0.8, 0.6, 0.45, 0.4, 0.3, 0.1, 0.05])  # of eight voxels
CLOSE = 1e-12


def _disc(shape, radius, centre=None):
    """A disc in the middle of an image of pixels, or around `centre`."""
    centre = [size // 2 for size in shape] if centre is None else centre
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(rows - centre[0], columns - centre[1]) <= radius


DISC = _disc((160, 160), 20)


def _draws(mask, sd_mm, correlation_mm, n):
    """Noisy masks, bool (n, X, Y)."""
    rng = np.random.default_rng(0)
    fields = labelnoise.draw_fields(
        2 * n, mask.shape, PIXEL_MM, correlation_mm, rng
    ).reshape(n, 2, *mask.shape)
    return np.stack([labelnoise.deform(mask, x, sd_mm, PIXEL_MM) for x in fields])


def marginal_gap():
    """Mean gap between the mean of 400 noisy discs and the blurred disc.

    A blur of another width, 3.5 or 4.5 in place of 4 mm, leaves twice as much.
    """
    disc = _disc((96, 96), 20)
    mean = _draws(disc, 4, 8, 400).mean(axis=0)
    return float(np.abs(mean - labelnoise.marginal(disc, 4, PIXEL_MM)).mean())


def mean_volume_gap():
    """Volume of a disc at the border: what is blurred beyond less what draws lose.

    Relative to the disc; mean over 2000 draws.
    """
    disc, pad, sd_mm = _disc((60, 60), 10, (10, 30)), 40, 5
    wide = labelnoise.marginal(np.pad(disc, pad), sd_mm, PIXEL_MM)
    beyond = wide.sum() - wide[pad:-pad, pad:-pad].sum()
    lost = disc.sum() - _volumes(disc, sd_mm, 5, 2000).mean()
    return float((beyond - lost) / disc.sum())


def volume_loss():
    """Share of the volume that a disc far from the border loses, mean of 400 draws."""
    return float(1 - _volumes(DISC, 4, 4, 400).mean() / DISC.sum())


def volume_spread_beyond_a_tenth():
    """SD over mean of the volumes of 200 noisy discs, less a tenth."""
    volumes = _volumes(DISC, 8, 16, 200)
    return float(volumes.std() / volumes.mean() - 0.1)


def _volumes(mask, sd_mm, correlation_mm, n):
    return _draws(mask, sd_mm, correlation_mm, n).sum(axis=(1, 2))


def _fields():
    rng = np.random.default_rng(0)
    return labelnoise.draw_fields(16, (256, 256), PIXEL_MM, 6.0, rng)


def field_correlation():
    """Correlation of displacement fields at their correlation length of 6 px."""
    fields = _fields()
    pairs = [np.mean(fields * np.roll(fields, 6, axis)) for axis in (1, 2)]
    return float(np.mean(pairs) / np.mean(np.square(fields)))


def field_variance():
    """Variance of displacement fields, in units of a squared."""
    return float(_fields().var())


MASKS = np.array(list(product((False, True), repeat=len(CHANCES))))


def _accuracies(masks):
    """Expected accuracy of masks, bool (N, 8)."""
    return np.where(masks, CHANCES, 1 - CHANCES).mean(axis=-1)


def _dices():
    """Expected Dice of all masks, 2 sum of their m / (their size + sum of all m)."""
    return 2 * (MASKS @ CHANCES) / (MASKS.sum(axis=1) + CHANCES.sum())


def accuracy_optimum_gap():
    """Best expected accuracy of any mask less that of the cut at 1/2."""
    return float(_accuracies(MASKS).max() - _accuracies(CHANCES >= 0.5))


def dice_optimum_gap():
    """Best expected Dice of any mask less that of the cut at half of it."""
    threshold, _ = thresholds.dice_optimal(CHANCES)
    return float(_dices().max() - thresholds.expected_dice(CHANCES, threshold))


def optima_beyond_the_first():
    """Voxels of a blurred disc that may be in the best masks or not.

    Their probability is 1/2 (accuracy) or half of the best Dice, to the last digits.
    """
    chances, threshold = _chances_of_disc()
    return sum(int((np.abs(chances - cut) < CLOSE).sum()) for cut in (0.5, threshold))


def soft_optimum_gap():
    """Best soft Dice of the eight voxels, from twenty starts, less that of the cut.

    The cut is that of the marginal at half of the best Dice.
    """
    rng, n = np.random.default_rng(0), len(CHANCES)

    def soft_dice_loss(c):
        return -2 * (c @ CHANCES) / (c.sum() + CHANCES.sum())

    found = [
        optimize.minimize(soft_dice_loss, start, bounds=[(0, 1)] * n).fun
        for start in rng.uniform(size=(20, n))
    ]
    threshold, _ = thresholds.dice_optimal(CHANCES)
    return float(-min(found) - thresholds.expected_dice(CHANCES, threshold))


def fixed_point_gap():
    """Where halving the Dice again and again ends, less the best threshold."""
    return thresholds.iterate(CHANCES)[-1] - thresholds.dice_optimal(CHANCES)[0]


def _chances_of_disc():
    """A disc blurred by half its radius, and its best threshold for Dice."""
    chances = labelnoise.marginal(DISC, 10, PIXEL_MM)
    return chances, thresholds.dice_optimal(chances)[0]


def optimum_volume_gap():
    """Volume of the best mask for Dice less that for accuracy, over the disc's."""
    chances, threshold = _chances_of_disc()
    large, small = (np.sum(chances >= cut) for cut in (threshold, 0.5))
    return float((large - small) / DISC.sum())


def theory_gain():
    """Expected Dice at the best threshold less that at 1/2, for a noisy disc."""
    chances, threshold = _chances_of_disc()
    best, half = (thresholds.expected_dice(chances, t) for t in (threshold, 0.5))
    return best - half


def iterations_beyond_ten():
    """Steps to the best threshold of a noisy disc, less ten."""
    chances, _ = _chances_of_disc()
    return len(thresholds.iterate(chances)) - 1 - 10


def soft_dice_identity_gap():
    """Expected Dice of the core less that of what the marginal's threshold gives."""
    core, whole = np.arange(13) < 1, np.ones(13, bool)
    draws = ((core, 0.6), (whole, 0.4))
    chances = sum(chance * mask for mask, chance in draws)
    cut = chances >= thresholds.dice_optimal(chances)[0]
    scores = [
        sum(chance * evaluation.dice(mask, pred) for mask, chance in draws)
        for pred in (core, cut)
    ]
    return scores[0] - scores[1]


OF_NOISE = (
    marginal_gap,
    mean_volume_gap,
    volume_loss,
    volume_spread_beyond_a_tenth,
    field_correlation,
    field_variance,
    accuracy_optimum_gap,
    dice_optimum_gap,
    soft_optimum_gap,
    optima_beyond_the_first,
    fixed_point_gap,
    optimum_volume_gap,
    theory_gain,
    iterations_beyond_ten,
    soft_dice_identity_gap,
)
