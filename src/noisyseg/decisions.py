"""From probabilities of several classes to one class for each voxel."""

import numpy as np

from noisyseg import thresholds


def most_likely(prob):
    """The most likely class of every voxel, uint8 array (X, Y, Z)."""
    return prob.argmax(0).astype(np.uint8)


def unweighted(prob, weights):
    """Probabilities as they would be without class weights in the loss.

    A proper loss whose labels weigh w_c is least at p_c w_c / sum_k p_k w_k, p the true
    probabilities; this undoes it (as Saerens, Latinne, Decaestecker 2002, Neural
    Computation 14, for changed priors).

    Parameters
    ----------
    prob : float array of shape (C, X, Y, Z)
    weights : sequence of C floats, above 0

    Examples
    --------
    >>> unweighted(np.array([[0.2], [0.8]]), [1, 4])
    array([[0.5],
           [0.5]])
    """
    shares = prob / np.reshape(weights, (-1, *[1] * (prob.ndim - 1)))
    return (shares / shares.sum(axis=0)).astype(prob.dtype)


def dice_optimal(prob, cuts=None):
    """The classes that reach their Dice-optimal thresholds, uint8 array (X, Y, Z).

    Each structure is cut at its own threshold (`thresholds.one_vs_rest`); of two that
    claim a voxel the one that exceeds its threshold by more, as a factor, has it.

    Parameters
    ----------
    prob : float array of shape (C, X, Y, Z)
        The background first.
    cuts : float array (C - 1,), optional
        The thresholds of the structures, where they are known already.

    Examples
    --------
    >>> rows = [[0.1, 0.5, 0.6, 1], [0.9, 0.5, 0, 0], [0, 0, 0.4, 0]]
    >>> dice_optimal(np.array(rows))  # cut at .41 and .29
    array([1, 1, 2, 0], dtype=uint8)
    """
    if cuts is None:
        cuts = thresholds.one_vs_rest(prob[1:])
    labels = np.zeros(prob.shape[1:], np.uint8)
    best = np.full(prob.shape[1:], np.nextafter(1, 0))  # below the least that counts
    for value, (structure, cut) in enumerate(zip(prob[1:], cuts, strict=True), start=1):
        excess = structure / np.float64(cut)
        labels[excess > best] = value
        np.maximum(best, excess, out=best)
    return labels
