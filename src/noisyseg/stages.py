"""What each stage of `dvc.yaml` does, from data to the page that people read."""

from functools import partial
from pathlib import Path
from pkgutil import resolve_name

from noisyseg import workers

REPORTS = Path("reports")
NOTEBOOKS = Path("results/notebooks")
COHORT_STAGES = {  # imported when they run: torch alone takes seconds
    "atlas": "software:make_atlas",
    "labels": "software:label_cohort",
    "noise": "noise:corrupt_cohort",
    "contours": "contours:deform_cohort",
    "propagate": "borrowing:propagate_cohort",
}
TRAINERS = {"threshold": "organs", "ace": "scenarios", "mind": "domains"}


def run(stage, name, params):
    """Run one stage of `dvc.yaml` for a cohort, study or notebook."""
    if stage == "notebook":
        run_notebook(params, name)
    elif stage == "trace":
        from noisyseg import tracing_pages

        tracing_pages.write(params)
    elif stage == "report":
        from noisyseg import environment, frontpage, metrics

        frontpage.write(params)
        metrics.write(params)
        environment.write(params, REPORTS / "environment.json")
    elif stage == "train":
        workers.prepare()
        module = TRAINERS.get(name, "studies")
        resolve_name(f"noisyseg.{module}:train")(params, name)
    else:
        workers.prepare(workers.LARGE)
        resolve_name(f"noisyseg.{COHORT_STAGES[stage]}")(params, name)


def make_data(params, folder, labelmaps=None, coding=None):
    """Make all cohorts: heads, torsos, lesions, skull bases; all or nothing.

    Parameters
    ----------
    params : Params
    folder : Path
    labelmaps : Path, optional
        Folder of head label maps, whose anatomies stand in for drawn ones: each map as
        many times as the numbers of `params.data` need, bent differently each time.
    coding : str, optional
        What the values of the label maps mean, a key of `labelmaps.CODINGS`.
    """
    from noisyseg import (
        lesion_phantoms,
        phantoms,
        skullbase_phantoms,
        torso_phantoms,
    )

    settings = params.data.head.model_dump()
    numbers = settings.pop("subjects"), settings.pop("atlas_subjects")
    settings["workers"] = params.compute.workers
    write = phantoms.write_cohort
    if labelmaps is not None:
        write = partial(phantoms.write_from_labelmaps, labelmaps, coding=coding)
    with workers.whole_folder(folder) as part:
        for name, subjects in zip(("head", "atlas"), numbers, strict=True):
            write(part / name, subjects=subjects, **settings)
            settings["seed"] += 1  # other heads than the subjects
        shared = {"workers": params.compute.workers}
        torso = params.data.torso.model_dump()
        torso_phantoms.write_cohort(part / "torso", **torso, **shared)
        for name, made in (
            ("lesions", lesion_phantoms),
            ("skullbase", skullbase_phantoms),
        ):
            how = getattr(params.data, name).model_dump()
            for kind, n in how.pop("subjects").items():
                place = part / name / kind
                made.write_cohort(place, kind=kind, subjects=n, **how, **shared)


def run_notebook(params, name):
    """Execute a notebook and write its page.

    The filled notebook goes to ``results/notebooks``, the page to ``reports/<name>``;
    neither tells when it was made.
    A parameter that the notebook does not declare is an error.
    """
    import papermill

    from noisyseg import pages

    source, filled = Path("notebooks") / f"{name}.ipynb", NOTEBOOKS / f"{name}.ipynb"
    given = {"scale": params.scale}
    check_parameters(source, given)
    filled.parent.mkdir(parents=True, exist_ok=True)
    (REPORTS / name).mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        source, filled, parameters=given, kernel_name="python3", progress_bar=True
    )
    pages.settle(filled)
    pages.notebook_page(filled, REPORTS / name / f"{name}.html")


def check_parameters(notebook, given):
    """Refuse parameters that a notebook does not declare (papermill only warns)."""
    import papermill

    known = papermill.inspect_notebook(str(notebook))
    for name in given:
        if name not in known:
            raise ValueError(
                f"{notebook} must declare its parameters, got {name!r}; it declares "
                f"{', '.join(known) or 'none'}"
            )
