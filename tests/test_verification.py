import io
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from noisyseg import cli, environment, params, reruns, tablepairs, tolerances
from noisyseg import verification as verify

SEED_SD = 0.02


def scores():
    """Two arms, three seeds, four cases; seeds spread by 0.02, software does not."""
    rng = np.random.default_rng(0)
    rows = []
    for arm, seeds in {"ce": 3, "dice": 3, "software t1": 1}.items():
        for seed in range(seeds):
            for case in "abcd":
                noise = 0 if seeds == 1 else rng.normal(0, SEED_SD)
                rows.append((arm, seed, 0, case, "bone", "dice", f"{0.7 + noise:.6f}"))
    columns = ["arm", "seed", "fold", "case", "structure", "metric", "value"]
    return pd.DataFrame(rows, columns=columns).astype(str)


def gains():
    """What a study says of two classes."""
    rows = [("bone", "0.05", "0.021", "4", "True", "reproduced")]
    rows += [("skin", "0.01", "0.6", "4", "False", "inconclusive")]
    columns = ["structure", "difference", "p", "cases", "clear", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def texts(**tables):
    made = {"scores": scores(), "gains": gains()} | tables
    return {f"s/{name}.csv": table.to_csv(index=False) for name, table in made.items()}


def outcome(name, table, **how):
    found = verify.compare(texts(), texts(**{name: table}), **how)
    return {o.name: o for o in found}[f"s/{name}.csv"]


def planted(table, column, value, row=0):
    return table.assign(
        **{column: [*table[column][:row], value, *table[column][row + 1 :]]}
    )


def tolerance(name, row=0, column="value"):
    """As the module gives it to a number of a table."""
    old = {key: tablepairs.read(text) for key, text in texts().items()}
    count = {"scores": len(scores()), "gains": 4}[name]
    where = old[f"s/{name}.csv"].iloc[row].to_dict()
    return tolerances.Tolerances(old).of(f"s/{name}.csv", where, column, count)


def test_the_tolerance_is_z_times_the_spread_of_two_runs():
    values = scores()[scores()["arm"] != "software t1"]
    by_case = values.astype({"value": float}).groupby(["arm", "case"])["value"]
    expected = tolerances.reach(len(scores())) * np.sqrt(2 * by_case.var().mean())
    assert tolerance("scores") == pytest.approx(expected)
    assert 0.5 * SEED_SD < expected / (np.sqrt(2) * 3.7) < 2 * SEED_SD


def test_a_difference_of_means_over_three_seeds_has_the_tolerance_of_four_means():
    one = tolerance("scores") / tolerances.reach(len(scores()))
    assert tolerance("gains", column="difference") == pytest.approx(
        tolerances.reach(4) * one * np.sqrt(2)
    )  # no arm is named, so that one seed may stand behind it


def test_what_no_network_made_may_move_by_few_voxels_only():
    assert tolerance("scores", row=24) == pytest.approx(0.02 * 0.7)
    table = planted(scores(), "value", "0.713000", row=24)
    assert outcome("scores", table).verdict == verify.WITHIN
    table = planted(scores(), "value", "0.715000", row=24)
    assert outcome("scores", table).verdict == verify.CHANGED


def test_a_share_of_few_voxels_may_move_far():
    rows = [("ce", str(f), "0", "0.500", "16") for f in range(3)]
    old = pd.DataFrame(rows, columns=["arm", "fold", "seed", "observed", "voxels"])
    limits = tolerances.Tolerances({"s/bins.csv": old})
    for value, verdict in (("0.740", verify.WITHIN), ("0.760", verify.CHANGED)):
        new = planted(old, "observed", value)
        assert verify.compare_table("s/bins.csv", old, new, limits).verdict == verdict


@pytest.mark.parametrize("change", [{"clear": "False"}, {"p": "0.06"}])
def test_a_flag_may_turn_with_the_numbers_of_its_row_but_not_alone(change):
    ((column, value),) = change.items()
    turned = planted(gains(), column, value)
    found = outcome("gains", planted(turned, "difference", "0.051"))
    assert found.verdict == verify.WITHIN and "turned with them: 1 flags" in found.note
    other_row = planted(turned, "difference", "0.011", row=1)
    assert outcome("gains", other_row).verdict == verify.CHANGED


@pytest.mark.parametrize(("by", "verdict"), [(0.9, verify.WITHIN), (3, verify.CHANGED)])
def test_a_dice_may_move_within_its_tolerance(by, verdict):
    value = float(scores()["value"][0]) - by * tolerance("scores")
    found = outcome("scores", planted(scores(), "value", f"{value:.6f}"))
    assert found.verdict == verdict
    assert len(found.changes) == (verdict == verify.CHANGED)


@pytest.mark.parametrize(
    ("column", "value"),
    [("verdict", "inconclusive"), ("clear", "False"), ("cases", "5"), ("p", "0.06")],
)
def test_a_flipped_verdict_a_count_off_by_one_and_a_p_across_the_level(column, value):
    found = outcome("gains", planted(gains(), column, value))
    assert found.verdict == verify.CHANGED
    assert f"bone: {column}" in str(found.changes[0])


def test_a_p_value_on_its_side_of_the_level_is_no_change():
    assert outcome("gains", planted(gains(), "p", "0.04")).verdict == verify.WITHIN


def test_the_order_of_rows_and_columns_means_nothing():
    table = scores().iloc[::-1, ::-1]
    assert outcome("scores", table).verdict == verify.SAME
    assert outcome("scores", scores()).verdict == verify.SAME


def test_lost_and_new_rows_columns_and_tables_are_changes():
    assert "case d" in str(outcome("scores", scores().iloc[:-1]).changes[0])
    twice = pd.concat([scores(), scores().iloc[:1]])
    assert "rows lost or new: 1" in outcome("scores", twice).note
    assert "columns lost: p" in outcome("gains", gains().drop(columns="p")).note
    assert outcome("more", gains()).note == "the table is new"


def test_an_undefined_score_that_becomes_a_number_is_a_change():
    assert outcome("scores", planted(scores(), "value", "")).verdict == verify.CHANGED


def test_every_move_counts_where_nothing_may_move():
    table = planted(scores(), "value", "0.699999", row=24)
    assert outcome("scores", table).verdict == verify.WITHIN
    assert outcome("scores", table, exact=True).verdict == verify.CHANGED


def test_times_are_compared_in_their_rows_only():
    times = scores().drop(columns=["structure", "metric"])
    old = {"s/seconds.csv": times.to_csv(index=False)}
    other = times.assign(value="9.9")
    (found,) = verify.compare(old, {"s/seconds.csv": other.to_csv(index=False)})
    assert found.verdict == verify.SAME and "not compared" in found.note
    (found,) = verify.compare(old, {"s/seconds.csv": other[1:].to_csv(index=False)})
    assert found.verdict == verify.CHANGED


def test_numbers_in_text_have_the_tolerance_of_their_structure():
    old = pd.DataFrame({"method": ["CE", "CE"], "numbers": ["ours", "paper"]})
    old = old.assign(bone=["0.827 [0.80, 0.87]", "0.80"], failures="3 of 10")
    limits = tolerances.Tolerances(dict.fromkeys(["s/dice.csv"], old) | {
        "s/scores.csv": scores()})  # fmt: skip
    for column, value, row, verdict in [
        ("bone", "0.807 [0.79, 0.86]", 0, verify.WITHIN),
        ("bone", "0.527 [0.50, 0.57]", 0, verify.CHANGED),
        ("bone", "0.827 (0.80, 0.87)", 0, verify.CHANGED),
        ("bone", "0.78", 1, verify.CHANGED),
        ("failures", "4 of 10", 0, verify.CHANGED),
    ]:
        new = planted(old, column, value, row)
        assert verify.compare_table("s/dice.csv", old, new, limits).verdict == verdict


def test_an_empty_bin_needs_no_row():
    rows = [("ce", str(f), "0", str(b), f"{9 + f}.0") for f in range(3) for b in (0, 1)]
    old = pd.DataFrame(rows, columns=["arm", "fold", "seed", "bin", "voxels"])
    limits = tolerances.Tolerances({"s/bins.csv": old})
    found = verify.compare_table("s/bins.csv", old, old.iloc[1:], limits)
    assert str(found.changes[0]).startswith("bin 0, fold 0: voxels: 9.0 -> 0.0")
    few = planted(old, "voxels", "1.0")
    found = verify.compare_table("s/bins.csv", few, few.iloc[1:], limits)
    assert found.verdict == verify.WITHIN


def test_every_committed_table_names_its_rows():
    for name, text in reruns.read_folder(Path("reports")).items():
        if name.endswith(".csv"):
            table = tablepairs.read(text)
            keys = tablepairs.key_columns(table)
            assert not table.duplicated(keys).any(), name
            assert not {"verdict", "clear", "mean", "value", "ours"} & set(keys), name


def toward_another_seed(text, column, share):
    """A long table in which every seed moved by a share of the way to the next one."""
    table = pd.read_csv(io.StringIO(text))
    keys = ["arm", "case", "reference", "structure", "metric"]
    values = table.groupby([key for key in keys if key in table], sort=False)[column]
    step = values.transform(lambda seeds: np.roll(seeds, 1)) - table[column]
    return table.assign(**{column: table[column] + share * step}).to_csv(index=False)


@pytest.mark.parametrize(
    ("share", "verdict"), [(1, "within tolerance"), (5, "changed")]
)
@pytest.mark.parametrize(
    ("name", "column"), [("sgl/scores.csv", "value"), ("cross/cuts.csv", "own")]
)
def test_other_seeds_are_within_the_tolerance_of_the_real_scores(
    name, column, share, verdict
):
    committed = reruns.read_folder(Path("reports"))
    other = {name: toward_another_seed(committed[name], column, share)}
    found = verify.compare({name: committed[name]}, other)
    assert [outcome.verdict for outcome in found] == [verdict]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that has committed the real tables."""
    for path in Path("reports").glob("*/*.csv"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / path)
    for name in ("params.yaml", "pyproject.toml"):
        shutil.copy(name, tmp_path)
    monkeypatch.chdir(tmp_path)
    commit()
    return tmp_path


def commit():
    name = ["-c", "user.name=n", "-c", "user.email=e"]
    own = {key: text for key, text in os.environ.items() if not key.startswith("GIT_")}
    for command in (["init", "-q"], ["add", "*.*"], [*name, "commit", "-qm", "made"]):
        subprocess.run(["git", *command], check=True, env=own)


def test_a_planted_change_of_the_real_tables_ends_with_status_1(project, capsys):
    assert cli.main(["verify"]) == 0
    assert re.search(r"^(\d+) tables: \1 same, 0 within", capsys.readouterr().out, re.M)
    ledger = project / "reports/claims/ledger.csv"
    text = ledger.read_text()
    ledger.write_text(re.sub(",reproduced,", ",not reproduced,", text, count=1))
    assert cli.main(["verify"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"verdict: reproduced -> not reproduced; must be equal", said)
    assert re.search(r" same, 0 within tolerance, 1 changed$", said, re.M)
    assert cli.main(["verify", "sgl"]) == 0


def test_a_dice_planted_in_the_real_summary_is_found(project, capsys):
    path = project / "reports/sgl/summary.csv"
    table = tablepairs.read(path.read_text())
    chosen = (table["arm"] == "t1") & (table["structure"] == "bone")
    row = table.index[chosen & (table["metric"] == "dice")][0]
    moved = f"{float(table.loc[row, 'mean']) - 0.2:.6f}"
    planted(table, "mean", moved, row).to_csv(path, index=False)
    assert cli.main(["verify"]) == 1
    assert re.search(r"arm t1, .*bone.*: mean: .*allowed 0\.0", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sgll"], "study must be one of .*; did you mean 'sgl'"),
        (["--against", "nowhere"], "git archive .* must succeed, got: .*a folder"),
    ],
)
def test_mistakes_of_input_end_with_status_2(project, capsys, arguments, said):
    assert cli.main(["verify", *arguments]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_without_a_repository_a_folder_will_do(project, capsys):
    shutil.copytree("reports", "before/reports")
    shutil.rmtree(".git")
    assert cli.main(["verify"]) == 2
    assert "not a git repository" in capsys.readouterr().err
    assert cli.main(["verify", "--against", "before"]) == 0


def test_a_rerun_makes_the_tables_in_a_clone(tmp_path, monkeypatch):
    """A project whose only stage writes one table."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        ".ci/data": "echo made > data",
        ".dvc/config": "[core]\n    analytics = false",
        "one.csv": "a,b\n1,2\n",
        "dvc.yaml": "stages: {t: {cmd: mkdir -p reports/s && cp one.csv reports/s/}}",
    }.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    commit()
    assert reruns.make(Path("again")) == {"s/one.csv": "a,b\n1,2\n"}
    assert Path("again/data").exists() and not Path("reports").exists()
    Path("one.csv").write_text("a,b\n1,3\n")
    commit()
    with pytest.raises(
        ValueError, match=r"again must be a clone at .*, got .*; remove"
    ):
        reruns.make(Path("again"))


def test_an_environment_names_versions_and_no_place():
    found = environment.describe(params.load())
    assert found["packages"]["torch"] and found["python"] and found["processor"]
    assert str(Path.cwd()) not in str(found)


def test_only_what_differs_between_environments_is_told(tmp_path):
    environment.write(params.load(), tmp_path / "e.json")
    written = (tmp_path / "e.json").read_text()
    here = environment.describe(params.load())
    assert "are due to be the same" in environment.compare(written, here)
    said = environment.compare(written, here | {"processor": "abacus"})
    assert said.count("\n") == 1 and said.endswith("-> abacus")
