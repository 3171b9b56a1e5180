"""TotalSegmentator label maps as torsos: real organs in a body built around them.

The label maps (version 2, ``totalsegmentator.csv``) name organs, bones and a few
muscles; skin, fat, the abdominal wall and everything between the organs are missing.
"""

import csv
from importlib import resources

import numpy as np
from scipy import ndimage

from noisyseg import torso_tissues as ids
from noisyseg import volume
from noisyseg.shapes import refine, slow_noise

WALL_MM, SKIN_MM = 14.0, 2.0
_CLOSING_MM = 60.0  # how far apart organs are that the body still bridges
_SHELLS = {  # what a label calls one thing: its outer tissue, and how thick (mm)
    ids.SPONGIOSA: (ids.COMPACT, 1.5),
    ids.STOMACH_CONTENT: (ids.STOMACH_WALL, 3.5),
    ids.BOWEL_CONTENT: (ids.BOWEL_WALL, 2.5),
    ids.FAECES: (ids.BOWEL_WALL, 2.5),
    ids.AORTA: (ids.AORTA_WALL, 1.5),
    ids.AIRWAY: (ids.TRACHEA_WALL, 1.5),
}
_CORES = {  # its inner tissue, and how deep that begins (mm)
    ids.LEFT_CORTEX: (ids.LEFT_MEDULLA, 8.0),
    ids.RIGHT_CORTEX: (ids.RIGHT_MEDULLA, 8.0),
    ids.HEART: (ids.HEART_BLOOD, 11.0),
}


def coding():
    """Tissue number of every TotalSegmentator v2 label value, dict of int to int."""
    text = resources.files("noisyseg").joinpath("totalsegmentator.csv").read_text()
    rows = csv.DictReader(text.splitlines())
    return {int(row["value"]): ids.NAMES.index(row["tissue"]) for row in rows}


def read_tissues(path, shape, spacing_mm, rng, *, bend_mm=0.0):
    """Tissue map of a label map on a grid around the middle of its organs.

    Labels become tissues by ``totalsegmentator.csv``, read by nearest neighbour. Hollow
    organs get a wall and gas in front, bones a cortex, kidneys a medulla. The body is
    what a closing by 60 mm of all labels holds: muscle down to 14 mm below its surface
    and outside of the ribs, fat deeper in; around it lie fat of random thickness (5 to
    30 mm) and skin.

    Parameters
    ----------
    path : str or Path
    shape : triple of even int
    spacing_mm : float
        Voxels and edge of the tissue grid.
    rng : np.random.Generator
        Draws fat, gas and deformation.
    bend_mm : float
        SD of a smooth random deformation; 0 leaves the organs as they are.

    Returns
    -------
    uint8 array of `shape`, RAS+, values of `torso_tissues`

    Raises
    ------
    ValueError
        For values that TotalSegmentator v2 lacks, naming file and values; for a map
        without any label.
    """
    labels = volume.to_canonical(volume.read_labels(path))
    table = coding()
    unknown = [int(v) for v in np.unique(labels.data) if int(v) not in table]
    if unknown:
        raise ValueError(
            f"{path} must hold labels of TotalSegmentator v2 (0 to {max(table)}), got "
            f"{unknown[:8]}; recode it by totalsegmentator.csv"
        )
    volume.check_not_empty(labels, str(path))
    lookup = np.array([table[v] for v in range(max(table) + 1)], np.uint8)
    axes = [spacing_mm * (np.arange(n) - 0.5 * (n - 1)) for n in shape]
    bends = [bend_mm * slow_noise(rng, axes, 40.0) for _ in range(3 if bend_mm else 0)]
    tissues, covered = _placed(lookup[labels.data], labels.spacing_mm, axes, bends)
    slow, fine = (slow_noise(rng, axes, mm) for mm in (36.0, 9.0))
    _add_layers(tissues, spacing_mm, fine)
    _add_body(tissues, spacing_mm, rng.uniform(5.0, 30.0), slow)
    tissues[:, :, ~covered] = ids.OUTSIDE
    return tissues


def _placed(tissues, edges_mm, axes, bends):
    """The map on the grid, and which of the grid's slices (z) the map reaches.

    The middle of all labels, and along z of the target organs, goes to the middle.
    """
    wanted = np.array([name != "" for name in ids.STRUCTURE])[tissues]
    where = []
    for axis, (line, edge) in enumerate(zip(axes, edges_mm, strict=True)):
        others = tuple(i for i in range(3) if i != axis)
        shown = wanted if axis == 2 and wanted.any() else tissues > 0
        hit = np.flatnonzero(shown.any(axis=others))
        points = line.reshape([-1 if i == axis else 1 for i in range(3)])
        index = (points + (bends[axis] if bends else 0.0)) / edge
        where.append(index + 0.5 * (hit[0] + hit[-1]))
    height = axes[2] / edges_mm[2] + 0.5 * (hit[0] + hit[-1])
    covered = (height > -0.5) & (height < tissues.shape[2] - 0.5)
    where = [np.broadcast_to(w, [len(line) for line in axes]) for w in where]
    placed = ndimage.map_coordinates(tissues, where, order=0, mode="constant", cval=0)
    return placed, covered


def _add_layers(tissues, spacing_mm, fine):
    """Walls, cortices, medullae, vessels of the lung, gas in stomach and colon."""
    lung = ndimage.uniform_filter((tissues == ids.LUNG).astype(float), 7)
    tissues[(tissues == ids.OUTSIDE) & (lung > 0.6)] = ids.LUNG_VESSEL
    for inner, (outer, thick_mm) in _SHELLS.items():
        place, depth_mm = _depth(tissues == inner, spacing_mm)
        tissues[place][(depth_mm > 0) & (depth_mm <= thick_mm)] = outer
    for outer, (inner, deep_mm) in _CORES.items():
        place, depth_mm = _depth(tissues == outer, spacing_mm)
        tissues[place][depth_mm + 1.5 * fine[place] * (depth_mm > 0) > deep_mm] = inner
    place, depth_mm = _depth(tissues == ids.OESOPHAGUS, spacing_mm)
    tissues[place][depth_mm - 3.0 * (fine[place] < 0.4) > 3.5] = ids.OESOPHAGUS_AIR
    for content in (ids.STOMACH_CONTENT, ids.FAECES):
        _fill_gas(tissues, content)


def _depth(mask, spacing_mm):
    """Box around a mask, and the depth (mm) below its surface there, 0 outside."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found:
        return (slice(0, 0),) * 3, np.zeros((0, 0, 0))
    box = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in found[0])
    return box, ndimage.distance_transform_edt(mask[box], sampling=spacing_mm)


def _fill_gas(tissues, content):
    """Gas instead of the content in the front third of each slice of an organ."""
    mask = tissues == content
    count = mask.sum(axis=1, keepdims=True)
    tissues[mask & (np.cumsum(mask, axis=1) > 0.65 * count) & (count > 8)] = ids.GAS


def _add_body(tissues, spacing_mm, fat_mm, slow):
    """Muscle, fat and skin around and between what the label map names."""
    outside_mm = _body_distance(tissues > 0, spacing_mm)
    empty = tissues == ids.OUTSIDE
    fat_mm = fat_mm * (1.0 + 0.2 * slow)
    for limit_mm, tissue in (
        (fat_mm + SKIN_MM + 6.0, ids.SKIN),
        (fat_mm + 6.0, ids.FAT),
        (6.0, ids.MUSCLE),
        (6.0 - WALL_MM, ids.FAT),
    ):
        tissues[empty & (outside_mm < limit_mm)] = tissue


def _body_distance(named, spacing_mm):
    """Signed distance (mm) to the closing of a mask, from a grid about 6 mm wide."""
    step = max(2 ** round(np.log2(6.0 / spacing_mm)), 1)
    pad = int(np.ceil(_CLOSING_MM / (step * spacing_mm))) + 1
    coarse = _any_in_blocks(named, step)
    coarse = np.pad(coarse, ((pad, pad), (pad, pad), (0, 0)))
    coarse = np.pad(coarse, ((0, 0), (0, 0), (pad, pad)), mode="edge")
    edge = step * spacing_mm
    grown = ndimage.distance_transform_edt(~coarse, sampling=edge) <= _CLOSING_MM
    inner = ndimage.distance_transform_edt(grown, sampling=edge) - _CLOSING_MM
    field = ndimage.gaussian_filter(-inner, 1.0)
    keep = tuple(slice(pad - 1, n - pad + 1) for n in field.shape)
    field = field[keep]
    while step > 1:
        field, step = refine(field), step // 2
        field = np.pad(field, 1, mode="edge") if step > 1 else field
    x, y, z = named.shape
    return field[:x, :y, :z]


def _any_in_blocks(mask, step):
    """Whether any voxel in each block of `step` voxels is set; edges are filled up."""
    mask = np.pad(mask, [(0, -n % step) for n in mask.shape])
    x, y, z = (n // step for n in mask.shape)
    return mask.reshape(x, step, y, step, z, step).any(axis=(1, 3, 5))
