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
    for name, arm in paper.sgl.arms.items():
        assert (laptop.sgl.arms[name].loss, laptop.sgl.arms[name].labels) == (
            arm.loss,
            arm.labels,
        )


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


def test_an_arm_inherits_from_its_study():
    robust = params.load(scale="laptop").robust
    assert robust.arms["ce"].network == robust.network
    assert robust.arms["gce"].seeds == [0] != robust.seeds


def test_an_arm_like_another_has_its_settings_but_for_its_own():
    loaded = params.load(scale="laptop")
    like, own = loaded.sgl.arms["t1"], loaded.robust.arms["t1_robust"]
    assert own.network == like.network != loaded.robust.network
    assert own.loss["name"] == "beta_cross_entropy" and own.labels == like.labels
    assert loaded.robust.arms["t1"].recipe == like.recipe != own.recipe


def test_a_training_setting_of_an_arm_leaves_the_others(edited):
    def slow(raw):
        raw["robust"]["arms"]["ce"]["training"] = {"learning_rate": 0.5}

    arm = edited(slow).robust.arms["ce"]
    assert arm.training.learning_rate == 0.5
    assert arm.training.epochs == params.load().robust.training.epochs


def test_an_arm_must_be_like_one_that_exists(edited):
    def rename(raw):
        raw["robust"]["arms"]["t1"]["like"] = "sgl.t2"

    with pytest.raises(
        ValueError, match=r"robust\.arms\.t1\.like must .* did you mean"
    ):
        edited(rename)


def test_a_fault_of_a_study_is_told_once_not_for_every_arm(edited):
    def misspell(raw):
        raw["sgl"]["training"]["epoks"] = 3

    with pytest.raises(ValueError) as error:
        edited(misspell, "paper")
    told = str(error.value).splitlines()
    assert sum("epoks" in line for line in told if "sgl" in line) == 1


def test_noise_must_stand_on_labels_that_software_makes(edited):
    def rename(raw):
        raw["noise"]["head"]["like"] = "t2"

    with pytest.raises(ValueError, match=r"noise\.head\.like must be one of t1, t1t2"):
        edited(rename)
    with pytest.raises(ValueError, match=r"boundary_1.* must be .*'tims'|tims must"):
        edited(lambda raw: raw["noise"]["head"]["kinds"]["boundary_1"].update(tims=2))


def test_a_scale_cannot_remove_what_is_not_there(edited):
    def misspell(raw):
        raw["scales"]["laptop"]["robust"]["arms"]["gcee"] = None

    with pytest.raises(ValueError, match="got 'gcee'; did you mean 'gce'"):
        edited(misspell)


def test_organs_must_have_noisy_contours(edited):
    def rename(raw):
        raw["threshold"]["organs"]["liver"] = "liver"

    message = r"threshold\.organs\.liver must be one of kidney_left, .* got 'liver'"
    with pytest.raises(ValueError, match=message):
        edited(rename)


def test_contours_and_their_study_need_a_cohort(edited):
    def add(raw):
        raw["contours"]["torsi"] = raw["contours"]["torso"]

    with pytest.raises(ValueError, match=r"contours\.torsi must be .*torso, .* got 't"):
        edited(add)
    with pytest.raises(ValueError, match=r"threshold\.cohort must be one of torso"):
        edited(lambda raw: raw["threshold"].update(cohort="head"))


def test_a_misspelt_augmentation_names_the_nearest(edited):
    def misspell(raw):
        raw["threshold"]["training"]["augmentation"]["rotation"] = 10

    message = r"threshold\.training\.augmentation\.rotation must .* 'rotation_deg'"
    with pytest.raises(ValueError, match=message) as error:
        edited(misspell)
    assert str(error.value).count("got 'rotation'") == 1


def test_a_scale_may_take_augmentation_away(edited):
    def plain(raw):
        raw["scales"]["tiny"]["threshold"]["training"]["augmentation"] = None

    study = edited(plain, "tiny").threshold
    assert study.training.augmentation is None
    assert all(arm.training.augmentation is None for arm in study.arms.values())
    assert params.load(scale="tiny").threshold.training.augmentation.noise > 0


# --- study `ace` ---


@pytest.mark.parametrize(
    "label, meant, message",
    [
        ("WMH", [], r"labels\.WMH must name some of the classes .* got none; correct"),
        ("WMH", ["scar"], r"some of the classes background, .* got scar; correct the"),
        ("WM", ["GM"], r"same in every cohort, got GM in wmh, but WM in tissue; give"),
    ],
)
def test_what_labels_mean_must_make_sense(edited, label, meant, message):
    def change(raw):
        lesion = raw["ace"]["scenarios"]["wmh"]["tasks"]["lesion"]
        lesion["labels"][label] = meant

    with pytest.raises(ValueError, match=rf"\nace\.scenarios\.wmh\.tasks.*{message}"):
        edited(change)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"inputs": ["T1w", "IR"]}, r"wmh\.inputs must .* got IR, which cohort wmh la"),
        ({"test": "wmh"}, r"wmh\.inputs must .* got IR, which cohort wmh lacks; leave"),
        ({"test": "mri"}, r"ace\.scenarios\.wmh\.test must be one of head, .* 'mri'"),
        ({"inputs": []}, r"ace\.scenarios\.wmh\.inputs must .* at least 1 item"),
    ],
)
def test_scenarios_need_cohorts_with_their_inputs(edited, change, message):
    with pytest.raises(ValueError, match=message):
        edited(lambda raw: raw["ace"]["scenarios"]["wmh"].update(change))


def test_patches_need_a_number_of_steps(edited):
    with pytest.raises(ValueError, match=r"ace\.arms\.\w+\.training\.steps_per_epoch"):
        edited(lambda raw: raw["ace"]["training"].pop("steps_per_epoch"), "paper")


def test_a_loss_without_beta_has_the_studys():
    loaded = params.load()
    arm = loaded.robust.arms["beta_clean"]
    assert arm.loss == {"name": "beta_cross_entropy", "beta": loaded.robust.beta}
    assert arm.title == f"beta-CE {loaded.robust.beta}"
    assert loaded.robust.arms["beta_0.1"].loss["beta"] == 0.1
    assert "beta" not in loaded.robust.arms["ce"].loss
