"""Skull base: ears, tumours and tissues where and as large as they should be."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from noisyseg import skullbase_ears as ears
from noisyseg import skullbase_heads as heads
from noisyseg import skullbase_tissues as ids
from noisyseg import skullbase_tumours as tumours
from noisyseg import tissues
from noisyseg.skullbase_grids import CENTRE_MM, SlabGrid

GRID = SlabGrid((48, 48, 24), (2, 2, 3), 1.0)
AVERAGE = ears.Ear((0.0, 0.0, 0.0), 0.0, 1.0, 2.35)


def drawn(volume_ml, seed=3, **more):
    """A skull base with a right schwannoma of this volume."""
    base = heads.draw(np.random.default_rng(seed))
    tumour = replace(base.schwannoma, volume_ml=volume_ml, right=1, **more)
    return replace(base, schwannoma=tumour)


@pytest.fixture(scope="module")
def maps():
    """Tissue maps of one person with a small and a large tumour."""
    return {ml: heads.render(drawn(ml, cystic=0.3), GRID) for ml in (0.1, 6.0)}


def fine(step_mm=0.25):
    """Coordinates around an average ear, and the volume (mm3) of a voxel."""
    lines = [np.arange(low, high, step_mm) for low, high in zip(
        ears.REACH_MM[0::2], ears.REACH_MM[1::2], strict=True
    )]  # fmt: skip
    return np.meshgrid(*lines, indexing="ij", sparse=True), step_mm**3


def mask_mm(mask):
    """Middle of a mask on the tissue grid, world mm."""
    middle = np.argwhere(mask).mean(axis=0) - (np.array(mask.shape) - 1) / 2
    return middle * GRID.tissue_spacing_mm + CENTRE_MM


# Ears


def test_cochlea_is_as_large_as_annotated_ones():
    """0.17 mL with its modiolus, about half of it fluid."""
    at, voxel = fine()
    snail, duct = ears.cochlea_fields(at, AVERAGE)
    volume, fluid = (voxel * np.count_nonzero(field < 0) for field in (snail, duct))
    assert 135 < volume < 185 and 0.35 < fluid / volume < 0.65
    assert not np.any((duct < 0) & (snail >= 0))
    assert ndimage.label(snail < 0)[1] == 1


def test_duct_makes_two_and_a_half_turns():
    """A half-plane through the axis meets the spiral 2 or 3 times, by its side."""
    points, wide = ears.spiral()
    x, y, z = np.array(points[1:]).T
    turned = np.unwrap(np.arctan2(y, x))
    assert (turned[-1] - turned[0]) / (2 * np.pi) == pytest.approx(2.5)
    assert np.all(np.diff(z) > 0) and np.all(np.diff(np.hypot(x, y)) < 0)
    assert wide[0] > wide[-1] > 0.5


def test_larger_scale_is_a_larger_cochlea():
    at, _ = fine(0.5)
    sizes = [
        np.count_nonzero(ears.cochlea_fields(at, replace(AVERAGE, cochlea=s))[0] < 0)
        for s in (1.0, 1.1)
    ]
    assert sizes[1] / sizes[0] == pytest.approx(1.331, rel=0.05)


def test_placing_is_a_rigid_motion():
    at = np.random.default_rng(0).uniform(-9, 9, (3, 50))
    ear = replace(AVERAGE, shift_mm=(1.0, -2.0, 0.5), turn_rad=0.3)
    moved = np.array(ears.placed(at, ear))
    apart = [np.linalg.norm(p[:, :1] - p, axis=0) for p in (at, moved)]
    np.testing.assert_allclose(*apart, atol=1e-9)
    np.testing.assert_allclose(ears.placed(at, AVERAGE), at, atol=1e-12)


def test_both_ears_lie_in_bone_on_their_sides(maps):
    labels = maps[0.1]
    cochlea = np.isin(labels, (ids.DUCT, ids.MODIOLUS))
    half = labels.shape[0] // 2
    for part, sign in ((cochlea[half:], 1), (cochlea[:half], -1)):
        assert 100 < np.count_nonzero(part) < 230
        middle = np.argwhere(part).mean(axis=0)[0] + (half if sign > 0 else 0)
        assert sign * (middle - half + 0.5) == pytest.approx(32, abs=8)
    shell = ndimage.binary_dilation(cochlea) & ~cochlea
    hard = np.isin(labels[shell], (tissues.COMPACT, ids.LYMPH, tissues.FLUID))
    assert hard.mean() > 0.85


# Tumours


def test_drawn_volumes_are_those_published():
    rng = np.random.default_rng(0)
    drawn = [tumours.draw(rng) for _ in range(400)]
    volumes = np.array([tumour.volume_ml for tumour in drawn])
    assert volumes.min() >= 0.04 and volumes.max() <= 9.8
    assert np.median(volumes) == pytest.approx(1.1, rel=0.25)
    assert abs(np.mean([tumour.right for tumour in drawn]) - 0.5) < 0.08
    assert {tumour.koos for tumour in drawn} == {1, 2, 3, 4}


def test_painted_volume_is_the_drawn_one(maps):
    solid = (ids.SCHWANNOMA, ids.LOOSE, ids.CYST)
    for ml, labels in maps.items():
        found = np.count_nonzero(np.isin(labels, solid)) / 1000.0
        assert found == pytest.approx(ml, abs=2e-3)


def test_small_tumour_lies_in_the_canal_and_a_large_one_before_it(maps):
    small, large = (maps[ml] == ids.SCHWANNOMA for ml in (0.1, 6.0))
    assert mask_mm(small)[0] > mask_mm(large)[0] + 6
    cyst = maps[6.0] == ids.CYST
    rim = ndimage.binary_dilation(cyst) & ~cyst
    assert cyst.any() and np.isin(maps[6.0][rim], (ids.SCHWANNOMA, ids.LOOSE)).all()


def test_tumour_pushes_the_brain_and_never_the_skull(maps):
    small, large = maps.values()
    for number in (tissues.COMPACT, tissues.MARROW, tissues.AIR, ids.DUCT):
        changed = (small == number) != (large == number)
        assert np.count_nonzero(changed) < 0.01 * np.count_nonzero(small == number)
    stem = np.s_[30:66, 30:52, 38:52]  # the pons, by its white matter
    right = [np.argwhere(m[stem] == tissues.WHITE)[:, 0].mean() for m in (small, large)]
    assert right[1] < right[0] - 0.5


def test_push_keeps_volume_and_fades():
    """By hand: r^3 - a^3 before, so that 20 mm away only a fraction of a mm is left."""
    tumour = drawn(2.0).schwannoma
    centre = tumours.middle_mm(tumour)
    grown = 0.67 * tumour.radius_mm**3
    for r in (12.0, 30.0):
        at = [np.array([c + step]) for c, step in zip(centre, (0, r, 0), strict=True)]
        moved = np.array([m[0] for m in tumours.pushed(at, tumour)])
        wanted = np.cbrt(r**3 - grown)
        np.testing.assert_allclose(moved - centre, [0, wanted, 0], atol=1e-6)


def test_tumour_is_on_the_side_that_was_drawn():
    base = drawn(1.0)
    for right, sign in ((1, 1), (0, -1)):
        one = replace(base, schwannoma=replace(base.schwannoma, right=right))
        middle = mask_mm(heads.render(one, GRID) == ids.SCHWANNOMA)
        assert sign * middle[0] > 10


# Whole map


def test_same_anatomy_same_map_and_finer_grids_agree():
    base = drawn(1.0)
    labels = heads.render(base, GRID)
    assert np.array_equal(labels, heads.render(base, GRID))
    halves = SlabGrid((48, 48, 18), (2, 2, 4), 1.0)
    assert np.array_equal(heads.render(base, halves), labels)


def test_everything_that_makes_the_region_is_there(maps):
    found = set(np.unique(maps[6.0]).tolist())
    wanted = {tissues.WHITE, tissues.CORTEX, tissues.CEREBELLUM, tissues.FLUID}
    wanted |= {tissues.VENTRICLE, tissues.AIR, tissues.VEIN, tissues.ARTERY}
    wanted |= {ids.NERVE, ids.LYMPH, ids.DUCT, ids.MODIOLUS, ids.SCHWANNOMA}
    assert wanted <= found and tissues.OUTSIDE not in found
