"""What a loss is measured against: checked labels, and weights of the classes."""

import torch


def check_labels(logits, labels, ignore_index):
    """Labels as int64 (B, ...), and which of them count, bool (B, ...).

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
    target, n_classes = labels.long(), logits.shape[1]
    if ignore_index is None:
        kept = torch.ones_like(target, dtype=torch.bool)
    else:
        kept = target != ignore_index
    wrong = kept & ((target < 0) | (target >= n_classes))
    if wrong.any():
        raise ValueError(
            f"labels must be 0 to {n_classes - 1}, got {int(target[wrong][0])}; set "
            "ignore_index if these pixels have no label"
        )
    return target, kept


def one_hot(target, kept, n_classes):
    """Masks of the classes, bool (B, C, ...), empty where a pixel does not count."""
    classes = torch.arange(n_classes, device=target.device)
    classes = classes.reshape(-1, *[1] * (target.ndim - 1))
    return (target.unsqueeze(1) == classes) & kept.unsqueeze(1)


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


def check_between(name, value, low, high=float("inf"), remedy="change the arm"):
    """Refuse a number outside [low, high]."""
    if not low <= value <= high:
        rule = f"at least {low}" if high == float("inf") else f"from {low} to {high}"
        raise ValueError(f"{name} must be {rule}, got {value}; {remedy}")
