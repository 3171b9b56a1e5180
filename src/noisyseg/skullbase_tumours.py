"""Vestibular schwannomas: out of the inner ear canal into the cistern.

A tumour is drawn once (`draw`: plain numbers) and painted (`paint`). A small one lies
in the canal; a larger one widens its opening, grows into the cistern as a ball and
pushes the brain stem and the cerebellum aside, the skull never.
"""

from dataclasses import dataclass

import numpy as np

from noisyseg import skullbase_ears as ears
from noisyseg import skullbase_tissues as ids
from noisyseg import tissues
from noisyseg.shapes import ellipsoid, join, tube

MEDIAN_ML, LOG_DEVIATION = 1.1, 1.15
LIMITS_ML = (0.04, 9.8)
CANAL_ML = 0.13  # what lies in the canal of a tumour that also fills the cistern
MEDIAL = np.array([-0.84, -0.54, 0.0])  # from the opening into the cistern
_BRAIN = (tissues.WHITE, tissues.CORTEX, tissues.CEREBELLUM, tissues.VENTRICLE)


@dataclass(frozen=True)
class Schwannoma:
    """All that makes one schwannoma differ from another."""

    seed: int
    right: int  # 1 right, 0 left
    volume_ml: float
    lift_mm: float  # how far above the canal the ball in the cistern lies
    stretch: float  # length along the petrous bone over width
    ragged: float  # SD of the surface, share of the radius
    reach: float  # how far into the canal it goes: 0 opening, 1 its end
    loose: float  # share of loose, less enhancing tissue
    cystic: float  # share of cysts

    @property
    def koos(self):
        """Grade after Koos, by size alone: 1 in the canal to 4 pressing on the stem."""
        edges_ml = (CANAL_ML, 0.9, 3.5)
        return 1 + sum(self.volume_ml > edge for edge in edges_ml)

    @property
    def radius_mm(self):
        """Of the ball in the cistern; 0 when there is none."""
        outside = max(self.volume_ml - CANAL_ML, 0.0) * 1000.0
        return float(np.cbrt(0.75 * outside / np.pi))


def draw(rng):
    """Schwannoma of one random person, 0.04 to 9.8 mL, half of them above 1.1 mL.

    Parameters
    ----------
    rng : np.random.Generator

    Returns
    -------
    Schwannoma
    """
    seed, right = int(rng.integers(2**31)), int(rng.integers(2))
    low, high = LIMITS_ML
    volume_ml = 0.0
    while not low <= volume_ml <= high:
        volume_ml = MEDIAN_ML * np.exp(LOG_DEVIATION * rng.standard_normal())
    large = min(volume_ml / 3.0, 1.0)
    return Schwannoma(
        seed=seed,
        right=right,
        volume_ml=float(volume_ml),
        lift_mm=float(1.5 * np.clip(rng.standard_normal(), -2.0, 2.0)),
        stretch=float(rng.uniform(1.0, 1.3)),
        ragged=float(rng.uniform(0.05, 0.12)),
        reach=float(rng.uniform(0.55, 1.0)),
        loose=float(large * rng.uniform(0.0, 0.5)),
        cystic=float((rng.uniform() < 0.45 * large) * rng.uniform(0.1, 0.4)),
    )


def middle_mm(tumour):
    """Middle of the ball in the cistern, in the coordinates of `skullbase_ears`."""
    lift = np.array([0.0, 0.0, tumour.lift_mm * min(tumour.radius_mm / 8.0, 1.0)])
    return np.array(ears.PORUS_MM) + 0.65 * tumour.radius_mm * MEDIAL + lift


def pushed(at, tumour):
    """Where the brain at each place was before the tumour grew.

    A ball that grows in a soft solid moves what lies around it outward and keeps its
    volume: what is r away was (r^3 - a^3)^(1/3) away. The cistern gives way first, so
    that a^3 is two thirds of that of the tumour.

    Parameters
    ----------
    at : triple of float64 arrays, mm, x signed
    tumour : Schwannoma

    Returns
    -------
    list of three float64 arrays
    """
    side = 1.0 if tumour.right else -1.0
    centre = middle_mm(tumour) * [side, 1.0, 1.0]
    apart = [a - c for a, c in zip(at, centre, strict=True)]
    cube = sum(a * a for a in apart) ** 1.5 + 1e-9
    grown = 0.67 * tumour.radius_mm**3
    share = np.cbrt(np.maximum(cube - grown, 0.02 * cube) / cube)
    return [c + share * a for a, c in zip(apart, centre, strict=True)]


def reach_mm(tumour):
    """Limits (x, y, z of the right ear's side, mm) of a box that holds the tumour."""
    ends = np.stack([middle_mm(tumour), ears.PORUS_MM, ears.FUNDUS_MM])
    room = 1.7 * tumour.radius_mm + 4.0
    low, high = ends[0] - room, ends[0] + room
    low = np.minimum(low, ends.min(axis=0) - 5.0)
    high = np.maximum(high, ends.max(axis=0) + 5.0)
    low[0] = max(low[0], 0.0)
    return tuple(np.column_stack([low, high]).ravel().tolist())


def paint(labels, at, tumour, ear, how):
    """Writes a schwannoma of exactly its volume, and a cleft of fluid around it.

    Parameters
    ----------
    labels : uint8 array (X, Y, Z), changed in place
    at : triple of float64 arrays (X, Y, Z)
        mm, of the tumour's side, as from `skullbase_ears.placed`.
    tumour : Schwannoma
    ear : skullbase_ears.Ear
        Of that side.
    how : dict
        inner: signed distance (mm) to the inside of the skull; rough, patches: smooth
        noise of SD 1; voxel_ml: volume of a tissue voxel; all but the last arrays
        (X, Y, Z).
    """
    level = _level(at, tumour) + tumour.ragged * how["rough"] * _scale_mm(tumour)
    canal = ears.canal_field(at, ear)
    widened = 0.4 + 0.12 * tumour.radius_mm
    past = _beyond_reach(at, tumour)
    space = (how["inner"] < -0.2) | ((canal < widened) & ~past)
    space &= ~np.isin(labels, (ids.DUCT, ids.MODIOLUS, ids.LYMPH))
    count = max(round(tumour.volume_ml / how["voxel_ml"]), 1)
    values = np.sort(level[space])
    edge = values[min(count, len(values)) - 1]
    mass = space & (level <= edge)
    cleft = (level > edge) & (level < edge + 0.8) & np.isin(labels, _BRAIN)
    labels[cleft] = tissues.FLUID
    labels[mass] = ids.SCHWANNOMA
    core = mass & (level < edge - 1.5) & (how["inner"] < -1.5)
    _paint_core(labels, core, tumour, how["patches"])


def _scale_mm(tumour):
    return max(tumour.radius_mm, 2.0)


def _level(at, tumour):
    """Signed distance (mm) to a plug in the canal and a ball before its opening."""
    porus, fundus = np.array(ears.PORUS_MM), np.array(ears.FUNDUS_MM)
    deep = porus + tumour.reach * (fundus - porus)
    if not tumour.radius_mm:
        start = porus + 0.25 * (fundus - porus)
        return tube(at, [tuple(start), tuple(deep)], [2.0, 2.0])
    plug = tube(at, [tuple(porus), tuple(deep)], [2.6, 2.2])
    r, s = tumour.radius_mm, tumour.stretch
    ball = ellipsoid(at, middle_mm(tumour), (r / s**0.5, r * s**0.5, r))
    return join(ball, plug, 0.3 * r)


def _beyond_reach(at, tumour):
    """Whether a place lies deeper in the canal than the tumour goes."""
    porus, fundus = np.array(ears.PORUS_MM), np.array(ears.FUNDUS_MM)
    axis = fundus - porus
    along = sum((a - p) * d for a, p, d in zip(at, porus, axis, strict=True))
    return along / np.sum(axis * axis) > max(tumour.reach, 0.45) + 0.1


def _paint_core(labels, core, tumour, patches):
    """Writes loose tissue where the noise is low, cysts where it is high."""
    order = np.sort(patches[core])
    if not len(order):
        return
    low, high = (
        int(share * (len(order) - 1)) for share in (tumour.loose, tumour.cystic)
    )
    labels[core & (patches < order[low])] = ids.LOOSE
    labels[core & (patches > order[-1 - high])] = ids.CYST
