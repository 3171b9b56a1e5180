"""Digital heads with lesions, as the cohorts of study `ace`.

    anatomy -> tissue map -> lesions -> images of one site, truth, annotation -> files

Every cohort has the truth of all classes, and beside it the annotation that people have
made of such a cohort: tissues, lesions, or both. Heads are whole, nothing is stripped.
A tree appears under its name only when whole; the same seed gives the same bytes.
"""

from dataclasses import asdict
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np

from noisyseg import bids_trees, heads, lesion_physics, lesions, tumours, volume
from noisyseg.grids import Grid
from noisyseg.lesion_cohorts import KINDS, annotated, kind_of, true_classes


def write_cohort(
    folder,
    *,
    kind,
    subjects,
    seed,
    shape,
    spacing_mm,
    tissue_spacing_mm,
    sites=None,
    workers=1,
):
    """Folder of a new BIDS tree of digital heads with lesions.

    Parameters
    ----------
    folder : str or Path
        Must not exist yet.
    kind : str
        A key of `lesion_cohorts.KINDS`.
    subjects : int
    seed : int
        Subject k depends on (kind, seed, k) alone: a larger cohort keeps its first
        subjects, and no head is in two kinds of cohort.
    shape : triple of int
        Voxels of the images.
    spacing_mm, tissue_spacing_mm : float
        Edge of an image voxel, and of the tissue voxels that it averages.
    sites : sequence of str, optional
        Keys of `lesion_physics.SITES`, taken in turn; default those of the kind.
    workers : int
        Processes; the files do not depend on it.

    Returns
    -------
    Path
        With ``sub-*/anat/sub-*_<modality>.nii``, and label images ``*_dseg.nii`` in
        ``derivatives/truth`` and ``derivatives/annotation``, each with a ``dseg.tsv``.

    Raises
    ------
    FileExistsError, ValueError
    """
    what = kind_of(kind)
    sites = _sites(kind, what, sites)
    grid = Grid(tuple(shape), spacing_mm, tissue_spacing_mm)
    heads.check_shape(grid.tissue_shape, tissue_spacing_mm)
    if subjects < 1:
        raise ValueError(f"subjects must be at least 1, got {subjects}; e.g. 15")
    jobs = [
        partial(_write_subject, kind=kind, site=site, seed=(seed, k), grid=grid)
        for k, site in zip(range(subjects), cycle(sites), strict=False)
    ]
    title = f"Digital heads with lesions, {what.title}"
    return bids_trees.write_tree(
        Path(folder),
        jobs,
        title=title,
        readme=(
            f"{title}: simulated {', '.join(what.modalities)}, made by noisyseg.\n"
            "derivatives/truth has all classes; derivatives/annotation has those that "
            "are\nannotated in this cohort. Their dseg.tsv name the values.\n"
        ),
        tables={"truth": what.truth, "annotation": what.annotation},
        workers=workers,
    )


def _sites(kind, what, names):
    """The sites to use, checked: known, and with every modality of the kind."""
    names = what.sites if names is None else names
    if isinstance(names, str) or not names:
        raise TypeError(f"sites must be a list of names, got {names!r}; e.g. [utrecht]")
    for name in names:
        known = lesion_physics.SITES.get(name, {})
        missing = [m for m in what.modalities if m not in known]
        if missing:
            able = [s for s, has in lesion_physics.SITES.items() if _has(has, what)]
            raise ValueError(
                f"sites must take {' and '.join(missing)} for a cohort of kind {kind}, "
                f"got {name!r}; choose from {', '.join(able)}"
            )
    return tuple(names)


def _has(protocols, what):
    return all(modality in protocols for modality in what.modalities)


def _write_subject(folder, name, kind, site, seed, grid):
    """Writes one digital head; returns its row of participants.tsv."""
    what = kind_of(kind)
    key = tuple(KINDS).index(kind), seed[1]
    rng = np.random.default_rng(np.random.SeedSequence(seed[0], spawn_key=key))
    anatomy = heads.draw(rng)
    labels = heads.render(anatomy, grid.tissue_shape, grid.tissue_spacing_mm)
    labels, drawn = _with_lesion(labels, what, anatomy.age, grid, rng)
    _write_images(folder / name / "anat" / name, labels, (what, site), grid, rng)
    truth = true_classes(labels, what.truth, grid)
    for part, data in (("truth", truth), ("annotation", annotated(truth, what))):
        path = folder / "derivatives" / part / name / "anat" / f"{name}_dseg.nii"
        volume.write(path, volume.Volume(data, grid.affine))
    volumes = _volumes_ml(truth, what.truth, grid.spacing_mm)
    row = {"participant_id": name, "site": site} | volumes
    return row | _numbers("lesion", drawn) | _numbers("head", asdict(anatomy))


def _with_lesion(labels, what, age, grid, rng):
    """The tissue map with a lesion of the kind drawn into it, and its numbers."""
    if what.lesion == "none":
        return labels, {}
    if what.lesion == "wmh":
        drawn = lesions.draw(rng, age, what.load_ml)
        painted = lesions.paint(labels, drawn, grid.tissue_spacing_mm)
    else:
        drawn = tumours.draw(rng)
        painted = tumours.paint(labels, drawn, grid.tissue_spacing_mm)
    return painted, asdict(drawn)


def _write_images(stem, labels, how, grid, rng):
    """The images of a site with their sidecars."""
    what, site = how
    factors = None
    for modality in what.modalities:
        protocol = lesion_physics.SITES[site][modality]
        if factors is None:
            factors = lesion_physics.relaxation(protocol.how.relaxation, rng)
        image = lesion_physics.acquire(labels, protocol, grid, factors, rng)
        path = stem.with_name(f"{stem.name}_{modality}")
        volume.write(f"{path}.nii", volume.Volume(image, grid.affine))
        bids_trees.write_json(Path(f"{path}.json"), _sidecar(protocol, site))


def _sidecar(protocol, site):
    """BIDS fields (seconds, degrees) of a protocol."""
    sequence = protocol.sequence
    timing = {
        "RepetitionTime": sequence.repetition_ms,
        "EchoTime": sequence.echo_ms,
        "InversionTime": getattr(sequence, "inversion_ms", None),
    }
    fields = {k: round(v / 1000, 6) for k, v in timing.items() if v is not None}
    if hasattr(sequence, "flip_deg"):
        fields["FlipAngle"] = sequence.flip_deg
    if protocol.contrast:
        fields["ContrastBolusIngredient"] = "GADOLINIUM"
    about = {"Modality": "MR", "MagneticFieldStrength": 3, "InstitutionName": site}
    return about | fields


def _volumes_ml(truth, table, spacing_mm):
    """Volume (mL) of every class but background."""
    counts = np.bincount(truth.ravel(), minlength=len(table)).tolist()
    pairs = zip(table.names[1:], counts[1:], strict=True)
    return {f"{name}_ml": round(n * spacing_mm**3 / 1000, 3) for name, n in pairs}


def _numbers(prefix, drawn):
    """All numbers of what was drawn, one column each."""
    row = {}
    for key, value in drawn.items():
        many = isinstance(value, tuple)
        for axis, number in zip("xyz", value if many else (value,), strict=False):
            name = f"{prefix}_{key}_{axis}" if many else f"{prefix}_{key}"
            row[name] = round(number, 4)
    return row
