"""Atlas and alignment on toy heads: limits and laws."""

import numpy as np
import pytest

from noisyseg import atlases
from noisyseg.volume import Volume


def toy_head(scale=1.0, shift_mm=(0, 0, 0), shape=(40, 48, 44), spacing=4.0, dim=False):
    """A head of two ellipsoids and an eye, with its three classes."""
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -0.5 * spacing * np.array(shape)
    points = np.indices(shape).T @ affine[:3, :3] + affine[:3, 3]
    points = (points - shift_mm) / scale
    radius = lambda axes, at=(0, 0, 0): np.linalg.norm((points - at) / axes, axis=-1).T  # noqa: E731
    labels = np.zeros(shape, np.uint8)
    labels[radius((60, 75, 70)) < 1] = 1
    labels[radius((45, 58, 50), (0, -5, 8)) < 1] = 2
    labels[radius((20, 14, 14), (20, 60, -20)) < 1] = 0
    values = np.array([0.0, 0.7, 0.2] if dim else [0.0, 0.5, 1.0])
    return Volume(values[labels].astype(np.float32), affine), Volume(labels, affine)


def test_affine_between_finds_scale_and_shift():
    fixed, _ = toy_head()
    moving, _ = toy_head(1.1, (6, -9, 4))
    matrix = atlases.affine_between(fixed, moving)
    points = np.array([[30, 20, 10, 1], [-30, -20, 0, 1], [0, 0, 40, 1]]).T
    expected = 1.1 * points[:3] + np.array([[6], [-9], [4]])
    assert np.abs((matrix @ points)[:3] - expected).max() < 3


def test_alignment_repeats_and_ignores_the_intensity_scale():
    fixed, _ = toy_head()
    moving, _ = toy_head(1.1, (6, -9, 4))
    first = atlases.affine_between(fixed, moving)
    louder = atlases.affine_between(fixed, moving.with_data(moving.data * 512))
    assert np.array_equal(first, louder)


def test_atlas_of_one_head_is_its_labels(tmp_path):
    image, labels = toy_head()
    atlas = atlases.build_atlas([image], [labels], 4)
    assert np.allclose(atlas.prob.argmax(0), labels.data, atol=0)
    assert not atlas.prob[3].any()
    atlases.write(tmp_path / "atlas.safetensors", atlas)
    back = atlases.read(tmp_path / "atlas.safetensors")
    assert np.array_equal(back.prob, atlas.prob)
    assert np.array_equal(back.affine, atlas.affine)


def test_align_brings_the_atlas_onto_another_grid():
    atlas = atlases.build_atlas(*[[v] for v in toy_head()], 3)
    image, labels = toy_head(0.95, (5, 5, -5), (60, 70, 90), 3.0)
    prob = atlases.align(atlas, image)
    assert prob.shape == (3, 60, 70, 90) and prob.dtype == np.float32
    assert np.allclose(prob.sum(0), 1, atol=1e-4)
    found = prob.argmax(0) == 2
    both = found & (labels.data == 2)
    assert 2 * both.sum() / (found.sum() + (labels.data == 2).sum()) > 0.9


def test_rigid_registration_of_another_contrast():
    fixed, _ = toy_head()
    moving, _ = toy_head(1.0, (6, -4, 3), (50, 50, 50), 3.5, dim=True)
    expected, _ = toy_head(dim=True)
    moved = atlases.register_rigid(moving, fixed)
    assert moved.shape == fixed.shape
    assert np.corrcoef(moved.data.ravel(), expected.data.ravel())[0, 1] > 0.9


def test_bad_input_is_refused(tmp_path):
    image, labels = toy_head()
    with pytest.raises(ValueError, match="images must pair with labels"):
        atlases.build_atlas([image], [], 3)
    with pytest.raises(ValueError, match="labels must lie in 0 to 1"):
        atlases.build_atlas([image], [labels], 2)
    with pytest.raises(ValueError, match="head must hold something bright"):
        atlases.align(atlases.build_atlas([image], [labels], 3), _empty(image))
    with pytest.raises(FileNotFoundError, match="must exist"):
        atlases.read(tmp_path / "none")
    (tmp_path / "cut").write_bytes(b"cut")
    with pytest.raises(ValueError, match="must hold an atlas"):
        atlases.read(tmp_path / "cut")


def _empty(image):
    return image.with_data(np.zeros_like(image.data))


def test_a_map_without_the_scales_of_a_head_is_refused(monkeypatch):
    fixed, _ = toy_head()
    monkeypatch.setattr(atlases, "SCALES", (1.05, 1.2))
    with pytest.raises(ValueError, match=r"head must be alignable with the atlas, got"):
        atlases.affine_between(fixed, fixed)
    moving, _ = toy_head(1.12)
    assert atlases.affine_between(fixed, moving)[0, 0] > 1.05


def test_a_scan_of_another_place_is_refused():
    fixed, _ = toy_head()
    far = Volume(fixed.data, fixed.affine + np.array([[0, 0, 0, 300]] + [[0] * 4] * 3))
    with pytest.raises(ValueError, match=r"moving must show the head of fixed, got 0%"):
        atlases.register_rigid(far, fixed)
