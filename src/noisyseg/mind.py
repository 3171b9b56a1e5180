"""MIND-SSC: what a voxel's surroundings look like, the same in T1, T2 and CT.

Twelve numbers a voxel [1]_: the six face neighbours at a distance are compared patch by
patch, in the twelve pairs that are neither the same nor opposite. The patches' squared
differences D, less the smallest of the twelve, over their mean V, give the channels

    exp(-(D - min D) / V),   V within 0.001 and 1000 times its mean over the image,

in [0, 1], the best pair at 1. Neither a factor, nor an offset, nor an inversion of the
intensities changes them, so images of different contrast can be compared by the squared
difference of their channels.

References
----------
.. [1] Heinrich, Jenkinson, Papież, Brady, Schnabel 2013, Towards Realtime Multimodal
   Fusion for Image-Guided Interventions Using Self-Similarities, MICCAI. The channels
   stand in the order of the authors' programs deeds and convexAdam.
"""

import math

import torch

N_CHANNELS = 12
# Steps along X, Y, Z to the six neighbours, and which two of them a channel compares.
NEIGHBOURS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, 1), (0, 1, 0), (1, 0, 0))
PAIRS = (
    *((5, 1), (4, 0), (1, 0), (4, 5), (1, 2), (4, 3)),
    *((2, 0), (5, 3), (4, 2), (3, 1), (5, 2), (3, 0)),
)
SPREAD = 1000.0  # V stays within its mean over this and times this
BLOCK = {"cpu": 1 << 20, "cuda": 1 << 27}  # elements worked on at once
PATCHES = ("box", "gaussian")


def mind_ssc(image, *, radius=1, dilation=2, patch="box"):
    """Twelve channels of self-similarity of every voxel.

    Parameters
    ----------
    image : float tensor of shape (X, Y, Z)
        Finite; beyond the border the edge voxel repeats.
    radius : int
        Of the patches, in voxels: a box of 2 radius + 1 voxels a side.
    dilation : int
        Distance of the six neighbours, in voxels.
    patch : "box" or "gaussian"
        How a patch weighs its voxels; the Gaussian has the variance of the box.

    Returns
    -------
    tensor of shape (12, X, Y, Z), dtype and device of `image`, in [0, 1]
        1 in every channel where the surroundings, or the whole image, are constant.

    Raises
    ------
    TypeError, ValueError
        For another kind or shape of image, a radius or dilation below 1, an unknown
        patch.

    Examples
    --------
    >>> stripes = torch.tensor([0.0, 1.0, 5.0, 2.0, 7.0]).expand(5, 5, 5)  # along Z
    >>> mind_ssc(stripes, dilation=1)[:4, 2, 2, 2].tolist()  # pairs within X and Y
    [1.0, 1.0, 1.0, 1.0]
    """
    _check(image, radius, dilation, patch)
    taps = _taps(patch, radius)
    found = image.new_empty((N_CHANNELS, *image.shape))
    spread = image.new_empty(image.shape)
    step = _slab_thickness(image, len(taps) // 2)
    for start in range(0, len(image), step):
        slab = slice(start, min(start + step, len(image)))
        distance = _distances(image, slab, taps, dilation)
        torch.sub(distance, distance.amin(0), out=found[:, slab])
        torch.mean(found[:, slab], 0, out=spread[slab])
    _limit(spread).reciprocal_().neg_()
    for start in range(0, len(image), step):
        slab = slice(start, start + step)
        found[:, slab].mul_(spread[slab]).exp_()
    return found


def _distances(image, slab, taps, dilation):
    """Patch distances D in the slab of X, times a constant: (12, slab, Y, Z).

    The padded slab is summed as rows of numbers: a step along an axis is a shift of the
    row. What the sums mix across the ends of lines lies in the padding, and is cut off.
    """
    reach = len(taps) // 2
    near = [
        _shifted(image, slab, reach, [dilation * n for n in neighbour])
        for neighbour in NEIGHBOURS
    ]
    _, n_y, n_z = near[0].shape
    size = near[0].numel()
    total, spare = image.new_empty((2, N_CHANNELS, size))
    for row, (a, b) in zip(total, PAIRS, strict=True):
        torch.sub(near[a].flatten(), near[b].flatten(), out=row)
    total.square_()
    length = size
    for stride in (1, n_z, n_z * n_y):
        length -= 2 * reach * stride
        _sum_taps(total, taps, stride, out=spare[:, :length])
        total, spare = spare, total
    shape = (N_CHANNELS, slab.stop - slab.start, *image.shape[1:])
    strides = (size, n_z * n_y, n_z, 1)
    return total.as_strided(shape, strides, total.storage_offset())


def _shifted(image, slab, reach, steps):
    """The image at `steps` from each voxel of the slab, padded by `reach` voxels.

    The padding repeats the differences at the edge, so positions are held within the
    image before the step as well as after it.
    """
    ends = ((slab.start, slab.stop), (0, image.shape[1]), (0, image.shape[2]))
    for axis, ((start, stop), step) in enumerate(zip(ends, steps, strict=True)):
        last = image.shape[axis] - 1
        index = torch.arange(start - reach, stop + reach, device=image.device)
        index = (index.clamp(0, last) + step).clamp(0, last)
        image = image.index_select(axis, index)
    return image


def _sum_taps(rows, taps, stride, *, out):
    """The symmetric filter of `taps` along rows, its entries `stride` apart."""
    length, last = out.shape[1], len(taps) - 1
    torch.add(rows[:, :length], rows[:, last * stride :][:, :length], out=out)
    if taps[0] != 1:
        out *= taps[0]
    for index in range(1, last):
        out.add_(rows[:, index * stride :][:, :length], alpha=taps[index])


def _taps(patch, radius):
    """Weights of a patch along one axis, the middle one 1."""
    if patch == "box":
        return [1.0] * (2 * radius + 1)
    variance = radius * (radius + 1) / 3
    reach = math.ceil(2.5 * math.sqrt(variance))
    return [math.exp(-0.5 * k * k / variance) for k in range(-reach, reach + 1)]


def _limit(spread):
    """V kept near its mean over the image, in place; a constant image has mean 0."""
    mean = spread.mean()
    tiny = torch.finfo(spread.dtype).tiny
    low, high = (mean / SPREAD).clamp_min(tiny), (mean * SPREAD).clamp_min(tiny)
    return spread.clamp_(low, high)


def _slab_thickness(image, reach):
    """Slices along X that are worked on at once."""
    n_y, n_z = (n + 2 * reach for n in image.shape[1:])
    block = BLOCK.get(image.device.type, BLOCK["cuda"])
    return max(1, block // (N_CHANNELS * n_y * n_z) - 2 * reach)


def _check(image, radius, dilation, patch):
    if not (torch.is_tensor(image) and image.is_floating_point()):
        kind = getattr(image, "dtype", type(image).__name__)
        raise TypeError(
            f"image must be a float tensor, got {kind}; convert it, e.g. "
            "torch.from_numpy(data).float()"
        )
    if image.ndim != 3 or image.numel() == 0:
        raise ValueError(
            f"image must have shape (X, Y, Z), got {tuple(image.shape)}; "
            "pick one volume"
        )
    for name, value in (("radius", radius), ("dilation", dilation)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1 voxel, got {value}; e.g. 1")
    if patch not in PATCHES:
        raise ValueError(f"patch must be one of {PATCHES}, got {patch!r}; e.g. 'box'")
