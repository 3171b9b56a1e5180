"""A Markov random field that ties neighbouring voxels, as torch tensors."""

import math

import numpy as np
import torch
from torch.nn import functional

SURE = 0.999


def pair_costs(prior):
    """Cost of each pair of neighbouring classes, from how often the atlas has them.

    ``cost[k, l] = -log(n[k, l] / sqrt(n[k, k] n[l, l]))``, at least 0, at most 5, with
    n the expected number of neighbour pairs; 0 on the diagonal.
    """
    n = torch.zeros(len(prior), len(prior), device=prior.device)
    for axis in range(1, 4):
        some = [slice(None), *[slice(None, None, 2)] * 3]  # every other line is enough
        some[axis] = slice(None, -1)
        a = prior[tuple(some)].flatten(1)
        some[axis] = slice(1, None)
        b = prior[tuple(some)].flatten(1)
        n += a @ b.T + b @ a.T
    own = n.diagonal().clamp_min(1e-6)
    return -(n / (own[:, None] * own).sqrt()).clamp(math.exp(-5), 1).log()


def mean_field(unary, costs, spacing_mm, strength, steps):
    """Posterior of a Markov field over six neighbours, by mean-field sweeps.

    Parameters
    ----------
    unary : float32 tensor of shape (C, X, Y, Z)
        Log likelihood plus log prior.
    costs : float32 tensor of shape (C, C)
    spacing_mm : three floats
        A neighbour counts with the inverse of its distance, scaled to mean 1.
    strength : float
        0 leaves the voxelwise posterior.
    steps : int
        Voxels with a posterior above 0.999 before the first sweep keep it.

    Returns
    -------
    float32 tensor of shape (C, X, Y, Z); sums to 1 over C
    """
    resp = torch.softmax(unary, 0)
    if strength == 0:
        return resp
    near = 1 / np.array(spacing_mm)
    near = near / near.mean()
    rows = functional.pad(resp, [1] * 6).flatten(1).T.contiguous()  # voxel by voxel
    sizes = [n + 2 for n in resp.shape[1:]]
    steps_to_next = [sizes[1] * sizes[2], sizes[2], 1]
    unsure = (resp.amax(0) < SURE).nonzero()
    where = (unsure + 1) @ torch.tensor(steps_to_next, device=resp.device)
    fixed = unary[:, *unsure.T].T
    for _ in range(steps):
        around = torch.zeros_like(fixed)
        for step, weight in zip(steps_to_next, near.tolist(), strict=True):
            around.add_(rows.index_select(0, where + step), alpha=weight)
            around.add_(rows.index_select(0, where - step), alpha=weight)
        rows[where] = torch.softmax(fixed - strength * (around @ costs), 1)
    resp[:, *unsure.T] = rows[where].T
    return resp
