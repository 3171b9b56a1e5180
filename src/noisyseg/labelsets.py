"""Losses for labels that name a set of classes instead of one.

Data sets that each annotate one task say less than a class: "not a lesion" means the
background or any of the tissues. A label is here a number of `sets`, which lists for
every label the classes that it can mean; a label of one class is an ordinary one.

Conventions as in `pixelwise`: logits float (B, C, ...), labels integers (B, ...),
softmax inside, pixels labelled `ignore_index` count nowhere.

References
----------
.. [1] Roulet, Fernandez Slezak, Ferrante 2019, Joint Learning of Brain Lesion and
   Anatomy Segmentation from Heterogeneous Datasets, MIDL, PMLR 102:401: adaptive
   cross-entropy, equation (4).
.. [2] Fidon et al. 2021, Label-set Loss Functions for Partial Supervision, MICCAI,
   arXiv 2107.03846: marginal and leaf Dice.
.. [3] Isensee et al. 2021, nnU-Net, Nature Methods 18, and its documentation of the
   ignore label.
"""

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from noisyseg.targets import IGNORED


def label_set_cross_entropy(logits, labels, *, sets, ignore_index=None):
    """Mean of -log of the summed probability of the classes that a label can mean.

    logsumexp(z) - logsumexp(z[S]) for the logits z of a pixel and the set S of its
    label: adaptive cross-entropy [1]_ where S is the background and all anatomy for
    "not a lesion", cross-entropy where S is one class.

    Parameters
    ----------
    logits : float tensor of shape (B, C, ...)
    labels : integer tensor of shape (B, ...)
        Numbers of `sets`.
    sets : sequence of sequences of int
        Label to classes.
    ignore_index : int, optional
        Label of pixels that do not count.

    Raises
    ------
    ValueError
        If a set is empty or names a class that there is not, a label has no set, or
        shapes do not fit.
    """
    member = membership(sets, logits.shape[1])
    check_fit(logits, labels)
    total, count = _LabelSet.apply(_precise(logits), labels, member, ignore_index)
    return total / count.clamp(min=1)


def patch_literal_cross_entropy(logits, labels, *, sets, ignore_index=None):
    """Equation (4) of [1]_ by its letter, for comparison only.

    There the set of "not a lesion" holds "the classes not present in the patch": not
    the background, which is present, but every lesion that the patch lacks.

    Parameters
    ----------
    logits, labels, sets, ignore_index
        As `label_set_cross_entropy`; each image of the batch is a patch. Class 0 is the
        background. Where a patch lacks no class, a set means all of them.
    """
    member = membership(sets, logits.shape[1])
    target = check_set_labels(logits, labels, len(sets), ignore_index)
    parts = [
        _LabelSet.apply(image, label, _by_the_letter(member, label), IGNORED)
        for image, label in zip(_precise(logits).split(1), target.split(1), strict=True)
    ]
    totals, counts = zip(*parts, strict=True)
    return sum(totals) / sum(counts).clamp(min=1)


def _by_the_letter(member, labels):
    """The table of one patch, whose sets hold what the patch lacks."""
    several = member.sum(1) > 1
    seen = labels.unique().cpu()
    seen = seen[seen != IGNORED]
    present = member[seen[~several[seen]]].any(0)
    present[0] = True
    absent = ~present if not present.all() else torch.ones_like(present)
    return torch.where(several[:, None], absent, member)


def ignoring_cross_entropy(logits, labels, *, sets, ignore_index=None):
    """Cross-entropy of the pixels that have one class; the others teach nothing [3]_.

    Parameters
    ----------
    logits, labels, sets, ignore_index
        As `label_set_cross_entropy`.
    """
    target = single_classes(logits, labels, sets, ignore_index)
    values = F.cross_entropy(_precise(logits), target, reduction="none")
    return _mean(values, target)


def marginal_dice(logits, labels, *, sets, ignore_index=None, smooth=1e-5):
    """Soft Dice after a label's probability is spread evenly over its set [2]_.

    In a pixel whose label can mean the classes S, each of them has the mean
    probability of S, and the target 1 / |S|.

    Parameters
    ----------
    logits, labels, sets, ignore_index
        As `label_set_cross_entropy`.
    smooth : float
        Added below the line.
    """
    member = membership(sets, logits.shape[1]).to(logits.device)
    target = check_set_labels(logits, labels, len(sets), ignore_index)
    counts = (target != IGNORED).unsqueeze(1)
    inside = _spread(member, target).to(torch.float32) * counts
    share = inside / inside.sum(1, keepdim=True).clamp(min=1)
    prob = _precise(logits).softmax(1) * counts
    even = (prob * inside).sum(1, keepdim=True) * share
    return _dice(torch.where(inside > 0, even, prob), share, smooth)


def leaf_dice(logits, labels, *, sets, ignore_index=None, smooth=1e-5):
    """Soft Dice of the classes, none of them expected where a label is a set [2]_.

    Parameters
    ----------
    logits, labels, sets, ignore_index
        As `label_set_cross_entropy`.
    smooth : float
        Added below the line.
    """
    target = single_classes(logits, labels, sets, ignore_index)
    counts = check_set_labels(logits, labels, len(sets), ignore_index) != IGNORED
    classes = torch.arange(logits.shape[1], device=logits.device)
    classes = classes.reshape(-1, *[1] * (target.ndim - 1))
    truth = (target.unsqueeze(1) == classes).to(torch.float32)
    prob = _precise(logits).softmax(1) * counts.unsqueeze(1)
    return _dice(prob, truth, smooth)


def membership(sets, n_classes):
    """Which classes each label can mean, bool (labels, C).

    Raises
    ------
    ValueError
        If a set is empty or names a class that there is not.
    """
    table = torch.zeros(len(sets), n_classes, dtype=torch.bool)
    for label, classes in enumerate(sets):
        if not classes or not all(0 <= c < n_classes for c in classes):
            raise ValueError(
                f"sets must give label {label} some of the classes 0 to "
                f"{n_classes - 1}, got {list(classes)}; correct the label-set table"
            )
        table[label, list(classes)] = True
    return table


def check_fit(logits, labels):
    """Refuse labels (B, ...) that do not fit logits (B, C, ...) or are no integers."""
    if labels.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            "labels must be (B, ...) for logits (B, C, ...), got "
            f"{tuple(labels.shape)} for {tuple(logits.shape)}; give one label per pixel"
        )
    if labels.dtype.is_floating_point or labels.dtype == torch.bool:
        raise TypeError(f"labels must be integers, got {labels.dtype}; convert them")


def check_set_labels(logits, labels, n_labels, ignore_index):
    """Labels as int64 (B, ...), `IGNORED` where a pixel does not count.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit, labels are no integers, or one has no set.
    """
    check_fit(logits, labels)
    target = kept = labels.long()
    if ignore_index is not None:
        ignored = target == ignore_index
        target, kept = (target.masked_fill(ignored, v) for v in (IGNORED, 0))
    if kept.numel():
        for label in map(int, kept.aminmax()):
            if not 0 <= label < n_labels:
                raise ValueError(
                    f"labels must be 0 to {n_labels - 1}, got {label}; add it to the "
                    "label-set table"
                )
    return target


def single_classes(logits, labels, sets, ignore_index):
    """The class of every pixel that has one, `IGNORED` elsewhere, int64 (B, ...)."""
    membership(sets, logits.shape[1])
    target = check_set_labels(logits, labels, len(sets), ignore_index)
    classes = [c[0] if len(c) == 1 else IGNORED for c in map(list, sets)]
    lookup = torch.tensor([*classes, IGNORED], device=labels.device)
    return lookup[target.masked_fill(target == IGNORED, len(classes))]


class _LabelSet(torch.autograd.Function):
    """Summed loss of the pixels that count, and how many these are.

    The gradient at logit j is p_j - p_j [j in S] / p(S). Masks are numbers, 0 or 1, as
    processors are slow with truth values. What is done for a label leaves the pixels of
    all others as they are, so that each finds the softmax in its own.
    """

    @staticmethod
    def forward(ctx, logits, labels, member, ignore_index):
        prob = torch.empty_like(logits, memory_format=torch.contiguous_format)
        torch.softmax(logits, 1, out=prob)  # and label by label the gradient
        target = labels.to(logits.dtype)
        here, inside = (
            torch.empty_like(target),
            torch.zeros_like(target),
        )  # inside: p(S)
        one = target.new_ones(())
        if ignore_index is not None:
            torch.eq(target, ignore_index, out=inside)
            prob *= (one - inside).unsqueeze(1)
        count = labels.numel() - inside.sum()
        for label in set(range(len(member))) - {ignore_index}:
            first, *others = member[label].nonzero()[:, 0].tolist()
            torch.eq(target, label, out=here)
            if not others:
                inside.addcmul_(here, prob[:, first])
                prob[:, first] -= here
                continue
            summed = sum((prob[:, c] for c in others), prob[:, first])
            summed.clamp_(min=_LEAST)
            inside.addcmul_(here, summed)
            left = torch.addcdiv(one, here, summed, value=-1)  # 1 - [here] / p(S)
            for c in (first, *others):
                prob[:, c] *= left
        value = inside.clamp_(min=_LEAST).log_().neg_()
        if value.numel() and value.max() >= _FAR:
            check_set_labels(logits, labels, len(member), ignore_index)
            _repair(logits, labels, member, value, prob)
        ctx.save_for_backward(prob)
        ctx.mark_non_differentiable(count)
        return value.sum(), count

    @staticmethod
    @once_differentiable
    def backward(ctx, outer, _):
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None, None, None


_LEAST, _FAR = 1e-30, 60.0  # below e^-60 a sum needs logarithms, in float32


def _repair(logits, labels, member, value, gradient):
    """Loss and gradient made exact where a set is next to impossible."""
    image, *pixel = torch.nonzero(value >= _FAR, as_tuple=True)
    rows = logits[image, :, *pixel]
    allowed = member.to(logits.device)[labels[image, *pixel].long()]
    inside = rows.masked_fill(~allowed, -torch.inf)
    value[image, *pixel] = rows.logsumexp(1) - inside.logsumexp(1)
    gradient[image, :, *pixel] = rows.softmax(1) - inside.softmax(1)


def _spread(member, target):
    """Whether each class is in the set of each pixel's label, bool (B, C, ...)."""
    known = target.masked_fill(target == IGNORED, 0)
    return member[known].movedim(-1, 1)


def _precise(logits):
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _mean(values, target):
    """Mean over the pixels that count; 0 with a gradient of zeros without any."""
    return values.sum() / (target != IGNORED).sum().clamp(min=1)


def _dice(prob, truth, smooth):
    """1 - 2 sum(p g) / (sum(p^2) + sum(g^2) + smooth), mean over classes."""
    axes = [0, *range(2, prob.ndim)]
    overlap = (prob * truth).sum(axes)
    total = prob.square().sum(axes) + truth.square().sum(axes)
    return (1 - 2 * overlap / (total + smooth)).mean()
