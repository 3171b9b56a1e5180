"""Labels that scans borrow: carried over from atlases by registration, then fused.

Every scan has a folder with the labels of each atlas on its grid (`propagation`), what
fusing made of them (``staple``, ``vote``, ``local``), and how good STAPLE thinks each
atlas is.
"""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from noisyseg import (
    checkpoints,
    domain_cases,
    fusion,
    mind,
    propagation,
    registration,
    volume,
    workers,
)
from noisyseg.domain_sections import FUSIONS

PROPAGATED = Path("results/propagation")
RATERS = "raters.csv"


def propagate_cohort(params, name):
    """Carry the labels of the atlases onto the scans of a cohort, and fuse them.

    Writes ``results/propagation/<cohort>/<scan>/<atlas>.nii.gz`` and
    ``<fusion>.nii.gz``, and ``raters.csv``: case, atlas, side of its tumour, label,
    sensitivity and specificity within the region of disagreement. Pairs that are there
    already, made of the same files and settings, are not registered again.

    Raises
    ------
    FileNotFoundError, ValueError
        Too few atlases of a side; a scan or an atlas that cannot be registered.
    """
    settings, compute = params.propagation[name], params.compute
    atlases = choose_atlases(params, settings)
    scans = chosen_scans(params, name)
    shared = {"workers": compute.workers, "threads": compute.threads}
    device = workers.device(compute.device)
    workers.run_parallel(
        _carry,
        [
            (settings, device, name, scan, atlas)
            for scan in scans
            for atlas, _ in atlases.values()
        ],
        title=f"registrations of {name}",
        **shared,
    )
    found = workers.run_parallel(
        _fuse_scan,
        [(settings, name, scan, atlases) for scan in scans],
        title=f"fused labels of {name}",
        **shared,
    )
    text = pd.concat(found).round(6).to_csv(index=False, lineterminator="\n")
    checkpoints.write_bytes(PROPAGATED / name / RATERS, text.encode())
    _remove_others(name, [scan.subject for scan in scans], list(atlases))


def choose_atlases(params, settings):
    """The source cases whose labels are carried over, and the side of each.

    Cases that only watch are no atlases.

    Parameters
    ----------
    params : Params
    settings : Propagation

    Returns
    -------
    dict of casefiles.Case subject to (Case, "left" or "right")
        Half of each side; of an odd number one more on the left.

    Raises
    ------
    ValueError
        If there are too few of a side.
    """
    cases = domain_cases.cases_of(params, settings.source)
    if settings.source == params.mind.source:
        cases, _ = domain_cases.source_cases(params)
    by_side = {"left": [], "right": []}
    for case in cases:
        by_side[_side(case, settings)].append(case)
    rng = np.random.default_rng(settings.seed)
    wanted = {"left": -(-settings.atlases // 2), "right": settings.atlases // 2}
    chosen = {}
    for side, number in wanted.items():
        if len(by_side[side]) < number:
            raise ValueError(
                f"atlases must be at most twice the source cases of each side, got "
                f"{settings.atlases} of {len(by_side[side])} with {settings.sided} on "
                f"the {side}; take fewer atlases or more cases"
            )
        for k in sorted(rng.permutation(len(by_side[side]))[:number]):
            case = by_side[side][k]
            chosen[case.subject] = case, side
    return chosen


def chosen_scans(params, name):
    """The first cases of a cohort, as many as are to get labels."""
    cases = domain_cases.cases_of(params, name, labelled=False)
    return cases[: params.propagation[name].scans]


def read_fused(cohort, subject, kind):
    """Borrowed labels of a scan, on the scan's own grid in canonical axes.

    Parameters
    ----------
    cohort, subject : str
    kind : str
        One of `FUSIONS`, or the subject of an atlas.

    Raises
    ------
    FileNotFoundError
        If the scan has none.
    """
    path = PROPAGATED / cohort / subject / f"{kind}.nii.gz"
    if not path.exists():
        raise FileNotFoundError(
            f"{subject} of cohort {cohort} must have borrowed labels, got no {path}; "
            "run the stage propagate, or take more scans in its settings"
        )
    return volume.read_labels(path)


def _side(case, settings):
    """On which side the tumour of a source case lies."""
    labels = domain_cases.load_labels(case, settings.classes)
    values = [settings.classes.index(s) for s in (settings.sided, settings.balance)]
    try:
        return propagation.side(labels, *values)
    except ValueError as error:
        raise ValueError(f"{case.subject}: {error}") from error


def _carry(settings, device, name, scan, atlas):
    """Register one atlas to one scan."""
    how = registration.Settings(**settings.registration)
    (image,), (fixed,) = atlas.images.values(), scan.images.values()
    carried = propagation.Atlas(atlas.subject, image, atlas.labels["reference"])
    folder = PROPAGATED / name / scan.subject
    propagation.propagate(fixed, [carried], folder, settings=how, device=device)


def _fuse_scan(settings, name, scan, atlases):
    """Write every fusion of one scan; returns its rows of ``raters.csv``."""
    folder = PROPAGATED / name / scan.subject
    fixed = domain_cases.load_image(scan)
    paths = {subject: folder / f"{subject}.nii.gz" for subject in atlases}
    raters = fusion.stack(
        domain_cases.recoded(
            volume.read_labels(path), atlases[subject][0], settings.classes
        )
        for subject, path in paths.items()
    )
    moved = (volume.read_image(propagation.image_path(p)) for p in paths.values())
    found, table = fuse(fixed, raters, moved, settings)
    for kind, labels in found.items():
        volume.write(folder / f"{kind}.nii.gz", fixed.with_data(labels))
    subjects, sides = list(atlases), [side for _, side in atlases.values()]
    return table.assign(
        case=scan.subject,
        atlas=[subjects[rater] for rater in table["rater"]],
        side=[sides[rater] for rater in table["rater"]],
        label=[settings.classes[value] for value in table["label"]],
    )[["case", "atlas", "side", "label", "sensitivity", "specificity"]]


def fuse(fixed, raters, moved, settings):
    """What each fusion makes of the labels carried onto one scan.

    Parameters
    ----------
    fixed : Volume
        The scan.
    raters : uint8 array of shape (R, X, Y, Z)
    moved : iterable of R Volumes
        The atlases' images on the scan's grid.
    settings : Propagation

    Returns
    -------
    labels : dict of fusion to uint8 array (X, Y, Z)
    raters : DataFrame, as of `fusion.staple`
    """
    n_classes = len(settings.classes)
    staple, table = fusion.staple(
        raters, n_classes=n_classes, margin_vox=settings.margin_vox
    )
    votes = fusion.majority_vote(raters, n_classes=n_classes)
    box = _box(raters.any(axis=0), settings.radius_vox)
    weights = fusion.local_weights(
        _described(fixed, box),
        (_described(image, box) for image in moved),
        radius_vox=settings.radius_vox,
        sharpness=settings.sharpness,
    )
    local = np.zeros_like(votes)
    local[box] = fusion.weighted_vote(raters[:, *box], weights, n_classes=n_classes)
    return {"staple": staple, "vote": votes, "local": local}, table


def _box(mask, margin_vox):
    """Slices of a box around a mask and a margin; of the whole where it is empty."""
    spots = np.argwhere(mask)
    if not len(spots):
        return tuple(slice(0, size) for size in mask.shape)
    low, high = spots.min(axis=0) - margin_vox, spots.max(axis=0) + 1 + margin_vox
    return tuple(slice(max(a, 0), b) for a, b in zip(low, high, strict=True))


def _described(image, box):
    """MIND of a whole image, in a box."""
    data = np.ascontiguousarray(image.data, np.float32)
    return mind.mind_ssc(torch.from_numpy(data))[:, *box].numpy()


def _remove_others(name, scans, atlases):
    """Remove what earlier settings left behind."""
    for folder in (PROPAGATED / name).iterdir():
        if folder.is_dir() and folder.name not in scans:
            shutil.rmtree(folder)
    kept = {*atlases, *(f"{atlas}_image" for atlas in atlases), *FUSIONS}
    for path in (PROPAGATED / name).glob("*/*"):
        if path.name.split(".")[0] not in kept:
            path.unlink()
