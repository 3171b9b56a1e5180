"""Physics: signal equations at their limits, noise, partial volume, majority."""

import numpy as np
import pytest

from noisyseg import physics, tissues

IDEAL = physics.Imperfection(snr=0, bias=0, relaxation=0, point_spread_vox=0)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_every_tissue_has_its_row():
    assert [t.name for t in physics.TISSUES] == list(tissues.NAMES)
    assert all(t.source for t in physics.TISSUES)


def test_spin_echo_at_no_echo_time_and_long_repetition_is_density():
    sequence = physics.SpinEcho("PD", 1e9, 0.0)
    assert sequence.signal(0.7, 900.0, 80.0, 40.0) == pytest.approx(0.7)


def test_spin_echo_decays_with_t2():
    a, b = (physics.SpinEcho("", 1e9, te).signal(1, 900, 80, 40) for te in (50, 130))
    assert b / a == pytest.approx(np.exp(-1))


def test_inversion_recovery_without_excitation_is_the_textbook_formula():
    """Small flips leave 1 - 2 E(TI) / (1 + E(TR)), the steady state of inversions."""
    sequence = physics.InversionRecovery("", 2250, 900, 0.0, 1e-4, 7.0, 176)
    textbook = 1 - 2 * np.exp(-900 / 1331) / (1 + np.exp(-2250 / 1331))
    signal = sequence.signal(1.0, 1331.0, 80.0, 40.0) / np.sin(np.deg2rad(1e-4))
    assert signal == pytest.approx(abs(textbook), rel=1e-6)


def test_inversion_recovery_agrees_with_stepping_through_the_train():
    s, t1, flip = physics.T1W, 1331.0, np.deg2rad(physics.T1W.flip_deg)
    relax = lambda m, ms: 1 - (1 - m) * np.exp(-ms / t1)  # noqa: E731
    half_ms = s.echoes * s.echo_spacing_ms / 2
    m = 1.0
    for _ in range(30):
        m = relax(-m, s.inversion_ms - half_ms)
        for echo in range(s.echoes):
            if echo == s.echoes // 2:
                seen = m
            m = relax(m * np.cos(flip), s.echo_spacing_ms)
        m = relax(m, s.repetition_ms - s.inversion_ms - half_ms)
    expected = abs(seen) * np.sin(flip) * np.exp(-s.echo_ms / 42)
    assert s.signal(1.0, t1, 93.0, 42.0) == pytest.approx(expected, rel=1e-6)


def test_fluid_bone_and_air_are_dark_on_t1_and_apart_on_t2():
    t1, t2 = (physics.signals(s, 0.0, rng()) for s in (physics.T1W, physics.T2W))
    dark = [tissues.FLUID, tissues.COMPACT, tissues.AIR]
    assert max(t1[dark]) < 0.4 * t1[tissues.CORTEX] < t1[tissues.WHITE]
    assert t2[tissues.FLUID] > 1.5 * t2[tissues.CORTEX] > t2[tissues.WHITE]
    assert t2[tissues.COMPACT] < 1 and t1[tissues.MARROW] > t1[tissues.WHITE]


def test_rician_noise_has_its_mean_where_signal_is_zero():
    noisy = physics.add_rician_noise(np.zeros((60, 60, 60)), 10.0, rng())
    assert noisy.mean() == pytest.approx(10 * np.sqrt(np.pi / 2), rel=0.01)


@pytest.mark.parametrize("width_vox", [0.0, 0.9])
def test_half_filled_voxel_holds_the_mean_of_the_signals(width_vox):
    signal = np.repeat([2.0, 8.0], 9)[:, None, None] * np.ones((18, 18, 18))
    image = physics.spread(signal, 2, width_vox)
    assert image[4] == pytest.approx(np.full((9, 9), 5.0))


def test_point_spread_keeps_a_constant():
    assert np.allclose(physics.spread(np.full((12, 12, 12), 3.0), 3, 1.0), 3.0)


def test_ideal_image_of_one_tissue_is_its_signal():
    fat = np.full((4, 4, 4), tissues.FAT, np.uint8)
    image = physics.acquire(fat, physics.T1W, 1.0, 2.0, rng(), IDEAL)
    level = physics.signals(physics.T1W, 0.0, rng())[tissues.FAT]
    assert image.dtype == np.int16 and np.all(image == np.rint(level))


def test_acquire_is_replayable_and_differs_between_seeds():
    head = rng().integers(0, len(physics.TISSUES), (8, 8, 8)).astype(np.uint8)
    a, b, c = (physics.acquire(head, physics.T2W, 1, 2, rng(s)) for s in (5, 5, 6))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_bias_field_is_smooth_and_positive():
    field = physics.bias_field((20, 20, 20), 0.1, rng())
    assert field.min() > 0 and abs(np.log(field).mean()) < 1e-12
    assert np.abs(np.diff(field, axis=0)).max() < 0.2 * np.ptp(field) + 1e-9
    assert np.all(physics.bias_field((4, 4, 4), 0.0, rng()) == 1)


def test_majority_agrees_with_counting():
    labels = rng().integers(0, 3, (12, 12, 12)).astype(np.uint8)
    blocks = labels.reshape(4, 3, 4, 3, 4, 3).transpose(0, 2, 4, 1, 3, 5)
    counts = np.stack([(blocks == c).sum(axis=(3, 4, 5)) for c in range(3)], axis=-1)
    won = np.take_along_axis(
        counts, physics.majority(labels, 3)[..., None].astype(int), 3
    )
    assert np.array_equal(won[..., 0], counts.max(axis=-1))


def test_tie_goes_to_the_voxel_next_to_the_centre():
    labels = np.array([1, 1, 1, 1, 2, 2, 2, 2], np.uint8).reshape(2, 2, 2)
    assert physics.majority(labels, 2).item() == 2


def test_image_spacing_must_be_a_multiple():
    head = np.zeros((6, 6, 6), np.uint8)
    with pytest.raises(ValueError, match="image_spacing_mm must be a whole multiple"):
        physics.acquire(head, physics.T1W, 1.0, 1.5, rng())
    with pytest.raises(ValueError, match="shape must be divisible by 4"):
        physics.truth(head, 1.0, 4.0)
