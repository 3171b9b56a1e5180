import numpy as np
import pytest
import torch

from noisyseg import crops
from noisyseg.volume import Volume


def grid(data, spacing_mm=(1.0, 1.0, 1.0)):
    return Volume(np.asarray(data), np.diag([*spacing_mm, 1.0]))


def organ(first, last, shape=(20, 20, 20), spacing_mm=(1.0, 1.0, 1.0)):
    """A box from one voxel to another, both included."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))] = True
    return grid(mask, spacing_mm)


def test_the_window_is_centred_on_the_organ():
    """By hand: 6 x 4 voxels in a square of 10 leave 2 and 3 on either side."""
    mask = organ((6, 8, 5), (11, 11, 9))
    window = crops.around(mask, 10.0, 2.0)
    assert window == crops.Window((4, 5), 10, slice(3, 12))
    crop = window.cut(mask.data, False)
    assert crop.shape == (9, 10, 10) and crop[2:7, 2:8, 3:7].all()
    assert crop.sum() == mask.data.sum()


def test_an_odd_organ_is_centred_in_an_odd_window():
    window = crops.around(organ((7, 7, 7), (9, 9, 9)), 5.0, 1.0)
    assert window == crops.Window((6, 6), 5, slice(6, 11))


@pytest.mark.parametrize("move", [(3, 0, 0), (0, -2, 0), (1, 2, 3)])
def test_the_window_moves_with_the_organ(move):
    first, last = np.array((8, 8, 8)), np.array((11, 11, 11))
    here = crops.around(organ(first, last), 6.0, 1.0)
    there = crops.around(organ(first + move, last + move), 6.0, 1.0)
    assert there.corner == (here.corner[0] + move[0], here.corner[1] + move[1])
    assert there.slices.start == here.slices.start + move[2]
    assert there.slices.stop == here.slices.stop + move[2]


def test_edge_and_reach_are_in_mm():
    mask = organ((8, 8, 8), (11, 11, 11), spacing_mm=(1.5, 1.5, 3.0))
    window = crops.around(mask, 12.0, 4.0)
    assert window == crops.Window((6, 6), 8, slice(6, 14))  # 4 mm are 2 slices


def test_the_reach_ends_with_the_scan():
    assert crops.around(organ((8, 8, 1), (11, 11, 4)), 4, 3).slices == slice(0, 8)
    assert crops.around(organ((8, 8, 15), (11, 11, 18)), 4, 9).slices == slice(6, 20)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.5, 1.0), (3.0, 1.0, 1.0)])
def test_voxels_that_are_no_squares_are_refused(spacing_mm):
    mask = organ((8, 8, 8), (11, 11, 11), spacing_mm=spacing_mm)
    with pytest.raises(ValueError, match="spacing must be equal along x and y, got"):
        crops.around(mask, 10.0, 2.0)


def test_a_crop_beyond_the_border_is_padded():
    data = np.arange(1, 28).reshape(3, 3, 3)
    crop = crops.Window((-1, 1), 4, slice(1, 3)).cut(data, -7)
    assert crop.shape == (2, 4, 4) and crop.dtype == data.dtype
    assert (crop[:, 0] == -7).all() and (crop[:, :, 2:] == -7).all()
    np.testing.assert_array_equal(crop[0, 1:, :2], data[:, 1:, 1])
    np.testing.assert_array_equal(crop[1, 1:, :2], data[:, 1:, 2])


def test_a_crop_may_be_wider_than_the_scan():
    mask = organ((0, 0, 0), (3, 3, 3), shape=(4, 4, 4))
    crop = crops.around(mask, 8.0, 1.0).cut(mask.data, False)
    assert crop.shape == (4, 8, 8) and crop[:, 2:6, 2:6].all() and crop.sum() == 64


def test_neighbours_are_channels_and_the_last_slice_repeats():
    """Slice z holds z everywhere."""
    ct = grid(np.broadcast_to(np.arange(5.0), (4, 4, 5)))
    window = crops.Window((0, 0), 4, slice(0, 5))
    images = crops.image_slices(ct, window, (0, 10), context=2)
    assert images.shape == (5, 5, 4, 4) and images.dtype == torch.float32
    expected = [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0, 1, 2, 3, 4]]
    expected += [[1, 2, 3, 4, 4], [2, 3, 4, 4, 4]]
    torch.testing.assert_close(10 * images[:, :, 1, 2], torch.tensor(expected) / 1.0)


def test_neighbours_come_from_beyond_the_window():
    ct = grid(np.broadcast_to(np.arange(5.0), (4, 4, 5)))
    window = crops.Window((0, 0), 4, slice(2, 3))
    images = crops.image_slices(ct, window, (0, 10), context=1)
    assert images[0, :, 0, 0].tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_the_middle_channel_is_the_slice_of_the_labels(rng):
    data = rng.uniform(0, 1, (6, 6, 6))
    window = crops.Window((-2, 1), 4, slice(1, 5))
    images = crops.image_slices(grid(data), window, (0, 1), context=1)
    expected = window.cut(data.astype(np.float32), np.float32(0))
    np.testing.assert_array_equal(images[:, 1], expected)


def test_the_hu_window_clips_and_air_surrounds_the_scan():
    ct = grid(np.array([-1000.0, -160, 40, 240, 3000]).reshape(5, 1, 1))
    window = crops.Window((0, 0), 5, slice(0, 1))
    images = crops.image_slices(ct, window, (-160, 240), context=0)
    assert images[0, 0, :, 0].tolist() == pytest.approx([0, 0, 0.5, 1, 1])
    assert (images[0, 0, :, 1:] == 0).all()
