"""What can be measured on a head: sizes, layers, contacts between classes, contrast.

One long table per head (measure, structure, other, value), so that digital and real
heads can be laid side by side. `reference` holds the same table of six real heads.
"""

from importlib import resources

import numpy as np
import pandas as pd

from noisyseg.volume import Volume

DEPTH_MM = 150.0
RAYS = 1500
BINS = np.linspace(0, 4, 41)  # of white matter's median
LAYERS = {"skin": "scalp", "bone": "skull", "CSF": "outer fluid"}


def measure(labels, images, table):
    """Sizes, layers, contacts and intensities of one head.

    Everything is taken from the top of the head `DEPTH_MM` down, where every scan shows
    the head, whatever its field of view.

    Parameters
    ----------
    labels : Volume
        Integer labels (X, Y, Z), canonical axes, isotropic voxels.
    images : dict of str to Volume
        Modalities on the same grid.
    table : LabelTable
        Must have WM, GM, CSF, bone and skin.

    Returns
    -------
    DataFrame with columns measure, structure, other, value
        volume_ml; sheet_mm (2 V / A, the mean thickness of a thin structure); layer_mm
        (depth of scalp, skull and outer fluid along rays through the vault); contact
        (share of a structure's voxel faces that touch the other); <modality> (share of
        a structure's voxels in a bin of intensity, `other` its upper edge in units of
        white matter's median).
    """
    part = upper_part(labels)
    seen = Volume(labels.data[part], labels.affine)
    contacts = count_contacts(seen.data, len(table))
    rows = [
        *_sizes(seen, contacts, table),
        *_contacts(contacts, table),
        *_layers(seen, table),
    ]
    for name, image in images.items():
        rows += _intensities(name, image.data[part], seen.data, table)
    return pd.DataFrame(rows, columns=["measure", "structure", "other", "value"])


def upper_part(labels):
    """Slices of the array that hold the head from its top `DEPTH_MM` down."""
    filled = np.flatnonzero((labels.data > 0).any(axis=(0, 1)))
    top = filled[-1] + 1
    low = max(top - round(DEPTH_MM / labels.spacing_mm[2]), 0)
    return slice(None), slice(None), slice(low, top + 2)


def count_contacts(labels, n_classes):
    """Voxel faces between every two different classes, int array (C, C).

    Examples
    --------
    >>> count_contacts(np.array([0, 1, 1, 0]).reshape(4, 1, 1), 2).tolist()
    [[0, 2], [2, 0]]
    """
    count = np.zeros((n_classes, n_classes), int)
    for axis in range(3):
        along = np.moveaxis(labels, axis, 0).astype(int)
        pairs = along[:-1] * n_classes + along[1:]
        flat = np.bincount(pairs.ravel(), minlength=n_classes**2)
        count += flat.reshape(n_classes, n_classes)
    count = count + count.T
    np.fill_diagonal(count, 0)
    return count


def _sizes(labels, contacts, table):
    """Volume and mean sheet thickness; a voxel surface is 1.5 times the true one."""
    voxel_mm = labels.spacing_mm[0]
    voxels = np.bincount(labels.data.ravel(), minlength=len(table))
    for value, name in enumerate(table.names[1:], 1):
        area_mm2 = contacts[value].sum() * voxel_mm**2 / 1.5
        volume_mm3 = voxels[value] * voxel_mm**3
        yield "volume_ml", name, "", volume_mm3 / 1000
        yield "sheet_mm", name, "", 2 * volume_mm3 / area_mm2 if area_mm2 else np.nan


def _contacts(contacts, table):
    """Share of every structure's faces that touch each other structure."""
    shares = contacts / np.maximum(contacts.sum(axis=1, keepdims=True), 1)
    for value, name in enumerate(table.names[1:], 1):
        for other, share in zip(table.names, shares[value], strict=True):
            yield "contact", name, other, share


def _layers(labels, table):
    """Mean depth of scalp, skull and outer fluid along rays from the brain outwards."""
    brain = np.isin(labels.data, [table.value("WM"), table.value("GM")])
    centre = np.argwhere(brain).mean(axis=0)
    centre[2] += 12 / labels.spacing_mm[2]
    steps = np.arange(0, 125 / labels.spacing_mm[0], 0.25)
    at = np.rint(centre + steps[:, None, None] * _directions()).astype(int)
    at = tuple(np.clip(at, 0, np.array(labels.shape) - 1).transpose(2, 0, 1))
    seen, in_brain = labels.data[at], brain[at]
    outside = np.cumsum(in_brain[::-1], axis=0)[::-1] == 0
    for name in LAYERS:
        hits = ((seen == table.value(name)) & outside).sum()
        yield "layer_mm", name, "", hits / RAYS * 0.25 * labels.spacing_mm[0]


def _directions():
    """Even directions over the vault (golden spiral), float array (RAYS, 3)."""
    turn = np.arange(RAYS) * np.pi * (3 - 5**0.5)
    up = np.linspace(0.15, 1, RAYS)
    flat = np.sqrt(1 - up * up)
    return np.stack([flat * np.cos(turn), flat * np.sin(turn), up], axis=1)


def _intensities(name, image, labels, table):
    """Histogram of every structure in units of white matter's median."""
    scaled = image / np.median(image[labels == table.value("WM")])
    for value, structure in enumerate(table.names[1:], 1):
        inside = np.clip(scaled[labels == value], BINS[0], BINS[-1])
        count, _ = np.histogram(inside, BINS)
        for edge, share in zip(BINS[1:], count / max(count.sum(), 1), strict=True):
            yield name, structure, f"{edge:.1f}", share


def summarise(heads):
    """Mean and range over heads of every measure.

    Parameters
    ----------
    heads : list of DataFrame
        From `measure`.

    Returns
    -------
    DataFrame with columns measure, structure, other, mean, low, high
    """
    keys = ["measure", "structure", "other"]
    groups = pd.concat(heads).groupby(keys, sort=False)["value"]
    return groups.agg(mean="mean", low="min", high="max").reset_index()


def reference():
    """The measures of six real heads, as `summarise` gives them.

    Anatomies: the first six public training label maps of SynthSeg (Billot et al.,
    MedIA 2023), rendered by this package's physics; made by ``benchmarks/phantoms.py``.
    Their cavities are what the head encloses of the maps' background.
    """
    with resources.files("noisyseg").joinpath("real_heads.csv").open() as file:
        return pd.read_csv(file, keep_default_na=False)
