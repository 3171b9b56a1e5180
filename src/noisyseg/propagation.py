"""Labels of atlases carried onto a scan by registration: one rater for each atlas.

A folder per scan holds the labels and the image of each atlas on the scan's grid, and
beside them a record of what they were made of: a killed run goes on, changed inputs are
done again.
"""

import hashlib
import inspect
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noisyseg import (
    affine,
    blockmatching,
    checkpoints,
    deformation,
    displacements,
    mind,
    registration,
    volume,
    warping,
)

CODE = (affine, blockmatching, deformation, displacements, mind, registration, warping)


@dataclass(frozen=True)
class Atlas:
    """A labelled scan.

    Attributes
    ----------
    name : str
    image, labels : Path
        On one grid.
    """

    name: str
    image: Path
    labels: Path


def propagate(scan, atlases, folder, *, settings=None, device="cpu"):
    """Labels of every atlas on the grid of a scan, as files.

    Parameters
    ----------
    scan : str or Path
        Image of any modality.
    atlases : sequence of Atlas
    folder : str or Path
        Gets ``<atlas>.nii.gz``, the image beside it (`image_path`) and
        ``<atlas>.json``; what is up to date stays.
    settings : registration.Settings, optional
    device : str
        Torch device.

    Returns
    -------
    list of Path in the order of `atlases`

    Raises
    ------
    FileNotFoundError, ValueError
        A missing or damaged image, labels of another grid, or heads that cannot be
        registered; the atlas is named.
    """
    settings = settings or registration.Settings()
    fixed, paths = None, []
    for atlas in atlases:
        path = Path(folder) / f"{atlas.name}.nii.gz"
        made_of = {"inputs": _fingerprint(scan, atlas), "code": _code()}
        record = made_of | settings.model_dump()
        record = json.loads(json.dumps(record))  # as it will be read
        if not _is_done(path, record):
            fixed = fixed or volume.to_canonical(volume.read_image(scan))
            _carry(fixed, atlas, path, settings, device)
            text = json.dumps(record, indent=1) + "\n"
            checkpoints.write_bytes(_record_of(path), text.encode())
        paths.append(path)
    return paths


def _carry(fixed, atlas, path, settings, device):
    """Register one atlas to the fixed image and write its labels there."""
    image, labels = volume.read_image(atlas.image), volume.read_labels(atlas.labels)
    volume.check_same_grid(image, labels, f"image of {atlas.name}", "labels")
    try:
        field = registration.register(fixed, image, settings, device=device)
    except ValueError as error:
        raise ValueError(f"atlas {atlas.name}: {error}") from error
    moved = registration.warp(image, field)
    volume.write(image_path(path), moved.with_data(_in_bytes(moved.data)))
    volume.write(path, registration.warp(labels, field, order=0))


def image_path(path):
    """Where the image lies whose labels are at `path`: uint8, its range as 0 to 255."""
    return path.with_name(path.name.replace(".nii.gz", "_image.nii.gz"))


def _in_bytes(data):
    low, high = float(data.min()), float(data.max())
    return np.rint((data - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)


def _record_of(path):
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def _is_done(path, record):
    place = _record_of(path)
    there = path.exists() and image_path(path).exists() and place.exists()
    return there and json.loads(place.read_text()) == record


def _code():
    """Hash of the code that decides what is carried over."""
    text = "".join(map(inspect.getsource, CODE))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _fingerprint(scan, atlas):
    """Hash of the files that decide what is carried over."""
    digest = hashlib.blake2b(digest_size=16)
    for path in (scan, atlas.image, atlas.labels):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def side(labels, value, spared):
    """On which side of the head a structure lies: "left" or "right" (of the patient).

    Parameters
    ----------
    labels : Volume
        Canonical axes.
    value : int
        Label of the structure.
    spared : int
        Label that lies on both sides, whose middle is the middle of the head.

    Raises
    ------
    ValueError
        If either is absent.
    """
    middles = []
    for wanted in (value, spared):
        inside = np.argwhere(labels.data == wanted)
        if not len(inside):
            raise ValueError(
                f"labels must hold {value} and {spared}, got no {wanted}; leave the "
                "scan out"
            )
        low, high = inside[:, 0].min(), inside[:, 0].max()
        middles.append((low + high) / 2 if wanted == spared else inside[:, 0].mean())
    return "right" if middles[0] > middles[1] else "left"
