#!/usr/bin/env bash
# torchinfo 1.8.0, thop 0.1.1.post2209072238, calflops 0.3.2, onnx-tool 1.0.1, ptflops 0.7.5, torch 2.13.0 (CPU),
# transformers 5.24.0 and accelerate 1.15.0 for calflops, onnx 1.23.2, numpy 2.4.6, Python 3.11.
#
# Input: the multiplications of transposed convolutions without a bias, kernel 4, stride 2, padding 1, as decoders have
# them: 64 to 3 channels, 64 to 64, the same in 8 groups and depthwise. Besides, stride 1, and a convolution in groups.
# One would expect: each value of the input meets each weight of its channel once, so values of the input times weights
# per channel. Counters include what padding cuts off, 6 to 12 % here. On convolutions all of them agree.
# What happens: torchinfo and thop take the values of the output, as for a convolution, although a pixel of the output
# meets a quarter of the kernel only. calflops reads the channels of the output from the weight, which has those of one
# group, and divides by the groups once more, rounded down. onnx-tool multiplies the output by the weight's second
# dimension, which is channels of the output in a transposed convolution, so that those of the input do not count.
# Nothing is reported.
# Seen, as multiples of the right number: torchinfo and thop 4 with stride 2, for a stride s the square of s; calflops
# 1/8 in 8 groups and 0 depthwise, 1 without groups; onnx-tool 0.19 for 64 to 3 channels and 4 for 64 to 64. ptflops
# and torch.utils.flop_counter are right, and all are right with stride 1 and 64 to 64 channels. Of a decoder of four
# layers, from 128 to 3 channels, torchinfo and thop have 4 times the right number, onnx-tool 2.3 times.
#
# What our library does: it counts with torch.utils.flop_counter.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 onnx==1.23.2 transformers==5.24.0 accelerate==1.15.0
"$work/env/bin/pip" install --quiet tabulate==0.10.0
"$work/env/bin/pip" install --quiet --no-deps torchinfo==1.8.0 thop==0.1.1.post2209072238 calflops==0.3.2 \
  onnx-tool==1.0.1 ptflops==0.7.5
cd "$work"
cat > look.py <<'PY'
import contextlib
import io

import onnx
import onnx_tool
import ptflops
import thop
import torch
import torchinfo
from calflops import calculate_flops
from onnx import TensorProto, checker, helper, numpy_helper
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

torch.set_num_threads(1)
torch.manual_seed(0)


def right(layers, x):
    """Return the products of all layers, and those of them that reach the output."""
    every = kept = 0
    for layer in layers:
        if isinstance(layer, nn.ConvTranspose2d):
            every += x.numel() * layer.weight[0].numel()
        else:
            every += layer(x).numel() * layer.weight[0].numel()
        ones = type(layer)(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding,
            groups=layer.groups, bias=False,
        )
        nn.init.ones_(ones.weight)
        kept += int(ones.double()(torch.ones_like(x, dtype=torch.float64)).sum())
        x = layer(x)
    return every, kept


def of_onnx(layers, x):
    nodes, weights = [], []
    for index, layer in enumerate(layers):
        kind = "ConvTranspose" if isinstance(layer, nn.ConvTranspose2d) else "Conv"
        settings = {
            "kernel_shape": layer.kernel_size, "strides": layer.stride, "pads": layer.padding * 2,
            "group": layer.groups,
        }
        nodes.append(helper.make_node(kind, [f"x{index}", f"w{index}"], [f"x{index + 1}"], **settings))
        weights.append(numpy_helper.from_array(layer.weight.detach().numpy(), f"w{index}"))
    shapes = [(name, TensorProto.FLOAT, tuple(one.shape)) for name, one in ((f"x{len(layers)}", layers(x)), ("x0", x))]
    last, first = (helper.make_tensor_value_info(*shape) for shape in shapes)
    graph = helper.make_graph(nodes, "graph", [first], [last], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    onnx.save(model, "graph.onnx")
    graph = onnx_tool.Model("graph.onnx", {"verbose": False}).graph
    graph.shape_infer({})
    graph.profile()
    return int(graph.macs[0])


def counts(layers, x):
    shape = tuple(x.shape)
    with FlopCounterMode(display=False) as counter:
        layers(x)
    found = {
        "torch": counter.get_total_flops() // 2,
        "torchinfo": torchinfo.summary(layers, input_data=x, verbose=0).total_mult_adds,
        "onnx-tool": of_onnx(layers, x),
    }
    with contextlib.redirect_stdout(io.StringIO()):
        found["ptflops"] = ptflops.get_model_complexity_info(
            layers, shape[1:], as_strings=False, print_per_layer_stat=False
        )[0]
        found["calflops"] = calculate_flops(layers, input_shape=shape, output_as_string=False, print_results=False)[1]
        found["thop"] = thop.profile(layers, (x,), verbose=False)[0]
    return found


def upwards(inside, outside, groups=1):
    return nn.ConvTranspose2d(inside, outside, 4, 2, 1, groups=groups, bias=False)


cases = {
    "64 to 3": [upwards(64, 3)],
    "64 to 64": [upwards(64, 64)],
    "8 groups": [upwards(64, 64, 8)],
    "depthwise": [upwards(64, 64, 64)],
    "stride 4": [nn.ConvTranspose2d(64, 64, 4, 4, bias=False)],
    "stride 1": [nn.ConvTranspose2d(64, 64, 3, 1, 1, bias=False)],
    "convolution": [nn.Conv2d(64, 64, 4, 2, 1, groups=8, bias=False)],
    "decoder": [upwards(128, 128), upwards(128, 64), upwards(64, 32), upwards(32, 3)],
}
found = {}
for name, layers in cases.items():
    layers = nn.Sequential(*layers).eval()
    x = torch.randn(1, layers[0].in_channels, *((4, 4) if name == "decoder" else (16, 16)))
    with torch.no_grad():
        every, kept = right(layers, x)
        found[name] = {key: value / every for key, value in counts(layers, x).items()}
    print(f"{name}: {every:,} products, {kept / every:.2f} of them kept;", end=" ")
    print(", ".join(f"{key} {value:.3g}" for key, value in sorted(found[name].items())))
    assert kept > 0.8 * every

for name, ratios in found.items():
    assert ratios["torch"] == ratios["ptflops"] == 1
    squared = {"stride 4": 16, "stride 1": 1, "convolution": 1}.get(name, 4)
    assert ratios["torchinfo"] == ratios["thop"] == squared
    assert ratios["calflops"] == {"8 groups": 1 / 8, "depthwise": 0}.get(name, 1)
assert found["convolution"]["onnx-tool"] == found["stride 1"]["onnx-tool"] == 1
assert found["64 to 64"]["onnx-tool"] == 4 and found["64 to 3"]["onnx-tool"] == 4 * 3 / 64
assert 1.5 < found["decoder"]["onnx-tool"] < 3
PY
"$work/env/bin/python" look.py 2>/dev/null
