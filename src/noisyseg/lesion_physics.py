"""MR physics for study `ace`: more sequences, the protocols of sites, acquisition.

As `physics`, for heads with lesions and with contrast medium. A site is a set of
protocols; sites differ in timing, noise, sharpness and coils as real ones do.
"""

from dataclasses import dataclass

import numpy as np

from noisyseg import lesion_tissues as ids
from noisyseg import physics, tissues
from noisyseg.lesion_tissues import TISSUES
from noisyseg.physics import Imperfection, InversionRecovery, SpinEcho


@dataclass(frozen=True)
class InversionSpinEcho:
    """A spin echo some time after an inversion, its magnitude (FLAIR, T1-IR)."""

    name: str
    repetition_ms: float
    inversion_ms: float
    echo_ms: float

    def signal(self, density, t1_ms, t2_ms, t2star_ms):
        """Transverse magnetisation at the echo: the steady state, then T2 decay.

        What a spin echo leaves after repetition - inversion is inverted, and recovers.
        """
        inverted = np.exp(-self.inversion_ms / t1_ms)
        echo = np.exp(-(self.repetition_ms - self.echo_ms / 2) / t1_ms)
        whole = np.exp(-self.repetition_ms / t1_ms)
        along = 1 - 2 * inverted + 2 * echo - whole
        return density * np.abs(along) * np.exp(-self.echo_ms / t2_ms)


@dataclass(frozen=True)
class SpoiledGradientEcho:
    """A spoiled gradient echo in its steady state (SFLASH)."""

    name: str
    repetition_ms: float
    echo_ms: float
    flip_deg: float

    def signal(self, density, t1_ms, t2_ms, t2star_ms):
        """Transverse magnetisation at the echo (Ernst's equation)."""
        flip, step = np.deg2rad(self.flip_deg), np.exp(-self.repetition_ms / t1_ms)
        along = (1 - step) / (1 - np.cos(flip) * step)
        return density * np.sin(flip) * along * np.exp(-self.echo_ms / t2star_ms)


@dataclass(frozen=True)
class Protocol:
    """How a site takes one modality."""

    sequence: InversionRecovery | SpinEcho | InversionSpinEcho | SpoiledGradientEcho
    how: Imperfection
    contrast: bool = False  # with contrast medium


def _protocol(sequence, snr, bias, point_spread_vox, contrast=False):
    how = Imperfection(snr, bias, point_spread_vox=point_spread_vox)
    return Protocol(sequence, how, contrast)


_MPRAGE = InversionRecovery
_BRATS_T1 = SpinEcho("T1w", 600, 11)
_TUMORSIM_T1 = SpoiledGradientEcho("T1w", 24, 8.0, 27)

# sequence, SNR, bias, point spread
SITES = {
    "utrecht": {
        "T1w": _protocol(_MPRAGE("T1w", 2500, 950, 4.5, 8, 7.9, 160), 26, 0.10, 0.9),
        "FLAIR": _protocol(InversionSpinEcho("FLAIR", 11000, 2800, 125), 22, 0.08, 1.0),
        "IR": _protocol(InversionSpinEcho("IR", 4416, 400, 15), 12, 0.12, 1.1),
    },
    "singapore": {
        "T1w": _protocol(_MPRAGE("T1w", 2300, 900, 1.9, 9, 6.5, 192), 30, 0.14, 0.9),
        "FLAIR": _protocol(InversionSpinEcho("FLAIR", 9000, 2500, 82), 26, 0.12, 1.1),
    },
    "amsterdam": {
        "T1w": _protocol(_MPRAGE("T1w", 2100, 800, 3.0, 12, 7.8, 166), 20, 0.12, 0.9),
        "FLAIR": _protocol(InversionSpinEcho("FLAIR", 8000, 2340, 126), 16, 0.10, 0.9),
    },
    "brainweb": {
        "T1w": _protocol(SpoiledGradientEcho("T1w", 22, 9.2, 30), 30, 0.06, 0.8),
    },
    "brats": {
        "T1w": _protocol(_BRATS_T1, 22, 0.12, 1.0),
        "T1ce": _protocol(_BRATS_T1, 22, 0.12, 1.0, True),
        "T2w": _protocol(SpinEcho("T2w", 4500, 100), 26, 0.10, 1.0),
        "FLAIR": _protocol(InversionSpinEcho("FLAIR", 9000, 2500, 115), 20, 0.10, 1.1),
    },
    "tumorsim": {
        "T1w": _protocol(_TUMORSIM_T1, 28, 0.08, 0.9),
        "T1ce": _protocol(_TUMORSIM_T1, 28, 0.08, 0.9, True),
        "T2w": _protocol(SpinEcho("T2w", 3500, 90), 28, 0.08, 0.9),
        "FLAIR": _protocol(InversionSpinEcho("FLAIR", 8000, 2400, 105), 22, 0.08, 1.0),
    },
}
"""Protocols by site and modality, in the manner of the data sets they stand for.

The repetition, inversion and echo times of FLAIR and IR at Utrecht are those of
MRBrainS (mrbrains18.isi.uu.nl/data); the rest is typical of such scanners, assumed.
"""


def relaxation(deviation, rng):
    """Factors of T1 and T2 of every tissue in one person, float64 (tissues, 2).

    `deviation` is the SD of their logarithms; one draw holds for all modalities.
    """
    return np.exp(deviation * rng.standard_normal((len(TISSUES), 2)))


def signals(protocol, factors):
    """Signal of every tissue, white matter without contrast medium near 1000.

    Parameters
    ----------
    protocol : Protocol
    factors : float64 array (tissues, 2)
        Of T1 and T2, as from `relaxation`; ones give the tissues as tabulated.

    Returns
    -------
    float64 array (tissues,)
    """
    levels = np.zeros(len(TISSUES))
    for number, (tissue, (v1, v2)) in enumerate(zip(TISSUES, factors, strict=True)):
        t1_ms = v1 * tissue.t1_ms
        if protocol.contrast:
            t1_ms = ids.after_contrast(number, t1_ms)
        levels[number] = protocol.sequence.signal(
            tissue.density, t1_ms, v2 * tissue.t2_ms, v2 * tissue.t2star_ms
        )
    white = TISSUES[tissues.WHITE]
    level = protocol.sequence.signal(
        white.density, white.t1_ms, white.t2_ms, white.t2star_ms
    )
    return levels * (1000.0 / level)


def acquire(labels, protocol, grid, factors, rng):
    """Image of a tissue map: signal, point spread, bias field, Rician noise.

    Parameters
    ----------
    labels : uint8 array of the shape `grid.tissue_shape`, numbers of `lesion_tissues`
    protocol : Protocol
    grid : grids.Grid
    factors : float64 array (tissues, 2), as from `relaxation`
    rng : np.random.Generator

    Returns
    -------
    int16 array of shape `grid.shape`; white matter lies near 1000
    """
    how, levels = protocol.how, signals(protocol, factors)
    ratio = round(grid.spacing_mm / grid.tissue_spacing_mm)
    planes = (levels[plane] for plane in labels)
    image = physics.spread(planes, ratio, how.point_spread_vox)
    image *= physics.bias_field(image.shape, how.bias, rng)
    if how.snr:
        image = physics.add_rician_noise(image, 1000.0 / how.snr, rng)
    return np.clip(np.rint(image), 0, 32767).astype(np.int16)
