import inspect
import re
from pathlib import Path

import pytest

from noisyseg import losses, networks, params, studies, training


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


@pytest.mark.parametrize(
    "module, counts",
    [("transunet", True), ("pixelwise", True), ("overlap", True), ("batches", True),
     ("unets", False), ("labelsets", False)],
)  # fmt: skip
def test_the_code_behind_a_training_is_in_its_hash(monkeypatch, module, counts):
    how = {"network": {"name": "transunet"}}, losses.build("cross_entropy", dice=0.5)
    before, real = training.code_hash(*how), inspect.getsource
    monkeypatch.setattr(
        inspect, "getsource", lambda of: real(of) + "#" * of.__name__.endswith(module)
    )
    assert (training.code_hash(*how) != before) == counts


def test_what_the_hashed_modules_import_is_hashed_too():
    every = networks.NETWORKS | losses.LOSSES | losses.OF_SETS
    for module in {inspect.getmodule(part) for part in every.values()}:
        text = inspect.getsource(module)
        assert set(re.findall(r"from noisyseg\.(\w+) import", text)) <= {"targets"}


def test_trainings_nobody_asks_for_any_more_are_removed(tmp_path):
    for place in ("old/seed-0", "ce/seed-0", "ce/seed-1"):
        (tmp_path / place).mkdir(parents=True)
    training.remove_others(tmp_path, [tmp_path / "ce/seed-0"])
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert left == ["ce", "ce/seed-0"]
