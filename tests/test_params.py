import pytest
import yaml

from noisyseg import params


@pytest.fixture
def edited(tmp_path):
    """Load params.yaml after changing it: edited(lambda raw: ...)."""

    def load(change, scale=None):
        with open("params.yaml") as file:
            raw = yaml.safe_load(file)
        change(raw)
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(raw))
        return params.load(path, scale)

    return load


def test_every_scale_of_the_file_is_valid():
    for scale in ("laptop", "tiny", "paper"):
        assert params.load(scale=scale).scale == scale


def test_paper_scale_is_the_file_without_overrides():
    assert params.load(scale="paper").sgl.image_size == 256
    assert params.load(scale="paper").sgl.training.schedule_epochs == 150


def test_a_scale_changes_only_what_it_names():
    paper, laptop = (params.load(scale=s) for s in ("paper", "laptop"))
    assert laptop.sgl.image_size != paper.sgl.image_size
    assert laptop.sgl.arms == paper.sgl.arms


def test_unknown_key_names_the_nearest(edited):
    def misspell(raw):
        raw["sgl"]["training"]["epoks"] = 3

    with pytest.raises(ValueError, match=r"sgl\.training\.epoks must .* 'epochs'"):
        edited(misspell)


def test_unknown_key_in_an_arm_names_the_nearest(edited):
    def misspell(raw):
        raw["sgl"]["arms"]["t1"]["label"] = "t1"

    with pytest.raises(ValueError, match=r"sgl\.arms\.t1\.label must .* 'labels'"):
        edited(misspell)


def test_wrong_type_names_key_and_value(edited):
    def spoil(raw):
        raw["data"]["head"]["spacing_mm"] = "two"

    with pytest.raises(ValueError, match=r"spacing_mm must be .* got 'two'"):
        edited(spoil, "paper")


def test_missing_key_is_named(edited):
    with pytest.raises(ValueError, match=r"sgl\.cohort must be given"):
        edited(lambda raw: raw["sgl"].pop("cohort"))


def test_unknown_scale_names_the_nearest(edited):
    with pytest.raises(ValueError, match="did you mean 'laptop'"):
        edited(lambda raw: None, "labtop")


def test_an_arm_must_name_labels_that_exist(edited):
    def rename(raw):
        raw["sgl"]["arms"]["t1"]["labels"] = "t2"

    with pytest.raises(ValueError, match=r"sgl\.arms\.t1\.labels must be one of t1"):
        edited(rename)


def test_no_file_says_where_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="run in the folder"):
        params.load(tmp_path / "params.yaml")
