"""Affine alignment of two images by block matching and least-trimmed squares."""

import numpy as np
import torch

from noisyseg import blockmatching
from noisyseg.blockmatching import Search

NODES = 170_000  # of the lattice that is matched on
LEVELS = (Search(4, 2, 4), Search(4, 2, 2), Search(4, 1, 2))
TEXTURED_SHARE = 0.5  # of the control points: those that tell displacements apart
KEPT_SHARE = 0.5  # of their matches: those that fit best
FITS = 6
STRETCH = 2.0  # no head is more than twice as large as another


def align(fixed, moving, start, levels=LEVELS):
    """The affine from the fixed image's world to the moving image's.

    At each level the moving image is read under the affine so far, every block of the
    fixed image is matched, and an affine is fitted to the better half of the matches.

    Parameters
    ----------
    fixed, moving : Scan
    start : float array of shape (4, 4)
        A first guess, world to world.
    levels : sequence of Search

    Returns
    -------
    float64 array of shape (4, 4), mm to mm

    Raises
    ------
    ValueError
        When no affine between half and twice the size fits.
    """
    edges = fixed.edges_mm
    volume = float(np.prod(edges * np.array(fixed.data.shape)))
    lattice = blockmatching.cover(
        fixed, max((volume / NODES) ** (1 / 3), float(np.prod(edges) ** (1 / 3)))
    )
    fixed, moving = (
        blockmatching.blurred(s, lattice.spacing_mm) for s in (fixed, moving)
    )
    here = _features(fixed, lattice, np.eye(4))
    world_to_node = np.linalg.inv(lattice.affine)
    found = np.asarray(start, np.float64)
    for search in levels:
        points, matches = match(here, _features(moving, lattice, found), search)
        step = fit(points, matches)
        found = found @ lattice.affine @ step @ world_to_node
        _check_stretch(found)
    return found


def _features(scan, lattice, to_scan):
    return blockmatching.features(blockmatching.read_at(scan, lattice, to_scan), 1)


def match(fixed, moving, search):
    """Control points and where they are found, in nodes: two float64 arrays (P, 3).

    Only the points whose costs differ most between displacements: a block of plain
    background is found everywhere.
    """
    cost = blockmatching.costs(fixed, moving, search)
    points = blockmatching.control_points(cost.shape[1:], search, cost.device)
    cost = cost.flatten(1)
    best, index = cost.min(0)
    count = max(4, int(TEXTURED_SHARE * len(best)))
    chosen = torch.argsort(cost.mean(0) - best, descending=True, stable=True)[:count]
    points = points.reshape(3, -1).T[chosen]
    moved = points + blockmatching.steps_tried(search, cost.device)[index[chosen]]
    return points.double().cpu().numpy(), moved.double().cpu().numpy()


def fit(points, matches):
    """The affine that takes points to matches, by least-trimmed squares.

    Fitted to all, then again and again to the half that it fits best [1]_.

    Parameters
    ----------
    points, matches : float64 arrays of shape (P, 3)

    Returns
    -------
    float64 array of shape (4, 4)

    References
    ----------
    .. [1] Rousseeuw, Van Driessen 2006, Computing LTS Regression for Large Data Sets.

    Examples
    --------
    >>> corners = np.indices((2, 2, 2)).reshape(3, -1).T.astype(float)
    >>> moved = 2 * corners + [1, 0, 0]
    >>> moved[0] = 100.0  # one false match
    >>> bool(np.allclose(fit(corners, moved)[0], [2, 0, 0, 1]))
    True
    """
    design = np.column_stack([points, np.ones(len(points))])
    kept = np.arange(len(points))
    for _ in range(FITS):
        solution = np.linalg.lstsq(design[kept], matches[kept], rcond=None)[0]
        error = ((design @ solution - matches) ** 2).sum(1)
        count = max(4, int(KEPT_SHARE * len(points)))
        kept = np.argsort(error, kind="stable")[:count]
    affine = np.eye(4)
    affine[:3] = solution.T
    return affine


def _check_stretch(affine):
    stretch = np.linalg.svd(affine[:3, :3], compute_uv=False)
    if not np.all((stretch > 1 / STRETCH) & (stretch < STRETCH)):
        raise ValueError(
            "fixed and moving must show the same anatomy, got an affine that stretches "
            f"by {stretch.min():.2f} to {stretch.max():.2f}; check the images, or "
            "register with start='centre'"
        )
