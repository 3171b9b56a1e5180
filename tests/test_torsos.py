"""Anatomy: every torso different, replayable, and put together like a torso."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from noisyseg import tomography, torsos
from noisyseg import torso_tissues as ids

SHAPE, SPACING_MM = (120, 88, 112), 3.0
COARSE = (60, 44, 56), 6.0
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def anatomies():
    return [torsos.draw(np.random.default_rng(seed)) for seed in SEEDS]


@pytest.fixture(scope="module")
def maps(anatomies):
    return [torsos.render(torso, SHAPE, SPACING_MM) for torso in anatomies]


@pytest.fixture(scope="module")
def masks(maps):
    return [tomography.structures(tissues, 1) for tissues in maps]


def test_draw_is_replayable(anatomies):
    assert torsos.draw(np.random.default_rng(1)) == anatomies[0]
    assert len(set(anatomies)) == len(SEEDS)


def test_render_is_replayable(anatomies):
    one, again, other = (torsos.render(anatomies[k], *COARSE) for k in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_all_tissues_are_drawn(maps):
    drawn = set(np.unique(np.concatenate([m.ravel() for m in maps])).tolist())
    names = {ids.NAMES[n] for n in set(range(len(ids.NAMES))) - drawn}
    assert names <= {"aortic plaque", "oesophageal air"}  # not everyone has them


@pytest.mark.parametrize(
    ("name", "low_ml", "high_ml"),
    [
        ("kidney_left", 100, 240),
        ("kidney_right", 100, 240),
        ("aorta", 110, 300),
        ("esophagus", 15, 50),
    ],
)
def test_volumes_are_those_of_adults(masks, name, low_ml, high_ml):
    volumes_ml = [m[name].sum() * SPACING_MM**3 / 1000 for m in masks]
    assert all(low_ml < v < high_ml for v in volumes_ml)
    assert len(set(volumes_ml)) == len(SEEDS)


def test_tubes_have_the_drawn_radius(anatomies, maps):
    """Abdominal aorta, straight down: area of its sections against its radii."""
    torso = replace(anatomies[0], warp_mm=0.0)
    tissues = torsos.render(torso, SHAPE, SPACING_MM)
    areas = np.isin(tissues, ids.belonging("aorta")).sum(axis=(0, 1)) * SPACING_MM**2
    low = areas[: SHAPE[2] // 2]
    radius_mm = np.sqrt(np.median(low[low > 0]) / np.pi)
    drawn_mm = torso.aorta_mm * np.sqrt(torso.size[0] * torso.size[1])
    assert 0.7 * drawn_mm < radius_mm < 1.15 * drawn_mm


def test_left_is_left(maps, masks):
    for tissues, parts in zip(maps, masks, strict=True):
        x = {n: ndimage.center_of_mass(m)[0] for n, m in parts.items()}
        liver, spleen = (
            ndimage.center_of_mass(tissues == n)[0] for n in (ids.LIVER, ids.SPLEEN)
        )
        assert x["kidney_left"] + 15 < x["aorta"] < x["kidney_right"] - 15
        assert spleen < x["aorta"] < liver


def test_oesophagus_runs_between_spine_and_heart_to_the_left(masks, maps):
    for tissues, parts in zip(maps, masks, strict=True):
        places = np.argwhere(parts["esophagus"])
        low, high = places[:, 2].min(), places[:, 2].max()
        top, bottom = (places[np.abs(places[:, 2] - z) < 3] for z in (high, low))
        assert bottom[:, 0].mean() < top[:, 0].mean() - 4
        heart = ndimage.center_of_mass(tissues == ids.HEART)[1]
        assert places[:, 1].mean() < heart


def test_structures_are_disjoint_and_in_one_piece(masks):
    for parts in masks:
        assert np.sum([m for m in parts.values()], axis=0).max() == 1
        for name, mask in parts.items():
            pieces, _ = ndimage.label(mask, np.ones((3, 3, 3)))
            share = np.bincount(pieces[mask]).max() / mask.sum()
            assert share > 0.97, name


def test_more_fat_makes_a_wider_body(anatomies):
    thin, stout = (
        torsos.render(replace(anatomies[1], fat_mm=mm), *COARSE) for mm in (6.0, 30.0)
    )
    assert np.sum(stout > 0) > 1.2 * np.sum(thin > 0)
    kidney = [np.isin(m, ids.belonging("kidney_left")) for m in (thin, stout)]
    assert np.array_equal(*kidney)


def test_grids_agree_on_where_the_torso_is(anatomies, maps):
    """A smaller field of view loses its rim and nothing else moves."""
    small = torsos.render(anatomies[0], (80, 60, 80), SPACING_MM)
    assert np.mean(small == maps[0][20:-20, 14:-14, 16:-16]) > 0.999


@pytest.mark.parametrize("shape", [(95, 88, 112), (96, 120), (4, 4, 4)])
def test_shape_must_be_even(anatomies, shape):
    with pytest.raises(ValueError, match="shape must be three even numbers"):
        torsos.render(anatomies[0], shape, 3.0)
    with pytest.raises(ValueError, match="spacing_mm must be positive"):
        torsos.render(anatomies[0], (16, 16, 16), 0.0)
