"""What a loss is measured against: checked labels, and weights of the classes."""

import math

import torch

IGNORED = -100  # what a label becomes that does not count; PyTorch's own sign


def check_labels(logits, labels, ignore_index):
    """Labels as int64 (B, ...), `IGNORED` where a pixel does not count.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit, a label is no class, or `ignore_index` is no integer.
    """
    if labels.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            "labels must be (B, ...) for logits (B, C, ...), got "
            f"{tuple(labels.shape)} for {tuple(logits.shape)}; give one label per pixel"
        )
    if labels.dtype.is_floating_point or labels.dtype == torch.bool:
        raise TypeError(f"labels must be integers, got {labels.dtype}; convert them")
    if not isinstance(ignore_index, int | None):
        raise TypeError(
            f"ignore_index must be an integer, got {ignore_index!r}; fix it"
        )
    target, n_classes = labels.long(), logits.shape[1]
    classes = target
    if ignore_index is not None:
        ignored = target == ignore_index
        target, classes = (target.masked_fill(ignored, v) for v in (IGNORED, 0))
    if classes.numel():
        for label in map(int, classes.aminmax()):
            if not 0 <= label < n_classes:
                raise ValueError(
                    f"labels must be 0 to {n_classes - 1}, got {label}; set "
                    "ignore_index if these pixels have no label"
                )
    return target


def one_hot(target, n_classes):
    """Masks of the classes, bool (B, C, ...), empty where a pixel does not count."""
    classes = torch.arange(n_classes, device=target.device)
    classes = classes.reshape(-1, *[1] * (target.ndim - 1))
    return target.unsqueeze(1) == classes


def class_weight_tensor(class_weights, logits):
    """Class weights as a float32 tensor (C,) beside the logits; ones without any."""
    if class_weights is None:
        return torch.ones(logits.shape[1], device=logits.device)
    weight = torch.as_tensor(class_weights, dtype=torch.float32, device=logits.device)
    if weight.shape != logits.shape[1:2] or not (weight >= 0).all():
        raise ValueError(
            f"class_weights must be {logits.shape[1]} numbers >= 0, "
            f"got {class_weights}; give one per class, background first"
        )
    return weight


def check_between(name, value, low, high=math.inf):
    """Refuse a number outside [low, high], and infinity."""
    if not low <= value <= high or value == math.inf:
        rule = f"from {low} to {high}" if high < math.inf else f"at least {low}, finite"
        raise ValueError(f"{name} must be {rule}, got {value}; change the arm")
