"""Label fusion: one segmentation from those of many raters, and how good each rater is.

A rater is whoever labelled the same image: a person, a programme, or an atlas whose
labels were registered to it. A tie goes to the lower value, so to the background first.

References
----------
.. [1] Warfield, Zou, Wells 2004, Simultaneous Truth and Performance Level Estimation
   (STAPLE), IEEE TMI 23(7).
.. [2] Coupe et al. 2011, Patch-based segmentation using expert priors, NeuroImage
   54(2): weights from the distance of patches.
"""

import numpy as np
import pandas as pd
import SimpleITK as sitk
from scipy import ndimage

from noisyseg.volume import check_same_grid

COLUMNS = ["label", "rater", "sensitivity", "specificity"]
LEAST_DISTANCE = 1e-4  # of descriptors in (0, 1]; below it two patches are the same


def stack(volumes):
    """Label volumes of several raters as one array.

    Parameters
    ----------
    volumes : sequence of Volume
        Integer data on one grid.

    Returns
    -------
    integer array of shape (R, X, Y, Z)

    Raises
    ------
    ValueError
        If there is none, or a rater is on another grid.
    """
    volumes = list(volumes)
    if not volumes:
        raise ValueError("volumes must hold a rater, got none; check what was selected")
    for number, other in enumerate(volumes[1:], start=1):
        check_same_grid(volumes[0], other, "rater 0", f"rater {number}")
    return np.stack([each.data for each in volumes])


def majority_vote(labels, *, n_classes):
    """Label that most raters give each voxel.

    Parameters
    ----------
    labels : integer array of shape (R, X, Y, Z), values 0 (background) to n_classes - 1
        Any number of axes may follow the first.
    n_classes : int

    Returns
    -------
    uint8 array of shape (X, Y, Z)
        Of labels with equally many votes the lowest.

    Examples
    --------
    >>> majority_vote(np.array([[0, 1, 2], [0, 1, 1], [2, 2, 0]]), n_classes=3)
    array([0, 1, 0], dtype=uint8)
    """
    labels = _checked(labels, n_classes)
    return weighted_vote(labels, np.ones(len(labels)), n_classes=n_classes)


def weighted_vote(labels, weights, *, n_classes):
    """Label with the largest sum of weights of the raters that give it to a voxel.

    Parameters
    ----------
    labels : integer array of shape (R, X, Y, Z), as for `majority_vote`
    weights : array of shape (R, X, Y, Z), or (R,) for the same weight everywhere
        Not negative. A voxel where all weights are 0 becomes background.
    n_classes : int

    Returns
    -------
    uint8 array of shape (X, Y, Z)
        Of labels with equal sums the lowest.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> weighted_vote(np.array([[0, 1], [1, 0]]), np.array([1, 2]), n_classes=2)
    array([1, 0], dtype=uint8)
    """
    labels = _checked(labels, n_classes)
    weights = _checked_weights(weights, labels)
    claimed = labels.any(axis=0)
    sums = np.zeros((n_classes, np.count_nonzero(claimed)), np.float32)
    for given, weight in zip(labels, weights, strict=True):
        weight = weight[claimed] if weight.ndim else weight
        given = given[claimed]
        for value in range(n_classes):
            sums[value] += weight * (given == value)
    fused = np.zeros(labels.shape[1:], np.uint8)
    fused[claimed] = sums.argmax(axis=0)
    return fused


def staple(labels, *, n_classes, margin_vox=1, max_iterations=200):
    """Labels that best explain the raters [1]_, and the performance of each rater.

    Each label is estimated alone, against all others, where the raters disagree: in the
    voxels to which any rater gives it, and in the shell around them. In the whole image
    the background outweighs small structures, which then grow to the union of the
    raters or vanish.

    Parameters
    ----------
    labels : integer array of shape (R, X, Y, Z), values 0 (background) to n_classes - 1
        Of at least two raters; any number of axes may follow the first.
    n_classes : int
    margin_vox : int
        Thickness of the shell, where all agree that the label is absent; with 0 the
        fused structures are smaller.
    max_iterations : int
        Of expectation-maximisation, which ends earlier when nothing changes.

    Returns
    -------
    fused : uint8 array of shape (X, Y, Z)
        The most probable label where its probability is above one half, else 0; of
        equally probable ones the lowest. No rater's agreement at all (every voxel of a
        label from one rater of several) gives no voxel of that label.
    raters : DataFrame with columns label, rater, sensitivity, specificity
        Of every label but 0 and every rater (0, 1, ...), within the voxels above: 1
        where all raters agree on all of them, NaN for a label that no rater gives.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> three = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]])
    >>> fused, raters = staple(three, n_classes=2)
    >>> fused.tolist(), raters.sensitivity.round(2).tolist()
    ([1, 1, 1, 1, 0, 0], [1.0, 0.75, 1.0])
    """
    labels = _checked(labels, n_classes)
    if len(labels) < 2:
        raise ValueError(
            "labels must come from at least two raters, got one; there is nothing to "
            "estimate, use it as it is"
        )
    fused = np.zeros(labels.shape[1:], np.uint8)
    highest = np.full(fused.shape, 0.5)
    rows = []
    for value in range(1, n_classes):
        given = labels == value
        prob, performance = _staple_one(given, margin_vox, max_iterations)
        better = prob > highest
        fused[better] = value
        highest[better] = prob[better]
        rows += [(value, rater, *both) for rater, both in enumerate(performance)]
    return fused, pd.DataFrame(rows, columns=COLUMNS)


def _staple_one(given, margin_vox, max_iterations):
    """Probability of one label in each voxel, and (sensitivity, specificity) by rater.

    `given` is bool (R, X, Y, Z): whether the rater gives the label to the voxel.
    """
    union, shared = given.any(axis=0), given.all(axis=0)
    if not union.any():
        return np.zeros(union.shape), [(np.nan, np.nan)] * len(given)
    if np.array_equal(union, shared):
        return shared.astype(float), [(1.0, 1.0)] * len(given)
    region = union
    if margin_vox:
        region = ndimage.binary_dilation(union, iterations=margin_vox)
    filter_ = sitk.STAPLEImageFilter()
    filter_.SetMaximumIterations(max_iterations)
    found = filter_.Execute([_as_image(each[region]) for each in given])
    prob = np.zeros(union.shape)
    prob[region] = sitk.GetArrayViewFromImage(found).ravel()
    prob[~union] = 0.0  # of what no rater has seen nothing is known
    rates = zip(filter_.GetSensitivity(), filter_.GetSpecificity(), strict=True)
    return prob, list(rates)


def _as_image(values):
    """Voxels in a row: STAPLE asks for no neighbours."""
    return sitk.GetImageFromArray(values.astype(np.uint8).reshape(1, -1))


def local_weights(fixed, moved, *, radius_vox=2, sharpness=1.0):
    """Weights of raters for `weighted_vote`, by local similarity of descriptors.

    Where a warped atlas looks as the image does, its labels fit the image. Descriptors
    such as MIND can be compared between modalities, intensities cannot.

    Parameters
    ----------
    fixed : float array of shape (D, X, Y, Z)
        Descriptors of the image, D numbers for each voxel (12 of MIND-SSC), in (0, 1].
    moved : iterable of R such arrays
        Descriptors of every warped moving image; a generator keeps one in memory.
    radius_vox : int
        The distances of a cube of 2 radius_vox + 1 voxels are averaged.
    sharpness : float
        0 gives equal weights; the more, the more the nearest rater decides alone.

    Returns
    -------
    float32 array of shape (R, X, Y, Z), their sum over raters 1

    Raises
    ------
    ValueError

    Notes
    -----
    exp(-sharpness d / (least + 1e-4)), d the mean squared difference and `least` its
    minimum over the raters [2]_: contrast and noise of a place cancel out.
    """
    fixed = np.asarray(fixed)
    if radius_vox < 0 or not sharpness >= 0:
        raise ValueError(
            f"radius_vox and sharpness must not be negative, got {radius_vox} and "
            f"{sharpness}; e.g. 2 and 1.0"
        )
    apart = [_distance(fixed, np.asarray(other), radius_vox) for other in moved]
    if not apart:
        raise ValueError("moved must hold a rater, got none; check what was selected")
    weights = np.stack(apart)
    least = weights.min(axis=0)
    weights -= least  # the factor exp(-least / ...) is that of all raters
    weights *= -sharpness / (least + LEAST_DISTANCE)
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=0)
    return weights


def _distance(fixed, moved, radius_vox):
    """Mean squared difference of descriptors around each voxel, float32 (X, Y, Z)."""
    if fixed.ndim < 2 or moved.shape != fixed.shape:
        raise ValueError(
            f"moved must have the shape of fixed {fixed.shape} (D, X, Y, Z), got "
            f"{moved.shape}; warp the images to the fixed grid"
        )
    total = np.zeros(fixed.shape[1:], np.float32)
    for a, b in zip(fixed, moved, strict=True):
        step = (a - b).astype(np.float32, copy=False)
        total += step * step
    total /= len(fixed)
    return ndimage.uniform_filter(total, 2 * radius_vox + 1, mode="nearest")


def _checked(labels, n_classes):
    labels = np.asarray(labels)
    if labels.dtype.kind not in "biu":
        raise TypeError(
            f"labels must be integers, got {labels.dtype}; round and cast them first"
        )
    if labels.ndim < 2 or not labels.size:
        raise ValueError(
            f"labels must have the shape (R, X, Y, Z), got {labels.shape}; stack one "
            "segmentation per rater"
        )
    if not 2 <= n_classes <= 256:
        raise ValueError(f"n_classes must be 2 to 256, got {n_classes}; e.g. 3")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= n_classes:
        raise ValueError(
            f"labels must lie in 0 to {n_classes - 1}, got {low} to {high}; correct "
            "n_classes or the coding"
        )
    return labels


def _checked_weights(weights, labels):
    weights = np.asarray(weights)
    if weights.shape not in (labels.shape, labels.shape[:1]):
        raise ValueError(
            f"weights must have the shape of labels {labels.shape} or {len(labels)} "
            f"numbers, got {weights.shape}; give one weight per rater (and voxel)"
        )
    if not (weights >= 0).all():
        raise ValueError(
            f"weights must be 0 or more, got {weights.min()}; NaN is not allowed either"
        )
    return weights
