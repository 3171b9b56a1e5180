from pathlib import Path

import pytest

from noisyseg import params, studies


def test_arms_of_equal_settings_share_one_training():
    """At paper scale CE with half Dice is study sgl's T1 arm, under two names."""
    loaded = params.load(scale="paper")
    home = Path("results/train/sgl/t1/seed-1")
    for name in ("t1", "ce_dice"):
        assert studies.run_folder(loaded, "robust", name, 1) == home
    assert studies.run_folder(loaded, "sgl", "t1", 1) == home


@pytest.mark.parametrize("scale", ["paper", "laptop", "tiny"])
def test_no_two_trainings_are_the_same(scale):
    loaded = params.load(scale=scale)
    places = {}
    for name, study in loaded.studies.items():
        for arm, seed, folder in studies.trainings(loaded, name):
            places.setdefault(repr((study.arms[arm].recipe, seed)), set()).add(folder)
    assert all(len(folders) == 1 for folders in places.values())


def test_another_loss_or_label_is_another_training():
    loaded = params.load(scale="laptop")
    own = {arm for arm, _, folder in studies.trainings(loaded, "robust")
           if folder.parts[2] == "robust"}  # fmt: skip
    assert own == set(loaded.robust.arms) - {"t1", "t1t2"}


def test_a_seed_that_is_not_the_arms_is_refused():
    with pytest.raises(KeyError, match="seed must be one of"):
        studies.run_folder(params.load(), "sgl", "t1", 99)
