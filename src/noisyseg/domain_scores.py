"""What study `mind` gives: networks on both modalities, and labels that were borrowed.

Scores are those of whole scans on their own grids.
"""

from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from noisyseg import (
    borrowing,
    crossmoda,
    datasets,
    domains,
    evaluation,
    training,
    workers,
)
from noisyseg.domain_sections import FUSIONS, REFERENCE
from noisyseg.labeltables import LabelTable

CUT = "_star"  # an arm, cut at Dice-optimal thresholds
BORROWED = "labels_"
SINGLE = "labels_single"
TAILS = ("worst", "best", "worst less best")
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
    study = params.mind
    where = params.cohorts[study.test]
    tests = datasets.cases_of(where, study.test, where.modalities)
    jobs = [
        (score_networks, params, cohort, case)
        for cohort, cases in {
            study.source: domains.source_cases(params)[1],
            study.test: tests,
        }.items()
        for case in cases
    ]
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


def score_networks(params, cohort, case):
    """Scores of one labelled scan under every arm and seed, as they are and cut.

    Returns
    -------
    DataFrame with columns structure, metric, value, arm, seed
    """
    study, parts = params.mind, []
    truth = domains.load_labels(case, cohort, REFERENCE, study.classes)
    for arm, row in study.arms.items():
        for seed in row.seeds:
            prob, crop = predict(params, arm, seed, case)
            weights = training.describe(domains.Run(arm, seed).folder)["loss"]
            fair = domains.unweighted(prob, weights["class_weights"])
            for name, labels in {
                arm: domains.most_likely(prob),
                arm + CUT: domains.dice_optimal(fair),
            }.items():
                found = crossmoda.restore(crop.with_data(labels), truth)
                parts.append(_rows(truth, found, study).assign(arm=name, seed=seed))
    return pd.concat(parts, ignore_index=True)


def predict(params, arm, seed, case):
    """Probabilities of a scan under an arm and seed.

    Returns
    -------
    prob : float32 array (C, X, Y, Z)
    image : Volume
        The crop that the network saw, whose grid the probabilities have.
    """
    image = domains.load_image(case, domains.choose_crop(params))
    model = training.load(domains.Run(arm, seed).folder)
    device = workers.device(params.compute.device)
    features = params.mind.arms[arm].features
    return domains.probabilities(model, image, features, device), image


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
    where = params.cohorts[settings.truth]
    cases = datasets.cases_of(where, settings.truth, where.modalities)
    twin = next(other for other in cases if other.subject == case.subject)
    truth = domains.load_labels(twin, settings.truth, REFERENCE, study.classes)
    parts = []
    for kind in FUSIONS:
        labels = borrowing.read_fused(cohort, case.subject, kind)
        rows = _rows(truth, labels, study)
        parts.append(rows.assign(arm=BORROWED + kind, seed=0))
    for number, (subject, (atlas, _)) in enumerate(atlases.items()):
        labels = borrowing.read_fused(cohort, case.subject, subject)
        labels = borrowing.recoded(labels, atlas, settings.classes)
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


def dice_of_cases(scores):
    """Dice of every case, mean over seeds: arm, structure, case, value.

    The structure ``all`` is the mean over the structures of a case; the background is
    none. Rows are those of `evaluate`, of one cohort.
    """
    dice = scores[(scores["metric"] == "dice") & (scores["structure"] != "background")]
    every = dice.groupby(["arm", "seed", "case"], sort=False)["value"].mean()
    every = every.reset_index().assign(structure="all")
    both = pd.concat([dice[every.columns], every])
    keys = ["arm", "structure", "case"]
    return both.groupby(keys, sort=False)["value"].mean().reset_index()


def describe(scores):
    """How the Dice of cases is spread, as the paper tells it.

    Parameters
    ----------
    scores : DataFrame
        Rows of `evaluate` of one cohort.

    Returns
    -------
    DataFrame with columns arm, structure, mean, sd, min, max, failures
        Over the cases of `dice_of_cases`; `failures` have Dice 0 with every seed.
    """
    cases = dice_of_cases(scores)
    groups = cases.groupby(["arm", "structure"], sort=False)["value"]
    found = groups.agg(["mean", "std", "min", "max"]).rename(columns={"std": "sd"})
    failures = groups.agg(lambda values: int((values == 0).sum()))
    return found.assign(failures=failures).reset_index()


def compare_tails(scores, arm, other, share=1 / 3):
    """What an arm changes for the worst and for the best cases of another.

    Parameters
    ----------
    scores : DataFrame
        Rows of `evaluate` of one cohort.
    arm, other : str
    share : float
        Of the cases that are the worst, and the best, of each arm for itself.

    Returns
    -------
    DataFrame with columns structure, part, difference, low, high
        The parts are ``worst``, ``best`` and ``worst less best``: mean Dice of these
        cases under `arm` less that under `other`, with a 95 % bootstrap interval over
        cases (percentiles); NaN with fewer than three cases.
    """
    cases = dice_of_cases(scores[scores["arm"].isin([arm, other])])
    wide = cases.pivot(index=["structure", "case"], columns="arm", values="value")
    rows = []
    for structure, part in wide.dropna().groupby(level="structure", sort=False):
        pair = part[arm].to_numpy(), part[other].to_numpy()
        values = _tails(*pair, share=share)
        low, high = _interval_of_tails(pair, share)
        rows += zip([structure] * 3, TAILS, values, low, high, strict=True)
    return pd.DataFrame(
        rows, columns=["structure", "part", "difference", "low", "high"]
    )


def _tails(ours, theirs, share):
    """Differences of the worst, of the best, and the first less the second: (3,)."""
    count = max(1, round(share * len(ours)))
    change = np.sort(ours) - np.sort(theirs)
    worst, best = change[:count].mean(), change[-count:].mean()
    return np.array([worst, best, worst - best])


def _interval_of_tails(pair, share):
    if len(pair[0]) < 3:
        return np.full((2, 3), np.nan)
    return stats.bootstrap(
        pair,
        partial(_tails, share=share),
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
