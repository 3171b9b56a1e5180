"""dvc.yaml, params.yaml and the notebooks must tell one story."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from noisyseg import claims, params, provenance, stages

SOURCE = Path("src/noisyseg")
ENTRY = {
    "atlas": "atlases",
    "labels": "software",
    "noise": "noise",
    "contours": "contours",
    "propagate": "borrowing",
    "train": "training",
    "report": "frontpage",
    "trace": "tracing_pages",
}
# Wiring that hands values on but computes none of the results.
WIRING = {"params", "sections", "scenario_sections", "settings", "workers", "stages"}
WIRING |= {"domain_sections", "cli", "__init__"}


def pipeline():
    return yaml.safe_load(Path("dvc.yaml").read_text())["stages"]


def imports(text):
    """Modules of the package that some source imports by name."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "noisyseg":
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "noisyseg."
        ):
            found.add(node.module.split(".")[1])
    return found


def notebook_source(name):
    cells = nbformat.read(f"notebooks/{name}.ipynb", as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def notebooks():
    return sorted(path.stem for path in Path("notebooks").glob("*.ipynb"))


def declared(stage):
    deps = pipeline()[stage].get("do", pipeline()[stage])["deps"]
    return {Path(dep).stem for dep in deps if dep.startswith("src/")}


@pytest.mark.parametrize("name", notebooks())
def test_a_notebook_stage_lists_the_modules_the_notebook_imports(name):
    stage = name if name in pipeline() else "study"
    missing = imports(notebook_source(name)) - WIRING - declared(stage)
    assert not missing, f"stage {stage} of dvc.yaml must list {missing}"


@pytest.mark.parametrize("stage", ENTRY)
def test_a_stage_lists_what_its_module_imports(stage):
    direct = imports((SOURCE / f"{ENTRY[stage]}.py").read_text())
    assert direct - WIRING - {"volume"} <= declared(stage) | {ENTRY[stage]}


@pytest.mark.parametrize("trainer", ["studies", *stages.TRAINERS.values()])
def test_a_training_lists_what_its_module_imports(trainer):
    direct = imports((SOURCE / f"{trainer}.py").read_text()) - WIRING
    direct -= {"evaluation"}  # for scores of what has been trained
    assert direct <= declared("train") | {trainer}
    assert trainer in {item["code"] for item in pipeline()["train"]["foreach"].values()}


def test_every_listed_file_exists():
    for path in re.findall(r"src/noisyseg/[\w.]+", Path("dvc.yaml").read_text()):
        assert Path(path).exists(), path


def test_the_ledger_stage_lists_every_table_that_a_claim_names():
    found = claims.read()
    cells = {f"reports/{c.study}/{c.cell.table}" for c in found if c.cell}
    longs = {f"reports/{c.study}/scores.csv" for c in found if c.mean or c.difference}
    deps = {dep for dep in pipeline()["claims"]["deps"] if dep.startswith("reports/")}
    assert cells | longs <= deps


def test_the_ledger_stage_depends_on_every_setting_that_a_claim_names():
    sections = {c.setting.split(".")[0] for c in claims.read() if c.setting}
    assert sections <= set(pipeline()["claims"]["params"])


def test_every_study_has_its_stages_and_notebook():
    for name in params.load().studies:
        assert name in pipeline()["train"]["foreach"]
        assert name in pipeline() or name in pipeline()["study"]["foreach"]
        assert Path(f"notebooks/{name}.ipynb").exists()


def test_every_stage_has_a_description():
    for name, stage in pipeline().items():
        assert stage.get("do", stage)["desc"], name


@pytest.mark.parametrize("name", notebooks())
def test_notebooks_are_kept_without_outputs(name):
    for cell in nbformat.read(f"notebooks/{name}.ipynb", as_version=4).cells:
        assert not cell.get("outputs") and not cell.get("execution_count")


@pytest.mark.parametrize("name", notebooks())
def test_no_cell_is_longer_than_a_screen(name):
    for cell in nbformat.read(f"notebooks/{name}.ipynb", as_version=4).cells:
        assert cell.cell_type != "code" or cell.source.count("\n") < 20, cell.source


@pytest.mark.parametrize("name", notebooks())
def test_a_misspelt_notebook_parameter_is_refused(name):
    path = Path(f"notebooks/{name}.ipynb")
    stages.check_parameters(path, {"scale": "tiny"})
    with pytest.raises(ValueError, match="must declare its parameters, got 'scael'"):
        stages.check_parameters(path, {"scael": "tiny"})


def test_the_readme_draws_the_stages_as_they_are():
    command = [Path(sys.executable).with_name("dvc"), "dag", "--md"]
    drawn = subprocess.run(
        [*command, "--collapse-foreach-matrix"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    readme = Path("README.md").read_text()
    shown = readme.partition("<!-- dag -->\n")[2].partition("<!-- end dag -->")[0]
    assert shown.strip() == drawn.strip()


def test_readme_and_front_page_say_the_minutes_that_were_measured():
    table = Path("benchmarks/minutes.md").read_text()
    minutes = round(float(re.search(r"\| all .*\| ([\d.]+)", table)[1]))
    assert f"| {minutes} after installation |" in Path("README.md").read_text()
    page = (SOURCE / "frontpage.md.j2").read_text()
    assert f"about {minutes} minutes" in page


def test_what_dvc_shows_is_made_by_some_stage():
    whole = yaml.safe_load(Path("dvc.yaml").read_text())
    made = {out for stage in provenance.pipeline().values() for out in stage.outs}
    shown = [plot for plot in whole["plots"] if isinstance(plot, str)]
    curves = (plot for plot in whole["plots"] if isinstance(plot, dict))
    shown += [file for plot in curves for about in plot.values() for file in about["y"]]
    for path in map(Path, [*whole["metrics"], *shown]):
        assert made & set(map(str, (path, *path.parents))), path


def test_every_study_has_its_headline():
    settings = params.load()
    assert set(settings.metrics) == set(settings.studies) | set(stages.TRAINERS)
