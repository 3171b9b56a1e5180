"""What the networks of study `threshold` are worth, cut at one threshold or another.

Each arm gives probabilities. They are cut at 1/2, at the Dice-optimal threshold that
they themselves imply (``<arm>_star``), and where an oracle that knows the reference
would cut (``<arm>_oracle``). Beside the arms stands ``marginal``: the probabilities
that a perfect network would give, blurred from the true contour.
"""

from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from noisyseg import (
    evaluation,
    labelnoise,
    organs,
    thresholds,
    totalsegmentator,
    training,
    workers,
)

MARGINAL = "marginal"
GRID = np.linspace(0.02, 0.98, 49)  # thresholds of the curves
BINS = 20  # of the reliability diagrams
SURE = 0.05  # a probability this near to 0 or 1 is a decision


def evaluate(params):
    """Every task of the study on its held-out scans.

    Returns
    -------
    scores : DataFrame
        The long table: study, organ, sd_mm, arm, seed, fold, case, reference,
        structure (the organ), metric, value. Metrics are dice, relative_volume (of the
        reference), threshold, and undecided: of the voxels with a probability of at
        least `SURE`, the share of at most 1 - `SURE`.
    curves : DataFrame
        study, organ, sd_mm, arm, seed, fold, case, structure, threshold, dice (to the
        noisy reference).
    reliability : DataFrame
        study, organ, sd_mm, arm, seed, fold, structure, bin, voxels, predicted,
        observed: mean probability and share of noisy labels among the voxels of a bin
        of probabilities.
    """
    found = workers.run_parallel(
        _score_task,
        [(params, task) for task in organs.tasks(params)],
        workers=params.compute.workers,
        threads=params.compute.threads,
        title="held-out scans of threshold",
    )
    return tuple(pd.concat(p, ignore_index=True) for p in zip(*found, strict=True))


def _score_task(params, task):
    scores, curves, pools = [], [], {}
    _, scans = organs.split(params, task)
    models = {a: training.load(task.folder(a)) for a in params.threshold.arms}
    for scan in scans:
        probs, noisy, truth = predict(params, task, scan, models)
        where = {"case": scan.name}
        for reference, mask in {"noisy": noisy, "truth": truth}.items():
            rows = score_cuts(probs, mask)
            scores.append(rows.assign(reference=reference, **where))
        for arm, prob in probs.items():
            dice = dice_curve(prob, noisy, GRID)
            curve = {"arm": arm, "threshold": GRID, "dice": dice}
            curves.append(pd.DataFrame(curve).assign(**where))
            pools[arm] = pools.get(arm, 0) + count_bins(prob, noisy)
    tables = [pd.concat(scores), pd.concat(curves), _reliability(pools)]
    label = partial(_labelled, task=task, seed=params.threshold.seed)
    return [label(table) for table in tables]


def _labelled(table, task, seed):
    """Rows that say where they come from."""
    table = table.reset_index(drop=True)
    origin = {"study": organs.STUDY, "organ": task.organ, "structure": task.organ}
    return table.assign(**origin, sd_mm=task.sd_mm, fold=task.fold, seed=seed)


def predict(params, task, scan, models):
    """Probabilities of every arm, and of the marginal, beside both references.

    Parameters
    ----------
    params : Params
    task : organs.Task
    scan : totalsegmentator.Scan
    models : dict of arm to torch.nn.Module

    Returns
    -------
    probs : dict of arm to float array (Z, X, Y)
    noisy, truth : bool arrays (Z, X, Y)
    """
    study = params.threshold
    crop = organs.load(params, task.organ, scan)
    device = workers.device(params.compute.device)
    probs = {
        arm: organs.probabilities(model, crop.images, device=device)
        for arm, model in models.items()
    }
    structure = study.organs[task.organ]
    probs[MARGINAL] = _marginal(crop, scan, structure, task.sd_mm)
    noisy = crop.noisy(scan, study.cohort, structure, task.sd_mm)
    return probs, noisy, crop.truth


def _marginal(crop, scan, structure, sd_mm):
    """Probabilities of the noisy labels in a crop, from the organ around it as well."""
    mask = totalsegmentator.load_mask(scan, structure).data
    by = int(np.ceil(4 * sd_mm / crop.spacing_mm[-1]))
    wide = crop.window.widened(by).cut(mask, False)
    prob = labelnoise.marginal(wide, sd_mm, crop.spacing_mm)[:, by:-by, by:-by]
    return prob * crop.window.cut(np.ones_like(mask), False)  # beyond the scan is none


def score_cuts(probs, mask):
    """Rows arm, metric, value of every cut of every arm against one reference.

    Parameters
    ----------
    probs : dict of arm to float array
    mask : bool array of the same shape
    """
    rows = []
    for arm, prob in probs.items():
        cuts = {
            arm: 0.5,
            f"{arm}_star": thresholds.dice_optimal(prob)[0],
            f"{arm}_oracle": thresholds.best_against(prob, mask)[0],
        }
        for name, threshold in cuts.items():
            found = prob >= threshold
            size = mask.sum()
            rows += [
                (name, "dice", evaluation.dice(mask, found)),
                (name, "relative_volume", found.sum() / size if size else np.nan),
                (name, "threshold", threshold),
            ]
        rows.append((arm, "undecided", undecided(prob)))
    return pd.DataFrame(rows, columns=["arm", "metric", "value"])


def compare(dice, arm, other):
    """Paired difference arm - other of every reference and organ, at one strength.

    Scans that were held out together were segmented by the same network, so that there
    are two intervals: over scans, for these networks, and over folds, for others
    trained alike.

    Parameters
    ----------
    dice : DataFrame
        Rows of `evaluate` of one strength and metric.
    arm, other : str

    Returns
    -------
    DataFrame with columns reference, structure, metric, difference, low, high, p,
        p_holm (over scans, as `evaluation.compare`; Holm over organs), fold_low,
        fold_high (95 % by Student's t over folds) and clear: True when both intervals
        exclude zero.
    """
    found = evaluation.compare(dice, arm, other, seeds=False)
    found = found.drop(columns=["seed_spread", "seeds_agree", "clear"])
    keys = ["reference", "structure", "metric"]
    folds = dice[dice["arm"].isin([arm, other])].groupby([*keys, "fold", "arm"])
    means = folds["value"].mean().unstack("arm")
    gaps = (means[arm] - means[other]).groupby(keys)
    n = gaps.size()
    reach = stats.t.ppf(0.975, n - 1) * gaps.std() / np.sqrt(n)
    ends = pd.DataFrame(
        {"fold_low": gaps.mean() - reach, "fold_high": gaps.mean() + reach}
    )
    found = found.join(ends, on=keys)
    clear = (found["low"] * found["high"] > 0) & (
        found["fold_low"] * found["fold_high"] > 0
    )
    return found.assign(clear=clear)


def undecided(prob):
    """Share of what may be the organ that is not decided; NaN if nothing may be.

    >>> undecided(np.array([0.0, 0.01, 0.5, 0.97, 1.0]))
    0.3333333333333333
    """
    maybe = prob[prob >= SURE]
    return float(np.mean(maybe <= 1 - SURE)) if len(maybe) else np.nan


def dice_curve(prob, mask, grid):
    """Dice of the masks prob >= t for every t of a rising grid, float64 array.

    NaN where both masks are empty.
    """
    edges = np.concatenate([[-np.inf], grid, [np.inf]])
    sizes, hits = (
        np.histogram(values, edges)[0][1:][::-1].cumsum()[::-1]
        for values in (prob, prob[mask])
    )
    with np.errstate(invalid="ignore"):
        return 2 * hits / (sizes + mask.sum())


def count_bins(prob, mask):
    """Voxels, sum of probabilities and of labels in each bin, float64 (3, BINS)."""
    place = np.minimum((prob * BINS).astype(int), BINS - 1).ravel()
    weights = (None, prob.ravel(), mask.ravel())
    return np.array([np.bincount(place, w, minlength=BINS) for w in weights])


def _reliability(pools):
    """One row for each arm and bin that holds voxels."""
    tables = []
    for arm, (voxels, predicted, observed) in pools.items():
        full = voxels > 0
        means = {
            "predicted": predicted[full] / voxels[full],
            "observed": observed[full] / voxels[full],
        }
        rows = {"arm": arm, "bin": np.flatnonzero(full), "voxels": voxels[full]}
        tables.append(pd.DataFrame(rows | means))
    return pd.concat(tables)
