"""Losses: the logits of a batch and its labels in, a scalar out.

Logits are float (B, C, ...), labels integers (B, ...) of the same size; the class axis
is always 1 and softmax is always inside. Pixels labelled `ignore_index` count nowhere;
a batch without any other pixel has the loss 0, with a gradient of zeros.

References
----------
.. [1] Chen et al. 2021, TransUNet, arXiv 2102.04306, and its code,
   github.com/Beckschen/TransUNet: 0.5 cross-entropy + 0.5 soft Dice.
"""

from functools import partial
from inspect import signature

import torch
import torch.nn.functional as F

from noisyseg.choices import check_choice


def cross_entropy(logits, labels, *, class_weights=None, ignore_index=None):
    """Mean of -log p(label), over pixels, weighted by the class of the pixel.

    Parameters
    ----------
    logits : float tensor of shape (B, C, ...)
    labels : integer tensor of shape (B, ...)
    class_weights : sequence of C floats, optional
        The mean is sum(w l) / sum(w), as in PyTorch.
    ignore_index : int, optional
        Label of pixels that do not count.

    Raises
    ------
    ValueError
        If shapes do not fit or a label is no class.
    """
    target, kept = check_labels(logits, labels, ignore_index)
    weight = None
    if class_weights is not None:
        weight = class_weight_tensor(class_weights, logits)
        kept = kept & (weight[target.clamp(0, logits.shape[1] - 1)] > 0)
    if not kept.any():
        return zero_of(logits)
    unused = -100 if ignore_index is None else ignore_index
    return F.cross_entropy(logits.float(), target, weight, ignore_index=unused)


def soft_dice(logits, labels, *, ignore_index=None, smooth=1e-5):
    """1 - (2 sum(p g) + s) / (sum(p^2) + sum(g^2) + s), mean over classes [1]_.

    The sums run over all pixels of the whole batch, the mean over all classes,
    background included; p is the softmax, g the one-hot label, s `smooth`.

    Parameters
    ----------
    logits : float tensor of shape (B, C, ...)
    labels : integer tensor of shape (B, ...)
    ignore_index : int, optional
        Label of pixels that do not count.

    Raises
    ------
    ValueError
        If shapes do not fit or a label is no class.
    """
    target, kept = check_labels(logits, labels, ignore_index)
    classes = torch.arange(logits.shape[1], device=logits.device)
    classes = classes.reshape(-1, *[1] * (logits.ndim - 2))
    truth = (target.unsqueeze(1) == classes) & kept.unsqueeze(1)  # (B, C, ...)
    prob = logits.float().softmax(1) * kept.unsqueeze(1)
    pixels = [0, *range(2, logits.ndim)]
    overlap = (prob * truth).sum(pixels)  # (C,)
    total = prob.square().sum(pixels) + truth.sum(pixels)
    return (1 - (2 * overlap + smooth) / (total + smooth)).mean()


LOSSES = {"cross_entropy": cross_entropy, "soft_dice": soft_dice}


def build(name, *, dice=0.0, ignore_index=None, **settings):
    """Loss of an arm: (1 - dice) * `name` + dice * soft Dice.

    Parameters
    ----------
    name : str
        A key of ``LOSSES``.
    dice : float in [0, 1]
        Share of soft Dice; 0.5 is TransUNet's recipe [1]_.
    ignore_index : int, optional
        Label of pixels that do not count.
    **settings
        The loss's own settings, as in a row of params.yaml.

    Returns
    -------
    callable (logits, labels) -> scalar tensor

    Raises
    ------
    ValueError
        If no loss or no setting has that name, or `dice` is no share.

    Examples
    --------
    >>> loss = build("cross_entropy", dice=0.5)
    >>> logits = torch.zeros(1, 2, 4, 4)  # p = 0.5 everywhere
    >>> labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    >>> round(float(loss(logits, labels)), 4)  # 0.5 ln 2 + 0.5 (1 - 0.8 + 1) / 2
    0.6466
    """
    check_choice("loss", name, LOSSES)
    for key in settings:
        known = list(signature(LOSSES[name]).parameters)[2:]
        check_choice(f"setting of {name}", key, known)
    if not 0 <= dice <= 1:
        raise ValueError(
            f"dice must be a share from 0 to 1, got {dice}; change the arm"
        )
    main = partial(LOSSES[name], ignore_index=ignore_index, **settings)
    if dice == 0:
        return main
    return partial(mix, main, partial(soft_dice, ignore_index=ignore_index), dice)


def mix(first, second, share, logits, labels):
    """(1 - share) of the first loss and `share` of the second."""
    return (1 - share) * first(logits, labels) + share * second(logits, labels)


def check_labels(logits, labels, ignore_index):
    """Labels as int64, and which of them count, bool (B, ...)."""
    if labels.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            "labels must be (B, ...) for logits (B, C, ...), got "
            f"{tuple(labels.shape)} for {tuple(logits.shape)}; give one label per pixel"
        )
    if labels.dtype.is_floating_point or labels.dtype == torch.bool:
        raise TypeError(f"labels must be integers, got {labels.dtype}; convert them")
    target, n_classes = labels.long(), logits.shape[1]
    kept = torch.ones_like(target, dtype=torch.bool)
    if ignore_index is not None:
        kept = target != ignore_index
    wrong = kept & ((target < 0) | (target >= n_classes))
    if wrong.any():
        raise ValueError(
            f"labels must be 0 to {n_classes - 1}, got {int(target[wrong][0])}; set "
            "ignore_index if these pixels have no label"
        )
    return target, kept


def class_weight_tensor(class_weights, logits):
    """Class weights as a float tensor (C,) beside the logits."""
    weight = torch.as_tensor(class_weights, dtype=torch.float32, device=logits.device)
    if weight.shape != logits.shape[1:2] or not (weight >= 0).all():
        raise ValueError(
            f"class_weights must be {logits.shape[1]} numbers >= 0, "
            f"got {class_weights}; give one per class, background first"
        )
    return weight


def zero_of(logits):
    """0 with a gradient of zeros for `logits`, however extreme they are."""
    return logits.flatten()[:0].sum()
