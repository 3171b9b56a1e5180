"""Controlled noise on the labels of a cohort, as strong as the errors of a software.

Every kind of `params.noise` does the same damage to the same head: so many times the
Dice that other labels of that head (those from T1 alone) have lost. What differs is
only *where* the labels are wrong.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from noisyseg import cohorts, evaluation, labelnoise, software, volume, workers

NOISE = Path("results/noise")
STRENGTHS = "strengths.csv"


def load_labels(params, cohort, kind, case):
    """Labels of one kind of a case: the truth, the software's, or noisy ones."""
    if cohort in params.noise and kind in params.noise[cohort].kinds:
        path = software.labels_path(NOISE / cohort, kind, case.subject)
        return software.load_labels(path, cohorts.table(params.cohorts[cohort].folder))
    return software.load_reference(params, cohort, kind, case)


def corrupt_cohort(params, cohort):
    """Write every kind of noisy labels of every head of a cohort.

    Writes ``results/noise/<cohort>/<kind>/<subject>_dseg.nii`` and ``strengths.csv``
    with columns subject, kind, strength and mean_dice (against the clean labels).
    """
    found = workers.run_parallel(
        _corrupt_case,
        [(params, cohort, case) for case in software.cases_of(params, cohort)],
        workers=params.compute.workers,
        threads=params.compute.threads,
        title=f"noisy labels of {cohort}",
    )
    strengths = pd.DataFrame([row for rows in found for row in rows])
    strengths.round(5).to_csv(NOISE / cohort / STRENGTHS, index=False)


def _corrupt_case(params, cohort, case):
    """All kinds of noise on one head; a row of the table for each."""
    settings = params.noise[cohort]
    table = cohorts.table(params.cohorts[cohort].folder)
    clean = software.load_reference(params, cohort, settings.clean, case)
    model = software.load_reference(params, cohort, settings.like, case)
    lost = 1 - evaluation.mean_dice(clean, model, len(table))
    rows = []
    for name, kind in settings.kinds.items():
        act, highest = prepare(kind, settings.seed, case.subject, clean, table)

        def damage(strength, act=act):
            return 1 - evaluation.mean_dice(clean, act(strength), len(table))

        strength = labelnoise.calibrate(damage, kind.times * lost, highest)
        noisy = act(strength)
        volume.write(software.labels_path(NOISE / cohort, name, case.subject), noisy)
        row = {"subject": case.subject, "kind": name, "strength": strength}
        rows.append({**row, "mean_dice": 1 - damage(strength)})
    return rows


def prepare(kind, seed, subject, clean, table):
    """Draw a kind of noise for one head; kinds of one form share the draw.

    Parameters
    ----------
    kind : Displacement or Swap
        A row of `params.noise`.
    seed : int
    subject : str
    clean : Volume
    table : LabelTable

    Returns
    -------
    act : callable
        Strength to noisy labels, a Volume: for a displacement its SD in mm where a
        class has the weight 1, for swaps the share of the volume in blobs.
    highest : float
        The strongest that makes sense.
    """
    words = (seed, *subject.encode(), 0, *kind.form.encode())
    scale_mm = kind.correlation_mm
    if kind.form == "displacement":
        fields = _draw(words, 3, clean.shape, clean.spacing_mm, scale_mm)
        weights = np.zeros(len(table))
        for name, value in kind.classes.items():
            weights[table.value(name)] = value
        weight = labelnoise.blend(clean, weights, scale_mm / 4)
        return lambda sd_mm: labelnoise.displace(clean, fields, sd_mm * weight), 15.0
    pairs = [tuple(map(table.value, pair)) for pair in kind.pairs]
    fields = _draw(words, len(pairs), clean.shape, clean.spacing_mm, scale_mm)
    return lambda share: labelnoise.swap(clean, fields, pairs, share), 0.5


@lru_cache(maxsize=1)
def _draw(words, *grid):
    rng = np.random.default_rng(np.random.SeedSequence(words))
    return labelnoise.draw_fields(*grid, rng)
