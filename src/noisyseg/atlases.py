"""A probabilistic atlas of the head, and its affine alignment to a new head."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from safetensors.numpy import load_file, save_file

from noisyseg import volume, warping
from noisyseg.volume import Volume

ITK_AXES = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS+ <-> LPS+
SEARCH_SPACING_MM = 4.0
STEP_LENGTHS = (2.0, 1.0, 0.5)  # first of the optimiser; a shorter one when astray
SCALES = (0.6, 1.6)  # of one head against another
APART = (
    "moving must show the head of fixed, got {:.0%} of it covered; check the "
    "orientation and origin in both headers"
)


@dataclass(frozen=True)
class Atlas:
    """How often each class stands at each place, and what T1 looks like there.

    Parameters
    ----------
    prob : float32 array of shape (C, X, Y, Z)
        Sums to 1 over the classes.
    image : float32 array of shape (X, Y, Z)
        Mean T1 intensity, each head scaled to a 98th percentile of 1.
    affine : float64 array of shape (4, 4)
        Voxel to world, mm, RAS+.
    """

    prob: np.ndarray
    image: np.ndarray
    affine: np.ndarray


def build_atlas(images, labels, n_classes):
    """The atlas of some heads, brought by affine maps to the frame of the first.

    Parameters
    ----------
    images : list of Volume
        T1 heads, canonical axes.
    labels : list of Volume
        Classes 0 to ``n_classes - 1`` on the grids of the images.
    n_classes : int

    Returns
    -------
    Atlas
    """
    _check_heads(images, labels, n_classes)
    frame = images[0]
    maps, heads = [], []
    for image, label in zip(images, labels, strict=True):
        to_image = np.eye(4) if image is frame else affine_between(frame, image)
        one_hot = torch.from_numpy(_one_hot(label.data, n_classes))
        maps.append(_resample(one_hot, label.affine, frame, to_image))
        scaled = torch.from_numpy(_scaled(image.data))[None]
        heads.append(_resample(scaled, image.affine, frame, to_image))
    prob = torch.stack(maps).mean(0)
    image = torch.stack(heads).mean(0)[0]
    return Atlas((prob / prob.sum(0)).numpy(), image.numpy(), frame.affine)


def write(path, atlas):
    """Write an atlas as safetensors, under its name only when whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        save_file(
            {key: np.ascontiguousarray(v) for key, v in vars(atlas).items()}, part
        )
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read(path):
    """The atlas stored by `write`.

    Raises
    ------
    FileNotFoundError, ValueError
        When the file is missing or is no whole atlas.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path} must exist; build the atlas first")
    try:
        return Atlas(**load_file(path))
    except Exception as error:
        raise ValueError(
            f"{path} must hold an atlas (prob, image, affine), got "
            f"{type(error).__name__} ({error}); build it again"
        ) from error


def align(atlas, t1):
    """The atlas probabilities on the grid of a head.

    Parameters
    ----------
    atlas : Atlas
    t1 : Volume
        A head with any field of view and spacing, canonical axes.

    Returns
    -------
    float32 array of shape (C, X, Y, Z) on the grid of `t1`; beyond the atlas's own
    field of view its edge repeats.
    """
    moving = Volume(atlas.image, atlas.affine)
    to_atlas = affine_between(t1, moving)
    prob = torch.from_numpy(atlas.prob)
    return _resample(prob, atlas.affine, t1, to_atlas).numpy()


def affine_between(fixed, moving):
    """The affine map from world points of one head to those of another.

    Starts from the tops and the centres of the two heads, then maximises the mutual
    information of the intensities (Mattes et al., IEEE TMI 2003) on 4 mm voxels, first
    with a similarity and then with an affine transform.

    Parameters
    ----------
    fixed, moving : Volume

    Returns
    -------
    float64 array of shape (4, 4), mm, RAS+: ``moving_point = matrix @ fixed_point``

    Raises
    ------
    ValueError
        When no step length leads to a map with the scales of a head.
    """
    centre, shift = head_centre(fixed), head_centre(moving) - head_centre(fixed)
    images = [_itk(_coarse(v)) for v in (fixed, moving)]
    for rate in STEP_LENGTHS:
        start = sitk.Similarity3DTransform()
        start.SetCenter((centre * [-1, -1, 1]).tolist())
        start.SetTranslation((shift * [-1, -1, 1]).tolist())
        similar = _optimise(*images, start, steps=40, rate=rate)
        affine = sitk.AffineTransform(3)
        affine.SetCenter(similar.GetCenter())
        affine.SetMatrix(similar.GetMatrix())
        affine.SetTranslation(similar.GetTranslation())
        matrix = _matrix(_optimise(*images, affine, steps=80, rate=rate))
        scales = np.linalg.svd(matrix[:3, :3], compute_uv=False)
        if SCALES[0] < scales.min() and scales.max() < SCALES[1]:
            return matrix
    raise ValueError(
        f"head must be alignable with the atlas, got scales {scales.round(2)}; check "
        "that this is a whole head in T1 with the right orientation in its header"
    )


def register_rigid(moving, fixed):
    """A scan of the same head brought onto the grid of another, e.g. T2 onto T1.

    Parameters
    ----------
    moving, fixed : Volume

    Returns
    -------
    Volume with float32 data on the grid of `fixed`, linear interpolation

    Raises
    ------
    ValueError
        When less than half of the head is covered.
    """
    images = [_itk(_coarse(v, 2.0)) for v in (fixed, moving)]
    start = sitk.Euler3DTransform()
    start.SetCenter((head_centre(fixed) * [-1, -1, 1]).tolist())
    try:
        matrix = _matrix(_optimise(*images, start, steps=100))
    except RuntimeError as error:  # ITK finds no voxel of one scan in the other
        raise ValueError(APART.format(0)) from error
    data = torch.from_numpy(moving.data.astype(np.float32))[None]
    moved = _resample(data, moving.affine, fixed, matrix, outside="zeros")[0].numpy()
    head = fixed.data > 0.25 * np.percentile(fixed.data, 98)
    covered = np.mean(moved[head] > 0)
    if covered < 0.5:
        raise ValueError(APART.format(covered))
    return Volume(moved, fixed.affine)


def head_centre(head, reach_mm=160.0):
    """Centre of a head's upper part in world mm, float64 array (3,).

    The neck and the field of view differ between scans, the top of the head does not:
    only voxels within `reach_mm` below it count, and their mean height is replaced by
    half that reach.
    """
    bright = head.data > 0.25 * np.percentile(head.data, 98)
    if not bright.any():
        raise ValueError(
            "head must hold something bright, got no intensity above zero; "
            "give the T1 image of a head"
        )
    where = volume.nib.affines.apply_affine(head.affine, np.argwhere(bright))
    top = np.percentile(where[:, 2], 99.9)
    near = where[where[:, 2] > top - reach_mm / 2]
    return np.array([near[:, 0].mean(), near[:, 1].mean(), top - reach_mm / 2])


def _optimise(fixed, moving, start, steps, rate=2.0):
    """The transform that maximises the mutual information, first step `rate` mm."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(24)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(0.2, seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=rate, minStep=0.05, numberOfIterations=steps, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(start, inPlace=False)
    result = _execute(method, fixed, moving)
    while isinstance(result, sitk.CompositeTransform):
        result = result.GetNthTransform(0)
    return type(start)(result)


def _execute(method, fixed, moving):
    """The result on one thread: several would add up in a changing order."""
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        return method.Execute(fixed, moving)
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _coarse(head, spacing_mm=SEARCH_SPACING_MM):
    """The head blurred and thinned to about `spacing_mm`, scaled and clipped at 1.5."""
    stride = [max(1, round(spacing_mm / s)) for s in head.spacing_mm]
    data = torch.from_numpy(_scaled(head.data)).clamp(0, 1.5)[None]
    blurred = warping.smooth(data, spacing_mm / 2, head.spacing_mm)[0].numpy()
    thinned = blurred[:: stride[0], :: stride[1], :: stride[2]]
    return Volume(np.ascontiguousarray(thinned), head.affine @ np.diag([*stride, 1]))


def _scaled(data):
    """The intensities over their 98th percentile, float32."""
    top = np.percentile(data[::2, ::2, ::2], 98)
    return (data / top).astype(np.float32)


def _itk(image):
    """The volume as a SimpleITK image (LPS+ world)."""
    affine = ITK_AXES @ image.affine
    spacing = np.array(image.spacing_mm)
    result = sitk.GetImageFromArray(image.data.transpose(2, 1, 0))
    result.SetSpacing(spacing.tolist())
    result.SetOrigin(affine[:3, 3].tolist())
    result.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return result


def _matrix(transform):
    """A SimpleITK matrix transform as (4, 4) between RAS+ world points."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    centre = np.array(transform.GetCenter())
    shift = np.array(transform.GetTranslation())
    matrix[:3, 3] = shift + centre - matrix[:3, :3] @ centre
    return ITK_AXES @ matrix @ ITK_AXES


def _resample(field, affine, reference, world_map, outside="border"):
    """Field (C, ...) on `affine` read on the grid of a volume, through a world map."""
    to_voxel = np.linalg.inv(affine) @ world_map @ reference.affine
    size = np.array(field.shape[1:])
    new = np.array(reference.shape)
    # torch's normalised coordinates run from -1 to 1 between the outer voxel centres
    inward = np.diag([*(2 / (size - 1)), 1.0])
    inward[:3, 3] = -1
    outward = np.diag([*((new - 1) / 2), 1.0])
    outward[:3, 3] = (new - 1) / 2
    theta = (inward @ to_voxel @ outward)[:3]
    theta = theta[::-1][:, [2, 1, 0, 3]].copy()
    grid = torch.nn.functional.affine_grid(
        torch.from_numpy(theta).float()[None], (1, 1, *reference.shape), True
    )
    return torch.nn.functional.grid_sample(
        field[None], grid, padding_mode=outside, align_corners=True
    )[0]


def _one_hot(labels, n_classes):
    """One float32 map per class, (C, X, Y, Z)."""
    return (labels == np.arange(n_classes).reshape(-1, 1, 1, 1)).astype(np.float32)


def _check_heads(images, labels, n_classes):
    """Refuse lists that do not pair up and labels outside the classes."""
    if len(images) != len(labels) or not images:
        raise ValueError(
            f"images must pair with labels, got {len(images)} and {len(labels)}; "
            "give one label map per head, at least one"
        )
    for image, label in zip(images, labels, strict=True):
        volume.check_same_grid(image, label, "image", "labels")
        if label.data.max() >= n_classes or label.data.min() < 0:
            raise ValueError(
                f"labels must lie in 0 to {n_classes - 1}, got {label.data.max()}; "
                "map the coding first"
            )
