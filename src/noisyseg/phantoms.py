"""Digital head phantoms as BIDS trees: T1w and T2w images with their truth.

    anatomy -> tissue map -> T1w, T2w (physics) and nine-class truth -> files

The tissue map is drawn (`write_cohort`) or a label map (`write_from_labelmaps`).
A tree appears under its name only when whole; the same seed gives the same bytes.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from noisyseg import bids_trees, heads, labelmaps, labeltables, physics, volume
from noisyseg.grids import Grid

SEQUENCES = {"T1w": physics.T1W, "T2w": physics.T2W}


def write_cohort(
    folder, *, subjects, seed, shape, spacing_mm, tissue_spacing_mm, workers=1
):
    """Folder of a new BIDS tree of digital heads, every one a different anatomy.

    Parameters
    ----------
    folder : str or Path
        Must not exist yet.
    subjects : int
    seed : int
        Subject k depends on (seed, k) alone: a larger cohort keeps its first subjects.
    shape : triple of int
        Voxels of the images.
    spacing_mm, tissue_spacing_mm : float
        Edge of an image voxel, and of the tissue voxels that it averages.
    workers : int
        Processes; the files do not depend on it.

    Returns
    -------
    Path

    Raises
    ------
    FileExistsError, ValueError
    """
    grid = Grid(tuple(shape), spacing_mm, tissue_spacing_mm)
    heads.check_shape(grid.tissue_shape, tissue_spacing_mm)
    if subjects < 1:
        raise ValueError(f"subjects must be at least 1, got {subjects}; e.g. 30")
    jobs = [partial(_draw_subject, seed=(seed, k), grid=grid) for k in range(subjects)]
    return _write_tree(Path(folder), jobs, "Digital head phantoms", workers)


def _draw_subject(folder, name, seed, grid):
    """Writes one digital head; returns its row of participants.tsv."""
    rng = np.random.default_rng(np.random.SeedSequence(seed[0], spawn_key=(seed[1],)))
    anatomy = heads.draw(rng)
    tissues = heads.render(anatomy, grid.tissue_shape, grid.tissue_spacing_mm)
    _write_subject(folder, name, tissues, grid, rng)
    return _row(name, anatomy)


def _row(name, anatomy):
    row = {"participant_id": name}
    for key, value in asdict(anatomy).items():
        many = isinstance(value, tuple)
        parts = zip("xyz", value, strict=False) if many else [("", value)]
        for axis, number in parts:
            row[f"{key}_{axis}" if many else key] = round(number, 4)
    return row


def _write_subject(folder, name, tissues, grid, rng):
    """T1w and T2w images with sidecars, and the truth, of one tissue map."""
    for suffix, sequence in SEQUENCES.items():
        spacings = grid.tissue_spacing_mm, grid.spacing_mm
        image = physics.acquire(tissues, sequence, *spacings, rng)
        stem = folder / name / "anat" / f"{name}_{suffix}"
        volume.write(f"{stem}.nii", volume.Volume(image, grid.affine))
        bids_trees.write_json(Path(f"{stem}.json"), _sidecar(sequence))
    truth = physics.truth(tissues, grid.tissue_spacing_mm, grid.spacing_mm)
    path = folder / "derivatives" / "truth" / name / "anat" / f"{name}_dseg.nii"
    volume.write(path, volume.Volume(truth, grid.affine))


def _sidecar(sequence):
    """BIDS fields (seconds, degrees) of a sequence."""
    timing = {
        "RepetitionTime": sequence.repetition_ms,
        "EchoTime": sequence.echo_ms,
        "InversionTime": getattr(sequence, "inversion_ms", None),
    }
    fields = {k: round(v / 1000, 6) for k, v in timing.items() if v is not None}
    if hasattr(sequence, "flip_deg"):
        fields["FlipAngle"] = sequence.flip_deg
    return {"Modality": "MR", "MagneticFieldStrength": 3, **fields}


def _write_tree(folder, jobs, title, workers):
    return bids_trees.write_tree(
        folder,
        jobs,
        title=title,
        readme=(
            f"{title}: simulated T1w and T2w images with known truth, made by "
            "noisyseg.\nNine classes in derivatives/truth, named in "
            "derivatives/truth/dseg.tsv.\n"
        ),
        tables={"truth": labeltables.HEAD},
        workers=workers,
    )


def write_from_labelmaps(
    source,
    folder,
    *,
    coding,
    seed,
    shape,
    spacing_mm,
    tissue_spacing_mm,
    subjects=None,
    deform_mm=3.0,
    workers=1,
):
    """Folder of a new BIDS tree whose anatomies are label maps.

    Parameters
    ----------
    source : str or Path
        Folder of label maps (``*.nii``, ``*.nii.gz``), taken in the order of names.
    folder, seed, shape, spacing_mm, tissue_spacing_mm, workers
        As in `write_cohort`.
    coding : str
        A key of `labelmaps.CODINGS`.
    subjects : int, optional
        Default one for each map, as it is. With a number the maps are taken in turn,
        every head bent by another smooth deformation.
    deform_mm : float
        SD of that deformation.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError, ValueError
        No maps; an unknown coding; a label value that the coding lacks (file named).
    """
    if coding not in labelmaps.CODINGS:
        known = ", ".join(labelmaps.CODINGS)
        raise ValueError(f"coding must be one of {known}, got {coding!r}; correct it")
    found = sorted(p for p in Path(source).glob("*.nii*") if p.is_file())
    if not found:
        raise FileNotFoundError(f"{source} must hold label maps (*.nii, *.nii.gz)")
    grid = Grid(tuple(shape), spacing_mm, tissue_spacing_mm)
    jobs = []
    for k in range(subjects or len(found)):
        how = {"coding": coding, "seed": (seed, k), "grid": grid}
        bend_mm = deform_mm if subjects else 0.0
        path = found[k % len(found)]
        jobs.append(partial(_map_subject, path=path, bend_mm=bend_mm, **how))
    return _write_tree(Path(folder), jobs, "Heads from label maps", workers)


def _map_subject(folder, name, path, bend_mm, coding, seed, grid):
    rng = np.random.default_rng(np.random.SeedSequence(seed[0], spawn_key=(seed[1],)))
    tissues = labelmaps.read_tissues(path, coding, grid, rng, bend_mm=bend_mm)
    _write_subject(folder, name, tissues, grid, rng)
    return {"participant_id": name, "source": path.name, "deform_mm": bend_mm}
