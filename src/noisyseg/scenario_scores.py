"""What the networks of study `ace` are worth on the test cases of each scenario."""

import numpy as np
import pandas as pd
from scipy import ndimage

from noisyseg import datasets, evaluation, patches, scenarios, workers

TOLERANCE_MM = 1.0  # `evaluation.score` asks for one; this study has no use for it
LESIONS = ("WMH",)  # classes that come as many separate lesions


def evaluate(params):
    """Every arm and seed of every scenario on its test cases.

    Returns
    -------
    DataFrame
        The long table: study, scenario, arm, seed, fold, case, reference, structure,
        metric, value. Metrics are those of the study and, for `LESIONS`, lesion_f1,
        lesion_recall and lesion_precision.
    """
    jobs = [
        (params, name, number)
        for name, scenario in params.ace.scenarios.items()
        for number in range(_count(params, scenario))
    ]
    found = workers.run_parallel(
        _score_case,
        jobs,
        workers=params.compute.workers,
        threads=params.compute.threads,
        title=f"test cases of {scenarios.STUDY}",
    )
    return pd.concat(found, ignore_index=True)


def _count(params, scenario):
    where, inputs = params.cohorts[scenario.test], scenarios.inputs_of_tests(scenario)
    return len(datasets.cases_of(where, scenario.test, inputs))


def _score_case(params, name, number):
    """Scores of one test case under every arm and seed."""
    study = params.ace
    table = scenarios.table(study.scenarios[name])
    device = workers.device(params.compute.device)
    case, reference = scenarios.load_test(params, name, number)
    parts = []
    for arm, row in study.arms.items():
        for seed in row.seeds:
            found = scenarios.predict(params, name, arm, seed, case, device)
            rows = score(reference, found, table, study.metrics)
            parts.append(rows.assign(arm=arm, seed=seed))
    origin = {"study": scenarios.STUDY, "scenario": name, "case": case.name}
    return pd.concat(parts).assign(**origin, fold=0, reference="truth")


def score(reference, found, table, metrics):
    """Scores of one segmentation; voxels whose truth is unknown do not count.

    Parameters
    ----------
    reference : Volume
        uint8, 255 is unknown.
    found : uint8 array of the same shape
    table : LabelTable
    metrics : sequence of str
        Of `evaluation.METRICS`.

    Returns
    -------
    DataFrame with columns structure, metric, value
    """
    unknown = reference.data == patches.UNKNOWN
    found = reference.with_data(np.where(unknown, patches.UNKNOWN, found))
    rows = evaluation.score(reference, found, table, TOLERANCE_MM, metrics=metrics)
    parts = [rows]
    for name in set(LESIONS) & set(table.names):
        value = table.value(name)
        by_lesion = lesion_scores(reference.data == value, found.data == value)
        values = {"metric": list(by_lesion), "value": list(by_lesion.values())}
        parts.append(pd.DataFrame(values).assign(structure=name))
    return pd.concat(parts, ignore_index=True)


def lesion_scores(truth, found):
    """Which lesions were seen, whatever their size: F1, recall and precision.

    A lesion is what is connected over faces. It is seen if any voxel of it is found;
    what is found is right if any voxel of it lies in a lesion (as the WMH Segmentation
    Challenge counts: Kuijf et al. 2019, IEEE Transactions on Medical Imaging 38).

    Parameters
    ----------
    truth, found : bool array (X, Y, Z)

    Returns
    -------
    dict of lesion_f1, lesion_recall, lesion_precision
        NaN where nothing can be counted; F1 is 0 where one side is empty alone.

    Examples
    --------
    >>> truth, found = np.zeros((2, 9, 1, 1), bool)
    >>> truth[[0, 1, 4]], found[[1, 2, 6, 8]] = True, True  # 1 of 2 seen, 1 of 3 right
    >>> lesion_scores(truth, found)["lesion_f1"]
    0.4
    """
    recall, precision = _seen(truth, found), _seen(found, truth)
    both = [value for value in (recall, precision) if not np.isnan(value)]
    if len(both) == 2 and sum(both):
        f1 = 2 * recall * precision / (recall + precision)
    else:
        f1 = 0.0 if both else np.nan
    values = (f1, recall, precision)
    return dict(
        zip(("lesion_f1", "lesion_recall", "lesion_precision"), values, strict=True)
    )


def _seen(lesions, mask):
    """Share of the lesions that a mask touches; NaN without any."""
    labels, count = ndimage.label(lesions)
    touched = np.unique(labels[mask & lesions])
    return len(touched) / count if count else np.nan
