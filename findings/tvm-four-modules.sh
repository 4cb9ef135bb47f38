#!/usr/bin/env bash
# apache-tvm 0.27.0.post1 (CPU, llvm), torch 2.13.0 (CPU), onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, Python 3.11.
#
# Input: four modules of PyTorch, as encoders and decoders have them: SELU; nearest resizing of 8 pixels to 5; bilinear
# resizing by a factor of 0.7 and 1.7; grid_sample with the identity grid. Each is exported by torch.export, taken by
# TVM's from_exported_program, compiled and run. The resizing by 0.7 also as an ONNX graph, by from_onnx.
# One would expect: equal values, or an error, which TVM gives for what it does not know.
# What happens: torch.export writes SELU as ELU with three numbers, of which TVM reads the first alone, so the factor
# 1.0507 is gone. Nearest resizing rounds half-pixel coordinates, where PyTorch rounds i times 8 / 5 down. A factor is
# used for the size, then forgotten: pixels are taken at the quotient of the whole sizes, though PyTorch and ONNX take
# them at the factor. The grid has its coordinates last in PyTorch, TVM's operator has them second, and nothing is
# turned, so the image has another size. No error, no warning.
# Seen: SELU of 1, 2, 3 is 1, 2, 3; a ramp 0 to 7 becomes 0, 2, 4, 5, 7, by PyTorch 0, 1, 3, 4, 6; at 0.7 it ends with
# 6.7, by PyTorch and onnxruntime 5.93; at 1.7 it is wrong by up to 0.31; 8 x 8 pixels become 8 x 2. Nearest resizing to
# twice the size is right.
#
# What our library does: its decoders repeat pixels by whole factors and have none of the four; grid_sample is in
# augmentation alone, which is not exported.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 ml_dtypes==0.6.0
"$work/env/bin/pip" install --quiet --no-deps apache-tvm==0.27.0.post1 apache-tvm-ffi==0.1.15.post2
cd "$work"
cat > look.py <<'PY'
import numpy as np
import onnx
import onnxruntime
import torch
import tvm
from onnx import helper
from torch import nn
from torch.nn import functional
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx
from tvm.relax.frontend.torch import from_exported_program

torch.set_num_threads(1)


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def run(module, *inputs):
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
    output = machine["main"](*[tvm.runtime.tensor(each.numpy()) for each in inputs])
    return (output if hasattr(output, "numpy") else output[0]).numpy()


def compare(name, module, *inputs):
    found = run(from_exported_program(torch.export.export(module.eval(), inputs)), *inputs)
    exact = module(*inputs).numpy()
    print(f"{name}: PyTorch {exact.shape} {exact.ravel()[:6].round(3)}, TVM {found.shape} {found.ravel()[:6].round(3)}")
    return exact, found


def resizing(**how):
    return Call(lambda x: functional.interpolate(x, **how))


values = torch.tensor([[-2.0, -1.0, 0.5, 1.0, 2.0, 3.0]])
exact, found = compare("SELU", nn.SELU(), values)
assert np.allclose(exact / found, 1.0507, atol=1e-4)
exact, found = compare("ELU, alpha 0.5", nn.ELU(0.5), values)
assert np.allclose(exact, found, atol=1e-6)

image = torch.arange(8.0).repeat(1, 1, 8, 1)
exact, found = compare("nearest, factor 2", resizing(scale_factor=2), image)
assert np.array_equal(exact, found)
exact, found = compare("nearest, to 5", resizing(size=5), image)
assert exact[0, 0, 0].tolist() == [i * 8 // 5 for i in range(5)] and found[0, 0, 0].tolist() == [0, 2, 4, 5, 7]

for factor, least in ((0.7, 0.7), (1.7, 0.25)):
    exact, found = compare(f"bilinear, factor {factor}", resizing(scale_factor=factor, mode="bilinear"), image)
    at = [np.clip((np.arange(exact.shape[-1]) + 0.5) / scale - 0.5, 0, 7) for scale in (factor, exact.shape[-1] / 8)]
    assert np.allclose(exact[0, 0, 0], at[0], atol=1e-5) and np.allclose(found[0, 0, 0], at[1], atol=1e-5)
    print(f"  largest difference {np.abs(exact - found).max():.2f}")
    assert np.abs(exact - found).max() > least
    exact, found = compare(f"bilinear, to {exact.shape[-1]}", resizing(size=exact.shape[-1], mode="bilinear"), image)
    assert np.allclose(exact, found, atol=1e-5)

lines = torch.linspace(-1, 1, 8)
grid = torch.stack(torch.meshgrid(lines, lines, indexing="xy"), -1)[None]
sampling = Call(lambda x, g: functional.grid_sample(x, g, align_corners=True))
exact, found = compare("identity grid", sampling, image, grid)
assert np.allclose(exact, image.numpy(), atol=1e-5) and found.shape == (1, 1, 8, 2)

node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear")
ends = [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", [1, 1, 8, 8]), ("y", None))]
scales = onnx.numpy_helper.from_array(np.array([1, 1, 0.7, 0.7], np.float32), "scales")
graph = helper.make_graph([node], "graph", ends[:1], ends[1:], [scales])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
(exact,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": image.numpy()})
found = run(from_onnx(model), image)
print(f"ONNX, factor 0.7: onnxruntime {exact[0, 0, 0].round(3)}, TVM {found[0, 0, 0].round(3)}")
assert abs(exact[0, 0, 0, -1] - 5.929) < 1e-3 and abs(found[0, 0, 0, -1] - 6.7) < 1e-3
PY
OMP_NUM_THREADS=1 TVM_NUM_THREADS=1 "$work/env/bin/python" look.py 2>/dev/null
