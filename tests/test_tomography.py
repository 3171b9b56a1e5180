"""CT physics: Hounsfield units by the table, partial volume, noise, masks."""

import numpy as np
import pytest

from noisyseg import tomography
from noisyseg import torso_tissues as ids

EXACT = {"phase": "unenhanced", "noise_hu": 0.0, "variation": 0.0}


def filled(tissue, shape=(16, 16, 16)):
    return np.full(shape, tissue, np.uint8)


@pytest.mark.parametrize("phase", ids.PHASES)
@pytest.mark.parametrize("tissue", [ids.LIVER, ids.AORTA, ids.LEFT_CORTEX, ids.FAT])
def test_homogeneous_tissue_has_the_hu_of_its_table(tissue, phase, rng):
    how = EXACT | {"phase": phase}
    image = tomography.acquire(filled(tissue), 1.5, 3.0, rng, **how)
    assert image.shape == (8, 8, 8) and image.dtype == np.int16
    assert np.all(image == ids.TISSUES[tissue].hu[ids.PHASES.index(phase)])


def test_half_filled_voxels_lie_half_way(rng):
    tissues = filled(ids.FAT)
    tissues[7:] = ids.LIVER
    image = tomography.acquire(tissues, 1.5, 3.0, rng, **EXACT)
    fat, liver = (ids.TISSUES[t].hu[0] for t in (ids.FAT, ids.LIVER))
    assert np.all(np.abs(image[3] - 0.5 * (fat + liver)) <= 1)
    assert np.all(image[0] == fat) and np.all(image[-1] == liver)


def test_values_stay_in_the_range_of_a_scanner(rng):
    how = EXACT | {"noise_hu": 2000.0}
    image = tomography.acquire(filled(ids.COMPACT), 3.0, 3.0, rng, **how)
    assert image.min() == -1024 and image.max() == 3071


@pytest.mark.parametrize("noise_hu", [5.0, 20.0])
def test_noise_has_the_sd_that_is_asked_for(noise_hu, rng):
    how = EXACT | {"noise_hu": noise_hu}
    image = tomography.acquire(filled(ids.LIVER, (48, 48, 24)), 3.0, 3.0, rng, **how)
    assert image.std() == pytest.approx(noise_hu, rel=0.02)
    assert image.mean() == pytest.approx(ids.TISSUES[ids.LIVER].hu[0], abs=0.1)


def test_noise_lacks_slow_waves_within_slices(rng):
    """The ramp filter leaves nothing at frequency 0; across slices noise is white."""
    field = tomography.noise((64, 64, 32), 1.5, rng)
    power = np.mean(np.abs(np.fft.fft2(field, axes=(0, 1))) ** 2, axis=2)
    assert power[1:4, 1:4].mean() < 0.5 * power[10:16, 10:16].mean()
    across = np.mean(field[:, :, 1:] * field[:, :, :-1])
    assert abs(across) < 0.1


def test_variation_changes_subjects_and_nothing_without_it(rng):
    a, b = (tomography.levels("portal venous", 1.0, rng) for _ in range(2))
    assert a[ids.LIVER] != b[ids.LIVER] and a[ids.OUTSIDE] == b[ids.OUTSIDE] == -1000
    assert a[ids.LEFT_CORTEX] == a[ids.RIGHT_CORTEX]  # one dose, one patient
    c, d = (tomography.levels("portal venous", 0.0, rng) for _ in range(2))
    assert np.array_equal(c, d)


def test_contrast_medium_fills_aorta_before_liver():
    plain, arterial, venous = (
        np.array([t.hu[phase] for t in ids.TISSUES]) for phase in range(3)
    )
    early, late = arterial - plain, venous - plain
    assert early[ids.AORTA] > 200 > late[ids.AORTA] > 0
    assert late[ids.LIVER] > early[ids.LIVER] > 0
    assert early[ids.LEFT_CORTEX] > early[ids.LEFT_MEDULLA]
    assert early[ids.FAT] == late[ids.COMPACT] == 0


def test_a_voxel_belongs_to_what_fills_half_of_it():
    tissues = filled(ids.FAT, (2, 2, 8))
    tissues[:, :, 0] = ids.LEFT_CORTEX  # 4 of 8
    tissues[0, 0, 2:4] = tissues[0, 1, 2] = ids.LEFT_MEDULLA  # 3 of 8
    tissues[:, :, 4:6] = ids.AORTA
    tissues[0, 0, 4:6] = ids.AORTA_WALL
    masks = tomography.structures(tissues, 2)
    assert tuple(masks) == ids.STRUCTURES
    assert masks["kidney_left"].ravel().tolist() == [True, False, False, False]
    assert masks["aorta"].ravel().tolist() == [False, False, True, False]


def test_even_halves_go_to_one_structure_only():
    tissues = filled(ids.AORTA, (2, 2, 2))
    tissues[0] = ids.OESOPHAGUS
    masks = tomography.structures(tissues, 2)
    assert masks["aorta"].all() and not masks["esophagus"].any()


def test_bad_arguments_are_named(rng):
    with pytest.raises(ValueError, match=r"whole multiple of 2\.0, got 3\.0"):
        tomography.acquire(filled(0), 2.0, 3.0, rng, phase="arterial")
    with pytest.raises(ValueError, match="shape must be divisible by 3"):
        tomography.structures(filled(0), 3)
    with pytest.raises(ValueError, match=r"phase must be one of .* got 'late'"):
        tomography.acquire(filled(0), 1.0, 1.0, rng, phase="late")
    with pytest.raises(ValueError, match="structure must be one of"):
        ids.belonging("oesophagus")
