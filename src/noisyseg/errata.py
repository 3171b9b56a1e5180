"""Numbers that only a formula, a small example or a count can show, for the ledger.

Each function is one number that a row of ``claims.yaml`` names by ``computed``, where
no table of ``reports/`` holds the answer. What is drawn at random is drawn anew from
one seed. Numbers about losses and about noise stand in `errata_losses` and
`errata_noise`.

References
----------
.. [1] Akrami, Cui, Joshi, Leahy 2022, and its code, github.com/ajoshiusc/brainseg.
.. [2] Kruse, Hansen, Heinrich 2021.
"""

import numpy as np
import torch
from torch import nn

from noisyseg import deeplab, evaluation, fusion, mind, reporting
from noisyseg.batches import Plan
from noisyseg.errata_losses import OF_LOSSES
from noisyseg.errata_noise import OF_NOISE
from noisyseg.settings import TrainingSettings

# ---- how [1] scores and trains


def _slice_score(pred, truth):
    """Score of a slice by the function of [1]_, which was written for this order."""
    if pred.any() and truth.any():
        return evaluation.dice(truth, pred)
    return 1.0 if pred.any() else np.nan


def _excess_over_dice(truth, pred):
    """Mean score over slices as [1]_ calls it, truth first, less the volumes' Dice."""
    scores = [_slice_score(t, p) for t, p in zip(truth, pred, strict=True)]
    return float(np.nanmean(scores)) - evaluation.dice(truth, pred)


def _block(slices):
    """Eight slices, a square in some of them."""
    mask = np.zeros((8, 6, 6), bool)
    mask[slices, 2:4, 2:4] = True
    return mask


def missed_structure_score():
    """What the authors' evaluation adds to Dice where a structure is missed."""
    return _excess_over_dice(_block(slice(4)), _block(slice(0)))


def false_structure_score():
    """What it adds to Dice where as much again is found in slices without any."""
    return _excess_over_dice(_block(slice(4)), _block(slice(8)))


def rate_left_at_epoch_10():
    """Share of the learning rate that is left after 11 of 150 epochs."""
    settings = TrainingSettings(epochs=150, batch_size=1, power=0.9)
    plan = Plan(settings, n_slices=1)
    return plan.learning_rate(11) / plan.learning_rate(0)


# ---- what papers print


def _printed(study, arm):
    """Printed Dice of an arm by structure."""
    rows = reporting.published(study)
    rows = rows[(rows["arm"] == arm) & (rows["metric"] == "dice")]
    return rows.set_index("structure")["value"]


def printed_classes_over_software():
    """Classes in which the network of T1+T2 labels is above the T1-only software."""
    return int((_printed("sgl", "t1t2") > _printed("sgl", "software t1")).sum())


def mean_of_printed_structures():
    """Mean of the printed Dice of cochlea and schwannoma."""
    return float(_printed("mind", "noisy")[["cochlea", "schwannoma"]].mean())


# ---- descriptors, networks and fusion of [2]


def descriptor_versions_apart():
    """Mean absolute difference of two public versions of MIND, on noise."""
    noise = torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(0))
    box = mind.mind_ssc(noise, radius=1, dilation=2, patch="box")
    gaussian = mind.mind_ssc(noise, radius=1, dilation=1, patch="gaussian")
    return float((box - gaussian).abs().mean())


def normalised_branch_fails():
    """1 if DeepLab's branch of the whole image takes batches of two, not of one."""
    branch = deeplab.convolve(64, 128, 1, act=nn.ReLU).train()
    branch(torch.zeros(2, 64, 1, 1, 1))
    try:
        branch(torch.zeros(1, 64, 1, 1, 1))
    except ValueError:
        return 1
    return 0


def staple_grows_with_domain():
    """Voxels that STAPLE finds in a wide surrounding less those in none."""
    steps = (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)
    raters = np.zeros((len(steps), 24, 24, 24), np.uint8)
    for rater, step in zip(raters, steps, strict=True):
        rater[tuple(slice(10 + s, 14 + s) for s in step)] = 1
    wide, none = (
        np.count_nonzero(fusion.staple(raters, n_classes=2, margin_vox=margin)[0])
        for margin in (9, 0)
    )
    return int(wide - none)


OTHERS = (
    missed_structure_score,
    false_structure_score,
    rate_left_at_epoch_10,
    printed_classes_over_software,
    mean_of_printed_structures,
    descriptor_versions_apart,
    normalised_branch_fails,
    staple_grows_with_domain,
)
COMPUTED = {
    function.__name__: function for function in (*OF_LOSSES, *OF_NOISE, *OTHERS)
}
