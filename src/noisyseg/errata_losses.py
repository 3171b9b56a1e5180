"""Numbers that answer claims about loss functions: formulas as printed, against ours.

A push is the negative gradient of a loss at a logit: descent raises what it is above 0.

References
----------
.. [1] Akrami, Cui, Joshi, Leahy 2022, equation (1): the beta-cross-entropy.
.. [2] Roulet, Fernandez Slezak, Ferrante 2019, equation (4): adaptive cross-entropy.
"""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from noisyseg import losses
from noisyseg.labelsets import label_set_cross_entropy, patch_literal_cross_entropy
from noisyseg.pixelwise import beta_cross_entropy, cross_entropy

SETS = ((0,), (1,), (2,), (3,), (4,), (0, 1, 2, 3))  # 4 is the lesion, 5 "no lesion"
BACKGROUND, WM, LESION, NO_LESION = 0, 3, 4, 5
PROB = (0.1, 0.2, 0.15, 0.25, 0.3)  # background, CSF, GM, WM, lesion
SURE, EVEN = (0.7, 0.2, 0.1), (1 / 3, 1 / 3, 1 / 3)
BETA = 1e-4  # the paper's choice


def _draw(shape, scale):
    """Logits (B, C, ...) of that SD, float64, and labels, both at random but fixed."""
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(scale * rng.standard_normal(shape))
    return logits, torch.from_numpy(rng.integers(shape[1], size=shape[:1] + shape[2:]))


def _gradient(loss, logits, labels):
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(logits, labels), logits)[0]


def _gap(loss, shape, scale):
    """How far a loss's gradient is from cross-entropy's, relative to that."""
    logits, labels = _draw(shape, scale)
    plain = _gradient(cross_entropy, logits, labels)
    return float((_gradient(loss, logits, labels) - plain).norm() / plain.norm())


def beta_limit_gap():
    """Gap of gradients, relative: beta-cross-entropy at 1e-6 to cross-entropy."""
    return _gap(partial(beta_cross_entropy, beta=1e-6), (1000, 9), 3)


def beta_1e4_gap_to_ce():
    """Gap of gradients, relative: beta-cross-entropy at 1e-4 to cross-entropy."""
    return _gap(partial(beta_cross_entropy, beta=BETA), (1000, 9), 3)


def clamp_gap_to_ce():
    """What the clamp of p at 1e-7 adds to that gap, under logits of SD 6."""
    free, clamped = (
        _gap(partial(beta_cross_entropy, beta=BETA, min_prob=least), (1000, 9), 6)
        for least in (0.0, 1e-7)
    )
    return clamped - free


def half_dice_share():
    """Gradient of half soft Dice, relative to that of half cross-entropy."""
    logits, labels = _draw((2, 9, 16, 16), 3)
    half = _gradient(cross_entropy, logits, labels) / 2
    both = _gradient(losses.build("cross_entropy", dice=0.5), logits, labels)
    return float((both - half).norm() / half.norm())


def _loss_of(loss, prob, label):
    """A loss of one pixel, of its classes' probabilities and its label."""
    logits = torch.tensor([prob], dtype=torch.float64).log()
    return float(loss(logits, torch.tensor([label])))


def beta_divergence_gap():
    """(b + 1) excess expected beta-cross-entropy less the divergence, b = 0.7."""
    beta = 0.7
    loss = partial(beta_cross_entropy, beta=beta)
    excess = sum(
        share * (_loss_of(loss, EVEN, label) - _loss_of(loss, SURE, label))
        for label, share in enumerate(SURE)
    )
    divergence = _beta_divergence(np.array(SURE), np.array(EVEN), beta)
    return float((beta + 1) * excess - divergence)


def divergence_limit_gap():
    """Beta-divergence at b = 1e-6 less the KL divergence."""
    beta, q, p = 1e-6, np.array(SURE), np.array(EVEN)
    return float(_beta_divergence(q, p, beta) - (q * np.log(q / p)).sum())


def _beta_divergence(q, p, beta):
    """Density power divergence of p from q (Basu et al. 1998)."""
    terms = p ** (beta + 1) - (beta + 1) / beta * q * p**beta + q ** (beta + 1) / beta
    return terms.sum()


def _first_term_printed(prob):
    """First term of equation (1) of [1]_: the exponent stands at 1 - p, not at p."""
    return (BETA + 1) / BETA * (1 - prob) ** BETA


def equation_1_gap_to_ce():
    """Gap in what a believed label costs less than another: (1) to cross-entropy."""
    printed = _first_term_printed(SURE[0]) - _first_term_printed(SURE[2])
    plain = _loss_of(cross_entropy, SURE, 0) - _loss_of(cross_entropy, SURE, 2)
    return abs(printed - plain)  # the second term of (1) is the same for all labels


def equation_1_pull():
    """Log of the pull of a believed label (p = .9) over that of another (p = .1)."""
    prob = torch.tensor([0.9, 0.1], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(_first_term_printed(prob).sum(), prob)
    return float((slope[0] / slope[1]).log())


def ace_less_cross_entropy():
    """Largest gap of gradients, adaptive to plain cross-entropy, of single classes."""
    logits, labels = _draw((2, 5, 6, 7), 3)
    ours = _gradient(partial(label_set_cross_entropy, sets=SETS), logits, labels)
    return float((ours - _gradient(F.cross_entropy, logits, labels)).abs().max())


def _pushes(label, loss=label_set_cross_entropy):
    """Pushes on the five classes in a patch of one voxel, believed to be `PROB`."""
    logits = torch.tensor(PROB, dtype=torch.float64).log().reshape(1, 5, 1)
    gradient = _gradient(partial(loss, sets=SETS), logits, torch.tensor([[label]]))
    return [float(-slope) for slope in gradient.flatten()]


def ace_least_push_on_no_lesion():
    """Least push of adaptive cross-entropy on the classes that "no lesion" can mean."""
    return min(_pushes(NO_LESION)[:LESION])


def ace_push_on_lesion():
    """Push of adaptive cross-entropy on the lesion where the label is "no lesion"."""
    return _pushes(NO_LESION)[LESION]


def tissue_push_on_lesion():
    """Push of adaptive cross-entropy on the lesion where the label is WM."""
    return _pushes(WM)[LESION]


def literal_push_on_lesion():
    """Push on the lesion by the letter of equation (4), in a patch without lesion."""
    return _pushes(NO_LESION, patch_literal_cross_entropy)[LESION]


def literal_push_on_background():
    """Push on the background by the letter of equation (4), in the same patch."""
    return _pushes(NO_LESION, patch_literal_cross_entropy)[BACKGROUND]


def literal_push_on_absent_tumour():
    """Push on the tumour by the letter of (4), in a voxel beside one of oedema."""
    sets = [[c] for c in range(6)] + [[0, 1, 2, 3]]  # 4 oedema, 5 tumour, 6 neither
    loss = partial(patch_literal_cross_entropy, sets=sets)
    logits = torch.zeros(1, 6, 2, dtype=torch.float64)
    return float(-_gradient(loss, logits, torch.tensor([[4, 6]]))[0, 5, 1])


OF_LOSSES = (
    beta_limit_gap,
    beta_1e4_gap_to_ce,
    clamp_gap_to_ce,
    half_dice_share,
    beta_divergence_gap,
    divergence_limit_gap,
    equation_1_gap_to_ce,
    equation_1_pull,
    ace_less_cross_entropy,
    ace_least_push_on_no_lesion,
    ace_push_on_lesion,
    tissue_push_on_lesion,
    literal_push_on_lesion,
    literal_push_on_background,
    literal_push_on_absent_tumour,
)
