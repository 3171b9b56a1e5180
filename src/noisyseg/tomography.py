"""Computed tomography: from a tissue map of a torso to Hounsfield units.

Each tissue has a mean HU for the contrast phase and a grain (`torso_tissues`); the
point spread mixes them across borders (partial volume); what filtered back projection
leaves of the quantum noise is band-passed within slices and nearly white across them.
"""

import numpy as np
from scipy import ndimage

from noisyseg import torso_tissues as ids
from noisyseg.physics import spread
from noisyseg.shapes import slow_noise

LOWEST_HU, HIGHEST_HU = -1024, 3071
POINT_SPREAD_VOX = 0.9  # full width at half maximum, image voxels
GRAIN_MM = 9.0  # length over which the grain of a tissue changes
_FINE_MM, _COARSE_MM = 0.8, 2.6  # Gaussians whose difference is the noise


def acquire(
    tissues, spacing_mm, image_spacing_mm, rng, *, phase, noise_hu=12.0, variation=1.0
):
    """CT image of a tissue map: attenuation, grain, point spread, correlated noise.

    Parameters
    ----------
    tissues : uint8 array of shape (X, Y, Z)
        Tissue numbers (`torso_tissues`) on the fine grid.
    spacing_mm, image_spacing_mm : float
        Edges of a tissue voxel and of an image voxel, a whole multiple of it.
    rng : np.random.Generator
    phase : str
        One of `torso_tissues.PHASES`.
    noise_hu : float
        SD of the noise in an image voxel; 0 means none.
    variation : float
        1 for the usual spread between and within subjects, 0 for the table's means.

    Returns
    -------
    int16 array of shape (X / r, Y / r, Z / r), r = image_spacing_mm / spacing_mm
        HU, clipped to [-1024, 3071].

    Raises
    ------
    ValueError
        When r is not whole or does not divide the shape; for an unknown phase.
    """
    ratio = whole_ratio(tissues.shape, spacing_mm, image_spacing_mm)
    levels_hu = levels(phase, variation, rng)
    image = spread((levels_hu[p] for p in tissues), ratio, POINT_SPREAD_VOX)
    if variation:
        grains_hu = variation * np.array([t.texture_hu for t in ids.TISSUES], float)
        amount = spread((grains_hu[p] for p in tissues), ratio, POINT_SPREAD_VOX)
        axes_mm = [image_spacing_mm * np.arange(n) for n in image.shape]
        image += amount * slow_noise(rng, axes_mm, GRAIN_MM)
    if noise_hu:
        image += noise_hu * noise(image.shape, image_spacing_mm, rng)
    return np.clip(np.rint(image), LOWEST_HU, HIGHEST_HU).astype(np.int16)


def levels(phase, variation, rng):
    """Mean HU of every tissue in one subject, float64 array (tissues,).

    What the contrast medium adds is scaled by one factor for all tissues (dose, weight,
    heart), then every tissue varies by its own `spread_hu`; both times `variation`.
    Tissues of one structure and one mean, such as both kidneys, vary together.
    """
    if phase not in ids.PHASES:
        known = ", ".join(ids.PHASES)
        raise ValueError(f"phase must be one of {known}, got {phase!r}; correct it")
    dose = np.exp(0.18 * variation * rng.standard_normal())
    drawn, result = {}, np.zeros(len(ids.TISSUES))
    for number, tissue in enumerate(ids.TISSUES):
        step = variation * tissue.spread_hu * rng.standard_normal()
        step = drawn.setdefault(tissue.hu, step)
        plain, now = tissue.hu[0], tissue.hu[ids.PHASES.index(phase)]
        result[number] = plain + dose * (now - plain) + step
    return result


def noise(shape, spacing_mm, rng):
    """Correlated noise of mean 0 and SD 1, float64 array of `shape`.

    Within slices (x, y) the difference of two Gaussian smoothings of white noise: low
    frequencies are missing, as the ramp filter leaves them; across slices only a little
    smoothing.
    """
    white = rng.standard_normal(shape)
    fine, coarse = (
        ndimage.gaussian_filter(white, (mm / spacing_mm, mm / spacing_mm, 0.3))
        for mm in (_FINE_MM, _COARSE_MM)
    )
    band = fine - 0.65 * coarse
    band -= band.mean()
    return band / np.sqrt(np.mean(band * band))


def structures(tissues, ratio):
    """Masks of the structures on a grid `ratio` times coarser.

    A voxel belongs to a structure when at least half of its volume does; where two
    structures share a voxel evenly, to the first of `torso_tissues.STRUCTURES`.

    Parameters
    ----------
    tissues : uint8 array (X, Y, Z), values of `torso_tissues`
    ratio : int
        Must divide the shape.

    Returns
    -------
    dict of name to bool array (X / ratio, Y / ratio, Z / ratio), disjoint
    """
    whole_ratio(tissues.shape, 1.0, float(ratio))
    masks, taken = {}, None
    for name in ids.STRUCTURES:
        table = np.zeros(256, bool)
        table[ids.belonging(name)] = True
        mask = 2 * _counts(table[tissues], ratio) >= ratio**3
        masks[name] = mask if taken is None else mask & ~taken
        taken = mask if taken is None else taken | mask
    return masks


def _counts(mask, ratio):
    """Number of fine voxels in each coarse voxel that the mask holds."""
    x, y, z = (n // ratio for n in mask.shape)
    parts = mask.reshape(x, ratio, y, ratio, z, ratio)
    return parts.sum(axis=(1, 3, 5), dtype=np.int64)


def whole_ratio(shape, spacing_mm, image_spacing_mm):
    """Tissue voxels along the edge of an image voxel, int.

    Raises
    ------
    ValueError
        When it is not whole, or does not divide the shape.

    >>> whole_ratio((8, 8, 8), 1.5, 3.0)
    2
    """
    ratio = round(image_spacing_mm / spacing_mm)
    if ratio < 1 or abs(ratio * spacing_mm - image_spacing_mm) > 1e-6 * spacing_mm:
        raise ValueError(
            f"image_spacing_mm must be a whole multiple of {spacing_mm}, got "
            f"{image_spacing_mm}; e.g. 2 x {spacing_mm}"
        )
    if any(n % ratio for n in shape):
        raise ValueError(
            f"shape must be divisible by {ratio}, got {tuple(shape)}; crop it"
        )
    return ratio
