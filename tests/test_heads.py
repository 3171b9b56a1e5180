"""Anatomy: every head different, replayable, and put together like a head."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from noisyseg import grids, heads, physics, shapes, tissues

SHAPE, SPACING_MM = (96, 120, 120), 2.0


@pytest.fixture(scope="module")
def anatomy():
    return heads.draw(np.random.default_rng(3))


@pytest.fixture(scope="module")
def head(anatomy):
    return heads.render(anatomy, SHAPE, SPACING_MM)


def test_draw_is_replayable(anatomy):
    assert heads.draw(np.random.default_rng(3)) == anatomy
    assert heads.draw(np.random.default_rng(4)) != anatomy


def test_render_is_replayable(anatomy, head):
    assert np.array_equal(heads.render(anatomy, SHAPE, SPACING_MM), head)


def test_folding_alone_makes_another_brain(anatomy, head):
    other = heads.render(replace(anatomy, seed=anatomy.seed + 1), SHAPE, SPACING_MM)
    assert np.mean(other[head == tissues.CORTEX] == tissues.CORTEX) < 0.8


def test_every_class_is_present(head):
    assert set(np.unique(physics.to_classes(head))) == set(range(9))


def test_volumes_are_those_of_adults(head):
    ml = np.bincount(tissues.CLASS[head].ravel(), minlength=9) * SPACING_MM**3 / 1000
    limits = {1: (300, 750), 2: (400, 950), 3: (200, 650), 4: (300, 800), 7: (8, 18)}
    assert all(low < ml[c] < high for c, (low, high) in limits.items())


def test_brain_is_one_piece(head):
    brain = np.isin(tissues.CLASS[head], (1, 2, 8))
    parts, _ = ndimage.label(brain)
    assert np.bincount(parts[brain])[1:].max() > 0.98 * brain.sum()


def test_skull_is_closed_but_for_the_canal(head):
    """From the brain through fluid and brain one leaves the skull only downwards."""
    nine = tissues.CLASS[head]
    low = int((-62 - grids.origin_mm(SHAPE, SPACING_MM)[2]) / SPACING_MM)
    inside = np.isin(nine, (1, 2, 3, 8))[:, :, low:]
    outside = np.isin(nine, (0, 5, 6))[:, :, low:]
    parts, _ = ndimage.label(inside)
    main = parts == np.bincount(parts[parts > 0]).argmax()
    touching = ndimage.binary_dilation(main) & outside
    assert touching.sum() < 0.002 * main.sum()


def test_eyes_lie_before_the_brain_and_apart(head):
    eyes = np.isin(head, (tissues.VITREOUS, tissues.LENS))
    parts, count = ndimage.label(eyes)
    (x0, y0, _), (x1, y1, _) = ndimage.center_of_mass(eyes, parts, [1, 2])
    brain_y = ndimage.center_of_mass(np.isin(head, (1, 2)))[1]
    assert count == 2 and abs(x0 - x1) * SPACING_MM > 50 and min(y0, y1) > brain_y


def test_older_heads_have_larger_ventricles(anatomy):
    small, large = (
        heads.render(replace(anatomy, ventricle=v), SHAPE, SPACING_MM)
        for v in (0.8, 1.8)
    )
    count = [np.sum(h == tissues.VENTRICLE) for h in (small, large)]
    assert count[1] > 1.5 * count[0]


def test_grids_agree_on_where_the_head_is(anatomy, head):
    """A smaller field of view loses the neck and nothing else moves."""
    short = heads.render(anatomy, (96, 120, 80), SPACING_MM)
    assert np.mean(short == head[:, :, 40:]) > 0.999


@pytest.mark.parametrize("shape", [(95, 120, 120), (96, 120), (4, 4, 4)])
def test_shape_must_be_even(anatomy, shape):
    with pytest.raises(ValueError, match="shape must be three even numbers"):
        heads.render(anatomy, shape, 2.0)


def test_refining_keeps_a_linear_field():
    x = np.arange(-1.0, 5.0).reshape(6, 1, 1) * np.ones((6, 3, 3))
    fine = shapes.refine(x)
    assert fine.shape == (8, 2, 2)
    assert np.allclose(fine[:, 0, 0], np.arange(8) / 2 - 0.25)


def test_planes_are_those_of_the_whole():
    field = np.random.default_rng(0).standard_normal((6, 5, 4))
    planes = [p["a"] for p in shapes.refined_planes({"a": field})]
    assert np.allclose(np.concatenate(planes), shapes.refine(field))


def test_distance_to_a_sphere_is_exact():
    at = np.random.default_rng(0).uniform(-9, 9, (3, 50))
    exact = np.sqrt((at * at).sum(axis=0)) - 4
    assert np.allclose(shapes.ellipsoid(at, (0, 0, 0), (4, 4, 4)), exact)
    assert np.allclose(shapes.tube(at, [(0, 0, 0), (0, 0, 1e-9)], [4, 4]), exact)
