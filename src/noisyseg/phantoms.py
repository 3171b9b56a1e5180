"""Digital head phantoms as BIDS trees: T1w and T2w images with their truth.

    anatomy -> tissue map -> T1w, T2w (physics) and nine-class truth -> files

The tissue map is drawn (`write_cohort`) or read from label maps (`write_from_labelmaps`).
A tree appears under its name only when whole; the same seed gives the same bytes.
"""

import json
import multiprocessing
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from noisyseg import heads, labeltables, physics, volume
from noisyseg import tissues as ids
from noisyseg.shapes import slow_noise

SEQUENCES = {"T1w": physics.T1W, "T2w": physics.T2W}


@dataclass(frozen=True)
class Grid:
    """Image grid (voxels, mm) and the edge (mm) of the finer tissue voxels under it."""

    shape: tuple[int, int, int]
    spacing_mm: float
    tissue_spacing_mm: float

    @property
    def tissue_shape(self):
        """Voxels of the tissue grid that fills the same field of view."""
        ratio = self.spacing_mm / self.tissue_spacing_mm
        if ratio < 1 or abs(ratio - round(ratio)) > 1e-6:
            raise ValueError(
                f"tissue_spacing_mm must divide spacing_mm {self.spacing_mm}, got "
                f"{self.tissue_spacing_mm}; e.g. {self.spacing_mm / 2}"
            )
        return tuple(int(round(ratio)) * n for n in self.shape)

    @property
    def affine(self):
        """Voxel to world (mm, RAS+), origin near the anterior commissure."""
        affine = np.diag([self.spacing_mm] * 3 + [1.0])
        affine[:3, 3] = heads.origin_mm(self.shape, self.spacing_mm)
        return affine


def write_cohort(
    folder, *, subjects, seed, shape, spacing_mm, tissue_spacing_mm, workers=1
):
    """Folder of a new BIDS tree of digital heads, every one a different anatomy.

    Parameters
    ----------
    folder : str or Path
        Must not exist, or be empty.
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
        _write_json(Path(f"{stem}.json"), _sidecar(sequence))
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
    """Runs the jobs into a temporary folder and gives it its name when all is there."""
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(
            f"{folder} must not exist or be empty; remove it to make the data again"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        names = [f"sub-{k + 1:02d}" for k in range(len(jobs))]
        rows = _run(jobs, part, names, workers)
        _write_descriptions(part, title, rows)
        part.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _run(jobs, part, names, workers):
    if workers <= 1 or len(jobs) == 1:
        return [job(part, name) for job, name in zip(jobs, names, strict=True)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), context) as pool:
        futures = [pool.submit(j, part, n) for j, n in zip(jobs, names, strict=True)]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_descriptions(folder, title, rows):
    """The small files that make the folder a BIDS data set with its derivative."""
    truth = folder / "derivatives" / "truth"
    about = {"Name": title, "BIDSVersion": "1.8.0", "DatasetType": "raw"}
    _write_json(folder / "dataset_description.json", about)
    maker = {"GeneratedBy": [{"Name": "noisyseg"}]}
    about = {"Name": f"{title}: truth", "BIDSVersion": "1.8.0"}
    about |= {"DatasetType": "derivative"} | maker
    _write_json(truth / "dataset_description.json", about)
    labeltables.HEAD.write(truth / "dseg.tsv")
    (folder / "README").write_text(
        f"{title}: simulated T1w and T2w images with known truth, made by noisyseg.\n"
        "Nine classes in derivatives/truth, named in derivatives/truth/dseg.tsv.\n"
    )
    lines = ["\t".join(rows[0])]
    lines += ["\t".join(str(v) for v in row.values()) for row in rows]
    (folder / "participants.tsv").write_text("\n".join(lines) + "\n")


def _write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def _coding(**tissues):
    return {v: getattr(ids, name) for name, values in tissues.items() for v in values}


CODINGS = {
    "synthseg": _coding(
        OUTSIDE=(0,),
        WHITE=(2, 41, 7, 46, 16, 28, 60, 25, 57, 77, 85, 251, 252, 253, 254, 255),
        CORTEX=(3, 42),
        CEREBELLUM=(8, 47),
        DEEP_GREY=(10, 49, 11, 50, 12, 51, 13, 52, 17, 53, 18, 54, 26, 58)
        + (136, 137, 163, 164),
        FLUID=(24, 30, 62),
        VENTRICLE=(4, 5, 14, 15, 31, 43, 44, 63, 72),
        COMPACT=(515,),
        MARROW=(516,),
        SKIN=(511,),
        MUSCLE=(507, 508),
        MUCOSA=(509,),
        VITREOUS=(506,),
        OPTIC_NERVE=(530,),
        CORD=(512,),
        VEIN=(514,),
        ARTERY=(502,),
    ),
    "charm": _coding(
        OUTSIDE=(0,),
        WHITE=(1,),
        CORTEX=(2,),
        FLUID=(3,),
        COMPACT=(4, 7),
        SKIN=(5,),
        VITREOUS=(6,),
        MARROW=(8,),
        VEIN=(9,),
        MUSCLE=(10,),
        CARTILAGE=(11,),
        FAT=(12,),
    ),
    "head": _coding(
        OUTSIDE=(0,),
        WHITE=(1,),
        CORTEX=(2,),
        FLUID=(3,),
        COMPACT=(4,),
        MUSCLE=(5,),
        AIR=(6,),
        VITREOUS=(7,),
        VENTRICLE=(8,),
    ),
}
"""Label value to tissue. synthseg: FreeSurfer ids with SimNIBS charm's beyond the brain;
charm: its final_tissues; head: the nine classes of this package."""


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
        A key of `CODINGS`.
    subjects : int, optional
        Default one for each map. More go through the maps again, each time bent by
        another smooth deformation.
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
    if coding not in CODINGS:
        known = ", ".join(CODINGS)
        raise ValueError(f"coding must be one of {known}, got {coding!r}; correct it")
    found = sorted(p for p in Path(source).glob("*.nii*") if p.is_file())
    if not found:
        raise FileNotFoundError(f"{source} must hold label maps (*.nii, *.nii.gz)")
    grid = Grid(tuple(shape), spacing_mm, tissue_spacing_mm)
    jobs = []
    for k in range(subjects or len(found)):
        how = {"coding": coding, "seed": (seed, k), "grid": grid}
        bend_mm = deform_mm if k >= len(found) else 0.0
        path = found[k % len(found)]
        jobs.append(partial(_map_subject, path=path, bend_mm=bend_mm, **how))
    return _write_tree(Path(folder), jobs, "Heads from label maps", workers)


def _map_subject(folder, name, path, bend_mm, coding, seed, grid):
    rng = np.random.default_rng(np.random.SeedSequence(seed[0], spawn_key=(seed[1],)))
    tissues = read_tissues(path, coding, grid, bend_mm, rng)
    _write_subject(folder, name, tissues, grid, rng)
    return {"participant_id": name, "source": path.name, "deform_mm": bend_mm}


def read_tissues(path, coding, grid, bend_mm, rng):
    """Tissue map (uint8) of a label map on the tissue grid, nearest neighbour.

    The head is brought into the field of view by its top and its centre; it keeps its
    orientation. Background that the head encloses becomes air inside.
    """
    labels = volume.to_canonical(volume.read_labels(path))
    table = CODINGS[coding]
    unknown = [int(v) for v in np.unique(labels.data) if int(v) not in table]
    if unknown:
        raise ValueError(
            f"{path} must hold labels of the coding {coding!r}, got {unknown[:8]}; "
            f"choose another of {', '.join(CODINGS)}"
        )
    lookup = np.zeros(max(table) + 1, np.uint8)
    lookup[list(table)] = list(table.values())
    tissues = lookup[labels.data]
    tissues[_enclosed(tissues)] = ids.AIR
    return _place(tissues, labels.affine, grid, bend_mm, rng)


def _enclosed(tissues):
    """Background enclosed by the head in two of the three kinds of slices.

    The lower edge counts as closed, so that the airway of a cut neck is inside.
    """
    head = np.pad(tissues > 0, ((0, 0), (0, 0), (1, 0)), constant_values=True)
    votes = np.zeros(tissues.shape, np.uint8)
    for axis in range(3):
        flat = np.moveaxis(head if axis < 2 else head[:, :, 1:], axis, 0)
        filled = np.stack([ndimage.binary_fill_holes(s) for s in flat])
        filled = np.moveaxis(filled, 0, axis)
        votes += filled[:, :, 1:] if axis < 2 else filled
    return (votes >= 2) & (tissues == 0)


def _place(tissues, affine, grid, bend_mm, rng):
    edges = volume.nib.affines.voxel_sizes(affine)
    inside = [
        np.flatnonzero((tissues > 0).any(axis=tuple(i for i in range(3) if i != axis)))
        for axis in range(3)
    ]
    middle = [(i[0] + i[-1]) / 2 for i in inside]
    anchor = [(0, middle[0]), (heads.CENTRE_MM[1] + 3, middle[1])]
    anchor.append((heads.TOP_MM - 12, inside[2][-1]))
    where = []
    start = heads.origin_mm(grid.tissue_shape, grid.tissue_spacing_mm)
    for axis, (n, (world, voxel)) in enumerate(
        zip(grid.tissue_shape, anchor, strict=True)
    ):
        points = start[axis] + grid.tissue_spacing_mm * np.arange(n) - world
        line = (points / edges[axis] + voxel).reshape(
            [-1 if i == axis else 1 for i in range(3)]
        )
        if bend_mm:
            field = slow_noise(rng, grid.tissue_shape, grid.tissue_spacing_mm, 32.0)
            line = line + bend_mm / edges[axis] * field
        where.append(np.broadcast_to(line, grid.tissue_shape))
    return ndimage.map_coordinates(tissues, where, order=0, mode="constant", cval=0)
