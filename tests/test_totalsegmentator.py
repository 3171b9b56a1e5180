import gzip
import re

import nibabel as nib
import numpy as np
import pytest

from noisyseg import totalsegmentator, volume
from noisyseg.volume import Volume

WANTED = ["kidney_left", "aorta"]
TABLE = {"kidney_left": 3, "aorta": 52, "vertebrae_L1": 29}


def box(low, high, n=16):
    """A cube of voxels low to high - 1 along every axis of a small grid."""
    mask = np.zeros((n, n, n), bool)
    mask[low:high, low:high, low:high] = True
    return mask


def write_scan(folder, name, ending=".nii.gz", *, spacing_mm=1.0, **masks):
    """One case in the layout of the data set; its CT is soft tissue with noise."""
    affine = np.diag([*np.broadcast_to(spacing_mm, 3), 1.0])
    shape = next(iter(masks.values())).shape if masks else (16, 16, 16)
    noise = np.random.default_rng(len(name)).integers(-50, 50, shape)
    hu = (noise + 100 * sum(masks.values())).astype(np.int16)
    volume.write(folder / name / f"ct{ending}", Volume(hu, affine))
    for structure, mask in masks.items():
        path = folder / name / "segmentations" / f"{structure}{ending}"
        volume.write(path, Volume(mask, affine))
    return totalsegmentator.Scan(
        name, folder / name / f"ct{ending}", folder / name / "segmentations"
    )


def write_map(path, labels, table=TABLE):
    """One map of all structures with a table in an extension, as `--ml` writes it."""
    rows = "".join(
        f'<Label Key="{key}" Red="0.0" Green="1.0" Blue="0.5" Alpha="1">'
        f"<![CDATA[{name}]]></Label>\n"
        for name, key in table.items()
    )
    text = f"<CaretExtension><LabelTable>\n{rows}</LabelTable></CaretExtension>"
    image = nib.Nifti1Image(labels.astype(np.uint8), np.eye(4))
    if table:
        extension = nib.nifti1.Nifti1Extension(0, text.encode())
        image.header.extensions.append(extension)
    nib.save(image, path)


@pytest.fixture
def mapped(tmp_path):
    """A scan with one map of a kidney and an aorta instead of a folder."""
    write_scan(tmp_path, "s0")
    labels = 3 * box(2, 6) + 52 * box(8, 12)
    write_map(tmp_path / "s0/segmentations.nii.gz", labels)
    return totalsegmentator.read(tmp_path)[0]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_folder_of_masks_is_read_with_either_ending(tmp_path, ending):
    written = [
        write_scan(tmp_path, name, ending, kidney_left=box(2, 6), aorta=box(8, 12))
        for name in ("s1", "s0")
    ]
    (tmp_path / "meta.csv").write_text("image_id;age\n")
    first, second = totalsegmentator.read(tmp_path)
    assert (first, second) == (written[1], written[0])
    assert totalsegmentator.structures(first) == ["aorta", "kidney_left"]
    assert (totalsegmentator.load_mask(first, "aorta").data == box(8, 12)).all()
    assert totalsegmentator.load_ct(first).data[9, 9, 9] > 49  # HU, not 0 or 1


def test_a_folder_without_cases_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match="got images; unpack the data set"):
        totalsegmentator.read(tmp_path)


def test_a_map_of_all_structures_is_read_by_its_table(mapped):
    assert totalsegmentator.structures(mapped) == sorted(TABLE)
    for name, mask in {"kidney_left": box(2, 6), "aorta": box(8, 12)}.items():
        found = totalsegmentator.load_mask(mapped, name).data
        assert found.dtype == bool and (found == mask).all()
    assert not totalsegmentator.load_mask(mapped, "vertebrae_L1").data.any()


def test_a_map_without_a_table_is_refused(mapped):
    write_map(mapped.segmentations, box(2, 6), table={})
    with pytest.raises(ValueError, match="must name its labels in the header"):
        totalsegmentator.load_mask(mapped, "aorta")


def test_a_misspelt_structure_names_the_nearest(tmp_path, mapped):
    folder = write_scan(tmp_path, "s1", aorta=box(2, 6), esophagus=box(8, 9))
    for scan, wrong, right in ((mapped, "aota", "aorta"), (folder, "oesophagus", "es")):
        message = f"structure of {scan.name} must .* did you mean '{right}"
        with pytest.raises(ValueError, match=message):
            totalsegmentator.load_mask(scan, wrong)


@pytest.mark.parametrize(
    ("marks", "version"),
    [
        (["face"], "v1"),
        (["heart_myocardium", "aorta"], "v1"),
        (["heart", "skull"], "v2"),
        (["aorta"], "unknown"),
        (["heart", "face"], "unknown"),  # a folder of both
    ],
)
def test_the_version_is_told_by_the_marks(tmp_path, marks, version):
    scan = write_scan(tmp_path, "s0", **dict.fromkeys(marks, box(2, 6)))
    assert totalsegmentator.version(scan) == version


def turn_to_lps(path):
    """Save an image with x and y reversed, and say so in its affine."""
    image = volume.read_image(path)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[:2, 3] = np.array(image.shape[:2]) - 1
    volume.write(path, Volume(image.data[::-1, ::-1].astype(np.int16), affine))


def test_an_lps_file_comes_out_canonical(tmp_path):
    scan = write_scan(tmp_path, "s0", aorta=box(2, 6))
    ct = totalsegmentator.load_ct(scan)
    turn_to_lps(scan.ct)
    turn_to_lps(scan.segmentations / "aorta.nii.gz")
    assert (volume.read_image(scan.ct).data != ct.data).any()
    np.testing.assert_array_equal(totalsegmentator.load_ct(scan).data, ct.data)
    mask = totalsegmentator.load_mask(scan, "aorta")
    assert (mask.data == box(2, 6)).all() and (mask.affine == np.eye(4)).all()
    assert list(totalsegmentator.survey([scan], ["aorta"])["fault"]) == [""]


def truncate(path, mask):
    path.write_bytes(path.read_bytes()[:-20])


def write_mask(path, mask):
    volume.write(path, Volume(mask, np.eye(4)))


@pytest.mark.parametrize(
    ("act", "mask", "fault"),
    [
        (write_mask, box(0, 0), "^empty$"),
        (write_mask, box(0, 4), "^cut$"),
        (write_mask, box(12, 16), "^cut$"),
        (write_mask, 2 * box(2, 6).astype(np.uint8), r"only 0 and 1, got \[0 2\]"),
        (write_mask, box(2, 6, 12), "shape of s0 ct"),
        (truncate, None, "must be a whole image file, got EOFError"),
        (lambda path, mask: path.unlink(), None, "must be one of kidney_left, got"),
    ],
)
def test_a_fault_of_a_mask_is_told_in_its_own_row(tmp_path, act, mask, fault):
    whole = dict.fromkeys(WANTED, box(2, 6))
    scans = [write_scan(tmp_path, name, **whole) for name in ("s0", "s1")]
    act(scans[0].segmentations / "aorta.nii.gz", mask)
    table = totalsegmentator.survey(scans, WANTED)
    faults = table.set_index(["case", "structure"])["fault"].to_dict()
    damaged = faults.pop(("s0", "aorta"))
    assert re.search(fault, damaged) and "\n" not in damaged
    assert list(faults.values()) == ["", "", ""]


@pytest.mark.parametrize("act", ["truncate", "unlink", "move"])
def test_a_fault_of_the_ct_is_that_of_all_its_structures(tmp_path, act):
    whole = dict.fromkeys(WANTED, box(2, 6))
    scans = [write_scan(tmp_path, name, **whole) for name in ("s0", "s1")]
    if act == "truncate":
        truncate(scans[0].ct, None)
    elif act == "unlink":
        scans[0].ct.unlink()
    else:
        write_mask(scans[0].ct, box(2, 6)[:, :, :15])
    table = totalsegmentator.survey(totalsegmentator.read(tmp_path), WANTED)
    assert (table.loc[table["case"] == "s0", "fault"] != "").all()
    assert (table.loc[table["case"] == "s1", "fault"] == "").all()


def test_a_survey_tells_volumes_and_what_can_be_used(tmp_path):
    """By hand: 4^3 voxels of 2 mm are 0.512 mL."""
    masks = [{"aorta": box(2, 6)}, {"aorta": box(0, 4)}, {"aorta": box(0, 0)}]
    scans = [
        write_scan(tmp_path, f"s{i}", spacing_mm=2.0, **mask)
        for i, mask in enumerate(masks)
    ]
    table = totalsegmentator.survey(scans, WANTED)
    volumes = table.loc[table["structure"] == "aorta", "volume_ml"]
    assert list(volumes) == [pytest.approx(0.512), pytest.approx(0.512), 0]
    assert totalsegmentator.usable(table, "aorta") == ["s0", "s1"]
    assert totalsegmentator.usable(table, "kidney_left") == []
    assert set(table["version"]) == {"unknown"}


CUT_SHORT = gzip.compress(bytes(500), mtime=0)[:20]


@pytest.mark.parametrize(
    "content", [b"", b"no image", CUT_SHORT], ids=["empty", "text", "cut short"]
)
def test_a_damaged_map_is_the_fault_of_its_case(mapped, content):
    mapped.segmentations.write_bytes(content)
    faults = totalsegmentator.survey([mapped], WANTED)["fault"]
    assert faults.str.contains("must be a whole image file").all()


def test_what_an_interrupted_download_leaves_is_no_mask(tmp_path):
    scan = write_scan(tmp_path, "s0", aorta=box(2, 6), kidney_left=box(2, 6))
    path = scan.segmentations / "aorta.nii.gz"
    path.rename(path.with_name("aorta.nii.gz.part"))
    assert totalsegmentator.structures(scan) == ["kidney_left"]
    assert "must be one of" in totalsegmentator.survey([scan], ["aorta"])["fault"][0]
