import pytest

from noisyseg import labeltables
from noisyseg.labeltables import HEAD, LabelTable


def test_head_has_the_nine_classes_in_the_order_of_masks_contr():
    names = "background WM GM CSF bone skin cavities eyes ventricles"
    assert HEAD.names == tuple(names.split())
    assert [HEAD.value(name) for name in HEAD.names] == list(range(9))


def test_head_colours_differ_and_are_hexadecimal():
    assert len(set(HEAD.colours)) == len(HEAD)
    assert all(len(c) == 7 and int(c[1:], 16) >= 0 for c in HEAD.colours)


def test_table_comes_back_as_written(tmp_path):
    HEAD.write(tmp_path / "truth" / "dseg.tsv")
    assert labeltables.read(tmp_path / "truth" / "dseg.tsv") == HEAD
    assert [p.name for p in (tmp_path / "truth").iterdir()] == ["dseg.tsv"]


def test_name_that_looks_like_a_missing_value_stays_a_name(tmp_path):
    table = LabelTable(("background", "NA"), ("#000000", "#ffffff"))
    table.write(tmp_path / "dseg.tsv")
    assert labeltables.read(tmp_path / "dseg.tsv").names == ("background", "NA")


def test_further_columns_are_allowed(tmp_path):
    path = tmp_path / "dseg.tsv"
    path.write_text("index\tname\tmapping\tcolor\n0\tair\tn/a\t#000000\n")
    assert labeltables.read(path).names == ("air",)


def test_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dseg\.tsv must exist"):
        labeltables.read(tmp_path / "dseg.tsv")


def test_missing_column_is_named(tmp_path):
    (tmp_path / "dseg.tsv").write_text("index\tname\n0\tbackground\n")
    with pytest.raises(ValueError, match="got index, name; add color"):
        labeltables.read(tmp_path / "dseg.tsv")


@pytest.mark.parametrize("index", [(0, 2), (1, 0), (1, 2), ("0", "x"), (0, 0)])
def test_values_with_gaps_or_out_of_order_are_refused(tmp_path, index):
    rows = "".join(f"{v}\tname{n}\t#000000\n" for n, v in enumerate(index))
    (tmp_path / "dseg.tsv").write_text("index\tname\tcolor\n" + rows)
    with pytest.raises(ValueError, match=f"0 to 1 in order, got {index[0]}, "):
        labeltables.read(tmp_path / "dseg.tsv")


def test_unknown_structure_is_refused_with_the_known_names():
    with pytest.raises(ValueError, match=r"one of background, WM, .*, got 'brain'"):
        HEAD.value("brain")


def test_names_must_be_unique():
    with pytest.raises(ValueError, match="names must be unique, got eye more than"):
        LabelTable(("background", "eye", "eye"), ("#000000", "#111111", "#222222"))


def test_every_name_needs_a_colour():
    with pytest.raises(ValueError, match="one for each of 2 names, got 1"):
        LabelTable(("background", "eye"), ("#000000",))
