"""Exported ONNX files in other runtimes than onnxruntime, on the same noise.

The runtimes are no dependencies. Put them beside the versions of constraints.txt, without what they would bring:

    pip install --no-deps --target runtimes openvino==2026.4.1 openvino-telemetry tract==0.23.9
    PYTHONPATH=src:runtimes python tests/peers/run_exports.py

It trains small systems on digits for an epoch, exports them with their samplers, and runs each file in all
runtimes. It exits with status 1 if a runtime's values differ from onnxruntime's, or if it takes or refuses other
files than it did. pytest does not collect this file.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import tract

import entropic_ae as eae

SYSTEMS: dict[str, tuple[str, dict[str, str], tuple[str, ...]]] = {
    "eae": ("eae", {}, ("prior", "marginals", "gaussian", "copula", "mixture")),
    "whitening": ("eae", {"bottleneck": "whitening"}, ("prior", "mixture")),
    "cube": ("eae", {"bottleneck": "cube"}, ("prior", "radial")),
    "sphere": ("eae", {"bottleneck": "sphere"}, ("prior", "mixture")),
    "residual": ("eae", {"network": "residual"}, ("prior",)),
    "2svae": ("2svae", {}, ("prior", "second-stage")),
    "c-eae": ("c-eae", {}, ("prior", "mixture")),
    "q-eae": ("q-eae", {}, ("prior",)),
    "t-bn-ae": ("t-bn-ae", {}, ("prior",)),
}
REFUSED = {"t-bn-ae/decoder.onnx", "t-bn-ae/sampler-prior.onnx"}  # a loop within a loop
TOLERANCE, THROUGH = 1e-6, 1e-4  # of codes and images, and of codes that a mixture transport maps


def by_openvino(file: Path, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Run a file on the CPU in single precision."""
    core = openvino.Core()
    model = core.compile_model(core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(model(list(values.values()))[0])


def by_tract(file: Path, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Run a file."""
    return tract.onnx().load(file).into_model().into_runnable().run(list(values.values()))[0].to_numpy()


RUNTIMES: dict[str, Callable[[Path, Mapping[str, np.ndarray]], np.ndarray]] = {
    "openvino": by_openvino,
    "tract": by_tract,
}


def exports(folder: Path) -> Iterator[Path]:
    """Train and export, and yield the files."""
    for name, (recipe, settings, densities) in SYSTEMS.items():
        run = eae.train(
            recipe,
            "digits",
            set={"width": 2, "latent_dim": 4, **settings},
            epochs=1,
            limit=200,
            device="cpu",
            progress=False,
            out=folder / "runs" / name,
        )
        run.export(out=folder / name, densities=densities)
        yield from sorted((folder / name).glob("*.onnx"))


def main() -> int:
    """Compare and print."""
    failures = []
    draws = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for file in exports(Path(folder)):
            name = str(file.relative_to(folder))
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
            values = {}
            for one in session.get_inputs():
                shape = [size if isinstance(size, int) else 5 for size in one.shape]
                labels = one.type == "tensor(int64)"
                values[one.name] = np.full(shape, 3) if labels else draws.standard_normal(shape, np.float32)
            expected = session.run(None, values)[0]
            found = []
            for runtime, run in RUNTIMES.items():
                try:
                    difference = abs(run(file, values) - expected).max()
                except Exception:
                    found.append(f"{runtime} refuses it")
                    failures += [f"{name}: {runtime} refuses it"] * (name not in REFUSED)
                else:
                    found.append(f"{runtime} {difference:.0e}")
                    failures += [f"{name}: {runtime} {difference}"] * (
                        not difference <= (THROUGH if name.startswith("t-") else TOLERANCE)
                    )
                    failures += [f"{name}: {runtime} takes it now"] * (name in REFUSED)
            print(name, *found, sep=" | ", flush=True)
    print("\n".join(["", *failures]) if failures else "\nAll as expected.")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
