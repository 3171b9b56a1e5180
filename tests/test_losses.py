import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from noisyseg import losses

REQUIRED = {
    "beta_cross_entropy": {"beta": 0.3},
    "hybrid_cross_entropy": {"beta": 0.3, "plain_classes": [1]},
}
REGIONS = ["soft_dice", "noise_robust_dice", "t_loss"]
MEANS = [name for name in losses.LOSSES if name not in REGIONS]  # of pixels
every_loss = pytest.mark.parametrize("name", losses.LOSSES)


def build(name, **settings):
    return losses.build(name, **REQUIRED.get(name, {}), **settings)


@pytest.fixture
def batch(rng):
    logits = torch.tensor(rng.standard_normal((2, 4, 5, 6)), dtype=torch.float32)
    labels = torch.tensor(rng.integers(0, 4, (2, 5, 6)), dtype=torch.uint8)
    return logits.requires_grad_(), labels


# --- laws that every loss obeys ---


@every_loss
def test_ignored_pixels_count_nowhere(batch, name):
    logits, labels = batch
    labels[:, 2:] = 255
    value = build(name, ignore_index=255)(logits, labels)
    value.backward()
    kept = build(name)(logits[:, :, :2], labels[:, :2])
    torch.testing.assert_close(value, kept)
    assert logits.grad[:, :, 2:].abs().max() == 0 < logits.grad[:, :, :2].abs().min()


@every_loss
def test_image_without_a_pixel_that_counts_counts_nowhere(batch, name):
    logits, labels = batch
    labels[1] = 255
    value = build(name, ignore_index=255)(logits, labels)
    value.backward()
    torch.testing.assert_close(value, build(name)(logits[:1], labels[:1]))
    assert logits.grad[1].abs().max() == 0


@every_loss
@pytest.mark.parametrize("ignored", [0, 255])
def test_batch_without_a_pixel_that_counts_is_zero(batch, name, ignored):
    logits, labels = batch
    value = build(name, ignore_index=ignored)(logits, labels * 0 + ignored)
    value.backward()
    assert value.item() == 0
    assert logits.grad.abs().max() == 0


@every_loss
def test_batch_of_no_images_is_zero(batch, name):
    logits, labels = batch
    value = build(name)(logits[:0], labels[:0])
    value.backward()
    assert value.item() == 0
    assert logits.grad.abs().max() == 0


@every_loss
@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_extreme_logits_stay_finite(batch, name, scale):
    logits, labels = batch
    far = (logits.detach() * scale).requires_grad_()
    value = build(name)(far, labels)
    value.backward()
    assert value.isfinite()
    assert far.grad.isfinite().all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32(batch, name, dtype):
    logits = batch[0].detach().to(dtype).requires_grad_()
    value = build(name)(logits, batch[1])
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == build(name)(logits.float(), batch[1]).item()
    assert logits.grad.dtype == dtype
    assert logits.grad.abs().min() > 0


@every_loss
def test_batch_with_classes_missing_has_a_loss_and_a_gradient(batch, name):
    logits, labels = batch
    value = build(name)(logits, labels % 2)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().max() > 0


@every_loss
def test_right_costs_less_than_unsure_and_that_less_than_wrong(batch, name):
    labels = batch[1].long()
    truth = F.one_hot(labels, 4).movedim(-1, 1).float()
    right, unsure, wrong = (build(name)(a * truth, labels) for a in (3, 0, -3))
    assert right < unsure < wrong


@every_loss
def test_all_that_counts_is_the_difference_of_logits(batch, name):
    logits, labels = batch
    shifted = build(name)(logits + 10 * labels.unsqueeze(1), labels)
    torch.testing.assert_close(shifted, build(name)(logits, labels))


@every_loss
def test_order_of_pixels_does_not_matter(batch, name):
    logits, labels = batch
    turned = build(name)(logits.flip(2, 3), labels.flip(1, 2))
    torch.testing.assert_close(turned, build(name)(logits, labels))


@every_loss
def test_gradient_is_that_of_the_value(batch, name):
    """Against finite differences, in float64."""
    logits, labels = batch[0].detach().double()[..., :3, 0], batch[1][..., :3, 0]
    labels[0, 0] = 255
    loss = build(name, class_weights=[1, 2, 0, 0.5], ignore_index=255)
    if isinstance(loss, torch.nn.Module):
        loss.double()
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), logits.requires_grad_())


@pytest.mark.parametrize("name", MEANS)
def test_class_weights_make_a_weighted_mean_of_the_pixels(batch, name):
    logits, labels = (part[:1, ..., :2] for part in batch)
    alone = [
        build(name)(logits[:, :, i : i + 1, j : j + 1], labels[:, i : i + 1, j : j + 1])
        for i in range(5)
        for j in range(2)
    ]
    weights = torch.tensor([1, 0.5, 3, 0])
    value = build(name, class_weights=weights.tolist())(logits, labels)
    weight = weights[labels.int().flatten()]
    expected = np.average([one.item() for one in alone], weights=weight)
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", [name for name in MEANS if name not in REQUIRED])
def test_weights_of_zero_for_all_labels_are_zero_loss(batch, name):
    logits, labels = batch
    value = build(name, class_weights=[0, 1, 1, 1])(logits, labels * 0)
    value.backward()
    assert value.item() == 0
    assert logits.grad.abs().max() == 0


# --- arms ---


def test_perfect_prediction_has_no_loss(batch):
    _, labels = batch
    logits = 1e3 * F.one_hot(labels.long(), 4).movedim(-1, 1).float()
    assert losses.build("cross_entropy", dice=0.5)(logits, labels).item() < 1e-6


@every_loss
def test_arm_mixes_a_loss_and_dice(batch, name):
    first, dice = build(name)(*batch), build("soft_dice")(*batch)
    mixed = losses.build(**{"name": name, "dice": 0.25} | REQUIRED.get(name, {}))
    torch.testing.assert_close(mixed(*batch), 0.75 * first + 0.25 * dice)


@pytest.mark.parametrize("share", [0, 0.5])
def test_t_loss_of_an_arm_is_learned_along(batch, share):
    loss = losses.build("t_loss", dice=share, log_nu=2)
    assert isinstance(loss, torch.nn.Module)
    (log_nu,) = loss.parameters()
    assert log_nu.item() == 2
    loss(*batch).backward()
    assert log_nu.grad.isfinite() and log_nu.grad != 0


@pytest.mark.parametrize(
    "row, message",
    [
        (dict(name="cross_entropi"), "did you mean 'cross_entropy'"),
        (dict(name="cross_entropy", weights=[1]), "did you mean 'class_weights'"),
        (dict(name="beta_cross_entropy", bata=0.3), "did you mean 'beta'"),
        (dict(name="t_loss", log_mu=1), "did you mean 'log_nu'"),
        (dict(name="beta_cross_entropy"), "beta_cross_entropy must have a beta"),
        (dict(name="hybrid_cross_entropy"), "hybrid_cross_entropy must have a beta"),
        (dict(name="cross_entropy", dice=2), "share from 0 to 1, got 2"),
        (dict(name="cross_entropy", dice=math.nan), "share from 0 to 1, got nan"),
    ],
)
def test_wrong_rows_are_refused(row, message):
    with pytest.raises(ValueError, match=message):
        losses.build(**row)


@pytest.mark.parametrize(
    "row, message",
    [
        (dict(name="beta_cross_entropy", beta=-0.1), "beta must be at least 0"),
        (dict(name="beta_cross_entropy", beta=math.nan), "beta must be at least 0"),
        (
            dict(name="beta_cross_entropy", beta=1, min_prob=2),
            "min_prob must be from 0",
        ),
        (dict(name="hybrid_cross_entropy", beta=-1), "beta must be at least 0"),
        (dict(name="hybrid_cross_entropy", beta=1, share=1.5), "share must be from 0"),
        (
            dict(name="hybrid_cross_entropy", beta=1, plain_classes=[0, 4]),
            "plain_classes must be among 0 to 3, got 4",
        ),
        (
            dict(name="hybrid_cross_entropy", beta=1, plain_classes=[1.5]),
            "plain_classes must be",
        ),
        (dict(name="generalised_cross_entropy", q=1.2), r"q must be from 0\S* to 1"),
        (dict(name="symmetric_cross_entropy", alpha=-1), "alpha must be at least 0"),
        (dict(name="focal", gamma=0.5), "gamma must be at least 1"),
        (dict(name="smoothed_cross_entropy", smoothing=-1), "smoothing must be from 0"),
        (dict(name="noise_robust_dice", gamma=3), r"gamma must be from 1\S* to 2"),
    ],
)
def test_settings_out_of_range_are_refused(batch, row, message):
    with pytest.raises(ValueError, match=message):
        losses.build(**row)(*batch)


@every_loss
def test_wrong_labels_are_refused(batch, name):
    logits, labels = batch
    with pytest.raises(ValueError, match="labels must be 0 to 3, got 4"):
        build(name)(logits, labels + 4 - labels)
    with pytest.raises(ValueError, match=r"0 to 3, got 7; set ignore_index"):
        build(name, ignore_index=255)(logits, labels + 7 - labels)
    with pytest.raises(ValueError, match=r"got \(1, 5, 6\) for \(2, 4, 5, 6\)"):
        build(name)(logits, labels[:1])
    with pytest.raises(TypeError, match=r"integers, got torch\.float32"):
        build(name)(logits, labels.float())


@every_loss
@pytest.mark.parametrize("weights", [[1, 2], [1, 1, 1, -1], [1, 1, 1, math.nan]])
def test_wrong_class_weights_are_refused(batch, name, weights):
    with pytest.raises(ValueError, match="class_weights must be 4 numbers >= 0"):
        build(name, class_weights=weights)(*batch)


@pytest.mark.parametrize("wrong", [1.5, "void"])
def test_ignored_label_is_an_integer(batch, wrong):
    with pytest.raises((TypeError, ValueError), match="ignore_index must be"):
        losses.cross_entropy(*batch, ignore_index=wrong)


@pytest.mark.parametrize(
    "loss, message",
    [
        ({"name": "beta_cross_entropy", "beta": -1}, "ce: beta must be at least 0"),
        ({"name": "beta_cross_entropy"}, "ce: beta_cross_entropy must have a beta"),
        ({"name": "beta_crossentropy"}, "ce: loss must be one of .* did you mean"),
        (
            {"name": "hybrid_cross_entropy", "beta": 1, "plain_classes": [9]},
            "ce: plain_classes must be among 0 to 8, got 9",
        ),
    ],
)
def test_a_wrong_loss_is_refused_before_any_training(loss, message):
    with pytest.raises(ValueError, match=f"robust.arms.{message}"):
        losses.check("robust.arms.ce", loss, 9)


# --- losses of labels that name sets of classes ---

SETS = [[0], [1], [2], [3], [0, 1, 2]]
every_set_loss = pytest.mark.parametrize("name", losses.OF_SETS)


@pytest.fixture
def set_batch(rng):
    logits = torch.tensor(rng.standard_normal((2, 4, 5, 6)), dtype=torch.float32)
    labels = torch.tensor(rng.integers(0, 5, (2, 5, 6)), dtype=torch.uint8)
    return logits.requires_grad_(), labels


@every_set_loss
@pytest.mark.parametrize("dice", [0, 0.5])
def test_ignored_pixels_of_a_loss_of_sets_count_nowhere(set_batch, name, dice):
    logits, labels = set_batch
    labels[:, 2:] = 255
    loss = losses.build(name, sets=SETS, dice=dice, ignore_index=255)
    value = loss(logits, labels)
    value.backward()
    torch.testing.assert_close(value, loss(logits[:, :, :2], labels[:, :2]))
    assert logits.grad[:, :, 2:].abs().max() == 0 < logits.grad.abs().max()


@every_set_loss
def test_an_ignored_label_may_have_a_set(set_batch, name):
    logits, labels = set_batch
    other = torch.where(labels == 1, 255, labels)
    pairs = ((labels, 1), (other, 255))
    values = [
        losses.build(name, sets=SETS, ignore_index=ignored)(logits, marks)
        for marks, ignored in pairs
    ]
    torch.testing.assert_close(*values)
    gradients = [torch.autograd.grad(value, logits)[0] for value in values]
    torch.testing.assert_close(*gradients)


@every_set_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("scale", [1, 1e4, 1e30])
def test_losses_of_sets_are_finite(set_batch, name, dtype, scale):
    logits = (set_batch[0].detach() * scale).to(dtype).requires_grad_()
    value = losses.build(name, sets=SETS, dice=0.5)(logits, set_batch[1])
    value.backward()
    assert value.isfinite() and logits.grad.isfinite().all()
    assert logits.grad.dtype == dtype


@every_set_loss
def test_a_batch_of_no_images_teaches_a_loss_of_sets_nothing(set_batch, name):
    logits, labels = set_batch
    value = losses.build(name, sets=SETS)(logits[:0], labels[:0])
    value.backward()
    assert value.isfinite() and logits.grad.abs().max() == 0


def test_the_dice_share_of_a_loss_of_sets_is_marginal_dice(set_batch):
    def value(name, **more):
        return losses.build(name, sets=SETS, ignore_index=255, **more)(*set_batch)

    first, second = value("label_set_cross_entropy"), value("marginal_dice")
    mixed = value("label_set_cross_entropy", dice=0.25)
    torch.testing.assert_close(mixed, 0.75 * first + 0.25 * second)


@every_set_loss
def test_a_loss_of_sets_needs_sets_and_no_other_knows_them(name):
    with pytest.raises(ValueError, match=f"{name} must have a sets, got none"):
        losses.build(name)
    with pytest.raises(ValueError, match=r"setting of focal must be one of .* 'sets'"):
        losses.build("focal", sets=SETS)
    losses.check("ace.arms.ace", {"name": name, "dice": 0.5}, 4, SETS)
    with pytest.raises(ValueError, match=r"ace\.arms\.ace: sets must give label 4"):
        losses.check("ace.arms.ace", {"name": name}, 2, [[0], [1], [0], [1], [2]])
