import numpy as np
import pytest
from scipy import ndimage

from noisyseg import propagation, registration, volume
from noisyseg.blockmatching import Search
from noisyseg.propagation import Atlas
from noisyseg.volume import Volume

SHAPE = (40, 36, 32)
QUICK = registration.Settings(
    affine_levels=(Search(4, 1, 3), Search(4, 1, 2)), levels=(), refinements=0
)


@pytest.fixture
def scans(rng, tmp_path):
    """A scan and two atlases: the same head with inverted contrast, a bit elsewhere."""
    away = np.indices(SHAPE) - np.array(SHAPE).reshape(3, 1, 1, 1) / 2
    ball = (away**2).sum(0) < 14**2
    blobs = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2)
    head = np.where(ball, 5 + blobs / blobs.std(), 0).astype(np.float32)
    volume.write(tmp_path / "scan.nii", Volume(head, np.eye(4)))
    atlases = []
    for k, shift in enumerate(((2, 0, 1), (-3, 1, 0))):
        affine = np.eye(4)
        affine[:3, 3] = shift
        paths = [tmp_path / f"{k}_{part}.nii" for part in ("image", "labels")]
        volume.write(paths[0], Volume(9 - head, affine))
        volume.write(paths[1], Volume(ball.astype(np.uint8), affine))
        atlases.append(Atlas(f"a{k}", *paths))
    return tmp_path / "scan.nii", atlases, ball


def test_labels_come_to_lie_where_they_belong(scans, tmp_path):
    scan, atlases, ball = scans
    paths = propagation.propagate(scan, atlases, tmp_path / "out", settings=QUICK)
    assert [path.name for path in paths] == ["a0.nii.gz", "a1.nii.gz"]
    for path in paths:
        assert np.mean(volume.read_labels(path).data != ball) < 0.01


def test_what_is_done_is_not_done_again(scans, tmp_path, monkeypatch):
    scan, atlases, _ = scans
    out = tmp_path / "out"
    propagation.propagate(scan, atlases[:1], out, settings=QUICK)
    carried, carry = [], propagation._carry
    monkeypatch.setattr(
        propagation, "_carry", lambda *how: carried.append(how[1].name) or carry(*how)
    )
    propagation.propagate(scan, atlases, out, settings=QUICK)
    assert carried == ["a1"]


@pytest.mark.parametrize("change", ["labels", "settings"])
def test_other_inputs_are_done_again(scans, tmp_path, change):
    scan, (atlas, _), _ = scans
    out, other = tmp_path / "out", QUICK
    (path,) = propagation.propagate(scan, [atlas], out, settings=QUICK)
    before = propagation._record_of(path).read_text()
    if change == "labels":
        grid = volume.read_labels(atlas.labels)
        volume.write(atlas.labels, grid.with_data(2 * grid.data))
    else:
        other = QUICK.model_copy(update={"damping": 0.1})
    propagation.propagate(scan, [atlas], out, settings=other)
    assert propagation._record_of(path).read_text() != before
    assert volume.read_labels(path).data.max() == (2 if change == "labels" else 1)


def test_an_atlas_that_cannot_be_registered_is_named(scans, tmp_path):
    scan, (atlas, _), _ = scans
    far = np.eye(4)
    far[:3, 3] = 500
    for path in (atlas.image, atlas.labels):
        found = volume.read_image(path)
        volume.write(path, Volume(found.data.astype(np.uint8), far))
    with pytest.raises(ValueError, match=r"atlas a0: .* must"):
        propagation.propagate(scan, [atlas], tmp_path / "out", settings=QUICK)
    assert not (tmp_path / "out" / "a0.nii.gz").exists()


def test_side_of_a_tumour():
    data = np.zeros((10, 4, 4), np.uint8)
    data[[1, 8]], data[6] = 2, 1  # RAS+: x grows to the right
    assert propagation.side(Volume(data, np.eye(4)), 1, 2) == "right"
    assert propagation.side(Volume(data[::-1].copy(), np.eye(4)), 1, 2) == "left"
    with pytest.raises(ValueError, match="must hold 1 and 3, got no 3"):
        propagation.side(Volume(data, np.eye(4)), 1, 3)


def test_other_code_does_the_pair_again(scans, tmp_path, monkeypatch):
    scan, (atlas, _), _ = scans
    out = tmp_path / "out"
    (path,) = propagation.propagate(scan, [atlas], out, settings=QUICK)
    before = path.stat().st_mtime_ns
    propagation.propagate(scan, [atlas], out, settings=QUICK)
    assert path.stat().st_mtime_ns == before
    monkeypatch.setattr(propagation, "_code", lambda: "other")
    propagation.propagate(scan, [atlas], out, settings=QUICK)
    assert path.stat().st_mtime_ns > before
