"""Losses of whole regions: soft Dice, its noise-robust form, and the T-loss.

Conventions as in `pixelwise`: logits float (B, C, ...), labels integers (B, ...),
softmax inside, pixels labelled `ignore_index` count nowhere.

References
----------
.. [1] Chen et al. 2021, TransUNet, arXiv 2102.04306, and its code,
   github.com/Beckschen/TransUNet.
.. [2] Wang et al. 2020, A Noise-Robust Framework for Automatic Segmentation of COVID-19
   Pneumonia Lesions (COPLE-Net), IEEE Transactions on Medical Imaging 39.
.. [3] Gonzalez-Jimenez et al. 2023, Robust T-Loss for Medical Image Segmentation,
   MICCAI, arXiv 2306.00753, and its code, github.com/Digital-Dermatology/t-loss.
.. [4] Nordström, Hult, Maki 2023, Marginal Thresholding in Noisy Image Segmentation,
   arXiv 2304.04116.
"""

import math

import torch
from torch import nn

from noisyseg.targets import (
    check_between,
    check_labels,
    class_weight_tensor,
    one_hot,
)


def soft_dice(
    logits,
    labels,
    *,
    power=2.0,
    class_weights=None,
    ignore_index=None,
    smooth=1e-5,
):
    """1 - (2 sum(p g) + s) / (sum(p^power) + sum(g) + s), mean over classes [1]_.

    The sums run over all pixels of the whole batch, the mean over all classes,
    background included; p is the softmax, g the one-hot label, s `smooth`. With power 1
    and the classes weighted (0, 1) it is soft-Dice as [4]_ has it (eq. 2), whose best p
    is 0 or 1 everywhere; with squares, as in TransUNet, it is not.

    Parameters
    ----------
    logits : float tensor of shape (B, C, ...)
    labels : integer tensor of shape (B, ...)
    power : float in [1, 2]
    class_weights : sequence of C floats, optional
        Weights of that mean.
    ignore_index : int, optional
        Label of pixels that do not count.

    Raises
    ------
    ValueError
        If shapes do not fit or a label is no class.
    """
    check_between("power", power, 1.0, 2.0)
    prob, truth = _masks(logits, labels, ignore_index)
    overlap, total = _sum(prob * truth), _sum(prob**power) + _sum(truth)
    loss = 1 - (2 * overlap + smooth) / (total + smooth)  # (C,)
    return _mean_of_classes(loss, logits, class_weights)


def noise_robust_dice(
    logits, labels, *, gamma=1.5, class_weights=None, ignore_index=None, smooth=1e-5
):
    """sum |p - g|^gamma / (sum p + sum g + s), mean over classes [2]_.

    A power below 2 makes large errors, which may be wrong labels, count less than in
    soft Dice. The denominator is that of the first author's own library
    (github.com/HiLab-git/PyMIC): with squares in it, a class that a batch lacks would
    be pushed up.

    Parameters
    ----------
    logits, labels, class_weights, ignore_index
        As `soft_dice`.
    gamma : float in [1, 2]
        1.5 in the paper.
    """
    check_between("gamma", gamma, 1.0, 2.0)
    prob, truth = _masks(logits, labels, ignore_index)
    error = _sum((prob - truth.to(prob.dtype)).abs() ** gamma)
    loss = error / (_sum(prob) + _sum(truth) + smooth)
    return _mean_of_classes(loss, logits, class_weights)


class TLoss(nn.Module):
    """Negative log-likelihood of Student's t for all errors of an image together [3]_.

    With D errors p - g per image, ||.||^2 their squared length, nu degrees of freedom
    and the precision l,

        -log Gamma((nu + D) / 2) + log Gamma(nu / 2) + D / 2 log(pi nu)
        + (nu + D) / 2 log(1 + l ||p - g||^2 / nu),

    mean over images, here divided by D so that it mixes with other losses. nu is
    learned together with the network. The published form is for one class; here the
    errors of all classes are one vector.

    Parameters
    ----------
    log_nu : float
        log nu before training; 1 as in the published code.
    log_precision : float
        log l, which stays; 1 as in the published code.
    class_weights : sequence of C floats, optional
        Inverse squared scales of the errors, class by class.
    ignore_index : int, optional
        Label of pixels that do not count.
    """

    def __init__(
        self, *, log_nu=1.0, log_precision=1.0, class_weights=None, ignore_index=None
    ):
        super().__init__()
        self.precision = math.exp(log_precision)
        self.log_nu = nn.Parameter(torch.tensor(float(log_nu)))
        self.class_weights, self.ignore_index = class_weights, ignore_index

    def forward(self, logits, labels):
        """Loss, scalar, of logits (B, C, ...) and labels (B, ...)."""
        prob, truth = _masks(logits, labels, self.ignore_index)
        error = (prob - truth.to(prob.dtype)).square().flatten(2).sum(2)  # (B, C)
        square = error @ class_weight_tensor(self.class_weights, logits).to(error.dtype)
        n = truth.flatten(1).sum(1) * logits.shape[1]  # (B,) pixels that count, times C
        kept = n > 0
        if not kept.any():
            return logits.flatten()[:0].sum() + 0 * self.log_nu
        square, n = square[kept], n[kept].to(square.dtype)
        nu = self.log_nu.exp()
        loss = (
            torch.lgamma(nu / 2)
            - torch.lgamma((nu + n) / 2)
            + n / 2 * (math.log(math.pi) + self.log_nu)
            + (nu + n) / 2 * torch.log1p(self.precision * square / nu)
        )
        return (loss / n).mean()


def _masks(logits, labels, ignore_index):
    """Softmax and one-hot labels, (B, C, ...), both 0 where a pixel does not count."""
    target = check_labels(logits, labels, ignore_index)
    prob = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(1)
    if ignore_index is not None:
        prob = prob * (target >= 0).unsqueeze(1)
    return prob, one_hot(target, logits.shape[1])


def _sum(masks):
    """Sum over the pixels of a whole batch, (C,)."""
    return masks.sum([0, *range(2, masks.ndim)])


def _mean_of_classes(loss, logits, class_weights):
    """Mean of one value per class (C,), weighted."""
    weight = class_weight_tensor(class_weights, logits).to(loss.dtype)
    return (weight * loss).sum() / weight.sum().clamp(min=torch.finfo(loss.dtype).tiny)
