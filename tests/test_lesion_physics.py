"""Physics of study `ace`: equations at their limits, contrasts with the right sign."""

import numpy as np
import pytest

from noisyseg import lesion_physics as physics
from noisyseg import lesion_tissues as ids
from noisyseg import physics as plain
from noisyseg import tissues
from noisyseg.grids import Grid

ONES = np.ones((len(ids.TISSUES), 2))
ALL = [(site, m) for site, protocols in physics.SITES.items() for m in protocols]
FLAIR = [site for site, m in ALL if m == "FLAIR"]


def levels(site, modality):
    return physics.signals(physics.SITES[site][modality], ONES)


def test_lesions_are_numbered_after_the_tissues_of_a_head():
    assert ids.TISSUES[: len(tissues.TISSUES)] == tissues.TISSUES
    assert len(ids.CLASS) == len(ids.TISSUES) == ids.NECROSIS + 1
    assert ids.NAMES[ids.RIM] == "enhancing tumour" and ids.CLASS[tissues.CORD] == "WM"


def test_inversion_spin_echo_inverts_what_the_spin_echo_before_it_left():
    left = plain.SpinEcho("", 9000 - 2500, 80).signal(1.0, 1331.0, np.inf, 1.0)
    along = 1 - (1 + left) * np.exp(-2500 / 1331)
    sequence = physics.InversionSpinEcho("", 9000, 2500, 80)
    expected = 0.8 * along * np.exp(-80 / 93)
    assert sequence.signal(0.8, 1331.0, 93.0, 42.0) == pytest.approx(expected)


def test_inversion_recovery_is_null_at_log_2_of_t1():
    sequence = physics.InversionSpinEcho("", 1e9, 1000 * np.log(2), 0.0)
    assert sequence.signal(1.0, 1000.0, 80.0, 40.0) == pytest.approx(0.0, abs=1e-12)


def test_gradient_echo_is_strongest_at_the_ernst_angle():
    angle = np.rad2deg(np.arccos(np.exp(-22 / 832)))
    signal = [
        physics.SpoiledGradientEcho("", 22, 0.0, flip).signal(1, 832.0, 80.0, 45.0)
        for flip in (angle - 2, angle, angle + 2)
    ]
    assert signal[1] > max(signal[0], signal[2])


def test_gradient_echo_of_right_angles_is_saturation_recovery():
    sequence = physics.SpoiledGradientEcho("", 500, 0.0, 90)
    expected = 1 - np.exp(-500 / 832)
    assert sequence.signal(1.0, 832.0, 80.0, 45.0) == pytest.approx(expected)


def test_contrast_medium_adds_to_the_rate():
    amount = ids.GADOLINIUM_MM[ids.RIM] * ids.RELAXIVITY_PER_MM_MS
    assert 1 / ids.after_contrast(ids.RIM, 1450.0) == pytest.approx(1 / 1450 + amount)
    assert ids.after_contrast(ids.OEDEMA, 1500.0) == 1500.0


@pytest.mark.parametrize(("site", "modality"), ALL)
def test_white_matter_lies_near_1000(site, modality):
    assert levels(site, modality)[tissues.WHITE] == pytest.approx(1000, rel=0.03)


@pytest.mark.parametrize("site", FLAIR)
def test_flair_shows_lesions_bright_and_fluid_dark(site):
    flair = levels(site, "FLAIR")
    grades = [tissues.WHITE, ids.PENUMBRA, ids.PALE_WMH, ids.WMH]
    assert np.all(np.diff(flair[grades]) > 50)
    assert flair[tissues.FLUID] < 0.5 * flair[tissues.WHITE] < flair[tissues.CORTEX]
    assert flair[ids.OEDEMA] > 1.2 * flair[tissues.CORTEX]


@pytest.mark.parametrize("site", physics.SITES)
def test_t1_shows_lesions_darker_than_white_matter_and_brighter_than_fluid(site):
    t1 = levels(site, "T1w")
    for lesion in (ids.PALE_WMH, ids.WMH, ids.OEDEMA, ids.CORE, ids.RIM, ids.NECROSIS):
        assert t1[tissues.FLUID] < t1[lesion] < t1[tissues.WHITE]


@pytest.mark.parametrize("site", ["brats", "tumorsim"])
def test_contrast_medium_lights_the_rim_alone_among_the_lesion(site):
    before, after = levels(site, "T1w"), levels(site, "T1ce")
    assert after[ids.RIM] > 1.5 * after[tissues.WHITE] > 1.5 * before[ids.RIM]
    assert after[ids.OEDEMA] == before[ids.OEDEMA]
    assert after[ids.NECROSIS] < after[ids.CORE] < after[tissues.WHITE]


def test_t2_shows_fluid_above_lesions_above_grey_above_white():
    t2 = levels("brats", "T2w")
    order = [tissues.WHITE, tissues.CORTEX, ids.OEDEMA, ids.NECROSIS, tissues.FLUID]
    assert np.all(np.diff(t2[order]) > 100)


def test_sites_differ_in_contrast():
    t1, flair = (
        [levels(s, m)[[tissues.CORTEX, ids.WMH]] for s in FLAIR if s != "tumorsim"]
        for m in ("T1w", "FLAIR")
    )
    assert np.ptp([a[0] for a in t1]) > 100 and np.ptp([a[1] for a in flair]) > 200


def test_ideal_image_of_one_tissue_is_its_signal():
    sequence = physics.SITES["brats"]["FLAIR"].sequence
    ideal = physics.Protocol(sequence, plain.Imperfection(0, 0, 0, 0))
    labels = np.full((8, 8, 8), ids.WMH, np.uint8)
    grid = Grid((4, 4, 4), 2.0, 1.0)
    image = physics.acquire(labels, ideal, grid, ONES, np.random.default_rng(0))
    level = physics.signals(ideal, ONES)[ids.WMH]
    assert image.dtype == np.int16 and np.all(image == np.rint(level))


def test_relaxation_varies_between_tissues_as_asked():
    factors = physics.relaxation(0.1, np.random.default_rng(0))
    assert factors.shape == ONES.shape
    assert np.log(factors).std() == pytest.approx(0.1, rel=0.3)
    assert np.all(physics.relaxation(0.0, np.random.default_rng(0)) == 1)
