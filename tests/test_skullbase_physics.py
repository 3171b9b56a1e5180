"""Anisotropic acquisition: by hand, limits, sequence equations."""

import numpy as np
import pytest

from noisyseg import skullbase_physics as physics
from noisyseg import skullbase_tissues as ids
from noisyseg import tissues
from noisyseg.skullbase_grids import SlabGrid


def test_blocks_are_averaged_by_hand():
    signal = np.arange(24.0).reshape(2, 4, 3)
    found = physics.spread(signal, (2, 2, 3), 0.0)
    wanted = signal.reshape(1, 2, 2, 2, 1, 3).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(found, wanted)


@pytest.mark.parametrize("width_vox", [0.0, 0.9])
@pytest.mark.parametrize("ratio", [1, 2, 3, 4])
def test_spread_keeps_the_place_of_a_ramp(ratio, width_vox):
    """A linear image stays linear: the middle of each block, but at the border."""
    signal = np.arange(48.0).reshape(48, 1, 1)
    found = physics.spread(signal, (ratio, 1, 1), width_vox).ravel()
    wanted = signal.reshape(-1, ratio).mean(axis=1)
    np.testing.assert_allclose(found[2:-2], wanted[2:-2])


def test_spread_keeps_the_sum_of_a_point():
    signal = np.zeros((24, 24, 24))
    signal[10:14, 10:14, 9:15] = 12.0 / 96
    assert physics.spread(signal, (2, 2, 3), 0.9).sum() == pytest.approx(1.0, rel=0.01)


def test_true_classes_are_what_fills_most_of_a_voxel():
    labels = np.full((2, 2, 3), tissues.WHITE, np.uint8)
    labels.flat[:5] = ids.DUCT
    assert physics.true_classes(labels, (2, 2, 3)).item() == 0
    labels.flat[:7] = ids.MODIOLUS
    assert physics.true_classes(labels, (2, 2, 3)).item() == 2
    labels.flat[:7] = ids.CYST
    assert physics.true_classes(labels, (2, 2, 3)).item() == 1


def test_ties_follow_the_voxel_at_the_centre():
    labels = np.array([tissues.WHITE, ids.DUCT], np.uint8).reshape(1, 1, 2)
    assert physics.true_classes(labels, (1, 1, 2)).item() == 2
    assert physics.true_classes(labels[..., ::-1], (1, 1, 2)).item() == 0


def test_balanced_echo_at_its_limits():
    """With T1 = T2 and short TR half of sin(flip) is left; nothing without protons."""
    sequence = physics.BalancedGradientEcho("T2w", 1e-3, 0.0, 90)
    assert sequence.signal(1.0, 1000.0, 1000.0, 500.0) == pytest.approx(0.5, rel=1e-3)
    assert sequence.signal(0.0, 1000.0, 1000.0, 500.0) == 0


def test_contrast_of_both_modalities():
    """On T1 the tumour is brightest of what lies inside the skull, on T2 fluid is."""
    t1, t2 = (
        physics.signals(protocol, np.random.default_rng(0))
        for protocol in physics.PROTOCOLS.values()
    )
    np.testing.assert_allclose((t1[tissues.WHITE], t2[tissues.WHITE]), 1000)
    assert t1[ids.SCHWANNOMA] > 1.8 * t1[tissues.CEREBELLUM] > 1.8 * t1[ids.DUCT]
    assert t2[ids.DUCT] > 2.5 * t2[ids.SCHWANNOMA] > 2.0 * t2[tissues.WHITE]
    assert t2[ids.SCHWANNOMA] < t2[ids.LOOSE] < t2[ids.CYST] < t2[tissues.FLUID]
    assert t1[ids.CYST] < t1[tissues.WHITE] < t1[ids.LOOSE] < t1[ids.SCHWANNOMA]


def test_image_has_the_grid_and_replays():
    labels = np.full((8, 8, 9), tissues.WHITE, np.uint8)
    protocol = physics.PROTOCOLS["T2w"]
    images = [
        physics.acquire(labels, protocol, (2, 2, 3), np.random.default_rng(1))
        for _ in range(2)
    ]
    assert images[0].shape == (4, 4, 3) and images[0].dtype == np.int16
    assert np.array_equal(*images) and images[0].std() > 0
    assert np.mean(images[0]) == pytest.approx(1000, rel=0.3)


def test_grid_by_hand():
    grid = SlabGrid((192, 192, 64), (0.5, 0.5, 1.5), 0.5)
    assert grid.ratios == (1, 1, 3) and grid.tissue_shape == (192, 192, 192)
    assert grid.voxel_ml == pytest.approx(0.375e-3)
    middle = grid.affine @ [95.5, 95.5, 31.5, 1]
    np.testing.assert_allclose(middle[:3], (0.0, -27.0, -42.0))
    x = grid.nodes_mm()[0]
    assert len(x) == 98 and x[1] == pytest.approx(-47.5) and x[2] - x[1] == 1.0
    assert SlabGrid([96, 96, 48], [1, 1, 1.5], 0.5).spacing_mm == (1, 1, 1.5)
