"""Exported ONNX files in other runtimes than onnxruntime, in float16 and simplified, on the same noise.

The other libraries are no dependencies. Put them beside the versions of constraints.txt, without what they would
bring; one needs Node:

    pip install --no-deps --target runtimes openvino==2026.4.1 openvino-telemetry tract==0.23.9
    pip install --no-deps --target runtimes onnxconverter-common==1.16.0
    pip install --no-deps --target runtimes onnxslim==0.1.98 onnxsim==0.8.1 onnxoptimizer==0.4.2 colorama
    npm install --prefix runtimes onnxruntime-web@1.30.0
    PYTHONPATH=src:runtimes NODE_PATH=runtimes/node_modules python tests/peers/run_exports.py

It trains small systems on digits for an epoch, exports them with their samplers, and runs each file in all
runtimes. It exits with status 1 if a runtime's values differ from onnxruntime's, or if it takes or refuses other
files than it did. pytest does not collect this file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxoptimizer
import onnxruntime
import onnxsim
import onnxslim
import openvino
import tract
from onnxconverter_common import float16

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
LOOPS = {"t-bn-ae/decoder.onnx", "t-bn-ae/sampler-prior.onnx"}  # a loop within a loop
REFUSED: dict[str, set[str]] = {
    "openvino": LOOPS,
    "tract": LOOPS,
    "float16": {*LOOPS, "t-bn-ae/encoder.onnx"},  # of float64
    "onnxruntime-web": set(),
    "simplified": set(),
}
TOLERANCES = {  # of codes and images
    "openvino": 1e-6,
    "tract": 1e-6,
    "float16": 1e-3,
    "onnxruntime-web": 1e-6,
    "simplified": 1e-6,
}
THROUGH = 1e-4  # of codes that a mixture transport maps


def by_openvino(file: Path, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Run a file on the CPU in single precision."""
    core = openvino.Core()
    model = core.compile_model(core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(model(list(values.values()))[0])


def by_tract(file: Path, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Run a file."""
    return tract.onnx().load(file).into_model().into_runnable().run(list(values.values()))[0].to_numpy()


def in_float16(file: Path, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Convert a file to float16, inputs and outputs excepted, and run it in onnxruntime."""
    return _output(float16.convert_float_to_float16(onnx.load(file), keep_io_types=True), values)


def simplified(file: Path, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Simplify a file by three tools in turn, and run it in onnxruntime."""
    model = onnxsim.simplify(onnxslim.slim(onnx.load(file)))[0]
    return _output(onnxoptimizer.optimize(model, onnxoptimizer.get_fuse_and_elimination_passes()), values)


def _output(model: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(values))[0])


def by_web(file: Path, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Run a file in WebAssembly, in Node."""
    inputs = {
        name: {"type": str(value.dtype), "shape": value.shape, "values": value.ravel().tolist()}
        for name, value in values.items()
    }
    command = ["node", Path(__file__).with_name("run_web.cjs"), file]
    done = subprocess.run(command, input=json.dumps(inputs), capture_output=True, text=True, check=False)
    if "Cannot find module" in done.stderr:
        sys.exit("onnxruntime-web is not installed for Node; see the docstring, and set NODE_PATH.")
    done.check_returncode()
    return np.array(json.loads(done.stdout))


RUNTIMES: dict[str, Callable[[Path, Mapping[str, np.ndarray]], np.ndarray]] = {
    "openvino": by_openvino,
    "tract": by_tract,
    "float16": in_float16,
    "onnxruntime-web": by_web,
    "simplified": simplified,
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
                refused = name in REFUSED[runtime]
                most = THROUGH if name.startswith("t-") else TOLERANCES[runtime]
                try:
                    difference = abs(run(file, values).reshape(expected.shape) - expected).max()
                except Exception:
                    found.append(f"{runtime} refuses it")
                    failures += [f"{name}: {runtime} refuses it"] * (not refused)
                else:
                    found.append(f"{runtime} {difference:.0e}")
                    failures += [f"{name}: {runtime} {difference}"] * (not difference <= most)
                    failures += [f"{name}: {runtime} takes it now"] * refused
            print(name, *found, sep=" | ", flush=True)
    print("\n".join(["", *failures]) if failures else "\nAll as expected.")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
