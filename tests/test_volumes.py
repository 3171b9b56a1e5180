import numpy as np
import pytest
import torch

from noisyseg import volumes
from noisyseg.settings import Augmentation
from noisyseg.volumes import Volumes

CPU = torch.device("cpu")
WILD = Augmentation(
    rotation_deg=20, scaling=0.2, shift=0.1, contrast=0.3, brightness=0.2, noise=0.1
)


@pytest.fixture
def cases():
    rng = np.random.default_rng(0)
    labels = np.zeros((3, 16, 14, 12), np.uint8)
    labels[:, 4:11, 3:9, 3:8] = 1
    images = 100 + 50 * labels + rng.standard_normal(labels.shape)
    return (
        tuple(torch.from_numpy(i.astype(np.float32)) for i in images),
        tuple(torch.from_numpy(i) for i in labels),
    )


def test_every_case_comes_once_before_any_comes_again(cases):
    found = Volumes(*cases, 30, 0).batch(range(6), CPU)[0]
    same = [[torch.allclose(f, volumes.raw(i), atol=1e-3) for i in cases[0]]
            for f in found]  # fmt: skip
    assert np.sum(same[:3], 0).tolist() == np.sum(same[3:], 0).tolist() == [1, 1, 1]


def test_without_changes_nothing_is_changed(cases):
    image, labels = volumes.bend(
        cases[0][0], cases[1][0], Augmentation(), np.random.default_rng(0)
    )
    torch.testing.assert_close(image, cases[0][0], rtol=0, atol=1e-3)
    assert torch.equal(labels, cases[1][0])


def test_labels_move_with_the_image(cases):
    images = tuple(100.0 + 50 * each for each in cases[1])
    for seed in range(5):
        rng = np.random.default_rng(seed)
        image, labels = volumes.bend(images[0], cases[1][0], WILD, rng)
        assert not torch.equal(labels, cases[1][0])
        assert ((image > 125) == (labels == 1)).float().mean() > 0.98


@pytest.mark.parametrize("seed", range(4))
def test_a_shift_is_at_most_its_share_of_each_edge(cases, seed):
    rng, image, labels = np.random.default_rng(seed), cases[0][0], cases[1][0]
    _, moved = volumes.bend(image, labels, Augmentation(shift=0.15), rng)
    middles = [np.argwhere(each.numpy()).mean(0) for each in (labels, moved)]
    steps = np.abs(middles[1] - middles[0])
    assert steps.max() > 0.2 and np.all(steps < 0.15 * np.array(labels.shape) + 0.5)


def test_a_turn_keeps_the_volume(cases):
    for seed in range(4):
        how = Augmentation(rotation_deg=30), np.random.default_rng(seed)
        _, moved = volumes.bend(cases[0][0], cases[1][0], *how)
        kept = moved.sum().item() / cases[1][0].sum().item()
        assert 0.9 < kept < 1.1 and not torch.equal(moved, cases[1][0])


def test_a_volume_depends_on_its_number_alone(cases):
    long, short = (Volumes(*cases, n, 7, "mind", WILD) for n in (50, 5))
    for one, other in zip(long.batch([4], CPU), short.batch([4], CPU), strict=True):
        assert torch.equal(one, other)
    other = Volumes(*cases, 5, 8, "mind", WILD)
    assert not torch.equal(short.batch([4], CPU)[0], other.batch([4], CPU)[0])
    assert len({v.fingerprint() for v in (long, short, other)}) == 3


@pytest.mark.parametrize("features, channels", [("raw", 1), ("mind", 12)])
def test_channels_are_those_of_the_features(cases, features, channels):
    found = volumes.described(*cases, features)
    assert found.images.shape == (3, channels, 16, 14, 12) and len(found) == 3


def test_bad_cases_are_refused(cases):
    with pytest.raises(ValueError, match="pairs of one shape, got 3 and 2"):
        Volumes(cases[0], cases[1][:2], 5, 0)
    with pytest.raises(ValueError, match="features must be one of"):
        Volumes(*cases, 5, 0, "mnd")
