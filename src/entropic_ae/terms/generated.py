"""A term on generated images: draws of the prior, decoded, against the training images."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from entropic_ae.arrays import exact, has_double
from entropic_ae.autoencoder import Autoencoder, Trace
from entropic_ae.distributed import gather, processes, rows_of
from entropic_ae.errors import InputError
from entropic_ae.estimators import gaussian_frechet, square_root_of
from entropic_ae.terms.perception import FEATURE_NETWORKS, frozen_network
from entropic_ae.terms.term import Term

__all__ = ["FrechetLoss", "Moments"]

_BATCH = 256  # training images whose features are computed at once
_POPULATION = 10  # draws for each feature, from which the first averages are


class Moments(nn.Module):
    """Running averages of the moments of features, saved in checkpoints.

    Arguments:
        size: number of features F.

    >>> moments = Moments(2)
    >>> moments.steps, moments.average.shape
    (0, torch.Size([3, 2]))
    """

    average: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(size + 1, size))  # the means, then the second moments
        self.steps = 0

    def get_extra_state(self) -> int:
        """Return the number of averaged minibatches, for the checkpoint."""
        return self.steps

    def set_extra_state(self, state: int) -> None:
        """Restore the number of minibatches from a checkpoint."""
        self.steps = state


@dataclass(frozen=True)
class _Real:
    """The moments of the features of real images in float64: the mean, and the square root of the covariance."""

    mean: Tensor
    root: Tensor


@dataclass(frozen=True)
class FrechetLoss(Term):
    r"""Frechet distance of decoded draws of the prior from the training images, in features of a frozen network.

    With mean m and covariance S of the features of all training images, n and T of those of generated images,

    $\frac{P}{\mathrm{tr} S} \left( \|m - n\|^2 + \mathrm{tr}(S + T - 2 (S^{1/2} T S^{1/2})^{1/2}) \right)$.

    P values of an image make it stand beside squared errors: it is P for images without variety, whose mean is
    right. n and T are moving averages over minibatches, so that the population is larger than a minibatch; the
    gradient is that of the distance at these averages, through the moments of the current minibatch alone. Each
    step decodes as many new draws as it has images, which moves no running average of the decoder. The features
    are the means over positions of each channel in all layers of the network.

    It is meant for the decoder of a trained run, beside the squared error, with an encoder that stays as it is:
    ``train --from RUN --set terms=squared_error+frechet encoder_rate=0``. Samples come nearer in the features that
    are trained on in any case: judge them in others.

    Without training images (outside of a run), the real moments are those of the minibatch, without averages.

    Attributes:
        network: name in ``FEATURE_NETWORKS``: random, classifier or dino, as for ``FeatureError``.
        decay: of the moving averages; 0 takes the minibatch alone.

    Raises: InputError for an unknown network, or a decay outside [0, 1).

    Reference: Yang, Geng, Ju, Tian and Wang, "Representation Frechet loss for visual generation", 2026,
    https://arxiv.org/abs/2604.28190. There the population is 50,000 images, or averages have a decay of 0.999.

    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> FrechetLoss()(model, model(torch.rand(50, 1, 8, 8))).item() > 0
    True
    """

    weight: float = 0.2
    network: str = "random"
    decay: float = 0.99

    name = setting = "frechet"

    def __post_init__(self) -> None:
        super().__post_init__()
        FEATURE_NETWORKS.find(self.network)
        if not 0 <= self.decay < 1:
            raise InputError(f"{self.setting}.decay must be at least 0 and below 1, got {self.decay}.")

    def __call__(self, model: Autoencoder, trace: Trace) -> Tensor:
        """Return the distance for draws of the prior, as many as there are images."""
        real, features = self._real(trace), self._generated(model, trace)
        values, state, rate = trace.x[0].numel(), trace.state, 1 - self.decay
        if not isinstance(state, Moments):
            return values * _distance(features, None, 1.0, real.mean, real.root)
        average = state.average
        if not state.steps:  # the first average has full rank, or the gradient would have none there
            with torch.no_grad():
                count = -(-_POPULATION * len(real.mean) // (len(trace.x) * processes()))
                parts = [_moments(self._generated(model, trace), real.mean).to(average) for _ in range(count)]
                average = torch.stack(parts).mean(0)
        value = _distance(features, average, rate, real.mean, real.root)
        if model.training:
            with torch.no_grad():
                state.average.copy_(average.lerp(_moments(features, real.mean).to(average), rate))
            state.steps += 1
        return values * value

    def _generated(self, model: Autoencoder, trace: Trace) -> Tensor:
        drawn = model.bottleneck.prior().sample((len(trace.x) * processes(),)).to(trace.code.z, non_blocking=True)
        with model.second_pass():
            images = model.decode(rows_of(drawn), trace.labels)
        return gather(self._features(images))

    def _features(self, images: Tensor) -> Tensor:
        layers = frozen_network(self._build(), images.device, images.dtype)(images)
        return torch.cat([one.mean((2, 3)) for one in layers], 1)

    @torch.no_grad()
    def _real(self, trace: Trace) -> _Real:
        return _real_of(gather(self._features(trace.x.to(trace.x_hat.dtype))))

    def _build(self) -> Callable[[], nn.Module]:
        return FEATURE_NETWORKS.find(self.network)

    def prepared(self, network: Callable[[str], nn.Module | None]) -> FrechetLoss:
        """Return the term with its network, if that is one of the training images."""
        found = network(self.network)
        build = self._build() if found is None else partial(deepcopy, found)
        return _Prepared(self.weight, self.network, self.decay, build)


@dataclass(frozen=True)
class _Prepared(FrechetLoss):
    """The term with a function that returns its network, and the moments of the training images."""

    build: Callable[[], nn.Module] | None = None
    real: _Real | None = None

    def _build(self) -> Callable[[], nn.Module]:
        return super()._build() if self.build is None else self.build

    def _real(self, trace: Trace) -> _Real:
        if self.real is None:
            return super()._real(trace)
        target = trace.x.device if has_double(trace.x.device) else torch.device("cpu")
        return _Real(self.real.mean.to(target), self.real.root.to(target))

    @torch.no_grad()
    def with_images(self, images: Tensor) -> FrechetLoss:
        parts = [self._features(part.float() / 255) for part in images.split(_BATCH)]
        return replace(self, real=_real_of(torch.cat(parts)))

    def new_state(self) -> nn.Module | None:
        return None if self.real is None else Moments(len(self.real.mean))


@exact
def _real_of(features: Tensor) -> _Real:
    centred = features.double() - features.double().mean(0)
    return _Real(features.double().mean(0), square_root_of(centred.T @ centred / len(features)))


@exact
def _moments(features: Tensor, origin: Tensor) -> Tensor:
    """Return the means and the second moments of features, (N, F), less an origin: (F + 1, F) in their type."""
    return _in_double(features, origin).to(features.dtype)


def _in_double(features: Tensor, origin: Tensor) -> Tensor:
    centred = features.double() - origin
    return torch.cat([centred.mean(0, keepdim=True), centred.T @ centred / len(centred)])


@exact
def _distance(features: Tensor, average: Tensor | None, rate: float, origin: Tensor, root: Tensor) -> Tensor:
    """Return the distance as a share of the real variance, with the gradient of the minibatch at the average."""
    found = batch = _in_double(features, origin)
    if average is not None:
        found = average.double().lerp(batch.detach(), rate) + (batch - batch.detach())
    mean, second = found[0], found[1:]
    covariance = second - mean[:, None] * mean
    distance = gaussian_frechet(torch.zeros_like(mean), root, mean, covariance)
    return (distance / root.square().sum()).to(features.dtype)
