"""Digital torsos: a random anatomy, and the tissue map it describes.

A torso is drawn once (`draw`: a dataclass of plain numbers, so it can be tabulated and
replayed) and rendered on any grid (`render`), from the arch of the aorta to its
bifurcation. Shapes stand in the frame of an average torso with a straight spine
(`torso_walls`, `torso_organs`, `torso_gut`, `torso_targets`); each subject has its own
size, pose, spine, smooth warp, fat and organs.
"""

from dataclasses import dataclass

import numpy as np

from noisyseg import torso_gut, torso_organs, torso_targets, torso_walls
from noisyseg import torso_tissues as ids
from noisyseg.shapes import ramp, slow_noise
from noisyseg.torso_painting import paint_parts

CENTRE_MM = (0.0, 32.0, 54.0)
"""Middle of every field of view, mm from the centre of the first lumbar vertebra."""
PARTS = torso_walls.PARTS + torso_organs.PARTS + torso_gut.PARTS
PARTS += torso_organs.VESSELS + torso_targets.PARTS
_NOISES = {"slow": 36.0, "septa": 18.0, "fine": 9.0, "a": 15.0, "b": 15.0}
_CURVE_Z = (-110, -60, 0, 50, 88, 107, 127, 146, 166, 185, 205, 224, 250)
_CURVE_MM = (-3, -2, 0, -4, -8, -11, -13, -15, -15, -13, -10, -4, 8)


@dataclass(frozen=True)
class Torso:
    """All that makes one torso differ from another; lengths in mm, angles in rad.

    `phase` counts `torso_tissues.PHASES`; what has no unit is a scale around 1. Kidneys
    have a centre, half-axes (across, front to back, along) and turns (upper pole to the
    middle, upper pole to the back, hilum to the front).
    """

    seed: int
    phase: int
    female: int
    age_years: float
    size: tuple[float, float, float]
    tilt_rad: tuple[float, float]
    shift_mm: tuple[float, float, float]
    warp_mm: float
    kyphosis: float
    lordosis_mm: float
    scoliosis_mm: float
    rib_slope: float
    skin_mm: float
    fat_mm: float
    visceral_mm: float
    perirenal_mm: float
    breast: float
    muscle: float
    breath_mm: float
    heart: float
    liver: float
    spleen: float
    stomach: float
    colon: float
    transverse_mm: float
    gas: float
    gas_level_mm: float
    cava: float
    kidney_left_mm: tuple[float, float, float]
    kidney_right_mm: tuple[float, float, float]
    kidney_left_half_mm: tuple[float, float, float]
    kidney_right_half_mm: tuple[float, float, float]
    kidney_left_rad: tuple[float, float, float]
    kidney_right_rad: tuple[float, float, float]
    cortex_mm: float
    pyramid_mm: float
    aorta_mm: float
    taper: float
    aorta_wander_mm: tuple[float, float, float, float]
    oesophagus_mm: float
    oesophagus_flat: float
    oesophagus_shift_mm: tuple[float, float, float, float]
    air: float


def draw(rng):
    """Anatomy of one random adult torso.

    Parameters
    ----------
    rng : np.random.Generator

    Returns
    -------
    Torso
    """
    female, age = int(rng.integers(2)), float(rng.uniform())  # age 0 young, 1 old
    body = _around(rng, 1.02 - 0.07 * female, 0.035)
    stout = float(rng.uniform()) ** 1.5
    kidney = _around(rng, 1.015 - 0.04 * age, 0.03) / np.sqrt(body)
    breath_mm = _around(rng, 0.0, 5.0)
    return Torso(
        female=female,
        age_years=22.0 + 60.0 * age,
        breath_mm=breath_mm,
        **_draw_trunk(rng, female, age, body, stout),
        **_draw_organs(rng, age),
        **_draw_kidneys(rng, kidney, breath_mm),
        **_draw_tubes(rng, female, age),
    )


def _around(rng, mean, deviation, reach=2.0):
    return float(mean + deviation * np.clip(rng.standard_normal(), -reach, reach))


def _several(rng, *pairs):
    return tuple(_around(rng, *pair) for pair in pairs)


def _draw_trunk(rng, female, age, body, stout):
    """Size, pose, spine and the layers of the wall."""
    return dict(
        seed=int(rng.integers(2**31)),
        phase=int(rng.integers(len(ids.PHASES))),
        size=tuple(body * _around(rng, 1.0, 0.02) for _ in range(3)),
        tilt_rad=_several(rng, (0.0, 0.03), (0.0, 0.03)),
        shift_mm=_several(rng, (0.0, 5.0), (0.0, 4.0), (0.0, 8.0)),
        warp_mm=_around(rng, 2.2, 0.3),
        kyphosis=_around(rng, 1.0, 0.35),
        lordosis_mm=_around(rng, 6.0, 5.0),
        scoliosis_mm=_around(rng, 0.0, 3.0),
        rib_slope=_around(rng, 0.72, 0.06),
        skin_mm=_around(rng, 2.0, 0.2),
        fat_mm=_around(rng, 7.0 + 4.0 * female + 20.0 * stout, 2.0),
        visceral_mm=_around(rng, 2.0 + 26.0 * stout - 4.0 * female, 3.0),
        perirenal_mm=_around(rng, 4.0 + 7.0 * stout, 1.0),
        breast=female * _around(rng, 0.86, 0.05),
        muscle=_around(rng, 1.02 - 0.08 * female - 0.06 * age, 0.06),
    )


def _draw_organs(rng, age):
    """Scales of the organs that are only background."""
    return dict(
        heart=_around(rng, 1.0 + 0.06 * age, 0.05),
        liver=_around(rng, 1.04, 0.04),
        spleen=_around(rng, 1.18, 0.10),
        stomach=_around(rng, 0.98, 0.14),
        colon=_around(rng, 1.0, 0.12),
        transverse_mm=_around(rng, -50.0, 18.0),
        gas=float(rng.uniform()),
        gas_level_mm=_around(rng, 76.0, 12.0),
        cava=_around(rng, 1.0, 0.12),
    )


def _draw_kidneys(rng, kidney, breath_mm):
    """Place, size and turn of the kidneys; `kidney` scales their size."""
    half_mm = [(31.0 * kidney, 0.9), (25.5 * kidney, 0.7), (56.5 * kidney, 1.5)]
    rad = [(0.30, 0.08), (0.22, 0.08), (0.60, 0.15)]
    return dict(
        kidney_left_mm=_several(rng, (-66, 4), (-8, 4), (-12 + 0.7 * breath_mm, 9)),
        kidney_right_mm=_several(rng, (66, 4), (-9, 4), (-27 + 0.7 * breath_mm, 9)),
        kidney_left_half_mm=_several(rng, *half_mm),
        kidney_right_half_mm=_several(rng, *half_mm),
        kidney_left_rad=_several(rng, *rad),
        kidney_right_rad=_several(rng, *rad),
        cortex_mm=_around(rng, 7.0, 0.7),
        pyramid_mm=_around(rng, 19.0, 2.0),
    )


def _draw_tubes(rng, female, age):
    """Width and course of aorta and oesophagus."""
    return dict(
        aorta_mm=_around(rng, 10.9 + 1.6 * age - 0.8 * female, 0.6),
        taper=_around(rng, 1.02, 0.05),
        aorta_wander_mm=_several(
            rng, (0, 1 + 3 * age), (0, 2), (0, 1 + 2 * age), (0, 1)
        ),
        oesophagus_mm=_around(rng, 7.4, 0.45),
        oesophagus_flat=_around(rng, 1.25, 0.06),
        oesophagus_shift_mm=_several(rng, (0, 2), (1, 1), (0, 2), (1, 1)),
        air=_around(rng, 0.0, 0.12),
    )


def origin_mm(shape, spacing_mm):
    """Position (mm, RAS+) of the centre of the first voxel of a grid around a torso.

    >>> origin_mm((120, 88, 112), 3.0)
    (-178.5, -98.5, -112.5)
    """
    return tuple(
        c - 0.5 * (n - 1) * spacing_mm for c, n in zip(CENTRE_MM, shape, strict=True)
    )


def render(torso, shape, spacing_mm):
    """Tissue map of a torso, air outside = 0.

    Parameters
    ----------
    torso : Torso
    shape : triple of even int
        Voxels of the tissue grid, placed around the torso (`origin_mm`).
    spacing_mm : float
        Edge of a tissue voxel, about 1.5 (3 gives a coarse torso for tests).

    Returns
    -------
    uint8 array of `shape`, RAS+, values of `torso_tissues`
    """
    shape = check_shape(shape, spacing_mm)
    rng = np.random.default_rng(np.random.SeedSequence(torso.seed))
    nodes = [
        start + spacing_mm * (2.0 * np.arange(-1, n // 2 + 1) + 0.5)
        for start, n in zip(origin_mm(shape, spacing_mm), shape, strict=True)
    ]
    fields = {n: slow_noise(rng, nodes, mm) for n, mm in _NOISES.items()}
    fields |= _template(torso, nodes, rng)
    labels = np.zeros(shape, np.uint8)
    paint_parts(labels, fields, PARTS, torso)
    return labels


def check_shape(shape, spacing_mm):
    """The shape as three int; ValueError unless even and at least 16, spacing > 0."""
    if len(shape) != 3 or any(int(n) != n or n < 16 or n % 2 for n in shape):
        raise ValueError(
            f"shape must be three even numbers of at least 16, got {tuple(shape)}; "
            "e.g. (240, 176, 224) at 1.5 mm"
        )
    if not spacing_mm > 0:
        raise ValueError(f"spacing_mm must be positive, got {spacing_mm}; e.g. 1.5")
    return tuple(int(n) for n in shape)


def _template(torso, nodes, rng):
    """Coordinates of the average torso at the coarse nodes: x, y, z."""
    x, y, z = np.meshgrid(*nodes, indexing="ij", sparse=True)
    x, y, z = (a - s for a, s in zip((x, y, z), torso.shift_mm, strict=True))
    (cos, sin), (c, s) = ((np.cos(a), np.sin(a)) for a in torso.tilt_rad)
    x, y = cos * x + sin * y, cos * y - sin * x
    y, z = c * y + s * z, c * z - s * y
    x, y, z = (a / scale for a, scale in zip((x, y, z), torso.size, strict=True))
    y = y - torso.kyphosis * np.interp(z, _CURVE_Z, _CURVE_MM)
    y = y - torso.lordosis_mm * ramp(-z, -20.0, 75.0)
    bend = ramp(z, -60.0, 90.0)
    x = x - 4.0 * torso.scoliosis_mm * bend * (1.0 - bend)
    return {
        name: a + torso.warp_mm * slow_noise(rng, nodes, 42.0)
        for name, a in zip("xyz", (x, y, z), strict=True)
    }
