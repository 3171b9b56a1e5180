"""Losses that are a mean over pixels: cross-entropy and its robust relatives.

Logits are float (B, C, ...), labels integers (B, ...) of the same size; softmax is
always inside, and p_y is the probability of a pixel's label. A mean of losses l is
sum(w l) / sum(w) with the weight w of the label's class, so that a weight really
weights; pixels labelled `ignore_index` count nowhere, and a batch without any other
pixel has the loss 0, with a gradient of zeros.

References
----------
.. [1] Akrami et al. 2022, A robust variational autoencoder using beta divergence,
   Knowledge-Based Systems 238; the segmentation form: Akrami, Cui, Joshi, Leahy 2022,
   equation (1), and its code, github.com/ajoshiusc/brainseg.
.. [2] Basu et al. 1998, Robust and efficient estimation by minimising a density power
   divergence, Biometrika 85.
.. [3] Zhang, Sabuncu 2018, Generalized Cross Entropy Loss, NeurIPS.
.. [4] Wang et al. 2019, Symmetric Cross Entropy for Robust Learning, ICCV.
.. [5] Ghosh, Kumar, Sastry 2017, Robust Loss Functions under Label Noise, AAAI.
.. [6] Lin et al. 2017, Focal Loss for Dense Object Detection, ICCV.
.. [7] Szegedy et al. 2016, Rethinking the Inception Architecture, CVPR, section 7.
"""

import math

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from noisyseg.targets import check_between, check_labels, class_weight_tensor

LOG_ZERO = -4.0  # what log 0 is taken for in reverse cross-entropy [4]_


def cross_entropy(logits, labels, *, class_weights=None, ignore_index=None):
    """Mean of -log p_y.

    Parameters
    ----------
    logits : float tensor of shape (B, C, ...)
    labels : integer tensor of shape (B, ...)
    class_weights : sequence of C floats, optional
    ignore_index : int, optional
        Label of pixels that do not count.

    Raises
    ------
    ValueError
        If shapes do not fit or a label is no class.
    """
    target = check_labels(logits, labels, ignore_index)
    return _mean(_surprise(logits, target), logits, target, class_weights)


def beta_cross_entropy(
    logits, labels, *, beta, min_prob=0.0, class_weights=None, ignore_index=None
):
    """Mean of (1 - p_y^b) / b + (sum_k p_k^(b + 1) - 1) / (b + 1), b = `beta` [1]_.

    Cross-entropy in the limit b = 0, half the Brier score at b = 1. It is the beta- or
    density power divergence [2]_ between label and prediction, divided by b + 1; a sure
    and right answer costs 0. The first term pulls p_y^b times as much as cross-entropy:
    a label that the network finds implausible counts less; the second keeps the loss a
    proper score. Equation (1) of the paper prints (1 - p)^b for 1 - p^b,
    which has no such limit.

    Parameters
    ----------
    logits, labels, class_weights, ignore_index
        As `cross_entropy`.
    beta : float
        At least 0; 0 is cross-entropy itself.
    min_prob : float
        Probabilities below it are constants without gradient, as in the authors' code
        with 1e-7; a pixel whose label is less likely then pulls not at all.

    Raises
    ------
    ValueError
        If `beta` is below 0, `min_prob` no probability, shapes do not fit, or a label
        is no class.
    """
    check_between("beta", beta, 0.0)
    check_between("min_prob", min_prob, 0.0, 1.0)
    target = check_labels(logits, labels, ignore_index)
    if beta == 0 and min_prob == 0:
        value = _surprise(logits, target)
    else:
        index = target.clamp(min=0)
        value = _BetaCrossEntropy.apply(_precise(logits), index, beta, min_prob)
    return _mean(value, logits, target, class_weights)


def hybrid_cross_entropy(
    logits,
    labels,
    *,
    beta,
    plain_classes=(),
    share=0.0,
    class_weights=None,
    ignore_index=None,
):
    """Cross-entropy where labels are rare, beta-cross-entropy elsewhere.

    The last paragraph of [1]_ proposes "a hybrid CE/BCE loss" for the eyes and says no
    more; here pixels labelled as one of `plain_classes` have CE, all others
    `share` CE + (1 - share) beta-CE.

    Parameters
    ----------
    logits, labels, class_weights, ignore_index
        As `cross_entropy`.
    beta : float
        Of the beta-cross-entropy.
    plain_classes : sequence of int
        Labels whose pixels have plain cross-entropy.
    share : float in [0, 1]
        Share of cross-entropy in all other pixels; with no `plain_classes` this is the
        plain convex mix.

    Raises
    ------
    ValueError
        If `beta` is below 0, `share` no share, a plain class is no class, shapes do not
        fit, or a label is no class.
    """
    check_between("beta", beta, 0.0)
    check_between("share", share, 0.0, 1.0)
    for label in plain_classes:
        if label not in range(logits.shape[1]):
            raise ValueError(
                f"plain_classes must be among 0 to {logits.shape[1] - 1}, got {label}; "
                "name classes by their labels"
            )
    target = check_labels(logits, labels, ignore_index)
    plain = _surprise(logits, target)
    robust, index = plain, target.clamp(min=0)
    if beta > 0:
        robust = _BetaCrossEntropy.apply(_precise(logits), index, beta, 0.0)
    rare = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
    rare[list(plain_classes)] = True
    shares = torch.where(rare, 1.0, share).to(plain.dtype)[index]
    value = shares * plain + (1 - shares) * robust
    return _mean(value, logits, target, class_weights)


def generalised_cross_entropy(
    logits, labels, *, q=0.7, class_weights=None, ignore_index=None
):
    """Mean of (1 - p_y^q) / q [3]_: the first term of beta-cross-entropy alone.

    Parameters as `cross_entropy`, and `q` from 0 (cross-entropy) to 1 (half of MAE).
    """
    check_between("q", q, 0.0, 1.0)
    target = check_labels(logits, labels, ignore_index)
    surprise = _surprise(logits, target)
    value = surprise if q == 0 else -torch.expm1(-q * surprise) / q
    return _mean(value, logits, target, class_weights)


def symmetric_cross_entropy(
    logits, labels, *, alpha=0.1, beta=1.0, class_weights=None, ignore_index=None
):
    """Mean of alpha CE + beta RCE, reverse cross-entropy RCE = 4 (1 - p_y) [4]_.

    RCE is -sum_k p_k log y_k with log 0 taken for -4. The defaults are those of the
    paper's CIFAR-10 runs. Parameters as `cross_entropy`.
    """
    check_between("alpha", alpha, 0.0)
    check_between("beta", beta, 0.0)
    target = check_labels(logits, labels, ignore_index)
    surprise = _surprise(logits, target)
    value = alpha * surprise + beta * LOG_ZERO * torch.expm1(-surprise)
    return _mean(value, logits, target, class_weights)


def mean_absolute_error(logits, labels, *, class_weights=None, ignore_index=None):
    """Mean of sum_k |p_k - y_k| = 2 (1 - p_y) [5]_. Parameters as `cross_entropy`."""
    target = check_labels(logits, labels, ignore_index)
    value = -2 * torch.expm1(-_surprise(logits, target))
    return _mean(value, logits, target, class_weights)


def focal(logits, labels, *, gamma=2.0, class_weights=None, ignore_index=None):
    """Mean of -(1 - p_y)^gamma log p_y [6]_: looks at hard pixels, noisy ones included.

    Parameters as `cross_entropy`; `gamma` is 0 or at least 1 (between, the gradient of
    a sure answer has no limit).
    """
    if gamma != 0:
        check_between("gamma", gamma, 1.0)
    target = check_labels(logits, labels, ignore_index)
    surprise = _surprise(logits, target)
    value = (-torch.expm1(-surprise)) ** gamma * surprise
    return _mean(value, logits, target, class_weights)


def smoothed_cross_entropy(
    logits, labels, *, smoothing=0.1, class_weights=None, ignore_index=None
):
    """Cross-entropy to (1 - s) one-hot + s / C, s = `smoothing` [7]_.

    Parameters as `cross_entropy`; a weight belongs to a pixel's label.
    """
    check_between("smoothing", smoothing, 0.0, 1.0)
    target = check_labels(logits, labels, ignore_index)
    value = F.cross_entropy(
        _precise(logits), target, reduction="none", label_smoothing=smoothing
    )
    return _mean(value, logits, target, class_weights)


class _BetaCrossEntropy(torch.autograd.Function):
    """Beta-cross-entropy of every pixel, (B, ...), in as few passes as possible.

    With S = sum_k p_k^(b + 1) the gradient is p_j^(b + 1) + p_j (p_y^b - S) at logit j,
    less p_y^b at the label's; p^b is taken as exp(b log p), 1 - p^b as -expm1, which
    stay exact in float32 however small b is. Image by image, the numbers stay in the
    processor's cache.
    """

    @staticmethod
    def forward(ctx, logits, target, beta, min_prob):
        value = torch.empty_like(target, dtype=logits.dtype)
        gradient = torch.empty_like(logits)
        step = max(len(logits), 1) if logits.is_cuda else 1
        for at in range(0, len(logits), step):
            part = slice(at, at + step)
            value[part], gradient[part] = _beta_part(
                logits[part], target[part], beta, min_prob
            )
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx, outer):
        (gradient,) = ctx.saved_tensors
        return gradient * outer.unsqueeze(1), None, None, None


def _beta_part(logits, target, beta, min_prob):
    """Value (B, ...) and gradient (B, C, ...) of beta-cross-entropy per pixel."""
    index = target.unsqueeze(1)
    log_p = logits.log_softmax(1)
    if min_prob > 0:
        held = log_p < math.log(min_prob)
        log_p.masked_fill_(held, math.log(min_prob))
    log_p_y = log_p.gather(1, index)
    power = (log_p * (beta + 1)).exp_()  # p^(b + 1)
    total = power.sum(1, keepdim=True)
    first = -torch.expm1(beta * log_p_y) / beta if beta else -log_p_y
    value = first + (total - 1) / (beta + 1)
    pull = (beta * log_p_y).exp_()  # p_y^b
    if min_prob > 0:
        return value.squeeze(1), _held_gradient(logits, index, power, pull, held)
    gradient = power.addcmul_(log_p.exp_(), pull - total)
    gradient.scatter_add_(1, index, -pull)
    return value.squeeze(1), gradient


def _held_gradient(logits, index, power, pull, held):
    """The gradient when the classes in `held`, bool (B, C, ...), are constants."""
    inner = power.masked_fill(held, 0)  # by log p_k
    inner.scatter_add_(1, index, -pull.masked_fill(held.gather(1, index), 0))
    return inner - logits.softmax(1) * inner.sum(1, keepdim=True)


def _precise(logits):
    """Logits in float32 at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _surprise(logits, target):
    """-log p_y of every pixel, (B, ...); 0 where a pixel does not count."""
    return F.cross_entropy(_precise(logits), target, reduction="none")


def _mean(values, logits, target, class_weights):
    """Mean of the values (B, ...) over pixels that count, weighted by their class."""
    weight = target >= 0
    if class_weights is not None:
        of_class = class_weight_tensor(class_weights, logits)
        weight = of_class[target.clamp(min=0)].where(weight, 0)
    total = weight.sum()
    if total == 0:
        return zero_of(logits)
    if class_weights is None and total == weight.numel():
        return values.mean()
    return (weight * values).sum() / total


def zero_of(logits):
    """0 with a gradient of zeros for `logits`, however extreme they are."""
    return logits.flatten()[:0].sum()
