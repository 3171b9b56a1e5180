import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

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

PROB = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
ONE = PROB.log().reshape(1, 3, 1)  # one pixel
TWO = ONE.repeat(1, 1, 2)
FREE = TWO.clone().requires_grad_()
LABELS = torch.tensor([[0, 2]])
FORM_B = [  # methods.md b.1: beta, value for label 0, for label 2
    (1e-4, 1.356488, 3.302140),
    (0.01, 1.338256, 3.258494),
    (0.1, 1.191456, 2.897785),
    (0.7, 0.686292, 1.514192),
    (1, 0.57, 1.17),
]


@pytest.fixture
def batch(rng):
    """Float64; among four classes a pixel's label has p = 0.8 to 0.0001."""
    logits = torch.tensor(2 * rng.standard_normal((2, 4, 5, 6)))
    return logits.requires_grad_(), torch.tensor(rng.integers(0, 4, (2, 5, 6)))


def pull(loss, logits, labels, **settings):
    """Gradient (B, C, ...) of the sum of the pixels' losses."""
    value = loss(logits, labels, **settings) * labels.numel()
    return torch.autograd.grad(value, logits)[0]


def label_prob(logits, labels):
    return logits.softmax(1).gather(1, labels.unsqueeze(1)).detach()


# --- cross-entropy ---


def test_cross_entropy_by_hand():
    value = cross_entropy(TWO, LABELS)
    assert value.item() == pytest.approx((-np.log(0.7) - np.log(0.1)) / 2)


def test_class_weights_make_a_weighted_mean():
    value = cross_entropy(TWO, LABELS, class_weights=[1, 1, 3])
    assert value.item() == pytest.approx((-np.log(0.7) - 3 * np.log(0.1)) / 4)


def test_cross_entropy_equals_torch(batch):
    logits, labels = batch
    labels[0, 0] = 255
    weight = torch.tensor([1, 2, 0, 0.5], dtype=torch.float64)
    value = cross_entropy(logits, labels, class_weights=weight, ignore_index=255)
    reference = F.cross_entropy(logits, labels, weight, ignore_index=255)
    torch.testing.assert_close(value, reference, rtol=1e-12, atol=0)


# --- beta-cross-entropy: its value ---


@pytest.mark.parametrize("beta, right, wrong", FORM_B)
@pytest.mark.parametrize("dtype, bound", [(torch.float64, 1e-6), (torch.float32, 5e-6)])
def test_beta_cross_entropy_has_the_known_values(beta, right, wrong, dtype, bound):
    """Form (B) less the 1 / (beta + 1) that it gives a sure and right answer."""
    for label, known in (0, right), (2, wrong):
        value = beta_cross_entropy(ONE.to(dtype), torch.tensor([[label]]), beta=beta)
        assert value.dtype == dtype
        assert value.item() == pytest.approx(known - 1 / (beta + 1), abs=bound)


def test_sure_and_right_answer_costs_nothing():
    logits = torch.tensor([100.0, 0, 0]).reshape(1, 3, 1)
    for beta in 1e-4, 0.3, 1:
        assert beta_cross_entropy(logits, torch.tensor([[0]]), beta=beta).item() == 0


def test_beta_of_zero_is_cross_entropy(batch):
    logits, labels = batch
    value = beta_cross_entropy(logits, labels, beta=0)
    assert torch.equal(value, cross_entropy(logits, labels))
    reference = F.cross_entropy(logits, labels)
    torch.testing.assert_close(value, reference, rtol=1e-14, atol=0)


def test_beta_of_one_is_half_the_brier_score(batch):
    logits, labels = batch
    error = logits.softmax(1) - F.one_hot(labels, 4).movedim(-1, 1)
    value = beta_cross_entropy(logits, labels, beta=1)
    torch.testing.assert_close(value, error.square().sum(1).mean() / 2)


@pytest.mark.parametrize("beta", [0.01, 0.3, 1, 2])
def test_beta_cross_entropy_is_the_density_power_divergence(batch, beta):
    """Basu 1998 for a one-hot label, over b + 1: sum f^(1+b) - (1+1/b) f_y^b + 1/b."""
    logits, labels = batch
    p, p_y = logits.softmax(1), label_prob(logits, labels).squeeze(1)
    power = p.pow(1 + beta).sum(1) - (1 + 1 / beta) * p_y**beta + 1 / beta
    value = beta_cross_entropy(logits, labels, beta=beta)
    torch.testing.assert_close(value, power.mean() / (beta + 1))


@pytest.mark.parametrize("beta", [0.01, 0.3, 0.7, 1])
def test_beta_cross_entropy_less_its_first_term(batch, beta):
    """The first term alone is generalised cross-entropy."""
    logits, labels = batch
    second = beta_cross_entropy(logits, labels, beta=beta)
    second = second - generalised_cross_entropy(logits, labels, q=beta)
    sums = logits.softmax(1).pow(beta + 1).sum(1)
    torch.testing.assert_close(second, ((sums - 1) / (beta + 1)).mean())


def test_small_beta_is_exact_in_float32(batch):
    """Where the formula as it is written loses four digits."""
    ours, naive = [], []
    for logits, label in zip(batch[0].detach()[0, :, 0].T, batch[1][0, 0], strict=True):
        one, known = logits.reshape(1, 4, 1), label.reshape(1, 1)
        exact = beta_cross_entropy(one, known, beta=1e-4)
        p = one.float().softmax(1)[0, :, 0]
        written = (1 - p[label] ** 1e-4) / 1e-4 + (p.pow(1.0001).sum() - 1) / 1.0001
        ours.append(abs(beta_cross_entropy(one.float(), known, beta=1e-4) - exact))
        naive.append(abs(written - exact))
    assert max(ours) < 5e-6
    assert max(naive) > 1e-4


# --- beta-cross-entropy: its gradient ---


@pytest.mark.parametrize("beta", [0, 1e-4, 0.3, 1])
@pytest.mark.parametrize("min_prob", [0, 0.05])
@pytest.mark.parametrize("weights", [None, [1, 2, 0, 0.5]])
def test_gradient_is_that_of_the_value(batch, beta, min_prob, weights):
    logits, labels = batch[0].detach()[..., :3, 0], batch[1][..., :3, 0]
    labels[0, 0] = 255
    settings = dict(beta=beta, min_prob=min_prob, class_weights=weights)

    def loss(logits):
        return beta_cross_entropy(logits, labels, **settings, ignore_index=255)

    assert torch.autograd.gradcheck(loss, logits.requires_grad_())


def test_gradient_tends_to_that_of_cross_entropy(rng):
    """Nine classes, logits of scale 1: methods.md b.3 found 0.00026 at 0.0001."""
    logits = torch.tensor(rng.standard_normal((4, 9, 100)), requires_grad=True)
    labels = torch.tensor(rng.integers(0, 9, (4, 100)))
    plain = pull(cross_entropy, logits, labels)
    apart = []
    for beta in 0.1, 0.01, 1e-3, 1e-4:
        found = pull(beta_cross_entropy, logits, labels, beta=beta)
        apart.append(((found - plain).norm(dim=1) / plain.norm(dim=1)).mean().item())
    assert apart == sorted(apart, reverse=True)
    assert 1e-4 < apart[-1] < 1e-3


@pytest.mark.parametrize("q", [0.1, 0.7, 1])
def test_first_term_pulls_by_the_probability_of_its_label(batch, q):
    """Pixel by pixel it is cross-entropy's pull times p_y^q."""
    found = pull(generalised_cross_entropy, *batch, q=q)
    expected = label_prob(*batch) ** q * pull(cross_entropy, *batch)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("beta", [1e-4, 0.3, 1])
def test_true_distribution_is_where_beta_cross_entropy_is_least(beta):
    """A proper score: labels of shares .7, .2, .1; its first term alone is none."""
    labels = torch.tensor([[0] * 7 + [1] * 2 + [2]])
    logits = ONE.repeat(1, 1, 10).requires_grad_()
    total = pull(beta_cross_entropy, logits, labels, beta=beta).sum(2)
    torch.testing.assert_close(total, torch.zeros_like(total))
    first = pull(generalised_cross_entropy, logits, labels, q=beta).sum(2)
    assert first.abs().max() > beta / 10


# --- beta-cross-entropy: least probability ---


def authors_loss(logits, labels, beta):
    """As ajoshiusc/brainseg writes it."""
    p = logits.softmax(1).clamp(1e-7, 1)
    p_y = p.gather(1, labels.unsqueeze(1)).squeeze(1)
    return ((1 - p_y**beta) / beta + p.pow(beta + 1).sum(1) / (beta + 1)).mean()


@pytest.mark.parametrize("beta", [1e-4, 0.3, 1])
def test_least_probability_is_the_authors_clamp(batch, beta):
    logits, labels = batch[0].detach() * 5, batch[1]
    logits.requires_grad_()
    value = beta_cross_entropy(logits, labels, beta=beta, min_prob=1e-7)
    reference = authors_loss(logits, labels, beta) - 1 / (beta + 1)
    torch.testing.assert_close(value, reference, rtol=1e-9, atol=0)
    found = pull(beta_cross_entropy, logits, labels, beta=beta, min_prob=1e-7)
    expected = pull(authors_loss, logits, labels, beta=beta)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert (label_prob(logits, labels) < 1e-7).any()


def test_label_below_the_least_probability_does_not_pull():
    """p_y = exp(-20) = 2e-9: cross-entropy pulls as hard as it can."""
    logits = torch.tensor([20.0, 0]).reshape(1, 2, 1).requires_grad_()
    label = torch.tensor([[1]])
    held = pull(beta_cross_entropy, logits, label, beta=1e-4, min_prob=1e-7)
    free = pull(beta_cross_entropy, logits, label, beta=1e-4)
    assert held.abs().max() < 1e-8
    assert free[0, 1, 0].item() == pytest.approx(-1, abs=0.01)


# --- class weights ---


def test_weights_inside_the_power_do_not_weight():
    """The authors' (1 - (w p)^b) / b; ours multiplies the pull of label 2 by 3."""

    def inside(logits, labels):
        p_y = logits.softmax(1).gather(1, labels.unsqueeze(1))
        return ((1 - (torch.tensor([1, 3]) * p_y) ** 1e-4) / 1e-4).mean()

    def ratio(loss, **settings):
        first, second = pull(loss, FREE, LABELS, **settings).norm(dim=1)[0].tolist()
        return second / first

    plain = ratio(beta_cross_entropy, beta=1e-4)
    weighted = ratio(beta_cross_entropy, beta=1e-4, class_weights=[1, 1, 3])
    assert weighted / plain == pytest.approx(3)
    assert ratio(inside) == pytest.approx(plain, rel=1e-3)


# --- hybrid ---


def test_hybrid_of_plain_classes_only_is_cross_entropy(batch):
    value = hybrid_cross_entropy(*batch, beta=0.7, plain_classes=[0, 1, 2, 3])
    torch.testing.assert_close(value, cross_entropy(*batch), rtol=1e-14, atol=0)


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_hybrid_without_plain_classes_is_a_mix(batch, share):
    value = hybrid_cross_entropy(*batch, beta=0.7, share=share)
    robust = beta_cross_entropy(*batch, beta=0.7)
    torch.testing.assert_close(
        value, share * cross_entropy(*batch) + (1 - share) * robust
    )


def test_label_decides_how_a_pixel_of_the_hybrid_is_pulled(batch):
    logits, labels = batch
    plain = ((labels == 1) | (labels == 3)).unsqueeze(1)
    found = pull(hybrid_cross_entropy, logits, labels, beta=0.7, plain_classes=[1, 3])
    robust = pull(beta_cross_entropy, logits, labels, beta=0.7)
    expected = torch.where(plain, pull(cross_entropy, logits, labels), robust)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


# --- the other losses ---


def test_generalised_cross_entropy_by_hand():
    value = generalised_cross_entropy(TWO, LABELS, q=0.5)
    assert value.item() == pytest.approx(2 - 0.7**0.5 - 0.1**0.5)


def test_generalised_cross_entropy_between_its_limits(batch):
    value = generalised_cross_entropy(*batch, q=0)
    torch.testing.assert_close(value, cross_entropy(*batch))
    value = generalised_cross_entropy(*batch, q=1)
    torch.testing.assert_close(value, mean_absolute_error(*batch) / 2)


def test_mean_absolute_error_by_definition(batch):
    logits, labels = batch
    error = logits.softmax(1) - F.one_hot(labels, 4).movedim(-1, 1)
    value = mean_absolute_error(logits, labels)
    torch.testing.assert_close(value, error.abs().sum(1).mean())


def test_symmetric_cross_entropy_by_definition(batch):
    """-sum_k p_k log y_k, the logarithm of 0 taken for -4."""
    logits, labels = batch
    log_y = F.one_hot(labels, 4).movedim(-1, 1).log().clamp(min=-4)
    reverse = -(logits.softmax(1) * log_y).sum(1).mean()
    value = symmetric_cross_entropy(logits, labels, alpha=0.3, beta=0.6)
    torch.testing.assert_close(
        value, 0.3 * cross_entropy(logits, labels) + 0.6 * reverse
    )


def test_focal_by_hand():
    value = focal(TWO, LABELS, gamma=2)
    expected = -(0.3**2 * math.log(0.7) + 0.9**2 * math.log(0.1)) / 2
    assert value.item() == pytest.approx(expected)


@pytest.mark.parametrize("gamma", [0, 1, 2, 3.5])
def test_focal_equals_monai(batch, gamma):
    """MONAI means over pixels and classes; of a pixel only its label's is not 0."""
    from monai.losses import FocalLoss

    logits, labels = batch[0].float(), batch[1]
    reference = FocalLoss(use_softmax=True, to_onehot_y=True, gamma=gamma)
    expected = 4 * reference(logits, labels.unsqueeze(1))
    torch.testing.assert_close(focal(logits, labels, gamma=gamma), expected)


@pytest.mark.parametrize("smoothing", [0, 0.1, 1])
def test_smoothed_cross_entropy_equals_torch(batch, smoothing):
    logits, labels = batch
    labels[0, 0] = 255
    settings = dict(ignore_index=255, label_smoothing=smoothing)
    value = smoothed_cross_entropy(
        logits, labels, smoothing=smoothing, ignore_index=255
    )
    torch.testing.assert_close(value, F.cross_entropy(logits, labels, **settings))


def test_smoothed_cross_entropy_by_hand():
    """Target (.8, .1, .1) at smoothing 0.3."""
    value = smoothed_cross_entropy(ONE, torch.tensor([[0]]), smoothing=0.3)
    expected = -(0.8 * math.log(0.7) + 0.1 * math.log(0.2) + 0.1 * math.log(0.1))
    assert value.item() == pytest.approx(expected)
