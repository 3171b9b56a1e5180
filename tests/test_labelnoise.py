import numpy as np
import pytest
from scipy import ndimage

from noisyseg import labelnoise, noise, params
from noisyseg.labeltables import HEAD
from noisyseg.volume import Volume


def grid(data, spacing_mm=(1.0, 1.0, 1.0)):
    return Volume(np.asarray(data, np.uint8), np.diag([*spacing_mm, 1.0]))


@pytest.fixture
def cube():
    """Class 1 in the middle of class 0, and a small class 2 inside it."""
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[8:22, 8:22, 8:22] = 1
    labels[12:16, 12:16, 12:16] = 2
    return grid(labels)


@pytest.mark.parametrize("spacing_mm", [(1, 1), (2, 0.5)])
def test_fields_have_variance_1_and_the_correlation_asked_for(rng, spacing_mm):
    b, shape = 6.0, (384, 384)
    (field,) = labelnoise.draw_fields(1, shape, spacing_mm, b, rng)
    assert np.mean(field**2) == pytest.approx(1, abs=0.1)
    for axis, step_mm in enumerate(spacing_mm):
        there = np.roll(field, round(b / step_mm), axis)
        correlation = np.mean(field * there) / np.mean(field**2)
        assert correlation == pytest.approx(np.exp(-0.5), abs=0.05)


def test_a_scale_below_the_voxel_is_white_noise(rng):
    with pytest.warns(UserWarning, match="at least 1.5 voxels, got 0.10"):
        fields = labelnoise.draw_fields(2, (40, 40, 40), (1, 1, 1), 0.1, rng)
    assert fields.var() == pytest.approx(1, abs=0.02)
    assert abs(np.mean(fields * np.roll(fields, 1, 1))) < 0.02


def test_the_warning_of_a_small_scale_tells_the_correlation_there_is(rng):
    """By hand: the kernel exp(-i^2) has 0.749 / 1.271 at a lag of one voxel."""
    with pytest.warns(UserWarning, match=r"correlate by 0\.589, not 0\.607"):
        field = labelnoise.draw_fields(1, (512, 512), (2, 2), 2.0, rng)[0]
    assert np.mean(field * np.roll(field, 1, 0)) == pytest.approx(0.589, abs=0.02)


def test_fields_are_white_noise_smoothed_by_a_gaussian(rng):
    """Proposition 3: as scipy smooths the same noise, then brought to variance 1."""
    shape, sigma = (64, 48, 40), 4 / np.sqrt(2)
    field = labelnoise.draw_fields(1, shape, (1, 1, 1), 4, np.random.default_rng(3))[0]
    white = np.random.default_rng(3).standard_normal(shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(white, sigma, mode="wrap", truncate=6)
    factor = (2 * np.pi * 4**2) ** 0.75  # a (2 pi b^2)^(n/4) with a = 1, n = 3
    np.testing.assert_allclose(field, factor * smooth, atol=2e-4)


def test_a_scale_of_zero_is_refused(rng):
    with pytest.raises(ValueError, match="correlation_mm must be above 0, got 0"):
        labelnoise.draw_fields(1, (4, 4), (1, 1), 0, rng)


def test_a_constant_field_shifts_by_mm(cube):
    wide = grid(cube.data, (1, 2, 1))
    fields = np.zeros((3, *cube.shape))
    fields[1] = 1
    found = labelnoise.displace(wide, fields, 4.0)  # 4 mm are two voxels along Y
    np.testing.assert_array_equal(found.data[:, :-2], cube.data[:, 2:])


def test_no_strength_changes_nothing(cube, rng):
    fields = labelnoise.draw_fields(3, cube.shape, cube.spacing_mm, 5, rng)
    assert (labelnoise.displace(cube, fields, 0.0).data == cube.data).all()
    assert (labelnoise.swap(cube, fields[:1], [(0, 1)], 0.0).data == cube.data).all()


def test_a_displaced_mask_is_on_average_a_blurred_one(rng):
    """Proposition 1 of Nordström et al.: E[L] is the mask, blurred with SD a."""
    mask = np.zeros((48, 48, 1), np.uint8)
    mask[12:36, 12:36] = 1
    mean = np.zeros(mask.shape)
    for _ in range(400):
        fields = labelnoise.draw_fields(3, mask.shape, (1, 1, 1), 6, rng)
        mean += labelnoise.displace(grid(mask), fields, 3.0).data / 400
    blurred = ndimage.gaussian_filter(mask.astype(float), (3, 3, 0))
    assert np.abs(mean - blurred).mean() < 0.015  # Monte-Carlo SD is 0.025 at most


def test_classes_of_weight_0_stay_away_from_their_border(cube, rng):
    weight = labelnoise.blend(cube, [0, 1, 0], sd_mm=0.01)
    fields = labelnoise.draw_fields(3, cube.shape, cube.spacing_mm, 5, rng)
    found = labelnoise.displace(cube, fields, 3 * weight).data
    assert (found[cube.data == 0] == 0).all() and (found[cube.data == 2] == 2).all()
    assert (found[cube.data == 1] != 1).any()


def test_blending_gives_both_sides_of_a_border_the_mean():
    halves = grid(np.repeat([0, 1], 20).reshape(40, 1, 1))
    weight = labelnoise.blend(halves, [0, 2], sd_mm=2)[:, 0, 0]
    assert weight[19] + weight[20] == pytest.approx(2, abs=1e-5)
    assert weight[0] == pytest.approx(0, abs=1e-5)


def test_a_swap_is_undone_by_itself(cube, rng):
    fields = labelnoise.draw_fields(1, cube.shape, cube.spacing_mm, 5, rng)
    once = labelnoise.swap(cube, fields, [(0, 1)], 0.3)
    assert (once.data != cube.data).any()
    assert (labelnoise.swap(once, fields, [(0, 1)], 0.3).data == cube.data).all()


def test_swaps_cover_the_share_asked_for_and_spare_other_classes(rng):
    labels = grid(np.zeros((60, 60, 60)))
    fields = labelnoise.draw_fields(1, labels.shape, labels.spacing_mm, 4, rng)
    assert labelnoise.swap(labels, fields, [(0, 1)], 0.2).data.mean() == pytest.approx(
        0.2, abs=0.02
    )
    assert (labelnoise.swap(labels, fields, [(1, 2)], 0.2).data == 0).all()


def test_of_two_pairs_the_first_prevails():
    labels, high = grid(np.zeros((2, 2, 2))), np.full((2, 2, 2, 2), 9.0)
    assert (labelnoise.swap(labels, high, [(0, 1), (0, 2)], 0.5).data == 1).all()


def test_calibration_finds_the_strength_or_says_that_there_is_none():
    assert labelnoise.calibrate(lambda s: s**2, 0, 1) == 0
    found = labelnoise.calibrate(lambda s: np.tanh(s), 0.5, 10)
    assert np.tanh(found) == pytest.approx(0.5, rel=0.03)
    with pytest.raises(ValueError, match=r"damage of 0\.900, got 0\.500 at 1"):
        labelnoise.calibrate(lambda s: s / 2, 0.9, 1)


@pytest.mark.parametrize("name", params.load().noise["head"].kinds)
def test_a_head_is_corrupted_again_alike_and_every_head_differently(cube, name):
    kind = params.load().noise["head"].kinds[name]
    labels = grid(3 + cube.data)  # CSF, bone, skin
    acts = [noise.prepare(kind, 7, s, labels, HEAD)[0] for s in ("a", "b", "a")]
    first, other, again = (act(0.3 if kind.form == "swap" else 3.0) for act in acts)
    assert (first.data == again.data).all() and (first.data != other.data).any()


def test_all_strengths_of_a_form_share_one_draw(cube):
    mild, strong = (params.load().noise["head"].kinds[f"swap_{i}"] for i in (1, 3))
    labels = grid(3 + cube.data)
    found = [noise.prepare(k, 7, "a", labels, HEAD)[0](0.2) for k in (mild, strong)]
    assert (found[0].data == found[1].data).all()


def test_a_misspelt_class_is_refused(cube):
    kind = params.load().noise["head"].kinds["boundary_1"]
    kind = kind.model_copy(update={"classes": {"bones": 1.0}})
    with pytest.raises(ValueError, match=r"structure must be one of .* got .bones."):
        noise.prepare(kind, 7, "a", cube, HEAD)


def ball(shape, radius_vox):
    middle = (np.array(shape) - 1) / 2
    at = np.moveaxis(np.indices(shape), 0, -1)
    return np.sum((at - middle) ** 2, -1) <= radius_vox**2


@pytest.mark.parametrize(
    ("shape", "spacing_mm"), [((40, 60), (3, 2)), ((24, 20, 16), (1, 1.5, 2))]
)
def test_a_deformed_mask_is_on_average_its_marginal(rng, shape, spacing_mm):
    """Proposition 1, in 2-D and 3-D, on anisotropic voxels."""
    mask, n = ball(shape, 5.5), 300
    mean = np.zeros(shape)
    for _ in range(n):
        fields = labelnoise.draw_fields(len(shape), shape, spacing_mm, 5, rng)
        mean += labelnoise.deform(mask, fields, 3.0, spacing_mm) / n
    prob = labelnoise.marginal(mask, 3.0, spacing_mm)
    error = (mean - prob) / np.sqrt(prob * (1 - prob) / n + 1e-6)
    assert np.sqrt(np.mean(error**2)) < 1.2 and np.abs(mean - prob).max() < 0.15


def test_the_marginal_of_fine_voxels_is_the_gaussian_blur():
    mask = ball((60, 60), 15)
    blurred = ndimage.gaussian_filter(
        mask.astype(float), 8, mode="constant", truncate=6
    )
    assert np.abs(labelnoise.marginal(mask, 4.0, (0.5, 0.5)) - blurred).max() < 2e-3


def test_volume_is_kept_on_average_but_for_what_leaves_the_grid():
    """Proposition 2; by hand: a half plane at the border loses a / sqrt(2 pi)."""
    inside, edge = np.zeros((80, 3)), np.zeros((80, 3))
    inside[30:50], edge[:40] = 1, 1
    for mask, lost in ((inside, 0), (edge, 4 / np.sqrt(2 * np.pi))):
        prob = labelnoise.marginal(mask, 4.0, (1, 1e3))  # nothing leaves along Y
        assert prob.sum() / 3 == pytest.approx(mask.sum() / 3 - lost, abs=0.01)


def test_what_comes_from_beyond_the_grid_is_0():
    mask = np.ones((5, 4), bool)
    found = labelnoise.deform(
        mask, np.stack([np.ones((5, 4)), np.zeros((5, 4))]), 2, (1, 1)
    )
    assert found[:3].all() and not found[3:].any()


def test_a_shift_by_less_than_half_a_voxel_changes_nothing(rng):
    mask, fields = ball((9, 9), 3), np.full((2, 9, 9), 0.9)
    assert (labelnoise.deform(mask, fields, 1.0, (2, 2)) == mask).all()


@pytest.mark.parametrize(
    ("mask", "sd_mm", "shape", "said"),
    [
        ([[0, 2]], 1.0, (2, 1, 2), r"mask must hold only 0 and 1, got \[0 2\]"),
        ([[0, 0.5]], 1.0, (2, 1, 2), "mask must hold only 0 and 1"),
        ([[0, 0]], 1.0, (2, 1, 2), "mask must hold the structure, got an empty one"),
        ([[0, 1]], 0.0, (2, 1, 2), "sd_mm must be above 0, got 0.0"),
        ([[0, 1]], np.nan, (2, 1, 2), "sd_mm must be above 0, got nan"),
        ([[0, 1]], 1.0, (2, 2, 2), r"fields must be of the mask's grid \(2, 1, 2\)"),
        ([[0, 1]], 1.0, (3, 1, 2), r"fields must be of the mask's grid \(2, 1, 2\)"),
    ],
)
def test_masks_that_make_no_sense_are_refused(mask, sd_mm, shape, said):
    with pytest.raises(ValueError, match=said):
        labelnoise.deform(np.array(mask), np.zeros(shape), sd_mm, (1, 1))
