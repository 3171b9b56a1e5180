"""Lesions: loads and sizes, where they lie, what a tumour does to the brain around."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from noisyseg import cerebra, grids, heads, lesions, tissues, tumours
from noisyseg import lesion_tissues as ids

SHAPE, SPACING_MM = (96, 120, 104), 2.0
VOXEL_ML = SPACING_MM**3 / 1000
WMH = (ids.PALE_WMH, ids.WMH)
CORE = (ids.CORE, ids.RIM, ids.NECROSIS)
OEDEMA = (ids.PALE_OEDEMA, ids.OEDEMA)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def head():
    return heads.render(heads.draw(rng(3)), SHAPE, SPACING_MM)


@pytest.fixture(scope="module")
def drawn():
    return replace(lesions.draw(rng(1), 0.7), load_ml=12.0)


@pytest.fixture(scope="module")
def spotted(head, drawn):
    return lesions.paint(head, drawn, SPACING_MM)


@pytest.fixture(scope="module")
def tumour():
    return replace(
        tumours.draw(rng(1)), core_ml=25.0, oedema_ml=60.0, enhancing=True, rim_mm=4.0
    )


@pytest.fixture(scope="module")
def swollen(head, tumour):
    return tumours.paint(head, tumour, SPACING_MM)


def volume_ml(labels, numbers):
    return np.isin(labels, numbers).sum() * VOXEL_ML


# hyperintensities


def test_loads_run_from_below_1_to_above_40_ml_and_grow_with_age():
    young, old = (
        [lesions.draw(rng(k), age).load_ml for k in range(200)] for age in (0.0, 1.0)
    )
    assert min(young) < 0.5 and max(old) > 40
    assert 0.6 < np.median(young) < 1.1 and 19 < np.median(old) < 30


def test_load_is_the_one_drawn(spotted, drawn):
    biggest_deep_ml = 0.5
    assert 0 <= volume_ml(spotted, WMH) - drawn.load_ml < biggest_deep_ml


def test_hyperintensities_are_painted_over_cerebral_white_matter_alone(head, spotted):
    changed = spotted != head
    assert set(np.unique(spotted[changed])) == {ids.PENUMBRA, *WMH}
    assert np.all(head[changed] == tissues.WHITE)
    brain = cerebra.cerebrum(head, SPACING_MM)
    white = cerebra.white_matter(brain)
    assert np.all(white[changed[cerebra.box(head)]])


def test_callosum_is_spared(head, spotted):
    x = grids.axes_mm(SHAPE, SPACING_MM)[0]
    assert not np.any((spotted != head)[np.abs(x) < 6.0])


def test_many_lesions_are_small_and_few_are_large(spotted):
    parts, count = ndimage.label(np.isin(spotted, WMH), np.ones((3, 3, 3)))
    sizes_ml = np.sort(np.bincount(parts.ravel())[1:]) * VOXEL_ML
    assert count > 20
    assert np.median(sizes_ml) < 0.1 and sizes_ml[-1] > 1.0


def test_a_larger_share_lies_nearer_to_the_ventricles(head, drawn):
    brain = cerebra.cerebrum(head, SPACING_MM)
    wall = cerebra.distance_mm(brain, cerebra.lateral_ventricles(brain))
    near = []
    for share in (0.5, 0.8):
        here = lesions.paint(head, replace(drawn, periventricular=share), SPACING_MM)
        mask = np.isin(here[cerebra.box(head)], WMH)
        near.append(np.mean(wall[mask] < 10.0))
    assert near[1] > near[0] + 0.1 and near[1] > 0.6


def test_lesions_fade_outwards(head, spotted):
    depth = ndimage.distance_transform_edt(spotted != head)
    grades = (ids.PENUMBRA, ids.PALE_WMH, ids.WMH)
    outer, middle, inner = (depth[spotted == grade].mean() for grade in grades)
    assert outer < middle < inner


def test_painting_is_replayable_and_leaves_its_input_alone(head, drawn, spotted):
    before = head.copy()
    assert np.array_equal(lesions.paint(head, drawn, SPACING_MM), spotted)
    assert np.array_equal(head, before)
    other = lesions.paint(head, replace(drawn, seed=drawn.seed + 1), SPACING_MM)
    assert np.mean(np.isin(other, WMH)[np.isin(spotted, WMH)]) < 0.8


def test_load_must_fit_the_white_matter(head, drawn):
    with pytest.raises(ValueError, match=r"load_ml must fit .* got 400\.0"):
        lesions.paint(head, replace(drawn, load_ml=400.0), SPACING_MM)


# tumours


def test_tumours_have_the_sizes_of_gliomas():
    many = [tumours.draw(rng(k)) for k in range(200)]
    core, oedema = ([getattr(t, n) for t in many] for n in ("core_ml", "oedema_ml"))
    assert min(core) == 5 and max(core) == 60 and 15 < np.median(core) < 26
    assert min(oedema) == 20 and max(oedema) == 120
    assert 0.65 < np.mean([t.enhancing for t in many]) < 0.85


def test_volumes_are_those_drawn(swollen, tumour):
    assert volume_ml(swollen, CORE) == pytest.approx(tumour.core_ml, abs=0.05)
    assert volume_ml(swollen, OEDEMA) == pytest.approx(tumour.oedema_ml, abs=0.05)


def test_only_the_inside_of_the_skull_changes(head, swollen):
    outside = ~np.isin(head, cerebra.INSIDE_SKULL)
    assert np.array_equal(swollen[outside], head[outside])
    lesion = np.isin(swollen, CORE + OEDEMA)
    assert not np.any(lesion & outside)


def test_tumour_is_one_piece_with_oedema_around(swollen):
    core = np.isin(swollen, CORE)
    parts, _ = ndimage.label(core)
    assert np.bincount(parts[core]).max() > 0.95 * core.sum()
    wet = np.isin(swollen, OEDEMA)
    reach = ndimage.distance_transform_edt(~core)[wet] * SPACING_MM
    assert reach.min() <= SPACING_MM and 5 < np.median(reach) < 40


def test_rim_lies_around_the_necrosis(swollen):
    core = np.isin(swollen, CORE)
    depth_mm = ndimage.distance_transform_edt(core) * SPACING_MM
    rim, dead = (depth_mm[swollen == n] for n in (ids.RIM, ids.NECROSIS))
    assert len(dead) > 0.1 * core.sum() and rim.mean() + 2.0 < dead.mean()


def test_oedema_spares_grey_matter(head, tumour):
    """Without a push every oedematous voxel was white matter."""
    still = tumours.paint(head, replace(tumour, push=0.0), SPACING_MM)
    assert np.all(head[np.isin(still, OEDEMA)] == tissues.WHITE)
    assert np.array_equal(still == tissues.VENTRICLE, head == tissues.VENTRICLE)


def test_push_moves_the_ventricles_away_from_the_tumour(head, tumour):
    apart = []
    for push in (0.0, 0.28):
        here = tumours.paint(head, replace(tumour, push=push), SPACING_MM)
        centre = np.argwhere(np.isin(here, CORE)).mean(axis=0)
        spots = np.argwhere(here == tissues.VENTRICLE)
        distance = np.sort(np.linalg.norm(spots - centre, axis=1))
        apart.append(distance[:200].mean() * SPACING_MM)
    assert apart[0] + 2.0 < apart[1] < apart[0] + 15.0


def test_tumour_without_enhancement_has_no_rim(head, tumour):
    here = tumours.paint(head, replace(tumour, enhancing=False), SPACING_MM)
    assert not np.any(here == ids.RIM)
    assert np.mean(here[np.isin(here, CORE)] == ids.CORE) > 0.7


def test_tumour_stays_in_one_half_of_the_brain(head, tumour):
    for seed in range(4):
        here = tumours.paint(head, replace(tumour, seed=seed, push=0.0), SPACING_MM)
        brain = cerebra.cerebrum(here, SPACING_MM)
        x = np.broadcast_to(brain.at[0], brain.labels.shape)
        side = np.sign(x[np.isin(brain.labels, CORE)])
        assert abs(side.sum()) == len(side)


def test_core_must_fit_the_brain(head, tumour):
    with pytest.raises(ValueError, match=r"core_ml must fit .* got 900\.0"):
        tumours.paint(head, replace(tumour, core_ml=900.0), SPACING_MM)


def test_tumour_is_replayable(head, tumour, swollen):
    assert np.array_equal(tumours.paint(head, tumour, SPACING_MM), swollen)
    assert tumours.draw(rng(7)) == tumours.draw(rng(7)) != tumours.draw(rng(8))


# the cerebrum


def test_head_without_a_brain_is_refused(drawn):
    with pytest.raises(ValueError, match="labels must hold a brain, got no cortex"):
        lesions.paint(np.zeros((20, 20, 20), np.uint8), drawn, SPACING_MM)


def test_distance_is_the_exact_one_within_two_voxels(head):
    brain = cerebra.cerebrum(head, SPACING_MM)
    mask = brain.labels == tissues.VENTRICLE
    exact = ndimage.distance_transform_edt(~mask) * SPACING_MM
    assert np.abs(cerebra.distance_mm(brain, mask) - exact).max() < 2.1 * SPACING_MM
    with pytest.raises(ValueError, match="mask must hold a voxel"):
        cerebra.distance_mm(brain, np.zeros_like(mask))


def test_lowest_takes_exactly_as_many_as_asked():
    score, allowed = rng().standard_normal(500), rng(1).uniform(size=500) < 0.5
    mask = cerebra.lowest(score, allowed, 40)
    assert mask.sum() == 40 and np.all(allowed[mask])
    assert score[mask].max() < score[allowed & ~mask].min()
    assert np.array_equal(cerebra.lowest(score, allowed, 900), allowed)
