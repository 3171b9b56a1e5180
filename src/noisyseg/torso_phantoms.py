"""Digital torso phantoms in the layout of the TotalSegmentator data set.

    anatomy -> tissue map -> CT (tomography) and masks of four structures -> files

The tissue map is drawn (`write_cohort`) or a label map (`write_from_labelmap`). A tree
appears under its name only when whole; the same seed gives the same bytes.
"""

from dataclasses import asdict
from functools import partial
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd

from noisyseg import tomography, torso_labelmaps, torsos, volume
from noisyseg.grids import Grid
from noisyseg.labeltables import LabelTable
from noisyseg.torso_tissues import PHASES, STRUCTURES
from noisyseg.workers import run_parallel, whole_folder

NOISE_HU = 12.0
"""SD of the noise in a voxel of 3 mm; it grows as voxels shrink (`noise_hu`)."""
TORSO = LabelTable(
    names=("background", *STRUCTURES),
    colours=("#000000", "#3aa76d", "#3b82c4", "#d9534f", "#e8c468"),
)


def write_cohort(
    folder, *, subjects, seed, shape, spacing_mm, tissue_spacing_mm, workers=1
):
    """Folder of a new tree of digital torsos, every one a different anatomy.

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
    grid = _grid(shape, spacing_mm, tissue_spacing_mm)
    _check_subjects(subjects)
    jobs = [partial(_draw_subject, seed=(seed, k), grid=grid) for k in range(subjects)]
    return _write_tree(Path(folder), jobs, "Digital torso phantoms", workers)


def write_from_labelmap(
    path,
    folder,
    *,
    seed,
    shape,
    spacing_mm,
    tissue_spacing_mm,
    subjects=1,
    bend_mm=0.0,
    workers=1,
):
    """Folder of a new tree whose organs are those of a TotalSegmentator v2 label map.

    The contrast phase, the fat, the noise and the deformation differ between subjects;
    the body around the organs is made up (`torso_labelmaps.read_tissues`).

    Parameters
    ----------
    path : str or Path
        Label map (``.nii``, ``.nii.gz``).
    folder, seed, shape, spacing_mm, tissue_spacing_mm, subjects, workers
        As in `write_cohort`.
    bend_mm : float
        SD of a smooth random deformation of each subject; 0 leaves the organs alone.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError
        Among others for a label value unknown to TotalSegmentator v2 (named).
    """
    grid = _grid(shape, spacing_mm, tissue_spacing_mm)
    _check_subjects(subjects)
    how = {"path": Path(path), "bend_mm": bend_mm, "grid": grid}
    jobs = [partial(_map_subject, seed=(seed, k), **how) for k in range(subjects)]
    return _write_tree(Path(folder), jobs, "Torsos from a label map", workers)


def noise_hu(spacing_mm):
    """SD of the noise (HU) in a voxel of this edge: 12 at 3 mm, 24 at 1.5 mm or less.

    The same dose spread over smaller voxels; smoother kernels keep it below 24 HU.

    >>> noise_hu(3.0), noise_hu(1.5), noise_hu(1.0)
    (12.0, 24.0, 24.0)
    """
    return NOISE_HU * min(3.0 / spacing_mm, 2.0)


def _grid(shape, spacing_mm, tissue_spacing_mm):
    if not (spacing_mm > 0 and tissue_spacing_mm > 0):
        raise ValueError(
            f"spacing_mm must be positive, got {spacing_mm} and {tissue_spacing_mm}; "
            "e.g. 3.0 and 1.5"
        )
    grid = Grid(tuple(shape), spacing_mm, tissue_spacing_mm)
    torsos.check_shape(grid.tissue_shape, tissue_spacing_mm)
    return grid


def _check_subjects(subjects):
    if subjects < 1:
        raise ValueError(f"subjects must be at least 1, got {subjects}; e.g. 30")


def _draw_subject(folder, name, seed, grid):
    """Writes one digital torso; returns its row of meta.csv."""
    rng = np.random.default_rng(np.random.SeedSequence(seed[0], spawn_key=(seed[1],)))
    torso = torsos.draw(rng)
    tissues = torsos.render(torso, grid.tissue_shape, grid.tissue_spacing_mm)
    phase, stout = PHASES[torso.phase], 1.0 + 0.006 * (torso.fat_mm - 15.0)
    _write_subject(folder / name, tissues, grid, rng, (phase, stout))
    row = {
        "image_id": name,
        "split": "",
        "age": round(torso.age_years),
        "gender": "f" if torso.female else "m",
        "study_type": f"phantom torso, {phase}",
        "phase": phase,
    }
    return row | _numbers(torso)


def _numbers(torso):
    """All numbers of a torso, one column each."""
    row = {}
    for key, value in asdict(torso).items():
        many = isinstance(value, tuple)
        for place, number in enumerate(value if many else (value,)):
            row[f"{key}_{place}" if many else f"torso_{key}"] = round(number, 4)
    return row


def _map_subject(folder, name, path, bend_mm, seed, grid):
    rng = np.random.default_rng(np.random.SeedSequence(seed[0], spawn_key=(seed[1],)))
    phase = PHASES[int(rng.integers(len(PHASES)))]
    where = grid.tissue_shape, grid.tissue_spacing_mm
    tissues = torso_labelmaps.read_tissues(path, *where, rng, bend_mm=bend_mm)
    _write_subject(folder / name, tissues, grid, rng, (phase, 1.0))
    return {
        "image_id": name,
        "split": "",
        "age": "",
        "gender": "",
        "study_type": f"label map torso, {phase}",
        "phase": phase,
        "source": path.name,
        "bend_mm": bend_mm,
    }


def _write_subject(folder, tissues, grid, rng, how):
    """CT image and the four masks of one tissue map."""
    phase, noisier = how
    image = tomography.acquire(
        tissues,
        grid.tissue_spacing_mm,
        grid.spacing_mm,
        rng,
        phase=phase,
        noise_hu=noisier * noise_hu(grid.spacing_mm),
    )
    affine = np.diag([grid.spacing_mm] * 3 + [1.0])
    affine[:3, 3] = torsos.origin_mm(grid.shape, grid.spacing_mm)
    volume.write(folder / "ct.nii", volume.Volume(image, affine))
    ratio = round(grid.spacing_mm / grid.tissue_spacing_mm)
    for name, mask in tomography.structures(tissues, ratio).items():
        path = folder / "segmentations" / f"{name}.nii"
        volume.write(path, volume.Volume(mask, affine))


def _write_tree(folder, jobs, title, workers):
    """Runs the jobs into a folder that gets its name when all is there."""
    names = [f"s{k:04d}" for k in range(len(jobs))]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as part:
        tasks = [(job, part, name) for job, name in zip(jobs, names, strict=True)]
        rows = run_parallel(_do, tasks, workers=workers, title=title)
        _write_descriptions(part, title, rows)
    return folder


def _do(job, part, name):
    return job(part, name)


def _write_descriptions(folder, title, rows):
    """Table of the subjects, label names and a word on what this is."""
    lines = [";".join(rows[0])]
    lines += [";".join(str(v) for v in row.values()) for row in rows]
    (folder / "meta.csv").write_text("\n".join(lines) + "\n")
    TORSO.write(folder / "dseg.tsv")
    (folder / "README").write_text(
        f"{title}: simulated CT with known truth, made by noisyseg.\n"
        "Layout of the TotalSegmentator data set: ct.nii in HU, and one mask (0, 1)\n"
        "a structure in segmentations/; meta.csv describes the subjects. dseg.tsv\n"
        "numbers and colours the structures for label maps merged from the masks.\n"
    )


def real_torsos():
    """What was measured on real scans, to hold the phantoms against.

    Returns
    -------
    DataFrame with columns case, structure, quantity, value, unit, source
    """
    with resources.files("noisyseg").joinpath("real_torsos.csv").open() as file:
        return pd.read_csv(file)
