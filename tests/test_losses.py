import numpy as np
import pytest
import torch
import torch.nn.functional as F

from noisyseg import losses


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.standard_normal((2, 4, 5, 6)), dtype=torch.float32)
    labels = torch.tensor(rng.integers(0, 4, (2, 5, 6)), dtype=torch.uint8)
    return logits.requires_grad_(), labels


TWO = torch.tensor([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]]).log().T.reshape(1, 3, 2)


def test_cross_entropy_by_hand():
    value = losses.cross_entropy(TWO, torch.tensor([[0, 2]]))
    assert value.item() == pytest.approx((-np.log(0.7) - np.log(0.1)) / 2)


def test_class_weights_make_a_weighted_mean():
    value = losses.cross_entropy(TWO, torch.tensor([[0, 2]]), class_weights=[1, 1, 3])
    assert value.item() == pytest.approx((-np.log(0.7) - 3 * np.log(0.1)) / 4)


def test_soft_dice_by_hand():
    """Two pixels, labels 0 and 2: overlaps .7, 0, .1 over .98 + 1, .08, .02 + 1."""
    value = losses.soft_dice(TWO, torch.tensor([[0, 2]]), smooth=0)
    dice = [1.4 / 1.98, 0, 0.2 / 1.02]
    assert value.item() == pytest.approx(1 - np.mean(dice))


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
    torch.testing.assert_close(losses.soft_dice(logits, labels), reference)


def test_volumes_are_accepted(batch):
    logits, labels = batch
    flat = losses.soft_dice(logits, labels)
    deep = losses.soft_dice(logits.unsqueeze(-1), labels.unsqueeze(-1))
    torch.testing.assert_close(flat, deep)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_ignored_pixels_count_nowhere(batch, name):
    logits, labels = batch
    labels[:, 2:] = 255
    value = losses.build(name, ignore_index=255)(logits, labels)
    value.backward()
    kept = losses.build(name)(logits[:, :, :2], labels[:, :2])
    torch.testing.assert_close(value, kept)
    assert logits.grad[:, :, 2:].abs().max() == 0 < logits.grad[:, :, :2].abs().min()


@pytest.mark.parametrize("name", losses.LOSSES)
@pytest.mark.parametrize("ignored", [0, 255])
def test_batch_without_a_pixel_that_counts_is_zero(batch, name, ignored):
    logits, labels = batch
    value = losses.build(name, ignore_index=ignored)(logits, labels * 0 + ignored)
    value.backward()
    assert value.item() == 0
    assert logits.grad.abs().max() == 0


def test_weights_of_zero_for_all_labels_are_zero_loss(batch):
    logits, labels = batch
    value = losses.cross_entropy(logits, labels * 0, class_weights=[0, 1, 1, 1])
    assert value.item() == 0


@pytest.mark.parametrize("name", losses.LOSSES)
@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_extreme_logits_stay_finite(batch, name, scale):
    logits, labels = batch
    far = (logits.detach() * scale).requires_grad_()
    value = losses.build(name)(far, labels)
    value.backward()
    assert value.isfinite()
    assert far.grad.isfinite().all()


def test_perfect_prediction_has_no_loss(batch):
    _, labels = batch
    logits = 1e3 * F.one_hot(labels.long(), 4).movedim(-1, 1).float()
    assert losses.build("cross_entropy", dice=0.5)(logits, labels).item() < 1e-6


def test_arm_mixes_cross_entropy_and_dice(batch):
    ce, dice = (losses.build(name)(*batch) for name in ("cross_entropy", "soft_dice"))
    mixed = losses.build(**{"name": "cross_entropy", "dice": 0.25})(*batch)
    torch.testing.assert_close(mixed, 0.75 * ce + 0.25 * dice)


def test_half_precision_logits_are_computed_in_float32(batch):
    value = losses.build("cross_entropy", dice=0.5)(batch[0].bfloat16(), batch[1])
    assert value.dtype == torch.float32


@pytest.mark.parametrize(
    "row, message",
    [
        (dict(name="cross_entropi"), "did you mean 'cross_entropy'"),
        (dict(name="cross_entropy", weights=[1]), "did you mean 'class_weights'"),
        (dict(name="cross_entropy", dice=2), "share from 0 to 1, got 2"),
    ],
)
def test_wrong_rows_are_refused(row, message):
    with pytest.raises(ValueError, match=message):
        losses.build(**row)


def test_wrong_labels_are_refused(batch):
    logits, labels = batch
    with pytest.raises(ValueError, match="labels must be 0 to 3, got 4"):
        losses.cross_entropy(logits, labels + 4 - labels)
    with pytest.raises(ValueError, match=r"got \(1, 5, 6\) for \(2, 4, 5, 6\)"):
        losses.soft_dice(logits, labels[:1])
    with pytest.raises(TypeError, match=r"integers, got torch\.float32"):
        losses.cross_entropy(logits, labels.float())
    with pytest.raises(ValueError, match="class_weights must be 4 numbers"):
        losses.cross_entropy(logits, labels, class_weights=[1, 2])
