"""The data set crossMoDA 2021 as distributed, and the grid on which it is learned.

Source: contrast-enhanced T1 with labels; target: high-resolution T2 of other patients,
without. Scans are resampled in their planes, cut to a crop that all annotations fit in,
and a segmentation of the crop goes back to the grid of its scan.

References
----------
.. [1] Shapey et al. 2021, Segmentation of vestibular schwannoma from MRI, an open
   annotated dataset and baseline algorithm, Scientific Data 8:286.
.. [2] Dorent et al. 2023, CrossMoDA 2021 challenge, Medical Image Analysis 83:102628;
   https://crossmoda.grand-challenge.org.
.. [3] Kruse, Hansen, Heinrich 2021, Learning on MIND features and noisy labels from
   image registration, section 3: half a millimetre in plane, 192 x 192 x 64 voxels.
"""

import re

import numpy as np

from noisyseg import volume
from noisyseg.casefiles import Case, Coding, image_files
from noisyseg.volume import Volume

CODING = Coding({0: "background", 1: "schwannoma", 2: "cochlea"}, marks=(1, 2))
ADDED = CODING.classes | {3: "schwannoma"}
"""Label map for `datasets.read` of copies whose labels were merged by addition: 3 is
where tumour (1) and cochlea (2) overlap. In the labels of 2023, 3 is the cochlea."""
GROUPS = {name: (name,) for name in CODING.classes.values()}
"""The classes of the study for `datasets.recode`."""
SPACING_MM = 0.5
SHAPE = (192, 192, 64)

_FILE = re.compile(r"(crossmoda(?:\d{4}_ldn)?_\d+)_(ceT1|hrT2|Label)", re.IGNORECASE)


def read_source(folder):
    """Cases with contrast-enhanced T1, list of Case, by number.

    ``crossmoda_{1..105}_ceT1.nii.gz`` with ``crossmoda_{1..105}_Label.nii.gz``, whose
    name tells no modality, in any folder; later editions name the same cases
    ``crossmoda2021_ldn_N_*`` (cases of other centres are left out).

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such folder, or a file is there twice.
    """
    found = _found(folder)
    return [
        _case(subject, files, "T1ce", "cet1")
        for subject, files in found.items()
        if "cet1" in files or ("label" in files and "hrt2" not in files)
    ]


def read_target(folder):
    """Cases with high-resolution T2, list of Case, by number.

    ``crossmoda_{106..210}_hrT2.nii.gz``, and ``_Label`` only in copies that have been
    given labels. Named, and refused, as by `read_source`.
    """
    found = _found(folder)
    return [
        _case(subject, files, "T2w", "hrt2")
        for subject, files in found.items()
        if "hrt2" in files
    ]


def _found(folder):
    """Files by subject and by what they are: cet1, hrt2, label."""
    found = {}
    for place, path in image_files(folder):
        match = _FILE.fullmatch(place.name)
        if match is None:
            continue
        files = found.setdefault(match[1], {})
        part = match[2].lower()
        if part in files:
            raise ValueError(
                f"{place.name} must be there once, got {files[part]} and {path}; read "
                "the folder of one edition"
            )
        files[part] = path
    return dict(sorted(found.items(), key=lambda item: _number(item[0])))


def _number(subject):
    """The case's number, which is not padded with zeros, for sorting.

    >>> sorted(["crossmoda_10", "crossmoda_9"], key=_number)
    ['crossmoda_9', 'crossmoda_10']
    """
    return int(subject.rsplit("_", 1)[1]), subject


def _case(subject, files, modality, part):
    return Case(
        subject=subject,
        images={modality: files[part]} if part in files else {},
        labels={"reference": files["label"]} if "label" in files else {},
        coding=CODING,
        modalities=(modality,),
        labelled=modality == "T1ce" or "label" in files,
    )


def resample_in_plane(found, spacing_mm=SPACING_MM, *, order=1):
    """The volume with another voxel edge along X and Y; slices stay as they are.

    Parameters
    ----------
    found : Volume
        Canonical (RAS+), its slices axial.
    spacing_mm : float
    order : int
        1 linear (images), 0 nearest (labels).

    Returns
    -------
    Volume
        Of the same field of view, to the nearest voxel, and the same middle; itself
        where it has this voxel edge already.

    Examples
    --------
    >>> scan = Volume(np.ones((128, 128, 12), np.int16), np.diag([0.41, 0.41, 1.5, 1]))
    >>> resample_in_plane(scan).shape
    (105, 105, 12)
    """
    if not spacing_mm > 0:
        raise ValueError(f"spacing_mm must be positive, got {spacing_mm}; e.g. 0.5")
    old = np.array(found.spacing_mm)
    new = np.array([spacing_mm, spacing_mm, old[2]])
    if np.allclose(old, new, rtol=1e-3):
        return found
    shape = np.rint(np.array(found.shape) * old / new).astype(int)
    scale = np.diag([*(new / old), 1.0])
    # the middle of the volume keeps its place
    scale[:3, 3] = (np.array(found.shape) - 1) / 2 - scale[:3, :3] @ ((shape - 1) / 2)
    grid = Volume(np.empty(shape, np.uint8), found.affine @ scale)
    edge = Volume(np.pad(found.data, 1, mode="edge"), _moved(found.affine, (-1,) * 3))
    return volume.resample(edge, grid, order=order)  # the edge: no dark rim


def crop(found, shape=SHAPE, offset_mm=(0.0, 0.0, 0.0)):
    """The part of a volume around its middle, or around a place off its middle.

    Parameters
    ----------
    found : Volume
    shape : triple of int
        Of the result; where the volume ends, zeros fill it.
    offset_mm : triple of float
        Centre of the crop from the middle of the volume along its axes, as from
        `annotated_span_mm`; rounded to whole voxels.

    Returns
    -------
    Volume of this shape, its affine that of these voxels: no value is changed

    Raises
    ------
    ValueError
        If the crop would lie outside of the volume.
    """
    size, steps = np.array(found.shape), np.array(offset_mm) / found.spacing_mm
    start = np.rint((size - shape) / 2 + steps).astype(int)
    low, high = np.maximum(start, 0), np.minimum(start + shape, size)
    if (high <= low).any():
        raise ValueError(
            f"offset_mm must keep the crop in the volume of {found.shape} voxels, got "
            f"{tuple(offset_mm)}; take it nearer to the middle"
        )
    data = np.zeros(shape, found.data.dtype)
    there = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    data[there] = found.data[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return Volume(data, _moved(found.affine, start))


def restore(labels, original):
    """Labels of a crop on the grid of its scan; background outside of the crop.

    Parameters
    ----------
    labels : Volume
        On any grid, such as a crop of the resampled scan.
    original : Volume
        Only its shape and affine are used.

    Returns
    -------
    Volume of exactly that shape and affine, nearest in world space, dtype of `labels`
    """
    return volume.resample(labels, original, order=0)


def annotated_span_mm(labels):
    """Where annotations lie: the middle and the edges of a box that holds them all.

    Parameters
    ----------
    labels : iterable of Volume
        Of every case; background is 0.

    Returns
    -------
    offset_mm, size_mm : two triples of float
        Centre of the box from the middle of each volume, along its axes, and its
        edges. A crop at this offset loses no label if it is a voxel larger.

    Raises
    ------
    ValueError
        If no volume holds a label.
    """
    lows, highs = [], []
    for found in labels:
        spots = np.argwhere(found.data)
        if len(spots):
            middle, edge_mm = np.array(found.shape) / 2, np.array(found.spacing_mm)
            lows.append((spots.min(axis=0) - middle) * edge_mm)
            highs.append((spots.max(axis=0) + 1 - middle) * edge_mm)
    if not lows:
        raise ValueError(
            "labels must hold an annotation, got none; take them from the source cases"
        )
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    return tuple(((low + high) / 2).tolist()), tuple((high - low).tolist())


def _moved(affine, voxels):
    """The affine of a grid whose first voxel is `voxels` further."""
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ np.asarray(voxels, float)
    return moved
