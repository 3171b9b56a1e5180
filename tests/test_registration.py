import nibabel as nib
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage

from noisyseg import (
    affine,
    blockmatching,
    cli,
    deformation,
    displacements,
    registration,
    volume,
)
from noisyseg.blockmatching import Search
from noisyseg.displacements import Field
from noisyseg.volume import Volume

SHAPE = (40, 36, 32)
QUICK = registration.Settings(affine_levels=(Search(4, 1, 3), Search(4, 1, 2)))


def grid(data, spacing_mm=(1.0, 1.0, 1.0)):
    return Volume(data, np.diag([*spacing_mm, 1.0]))


def still(shape, affine=None):
    return Field(
        np.zeros((3, *shape), np.float32), np.eye(4) if affine is None else affine
    )


def error_mm(field, wanted, radius_vox=14):
    """Mean distance of two displacements within the ball of `texture`."""
    wanted = np.reshape(wanted, (3, 1, 1, 1)) if np.size(wanted) == 3 else wanted
    return np.linalg.norm(field.data - wanted, axis=0)[ball(radius_vox)].mean()


def ball(radius_vox):
    centre = np.array(SHAPE).reshape(3, 1, 1, 1) / 2
    return ((np.indices(SHAPE) - centre) ** 2).sum(0) < radius_vox**2


def world(volume):
    """Places of all voxels in mm, (3, X, Y, Z)."""
    points = np.indices(volume.shape).reshape(3, -1).T
    return nib.affines.apply_affine(volume.affine, points).T.reshape(3, *volume.shape)


@pytest.fixture
def texture(rng):
    """Blobs of two voxels' size in a ball, on nothing."""
    blobs = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2)
    return np.where(ball(14), 5 + blobs / blobs.std(), 0).astype(np.float32)


@pytest.mark.parametrize("spacing_mm", [(1, 1, 1), (0.5, 0.5, 1.5)])
def test_a_shift_is_found_in_mm_though_the_contrast_is_inverted(texture, spacing_mm):
    fixed = grid(texture, spacing_mm)
    moved = fixed.affine.copy()
    shift = np.array([3, -2, 4]) * np.array(spacing_mm)
    moved[:3, 3] += shift
    field = registration.register(fixed, Volume(9 - texture, moved), QUICK)
    assert error_mm(field, shift) < 0.3


def test_axes_may_be_flipped_and_permuted(texture):
    fixed = grid(texture)
    moved = fixed.affine.copy()
    moved[:3, 3] += (3, 2, 1)
    turned = nib.Nifti1Image(texture, moved).as_reoriented([[2, -1], [0, 1], [1, -1]])
    moving = Volume(np.asarray(turned.dataobj), turned.affine)
    field = registration.register(fixed, moving, QUICK)
    assert moving.shape != fixed.shape
    assert error_mm(field, [3, 2, 1]) < 0.3


def test_an_affine_is_found(texture):
    """The same voxels under another header: turned by 6 degrees and 8 % larger."""
    fixed = grid(texture)
    turn = np.eye(4)
    c, s = 1.08 * np.cos(0.1), 1.08 * np.sin(0.1)
    turn[:2, :2] = [[c, -s], [s, c]]
    to_centre = nib.affines.from_matvec(np.eye(3), np.array(SHAPE) / 2)
    turn = to_centre @ turn @ np.linalg.inv(to_centre)
    field = registration.register(fixed, Volume(texture, turn), QUICK)
    wanted = world(Volume(texture, turn)) - world(fixed)
    assert np.abs(wanted).max() > 2
    assert error_mm(field, wanted) < 0.4


def test_without_levels_the_field_is_affine(texture):
    moving = Volume(texture, np.diag([1.1, 1, 0.95, 1]))
    settings = QUICK.model_copy(update={"levels": (), "refinements": 0})
    field = registration.register(grid(texture), moving, settings)
    for axis in (1, 2, 3):
        assert np.abs(np.diff(field.data, n=2, axis=axis)).max() < 1e-4
    assert np.abs(np.gradient(field.data[0], axis=0) - 0.1).max() < 0.03


def test_a_smooth_deformation_is_found(texture):
    moving = grid(texture)
    x, y, z = np.indices(SHAPE) / 6
    bend = 2.5 * np.stack([np.sin(y), np.cos(z), np.sin(x)]).astype(np.float32)
    true = Field(bend, np.eye(4))
    fixed = registration.warp(moving, true)
    field = registration.register(fixed, moving, QUICK)
    assert error_mm(field, true.data, 10) < 0.3 * error_mm(still(SHAPE), true.data, 10)
    assert registration.folding(field) < 0.005


def test_an_image_lies_on_itself(texture):
    field = registration.register(grid(texture), grid(texture))
    assert np.abs(field.data).max() < 1e-3
    assert field.data.dtype == np.float32 and field.data.shape == (3, *SHAPE)


def test_the_same_bytes_each_time(texture):
    moving = grid(texture[::-1].copy())
    first, second = (registration.register(grid(texture), moving, QUICK) for _ in "ab")
    assert first.data.tobytes() == second.data.tobytes()


def test_the_way_back_undoes_the_way_there_and_more_so_when_symmetric(texture):
    x, y, z = np.indices(SHAPE) / 6
    bend = 2 * np.stack([np.sin(y), np.cos(z), np.sin(x)]).astype(np.float32)
    a, b = grid(texture), registration.warp(grid(texture), Field(bend, np.eye(4)))
    apart = []
    for symmetric in (False, True):
        settings = QUICK.model_copy(update={"symmetric": symmetric})
        there = registration.register(a, b, settings)
        back = registration.register(b, a, settings)
        apart.append(error_mm(back, registration.invert(there).data, 10))
    assert apart[1] < apart[0] < 0.5


def test_a_smaller_field_of_view_is_enough(texture):
    moving = grid(texture[6:34, 4:30])
    moving.affine[:3, 3] = (6 + 2, 4 - 2, 1)
    field = registration.register(grid(texture), moving, QUICK)
    assert error_mm(field, [2, -2, 1], 10) < 0.3


def test_heads_far_apart_are_laid_upon_one_another(texture):
    far = nib.affines.from_matvec(np.eye(3), (500, 0, -300))
    fixed, moving = grid(texture), Volume(texture, far)
    with pytest.raises(ValueError, match=r"overlap by 5% .*, got 0%; .*start='centre'"):
        registration.register(fixed, moving)
    field = registration.register(fixed, moving, QUICK, start="centre")
    assert error_mm(field, far[:3, 3]) < 0.3


@pytest.mark.parametrize(
    ("data", "matrix", "message"),
    [
        (np.ones(SHAPE), np.eye(4), "moving must show something, got 1.0 in every"),
        (np.full(SHAPE, np.nan), np.eye(4), "moving must be finite, got NaN"),
        (np.zeros((9, 9)), np.eye(4), r"moving must be 3-D, .* got float64 \(9, 9\)"),
        (np.zeros((9, 9, 1)), np.eye(4), "at least two voxels along each axis"),
        (np.eye(9)[None] + np.zeros((9, 1, 1)), np.diag([1, 1, 0, 1.0]), "invertible"),
    ],
)
def test_other_images_are_refused(texture, data, matrix, message):
    with pytest.raises(ValueError, match=message):
        registration.register(grid(texture), Volume(data, matrix))


def test_other_settings_are_refused(texture):
    image = grid(texture)
    with pytest.raises(ValueError, match=r"start must be one of .*, got 'top'"):
        registration.register(image, image, start="top")
    with pytest.raises(ValueError, match=r"spacing_mm must leave at most .*, got 0.01"):
        registration.register(image, image, registration.Settings(spacing_mm=0.01))
    with pytest.raises(ValidationError, match="smoothness"):
        registration.Settings(smoothness=1)
    with pytest.raises(ValidationError, match=r"multiple of the step, got \(3, 2, 1\)"):
        registration.Settings(levels=[(3, 2, 1)])


def test_an_image_of_another_anatomy_is_refused(monkeypatch, texture):
    monkeypatch.setattr(affine, "fit", lambda *_: np.diag([3, 1, 1, 1.0]))
    with pytest.raises(ValueError, match=r"stretches by 1\.00 to 3\.00"):
        registration.register(grid(texture), grid(texture))


def test_labels_are_warped_whole():
    """By hand: half a voxel outside to the left, three voxels to the right."""
    labels = grid(np.array([[[7]], [[2**30 + 1]], [[3]]], np.int32))
    right = still((3, 1, 1))
    right.data[0] = [[[-0.6]], [[0.4]], [[3.0]]]
    warped = registration.warp(labels, right, order=0)
    assert warped.data.ravel().tolist() == [0, 2**30 + 1, 0]
    assert warped.data.dtype == np.int32


def test_warping_to_another_grid_is_resampling(rng):
    moving = grid(rng.normal(size=(9, 8, 7)).astype(np.float32), (1, 2, 1.5))
    matrix = nib.affines.from_matvec(np.diag([0.71, -1.13, 0.93]), (1.2, 9.1, -0.47))
    reference = Volume(np.empty((8, 9, 10)), matrix)
    for order in (0, 1):
        warped = registration.warp(moving, still(reference.shape, matrix), order=order)
        wanted = volume.resample(moving, reference, order=order)
        np.testing.assert_allclose(warped.data, wanted.data, atol=1e-4)


def test_warping_refuses_other_orders_and_grids(texture):
    with pytest.raises(ValueError, match="order must be 0 or 1, got 3"):
        registration.warp(grid(texture), still(SHAPE), order=3)
    with pytest.raises(ValueError, match="affine must be invertible"):
        registration.warp(grid(texture, (1, 1, 0)), still(SHAPE))
    with pytest.raises(
        ValueError, match=r"float array \(3, X, Y, Z\), got float64 \(4,"
    ):
        Field(np.zeros((4, 3, 3, 3)), np.eye(4))


def test_a_voxel_read_backwards_is_folded():
    """By hand: x + u = -x is a mirror, determinant -1 in the one half of the grid."""
    mirrored = still((8, 4, 4), np.diag([2, 3, 4, 1.0]))
    mirrored.data[0] = -2 * 2 * np.arange(8).reshape(8, 1, 1)
    assert registration.folding(mirrored) == 1
    assert registration.folding(still((8, 4, 1))) == 0
    mirrored.data[0, 4:] = -2 * 2 * 4
    assert registration.folding(mirrored) == 5 / 8  # the fifth is squeezed flat


def test_the_jacobian_is_the_change_of_volume(texture):
    turn = nib.affines.from_matvec([[0.9, -0.2, 0], [0.1, 1.2, 0], [0, 0.3, 1.1]])
    reference = Volume(texture, np.diag([2, -1, 3, 1.0]))
    shift = world(Volume(texture, turn @ reference.affine)) - world(reference)
    field = Field(shift.astype(np.float32), reference.affine)
    jacobian = displacements.jacobian(field)
    np.testing.assert_allclose(jacobian, np.linalg.det(turn), rtol=1e-4)


def test_the_inverse_leads_back():
    x, y, z = np.indices(SHAPE) / 5
    bend = 2 * np.stack([np.sin(y), np.cos(z), np.sin(x)]).astype(np.float32)
    there = Field(bend, np.diag([1.5, 1, 2, 1.0]))
    back = registration.invert(there)
    round_trip = [
        registration.warp(Volume(component, there.affine), back).data
        for component in there.data
    ]
    assert error_mm(back, -np.array(round_trip), 6) < 1e-3


def test_a_field_survives_its_file(tmp_path, rng):
    data = rng.normal(size=(3, 5, 6, 7)).astype(np.float32)
    field = Field(data, nib.affines.from_matvec(np.diag([2, 2, -3]), (1, 2, 3)))
    displacements.write(tmp_path / "way.nii.gz", field)
    found = displacements.read(tmp_path / "way.nii.gz")
    np.testing.assert_array_equal(found.data, data)
    np.testing.assert_allclose(found.affine, field.affine)
    header = nib.load(tmp_path / "way.nii.gz").header
    assert header["intent_code"] == 1007 and header.get_data_shape() == (5, 6, 7, 1, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["way.nii.gz"]


def test_other_files_are_no_fields(tmp_path, texture):
    volume.write(tmp_path / "image.nii", grid(texture))
    with pytest.raises(ValueError, match=r"must be a NIfTI vector image .* 'none'"):
        displacements.read(tmp_path / "image.nii")
    with pytest.raises(FileNotFoundError, match="must exist"):
        displacements.read(tmp_path / "none.nii")
    with pytest.raises(ValueError, match=r"must end in \.nii or \.nii\.gz"):
        displacements.write(tmp_path / "way.mha", still(SHAPE))


def test_false_matches_are_trimmed(rng):
    """Law: an affine is found exactly when 40 of 100 matches are false."""
    points = rng.uniform(0, 30, (100, 3))
    true = nib.affines.from_matvec(np.eye(3) + rng.normal(size=(3, 3)) / 9, (3, 1, 2))
    matches = nib.affines.apply_affine(true, points)
    matches[:40] += rng.uniform(5, 20, (40, 3))
    np.testing.assert_allclose(affine.fit(points, matches), true, atol=1e-9)


@pytest.mark.parametrize("search", [Search(4, 2, 2), Search(3, 1, 2), Search(2, 1, 1)])
def test_costs_are_those_of_the_definition(rng, search):
    """Naive: differences of cell means, averaged as SciPy does, at one point inside."""
    here, there = torch.from_numpy(rng.normal(size=(2, 5, 38, 38, 38))).float()
    cost = blockmatching.costs(here, there, search)
    points = blockmatching.control_points(cost.shape[1:], search)
    tried = blockmatching.steps_tried(search)
    k, half = len(tried) - 1, (search.cell - 1) / 2

    def mean(channels, centre):
        x, y, z = (slice(int(c - half), int(c + half) + 1) for c in centre)
        return channels[:, x, y, z].mean((1, 2, 3))

    around = points[:, 2:7, 2:7, 2:7].flatten(1).T
    naive = [((mean(here, p) - mean(there, p + tried[k])) ** 2).sum() for p in around]
    naive = np.reshape(naive, (5, 5, 5))
    for _ in range(2):
        naive = ndimage.uniform_filter(naive, 3)
    assert float(cost[k, 4, 4, 4]) == pytest.approx(naive[2, 2, 2], rel=1e-4)


def test_where_nothing_is_seen_nothing_is_displaced():
    """Limit: all displacements cost the same, the shortest is taken."""
    plain = torch.ones(12, 16, 16, 16)
    search = Search(2, 1, 2)
    step = deformation.couple(plain, plain, torch.zeros(3, 16, 16, 16), search, (0.1,))
    assert not step.any()


def test_small_systems_are_solved(rng):
    half = rng.normal(size=(50, 3, 3))
    matrix = half @ half.transpose(0, 2, 1) + np.eye(3)
    right = rng.normal(size=(50, 3))
    rows = matrix[:, *np.triu_indices(3)].T
    found = deformation.solve(torch.from_numpy(right.T), torch.from_numpy(rows))
    wanted = np.linalg.solve(matrix, right[..., None])[..., 0].T
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_the_command_writes_image_labels_and_field(texture, tmp_path, capsys):
    moved = np.diag([1.0, 1, 1, 1])
    moved[:3, 3] = 3, 2, 1
    labels = Volume((texture > 0).astype(np.uint8), moved)
    volume.write(tmp_path / "f.nii", grid(texture))
    volume.write(tmp_path / "m.nii", Volume(texture, moved))
    volume.write(tmp_path / "l.nii", labels)
    names = {"fixed": "f.nii", "moving": "m.nii", "labels": "l.nii", "out": "w.nii.gz"}
    given = [part for k, v in names.items() for part in (f"--{k}", str(tmp_path / v))]
    assert cli.main(["register", *given]) == 0
    assert len(capsys.readouterr().out.split()) == 3
    there = volume.read_labels(tmp_path / "w_labels.nii.gz").data
    assert np.mean(there != labels.data) < 0.01
    field = displacements.read(tmp_path / "w_field.nii.gz")
    assert error_mm(field, [3, 2, 1]) < 0.3


def test_the_command_refuses_labels_of_another_grid(texture, tmp_path, capsys):
    volume.write(tmp_path / "f.nii", grid(texture))
    volume.write(tmp_path / "l.nii", grid(np.zeros((4, 4, 4), np.uint8)))
    same = ["--fixed", str(tmp_path / "f.nii"), "--moving", str(tmp_path / "f.nii")]
    rest = ["--labels", str(tmp_path / "l.nii"), "--out", str(tmp_path / "w.nii")]
    assert cli.main(["register", *same, *rest]) == 2
    assert "must" in capsys.readouterr().err and not (tmp_path / "w.nii").exists()
