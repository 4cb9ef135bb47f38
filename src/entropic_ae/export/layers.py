"""The layers of both networks as data: the tensors for safetensors, and their description in model.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.bottlenecks import Bottleneck
from entropic_ae.errors import InputError
from entropic_ae.export.graphs import colours, is_older, plain_copy
from entropic_ae.networks import (
    ConvDecoder,
    ConvEncoder,
    FromCells,
    GridDecoder,
    GridEncoder,
    MLPDecoder,
    MLPEncoder,
    ResidualBlock,
    ResidualDecoder,
    ResidualEncoder,
    ToCells,
    UpsamplingConv2d,
)
from entropic_ae.priors import as_prior

__all__ = ["describe"]

_TENSORS = ("weight", "bias", "running_mean", "running_var")
_OPERATIONS: dict[type[nn.Module], Callable[[Any], dict[str, Any]]] = {
    nn.Flatten: lambda _: {"op": "flatten"},
    nn.Linear: lambda _: {"op": "linear"},
    nn.ReLU: lambda _: {"op": "relu"},
    nn.BatchNorm1d: lambda layer: {"op": "batch_norm", "eps": layer.eps},
    nn.BatchNorm2d: lambda layer: {"op": "batch_norm", "eps": layer.eps},
    nn.Conv2d: lambda layer: {"op": "conv2d", "stride": layer.stride, "padding": layer.padding},
    nn.AvgPool2d: lambda layer: {"op": "mean_pool", "size": layer.kernel_size},
    nn.Upsample: lambda layer: _upsample([int(factor) for factor in layer.scale_factor]),
    nn.ConvTranspose2d: lambda layer: {
        "op": "conv_transpose2d",
        "stride": layer.stride,
        "padding": layer.padding,
        "output_padding": layer.output_padding,
    },
    ToCells: lambda _: {"op": "to_cells"},
    FromCells: lambda layer: {"op": "from_cells", "shape": layer.shape},
}
_MEANING = {
    "affine": "scale * x + shift, by value",
    "append_label": "the row of table of the label, after the values of the code",
    "append_label_planes": "the row of table of the label, each value a constant plane after the image's channels",
    "batch_norm": "(x - running_mean) / sqrt(running_var + eps), by channel, then times weight plus bias if given",
    "cell_levels": "for values in [-1, 1], the level of the cell, min(floor(levels * (x + 1) / 2), levels - 1): a "
    "number k from 0, which stands for 2 * k / (levels - 1) - 1",
    "conv2d": "weight is (outputs, inputs, rows, columns); bias if given; zeros are the padding",
    "conv_transpose2d": "weight is (inputs, outputs, rows, columns); bias if given",
    "crop": "the first rows and columns, as many as size says",
    "divide_by_norm": "each row by its Euclidean norm, which counts as eps at least",
    "first": "the first features, as many as size says",
    "flatten": "(N, C, H, W) to (N, C * H * W), the columns of a row first",
    "from_cells": "(N, H * W * C) to (N, C, H, W) with (C, H, W) = shape, the reverse of to_cells",
    "inverse_knothe_rosenblatt": "x with u = knothe_rosenblatt(x): value after value, by a monotone equation",
    "knothe_rosenblatt": "u_d = Phi^-1(P(X_d < x_d | x_1 ... x_(d-1))) for X of the mixture of Gaussians with "
    "these weights, means and covariances and the normal distribution function Phi; compute in float64",
    "linear": "x times weight transposed, weight being (outputs, inputs); plus bias if given",
    "mean_pool": "the means of blocks of size rows and columns, at the edge of as many as there are",
    "multiply": "x times matrix",
    "nearest_levels": "the nearest of the values 2 * k / (levels - 1) - 1, k from 0 to levels - 1, the "
    "larger of two equally near ones",
    "normalise": "(x - mean) / deviation, by value; mean alone is taken away where no deviation is given",
    "relu": "max(x, 0)",
    "residual": "the output of its layers plus that of its shortcut, both of x; a shortcut of no layers is x",
    "reshape": "(N, ...) to (N, *shape), the reverse of flatten",
    "sigmoid": "1 / (1 + exp(-x))",
    "sign": "1 where x is at least 0, -1 elsewhere",
    "tanh": "the hyperbolic tangent",
    "to_cells": "(N, C, H, W) to (N, H * W * C), the channels of a place together, the columns of a row first",
    "upsample": "each row and column repeated, as many times as factor says",
}


class _Part(NamedTuple):
    """A part of the model as data: its layers in order, and the tensors that they refer to."""

    layers: list[dict[str, Any]]
    tensors: dict[str, Tensor]


def _upsample(factor: Sequence[int]) -> dict[str, Any]:
    return {"op": "upsample", "factor": list(factor)}


def _rows(network: nn.Module, *names: str) -> _Part:
    """Describe children of a network: layers, blocks, or sequences of these."""
    layers: list[dict[str, Any]] = []
    tensors: dict[str, Tensor] = {}
    for name in names:
        child = network.get_submodule(name)
        sequence = child.named_children() if isinstance(child, nn.Sequential) else [("", child)]
        for place, layer in sequence:
            part = _row(layer, f"{name}.{place}".rstrip("."))
            layers += part.layers
            tensors |= part.tensors
    return _Part(layers, tensors)


def _row(layer: nn.Module, prefix: str) -> _Part:
    if isinstance(layer, ResidualBlock):
        body, shortcut = (_rows(layer, name) for name in ("body", "shortcut"))
        tensors = {f"{prefix}.{name}": tensor for name, tensor in (body.tensors | shortcut.tensors).items()}
        both = {"layers": _prefixed(body.layers, prefix), "shortcut": _prefixed(shortcut.layers, prefix)}
        return _Part([{"op": "residual", **both}], tensors)
    own = {t: f"{prefix}.{t}" for t in _TENSORS if getattr(layer, t, None) is not None}
    # by its base class: a convolution may skip taps, a batch norm may span all processes
    kind = next(base for base in type(layer).__mro__ if base in _OPERATIONS)
    before = [_upsample(layer.factor)] if isinstance(layer, UpsamplingConv2d) else []
    tensors = {full: getattr(layer, t) for t, full in own.items()}
    return _Part([*before, _OPERATIONS[kind](layer) | own], tensors)


def _prefixed(layers: Sequence[Mapping[str, Any]], prefix: str) -> list[dict[str, Any]]:
    return [{k: f"{prefix}.{v}" if k in _TENSORS else v for k, v in layer.items()} for layer in layers]


def _operations_in(layers: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the operations of layers, those within blocks too."""
    inner = [_operations_in([*layer["layers"], *layer["shortcut"]]) for layer in layers if "shortcut" in layer]
    return {layer["op"] for layer in layers}.union(*inner)


_CENTRE: dict[str, Any] = {"op": "affine", "scale": 2.0, "shift": -1.0}


def _encoder(network: ConvEncoder | ResidualEncoder, name: str) -> _Part:
    convolutions, linear = _rows(network, name), _rows(network, "linear")
    layers = [_CENTRE, *convolutions.layers, {"op": "flatten"}, *linear.layers]
    return _Part(layers, convolutions.tensors | linear.tensors)


def _decoder(network: ConvDecoder | ResidualDecoder, name: str) -> _Part:
    linear, convolutions = _rows(network, "linear"), _rows(network, name)
    end: list[dict[str, Any]] = [{"op": "crop", "size": network.shape[1:]}, {"op": "sigmoid"}]
    layers = [*linear.layers, {"op": "reshape", "shape": network.start}, *convolutions.layers, *end]
    return _Part(layers, linear.tensors | convolutions.tensors)


def _sequence_encoder(network: MLPEncoder | GridEncoder) -> _Part:
    layers, tensors = _rows(network, "layers")
    return _Part([_CENTRE, *layers], tensors)


def _mlp_decoder(network: MLPDecoder) -> _Part:
    layers, tensors = _rows(network, "layers")
    return _Part([*layers, {"op": "reshape", "shape": network.shape}, {"op": "sigmoid"}], tensors)


def _grid_decoder(network: GridDecoder) -> _Part:
    layers, tensors = _rows(network, "layers")
    return _Part([*layers, {"op": "sigmoid"}], tensors)


_PARTS: dict[type[nn.Module], Callable[[Any], _Part]] = {
    ConvEncoder: partial(_encoder, name="convolutions"),
    ConvDecoder: partial(_decoder, name="convolutions"),
    ResidualEncoder: partial(_encoder, name="blocks"),
    ResidualDecoder: partial(_decoder, name="blocks"),
    GridEncoder: _sequence_encoder,
    GridDecoder: _grid_decoder,
    MLPEncoder: _sequence_encoder,
    MLPDecoder: _mlp_decoder,
}


def _part(module: nn.Module) -> _Part:
    if type(module) not in _PARTS:
        known = ", ".join(sorted(kind.__name__ for kind in _PARTS))
        raise InputError(
            f"{type(module).__name__} cannot be described for safetensors; expected one of {known}: "
            "export --to onnx, which takes any network."
        )
    return _PARTS[type(module)](module)


def _codes(bottleneck: Bottleneck) -> _Part:
    """Describe the way from the encoder's output to codes."""
    if is_older(type(bottleneck), "describe", "forward"):  # the description may not match forward
        Bottleneck.describe(bottleneck)
    return _operations(bottleneck, bottleneck.describe())


def _before_decoder(bottleneck: Bottleneck) -> _Part:
    """Describe the way from codes to the decoder's input."""
    if is_older(type(bottleneck), "describe_inverse", "inverse"):
        Bottleneck.describe(bottleneck)
    return _operations(bottleneck, bottleneck.describe_inverse())


def _of_label(model: Autoencoder, op: str) -> _Part:
    """Describe what a network gets of the label: nothing, if the model takes none."""
    if model.labels is None:
        return _Part([], {})
    return _Part([{"op": op, "table": "labels.table"}], {"labels.table": model.labels.table.weight})


def _joined(*parts: _Part) -> _Part:
    """Return parts in sequence."""
    tensors = {name: tensor for part in parts for name, tensor in part.tensors.items()}
    return _Part([layer for part in parts for layer in part.layers], tensors)


def _operations(bottleneck: Bottleneck, described: Sequence[Mapping[str, Any]]) -> _Part:
    """Separate the tensors from the description of a bottleneck, each under the name of the argument."""
    layers: list[dict[str, Any]] = []
    tensors: dict[str, Tensor] = {}
    for place, operation in enumerate(described):
        if operation.get("op") not in _MEANING:
            raise InputError(
                f"{type(bottleneck).__name__}.describe() has the operation {operation.get('op')!r}, expected one "
                f"of {', '.join(_MEANING)}; export --to onnx."
            )
        layer = dict(operation)
        for key, value in operation.items():
            if isinstance(value, Tensor):
                name = f"bottleneck.{key}" if f"bottleneck.{key}" not in tensors else f"bottleneck.{place}.{key}"
                layer[key], tensors[name] = name, value.detach().float().cpu()
        layers.append(layer)
    return _Part(layers, tensors)


def describe(
    model: Autoencoder, shape: Sequence[int], about: Mapping[str, str], settings: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return the tensors of encoder and decoder, and the content of model.json."""
    plain = plain_copy(model)
    encoder, bottleneck, decoder = _part(plain.encoder), _codes(plain.bottleneck), _part(plain.decoder)
    before = _before_decoder(plain.bottleneck)
    planes, values = _of_label(plain, "append_label_planes"), _of_label(plain, "append_label")
    parts = {"encoder": _joined(planes, encoder, bottleneck), "decoder": _joined(before, values, decoder)}
    used = sorted(_operations_in([layer for part in parts.values() for layer in part.layers]))
    content = {
        **about,
        "images": {
            "shape": list(shape),
            "layout": f"float32 (N, C, H, W): N images, {colours(shape)}, rows, columns",
            "range": [0, 1],
            "from 8 bits": "pixels / 255",
            "to 8 bits": "round(255 * images)",
        },
        "codes": {
            "shape": [model.bottleneck.latent_dim],
            "posterior": "its mean" if model.bottleneck.has_posterior else None,
            "prior": as_prior(model.bottleneck.prior()).description,
        },
        **({} if plain.labels is None else {"label": {"shape": [], "classes": plain.labels.classes}}),
        **{name: {"file": f"{name}.safetensors", "layers": part.layers} for name, part in parts.items()},
        "operations": {op: _MEANING[op] for op in used},
        "settings": dict(settings),
    }
    return {name: part.tensors for name, part in parts.items()}, content
