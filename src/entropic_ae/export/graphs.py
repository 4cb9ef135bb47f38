"""The model for deployment: copies with precomputed weights, and the graphs to export."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.bottlenecks import Bottleneck, Code, Transported, Whitening
from entropic_ae.densities import Density, Sampler
from entropic_ae.densities.density import no_sampler
from entropic_ae.errors import InputError
from entropic_ae.priors import UniformSphere
from entropic_ae.randomness import generator

__all__ = ["Graph", "Whitened", "colours", "is_older", "make_graphs", "make_sampler", "plain_copy"]

_FEW = 2  # rows: a graph is traced with as many, which are all drawn


class Whitened(nn.Module):
    """``Whitening`` in evaluation, with a precomputed matrix."""

    mean: Tensor
    matrix: Tensor

    def __init__(self, bottleneck: Whitening) -> None:
        super().__init__()
        self.register_buffer("mean", bottleneck.mean)
        self.register_buffer("matrix", bottleneck.matrix().to(bottleneck.mean))

    def forward(self, h: Tensor) -> Code:
        """Return the codes, (N, D), of encoder outputs, (N, D)."""
        return Code((h - self.mean) @ self.matrix)


class TracedTransport(nn.Module):
    """``Transported`` in evaluation, by operations that ONNX has.

    Raises: InputError for a transport to the sphere, whose scores are quantiles of Beta distributions.
    """

    def __init__(self, bottleneck: Transported, inner: nn.Module) -> None:
        super().__init__()
        if isinstance(bottleneck.transport.prior, UniformSphere):
            raise InputError(
                f"a transport to {UniformSphere.title} cannot be exported, since ONNX has no Beta distribution; "
                "remove it first (entropic-ae transport RUN --kind none)."
            )
        self.inner = inner
        self.map: Any = bottleneck.transport.traced()
        self.prior = bottleneck.transport.prior

    def forward(self, h: Tensor) -> Code:
        """Return the codes u, (N, D), of encoder outputs, (N, D)."""
        code: Code = self.inner(h)
        u = self.map.transform(self.prior.to_normal(self.prior.interior(code.z)))
        return Code(self.prior.from_normal(u).float())

    def inverse(self, z: Tensor) -> Tensor:
        """Return the codes z, (N, D), that the decoder was trained on."""
        scores = self.map.restore(self.prior.to_normal(self.prior.interior(z)))
        return self.prior.from_normal(scores).float()


class _Encode(nn.Module):
    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        return self.model.encode(images, label)


class _Decode(nn.Module):
    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        return self.model.decode(codes, label)


def _copied(model: Autoencoder) -> Autoencoder:
    return copy.deepcopy(model).float().cpu().eval()


def plain_copy(model: Autoencoder) -> Autoencoder:
    """Return a copy with the weights of evaluation, all of them precomputed."""
    model = _copied(model)
    for layer in list(model.modules()):
        if is_parametrized(layer, "weight"):
            weight: Any = layer.weight
            # by hand: PyTorch's remover changes the layer's class, which the original model shares
            layer.__class__ = type(layer).__bases__[0]
            del layer.parametrizations
            layer.weight = nn.Parameter(weight.detach().clone())
    return model


def is_older(kind: type, method: str, other: str) -> bool:
    """Return whether ``other`` is overridden below ``method`` in a class, so that the two may not match.

    >>> is_older(Density, "sampler", "sample")
    False
    """
    above = [next(i for i, base in enumerate(kind.__mro__) if name in vars(base)) for name in (method, other)]
    return above[0] > above[1]


def make_sampler(density: Density) -> Sampler:
    """Return a density as a function of standard normal noise.

    Raises: InputError for a density or a prior without such a function.

    >>> from entropic_ae.densities import Gaussian
    >>> density = Gaussian(torch.ones(1).double(), 4 * torch.eye(1).double())
    >>> make_sampler(density)(torch.zeros(1, 1)).tolist()
    [[1.0]]
    """
    if is_older(type(density), "sampler", "sample"):
        raise no_sampler(density.name)
    return density.sampler().eval()


class Graph(NamedTuple):
    """One ONNX file to write: the module, PyTorch's outputs, and the descriptions of inputs and outputs by name.

    With ``decoded`` the module takes the first input alone, and its output is the first input of the decoder's
    graph, whose output comes first in the file, and whose further inputs are the file's.
    """

    module: nn.Module
    answer: Callable[..., tuple[Tensor, ...]]
    draw: Callable[[int], tuple[Tensor, ...]]
    inputs: dict[str, str]
    outputs: dict[str, str]
    extra: dict[str, str]
    decoded: bool = False

    @property
    def own_inputs(self) -> int:
        """The number of inputs of the module."""
        return 1 if self.decoded else len(self.inputs)


def make_graphs(model: Autoencoder, shape: Sequence[int], densities: Mapping[str, Density]) -> dict[str, Graph]:
    """Return the graphs of encoder, decoder and a sampler for each density, by the names of their files.

    Arguments:
        model: not modified; the graphs are compared with a copy.
        shape: (C, H, W) of its images.
        densities: fitted densities, by name.

    Raises: InputError for a density without a sampler.
    """
    plain, model = plain_copy(model), _copied(model)
    plain.bottleneck = _plain_bottleneck(plain.bottleneck)
    dim, source = model.bottleneck.latent_dim, generator(0)
    axes = f"float32 (N, {', '.join(map(str, shape))}), values in [0, 1], {colours(shape)}, rows, columns"
    codes = f"float32 (N, {dim})" + ", the means of the posteriors" * model.bottleneck.has_posterior
    images = f"{axes}; pixels of 8 bits are round(255 * images)"

    is_direct = model.labels is None and type(model.bottleneck).inverse is Bottleneck.inverse
    label, classes = {}, 0
    if model.labels is not None:
        classes = model.labels.classes
        label = {"label": f"int64 (N,), the class of each image, from 0 to {classes - 1}"}

    def given(first: Tensor) -> tuple[Tensor, ...]:
        if not classes:
            return (first,)
        return first, torch.randint(classes, (len(first),), generator=source)

    def normal(columns: int) -> Callable[[int], tuple[Tensor, ...]]:
        return lambda n: given(torch.randn(n, columns, generator=source))

    graphs = {
        "encoder": Graph(
            _Encode(plain),
            lambda x, y=None: (model.encode(x, y),),
            lambda n: given(_with_edge(torch.rand(n, *shape, generator=source))),
            {"images": f"{axes}; pixels of 8 bits divided by 255", **label},
            {"codes": codes},
            {},
        ),
        "decoder": Graph(
            plain.decoder if is_direct else _Decode(plain),
            lambda z, y=None: (model.decode(z, y),),
            lambda n: given(_with_edge(torch.randn(n, dim, generator=source))),
            {"codes": f"float32 (N, {dim})", **label},
            {"images": images},
            {},
        ),
    }
    for name, density in densities.items():
        sampler = make_sampler(density)
        graphs[f"sampler-{name}"] = Graph(
            sampler,
            partial(_sampled, sampler, model),
            normal(sampler.noise),
            {
                "noise": f"float32 (N, {sampler.noise}), independent standard normal values; {sampler.columns}",
                **label,
            },
            {"images": images, "codes": f"float32 (N, {dim})"},
            {"density": name},
            decoded=True,
        )
    return graphs


def _with_edge(values: Tensor) -> Tensor:
    """Return values with zeros in the last of more than two rows: there a guard against a division by 0 counts.

    The exporter of PyTorch 2.13 takes small guards away.

    >>> _with_edge(torch.ones(3, 1)).tolist(), _with_edge(torch.ones(2, 1)).tolist()
    ([[1.0], [1.0], [0.0]], [[1.0], [1.0]])
    """
    if len(values) > _FEW:
        values[-1] = 0
    return values


def _sampled(
    sampler: Sampler, model: Autoencoder, noise: Tensor, label: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    codes = sampler(noise)
    return model.decode(codes, label), codes


def _plain_bottleneck(bottleneck: Any) -> Any:
    """Return a bottleneck by operations that ONNX has, its weights precomputed."""
    if isinstance(bottleneck, Transported):
        return TracedTransport(bottleneck, _plain_bottleneck(bottleneck.bottleneck)).eval()
    return Whitened(bottleneck).eval() if isinstance(bottleneck, Whitening) else bottleneck


def colours(shape: Sequence[int]) -> str:
    """Return the channels of images, (C, H, W), in words."""
    return {1: "grey", 3: "red, green and blue"}.get(shape[0], f"{shape[0]} channels")
