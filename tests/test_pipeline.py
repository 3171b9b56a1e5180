"""The whole line at tiny scale in a copy of the project, as a new user would run it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from noisyseg import volume

pytestmark = pytest.mark.pipeline
BIN = Path(sys.executable).parent
STUDIES = ("sgl", "robust")
STAGES = {"atlas@head", "labels@head", "noise@head", "phantoms", "report"}
STAGES |= {f"{stage}@{study}" for stage in ("train", "study") for study in STUDIES}
STAGES |= {"contours@torso", "train@threshold", "threshold", "train@ace", "ace"}
STAGES |= {"propagate@target", "propagate@target_test", "train@mind", "mind", "claims"}
STAGES |= {"train@cross", "cross", "00_start_here", "trace"}


def run(*command, cwd, code=0):
    """Run a command of the environment; its whole output."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, "PATH": path}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    return done.stdout


def ran(output):
    """Names of the stages that a repro has run."""
    return set(re.findall(r"Running stage '([^']+)'", output))


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """A copy of the project in which everything was made once at tiny scale."""
    home = tmp_path_factory.mktemp("line") / "noisyseg"
    listed = run("git", "ls-files", "-co", "--exclude-standard", cwd=".").split("\n")
    for name in filter(os.path.isfile, listed):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, home / name)
    shutil.rmtree(home / "reports")
    params = home / "params.yaml"
    params.write_text(params.read_text().replace("scale: laptop", "scale: tiny"))
    run("git", "init", "-q", cwd=home)
    run("noisyseg", "data", cwd=home)
    run("dvc", "commit", "-q", "-f", "data.dvc", cwd=home)
    assert ran(run("dvc", "repro", cwd=home)) == STAGES
    return home


def test_the_reports_stand(line):
    for name in ("index.html", "sgl/sgl.html", "sgl/figure1.png", "sgl/dice.md"):
        assert (line / "reports" / name).stat().st_size > 500, name


def test_the_long_table_is_complete(line):
    scores = pd.read_csv(line / "reports/sgl/scores.csv")
    counts = scores.groupby("reference")["arm"].value_counts().unstack(fill_value=0)
    # one held-out head of five, nine structures, three metrics; networks twice (seeds)
    assert counts.loc["truth"].to_dict() == {
        "software t1": 27, "software t1t2": 27, "t1": 54, "t1t2": 54,
    }  # fmt: skip
    assert counts.loc["t1t2", "software t1t2"] == 0


def test_the_summary_names_files_that_exist(line):
    for folder in (*STUDIES, "threshold", "ace", "mind", "cross", "phantoms", "claims"):
        summary = json.loads((line / "reports" / folder / "summary.json").read_text())
        assert (line / "reports" / folder / summary["figure"]).exists()
        assert summary["answer"]


def test_what_two_studies_share_is_trained_once(line):
    assert (line / "results/train/sgl/t1/seed-0/weights.safetensors").exists()
    assert not (line / "results/train/robust/t1").exists()
    seconds = pd.read_csv(line / "reports/robust/seconds.csv")
    assert {"t1", "t1_robust", "beta_swap_3"} <= set(seconds["arm"])


def test_noisy_labels_are_as_wrong_as_those_from_t1(line):
    found = pd.read_csv(line / "results/noise/head/strengths.csv")
    dice = found.pivot(index="subject", columns="kind", values="mean_dice")
    lost = 1 - dice
    np.testing.assert_allclose(lost["swap_1"], lost["boundary_1"], atol=0.02)
    np.testing.assert_allclose(lost["swap_3"], 3 * lost["swap_1"], atol=0.05)


def test_every_scan_is_held_out_once_for_every_organ_strength_and_cut(line):
    scores = pd.read_csv(line / "reports/threshold/scores.csv")
    dice = scores[scores["metric"] == "dice"]
    counts = dice.groupby(["reference", "organ", "sd_mm", "arm"])["case"]
    assert (counts.nunique() == 4).all() and (counts.size() == 4).all()
    assert len(counts) == 2 * 3 * 2 * 9  # references, organs, strengths, arms x cuts


def test_nothing_runs_twice(line):
    assert ran(run("dvc", "repro", cwd=line)) == set()
    assert "up to date" in run("dvc", "status", cwd=line)


def test_new_words_in_a_notebook_run_its_stage_and_the_trace(line):
    notebook = line / "notebooks" / "sgl.ipynb"
    text = notebook.read_text()
    notebook.write_text(text.replace("You will learn", "You are going to learn"))
    assert ran(run("dvc", "repro", cwd=line)) == {"study@sgl", "trace"}


def test_data_are_the_same_bytes_again(line, tmp_path):
    run("noisyseg", "data", "--out", str(tmp_path / "again"), cwd=line)
    run("diff", "-r", str(tmp_path / "again"), "data", cwd=line)


def test_a_head_is_labelled_on_its_own_grid(line, tmp_path):
    anat = line / "data/head/sub-01/anat"
    t1 = nib.load(anat / "sub-01_T1w.nii")
    to_flipped = np.diag([-1.0, 1, 1, 1])
    to_flipped[0, 3] = t1.shape[0] - 1
    data, affine = np.asarray(t1.dataobj)[::-1], t1.affine @ to_flipped  # LAS
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "t1.nii.gz")
    command = ["noisyseg", "label", "--t1", str(tmp_path / "t1.nii.gz")]
    command += ["--t2", str(anat / "sub-01_T2w.nii")]
    out, png = tmp_path / "labels.nii.gz", tmp_path / "labels.png"
    run(*command, "--out", str(out), "--png", str(png), cwd=line)
    found = volume.read_labels(out)
    np.testing.assert_allclose(found.affine, affine, atol=1e-5)
    assert png.exists() and len(np.unique(found.data)) == 9


def test_a_head_is_segmented_by_a_trained_network(line, tmp_path):
    t1 = line / "data/head/sub-01/anat/sub-01_T1w.nii"
    weights, out = line / "results/train/sgl/t1/seed-0", tmp_path / "labels.nii"
    command = ["noisyseg", "segment", "--weights", str(weights), "--t1", str(t1)]
    run(*command, "--out", str(out), cwd=line)
    volume.check_same_grid(
        volume.read_image(t1), volume.read_labels(out), "T1", "labels"
    )


@pytest.mark.parametrize("fault", ["missing", "truncated", "nan"])
def test_a_broken_scan_leaves_one_line_and_no_file(line, tmp_path, fault):
    t1 = tmp_path / "t1.nii"
    whole = (line / "data/head/sub-01/anat/sub-01_T1w.nii").read_bytes()
    if fault == "truncated":
        t1.write_bytes(whole[: len(whole) // 2])
    if fault == "nan":
        nib.save(nib.Nifti1Image(np.full((9, 9, 9), np.nan), np.eye(4)), t1)
    out = tmp_path / "labels.nii"
    command = ["noisyseg", "label", "--t1", str(t1), "--out", str(out)]
    said = run(*command, cwd=line, code=2)
    assert re.fullmatch(r"noisyseg: .*t1\.nii must .*\n", said) and not out.exists()


def test_a_subject_without_t2_stops_the_stage_and_is_named(line):
    scan = line / "data/head/sub-03/anat/sub-03_T2w.nii"
    hidden = scan.rename(scan.with_suffix(".hidden"))
    said = run("noisyseg", "stage", "labels", "head", cwd=line, code=2)
    hidden.rename(scan)
    assert "sub-03 has no T2w" in said and "Traceback" not in said
