"""Study `cross`: losses x wrong labels x ways to decide, on the held-out heads.

The trainings are those of `studies`. Each network's probabilities are decided twice:
the most likely class, and every class cut at its Dice-optimal threshold (`decisions`).
"""

import pandas as pd
import torch

from noisyseg import (
    decisions,
    evaluation,
    inference,
    noise,
    software,
    studies,
    thresholds,
    training,
    workers,
)

STUDY = "cross"
CUT = "_star"  # an arm, cut at its own Dice-optimal thresholds
TAUGHT = "labels"  # reference: labels as wrong as those that an arm learned from
LEAST = 0.02  # no oracle cuts below


def evaluate(params):
    """Every arm and seed on the held-out heads, decided in both ways.

    Returns
    -------
    scores : DataFrame
        The long table: study, arm, seed, fold, case, reference, structure, metric,
        value. ``<arm>_star`` is an arm cut at Dice-optimal thresholds; the reference
        ``labels`` are labels of that head of the kind that the arm learned from.
    cuts : DataFrame
        arm, seed, case, structure and two thresholds: own (Dice-optimal by the
        probabilities alone) and oracle (best against the truth; NaN where there is
        none, see `oracle_cuts`).
    """
    *_, cases = studies.split(params, params.cross)
    found = workers.run_parallel(
        _score_case,
        [(params, case) for case in cases],
        workers=params.compute.workers,
        threads=params.compute.threads,
        title=f"held-out heads of {STUDY}",
    )
    scores, cuts = (
        pd.concat(parts, ignore_index=True) for parts in zip(*found, strict=True)
    )
    front = ["study", "arm", "seed", "fold", "case", "reference"]
    return scores[[*front, "structure", "metric", "value"]], cuts


def _score_case(params, case):
    """Scores and thresholds of one head under every arm and seed."""
    study, scores, cuts = params.cross, [], []
    table = studies.table(params, study)
    images = software.load_images(case.images)
    kinds = {arm.labels for arm in study.arms.values()}
    known = {kind: load_references(params, kind, case) for kind in kinds}
    for name, seed, folder in studies.trainings(params, STUDY):
        arm = study.arms[name]
        prob = probabilities(params, arm, folder, images)
        own = thresholds.one_vs_rest(prob[1:])
        decided = {
            name: decisions.most_likely(prob),
            name + CUT: decisions.dice_optimal(prob, own),
        }
        references = known[arm.labels]
        origin = {"seed": seed, "case": case.subject}
        rows = _score(decided, references, study, table)
        scores.append(rows.assign(**origin, study=STUDY, fold=0))
        truth = references[study.references[0]]
        oracle = oracle_cuts(prob[1:], truth)
        rows = {"structure": table.names[1:], "own": own, "oracle": oracle}
        cuts.append(pd.DataFrame(rows).assign(arm=name, **origin))
    return pd.concat(scores), pd.concat(cuts)


def probabilities(params, arm, folder, images):
    """Probabilities of a head under the weights of a folder, float32 (C, X, Y, Z).

    Parameters
    ----------
    params : Params
    arm : Arm
    folder : Path
    images : dict of str to Volume
        All modalities of the head.
    """
    inputs = [images[modality] for modality in arm.inputs]
    device = workers.device(params.compute.device)
    model = training.load(folder)
    return inference.probabilities(model, inputs, arm.image_size, device=device)


def load_references(params, kind, case):
    """The truth of a head, and its labels of a kind; dict of str to Volume."""
    cohort = params.cross.cohort
    found = {
        name: software.load_reference(params, cohort, name, case)
        for name in params.cross.references
    }
    return found | {TAUGHT: noise.load_labels(params, cohort, kind, case)}


def _score(decided, references, study, table):
    """Rows arm, reference, structure, metric, value of some label maps."""
    parts = []
    for reference, truth in references.items():
        for arm, labels in decided.items():
            rows = evaluation.score(
                truth,
                truth.with_data(labels),
                table,
                study.tolerance_mm,
                metrics=study.metrics,
            )
            parts.append(rows.assign(arm=arm, reference=reference))
    return pd.concat(parts)


def oracle_cuts(prob, truth):
    """Threshold of every structure that is best against the truth.

    Parameters
    ----------
    prob : float array (structures, X, Y, Z)
        The background left out.
    truth : Volume
        Labels, 1 for the first of the structures.

    Returns
    -------
    list of float; NaN for a structure that the head lacks, or whose probability is
        nowhere `LEAST`
    """
    return [
        thresholds.best_against(structure, truth.data == value, least=LEAST)[0]
        for value, structure in enumerate(prob, start=1)
    ]


def explain(means, arm, plain):
    """What of the gain of an arm over a plain one a threshold alone gives.

    Parameters
    ----------
    means : DataFrame
        Rows of `mean_over_structures`.
    arm, plain : str
        An arm, and the one of cross-entropy on the same labels.

    Returns
    -------
    DataFrame with columns part and those of `evaluation.compare`, of the mean over
        structures: `loss` (arm - plain), `cut` (plain cut - plain), `left` (arm -
        plain cut) and `both` (arm cut - arm)
    """
    pairs = {
        "loss": (arm, plain),
        "cut": (plain + CUT, plain),
        "left": (arm, plain + CUT),
        "both": (arm + CUT, arm),
    }
    parts = [
        evaluation.compare(means, *pair).assign(part=part)
        for part, pair in pairs.items()
    ]
    return pd.concat(parts, ignore_index=True)


def mean_over_structures(scores):
    """The long table with one row, `all`, in place of the structures of a case."""
    foreground = scores[scores["structure"] != "background"]
    keys = [c for c in scores.columns if c not in ("structure", "value")]
    means = foreground.groupby(keys, sort=False)["value"].mean().reset_index()
    return means.assign(structure="all")


def harm(scores, clean, noisy):
    """Dice that wrong labels cost, against the truth: clean less noisy arm.

    Parameters
    ----------
    scores : DataFrame
        Rows of `mean_over_structures`.
    clean, noisy : str

    Returns
    -------
    DataFrame like the long table, one row a case and seed
    """
    truth = scores[scores["reference"] == "truth"]
    wide = truth.pivot_table(
        index=["reference", "structure", "metric", "case", "seed"],
        columns="arm",
        values="value",
    )
    lost = (wide[clean] - wide[noisy]).rename("value").dropna().reset_index()
    return lost.assign(arm=noisy)


def minimiser(loss, share):
    """The probability that a loss asks for, where a share of the labels says so.

    One image of two classes, as many pixels of class 1 as the share says, and the same
    logits everywhere: what a network learns of pixels that it cannot tell apart.

    Parameters
    ----------
    loss : callable (logits, labels) -> scalar
    share : float in (0, 1)
        Of 1000 pixels.

    Returns
    -------
    float : probability of class 1
    """
    labels = (torch.arange(1000) < round(1000 * share)).long()[None]
    logit = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logit], max_iter=200, line_search_fn="strong_wolfe")

    def value():
        optimiser.zero_grad()
        logits = torch.stack([torch.zeros_like(logit), logit], 1)  # (1, 2)
        found = loss(logits[..., None].expand(-1, -1, 1000), labels)
        found.backward()
        return found

    optimiser.step(value)
    return float(torch.sigmoid(logit.detach())[0])
