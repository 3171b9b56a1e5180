import nibabel as nib
import numpy as np
import pytest

from noisyseg import labeltables, simnibs, volume
from noisyseg.volume import Volume

T1_GRID = np.diag([1.0, 1.0, 1.2, 1.0])
T2_GRID = np.diag([0.9, 0.9, 0.9, 1.0])
HEAD = labeltables.HEAD.names.index


def save(path, data=None, affine=T1_GRID):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.ones((4, 4, 4), np.int16) if data is None else np.asarray(data)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


# SimNIBS 3, headreco


@pytest.fixture
def t1():
    return Volume(np.ones((4, 5, 6), np.float32), T1_GRID)


def headreco(folder, labels, affine=T1_GRID, name="07"):
    home = folder / f"m2m_{name}"
    save(home / "T1fs_conform.nii.gz", np.ones(labels.shape, np.float32), affine)
    return save(home / f"{name}_masks_contr.nii.gz", labels, affine)


def nine(shape):
    return (np.arange(np.prod(shape)) % 9).astype(np.uint8).reshape(shape)


def test_headreco_codes_are_the_nine_classes(tmp_path, t1):
    headreco(tmp_path, nine(t1.shape))
    swapped = nine(t1.shape) % 7
    save(tmp_path / "m2m_07/07_final_contr.nii.gz", swapped)
    labels = simnibs.read_labels(tmp_path, "sub-07", "headreco", t1)
    assert np.array_equal(labels.data, nine(t1.shape))
    assert labels.data.dtype == np.uint8


def test_headreco_labels_are_brought_to_the_grid_of_the_t1(tmp_path, t1):
    las = T1_GRID @ np.array([[-1, 0, 0, 3], *np.eye(4)[1:]])  # x runs to the left
    headreco(tmp_path, nine(t1.shape)[::-1], las)
    labels = simnibs.read_labels(tmp_path, "07", "headreco", t1)
    assert np.array_equal(labels.data, nine(t1.shape))
    assert np.array_equal(labels.affine, t1.affine)


def test_headreco_labels_are_never_blended(tmp_path, t1):
    halves = np.full(t1.shape, 8, np.uint8)
    halves[:2] = 1
    headreco(tmp_path, halves)
    fine = Volume(np.zeros((9, 5, 6)), T1_GRID @ np.diag([0.4, 1, 1, 1]))
    labels = simnibs.read_labels(tmp_path, "07", "headreco", fine)
    assert labels.data[:, 2, 3].tolist() == [1] * 4 + [8] * 5


def test_headreco_final_contr_is_no_substitute(tmp_path, t1):
    path = headreco(tmp_path, nine(t1.shape))
    path.rename(path.with_name("07_final_contr.nii.gz"))
    with pytest.raises(FileNotFoundError, match=r"got only 07_final_contr.*eyes as 6"):
        simnibs.read_labels(tmp_path, "07", "headreco", t1)


@pytest.mark.parametrize("place", ["m2m_07/T1fs_conform", "07_T1fs_conform"])
def test_headreco_labels_off_their_own_image_are_refused(tmp_path, t1, place):
    headreco(tmp_path, nine(t1.shape))
    save(tmp_path / f"{place}.nii.gz", t1.data, T2_GRID)
    text = r"07_masks_contr\.nii\.gz must have the affine of .*T1fs_conform"
    with pytest.raises(ValueError, match=text):
        simnibs.read_labels(tmp_path, "07", "headreco", t1)


def test_headreco_labels_of_another_place_are_empty_here(tmp_path, t1):
    far = T1_GRID.copy()
    far[0, 3] = 500
    headreco(tmp_path, nine(t1.shape), far)
    with pytest.raises(ValueError, match="m2m_07 on the reference's grid must hold"):
        simnibs.read_labels(tmp_path, "07", "headreco", t1)


# SimNIBS 4, charm


def charm(folder, tissues, regions, affine=T1_GRID):
    home = folder / "m2m_07"
    tissues = np.asarray(tissues, np.uint16)[..., None]  # as charm may write it
    save(home / "final_tissues.nii.gz", tissues, affine)
    save(home / "segmentation/labeling.nii.gz", np.asarray(regions, np.int16), affine)
    save(home / "label_prep/T1_upsampled.nii.gz", np.full((8, 8, 8), 77, np.uint16))
    return Volume(np.ones(tissues.shape[:3], np.float32), affine)


def column(*values):
    return np.array(values).reshape(-1, 1, 1)


def test_charm_tissues_take_the_classes_of_head(tmp_path):
    tissues = column(0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 100, 500)
    t1 = charm(tmp_path, tissues, np.full(tissues.shape, 517))
    labels = simnibs.read_labels(tmp_path, "07", "charm", t1)
    assert labels.data.ravel().tolist() == [0, 1, 2, 3, 4, 5, 7, 4, 4, 5, 5, 5, 0, 0]
    assert labels.data.dtype == np.uint8 and labels.shape == t1.shape


def test_charm_ventricles_and_cavities_come_from_the_regions(tmp_path):
    regions = column(2, 4, 5, 14, 15, 31, 43, 44, 63, 72, 24, 501, 517)
    t1 = charm(tmp_path, np.full(regions.shape, 3), regions)
    labels = simnibs.read_labels(tmp_path, "07", "charm", t1)
    expected = [3] + [HEAD("ventricles")] * 9 + [3, HEAD("cavities"), 3]
    assert labels.data.ravel().tolist() == expected


def test_charm_blood_goes_to_the_nearer_side_of_the_skull(tmp_path):
    tissues = column(2, 9, 7, 7, 7, 5, 9, 5)  # GM, sinus, three of bone, scalp, vein
    t1 = charm(tmp_path, tissues, np.zeros(tissues.shape))
    labels = simnibs.read_labels(tmp_path, "07", "charm", t1)
    assert labels.data.ravel().tolist() == [2, 3, 4, 4, 4, 5, 5, 5]


def test_charm_blood_is_placed_by_millimetres(tmp_path):
    tissues = np.full((3, 4, 1), 7)
    tissues[0, 0], tissues[0, 1], tissues[2, 1] = 9, 5, 9
    tissues[1, 1], tissues[2, 3] = 3, 5
    t1 = charm(tmp_path, tissues, 0 * tissues, np.diag([3.0, 1.0, 1.0, 1.0]))
    labels = simnibs.read_labels(tmp_path, "07", "charm", t1)
    assert labels.data[0, 0] == 5  # scalp at 1 mm, CSF at 3.2 mm
    assert labels.data[2, 1] == 5  # scalp at 2 mm (2 voxels), CSF at 3 mm (1 voxel)


def test_charm_unknown_code_is_listed(tmp_path):
    t1 = charm(tmp_path, column(0, 1, 13, 499), column(0, 0, 0, 0))
    with pytest.raises(ValueError, match=r"charm's codes .* got 13, 499; check"):
        simnibs.read_labels(tmp_path, "07", "charm", t1)


def test_charm_labels_on_another_grid_are_refused(tmp_path):
    t1 = charm(tmp_path, column(0, 1, 2), column(0, 0, 0))
    moved = Volume(t1.data, T2_GRID)
    text = r"final_tissues\.nii\.gz \(m2m_07\) must have the affine of reference"
    with pytest.raises(ValueError, match=text):
        simnibs.read_labels(tmp_path, "07", "charm", moved)


def test_charm_labels_follow_a_reference_in_canonical_axes(tmp_path):
    tissues = np.arange(24).reshape(2, 3, 4) % 4
    psl = np.array([[0, 0, -1.0, 3], [-1.5, 0, 0, 9], [0, 2, 0, 5], [0, 0, 0, 1]])
    native = charm(tmp_path, tissues, 0 * tissues, psl)
    t1 = volume.to_canonical(native)
    labels = simnibs.read_labels(tmp_path, "07", "charm", t1)
    expected = volume.to_canonical(native.with_data(tissues))
    assert t1.shape == (4, 2, 3) and np.array_equal(labels.data, expected.data)


def test_charm_without_regions_is_refused(tmp_path):
    t1 = charm(tmp_path, column(0, 1, 2), column(0, 0, 0))
    (tmp_path / "m2m_07/segmentation/labeling.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"labeling\.nii\.gz must exist"):
        simnibs.read_labels(tmp_path, "07", "charm", t1)


def test_charm_background_alone_is_refused(tmp_path):
    t1 = charm(tmp_path, column(0, 0, 100), column(0, 0, 0))
    with pytest.raises(ValueError, match=r"m2m_07 .* at least one voxel"):
        simnibs.read_labels(tmp_path, "07", "charm", t1)


# SimNIBS folders


def test_simnibs_subjects_are_listed_by_their_folders(tmp_path):
    for name in ("m2m_sub-02", "m2m_01", "m2m_", "fs_01"):
        (tmp_path / name).mkdir()
    (tmp_path / "m2m_log.txt").write_text("")
    assert simnibs.subjects(tmp_path) == ["01", "sub-02"]


def test_simnibs_unknown_subject_and_software_are_named(tmp_path, t1):
    (tmp_path / "m2m_01").mkdir()
    with pytest.raises(FileNotFoundError, match="must hold m2m_sub-09, got 01; run"):
        simnibs.read_labels(tmp_path, "sub-09", "charm", t1)
    with pytest.raises(ValueError, match=r"software must be.*'charme'.*mean 'charm'"):
        simnibs.read_labels(tmp_path, "01", "charme", t1)
