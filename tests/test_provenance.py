"""A stage whose code changes while it runs must fail; one that ends leaves a record."""

import hashlib
import json
from pathlib import Path

import pytest

from noisyseg import cli, params, provenance, stages

PIPELINE = """
stages:
  train:
    foreach: {a: {code: one}, b: {code: two}}
    do:
      cmd: noisyseg stage train ${key}
      deps: [data/head, "src/noisyseg/${item.code}.py", notebooks/n.ipynb]
      params: [scale, sgl, "scales.${scale}.sgl"]
      outs: ["results/train/${key}": {persist: true}, "results/${key}.json"]
  report:
    cmd: noisyseg stage report
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with two modules, a notebook and a pipeline."""
    for name in ("src/noisyseg/one.py", "src/noisyseg/two.py", "notebooks/n.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "params.yaml").write_text(Path("params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch, does):
    """Exit status of ``noisyseg stage train a`` when the stage only calls `does`."""
    monkeypatch.setattr(stages, "run", lambda *_: does())
    return cli.main(["stage", "train", "a"])


def test_code_that_changes_while_the_stage_runs_stops_it(home, monkeypatch, capsys):
    edited = home / "src/noisyseg/one.py"
    assert run(monkeypatch, lambda: edited.write_text("# new\n")) == 2
    said = capsys.readouterr().err
    assert said == (
        "noisyseg: src/noisyseg/one.py must stay as it was while the stage train@a "
        "runs, got other content; run dvc repro again\n"
    )
    assert not (home / "results/provenance/train@a.json").exists()


def test_a_notebook_that_goes_while_the_stage_runs_stops_it(home, monkeypatch, capsys):
    assert run(monkeypatch, (home / "notebooks/n.ipynb").unlink) == 2
    assert "notebooks/n.ipynb must stay as it was" in capsys.readouterr().err


def test_code_of_another_stage_may_change(home, monkeypatch):
    other = home / "src/noisyseg/two.py"
    assert run(monkeypatch, lambda: other.write_text("# new\n")) == 0


def test_the_record_holds_what_was_there_before(home, monkeypatch):
    assert run(monkeypatch, lambda: None) == 0
    path = home / "results/provenance/train@a.json"
    text = path.read_text()
    record = json.loads(text)
    before = hashlib.sha256(b"# src/noisyseg/one.py\n").hexdigest()
    assert record["code"]["src/noisyseg/one.py"] == before
    assert set(record["code"]) == {"src/noisyseg/one.py", "notebooks/n.ipynb"}
    assert record["scale"] == "laptop" and set(record["params"]) == {"scale", "sgl"}
    assert record["params"]["sgl"]["image_size"] == 80  # the scale's, not the paper's
    assert run(monkeypatch, lambda: None) == 0 and path.read_text() == text


def test_a_stage_that_fails_leaves_no_old_record(home, monkeypatch):
    def fail():
        raise ValueError("labels must exist")

    assert run(monkeypatch, lambda: None) == 0
    assert run(monkeypatch, fail) == 2
    assert not (home / "results/provenance/train@a.json").exists()


def test_a_command_that_no_stage_has_names_the_nearest(home):
    with pytest.raises(ValueError, match="did you mean 'noisyseg stage train b'"):
        provenance.find_stage("train", "bb")


def test_other_values_have_other_hashes_and_another_order_has_not():
    assert provenance.hash_of({"a": 1, "b": 2}) == provenance.hash_of({"b": 2, "a": 1})
    assert provenance.hash_of({"a": 1}) != provenance.hash_of({"a": 2})


def test_stages_are_read_as_dvc_reads_them():
    from dvc.repo import Repo

    scale = params.load().scale
    ours = provenance.pipeline(scale=scale)
    theirs = {s.name: s for s in Repo(".").index.stages if getattr(s, "cmd", None)}
    assert set(ours) == set(theirs)
    for name, stage in theirs.items():
        assert ours[name].cmd == stage.cmd
        for part in ("deps", "outs"):
            paths = {out.def_path for out in getattr(stage, part)} - {"params.yaml"}
            assert set(getattr(ours[name], part)) == paths, (name, part)


def test_every_stage_keeps_its_record():
    for stage in provenance.pipeline().values():
        assert str(stage.record) in stage.outs, stage.name


def test_a_record_can_be_made_of_every_stage():
    settings = params.load(scale="tiny")
    for stage in provenance.pipeline(scale="tiny").values():
        record = provenance.make_record(stage, settings)
        assert None not in record["code"].values(), stage.name
