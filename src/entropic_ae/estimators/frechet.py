"""The Frechet distance of two Gaussians as a differentiable function of their moments."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["gaussian_frechet", "square_root_of"]


def square_root_of(covariance: Tensor) -> Tensor:
    """Return the symmetric square root of a covariance, (F, F), whose negative rounding errors count as 0.

    >>> square_root_of(torch.diag(torch.tensor([4.0, 9.0]))).diagonal()
    tensor([2., 3.])
    """
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.mT


def gaussian_frechet(mean: Tensor, root: Tensor, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    r"""Squared Frechet distance of N(m, S) and N(n, T), with a gradient for n and T.

    $\|m - n\|^2 + \mathrm{tr}(S + T - 2 (S^{1/2} T S^{1/2})^{1/2})$, as in ``frechet_distance``. Directions
    without variance in either have no gradient, which would be infinite there.

    Arguments:
        mean, other_mean: m and n, (F,).
        root: $S^{1/2}$, (F, F); see ``square_root_of``.
        other_covariance: T, (F, F).

    Returns: the distance in squared units of the features, of dimension 0.

    Reference: Dowson and Landau, "The Frechet distance between multivariate normal distributions", 1982,
    https://doi.org/10.1016/0047-259X(82)90077-X.

    >>> gaussian_frechet(torch.zeros(2), torch.eye(2), torch.tensor([3.0, 0.0]), 4 * torch.eye(2)).item()
    11.0
    """
    values = torch.linalg.eigvalsh(root @ other_covariance @ root)
    kept = values > len(values) * torch.finfo(values.dtype).eps * values.detach().amax()
    roots = torch.where(kept, values, 1.0).sqrt().where(kept, 0.0)
    shift = (mean - other_mean).square().sum()
    return shift + root.square().sum() + other_covariance.diagonal().sum() - 2 * roots.sum()
