import numpy as np
import pytest

from noisyseg import datasets, imagefiles


@pytest.fixture
def small_brainweb(monkeypatch):
    """Tiny stand-ins: the phantom, a model in half the voxel edge, a larger T1."""
    grids = {
        (4, 3, 2): (1.0, (0.0, 0.0, 0.0)),
        (6, 6, 6): (0.5, (-0.25, -0.25, -0.25)),
        (3, 5, 5): (1.0, (-1.0, -1.0, 0.0)),
    }
    monkeypatch.setattr(imagefiles, "RAW_GRIDS", grids)


def write_raw(path, data, dtype="u1"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.asarray(data).astype(dtype).tobytes())


def test_brainweb_cases_are_settings_of_an_anatomy(tmp_path, small_brainweb):
    for name in ("t1_icbm_normal_1mm_pn3_rf20", "T2+ICBM+normal+1mm+pn3+rf20"):
        write_raw(tmp_path / f"{name}.rawb", np.arange(24))
    write_raw(tmp_path / "t1_ai_msles2_1mm_pn0_rf0.rawb", np.arange(24))
    write_raw(
        tmp_path / "phantom_1.0mm_normal_crisp.raws", np.arange(24) % 11 * 16, "<u2"
    )
    write_raw(tmp_path / "phantom_1.0mm_msles2_crisp.rawb", np.arange(24) % 11)
    write_raw(tmp_path / "phantom_1.0mm_normal_csf.rawb", np.full(24, 200))
    lesions, normal = datasets.read(tmp_path, "brainweb")
    assert (lesions.subject, normal.subject) == (
        "msles2_1mm_pn0_rf0",
        "normal_1mm_pn3_rf20",
    )
    assert list(normal.images) == ["T1w", "T2w"] and list(lesions.images) == ["T1w"]
    expected = (np.arange(24) % 11).reshape(4, 3, 2).transpose(2, 1, 0)
    for case in (lesions, normal):  # plain, and shifted by 4 bits
        np.testing.assert_array_equal(datasets.load(case)[1].data, expected)


def test_shifted_labels_may_have_other_bits_set(tmp_path, small_brainweb):
    write_raw(tmp_path / "subject_04.bin", np.full(216, (11 << 4) + 5), "<u2")
    (tmp_path / "subject04_t1w_p4.rawb").write_bytes(bytes(75))
    assert np.unique(
        datasets.load_labels(datasets.read(tmp_path, "brainweb20")[0]).data
    ) == [11]


def test_models_come_on_the_grid_of_their_t1_in_world_space(tmp_path, small_brainweb):
    """By hand: the 3 mm cube of 0.5 mm labels starts at the second of five voxels."""
    write_raw(tmp_path / "subject04_crisp_v.rawb", np.full(216, 3))
    write_raw(tmp_path / "subject04_t1w_p4.raws", np.arange(75), "<u2")
    write_raw(tmp_path / "subject04_gm_v.rawb", np.full(216, 200))
    case = datasets.read(tmp_path, "brainweb20")[0]
    images, labels = datasets.load(case)
    expected = np.zeros((5, 5, 3))
    expected[1:4, 1:4] = 3
    np.testing.assert_array_equal(labels.data, expected)
    assert images["T1w"].data[4, 0, 0] == 4  # x is the fastest axis of the file
