"""What study `mind` gives: networks on both modalities, and labels that were borrowed.

Scores are those of whole scans on their own grids.
"""

from functools import partial

import pandas as pd

from noisyseg import (
    borrowing,
    crossmoda,
    decisions,
    domain_cases,
    domains,
    evaluation,
    training,
    workers,
)
from noisyseg.domain_sections import FUSIONS
from noisyseg.labeltables import LabelTable

CUT = "_star"  # an arm, cut at Dice-optimal thresholds
BORROWED = "labels_"
SINGLE = "labels_single"
TOLERANCE_MM = 1.0  # `evaluation.score` asks for one; this study has no use for it
COLOURS = ("#000000", "#e0559b", "#3aa76d", "#3b82c4", "#e8c468", "#8d8d8d")


def table(classes):
    """The label table of the study's classes; more than there are colours repeat."""
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(classes))]
    return LabelTable(tuple(classes), tuple(colours))


def evaluate(params):
    """Networks on the test cohort and on source cases that only watched; fused labels.

    Returns
    -------
    DataFrame
        The long table: study, cohort, arm, seed, fold, case, reference, structure,
        metric, value. ``<arm>_star`` is an arm whose class weights are undone, cut at
        the Dice-optimal thresholds of what is left; ``labels_<fusion>`` are borrowed
        labels, and the seed of ``labels_single`` is the number of the atlas.
    """
    study, jobs = params.mind, []
    score = partial(score_networks, crop=domains.choose_crop(params))
    for cohort, cases in {
        study.source: domain_cases.source_cases(params)[1],
        study.test: domain_cases.cases_of(params, study.test),
    }.items():
        jobs += [(score, params, cohort, case) for case in cases]
    for cohort, settings in params.propagation.items():
        atlases = borrowing.choose_atlases(params, settings)
        score = partial(score_borrowed, atlases=atlases)
        scans = borrowing.chosen_scans(params, cohort) if settings.truth else []
        jobs += [(score, params, cohort, case) for case in scans]
    found = workers.run_parallel(
        _score,
        jobs,
        workers=params.compute.workers,
        threads=params.compute.threads,
        title=f"scans of {domains.STUDY}",
    )
    return pd.concat(found, ignore_index=True)


def _score(score, params, cohort, case):
    """Rows of one scan, which say where they come from."""
    origin = {"study": domains.STUDY, "cohort": cohort, "case": case.subject}
    return score(params, cohort, case).assign(**origin, fold=0, reference="truth")


def score_networks(params, cohort, case, crop):
    """Scores of one labelled scan under every arm and seed, as they are and cut.

    Parameters
    ----------
    params : Params
    cohort : str
    case : casefiles.Case
    crop : domains.Crop

    Returns
    -------
    DataFrame with columns structure, metric, value, arm, seed
    """
    study, parts = params.mind, []
    truth = domain_cases.load_labels(case, study.classes)
    image = crop.cut(domain_cases.load_image(case))
    for arm in study.arms:
        for run in domains.runs(params, arm):
            prob = predict(params, run, image)
            weights = training.describe(run.folder)["loss"]["class_weights"]
            fair = decisions.unweighted(prob, weights)
            for name, labels in {
                arm: decisions.most_likely(prob),
                arm + CUT: decisions.dice_optimal(fair),
            }.items():
                found = crossmoda.restore(image.with_data(labels), truth)
                rows = _rows(truth, found, study)
                parts.append(rows.assign(arm=name, seed=run.seed))
    return pd.concat(parts, ignore_index=True)


def predict(params, run, image):
    """Probabilities under an arm and seed, float32 array (C, X, Y, Z).

    Parameters
    ----------
    params : Params
    run : domains.Run
    image : Volume
        The crop of a scan, whose grid the probabilities have.
    """
    model, features = training.load(run.folder), params.mind.arms[run.arm].features
    device = workers.device(params.compute.device)
    return domains.probabilities(model, image, features, device)


def score_borrowed(params, cohort, case, atlases):
    """Scores of the labels that a scan has borrowed: fused, and of every atlas.

    Parameters
    ----------
    params : Params
    cohort : str
    case : casefiles.Case
    atlases : dict, as of `borrowing.choose_atlases`

    Returns
    -------
    DataFrame with columns structure, metric, value, arm, seed
    """
    settings, study = params.propagation[cohort], params.mind
    twins = domain_cases.cases_of(params, settings.truth)
    twin = next((other for other in twins if other.subject == case.subject), None)
    if twin is None:
        raise FileNotFoundError(
            f"cohort {settings.truth} must have {case.subject}, as cohort {cohort} "
            "has, got none; correct propagation.*.truth"
        )
    truth = domain_cases.load_labels(twin, study.classes)
    parts = []
    for kind in FUSIONS:
        labels = borrowing.read_fused(cohort, case.subject, kind)
        rows = _rows(truth, labels, study)
        parts.append(rows.assign(arm=BORROWED + kind, seed=0))
    for number, (subject, (atlas, _)) in enumerate(atlases.items()):
        labels = borrowing.read_fused(cohort, case.subject, subject)
        labels = domain_cases.recoded(labels, atlas, settings.classes)
        rows = _rows(truth, labels, study, metrics=["dice"])
        parts.append(rows.assign(arm=SINGLE, seed=number))
    return pd.concat(parts, ignore_index=True)


def _rows(truth, labels, study, metrics=None):
    return evaluation.score(
        truth,
        labels,
        table(study.classes),
        TOLERANCE_MM,
        metrics=metrics or study.metrics,
    )
