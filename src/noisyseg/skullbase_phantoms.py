"""Digital skull bases with a vestibular schwannoma, as the cohorts of study `mind`.

    anatomy -> tissue map -> one image -> truth, annotation -> files

A source cohort has contrast-enhanced T1 and its annotation; a target cohort of other
people has high-resolution T2, without annotation or, for tests, with it. The truth
lies beside either. A tree appears under its name only when whole; the same seed gives
the same bytes.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from noisyseg import bids_trees, skullbase_heads, skullbase_physics, volume
from noisyseg.choices import check_choice
from noisyseg.skullbase_grids import SlabGrid
from noisyseg.skullbase_tissues import TABLE


@dataclass(frozen=True)
class Kind:
    """What a cohort shows, and whether it has been annotated."""

    title: str
    modality: str
    annotated: bool


KINDS = {
    "source": Kind("contrast-enhanced T1, annotated", "T1ce", True),
    "target": Kind("high-resolution T2, not annotated", "T2w", False),
    "target_test": Kind("high-resolution T2, annotated", "T2w", True),
}
"""The cohorts, in the manner of crossMoDA 2021: source, target and hidden target."""


def write_cohort(
    folder,
    *,
    kind,
    subjects,
    seed,
    shape,
    spacing_mm,
    tissue_spacing_mm,
    workers=1,
):
    """Folder of a new BIDS tree of digital skull bases.

    Parameters
    ----------
    folder : str or Path
        Must not exist yet.
    kind : str
        A key of `KINDS`.
    subjects : int
    seed : int
        Subject k depends on (kind, seed, k) alone: a larger cohort keeps its first
        subjects, and no person is in two kinds of cohort. Tumours lie on the left and
        on the right by turns.
    shape : triple of int
        Voxels of the images, around the middle between the inner ears.
    spacing_mm : triple of float
        Edges of an image voxel: small within the slice, larger across.
    tissue_spacing_mm : float
        Edge of the tissue voxels that an image voxel averages.
    workers : int
        Processes; the files do not depend on it.

    Returns
    -------
    Path
        With ``sub-*/anat/sub-*_<modality>.nii``, label images ``*_dseg.nii`` in
        ``derivatives/truth`` and, of annotated cohorts, ``derivatives/annotation``,
        each with a ``dseg.tsv``, and ``participants.tsv`` with all that was drawn.

    Raises
    ------
    FileExistsError, ValueError
    """
    check_choice("kind", kind, KINDS)
    grid = SlabGrid(shape, spacing_mm, tissue_spacing_mm)
    if subjects < 1:
        raise ValueError(f"subjects must be at least 1, got {subjects}; e.g. 30")
    jobs = [
        partial(_write_subject, kind=kind, seed=(seed, k), grid=grid)
        for k in range(subjects)
    ]
    what = KINDS[kind]
    title = f"Digital skull bases, {what.title}"
    known = "has them too" if what.annotated else "has none, as of the real cohort"
    return bids_trees.write_tree(
        Path(folder),
        jobs,
        title=title,
        readme=(
            f"{title}: simulated {what.modality} images, made by noisyseg.\n"
            "derivatives/truth has the schwannoma and both cochleas of everybody;\n"
            f"derivatives/annotation {known}. dseg.tsv names the values.\n"
        ),
        tables={"truth": TABLE, "annotation": TABLE},
        workers=workers,
        digits=3,
    )


def _write_subject(folder, name, kind, seed, grid):
    """Writes one digital skull base; returns its row of participants.tsv."""
    what = KINDS[kind]
    key = tuple(KINDS).index(kind), seed[1]
    rng = np.random.default_rng(np.random.SeedSequence(seed[0], spawn_key=key))
    base = skullbase_heads.draw(rng)
    tumour = replace(base.schwannoma, right=seed[1] % 2)
    base = replace(base, schwannoma=tumour)
    labels = skullbase_heads.render(base, grid)
    protocol = skullbase_physics.PROTOCOLS[what.modality]
    image = skullbase_physics.acquire(labels, protocol, grid.ratios, rng)
    stem = folder / name / "anat" / f"{name}_{what.modality}"
    volume.write(f"{stem}.nii", volume.Volume(image, grid.affine))
    bids_trees.write_json(Path(f"{stem}.json"), _sidecar(protocol))
    truth = skullbase_physics.true_classes(labels, grid.ratios)
    for part in ("truth", "annotation") if what.annotated else ("truth",):
        path = folder / "derivatives" / part / name / "anat" / f"{name}_dseg.nii"
        volume.write(path, volume.Volume(truth, grid.affine))
    return {"participant_id": name} | _summary(truth, base, grid) | _numbers(base)


def _summary(truth, base, grid):
    """Volumes (mL) of the truth, side and grade of the tumour."""
    counts = np.bincount(truth.ravel(), minlength=len(TABLE)).tolist()
    pairs = zip(TABLE.names[1:], counts[1:], strict=True)
    volumes = {f"{name}_ml": round(n * grid.voxel_ml, 4) for name, n in pairs}
    tumour = base.schwannoma
    side = "right" if tumour.right else "left"
    extent_mm = round(2.0 * tumour.radius_mm, 2)
    return volumes | {"side": side, "koos": tumour.koos, "cisternal_mm": extent_mm}


def _numbers(base):
    """All numbers of what was drawn, one column each."""
    row = {}
    for part, drawn in asdict(base).items():
        inner = drawn if isinstance(drawn, dict) else {"": drawn}
        for key, value in inner.items():
            many = isinstance(value, tuple)
            for axis, number in zip("xyz", value if many else (value,), strict=False):
                names = (part, key, axis if many else "")
                row["_".join(n for n in names if n)] = round(number, 4)
    return row


def _sidecar(protocol):
    """BIDS fields (seconds, degrees) of a protocol."""
    sequence = protocol.sequence
    timing = {
        "RepetitionTime": sequence.repetition_ms,
        "EchoTime": sequence.echo_ms,
        "InversionTime": getattr(sequence, "inversion_ms", None),
    }
    fields = {k: round(v / 1000, 6) for k, v in timing.items() if v is not None}
    fields |= {"Modality": "MR", "FlipAngle": sequence.flip_deg}
    if protocol.contrast:
        fields["ContrastBolusIngredient"] = "GADOLINIUM"
    return fields
