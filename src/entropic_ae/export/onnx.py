"""Graphs as ONNX files, and the comparison of onnxruntime with PyTorch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from entropic_ae.errors import InputError
from entropic_ae.export.graphs import Graph
from entropic_ae.version import __version__

__all__ = ["BATCHES", "largest_difference", "onnx_bytes"]

BATCHES = (1, 7, 64)  # batch sizes of the comparison with PyTorch
_TOLERANCE = 1e-4
_LIMIT = 2**31 - 2**24  # bytes of weights: a protobuf message holds at most 2 GiB, including names


def onnx_bytes(name: str, graph: Graph, about: Mapping[str, str]) -> bytes:
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
    except torch.onnx.OnnxExporterError as error:  # of custom networks
        reason = str(error.__cause__ or error).strip().partition("\n")[0].rstrip(".")
        raise InputError(f"PyTorch cannot make a graph of the {name} ({reason}); rewrite its forward.") from error
    assert program is not None
    proto = program.model_proto
    # the exporter records the source of each operator: paths of this machine
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
            expected = graph.answer(given)
        for ours, theirs in zip(expected, session.run(None, {graph.inputs[0]: given.numpy()}), strict=True):
            difference = (ours - torch.from_numpy(theirs)).abs().max().item()
            # codes without a constraint may have any scale; the rounding error is relative to it
            if not difference <= _TOLERANCE * max(1.0, ours.abs().max().item()):
                raise InputError(
                    f"{path.name} differs from PyTorch by {difference:.1e}, expected at most {_TOLERANCE:g}; "
                    f"no file is kept: try another version of onnxruntime than {onnxruntime.__version__}."
                )
            largest = max(largest, difference)
    return largest
