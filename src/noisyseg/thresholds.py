"""Where to cut a soft segmentation: probabilities in, threshold and mask out.

Cutting at 1/2 is best for the accuracy. For the expected Dice D the best cut is lower,
at half of the highest D that any mask reaches [1]_ [2]_, which is computed from the
probabilities alone.

References
----------
.. [1] Nordström, Hult, Maki 2023, Marginal Thresholding in Noisy Image Segmentation,
   arXiv 2304.04116: t = sup D / 2.
.. [2] Lipton, Elkan, Narayanaswamy 2014, Thresholding Classifiers to Maximize F1 Score,
   arXiv 1402.1892: the same for F1.
"""

import numpy as np


def dice_optimal(prob):
    """Threshold t at and above which a voxel belongs to the Dice-optimal mask [1]_.

    Among the masks of the k most likely voxels, for every k, the one of the highest
    D = 2 sum(m) / (k + sum over all voxels of m); t is half of it, at most 1/2.

    Parameters
    ----------
    prob : float array of any shape
        m, the probability of every voxel of the image to be in the structure.

    Returns
    -------
    threshold, dice : float
        t, and the highest D = 2 t. Without any probability above 0 there is nothing to
        find: 1/2 and NaN.

    Raises
    ------
    ValueError
        If a probability is not in [0, 1], or NaN.

    Examples
    --------
    >>> t, dice = dice_optimal(np.array([0.9, 0.8, 0.6, 0.45, 0.4, 0.3, 0.1, 0.05]))
    >>> round(t, 5), round(dice, 4)
    (0.36628, 0.7326)
    """
    prob, total = _checked(prob)
    if total == 0:
        return 0.5, np.nan
    likely = prob[prob >= _expected_dice(prob, total, 0.5) / 2]  # a bound from below
    likely = np.sort(likely)[::-1]
    dice = np.cumsum(likely, dtype=np.float64)
    dice *= 2 / (total + np.arange(1, len(dice) + 1))
    best = float(dice.max())
    return best / 2, best


def iterate(prob, start=0.5):
    """The same threshold as a fixed point: t <- D of the mask m >= t, halved [1]_.

    Parameters
    ----------
    prob : float array of any shape
    start : float in [0, 1/2]

    Returns
    -------
    list of float
        The iterates from `start` on; the last repeats itself. They rise from the
        second on, usually two to four times.
    """
    prob, total = _checked(prob)
    found = [start]
    while total and (len(found) < 3 or found[-1] > found[-2]):
        found.append(_expected_dice(prob, total, found[-1]) / 2)
    return found


def expected_dice(prob, threshold):
    """D of the mask m >= threshold: 2 sum of its m / (its size + sum of all m).

    Parameters
    ----------
    prob : float array of any shape
        m, the probability of every voxel to be in the structure.
    threshold : float

    Returns
    -------
    float; 0 for an empty mask, NaN without any probability above 0
    """
    prob, total = _checked(prob)
    return _expected_dice(prob, total, threshold) if total else np.nan


def best_against(prob, mask, *, least=0.0):
    """The threshold that an oracle would choose: that of the highest Dice to a mask.

    Parameters
    ----------
    prob : float array of any shape
    mask : bool array of the same shape
    least : float
        No threshold below is tried, which saves time.

    Returns
    -------
    threshold, dice : float
        NaN both for an empty mask, and where no probability reaches `least`.
    """
    if np.shape(mask) != np.shape(prob):
        raise ValueError(
            f"mask must be of the grid of prob {np.shape(prob)}, got {np.shape(mask)}; "
            "resample it first"
        )
    (prob, _), mask = _checked(prob), np.ravel(mask).astype(bool)
    size, likely = mask.sum(), prob >= least
    if not size or not likely.any():
        return np.nan, np.nan
    prob, mask = prob[likely], mask[likely]
    order = np.argsort(prob)[::-1]
    ranked, hits = prob[order], np.cumsum(mask[order])
    last = np.append(ranked[1:] != ranked[:-1], True)  # of the voxels of one value
    dice = 2 * hits / (size + np.arange(1, len(hits) + 1))
    best = np.argmax(np.where(last, dice, 0))
    return float(ranked[best]), float(dice[best])


def one_vs_rest(prob):
    """Dice-optimal threshold of every structure, each against all others together.

    What [1]_ says is about one structure. With several, each has its own threshold, and
    their masks may overlap or leave a voxel to nobody.

    Parameters
    ----------
    prob : float array (C, ...)

    Returns
    -------
    float64 array (C,)
    """
    return np.array([dice_optimal(structure)[0] for structure in prob])


def _expected_dice(prob, total, threshold):
    chosen = prob[prob >= threshold]
    return float(2 * chosen.sum(dtype=np.float64) / (len(chosen) + total))


def _checked(prob):
    """Probabilities in a row, and their sum."""
    prob = np.ravel(prob)
    if not np.issubdtype(prob.dtype, np.floating):
        raise TypeError(f"prob must be a float array, got {prob.dtype}; convert it")
    if len(prob) and not (prob.min() >= 0 and prob.max() <= 1):
        raise ValueError(
            f"prob must lie in [0, 1], got {prob.min()} to {prob.max()}; apply a "
            "sigmoid, or find the NaN"
        )
    return prob, float(prob.sum(dtype=np.float64))
