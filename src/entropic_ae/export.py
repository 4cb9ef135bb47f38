"""Export: a trained model as ONNX graphs, or as plain safetensors, for use without this library.

The encoder maps images in [0, 1], (N, C, H, W), to codes, (N, D), the means of their posteriors where they have
any; the decoder maps codes to images in [0, 1]. A sampler, ONNX only, maps noise to new images and their codes.
Its noise is always standard normal: the graph turns it to the density, so that a caller draws it alike for each.

Everything is float32, in evaluation mode, with spectral normalisation folded into the weights.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Laplace, Normal, Uniform
from torch.nn.utils.parametrize import is_parametrized

from entropic_ae import __version__
from entropic_ae.autoencoder import Autoencoder
from entropic_ae.bottlenecks import (
    BatchNorm,
    Bottleneck,
    Code,
    ConstantVariancePosterior,
    Cube,
    GaussianPosterior,
    Identity,
    L1Norm,
    Sphere,
    Whitening,
)
from entropic_ae.densities import (
    DENSITIES,
    Copula,
    Density,
    Gaussian,
    Marginals,
    Mixture,
    Prior,
    SecondStage,
)
from entropic_ae.distributions import UniformSphere
from entropic_ae.errors import InputError, unknown_name
from entropic_ae.files import check_free, write_tensors
from entropic_ae.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from entropic_ae.randomness import generator

__all__ = ["BATCHES", "FORMATS", "INSTALL", "Sampler", "check_export", "export_model", "exported", "make_sampler"]

FORMATS = ("onnx", "safetensors")
BATCHES = (1, 7, 64)  # of the comparison with PyTorch
_TOLERANCE = 1e-4
_SWITCH, _LEVELS = 1.5, 16  # where erfc goes over to its continued fraction, and the levels of that
_LIMIT = 2**31 - 2**24  # bytes of weights: a protobuf message ends at 2 GiB, and names take some
INSTALL = "pip install 'entropic-ae[onnx]'"


# Samplers: each density as a function of standard normal noise.


class Sampler(nn.Module):
    """A density as a function of noise: ``forward`` maps standard normal values, (N, noise), to codes, (N, D).

    Attributes:
        noise: how many values of noise a code takes.
        columns: one sentence on what they do, for the file.

    >>> sampler = make_sampler(Prior(Uniform(-torch.ones(2), torch.ones(2))))
    >>> sampler(torch.tensor([[0.0, 100.0]])).tolist(), sampler.noise
    ([[0.0, 1.0]], 2)
    """

    def __init__(self, noise: int, columns: str, **parameters: Tensor) -> None:
        super().__init__()
        self.noise = noise
        self.columns = columns
        for name, value in parameters.items():
            self.register_buffer(name, value.detach().float().cpu().clone())


class _Normal(Sampler):
    loc: Tensor
    scale: Tensor

    def __init__(self, base: Normal) -> None:
        super().__init__(base.loc.numel(), "each value is scaled and shifted", loc=base.loc, scale=base.scale)

    def forward(self, noise: Tensor) -> Tensor:
        return self.loc + self.scale * noise


class _Laplace(Sampler):
    loc: Tensor
    scale: Tensor

    def __init__(self, base: Laplace) -> None:
        columns = "each value becomes the Laplace quantile of its normal distribution function"
        super().__init__(base.loc.numel(), columns, loc=base.loc, scale=base.scale)

    def forward(self, noise: Tensor) -> Tensor:
        # P(|noise| > z) = erfc(z / sqrt 2) and P(|code - loc| > t) = exp(-t / scale)
        return self.loc - self.scale * noise.sign() * _log_erfc(noise.abs() / math.sqrt(2))


class _Uniform(Sampler):
    low: Tensor
    high: Tensor

    def __init__(self, base: Uniform) -> None:
        columns = "each value becomes the uniform quantile of its normal distribution function"
        super().__init__(base.low.numel(), columns, low=base.low, high=base.high)

    def forward(self, noise: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * _normal_cdf(noise)


class _Sphere(Sampler):
    def __init__(self, base: UniformSphere) -> None:
        super().__init__(base.event_shape[0], "each row is divided by its norm")

    def forward(self, noise: Tensor) -> Tensor:
        return nn.functional.normalize(noise, dim=1)


class _Gaussian(Sampler):
    mean: Tensor
    root: Tensor

    def __init__(self, density: Gaussian) -> None:
        columns = "each row is multiplied by a square root of the covariance and shifted by the mean"
        super().__init__(density.mean.numel(), columns, mean=density.mean, root=_square_root(density.covariance))

    def forward(self, noise: Tensor) -> Tensor:
        return self.mean + noise @ self.root.mT


class _Mixture(Sampler):
    cumulative: Tensor
    means: Tensor
    roots: Tensor

    def __init__(self, density: Mixture) -> None:
        components, dim = density.means.shape
        super().__init__(
            dim + 1,
            f"the first value chooses one of {components} Gaussians, the others draw from it",
            cumulative=(density.weights / density.weights.sum()).cumsum(0)[:-1],
            means=density.means,
            roots=_square_root(density.covariances),
        )

    def forward(self, noise: Tensor) -> Tensor:
        choice, noise = _normal_cdf(noise[:, 0]), noise[:, 1:]
        component = (choice[None] >= self.cumulative[:, None]).sum(0)
        chosen = torch.arange(len(self.means))[:, None] == component[None]
        # a draw from each Gaussian, all but one set to 0: a matrix for every code would take more memory
        drawn = self.means[:, None] + noise @ self.roots.mT
        return (drawn * chosen[:, :, None]).sum(0)


class _Quantiles(Sampler):
    quantiles: Tensor
    root: Tensor

    def __init__(self, density: Marginals | Copula) -> None:
        dim = density.quantiles.shape[1]
        columns = "each value becomes the codes' quantile of its normal distribution function"
        root = torch.eye(dim)
        if isinstance(density, Copula):
            columns = f"each row is correlated, then {columns}"
            root = _square_root(density.correlation)
        super().__init__(dim, columns, quantiles=density.quantiles, root=root)

    def forward(self, noise: Tensor) -> Tensor:
        place = _normal_cdf(noise @ self.root.mT) * (len(self.quantiles) - 1)
        below = place.floor().clamp_max(len(self.quantiles) - 2)
        index = below.long()
        return torch.lerp(self.quantiles.gather(0, index), self.quantiles.gather(0, index + 1), place - below)


class _SecondStage(Sampler):
    mean: Tensor
    deviation: Tensor
    gamma: Tensor

    def __init__(self, density: SecondStage) -> None:
        super().__init__(
            2 * density.mean.numel(),
            "the first half is the second stage's own code, the other half the noise that it adds",
            mean=density.mean,
            deviation=density.deviation,
            gamma=density.gamma,
        )
        self.decoder = copy.deepcopy(density.decoder).float().cpu()

    def forward(self, noise: Tensor) -> Tensor:
        u, noise = noise.chunk(2, dim=1)
        return self.mean + self.deviation * (self.decoder(u) + self.gamma * noise)


_PRIORS: dict[type[Distribution], Callable[[Any], Sampler]] = {
    Normal: _Normal,
    Laplace: _Laplace,
    Uniform: _Uniform,
    UniformSphere: _Sphere,
}


def _prior(density: Prior) -> Sampler:
    base = density.distribution
    base = base.base_dist if isinstance(base, Independent) else base
    if type(base) not in _PRIORS:
        raise InputError(
            f"the prior {type(base).__name__} cannot be exported, as no function of normal noise is known for it; "
            f"expected one of {', '.join(kind.__name__ for kind in _PRIORS)}: leave the prior out."
        )
    return _PRIORS[type(base)](base)


_SAMPLERS: dict[type[Density], Callable[[Any], Sampler]] = {
    Prior: _prior,
    Marginals: _Quantiles,
    Gaussian: _Gaussian,
    Copula: _Quantiles,
    Mixture: _Mixture,
    SecondStage: _SecondStage,
}


def make_sampler(density: Density) -> Sampler:
    """Return a density as a function of standard normal noise.

    Raises: InputError for a density or a prior that is not known to be such a function.

    >>> density = Gaussian(torch.ones(1).double(), 4 * torch.eye(1).double())
    >>> make_sampler(density)(torch.zeros(1, 1)).tolist()
    [[1.0]]
    """
    if type(density) not in _SAMPLERS:
        raise _no_sampler(density.name)
    return _SAMPLERS[type(density)](density).eval()


def _no_sampler(name: str) -> InputError:
    known = ", ".join(kind.name for kind in _SAMPLERS)
    return InputError(f"the density '{name}' cannot be exported as a graph; expected one of {known}.")


def _normal_cdf(x: Tensor) -> Tensor:
    # not ndtr, for which ONNX has no operator
    return (1 + torch.erf(x / math.sqrt(2))) / 2


def _log_erfc(x: Tensor) -> Tensor:
    """Return the logarithm of erfc at x >= 0, which keeps its digits in float32 where 1 - erf(x) has none.

    Reference: Abramowitz and Stegun (1964), equation (7.1.14), the continued fraction.
    """
    large = x.clamp_min(_SWITCH)
    fraction = large
    for k in range(_LEVELS, 0, -1):
        fraction = large + k / 2 / fraction
    far = -large.square() - (math.sqrt(math.pi) * fraction).log()
    near = (1 - torch.erf(x.clamp_max(_SWITCH))).log()
    return torch.where(x < _SWITCH, near, far)


def _square_root(covariance: Tensor) -> Tensor:
    """Return the root by which a density's own ``sample`` multiplies its noise, (..., D, D)."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0).sqrt()[..., None, :]


# The model as it is deployed, and its graphs.


class _Whitened(nn.Module):
    """``Whitening`` in evaluation, its matrix computed once."""

    mean: Tensor
    matrix: Tensor

    def __init__(self, bottleneck: Whitening) -> None:
        super().__init__()
        self.register_buffer("mean", bottleneck.mean)
        self.register_buffer("matrix", bottleneck.matrix().to(bottleneck.mean))

    def forward(self, h: Tensor) -> Code:
        return Code((h - self.mean) @ self.matrix)


class _Encode(nn.Module):
    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.bottleneck = model.bottleneck

    def forward(self, images: Tensor) -> Tensor:
        code: Code = self.bottleneck(self.encoder(images))
        return code.z


class _Sample(nn.Module):
    def __init__(self, sampler: Sampler, decoder: nn.Module) -> None:
        super().__init__()
        self.sampler = sampler
        self.decoder = decoder

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        codes = self.sampler(noise)
        return self.decoder(codes), codes


def _copied(model: Autoencoder) -> Autoencoder:
    return copy.deepcopy(model).float().cpu().eval()


def _plain(model: Autoencoder) -> Autoencoder:
    """Return a copy whose weights are what they are in evaluation, with nothing to be computed before use."""
    model = _copied(model)
    for layer in list(model.modules()):
        if is_parametrized(layer, "weight"):
            weight: Any = layer.weight
            # by hand, as PyTorch's remover changes the layer's class, which is the original's too
            layer.__class__ = type(layer).__bases__[0]
            del layer.parametrizations
            layer.weight = nn.Parameter(weight.detach().clone())
    if isinstance(model.bottleneck, Whitening):
        whitened: Any = _Whitened(model.bottleneck)
        model.bottleneck = whitened
    return model


class _Graph(NamedTuple):
    """One ONNX file to be: the module, PyTorch's answer, and what goes in and out, as (name, description)."""

    module: nn.Module
    answer: Callable[[Tensor], tuple[Tensor, ...]]
    draw: Callable[[int], Tensor]
    inputs: tuple[str, str]
    outputs: dict[str, str]
    extra: dict[str, str]


def _graphs(model: Autoencoder, shape: Sequence[int], densities: Mapping[str, Density]) -> dict[str, _Graph]:
    plain, model = _plain(model), _copied(model)
    dim, source = model.bottleneck.latent_dim, generator(0)
    axes = f"float32 (N, {', '.join(map(str, shape))}), values in [0, 1], {_colours(shape)}, rows, columns"
    codes = f"float32 (N, {dim})" + ", the means of the posteriors" * model.bottleneck.has_posterior
    images = f"{axes}; pixels of 8 bits are round(255 * images)"

    def normal(columns: int) -> Callable[[int], Tensor]:
        return lambda n: torch.randn(n, columns, generator=source)

    graphs = {
        "encoder": _Graph(
            _Encode(plain),
            lambda x: (model.encode(x),),
            lambda n: torch.rand(n, *shape, generator=source),
            ("images", f"{axes}; pixels of 8 bits divided by 255"),
            {"codes": codes},
            {},
        ),
        "decoder": _Graph(
            plain.decoder,
            lambda z: (model.decode(z),),
            normal(dim),
            ("codes", f"float32 (N, {dim})"),
            {"images": images},
            {},
        ),
    }
    for name, density in densities.items():
        sampler = make_sampler(density)
        graphs[f"sampler-{name}"] = _Graph(
            _Sample(sampler, plain.decoder),
            _Sample(sampler, model.decoder),
            normal(sampler.noise),
            ("noise", f"float32 (N, {sampler.noise}), independent standard normal values; {sampler.columns}"),
            {"images": images, "codes": f"float32 (N, {dim})"},
            {"density": name},
        )
    return graphs


def _colours(shape: Sequence[int]) -> str:
    return {1: "grey", 3: "red, green and blue"}.get(shape[0], f"{shape[0]} channels")


def _onnx(name: str, graph: _Graph, about: Mapping[str, str]) -> bytes:
    """Return one graph as the bytes of an ONNX file."""
    import onnx

    size = sum(t.numel() * t.element_size() for t in (*graph.module.parameters(), *graph.module.buffers()))
    if size > _LIMIT:
        raise InputError(
            f"an ONNX file holds at most 2 GiB, got {size / 2**30:.1f} GiB of weights; "
            "export --to safetensors, or train with a smaller width."
        )
    batch = torch.export.Dim("N")
    try:
        with _quiet():
            program = torch.onnx.export(
                graph.module.eval(),
                (graph.draw(2),),
                dynamo=True,
                input_names=[graph.inputs[0]],
                output_names=list(graph.outputs),
                dynamic_shapes=({0: batch},),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:  # of networks of one's own
        reason = str(error.__cause__ or error).strip().partition("\n")[0].rstrip(".")
        raise InputError(
            f"PyTorch cannot make a graph of the {name} ({reason}); write its forward otherwise."
        ) from error
    assert program is not None
    proto = program.model_proto
    # the exporter notes where each operator came from: files of this machine
    inner = proto.graph
    for part in (inner, *inner.node, *inner.value_info, *inner.input, *inner.output, *inner.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    proto.producer_name, proto.producer_version = "entropic-ae", __version__
    kind = name.partition("-")[0]
    proto.doc_string = f"{kind} of '{about['recipe']}', trained on '{about['data']}' by {about['library']}"
    described = {
        f"{way}.{key}": text
        for way, part in (("input", dict([graph.inputs])), ("output", graph.outputs))
        for key, text in part.items()
    }
    onnx.helper.set_model_props(proto, {"kind": kind, **about, **graph.extra, **described})
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own notes (no torchvision, deprecations inside PyTorch) from the person's terminal."""
    notes = logging.getLogger("torch.onnx")
    level = notes.level
    notes.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        notes.setLevel(level)


def _difference(path: Path, graph: _Graph) -> float:
    """Return the largest difference of a written graph from PyTorch; InputError if it is too large."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    largest = 0.0
    for size in BATCHES:
        given = graph.draw(size)
        with torch.no_grad():
            expected = graph.answer(given)
        for ours, theirs in zip(expected, session.run(None, {graph.inputs[0]: given.numpy()}), strict=True):
            difference = (ours - torch.from_numpy(theirs)).abs().max().item()
            # codes without a constraint may be of any size, and so is their rounding
            if not difference <= _TOLERANCE * max(1.0, ours.abs().max().item()):
                raise InputError(
                    f"{path.name} differs from PyTorch by {difference:.1e}, expected at most {_TOLERANCE:g}: "
                    f"nothing is kept; try another onnxruntime than {onnxruntime.__version__}."
                )
            largest = max(largest, difference)
    return largest


# Safetensors: the layers of both networks as data.

_TENSORS = ("weight", "bias", "running_mean", "running_var")
_OPERATIONS: dict[type[nn.Module], Callable[[Any], dict[str, Any]]] = {
    nn.Flatten: lambda _: {"op": "flatten"},
    nn.Linear: lambda _: {"op": "linear"},
    nn.ReLU: lambda _: {"op": "relu"},
    nn.BatchNorm1d: lambda layer: {"op": "batch_norm", "eps": layer.eps},
    nn.BatchNorm2d: lambda layer: {"op": "batch_norm", "eps": layer.eps},
    nn.Conv2d: lambda layer: {"op": "conv2d", "stride": layer.stride, "padding": layer.padding},
    nn.ConvTranspose2d: lambda layer: {
        "op": "conv_transpose2d",
        "stride": layer.stride,
        "padding": layer.padding,
        "output_padding": layer.output_padding,
    },
}
_MEANING = {
    "affine": "scale * x + shift, by value",
    "batch_norm": "(x - running_mean) / sqrt(running_var + eps), by channel, then times weight plus bias if given",
    "conv2d": "weight is (outputs, inputs, rows, columns); bias if given; zeros are the padding",
    "conv_transpose2d": "weight is (inputs, outputs, rows, columns); bias if given",
    "crop": "the first rows and columns, as many as size says",
    "divide_by_norm": "each row by its Euclidean norm, which counts as eps at least",
    "first": "the first features, as many as size says",
    "flatten": "(N, C, H, W) to (N, C * H * W), the columns of a row first",
    "linear": "x times weight transposed, weight being (outputs, inputs); plus bias if given",
    "multiply": "x times matrix",
    "normalise": "(x - mean) / deviation, by value; mean alone is taken away where no deviation is given",
    "relu": "max(x, 0)",
    "reshape": "(N, ...) to (N, *shape), the reverse of flatten",
    "sigmoid": "1 / (1 + exp(-x))",
    "tanh": "the hyperbolic tangent",
}


class _Part(NamedTuple):
    """A part of the model as data: its layers in order, and the tensors that they name."""

    layers: list[dict[str, Any]]
    tensors: dict[str, Tensor]


def _rows(network: nn.Module, *names: str) -> _Part:
    """Describe some children of a network, layers or sequences of them."""
    layers: list[dict[str, Any]] = []
    tensors: dict[str, Tensor] = {}
    for name in names:
        child = network.get_submodule(name)
        sequence = child.named_children() if isinstance(child, nn.Sequential) else [("", child)]
        for place, layer in sequence:
            prefix = f"{name}.{place}".rstrip(".")
            own = {t: f"{prefix}.{t}" for t in _TENSORS if getattr(layer, t, None) is not None}
            layers.append(_OPERATIONS[type(layer)](layer) | own)
            tensors |= {full: getattr(layer, t) for t, full in own.items()}
    return _Part(layers, tensors)


_CENTRE: dict[str, Any] = {"op": "affine", "scale": 2.0, "shift": -1.0}


def _conv_encoder(network: ConvEncoder) -> _Part:
    convolutions, linear = _rows(network, "convolutions"), _rows(network, "linear")
    layers = [_CENTRE, *convolutions.layers, {"op": "flatten"}, *linear.layers]
    return _Part(layers, convolutions.tensors | linear.tensors)


def _conv_decoder(network: ConvDecoder) -> _Part:
    linear, convolutions = _rows(network, "linear"), _rows(network, "convolutions")
    end: list[dict[str, Any]] = [{"op": "crop", "size": network.shape[1:]}, {"op": "sigmoid"}]
    layers = [*linear.layers, {"op": "reshape", "shape": network.start}, *convolutions.layers, *end]
    return _Part(layers, linear.tensors | convolutions.tensors)


def _mlp_encoder(network: MLPEncoder) -> _Part:
    layers, tensors = _rows(network, "layers")
    return _Part([_CENTRE, *layers], tensors)


def _mlp_decoder(network: MLPDecoder) -> _Part:
    layers, tensors = _rows(network, "layers")
    return _Part([*layers, {"op": "reshape", "shape": network.shape}, {"op": "sigmoid"}], tensors)


def _normalised(mean: Tensor, deviation: Tensor) -> _Part:
    names = {"mean": "bottleneck.mean", "deviation": "bottleneck.deviation"}
    return _Part([{"op": "normalise", **names}], {names["mean"]: mean, names["deviation"]: deviation})


def _running_statistics(bottleneck: BatchNorm) -> _Part:
    mean, variance = bottleneck.norm.running_mean, bottleneck.norm.running_var
    assert mean is not None
    assert variance is not None
    return _normalised(mean, (variance + bottleneck.norm.eps).sqrt())


def _whitened(bottleneck: _Whitened) -> _Part:
    names = {"mean": "bottleneck.mean", "matrix": "bottleneck.matrix"}
    layers = [{"op": "normalise", "mean": names["mean"]}, {"op": "multiply", "matrix": names["matrix"]}]
    return _Part(layers, {names["mean"]: bottleneck.mean, names["matrix"]: bottleneck.matrix})


_PARTS: dict[type[nn.Module], Callable[[Any], _Part]] = {
    ConvEncoder: _conv_encoder,
    ConvDecoder: _conv_decoder,
    MLPEncoder: _mlp_encoder,
    MLPDecoder: _mlp_decoder,
    Identity: lambda _: _Part([], {}),
    ConstantVariancePosterior: lambda _: _Part([], {}),
    GaussianPosterior: lambda bottleneck: _Part([{"op": "first", "size": bottleneck.latent_dim}], {}),
    BatchNorm: _running_statistics,
    L1Norm: lambda bottleneck: _normalised(bottleneck.mean, bottleneck.deviation + bottleneck.eps),
    _Whitened: _whitened,
    Sphere: lambda bottleneck: _Part([{"op": "divide_by_norm", "eps": bottleneck.eps}], {}),
    Cube: lambda _: _Part([{"op": "tanh"}], {}),
}


def _part(module: nn.Module) -> _Part:
    if type(module) not in _PARTS:
        known = ", ".join(sorted(kind.__name__.lstrip("_") for kind in _PARTS))
        raise InputError(
            f"{type(module).__name__} cannot be described for safetensors; expected one of {known}: "
            "export --to onnx, which takes any network."
        )
    return _PARTS[type(module)](module)


def _prior_of(bottleneck: Bottleneck) -> str:
    prior = bottleneck.prior()
    base = prior.base_dist if isinstance(prior, Independent) else prior
    return {
        Normal: "standard normal: independent values of mean 0 and variance 1",
        Laplace: "independent Laplace variables of location 0 and scale 1",
        Uniform: "independent uniform variables on [-1, 1]",
        UniformSphere: "uniform on the unit sphere",
    }.get(type(base), type(base).__name__)


def _describe(
    model: Autoencoder, shape: Sequence[int], about: Mapping[str, str], settings: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return the tensors of encoder and decoder, and what model.json says."""
    plain = _plain(model)
    encoder, bottleneck, decoder = (_part(m) for m in (plain.encoder, plain.bottleneck, plain.decoder))
    parts = {
        "encoder": _Part(encoder.layers + bottleneck.layers, encoder.tensors | bottleneck.tensors),
        "decoder": decoder,
    }
    used = sorted({layer["op"] for part in parts.values() for layer in part.layers})
    content = {
        **about,
        "images": {
            "shape": list(shape),
            "layout": f"float32 (N, C, H, W): N images, {_colours(shape)}, rows, columns",
            "range": [0, 1],
            "from 8 bits": "pixels / 255",
            "to 8 bits": "round(255 * images)",
        },
        "codes": {
            "shape": [model.bottleneck.latent_dim],
            "posterior": "its mean" if model.bottleneck.has_posterior else None,
            "prior": _prior_of(model.bottleneck),
        },
        **{name: {"file": f"{name}.safetensors", "layers": part.layers} for name, part in parts.items()},
        "operations": {op: _MEANING[op] for op in used},
        "settings": dict(settings),
    }
    return {name: part.tensors for name, part in parts.items()}, content


# Files.


def check_export(to: str, densities: Sequence[str] | None, out: Path, *, overwrite: bool = False) -> None:
    """Raise InputError for an export that cannot work, before anything is computed.

    Arguments:
        to: a name in ``FORMATS``.
        densities: names of those to export a sampler for, or None where they were not chosen.
        out: the folder to be.
        overwrite: whether files of an earlier export are replaced.

    >>> check_export("onx", None, Path("nowhere"))
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: unknown format 'onx'; did you mean 'onnx'? Known: onnx, safetensors.
    """
    if to not in FORMATS:
        raise unknown_name("format", to, FORMATS)
    if to == "safetensors" and densities is not None:
        raise InputError("safetensors hold no samplers, got densities; leave them out, or export --to onnx.")
    for name in densities or ():
        if DENSITIES.find(name) not in _SAMPLERS:
            raise _no_sampler(name)
    if out.suffix in (".onnx", ".safetensors", ".json"):
        raise InputError(f"an export is a folder of several files, got {out}; give a name without {out.suffix}.")
    check_free(out, overwrite=overwrite)
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if to == "onnx" and missing:
        raise InputError(f"export to ONNX needs {' and '.join(missing)}, which cannot be imported; {INSTALL}.")


def export_model(
    model: Autoencoder,
    shape: Sequence[int],
    out: str | Path,
    *,
    to: str = "onnx",
    densities: Mapping[str, Density] | None = None,
    about: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[Path, float | None]:
    """Write a model into a folder: encoder, decoder and, as ONNX, a sampler for each density.

    The ONNX files are compared with PyTorch where onnxruntime is installed, for batches of 1, 7 and 64, and kept
    only if every value is within 1e-4 (of codes: times the largest of them, if that is above 1).

    Arguments:
        model: left as it is.
        shape: (C, H, W) of its images.
        out: the folder, made if missing; refused if anything is in it, unless ``overwrite``.
        to: onnx or safetensors.
        densities: fitted ones, by name; none for safetensors.
        about: what the files say of their origin, with ``recipe`` and ``data``.
        settings: what model.json lists besides, for a person.
        overwrite: replace the files of an earlier export. Other files in the folder stay.

    Returns: by file, the largest difference from PyTorch, or None where it was not compared.

    Raises: InputError, see ``check_export``; also for a prior, a network or a size that the format cannot hold,
        and for a network of one's own that PyTorch cannot trace.

    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> with tempfile.TemporaryDirectory() as out:
    ...     [path.name for path in export_model(model, (1, 8, 8), out, to="safetensors")]
    ['encoder.safetensors', 'decoder.safetensors', 'model.json']
    """
    out = Path(out)
    check_export(to, None if densities is None else list(densities), out, overwrite=overwrite)
    about = {"recipe": "a model", "data": "images", "library": f"entropic-ae {__version__}", **(about or {})}
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        whole = Path(temporary, out.name)
        whole.mkdir()
        written: dict[str, float | None] = {}
        if to == "onnx":
            for name, graph in _graphs(model, shape, densities or {}).items():
                path = whole / f"{name}.onnx"
                path.write_bytes(_onnx(name, graph, about))
                written[path.name] = _difference(path, graph) if find_spec("onnxruntime") else None
        else:
            parts, content = _describe(model, shape, about, settings or {})
            for name, tensors in parts.items():
                write_tensors(whole / f"{name}.safetensors", tensors)
                written[f"{name}.safetensors"] = None
            (whole / "model.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            written["model.json"] = None
        _place(whole, out, to)
    return {out / name: difference for name, difference in written.items()}


def exported(folder: Path, to: str) -> list[Path]:
    """Return the files of an earlier export in a folder.

    >>> exported(Path("nowhere"), "onnx")
    []
    """
    names = {
        "onnx": ("encoder.onnx", "decoder.onnx", *(f"sampler-{name}.onnx" for name in DENSITIES)),
        "safetensors": ("encoder.safetensors", "decoder.safetensors", "model.json"),
    }
    return [folder / name for name in names[to] if (folder / name).is_file()]


def _place(whole: Path, out: Path, to: str) -> None:
    """Move finished files to their folder, in place of an earlier export's."""
    if out.is_dir() and any(out.iterdir()):
        for path in exported(out, to):  # a sampler that is not made again belongs to other weights
            if not (whole / path.name).exists():
                path.unlink()
        for path in whole.iterdir():
            path.replace(out / path.name)
        return
    if out.is_dir():
        out.rmdir()  # empty
    whole.rename(out)
