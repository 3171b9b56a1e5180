from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from noisyseg import mind
from noisyseg.mind import mind_ssc

# image and its MIND-SSC by convexAdam 0.2.0, radii and dilations in the names
PUBLISHED = Path(__file__).parent / "data" / "mind_ssc.npz"


@pytest.fixture
def image(rng):
    return torch.from_numpy(rng.normal(size=(12, 11, 10))).float()


def naive(image, radius, dilation, patch="box"):
    """The definition, pair by pair, by SciPy."""
    where = np.indices(image.shape)
    last = np.array(image.shape).reshape(3, 1, 1, 1) - 1

    def at(step):
        index = where + dilation * np.array(step).reshape(3, 1, 1, 1)
        return image[tuple(np.clip(index, 0, last))]

    def mean_of_patch(squares):
        if patch == "box":
            return ndimage.uniform_filter(squares, 2 * radius + 1, mode="nearest")
        sigma = np.sqrt(radius * (radius + 1) / 3)
        reach = int(np.ceil(2.5 * sigma))
        return ndimage.gaussian_filter(squares, sigma, mode="nearest", radius=reach)

    steps = mind.NEIGHBOURS
    distance = np.array(
        [mean_of_patch((at(steps[a]) - at(steps[b])) ** 2) for a, b in mind.PAIRS]
    )
    distance -= distance.min(0)
    spread = distance.mean(0)
    return np.exp(
        -distance / np.clip(spread, spread.mean() / 1000, spread.mean() * 1000)
    )


@pytest.mark.parametrize(("radius", "dilation"), [(1, 2), (2, 2), (1, 1)])
def test_channels_are_those_of_the_published_program(radius, dilation):
    with np.load(PUBLISHED) as stored:
        image = torch.from_numpy(stored["image"])
        published = stored[f"radius{radius}_dilation{dilation}"]
    found = mind_ssc(image, radius=radius, dilation=dilation)
    np.testing.assert_allclose(found, published, atol=1e-5)


@pytest.mark.parametrize("patch", mind.PATCHES)
@pytest.mark.parametrize(("radius", "dilation"), [(1, 1), (3, 2), (1, 15)])
def test_channels_are_those_of_the_definition(image, patch, radius, dilation):
    found = mind_ssc(image, radius=radius, dilation=dilation, patch=patch)
    wanted = naive(image.numpy().astype(np.float64), radius, dilation, patch)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_twelve_pairs_are_neither_the_same_nor_opposite():
    apart = [np.subtract(mind.NEIGHBOURS[a], mind.NEIGHBOURS[b]) for a, b in mind.PAIRS]
    assert len({frozenset(pair) for pair in mind.PAIRS}) == 12
    assert all(np.dot(step, step) == 2 for step in apart)


@pytest.mark.parametrize(("factor", "shift"), [(-1, 0), (-3, 1), (0.01, 5), (40, -7)])
def test_factor_offset_and_inversion_change_nothing(image, factor, shift):
    found = mind_ssc(factor * image + shift)
    torch.testing.assert_close(found, mind_ssc(image), atol=1e-3, rtol=0)


def test_turning_the_image_turns_the_channels(image):
    """Law: mirrored in X, the pairs swap -X for +X, and the map is mirrored."""
    mirror = {0: 5, 5: 0}
    sets = [frozenset(pair) for pair in mind.PAIRS]
    swapped = [frozenset(mirror.get(n, n) for n in pair) for pair in mind.PAIRS]
    order = [sets.index(pair) for pair in swapped]
    found = mind_ssc(image.flip(0)).flip(1)
    torch.testing.assert_close(found, mind_ssc(image)[order])


def test_every_voxel_has_a_best_pair(image):
    found = mind_ssc(image)
    assert found.shape == (12, *image.shape)
    assert torch.all(found.amax(0) == 1) and torch.all(found >= 0)


@pytest.mark.parametrize("value", [0.0, 1.0, -1e4, 1e-30])
def test_a_constant_volume_is_1_in_every_channel(value):
    assert torch.all(mind_ssc(torch.full((5, 6, 7), value)) == 1)


def test_a_constant_region_is_1_in_every_channel(image):
    image[:8] = 3.0
    assert torch.all(mind_ssc(image)[:, :5] == 1)


def test_thin_slabs_give_what_the_whole_gives(image, monkeypatch):
    whole = mind_ssc(image)
    monkeypatch.setitem(mind.BLOCK, "cpu", 1)
    torch.testing.assert_close(mind_ssc(image), whole)


def test_double_stays_double(image):
    found = mind_ssc(image.double())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), mind_ssc(image))


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (
            torch.zeros(4, 4, 4, dtype=torch.int16),
            TypeError,
            "float tensor, got torch.i",
        ),
        (np.zeros((4, 4, 4)), TypeError, "float tensor, got float64"),
        (torch.zeros(1, 4, 4, 4), ValueError, r"\(X, Y, Z\), got \(1, 4, 4, 4\)"),
        (torch.zeros(0, 4, 4), ValueError, r"\(X, Y, Z\), got \(0, 4, 4\)"),
    ],
)
def test_other_images_are_refused(image, error, message):
    with pytest.raises(error, match=message):
        mind_ssc(image)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"radius": 0}, "radius must be at least 1 voxel, got 0"),
        ({"dilation": -1}, "dilation must be at least 1 voxel, got -1"),
        ({"patch": "round"}, "patch must be one of .*, got 'round'"),
    ],
)
def test_other_settings_are_refused(image, setting, message):
    with pytest.raises(ValueError, match=message):
        mind_ssc(image, **setting)
