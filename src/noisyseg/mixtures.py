"""Gaussian mixtures whose parts belong to classes, and the two steps of EM.

Symbols as in scikit-learn: resp, means, covariances, weights. Axis letters: C class,
K mixture part, N points, D channels.
"""

import math
from dataclasses import dataclass, replace

import torch

SMALLEST_SD = 0.01
EPSILON = 1e-30


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture whose parts belong to classes.

    Parameters
    ----------
    means : float32 tensor of shape (K, D)
    covariances : float32 tensor of shape (K, D, D)
    weights : float32 tensor of shape (K,)
        Share of each part within its class.
    owner : int64 tensor of shape (K,)
        Class of each part.
    """

    means: torch.Tensor
    covariances: torch.Tensor
    weights: torch.Tensor
    owner: torch.Tensor


def log_gaussians(x, means, covariances):
    """Log density of every point under every Gaussian.

    The squared distance is written as one matrix product over 1, x and x x^T.

    Parameters
    ----------
    x : float32 tensor of shape (N, D)
    means : float32 tensor of shape (K, D)
    covariances : float32 tensor of shape (K, D, D)

    Returns
    -------
    float32 tensor of shape (K, N)
    """
    precision = torch.linalg.inv(covariances.double())
    linear = (precision @ means.double()[:, :, None])[:, :, 0]
    constant = (linear * means).sum(1) + covariances.double().logdet()
    constant = constant + x.shape[1] * math.log(2 * math.pi)
    rows = [-0.5 * constant[:, None], linear, -0.5 * precision.flatten(1)]
    return torch.cat(rows, 1).float() @ _moments(x).T


def _moments(x):
    """Columns 1, x and x x^T of every point, (N, 1 + D + D D)."""
    squares = (x[:, :, None] * x[:, None]).flatten(1)
    return torch.cat([torch.ones_like(x[:, :1]), x, squares], 1)


def expectation(x, means, covariances, weights):
    """Responsibility of every Gaussian for every point: the E step.

    ``resp[k, n] = weights[k] N(x[n]; means[k], covariances[k]) / sum over k``

    Parameters
    ----------
    x : float32 tensor of shape (N, D)
    means, covariances : float32 tensors of shape (K, D) and (K, D, D)
    weights : float32 tensor of shape (K,) or (K, N)
        One weight per Gaussian, or a prior per Gaussian and point.

    Returns
    -------
    float32 tensor of shape (K, N); sums to 1 over K
    """
    prior = weights if weights.ndim == 2 else weights[:, None]
    return torch.softmax(
        log_gaussians(x, means, covariances) + (prior + EPSILON).log(), 0
    )


def maximisation(x, resp, smallest_sd=SMALLEST_SD):
    """Means, covariances and weights that fit the responsibilities: the M step.

    Parameters
    ----------
    x : float32 tensor of shape (N, D)
    resp : float32 tensor of shape (K, N)
    smallest_sd : float
        Added in square to the variances, so that no Gaussian collapses.

    Returns
    -------
    means (K, D), covariances (K, D, D), weights (K,)
    """
    d = x.shape[1]
    total = (resp @ _moments(x)).double()
    mass = total[:, :1] + 1e-6
    means = total[:, 1 : 1 + d] / mass
    spread = (total[:, 1 + d :] / mass).reshape(-1, d, d)
    spread = spread - means[:, :, None] * means[:, None]
    floor = smallest_sd**2 * torch.eye(d, device=x.device)
    return means.float(), (spread + floor).float(), (mass[:, 0] / mass.sum()).float()


def class_log_likelihood(x, mixture, n_classes):
    """Log density of every point under the mixture of each class, (C, N)."""
    log_part = log_gaussians(x, mixture.means, mixture.covariances)
    log_part += (mixture.weights + EPSILON).log()[:, None]
    return torch.stack(
        [log_part[mixture.owner == c].logsumexp(0) for c in range(n_classes)]
    )


def first_mixture(x, prior, parts):
    """The mixture with every class split into equal shares by its first channel.

    Parameters
    ----------
    x : float32 tensor of shape (N, D)
    prior : float32 tensor of shape (C, N)
    parts : tuple of int
        Gaussians per class; they take the shares from dark to bright.

    Returns
    -------
    Mixture
    """
    owner = torch.tensor(
        [c for c, n in enumerate(parts) for _ in range(n)], device=x.device
    )
    order = x[:, 0].argsort(stable=True)
    resp = []
    for weight, count in zip(prior[:, order] ** 2, parts, strict=True):
        rank = weight.cumsum(0) / weight.sum().clamp_min(EPSILON) * count
        part = rank.clamp(0, count - 0.5).long()
        resp += [weight * (part == m) for m in range(count)]
    return refit(x[order], torch.stack(resp), owner, len(parts))


def refit(x, resp, owner, n_classes):
    """The mixture after one M step, weights shared out within each class."""
    means, covariances, weights = maximisation(x, resp)
    total = (members(owner, n_classes) @ weights)[owner]
    return Mixture(means, covariances, weights / total.clamp_min(EPSILON), owner)


def tie_covariances(mixture, mass, groups, share):
    """The mixture with covariances drawn to the mean of their group.

    The noise of a scan is the same in every tissue; what a class shows beyond it comes
    from voxels that it shares with a neighbour, and would push its border outwards.

    Parameters
    ----------
    mixture : Mixture
    mass : float32 tensor of shape (K,)
        Voxels that each part holds.
    groups : tuple of tuple of int
        Classes whose parts are drawn together.
    share : float
        0 leaves every covariance, 1 makes them equal within a group.

    Returns
    -------
    Mixture
    """
    covariances = mixture.covariances.clone()
    for classes in groups:
        group = sum(mixture.owner == c for c in classes) > 0
        part = mass[group] / mass[group].sum().clamp_min(EPSILON)
        pooled = torch.einsum("k,kij->ij", part, covariances[group])
        own = covariances[group]
        covariances[group] = (1 - share) * own + share * pooled
    return replace(mixture, covariances=covariances)


def members(owner, n_classes):
    """Float matrix (C, K): 1 where the part belongs to the class."""
    classes = torch.arange(n_classes, device=owner.device)
    return (owner == classes[:, None]).float()


def share_parts(mixture, mass, groups):
    """The mixture in which classes of one substance have Gaussians in common.

    Fluid is fluid in sulci, ventricles and eyes, air is air outside and inside the
    head: a small class takes its intensity from the large one and is told from it by
    place alone.

    Parameters
    ----------
    mixture : Mixture
    mass : float32 tensor of shape (K,)
        Voxels that each part holds.
    groups : tuple of tuple of int
        Classes whose darkest, second darkest, ... parts become one, as far as every
        class of the group has them.

    Returns
    -------
    Mixture
    """
    means, covariances = mixture.means.clone(), mixture.covariances.clone()
    for classes in groups:
        parts = [(mixture.owner == c).nonzero()[:, 0] for c in classes]
        for same in map(torch.stack, zip(*parts, strict=False)):
            share = mass[same] / mass[same].sum().clamp_min(EPSILON)
            mean = share @ means[same]
            away = means[same] - mean
            spread = covariances[same] + away[:, :, None] * away[:, None]
            covariances[same] = torch.einsum("k,kij->ij", share, spread)
            means[same] = mean
    return replace(mixture, means=means, covariances=covariances)
