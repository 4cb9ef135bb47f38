"""An export: a folder of files, which appear once all are written and compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.densities import DENSITIES, Density
from entropic_ae.densities.density import no_sampler
from entropic_ae.errors import InputError, unknown_name
from entropic_ae.export.graphs import is_older, make_graphs
from entropic_ae.export.layers import describe
from entropic_ae.export.onnx import largest_difference, onnx_files
from entropic_ae.storage.files import atomic_folder, check_free
from entropic_ae.storage.tensors import write_tensors
from entropic_ae.version import __version__

__all__ = ["FORMATS", "INSTALL", "check_export", "export_model", "exported"]

FORMATS = ("onnx", "safetensors")
INSTALL = "pip install 'entropic-ae[onnx]'"


def check_export(to: str, densities: Sequence[str] | None, out: Path, *, overwrite: bool = False) -> None:
    """Raise InputError for an export that cannot work, before anything is computed.

    Arguments:
        to: a name in ``FORMATS``.
        densities: names of the densities to export a sampler for, or None for the default.
        out: the folder to write.
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
    if isinstance(densities, str):
        densities = [densities]
    for name in densities or ():
        if is_older(DENSITIES.find(name), "sampler", "sample"):
            raise no_sampler(name)
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
        model: not modified.
        shape: (C, H, W) of its images.
        out: the folder, created if missing; it must be empty unless ``overwrite``.
        to: onnx or safetensors.
        densities: fitted densities, by name; none for safetensors.
        about: the origin recorded in the files, with ``recipe`` and ``data``.
        settings: further content of model.json, for readers.
        overwrite: replace the files of an earlier export. Other files in the folder stay.

    Returns: by file, the largest difference from PyTorch, or None if it was not compared.

    Raises: InputError, see ``check_export``; also for a prior, a network or a size that the format cannot hold,
        and for a custom network that PyTorch cannot trace.

    >>> import tempfile
    >>> from entropic_ae.bottlenecks import BatchNorm
    >>> from entropic_ae.networks import MLPDecoder, MLPEncoder
    >>> model = Autoencoder(MLPEncoder((1, 8, 8), 4), BatchNorm(4), MLPDecoder((1, 8, 8), 4))
    >>> with tempfile.TemporaryDirectory() as out:
    ...     [path.name for path in export_model(model, (1, 8, 8), out, to="safetensors")]
    ['encoder.safetensors', 'decoder.safetensors', 'model.json']
    """
    out = Path(out)
    check_export(to, None if densities is None else list(densities), out, overwrite=overwrite)
    about = {"recipe": "a model", "data": "images", "library": f"entropic-ae {__version__}", **(about or {})}
    with atomic_folder(out, overwrite=overwrite) as whole:
        written: dict[str, float | None] = {}
        if to == "onnx":
            graphs = make_graphs(model, shape, densities or {})
            for name, file in onnx_files(graphs, about).items():
                path = whole / f"{name}.onnx"
                path.write_bytes(file)
                written[path.name] = largest_difference(path, graphs[name]) if find_spec("onnxruntime") else None
        else:
            parts, content = describe(model, shape, about, settings or {})
            for name, tensors in parts.items():
                write_tensors(whole / f"{name}.safetensors", tensors)
                written[f"{name}.safetensors"] = None
            (whole / "model.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            written["model.json"] = None
        for path in exported(out, to):  # a sampler that was not exported again belongs to other weights
            if path.name not in written:
                path.unlink()
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
