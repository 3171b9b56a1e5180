"""Deformation of a lattice: steps that bring two images' features together.

A displacement lives on the nodes of a lattice and counts in them, ``there(x + u(x))``.
A step comes before it: the image is read at its displacement, the step is found in
what was read, and `compose` puts them in a row.

References
----------
.. [1] Heinrich, Papież, Schnabel, Handels 2014, Non-parametric Discrete Registration
   with Convex Optimisation, WBIR.
.. [2] Siebert, Hansen, Heinrich 2021, Fast 3D Registration with Accurate Optimisation
   and Little Learning for Learn2Reg 2021.
"""

import torch

from noisyseg import blockmatching
from noisyseg.blockmatching import box_mean
from noisyseg.displacements import lattice_points, sample

SYMMETRY_STEPS = 10


def compose(displacement, step):
    """First the step, then the displacement found there: s(x) + u(x + s(x)).

    Parameters
    ----------
    displacement, step : float32 tensors of shape (3, X, Y, Z), nodes

    Returns
    -------
    float32 tensor of shape (3, X, Y, Z), nodes
    """
    where = lattice_points(step.shape[1:], step.device) + step
    return step + sample(displacement, where)


def search_step(here, there, displacement, search, settings):
    """A step for every node, from the displacements that a level tries.

    Parameters
    ----------
    here : float32 tensor of shape (C, X, Y, Z)
        Features of the fixed image.
    there : float32 tensor of shape (C, X, Y, Z)
        Features of the moving image, read at `displacement`.
    displacement : float32 tensor of shape (3, X, Y, Z), nodes
    search : Search
    settings : registration.Settings
        Its `couplings` and `symmetric` are used.

    Returns
    -------
    float32 tensor of shape (3, X, Y, Z), nodes
    """
    forth = couple(here, there, displacement, search, settings.couplings)
    if settings.symmetric:
        back = couple(there, here, -displacement, search, settings.couplings)
        forth = _agree(forth / search.cell, back / search.cell) * search.cell
    nodes = lattice_points(displacement.shape[1:], displacement.device)
    return sample(forth, (nodes - blockmatching.offset(search)) / search.cell)


def couple(here, there, displacement, search, couplings):
    """Steps of the control points by coupled convex optimisation [1]_ [2]_.

    Each point takes the step of least cost + w |step - v|^2, where v makes the whole
    displacement the mean of the point's and its neighbours'; then w grows.

    Parameters
    ----------
    here, there, displacement, search
        As `search_step`.
    couplings : sequence of float
        w, for steps of one search step's length; small at first.

    Returns
    -------
    float32 tensor of shape (3, x, y, z), nodes
        One step a control point, smoothed.
    """
    cost = blockmatching.costs(here, there, search)
    size = cost.shape[1:]
    points = blockmatching.control_points(size, search, cost.device)
    before = sample(displacement, points)
    tried = blockmatching.steps_tried(search, cost.device)
    cost = cost.flatten(1)
    length = (tried**2).sum(1, keepdim=True)
    chosen = cost.argmin(0)
    for coupling in couplings:
        smooth = box_mean(tried[chosen].T.view(3, *size) + before) - before
        weight = coupling / search.step**2
        # cost + weight |tried - smooth|^2, less what all displacements share
        total = torch.addmm(cost, tried, smooth.flatten(1), alpha=-2 * weight)
        chosen = total.add_(weight * length).argmin(0)
    return box_mean(tried[chosen].T.view(3, *size) + before) - before


def _agree(forth, back):
    """The way there, made the inverse of the way back; both in control points."""
    for _ in range(SYMMETRY_STEPS):
        nodes = lattice_points(forth.shape[1:], forth.device)
        forth, back = (
            (forth - sample(back, nodes + forth)) / 2,
            (back - sample(forth, nodes + back)) / 2,
        )
    return forth


def refining_step(here, there, displacement, settings):
    """A step by Gauss-Newton on the squared feature difference.

    Gradient and curvature are averaged over neighbours, an iteration moves a node by at
    most one, and the whole displacement is smoothed after each.

    Parameters
    ----------
    here, there, displacement
        As `search_step`.
    settings : registration.Settings
        Its `refinements`, `damping` and `symmetric` are used.

    Returns
    -------
    float32 tensor of shape (3, X, Y, Z), nodes
    """
    forth = _gauss_newton(here, there, displacement, settings)
    if settings.symmetric:
        forth = _agree(forth, _gauss_newton(there, here, -displacement, settings))
    return forth


def _gauss_newton(here, there, displacement, settings):
    nodes = lattice_points(here.shape[1:], here.device)
    found = torch.zeros_like(displacement)
    for _ in range(settings.refinements):
        moved = sample(there, nodes + found)
        sums = box_mean(_normal_equations(here, moved))
        sums[[3, 6, 8]] += settings.damping
        step = solve(sums[:3], sums[3:])
        length = step.square().sum(0).sqrt_()
        step /= length.clamp_min(1)
        found = box_mean(found + step + displacement) - displacement
    return found


def _normal_equations(here, moved):
    """Of each node: J'r (3 rows) and the upper half of J'J (6 rows), J the slopes."""
    size = here.shape[1:]
    slopes = [torch.gradient(moved, dim=axis)[0] for axis in (1, 2, 3)]
    rest = here - moved
    pairs = [(slopes[a], rest) for a in range(3)]
    pairs += [(slopes[a], slopes[b]) for a in range(3) for b in range(a, 3)]
    sums = here.new_empty((len(pairs), *size))
    for row, (a, b) in zip(sums, pairs, strict=True):
        torch.sum(a * b, 0, out=row)
    return sums


def solve(right, matrix):
    """Solutions of many symmetric 3 x 3 systems, by cofactors.

    Parameters
    ----------
    right : float tensor of shape (3, ...)
    matrix : float tensor of shape (6, ...)
        Entries xx, xy, xz, yy, yz, zz.

    Returns
    -------
    float tensor of shape (3, ...)
    """
    xx, xy, xz, yy, yz, zz = matrix
    a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    d, e, f = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    x, y, z = right
    solution = torch.stack(
        [a * x + b * y + c * z, b * x + d * y + e * z, c * x + e * y + f * z]
    )
    return solution / (xx * a + xy * b + xz * c)
