import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from noisyseg.overlap import TLoss, noise_robust_dice, soft_dice
from noisyseg.thresholds import dice_optimal

TWO = torch.tensor([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]]).log().T.reshape(1, 3, 2)
LABELS = torch.tensor([[0, 2]])


@pytest.fixture
def batch(rng):
    logits = torch.tensor(rng.standard_normal((2, 4, 5, 6)), dtype=torch.float32)
    labels = torch.tensor(rng.integers(0, 4, (2, 5, 6)), dtype=torch.uint8)
    return logits.requires_grad_(), labels


# --- soft Dice ---


def test_soft_dice_by_hand():
    """Two pixels, labels 0 and 2: overlaps .7, 0, .1 over .98 + 1, .08, .02 + 1."""
    value = soft_dice(TWO, LABELS, smooth=0)
    dice = [1.4 / 1.98, 0, 0.2 / 1.02]
    assert value.item() == pytest.approx(1 - np.mean(dice))


def test_class_weights_weight_the_mean_over_classes():
    value = soft_dice(TWO, LABELS, smooth=0, class_weights=[1, 0, 3])
    expected = 1 - (1.4 / 1.98 + 3 * 0.2 / 1.02) / 4
    assert value.item() == pytest.approx(expected)
    assert soft_dice(TWO, LABELS, class_weights=[0, 0, 0]).item() == 0


def test_soft_dice_equals_monai(batch):
    from monai.losses import DiceLoss

    logits, labels = batch
    reference = DiceLoss(
        to_onehot_y=True,
        softmax=True,
        squared_pred=True,
        batch=True,
        smooth_nr=1e-5,
        smooth_dr=1e-5,
    )(logits, labels.unsqueeze(1))
    torch.testing.assert_close(soft_dice(logits, labels), reference)


def test_volumes_are_accepted(batch):
    logits, labels = batch
    flat = soft_dice(logits, labels)
    deep = soft_dice(logits.unsqueeze(-1), labels.unsqueeze(-1))
    torch.testing.assert_close(flat, deep)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_soft_dice_of_one_class_by_hand(power):
    """p is .8 and .3 on labels 1 and 0: 1.6 over .8^k + .3^k + 1."""
    prob = torch.tensor([[0.2, 0.7], [0.8, 0.3]]).log()[None]
    value = soft_dice(
        prob, torch.tensor([[1, 0]]), power=power, class_weights=[0, 1], smooth=0
    )
    assert value.item() == pytest.approx(1 - 1.6 / (0.8**power + 0.3**power + 1))


def test_soft_dice_of_power_1_is_that_of_nordstrom(batch):
    logits, labels = batch[0], (batch[1] == 3).to(torch.uint8) * 3
    value = soft_dice(logits, labels, power=1, class_weights=[0, 0, 0, 1], smooth=0)
    p, g = logits.softmax(1)[:, 3], labels == 3
    torch.testing.assert_close(value, 1 - 2 * (p * g).sum() / (p.sum() + g.sum()))


@pytest.mark.parametrize("power", [0.5, 2.5, math.nan])
def test_another_power_is_refused(batch, power):
    with pytest.raises(ValueError, match=r"power must be from 1\.0 to 2\.0, got"):
        soft_dice(*batch, power=power)


def soft_dice_to(tenths, prob, power):
    """Loss of probabilities (n,) to ten raters, so many of whom label each pixel."""
    labels = torch.arange(10)[:, None] < torch.tensor(tenths)
    prob = torch.as_tensor(prob, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    logits = torch.stack([(1 - prob).log(), prob.log()]).repeat(10, 1, 1)
    how = {"power": power, "class_weights": [0, 1], "smooth": 0}
    return soft_dice(logits, labels.long(), **how).item()


def test_the_best_prediction_is_the_marginal_cut_at_the_dice_optimal_threshold(rng):
    """With power 1 nothing soft is better; with squares min(1, m / D) is."""
    tenths = [9, 8, 6, 5, 4, 3, 1, 1]
    m = np.array(tenths) / 10
    threshold, dice = dice_optimal(m)
    cut = m >= threshold
    assert soft_dice_to(tenths, cut, 1) == pytest.approx(1 - dice)
    others = [*rng.random((200, 8)), *np.eye(8), m, m / m.max(), m >= 0.5, m >= 0.2]
    assert min(soft_dice_to(tenths, p, 1) for p in others) > 1 - dice + 1e-6
    graded = np.minimum(1, m / (1 - soft_dice_to(tenths, cut, 2)))
    assert soft_dice_to(tenths, graded, 2) < soft_dice_to(tenths, cut, 2) - 0.01


# --- noise-robust Dice ---


def test_noise_robust_dice_by_hand():
    """Errors .3 and .7 of class 0, .2 twice of class 1, .1 and .9 of class 2."""
    value = noise_robust_dice(TWO, LABELS, gamma=1.5, smooth=0)
    errors = [0.3**1.5 + 0.7**1.5, 2 * 0.2**1.5, 0.1**1.5 + 0.9**1.5]
    sizes = [1.4 + 1, 0.4, 0.2 + 1]
    assert value.item() == pytest.approx(np.mean(np.divide(errors, sizes)))


@pytest.mark.parametrize("gamma", [1, 1.5, 2])
def test_noise_robust_dice_is_0_for_the_truth_and_1_without_overlap(gamma):
    labels = torch.tensor([[0, 0, 1, 1]])
    sure = 1e3 * torch.tensor([[[1.0, 1, 0, 0], [0, 0, 1, 1]]])
    for logits, expected in ((sure, 0), (-sure, 1)):
        value = noise_robust_dice(logits, labels, gamma=gamma, smooth=0)
        assert value.item() == pytest.approx(expected)


def test_class_that_a_batch_lacks_adds_next_to_nothing_to_noise_robust_dice():
    """Class 1 has p = 0.0001 in all pixels and the label of none."""
    logits = torch.tensor([1 - 1e-4, 1e-4]).log().reshape(1, 2, 1, 1)
    logits = logits.repeat(1, 1, 64, 64).requires_grad_()
    value = noise_robust_dice(logits, torch.zeros(1, 64, 64, dtype=torch.uint8))
    value.backward()
    assert value.item() < 0.05
    assert (logits.grad[:, 1] >= 0).all()  # and is not called for


# --- T-loss ---


def t_loss_of_pixels(squares, n, nu):
    """The published formula for one image with one class, over its D = n pixels."""
    d = n / 2
    return (
        math.lgamma(nu / 2)
        - math.lgamma(nu / 2 + d)
        + d * math.log(math.pi * nu)
        + (nu / 2 + d) * math.log(1 + squares / nu)
    ) / n


def test_t_loss_by_hand():
    """Errors of two pixels in three classes: D = 6."""
    squares = 0.3**2 + 0.2**2 + 0.1**2 + 0.7**2 + 0.2**2 + 0.9**2
    expected = t_loss_of_pixels(squares, 6, nu=math.e)
    assert TLoss(log_precision=0)(TWO, LABELS).item() == pytest.approx(
        expected, rel=1e-6
    )
    expected = t_loss_of_pixels(squares, 6, nu=1)
    assert TLoss(log_nu=0, log_precision=0)(TWO, LABELS).item() == pytest.approx(
        expected, rel=1e-6
    )


def test_weights_of_the_t_loss_are_inverse_squared_scales():
    """Squared errors .58 of class 0, .08 of class 1, .82 of class 2."""
    value = TLoss(class_weights=[1, 0, 2], log_precision=0)(TWO, LABELS)
    expected = t_loss_of_pixels(0.58 + 2 * 0.82, 6, nu=math.e)
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_t_loss_equals_scipy(batch):
    logits, labels = batch
    truth = F.one_hot(labels.long(), 4).movedim(-1, 1)
    errors = (logits.softmax(1) - truth).detach().double().flatten(1)  # (2, D)
    density = stats.multivariate_t(np.zeros(120), df=math.exp(0.5))
    expected = -density.logpdf(errors.numpy()).mean() / 120
    assert TLoss(log_nu=0.5, log_precision=0)(logits, labels).item() == pytest.approx(
        expected, rel=1e-5
    )


def test_t_loss_of_a_batch_is_the_mean_over_its_images(batch):
    logits, labels = batch
    labels[1, 2:] = 255  # images of different size
    loss = TLoss(ignore_index=255)
    alone = [loss(logits[i : i + 1], labels[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(loss(logits, labels), (alone[0] + alone[1]) / 2)


@pytest.mark.parametrize("log_nu", [-2.0, 1.0, 6.0])
def test_far_image_pulls_less_than_under_squared_error(log_nu):
    """The pull of an image is that of its squared error d, times 1 / (nu + d)."""
    labels = torch.zeros(2, 3, 3, dtype=torch.uint8)
    logits = torch.zeros(2, 2, 3, 3, dtype=torch.float64)
    logits[0, 0], logits[1, 1] = 1, 1  # the second image is on the wrong side
    logits.requires_grad_()
    square = (logits.softmax(1) - F.one_hot(labels.long(), 2).movedim(-1, 1)) ** 2
    loss = TLoss(log_nu=log_nu, log_precision=0).double()(logits, labels)
    pull, plain = (torch.autograd.grad(v, logits)[0] for v in (loss, square.sum()))
    nu, d = math.exp(log_nu), square.detach().flatten(1).sum(1).reshape(2, 1, 1, 1)
    torch.testing.assert_close(pull, plain * (nu + 18) / (nu + d) / (2 * 18) / 2)


def test_t_loss_tends_to_the_squared_error(batch):
    """The limit nu = inf: a Gaussian, d / 2 + D / 2 log(2 pi) over D."""
    logits, labels = batch[0].double(), batch[1]
    truth = F.one_hot(labels.long(), 4).movedim(-1, 1)
    square = (logits.softmax(1) - truth).square().mean()
    value = TLoss(log_nu=math.log(1e7), log_precision=0).double()(logits, labels)
    expected = (square + math.log(2 * math.pi)) / 2
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)


def test_gradient_of_nu_is_that_of_the_value():
    """Squared errors of TWO together: 1.48."""
    loss = TLoss(log_nu=0.5, log_precision=0)
    loss(TWO, LABELS).backward()
    above, below = (t_loss_of_pixels(1.48, 6, math.exp(n)) for n in (0.501, 0.499))
    assert loss.log_nu.grad.item() == pytest.approx((above - below) / 0.002, rel=1e-4)


def test_precision_multiplies_the_squared_errors():
    """Twice the precision is what class weights of 2 are."""
    double = TLoss(log_precision=math.log(2))(TWO, LABELS)
    weighted = TLoss(log_precision=0, class_weights=[2, 2, 2])(TWO, LABELS)
    torch.testing.assert_close(double, weighted)
