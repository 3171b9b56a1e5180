"""MR physics for study `mind`: contrast-enhanced T1 and high-resolution T2.

As `lesion_physics`, for the tissues of the skull base and voxels that are no cubes.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from noisyseg import physics, tissues
from noisyseg import skullbase_tissues as ids
from noisyseg.physics import Imperfection, InversionRecovery
from noisyseg.skullbase_tissues import TISSUES


@dataclass(frozen=True)
class BalancedGradientEcho:
    """A balanced gradient echo in its steady state (CISS, FIESTA): fluid is bright."""

    name: str
    repetition_ms: float
    echo_ms: float
    flip_deg: float

    def signal(self, density, t1_ms, t2_ms, t2star_ms):
        """Transverse magnetisation at the echo, where dephasing is refocused."""
        flip = np.deg2rad(self.flip_deg)
        e1, e2 = (np.exp(-self.repetition_ms / t) for t in (t1_ms, t2_ms))
        steady = (1 - e1) / (1 - (e1 - e2) * np.cos(flip) - e1 * e2)
        return density * np.sin(flip) * steady * np.exp(-self.echo_ms / t2_ms)


@dataclass(frozen=True)
class Protocol:
    """How one modality is taken."""

    sequence: InversionRecovery | BalancedGradientEcho
    how: Imperfection
    contrast: bool = False  # with contrast medium


DOSE_DEVIATION = 0.15  # SD of the logarithm of the amount of contrast medium
_SNR, _BIAS = {"T1ce": 20.0, "T2w": 16.0}, 0.12
PROTOCOLS = {
    "T1ce": Protocol(
        InversionRecovery("T1ce", 1900, 1100, 2.97, 15, 6.0, 160),
        Imperfection(_SNR["T1ce"], _BIAS, relaxation=0.03),
        contrast=True,
    ),
    "T2w": Protocol(
        BalancedGradientEcho("T2w", 9.4, 4.23, 70),
        Imperfection(_SNR["T2w"], _BIAS, relaxation=0.03),
    ),
}
"""In the manner of the scans of crossMoDA 2021 (MPRAGE and CISS; Shapey et al. 2021,
Scientific Data 8:286), timing, noise and coils assumed to be typical of such scans."""


def signals(protocol, rng):
    """Signal of every tissue in one person, white matter near 1000.

    Parameters
    ----------
    protocol : Protocol
    rng : np.random.Generator
        Draws what T1 and T2 of every tissue deviate in this person, and how much
        contrast medium there is.

    Returns
    -------
    float64 array (tissues,)
    """
    factors = np.exp(protocol.how.relaxation * rng.standard_normal((len(TISSUES), 2)))
    dose = np.exp(DOSE_DEVIATION * rng.standard_normal())
    levels = np.zeros(len(TISSUES))
    for number, (tissue, (v1, v2)) in enumerate(zip(TISSUES, factors, strict=True)):
        t1_ms = v1 * tissue.t1_ms
        if protocol.contrast:
            t1_ms = ids.after_contrast(number, t1_ms, dose)
        levels[number] = protocol.sequence.signal(
            tissue.density, t1_ms, v2 * tissue.t2_ms, v2 * tissue.t2star_ms
        )
    return levels * (1000.0 / levels[tissues.WHITE])


def acquire(labels, protocol, ratios, rng):
    """Image of a tissue map: signal, point spread, bias field, Rician noise.

    Parameters
    ----------
    labels : uint8 array (X, Y, Z), numbers of `skullbase_tissues`
    protocol : Protocol
    ratios : triple of int
        Tissue voxels in an image voxel along each axis.
    rng : np.random.Generator

    Returns
    -------
    int16 array of shape (X / rx, Y / ry, Z / rz); white matter lies near 1000
    """
    how = protocol.how
    levels = signals(protocol, rng).astype(np.float32)
    image = spread(levels[labels], ratios, how.point_spread_vox).astype(float)
    image *= physics.bias_field(image.shape, how.bias, rng)
    if how.snr:
        image = physics.add_rician_noise(image, 1000.0 / how.snr, rng)
    return np.clip(np.rint(image), 0, 32767).astype(np.int16)


def spread(signal, ratios, width_vox):
    """The signal on a coarser grid, blurred by the point spread along each axis.

    Parameters
    ----------
    signal : float array (X, Y, Z)
    ratios : triple of int
    width_vox : float
        Full width at half maximum of the Gaussian, in image voxels; 0 gives the mean.

    Examples
    --------
    >>> half_filled = np.repeat([0.0, 6.0], 3).reshape(6, 1, 1)[1:-1]
    >>> spread(half_filled, (2, 1, 1), 0.0).ravel().tolist()
    [0.0, 6.0]
    """
    for axis, ratio in enumerate(ratios):
        weights = _weights(ratio, width_vox)
        # an even kernel sits half a voxel off: between the two voxels amid a block
        signal = ndimage.correlate1d(
            signal, weights, axis, mode="nearest", origin=-((len(weights) + 1) % 2)
        )
        keep = [slice(None)] * 3
        keep[axis] = slice((ratio - 1) // 2, None, ratio)
        signal = signal[tuple(keep)]
    return signal


def _weights(ratio, width_vox):
    """Weights of the tissue voxels in and around an image voxel, symmetric."""
    if not width_vox:
        return np.full(ratio, 1.0 / ratio)
    sigma = width_vox * ratio / 2.3548200450309493
    reach = int(np.ceil(2.0 * sigma))
    offsets = np.arange(-reach, ratio + reach) - (ratio - 1) / 2
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    return weights / weights.sum()


def true_classes(labels, ratios):
    """Labels of a tissue map on the image grid: what fills most of a voxel.

    Parameters
    ----------
    labels : uint8 array (X, Y, Z), numbers of `skullbase_tissues`
    ratios : triple of int

    Returns
    -------
    uint8 array of shape (X / rx, Y / ry, Z / rz), values of `skullbase_tissues.TABLE`
        Of classes with equally many tissue voxels that of the one next to the centre,
        so that no class gains.
    """
    values = [ids.TABLE.names.index(name) for name in ids.CLASS]
    classes = np.array(values, np.uint8)[labels]
    middle = classes[tuple(slice(r // 2, None, r) for r in ratios)]
    counts = [
        2 * _block_sum(classes == value, ratios) + (middle == value)
        for value in range(len(ids.TABLE))
    ]
    return np.argmax(counts, axis=0).astype(np.uint8)


def _block_sum(mask, ratios):
    """Number of voxels of the mask in every block, uint16."""
    total = mask.view(np.uint8).astype(np.uint16)
    for axis, ratio in enumerate(ratios):
        parts = np.moveaxis(total, axis, 0)
        total = np.moveaxis(sum(parts[i::ratio] for i in range(ratio)), 0, axis)
    return total
