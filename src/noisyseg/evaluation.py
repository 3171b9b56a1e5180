"""Scores of a segmentation against a reference, and what they support.

One long table holds everything: a row is one case, structure and metric. The unit of
every statement is the case (a person), never the voxel or the slice.
"""

import warnings

import numpy as np
import pandas as pd
from scipy import ndimage, stats

from noisyseg import volume

METRICS = ("dice", "hd95_mm", "nsd")
CONFIDENCE = 0.95
FEW = 6  # cases below which Wilcoxon's test cannot reach .05, nor an interval its 95 %


def score(reference, predicted, table, tolerance_mm, *, metrics=METRICS):
    """Dice, HD95 and NSD of every structure of one volume, or some of them.

    Parameters
    ----------
    reference, predicted : Volume
        Integer labels of shape (X, Y, Z) on one grid.
    table : LabelTable
        The structures to score, background included.
    tolerance_mm : float
        Distance within which two surfaces count as the same in NSD.
    metrics : sequence of str
        Some of `METRICS`; Dice alone is far cheaper.

    Returns
    -------
    DataFrame with columns structure, metric, value
        A structure that one side lacks is a miss: Dice 0, NSD 0, HD95 the diagonal of
        the volume in mm. Absent on both sides: NaN, and counted by `summarise`.

    Notes
    -----
    Surface distances between the boundary voxels are MONAI's; HD95 is the larger of
    the two directed 95th percentiles (Huttenlocher et al. 1993; Taha & Hanbury 2015),
    NSD follows Nikolov et al. 2018 on voxel boundaries.
    """
    volume.check_same_grid(reference, predicted, "reference", "predicted")
    rows = []
    for value, structure in enumerate(table.names):
        truth, pred = reference.data == value, predicted.data == value
        found = {"dice": dice(truth, pred)}
        if set(metrics) != {"dice"}:
            hd95_mm, nsd = _surface(truth, pred, reference, tolerance_mm)
            found |= {"hd95_mm": hd95_mm, "nsd": nsd}
        rows += [(structure, metric, found[metric]) for metric in metrics]
    return pd.DataFrame(rows, columns=["structure", "metric", "value"])


def dice(truth, pred):
    """Overlap of two masks, 2|A & B| / (|A| + |B|).

    Parameters
    ----------
    truth, pred : bool array of any one shape

    Returns
    -------
    float in [0, 1]; NaN when both masks are empty (the score is undefined).

    Examples
    --------
    >>> a = np.zeros((4, 4, 1), bool); a[:2] = True     # 8 voxels
    >>> b = np.zeros((4, 4, 1), bool); b[1:3] = True    # 8 voxels, 4 shared
    >>> dice(a, b)
    0.5
    """
    total = np.count_nonzero(truth) + np.count_nonzero(pred)
    return float(2 * np.count_nonzero(truth & pred) / total) if total else np.nan


def mean_dice(reference, predicted, n_classes):
    """Mean Dice of all structures but the background that either side has.

    Parameters
    ----------
    reference, predicted : Volume
        Integer labels of shape (X, Y, Z) on one grid, 0 to n_classes - 1.
    """
    pairs = reference.data.astype(np.intp) * n_classes + predicted.data
    counts = np.bincount(pairs.ravel(), minlength=n_classes**2)
    counts = counts.reshape(n_classes, n_classes)
    total = (counts.sum(0) + counts.sum(1))[1:]
    return float(np.mean(2 * counts.diagonal()[1:][total > 0] / total[total > 0]))


def _surface(truth, pred, grid, tolerance_mm):
    """HD95 (mm) and NSD of two masks, misses and absences spelt out."""
    if not truth.any() and not pred.any():
        return np.nan, np.nan
    if not truth.any() or not pred.any():
        diagonal_mm = np.linalg.norm(np.array(grid.shape) * grid.spacing_mm)
        return float(diagonal_mm), 0.0
    there, back = _surface_distances_mm(truth, pred, grid.spacing_mm)
    hd95_mm = max(np.percentile(there, 95), np.percentile(back, 95))
    near = np.count_nonzero(there <= tolerance_mm) + np.count_nonzero(
        back <= tolerance_mm
    )
    return float(hd95_mm), float(near / (len(there) + len(back)))


def _surface_distances_mm(truth, pred, spacing_mm):
    """Distances from each boundary voxel to the other boundary, both directions.

    MONAI's, within the box of both masks; voxels on both boundaries are 0 mm apart and
    need no search.
    """
    import torch
    from monai.metrics.utils import get_mask_edges, get_surface_distance

    (box,) = ndimage.find_objects((truth | pred).view(np.uint8))
    masks = (torch.from_numpy(mask[box].copy()) for mask in (truth, pred))
    with warnings.catch_warnings():
        # MONAI 1.6 warns about an argument that it passes to itself.
        warnings.simplefilter("ignore", FutureWarning)
        edges = get_mask_edges(*masks)
    found = []
    for one, other in (edges, edges[::-1]):
        alone, shared = one & ~other, int((one & other).sum())
        apart = (
            get_surface_distance(alone, other, spacing=spacing_mm)
            if alone.any()
            else []
        )
        found.append(np.append(np.zeros(shared, np.float32), apart))
    return found


def mean_over_seeds(scores):
    """One value per case: the mean over seeds and folds of a long table.

    Parameters
    ----------
    scores : DataFrame
        Columns arm, seed, reference, case, structure, metric, value.
    """
    keys = ["arm", "reference", "case", "structure", "metric"]
    return scores.groupby(keys, sort=False)["value"].mean().reset_index()


def summarise(scores):
    """Mean, SD, interval and seed spread of every arm, reference, structure, metric.

    Parameters
    ----------
    scores : DataFrame
        Long table with columns arm, seed, reference, case, structure, metric, value.

    Returns
    -------
    DataFrame with columns arm, reference, structure, metric, mean, sd, low, high
        (95 % BCa bootstrap over cases), cases, undefined (cases without a value) and
        seed_sd (SD over seeds of the mean over cases; NaN with one seed).
    """
    keys = ["arm", "reference", "structure", "metric"]
    by_seed = scores.groupby([*keys, "seed"])["value"].mean().groupby(keys)
    seed_sd = by_seed.std().to_dict()
    rows = []
    for key, group in mean_over_seeds(scores).groupby(keys, sort=False):
        values = group["value"].dropna().to_numpy()
        low, high = interval(values)
        mean = values.mean() if len(values) else np.nan
        sd = values.std(ddof=1) if len(values) > 1 else np.nan
        undefined = len(group) - len(values)
        row = (*key, mean, sd, low, high, len(values), undefined, seed_sd[key])
        rows.append(row)
    numbers = ["mean", "sd", "low", "high", "cases", "undefined", "seed_sd"]
    return pd.DataFrame(rows, columns=keys + numbers)


def interval(values):
    """95 % BCa bootstrap interval of the mean.

    Parameters
    ----------
    values : float array (N,)
        One value per case, no NaN.

    Returns
    -------
    low, high : float
        NaN with fewer than three cases; the value itself when all are equal.
    """
    if len(values) < 3:
        return np.nan, np.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=2000,
        confidence_level=CONFIDENCE,
        rng=np.random.default_rng(0),
    )
    return tuple(float(end) for end in found.confidence_interval)


def compare(scores, arm, other, *, seeds=True):
    """Paired difference arm - other of every reference, structure and metric.

    Parameters
    ----------
    scores : DataFrame
        Long table as in `summarise`.
    arm, other : str
        Names of the two arms; both must hold the same cases (`shared_cases`).
    seeds : bool
        False when neither arm depends on a seed, as two kinds of software labels.

    Returns
    -------
    DataFrame with columns reference, structure, metric, difference, low, high, p,
        p_holm (Wilcoxon signed-rank, exact for few cases; Holm over structures),
        seed_spread (the larger seed SD of the two arms), seeds_agree (there are at
        least three, and the difference has one sign in all) and clear: True when the
        interval over cases excludes zero (of fewer than six cases all must have one
        sign) and, with seeds, they agree and the difference exceeds the seed spread.
        A case without a value under one of the arms counts under neither.

    Raises
    ------
    ValueError
        If an arm is not there, or the two hold other cases of one reference.
    """
    keys = ["reference", "structure", "metric"]
    scores = scores[scores["arm"].isin([arm, other])]
    table = mean_over_seeds(scores).pivot(
        index=[*keys, "case"], columns="arm", values="value"
    )
    _check_same_cases(scores, arm, other)
    differences = (table[arm] - table[other]).dropna()
    groups = differences.groupby(level=[0, 1, 2], sort=False)
    rows = [
        (*key, group.mean(), *interval(group.to_numpy()), _wilcoxon(group))
        for key, group in groups
    ]
    found = pd.DataFrame(rows, columns=[*keys, "difference", "low", "high", "p"])
    families = found.groupby(["reference", "metric"], sort=False)["p"]
    found["p_holm"] = families.transform(_holm)
    paired = scores.set_index([*keys, "case"]).loc[differences.index].reset_index()
    spread, agree = _over_seeds(paired, arm, other, found[keys])
    clear = (found["low"] > 0) | (found["high"] < 0)
    clear &= np.array([_cases_agree(group) for _, group in groups], bool)
    if seeds:
        clear &= agree & (found["difference"].abs() > spread)
    return found.assign(seed_spread=spread, seeds_agree=agree, clear=clear)


def shared_cases(scores, *arms):
    """Rows of some arms, of the cases that all of them hold."""
    scores = scores[scores["arm"].isin(arms)]
    counts = scores.groupby("case")["arm"].nunique()
    return scores[scores["case"].isin(counts.index[counts == len(arms)])]


def _check_same_cases(table, arm, other):
    """Refuse arms with other cases where both have any, or none in common.

    Parameters
    ----------
    table : DataFrame
        Columns arm, reference, structure, metric and case.
    """
    keys = ["reference", "structure", "metric"]
    cases = table.groupby(["arm", *keys])["case"].agg(frozenset)
    pair = [cases[cases.index.get_level_values(0) == name] for name in (arm, other)]
    ours, theirs = (part.droplevel(0).to_dict() for part in pair)
    shared = ours.keys() & theirs.keys()
    differ = [key for key in sorted(shared) if ours[key] != theirs[key]]
    if differ or not shared:
        what = ", ".join(differ[0]) if differ else "nothing that both were scored for"
        raise ValueError(
            f"arms {arm} and {other} must hold the same cases, got others for {what}; "
            "correct the names, or take shared_cases"
        )


def _over_seeds(scores, arm, other, rows):
    """The larger seed SD of two arms, and whether all of three or more seeds agree.

    Parameters
    ----------
    rows : DataFrame
        Reference, structure and metric of the rows to answer for.
    """
    keys = list(rows)
    means = scores.groupby([*keys, "arm", "seed"])["value"].mean().unstack("seed")
    names = scores.groupby("arm")["seed"].unique()
    pair = [means.xs(name, level="arm")[list(names[name])] for name in (arm, other)]
    spread = pd.concat([part.std(axis=1) for part in pair], axis=1).max(axis=1)
    if set(pair[0]) != set(pair[1]):  # cannot be paired: every seed with the other mean
        fewer = min((0, 1), key=lambda i: pair[i].shape[1])
        mean = pair[fewer].mean(axis=1)
        pair[fewer] = pd.DataFrame({seed: mean for seed in pair[1 - fewer]})
    signs = np.sign(pair[0] - pair[1])
    known = signs.notna().all(axis=1) & (signs.shape[1] >= 3)
    agree = known & (signs.nunique(axis=1) == 1)
    places = pd.MultiIndex.from_frame(rows)
    return spread.reindex(places).to_numpy(), agree.reindex(places).to_numpy()


def _cases_agree(differences):
    """Whether all differences have one sign, if they are few; else True."""
    few = len(differences) < FEW
    return not few or abs(np.sign(differences).sum()) == len(differences)


def _wilcoxon(differences):
    """Two-sided p of Wilcoxon's signed-rank test; NaN when all differences are 0."""
    if not np.any(differences):
        return np.nan
    return float(stats.wilcoxon(differences, zero_method="pratt").pvalue)


def _holm(p):
    """Holm-corrected p-values of one family; NaN stays NaN.

    Holm 1979, Scandinavian Journal of Statistics 6. By hand: statsmodels' collects all
    garbage at every call, which took four fifths of the time of `compare`.
    """
    known = p.dropna().sort_values()
    left = np.arange(len(known), 0, -1)
    return np.minimum(np.maximum.accumulate(known * left), 1.0).reindex(p.index)
