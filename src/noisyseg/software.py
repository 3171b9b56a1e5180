"""The cases of a cohort on one grid, and the labels that software makes of them."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from noisyseg import atlases, cohorts, labeller, simnibs, volume, workers

LABELS = Path("results/labels")
ATLASES = Path("results/atlas")


def cases_of(params, cohort):
    """The cases of a cohort of `params.yaml`, sorted by subject."""
    found = params.cohorts[cohort]
    return cohorts.read(
        found.folder,
        reader=found.reader,
        modalities=tuple(found.modalities),
        missing=found.missing,
    )


def load_image(path):
    """An image in canonical orientation."""
    return volume.to_canonical(volume.read_image(path))


def load_labels(path, table=None):
    """Labels in canonical orientation."""
    return volume.to_canonical(volume.read_labels(path, table))


def load_images(paths):
    """All modalities of a case, canonical, on the grid of the first.

    A modality on another grid is registered rigidly to the first.

    Parameters
    ----------
    paths : dict of modality to Path

    Returns
    -------
    dict of modality to Volume
    """
    images = {name: load_image(path) for name, path in paths.items()}
    first = next(iter(images.values()))
    return {name: aligned(image, first) for name, image in images.items()}


def aligned(image, fixed):
    """The image itself when it shares the grid, else registered to it rigidly."""
    if image.shape == fixed.shape and np.allclose(image.affine, fixed.affine):
        return image
    return atlases.register_rigid(image, fixed)


def load_reference(params, cohort, kind, case):
    """Labels of one kind of a case: the truth, or what software made of it."""
    table = cohorts.table(params.cohorts[cohort].folder)
    if kind == "truth":
        return load_labels(case.truth, table)
    return load_labels(labels_path(LABELS / cohort, kind, case.subject), table)


def labels_path(folder, kind, subject):
    """Where the labels of one kind and subject lie."""
    return Path(folder) / kind / f"{subject}_dseg.nii"


def atlas_path(cohort):
    """Where the labeller's atlas of a cohort lies."""
    return ATLASES / f"{cohort}.safetensors"


def make_atlas(params, cohort):
    """Build and write the labeller's atlas of a cohort from its atlas heads."""
    folder = params.labels[cohort].atlas
    cases = cohorts.read(folder, reader="bids", modalities=("T1w",))
    images = [load_image(case.images["T1w"]) for case in cases]
    truths = [load_labels(case.truth) for case in cases]
    atlas = atlases.build_atlas(images, truths, len(cohorts.table(folder)))
    atlases.write(atlas_path(cohort), atlas)


def label_cohort(params, cohort):
    """Label every head of a cohort with software, once per kind of input.

    Writes ``results/labels/<cohort>/<kind>/<subject>_dseg.nii``.
    """
    compute = params.compute
    device = workers.device(compute.device)
    jobs = [
        (case, params.labels[cohort], cohort, device)
        for case in cases_of(params, cohort)
    ]
    workers.run_parallel(
        _label_case,
        jobs,
        workers=compute.workers,
        threads=compute.threads,
        title=f"software labels of {cohort}",
    )


def _label_case(case, labels, cohort, device):
    """Label one head by EM, or take over what SimNIBS made of it."""
    images = load_images(case.images)
    if labels.software == "em":
        priors = atlases.align(_atlas(atlas_path(cohort)), images["T1w"])
    for kind, channels in labels.kinds.items():
        if labels.software == "em":
            inputs = [images[channel] for channel in channels]
            found = labeller.segment(inputs, priors, device=device)
        else:
            found = simnibs.read_labels(
                labels.folders[kind],
                case.subject,
                software=labels.software,
                reference=images["T1w"],
            )
        volume.write(labels_path(LABELS / cohort, kind, case.subject), found)


def label_head(images, atlas, device="cpu"):
    """Labels of one head by EM, from its T1 alone or with further modalities.

    Parameters
    ----------
    images : list of Volume
        The T1 first, canonical axes; others are registered to it when grids differ.
    atlas : Atlas
    device : str
        Torch device.

    Returns
    -------
    Volume of uint8 labels on the T1's grid
    """
    images = [aligned(image, images[0]) for image in images]
    return labeller.segment(images, atlases.align(atlas, images[0]), device=device)


@lru_cache(maxsize=1)
def _atlas(path):
    return atlases.read(path)
