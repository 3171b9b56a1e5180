"""Losses by name: the logits of a batch and its labels in, a scalar out.

Logits are float (B, C, ...), labels integers (B, ...) of the same size; the class axis
is always 1 and softmax is always inside. Pixels labelled `ignore_index` count nowhere;
a batch without any other pixel has the loss 0, with a gradient of zeros.
"""

from functools import partial
from inspect import getmodule, isclass, signature

import torch
from torch import nn

from noisyseg.choices import check_choice
from noisyseg.labelsets import (
    ignoring_cross_entropy,
    label_set_cross_entropy,
    leaf_dice,
    marginal_dice,
    patch_literal_cross_entropy,
)
from noisyseg.overlap import TLoss, noise_robust_dice, soft_dice
from noisyseg.pixelwise import (
    beta_cross_entropy,
    cross_entropy,
    focal,
    generalised_cross_entropy,
    hybrid_cross_entropy,
    mean_absolute_error,
    smoothed_cross_entropy,
    symmetric_cross_entropy,
)

LOSSES = {
    "cross_entropy": cross_entropy,
    "beta_cross_entropy": beta_cross_entropy,
    "hybrid_cross_entropy": hybrid_cross_entropy,
    "generalised_cross_entropy": generalised_cross_entropy,
    "symmetric_cross_entropy": symmetric_cross_entropy,
    "mean_absolute_error": mean_absolute_error,
    "focal": focal,
    "smoothed_cross_entropy": smoothed_cross_entropy,
    "soft_dice": soft_dice,
    "noise_robust_dice": noise_robust_dice,
    "t_loss": TLoss,
}
OF_SETS = {  # labels are numbers of sets of classes
    "label_set_cross_entropy": label_set_cross_entropy,
    "patch_literal_cross_entropy": patch_literal_cross_entropy,
    "ignoring_cross_entropy": ignoring_cross_entropy,
    "marginal_dice": marginal_dice,
    "leaf_dice": leaf_dice,
}


def build(name, *, dice=0.0, sets=None, ignore_index=None, **settings):
    """Loss of an arm: (1 - dice) * `name` + dice * soft Dice.

    Parameters
    ----------
    name : str
        A key of ``LOSSES``, or of ``OF_SETS``.
    dice : float in [0, 1]
        Share of soft Dice; 0.5 is TransUNet's recipe. Marginal Dice for a loss of sets.
    sets : sequence of sequences of int, optional
        For a loss of sets: the classes that each label can mean.
    ignore_index : int, optional
        Label of pixels that do not count.
    **settings
        The loss's own settings, as in a row of params.yaml.

    Returns
    -------
    callable (logits, labels) -> scalar tensor; a Module if it learns something itself

    Raises
    ------
    ValueError
        If no loss or no setting has that name, one is missing, or `dice` is no share.

    Examples
    --------
    >>> import torch
    >>> loss = build("cross_entropy", dice=0.5)
    >>> logits = torch.zeros(1, 2, 4, 4)  # p = 0.5 everywhere
    >>> labels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    >>> round(float(loss(logits, labels)), 4)  # 0.5 ln 2 + 0.5 (1 - 0.8 + 1) / 2
    0.6466
    """
    known = LOSSES | OF_SETS
    check_choice("loss", name, known)
    about = {"sets": sets, "ignore_index": ignore_index}
    about = {key: value for key, value in about.items() if value is not None}
    settings |= about
    check_settings(name, settings)
    if not 0 <= dice <= 1:
        raise ValueError(
            f"dice must be a share from 0 to 1, got {dice}; change the arm"
        )
    make = known[name]
    main = make(**settings) if isclass(make) else partial(make, **settings)
    if dice == 0:
        return main
    overlap = marginal_dice if name in OF_SETS else soft_dice
    return Mixture(main, partial(overlap, **about), dice)


def check(where, row, n_classes, sets=None):
    """Try a loss on two pixels, so that a wrong row of params.yaml costs no training.

    Raises
    ------
    ValueError
        Beginning with `where`.
    """
    logits, labels = torch.zeros(1, n_classes, 2), torch.zeros(1, 2, dtype=torch.long)
    try:
        build(**row, sets=sets)(logits, labels)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def check_settings(name, settings):
    """Refuse a setting that a loss does not know, and the lack of one it needs."""
    known = {
        key: value.default
        for key, value in signature((LOSSES | OF_SETS)[name]).parameters.items()
        if value.kind is value.KEYWORD_ONLY
    }
    for key in settings:
        check_choice(f"setting of {name}", key, known)
    for key, default in known.items():
        if default is signature(build).empty and key not in settings:
            raise ValueError(f"{name} must have a {key}, got none; add it to the arm")


def modules_of(loss):
    """The modules in which a loss of `build` is written, a set."""
    if isinstance(loss, Mixture):
        return modules_of(loss.first) | modules_of(loss.second)
    return {getmodule(getattr(loss, "func", loss))}


class Mixture(nn.Module):
    """(1 - share) of one loss and `share` of another."""

    def __init__(self, first, second, share):
        super().__init__()
        self.first, self.second, self.share = first, second, share

    def forward(self, logits, labels):
        """Loss, scalar, of logits (B, C, ...) and labels (B, ...)."""
        first, second = self.first(logits, labels), self.second(logits, labels)
        return (1 - self.share) * first + self.share * second
