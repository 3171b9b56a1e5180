import numpy as np
import pytest
import torch
from pydantic import ValidationError

from noisyseg.augmentation import augment
from noisyseg.settings import Augmentation, TrainingSettings

SPATIAL = {"rotation_deg": 20, "scaling": 0.2, "shift": 0.1}
INTENSITY = {"contrast": 0.3, "brightness": 0.2, "noise": 0.1}


def changed(images, labels, seed=0, **settings):
    rng = np.random.default_rng(seed)
    return augment(images, labels, Augmentation(**settings), rng)


@pytest.fixture
def squares():
    """Bright squares of 10 x 10 in 40 x 40 pixels, labelled 1, and two channels."""
    labels = torch.zeros(6, 40, 40, dtype=torch.uint8)
    labels[:, 12:22, 16:26] = 1
    return labels[:, None].float().repeat(1, 2, 1, 1), labels


def test_settings_of_zero_change_nothing(squares, rng):
    images = torch.from_numpy(rng.random((6, 2, 40, 40), np.float32))
    found, labels = changed(images, squares[1])
    torch.testing.assert_close(found, images, atol=1e-5, rtol=0)
    assert torch.equal(labels, squares[1])


def test_the_same_rng_gives_the_same_batch_and_another_another(squares):
    runs = [changed(*squares, seed, **SPATIAL, **INTENSITY) for seed in (1, 1, 2)]
    for first, again, other in zip(*runs, strict=True):
        assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_batch_is_not_changed_in_place(squares):
    before = [part.clone() for part in squares]
    changed(*squares, **SPATIAL, **INTENSITY)
    assert all(torch.equal(a, b) for a, b in zip(before, squares, strict=True))


def test_labels_move_with_the_images(squares):
    images, labels = changed(*squares, **SPATIAL)
    for channel in range(2):  # bilinear above a half is nearest, but at corners
        apart = (images[:, channel] > 0.5) != (labels == 1)
        assert apart.sum((1, 2)).max() <= 4
    assert (labels != squares[1]).any((1, 2)).all()


def test_every_slice_is_changed_in_its_own_way(squares):
    _, labels = changed(*squares, **SPATIAL)
    assert not any(torch.equal(labels[0], other) for other in labels[1:])


def test_labels_keep_their_values_and_their_type(rng):
    labels = torch.from_numpy(rng.integers(0, 200, (4, 16, 16)).astype(np.uint8))
    labels[labels == 7] = 8
    _, found = changed(torch.zeros(4, 1, 16, 16), labels, **SPATIAL)
    assert found.dtype == torch.uint8 and found.shape == labels.shape
    for before, after in zip(labels, found, strict=True):
        assert set(after.unique().tolist()) <= set(before.unique().tolist())


class Always:
    """An rng whose uniform numbers are one number, and whose normal ones are 0."""

    def __init__(self, value):
        self.value = value

    def uniform(self, low, high, size):
        return np.full(size, self.value, float)

    def standard_normal(self, size, dtype):
        return np.zeros(size, dtype)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_shift_by_hand(sign):
    """A quarter of 8 pixels is 2; what comes in is the border going on."""
    labels = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8)
    settings = Augmentation(shift=0.25)
    images, found = augment(labels[:, None].float(), labels, settings, Always(sign))
    at = (np.arange(8) + 2 * sign).clip(0, 7)
    expected = labels[0][at][:, at]
    assert torch.equal(found[0], expected)
    torch.testing.assert_close(images[0, 0], expected.float(), atol=1e-4, rtol=0)


def test_a_quarter_turn_by_hand(squares):
    labels = squares[1]
    settings = Augmentation(rotation_deg=90)
    images, found = augment(labels[:, None].float(), labels, settings, Always(1))
    turned = [torch.equal(found, torch.rot90(labels, k, (1, 2))) for k in (1, 3)]
    assert sum(turned) == 1
    torch.testing.assert_close(images[:, 0], found.float(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("sign", "factor"), [(1, 1 / 2), (-1, 2)])
def test_a_scaling_by_a_factor_of_2_changes_areas_by_4(sign, factor):
    labels = torch.zeros(1, 40, 40, dtype=torch.uint8)
    labels[:, 12:28, 12:28] = 1
    settings = Augmentation(scaling=1.0)
    _, found = augment(labels[:, None].float(), labels, settings, Always(sign))
    assert found.sum().item() == pytest.approx(256 * factor**2)


def test_intensities_by_hand(squares):
    """Contrast 1.5 and brightness .2: 0 becomes .2 and 1 becomes 1.7."""
    settings = Augmentation(contrast=0.5, brightness=0.2, noise=1.0)
    images, labels = augment(*squares, settings, Always(1))
    torch.testing.assert_close(images, 0.2 + 1.5 * squares[0], atol=1e-4, rtol=0)
    assert torch.equal(labels, squares[1])


def test_noise_is_white_of_the_sd_asked_for():
    images = torch.zeros(4, 3, 50, 50)
    found, _ = changed(images, torch.zeros(4, 50, 50, dtype=torch.uint8), noise=0.3)
    assert found.std().item() == pytest.approx(0.3, rel=0.02)
    neighbours = (found[..., 1:] * found[..., :-1]).mean() / found.var()
    assert abs(neighbours.item()) < 0.02 and abs(found.mean().item()) < 0.01


def test_changes_stay_within_their_settings():
    image = torch.ones(500, 1, 4, 4)
    labels = torch.zeros(500, 4, 4, dtype=torch.uint8)
    found = changed(image, labels, contrast=0.25, brightness=0.1)[0][:, 0, 0, 0]
    assert found.min() >= 0.8 - 0.1 - 1e-5 and found.max() <= 1.25 + 0.1 + 1e-5
    assert found.min() < 0.8 and found.max() > 1.2


@pytest.mark.parametrize("wrong", [{"noise": -0.1}, {"rotation": 10}])
def test_settings_are_strict(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TrainingSettings(epochs=1, batch_size=1, augmentation=wrong)
