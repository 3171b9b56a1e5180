"""MR physics: from a tissue map to T1- and T2-weighted images.

Each tissue has a proton density and relaxation times for 3 T (`tissues`); a sequence
turns them into signal by its equation; the point spread mixes signals across borders
(partial volume); coils add a smooth bias field, thermal noise makes the magnitude
Rician. Nothing else: what is hard in these images is hard for these reasons.
"""

from dataclasses import dataclass

import numpy as np

from noisyseg import tissues as ids
from noisyseg.tissues import TISSUES


@dataclass(frozen=True)
class InversionRecovery:
    """A gradient-echo train read out once after each inversion (MPRAGE)."""

    name: str
    repetition_ms: float
    inversion_ms: float
    echo_ms: float
    flip_deg: float
    echo_spacing_ms: float
    echoes: int

    def signal(self, density, t1_ms, t2_ms, t2star_ms):
        """Transverse magnetisation when the centre of k-space is read.

        The steady state of inversion, recovery, `echoes` excitations of `flip_deg` and
        recovery (Deichmann 2000, NeuroImage 12:112; Mugler and Brookeman 1990, MRM
        15:152). Between excitations the magnetisation approaches its driven
        equilibrium with the factor cos(flip) exp(-echo_spacing / T1).
        """
        flip = np.deg2rad(self.flip_deg)
        step = np.exp(-self.echo_spacing_ms / t1_ms)
        keep = np.cos(flip) * step
        driven = (1 - step) / (1 - keep)
        half, full = keep ** (self.echoes / 2), keep**self.echoes
        train_ms = self.echoes * self.echo_spacing_ms
        before = np.exp(-(self.inversion_ms - train_ms / 2) / t1_ms)
        rest_ms = self.repetition_ms - self.inversion_ms - train_ms / 2
        after = np.exp(-rest_ms / t1_ms)
        # end = 1 - after + after (driven (1 - full) + full (1 - before - before end))
        end = 1 - after + after * (driven * (1 - full) + full * (1 - before))
        end = end / (1 + after * full * before)
        start = 1 - before - before * end
        centre = driven * (1 - half) + start * half
        decay = np.exp(-self.echo_ms / t2star_ms)
        return density * np.sin(flip) * np.abs(centre) * decay


@dataclass(frozen=True)
class SpinEcho:
    """A spin-echo train with the contrast of one echo at `echo_ms` (TSE, SPACE)."""

    name: str
    repetition_ms: float
    echo_ms: float

    def signal(self, density, t1_ms, t2_ms, t2star_ms):
        """Transverse magnetisation at the echo: saturation recovery and T2 decay."""
        rest_ms = self.repetition_ms - self.echo_ms / 2
        half = np.exp(-rest_ms / t1_ms)
        recovery = 1 - 2 * half + np.exp(-self.repetition_ms / t1_ms)
        return density * recovery * np.exp(-self.echo_ms / t2_ms)


T1W = InversionRecovery("T1w", 2250, 900, 2.98, 9, 7.0, 176)
T2W = SpinEcho("T2w", 2800, 105)
"""Sequences with the timing of Cam-CAN (SPACE: its effective echo time)."""


@dataclass(frozen=True)
class Imperfection:
    """How far the scanner is from ideal; zeros give the ideal image."""

    snr: float = 28.0  # white matter signal over noise SD; 0 means no noise
    bias: float = 0.10  # SD of the log of the bias field
    relaxation: float = 0.02  # SD of the log of T1 and T2 between subjects
    point_spread_vox: float = 0.9  # full width at half maximum, image voxels


def acquire(tissues, sequence, spacing_mm, image_spacing_mm, rng, how=None):
    """Image of a tissue map: signal, point spread, bias field, Rician noise.

    Parameters
    ----------
    tissues : uint8 array of shape (X, Y, Z)
        Tissue numbers on the fine grid.
    sequence : InversionRecovery or SpinEcho
    spacing_mm, image_spacing_mm : float
        Edges of a tissue voxel and of an image voxel, a whole multiple of it.
    rng : np.random.Generator
    how : Imperfection, optional

    Returns
    -------
    int16 array of shape (X / r, Y / r, Z / r), r = image_spacing_mm / spacing_mm
        White matter lies near 1000.

    Raises
    ------
    ValueError
        When r is not whole or does not divide the shape.
    """
    how = how or Imperfection()
    ratio = _ratio(tissues.shape, spacing_mm, image_spacing_mm)
    levels = signals(sequence, how.relaxation, rng)
    planes = (levels[plane] for plane in tissues)
    image = spread(planes, ratio, how.point_spread_vox)
    image *= bias_field(image.shape, how.bias, rng)
    if how.snr:
        image = add_rician_noise(image, 1000.0 / how.snr, rng)
    return np.clip(np.rint(image), 0, 32767).astype(np.int16)


def signals(sequence, variation, rng):
    """Signal of every tissue, white matter near 1000, float64 array (tissues,).

    `variation` is the SD of the log of T1 and T2 between subjects.
    """
    levels = np.zeros(len(TISSUES))
    for number, t in enumerate(TISSUES):
        v1, v2 = np.exp(variation * rng.standard_normal(2))
        levels[number] = sequence.signal(
            t.density, v1 * t.t1_ms, v2 * t.t2_ms, v2 * t.t2star_ms
        )
    white = TISSUES[ids.WHITE]
    level = sequence.signal(white.density, white.t1_ms, white.t2_ms, white.t2star_ms)
    return levels * (1000.0 / level)


def spread(signal, ratio, width_vox):
    """The signal on a grid `ratio` times coarser, blurred by the point spread.

    A separable Gaussian of full width `width_vox` image voxels, read at the centres of
    the image voxels; 0 gives the plain mean over each voxel.

    Parameters
    ----------
    signal : float64 array (X, Y, Z), or an iterable of its planes (Y, Z)
    ratio : int
    width_vox : float

    Examples
    --------
    >>> half_filled = np.repeat([0.0, 6.0], 4).reshape(8, 1, 1) * np.ones((8, 8, 8))
    >>> float(spread(half_filled[1:-1, :6, :6], 2, 0.0)[1, 0, 0])
    3.0
    """
    kernel = _kernel(ratio, width_vox)
    planes = [_thin(_thin(p, 1, ratio, *kernel), 0, ratio, *kernel) for p in signal]
    return _thin(np.stack(planes), 0, ratio, *kernel)


def _kernel(ratio, width_vox):
    """Offsets (tissue voxels from a voxel's first) and weights of the point spread."""
    if not width_vox:
        return np.arange(ratio), np.full(ratio, 1.0 / ratio)
    sigma = width_vox * ratio / 2.3548200450309493
    reach = int(np.ceil(2.0 * sigma))
    offsets = np.arange(-reach, ratio + reach)
    weights = np.exp(-0.5 * ((offsets - (ratio - 1) / 2) / sigma) ** 2)
    return offsets, weights / weights.sum()


def _thin(signal, axis, ratio, offsets, weights):
    pad = [(0, 0)] * signal.ndim
    pad[axis] = (int(max(-offsets[0], 0)), int(max(offsets[-1], 0)))
    padded = np.moveaxis(np.pad(signal, pad, mode="edge"), axis, 0)
    count = signal.shape[axis] // ratio
    total = 0.0
    for offset, weight in zip(offsets + pad[axis][0], weights, strict=True):
        total = total + weight * padded[offset : offset + ratio * count : ratio][:count]
    return np.moveaxis(total, 0, axis)


def bias_field(shape, deviation, rng):
    """Smooth multiplicative field, the exponential of a few slow cosines.

    Parameters
    ----------
    shape : triple of int
    deviation : float
        SD of its logarithm, about; 0 gives ones.
    rng : np.random.Generator

    Returns
    -------
    float64 array of `shape`, mean of the logarithm 0
    """
    waves = [
        [np.cos(np.pi * k * (np.arange(n) + 0.5) / n) for k in range(4)] for n in shape
    ]
    x, y, z = waves
    log = np.zeros(shape)
    for i, j, k in np.ndindex(4, 4, 4):
        weight = rng.standard_normal()
        if 0 < i + j + k < 4:
            plane = (weight / (i + j + k)) * np.multiply.outer(y[j], z[k])
            log += x[i][:, None, None] * plane
    return np.exp(deviation * log)


def add_rician_noise(image, sigma, rng):
    """Magnitude of the image with Gaussian noise in both channels.

    Parameters
    ----------
    image : float64 array, never negative
    sigma : float
        SD of the noise of one channel; where the image is 0 the mean of the result is
        sigma sqrt(pi / 2).
    rng : np.random.Generator
    """
    real = image + sigma * rng.standard_normal(image.shape)
    imaginary = sigma * rng.standard_normal(image.shape)
    return np.sqrt(real * real + imaginary * imaginary)


def to_classes(tissues):
    """Nine-class labels (uint8) of a tissue map."""
    return ids.CLASS[tissues]


def majority(labels, ratio):
    """Labels on a grid `ratio` times coarser: the most frequent one in each voxel.

    Ties go to the label of the voxel next to the centre, so that no class gains.

    Parameters
    ----------
    labels : uint8 array (X, Y, Z), a small number of values
    ratio : int

    Examples
    --------
    >>> labels = np.array([1, 1, 2, 1, 3, 3, 3, 3], np.uint8).reshape(2, 2, 2)
    >>> majority(labels, 2).item()
    3
    """
    if ratio == 1:
        return labels.copy()
    slabs = (labels[i : i + ratio] for i in range(0, len(labels), ratio))
    return np.concatenate([_slab_majority(slab, ratio) for slab in slabs])


def _slab_majority(labels, ratio):
    half = ratio // 2
    middle = labels[half::ratio, half::ratio, half::ratio]
    winner, most = middle.copy(), np.zeros(middle.shape, np.uint16)
    for value in np.flatnonzero(np.bincount(labels.ravel())):
        hits = (labels == value).view(np.uint8)
        count = 2 * _block_sum(hits, ratio).astype(np.uint16) + (middle == value)
        better = count > most
        winner[better] = value
        most[better] = count[better]
    return winner


def _block_sum(mask, ratio):
    for axis in range(2, -1, -1):
        parts = np.moveaxis(mask, axis, 0)
        total = parts[0::ratio].copy()
        for offset in range(1, ratio):
            total += parts[offset::ratio]
        mask = np.moveaxis(total, 0, axis)
    return mask


def truth(tissues, spacing_mm, image_spacing_mm):
    """Nine-class labels of a tissue map on the image grid, by majority (uint8)."""
    ratio = _ratio(tissues.shape, spacing_mm, image_spacing_mm)
    return majority(to_classes(tissues), ratio)


def _ratio(shape, spacing_mm, image_spacing_mm):
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
