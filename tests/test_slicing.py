import numpy as np
import pytest
import torch

from noisyseg import slicing
from noisyseg.volume import Volume


def head(rng, shape=(6, 8, 5)):
    return Volume(rng.uniform(0, 100, shape).astype(np.float32), np.eye(4))


def test_scaling_the_image_changes_nothing(rng):
    image = head(rng)
    brighter = image.with_data(7 * image.data)
    ours, theirs = (slicing.image_slices([i], 8) for i in (image, brighter))
    torch.testing.assert_close(ours, theirs)


def test_slices_follow_the_third_axis_and_keep_native_pixels(rng):
    image = head(rng, (8, 8, 5))
    slices = slicing.image_slices([image, image], 8)
    assert slices.shape == (5, 2, 8, 8)
    expected = slicing.normalise(image.data)[:, :, 3]
    np.testing.assert_allclose(slices[3, 1].numpy(), expected, rtol=1e-6)


def test_an_empty_image_is_refused():
    with pytest.raises(ValueError, match="image must hold positive intensities"):
        slicing.normalise(np.zeros((4, 4, 4)))


def test_labels_survive_the_way_there_and_back(rng):
    labels = Volume(np.zeros((12, 16, 4), np.uint8), np.eye(4))
    labels.data[3:9, 4:12] = 1
    slices = slicing.label_slices(labels, 32)
    one_hot = torch.nn.functional.one_hot(slices.long(), 2).permute(0, 3, 1, 2)
    back = slicing.resize(one_hot.float(), (12, 16)).argmax(1).permute(1, 2, 0).numpy()
    assert (back == labels.data).mean() > 0.97  # edges move by less than a pixel
