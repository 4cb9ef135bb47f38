"""Graphs as ONNX files, and the comparison of onnxruntime with PyTorch."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from entropic_ae.errors import InputError
from entropic_ae.export.graphs import Graph
from entropic_ae.version import __version__

__all__ = ["BATCHES", "largest_difference", "onnx_files"]

BATCHES = (1, 7, 64)  # batch sizes of the comparison with PyTorch
_TOLERANCE = 1e-4
_BATCH = "N"  # of the batch dimension; numbered while graphs are parts of one program
_NUMBERED = re.compile(rf"\b{_BATCH}\d+\b")
_INSIDE = "codes_inside"  # the codes of a sampler, on their way to the decoder
_LIMIT = 2**31 - 2**24  # bytes of weights: a protobuf message holds at most 2 GiB, including names


def onnx_files(graphs: Mapping[str, Graph], about: Mapping[str, str]) -> dict[str, bytes]:
    """Return graphs as the bytes of ONNX files, by name.

    They are exported as one program, of which each file is a part, since most of the time of an export does not
    depend on the size of the program. All samplers share one decoder in it.
    """
    for graph in graphs.values():
        modules = [graph.module, *([graphs["decoder"].module] if graph.decoded else [])]
        tensors = [t for module in modules for t in (*module.parameters(), *module.buffers())]
        size = sum(t.numel() * t.element_size() for t in tensors)
        if size > _LIMIT:
            raise InputError(
                f"an ONNX file holds at most 2 GiB, got {size / 2**30:.1f} GiB of weights; "
                "export --to safetensors, or train with a smaller width."
            )
    try:
        parts = _parts(graphs)
    except torch.onnx.OnnxExporterError:  # of a custom network: of which one, an export of each tells
        parts = {name: _single(name, graph) for name, graph in graphs.items()}
    for name, graph in graphs.items():
        if graph.decoded:
            _append(parts[name].graph, parts["decoder"].graph)
    return {name: _described(parts[name], name, graph, about) for name, graph in graphs.items()}


class _SideBySide(nn.Module):
    """Modules, each with inputs of its own."""

    def __init__(self, graphs: Iterable[Graph]) -> None:
        super().__init__()
        parts = list(graphs)
        self.inner = nn.ModuleList(graph.module for graph in parts)
        self.numbers = [graph.own_inputs for graph in parts]

    def forward(self, *given: Tensor) -> tuple[Any, ...]:
        rest = iter(given)
        return tuple(
            module(*islice(rest, number)) for module, number in zip(self.inner, self.numbers, strict=True)
        )


def _parts(graphs: Mapping[str, Graph]) -> dict[str, Any]:
    """Return the modules of graphs as onnx.ModelProto by name, exported as one program."""
    import onnx_ir

    # a symbol for each batch size, or one part would take its own from the input of another
    drawn = [graph.draw(2)[: graph.own_inputs] for graph in graphs.values()]
    sizes = [{0: torch.export.Dim(f"{_BATCH}{i}")} for i, given in enumerate(drawn) for _ in given]
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            _SideBySide(graphs.values()).eval(),
            tuple(one for given in drawn for one in given),
            dynamo=True,
            dynamic_shapes=(tuple(sizes),),
            verbose=False,
        )
    assert program is not None
    whole = program.model.graph
    parts, inputs, outputs = {}, iter(whole.inputs), iter(whole.outputs)
    for name, graph in graphs.items():
        called, names = list(graph.inputs)[: graph.own_inputs], ["codes"] if graph.decoded else list(graph.outputs)
        given = list(islice(inputs, len(called)))
        try:
            part = onnx_ir.convenience.extract(whole, given, list(islice(outputs, len(names))))
        except ValueError as error:  # it uses a value that nothing computes
            raise _invalid(name, error) from error
        for value, own in zip((*part.inputs, *part.outputs), (*called, *names), strict=True):
            value.name = own
        functions = list(program.model.functions.values())
        model = onnx_ir.Model(part, ir_version=program.model.ir_version, functions=functions)
        parts[name] = onnx_ir.to_proto(model)
    return parts


def _single(name: str, graph: Graph) -> Any:
    try:
        return _parts({name: graph})[name]
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0].rstrip(".")
        raise InputError(f"PyTorch cannot make a graph of the {name} ({reason}); rewrite its forward.") from error


def _invalid(name: str, error: Exception) -> InputError:
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    return InputError(
        f"PyTorch's exporter makes a graph of the {name} that is not valid ({reason}); rewrite its forward, such "
        "as with both bounds in one clamp."
    )


def _append(graph: Any, decoder: Any) -> None:
    """Let a graph of codes continue with the decoder's, which has the same names for the same values.

    The decoder's further inputs, the label, become inputs of the whole.
    """
    import onnx

    graph.input.extend(decoder.input[1:])
    known = {tensor.name for tensor in graph.initializer}
    graph.node.extend(decoder.node)
    graph.initializer.extend(tensor for tensor in decoder.initializer if tensor.name not in known)
    described = {value.name for value in (*graph.value_info, *graph.output)}
    graph.value_info.extend(value for value in decoder.value_info if value.name not in described)
    outputs = (*decoder.output, *graph.output)
    del graph.output[:]
    graph.output.extend(outputs)
    # what is an output is used nowhere inside: converters to float16 give outputs their own type
    _rename(graph.node, "codes", _INSIDE)
    graph.node.append(onnx.helper.make_node("Identity", [_INSIDE], ["codes"], name="output_codes"))


def _rename(nodes: Iterable[Any], old: str, new: str) -> None:
    """Rename a value in nodes, and in the loops in them."""
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
        for attribute in node.attribute:
            _rename(attribute.g.node, old, new)


def _described(proto: Any, name: str, graph: Graph, about: Mapping[str, str]) -> bytes:
    """Return a graph as the bytes of a file, with its names and its origin."""
    import onnx

    inner = proto.graph
    for value in (*inner.input, *inner.output, *inner.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = _NUMBERED.sub(_BATCH, size.dim_param)
    # the exporter records the source of each operator: paths of this machine
    for part in (inner, *inner.node, *inner.value_info, *inner.input, *inner.output, *inner.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    proto.producer_name, proto.producer_version = "entropic-ae", __version__
    kind = name.partition("-")[0]
    proto.doc_string = f"{kind} of '{about['recipe']}', trained on '{about['data']}' by {about['library']}"
    described = {
        f"{way}.{key}": text
        for way, part in (("input", graph.inputs), ("output", graph.outputs))
        for key, text in part.items()
    }
    onnx.helper.set_model_props(proto, {"kind": kind, **about, **graph.extra, **described})
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise _invalid(name, error) from error
    return bytes(proto.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's notes (no torchvision, deprecations inside PyTorch)."""
    notes = logging.getLogger("torch.onnx")
    level = notes.level
    notes.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        notes.setLevel(level)


def largest_difference(path: Path, graph: Graph) -> float:
    """Return the largest difference between a written graph and PyTorch; InputError if it is too large."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    largest = 0.0
    for size in BATCHES:
        given = graph.draw(size)
        with torch.no_grad():
            expected = graph.answer(*given)
        feed = {name: one.numpy() for name, one in zip(graph.inputs, given, strict=True)}
        for values, found in zip(expected, session.run(None, feed), strict=True):
            known = bool(given[0][-1].any() or values[-1].isfinite().all())  # else a part has no value at zero
            ours, theirs = (one if known else one[:-1] for one in (values, torch.from_numpy(found)))
            difference = (ours - theirs).abs().max().item()
            # codes without a constraint may have any scale; the rounding error is relative to it
            if not difference <= _TOLERANCE * max(1.0, ours.abs().max().item()):
                raise InputError(
                    f"{path.name} differs from PyTorch by {difference:.1e}, expected at most {_TOLERANCE:g}; "
                    f"no file is kept: write guards against a division by 0 as clamp(min=...), or try another "
                    f"version of onnxruntime than {onnxruntime.__version__}."
                )
            largest = max(largest, difference)
    return largest
