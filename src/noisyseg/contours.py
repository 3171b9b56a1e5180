"""Noisy contours of a cohort of scans: every mask deformed, as the cohort's draws say.

A case has one draw of Gaussian fields, which deforms all its structures at every
strength. The noisy masks lie in the layout of the data set itself.
"""

import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from noisyseg import labelnoise, totalsegmentator, volume, workers
from noisyseg.choices import listed

CONTOURS = Path("results/contours")
CASES = "cases.csv"


def noisy(scan, cohort, sd_mm):
    """The same scan with the noisy masks of one strength in place of its own."""
    masks = CONTOURS / cohort / f"a-{sd_mm:g}" / scan.name / "segmentations"
    return replace(scan, segmentations=masks)


def scans_with(params, cohort, structure):
    """The scans of a cohort that show a structure, sorted; from the survey."""
    wanted = set(totalsegmentator.usable(load_survey(cohort), structure))
    scans = totalsegmentator.read(params.cohorts[cohort].folder)
    return [scan for scan in scans if scan.name in wanted]


def load_survey(cohort):
    """What the scans of a cohort hold, as `totalsegmentator.survey` found it."""
    how = {"dtype": {"case": str}, "keep_default_na": False}
    return pd.read_csv(CONTOURS / cohort / CASES, **how)


def deform_cohort(params, cohort):
    """Survey the scans of a cohort and write noisy masks of all that can be used.

    Writes ``results/contours/<cohort>/cases.csv`` (`totalsegmentator.survey`) and
    ``a-<mm>/<case>/segmentations/<structure>.nii.gz`` on the canonical grid.

    Raises
    ------
    ValueError
        If a scan is damaged and the cohort's `missing` is ``stop``; with ``skip`` a
        warning names it.
    """
    settings, where = params.contours[cohort], params.cohorts[cohort]
    scans = totalsegmentator.read(where.folder)
    survey = totalsegmentator.survey(scans, settings.structures)
    _report(survey, where.missing)
    shown = {s: set(totalsegmentator.usable(survey, s)) for s in settings.structures}
    jobs = [
        (settings, cohort, scan, [s for s in shown if scan.name in shown[s]])
        for scan in scans
    ]
    workers.run_parallel(
        _deform_scan,
        [job for job in jobs if job[-1]],
        workers=params.compute.workers,
        threads=params.compute.threads,
        title=f"noisy contours of {cohort}",
    )
    (CONTOURS / cohort).mkdir(parents=True, exist_ok=True)
    survey.round(3).to_csv(CONTOURS / cohort / CASES, index=False)


def _report(survey, missing):
    """Stop at, or warn of, what is damaged; empty and cut masks are no damage."""
    damaged = survey[~survey["fault"].isin(["", "empty", "cut"])]
    texts = [f"{row.case} {row.structure}: {row.fault}" for row in damaged.itertuples()]
    if texts and missing == "stop":
        raise ValueError(
            f"every scan must be whole, got: {listed(texts, 3)}; repair or remove "
            "these, or set missing: skip"
        )
    for text in texts:
        warnings.warn(f"{text}: left out", stacklevel=3)


def _deform_scan(settings, cohort, scan, structures):
    """Noisy masks of one scan, every structure at every strength."""
    fields = None
    for structure in structures:
        mask = totalsegmentator.load_mask(scan, structure)
        if fields is None:
            fields = draw(settings, scan.name, mask)
        act = partial(labelnoise.deform, mask.data, fields, spacing_mm=mask.spacing_mm)
        for sd_mm in settings.sd_mm:
            folder = noisy(scan, cohort, sd_mm).segmentations
            found = mask.with_data(act(sd_mm))
            volume.write(folder / f"{structure}.nii.gz", found)


def draw(settings, case, grid):
    """The fields of one case: of unit variance, the same at every call.

    Parameters
    ----------
    settings : ContourNoise
    case : str
    grid : Volume

    Returns
    -------
    float32 array (3, X, Y, Z)
    """
    rng = np.random.default_rng(np.random.SeedSequence((settings.seed, *case.encode())))
    scale_mm = settings.correlation_mm
    return labelnoise.draw_fields(3, grid.shape, grid.spacing_mm, scale_mm, rng)
