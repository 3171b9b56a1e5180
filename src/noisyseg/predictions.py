"""The segmentation behind one row of a study's long table, made again."""

from dataclasses import dataclass

import numpy as np

from noisyseg import (
    borrowing,
    crossmoda,
    crosstable,
    datasets,
    decisions,
    domain_cases,
    domain_scores,
    domains,
    inference,
    organ_scores,
    organs,
    scenarios,
    software,
    studies,
    thresholds,
    training,
    workers,
)
from noisyseg.choices import check_choice
from noisyseg.volume import Volume

CUTS = ("_star", "_oracle")  # of an arm's probabilities, no arms of their own


@dataclass(frozen=True)
class Segmentation:
    """A case, its reference and what an arm makes of it, on one canonical grid.

    Attributes
    ----------
    image : Volume
    truth, pred : integer array (X, Y, Z)
        Places in `names`; what is beyond them is unknown.
    names : tuple of str
    """

    image: Volume
    truth: np.ndarray
    pred: np.ndarray
    names: tuple[str, ...]

    def masks(self, structure):
        """Reference and prediction of one structure, two bool arrays (X, Y, Z)."""
        value = self.names.index(structure)
        known = self.truth < len(self.names)
        return self.truth == value, (self.pred == value) & known


def base_arm(study, arm):
    """The arm of `params.yaml` whose network a row of the table stands on.

    >>> base_arm("threshold", "ce_star"), base_arm("robust", "ce_star")
    ('ce', 'ce_star')
    """
    if study in (organs.STUDY, domains.STUDY, crosstable.STUDY):
        for cut in CUTS:
            arm = arm.removesuffix(cut)
    return arm


def arm_settings(params, study, arm):
    """What `params.yaml` says of an arm, all it inherits included; {} if no network."""
    found = getattr(params, study).arms.get(base_arm(study, arm))
    return {} if found is None else found.model_dump(mode="json")


def networks(params, row):
    """The folders of weights behind a row of a long table; none for mere labels.

    Parameters
    ----------
    params : Params
    row : mapping
        Columns study, arm, seed, fold, structure and the study's own.
    """
    study, arm, seed = row["study"], row["arm"], int(row["seed"])
    base = base_arm(study, arm)
    if base not in getattr(params, study).arms:
        return []
    if study == organs.STUDY:
        return [_task(row).folder(base)]
    if study == scenarios.STUDY:
        found = scenarios.runs(params, row["scenario"], base, seed)
        return [run.folder for run in found]
    if study == domains.STUDY:
        return [domains.Run(base, seed).folder]
    return [studies.run_folder(params, study, base, seed)]


def again(params, row):
    """The segmentation behind a row of a long table.

    Parameters
    ----------
    params : Params
    row : mapping
        Columns study, arm, seed, fold, case, reference, structure and the study's own.

    Returns
    -------
    Segmentation

    Raises
    ------
    FileNotFoundError
        If weights or labels are not there.
    """
    makers = {organs.STUDY: _organ, scenarios.STUDY: _scenario, domains.STUDY: _domain}
    makers |= dict.fromkeys(params.studies, _head) | {crosstable.STUDY: _crossed}
    check_choice("study", row["study"], makers)
    return makers[row["study"]](params, row)


def _head(params, row):
    study, arm = params.studies[row["study"]], row["arm"]
    *_, cases = studies.split(params, study)
    case = _called(row["case"], {case.subject: case for case in cases})
    images = software.load_images(case.images)
    if arm.startswith(studies.SOFTWARE):
        kind, image = arm.removeprefix(studies.SOFTWARE), next(iter(images.values()))
        found = software.load_reference(params, study.cohort, kind, case)
    else:
        how, (folder,) = study.arms[arm], networks(params, row)
        inputs, image = [images[name] for name in how.inputs], images[how.inputs[0]]
        device = workers.device(params.compute.device)
        model = training.load(folder)
        found = inference.segment(model, inputs, how.image_size, device=device)
    truth = software.load_reference(params, study.cohort, row["reference"], case)
    names = tuple(studies.table(params, study).names)
    return Segmentation(image, truth.data, found.data, names)


def _crossed(params, row):
    """What a network of study `cross` finds, decided as its arm says."""
    study, arm = params.cross, row["arm"]
    *_, cases = studies.split(params, study)
    case = _called(row["case"], {case.subject: case for case in cases})
    images, how = (
        software.load_images(case.images),
        study.arms[base_arm(row["study"], arm)],
    )
    truth = crosstable.load_references(params, how.labels, case)[row["reference"]]
    prob = crosstable.probabilities(params, how, *networks(params, row), images)
    decide = decisions.most_likely
    if arm.endswith(crosstable.CUT):
        decide = decisions.dice_optimal
    names = tuple(studies.table(params, study).names)
    return Segmentation(images[how.inputs[0]], truth.data, decide(prob), names)


def _task(row):
    return organs.Task(row["structure"], float(row["sd_mm"]), int(row["fold"]))


def _organ(params, row):
    task, arm = _task(row), row["arm"]
    _, scans = organs.split(params, task)
    scan = _called(row["case"], {scan.name: scan for scan in scans})
    base = base_arm(row["study"], arm)
    folders = networks(params, row)
    models = {base: training.load(folders[0])} if folders else {}
    probs, noisy, truth = organ_scores.predict(params, task, scan, models)
    reference = {"noisy": noisy, "truth": truth}[row["reference"]]
    cut = 0.5
    if arm.endswith("_star"):
        cut = thresholds.dice_optimal(probs[base])[0]
    if arm.endswith("_oracle"):
        cut = thresholds.best_against(probs[base], reference)[0]
    crop = organs.load(params, task.organ, scan)
    ct = crop.images[:, crop.images.shape[1] // 2].numpy()  # no neighbours
    shown, labels, found = (
        np.moveaxis(part, 0, -1) for part in (ct, reference, probs[base] >= cut)
    )
    z_mm, x_mm, y_mm = crop.spacing_mm
    image = Volume(shown, np.diag([x_mm, y_mm, z_mm, 1.0]))
    names = ("background", task.organ)
    return Segmentation(image, labels.astype(int), found.astype(int), names)


def _scenario(params, row):
    scenario = params.ace.scenarios[row["scenario"]]
    inputs, where = scenarios.inputs_of_tests(scenario), params.cohorts[scenario.test]
    cases = datasets.cases_of(where, scenario.test, inputs)
    numbers = {case.subject: number for number, case in enumerate(cases)}
    number = _called(row["case"], numbers)
    case, truth = scenarios.load_test(params, row["scenario"], number)
    device = workers.device(params.compute.device)
    how = row["scenario"], row["arm"], int(row["seed"]), case
    found = scenarios.predict(params, *how, device)
    image = truth.with_data(case.images[0].numpy())
    return Segmentation(image, truth.data, found, tuple(scenario.classes))


def _domain(params, row):
    cohort, classes = row["cohort"], tuple(params.mind.classes)
    borrowed = row["arm"].startswith(domain_scores.BORROWED)
    home = params.propagation[cohort].truth if borrowed else cohort
    cases = {case.subject: case for case in domain_cases.cases_of(params, home)}
    case = _called(row["case"], cases)
    image, truth = (
        domain_cases.load_image(case),
        domain_cases.load_labels(case, classes),
    )
    found = _borrowed(params, row) if borrowed else _learned(params, row, image, truth)
    return Segmentation(image, truth.data, found.data, classes)


def _borrowed(params, row):
    """The labels that a scan borrowed, fused or of one atlas."""
    kind, settings = row["arm"], params.propagation[row["cohort"]]
    if kind != domain_scores.SINGLE:
        fused = kind.removeprefix(domain_scores.BORROWED)
        return borrowing.read_fused(row["cohort"], row["case"], fused)
    atlases = list(borrowing.choose_atlases(params, settings).values())
    atlas, _ = atlases[int(row["seed"])]
    labels = borrowing.read_fused(row["cohort"], row["case"], atlas.subject)
    return domain_cases.recoded(labels, atlas, settings.classes)


def _learned(params, row, image, truth):
    """What a network finds in a scan, as it is or cut."""
    run = domains.Run(base_arm(row["study"], row["arm"]), int(row["seed"]))
    seen = domains.choose_crop(params).cut(image)
    prob = domain_scores.predict(params, run, seen)
    labels = decisions.most_likely(prob)
    if row["arm"].endswith(domain_scores.CUT):
        weights = training.describe(run.folder)["loss"]["class_weights"]
        labels = decisions.dice_optimal(decisions.unweighted(prob, weights))
    return crossmoda.restore(seen.with_data(labels), truth)


def _called(name, cases):
    """The case of a name.

    Raises
    ------
    ValueError
        If the data have no such case (any more).
    """
    check_choice("case", name, cases)
    return cases[name]
