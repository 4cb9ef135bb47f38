#!/usr/bin/env bash
# ncnn 1.0.20261020 (CPU, float32), pnnx 20261020, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: modules of PyTorch, converted by pnnx.export and run by ncnn: x ** 3 and x ** 4, as moments have them;
# torch.remainder by 1, which wraps phases; and AvgPool2d(2, ceil_mode=True) of an image of odd size, as shortcuts of
# residual encoders have it.
# One would expect: equal values, or the words "unsupported" or "not exists" that pnnx and ncnn have for what they do
# not know. PyTorch code of pnnx (the file _pnnx.py) is right for all of them.
# What happens: ncnn's vector code for x86 takes a power as exp(p log x), so negative numbers, and 0, have a huge power;
# only the square is converted to another operator. remainder rounds the quotient to the nearest, PyTorch rounds it
# down. In windows that ceil_mode lets reach over the edge, ncnn divides by the whole window, PyTorch by the pixels that
# are there. No error, no warning.
# Seen: cubes of -2 to 0 above 1e38 or infinite, of positive numbers right; the remainder of 0.75 is -0.25; an image of
# ones, 5 x 5, has 0.5 along two edges and 0.25 in the corner.
#
# What our library does: its residual networks have AvgPool2d with ceil_mode, which ncnn would get wrong for odd sizes;
# they have neither powers nor remainders. Exported files are compared with PyTorch by onnxruntime, not by ncnn.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/env/bin/pip" install --quiet --no-deps ncnn==1.0.20261020 pnnx==20261020
cd "$work"
cat > look.py <<'PY'
import contextlib
import os

import ncnn
import numpy as np
import pnnx
import torch
from torch import nn

torch.set_num_threads(1)


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@contextlib.contextmanager
def into(path):
    """Send what the converter, another process, writes to that file."""
    kept = os.dup(1), os.dup(2)
    with open(path, "w") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield
        finally:
            for number in (1, 2):
                os.dup2(kept[number - 1], number)


def compare(name, module, image):
    with into("log"):
        written = pnnx.export(module.eval(), "module.pt", (image,), fp16=False)
    log = open("log").read()
    assert "unsupported" not in log and "not supported" not in log and "not exists" not in log
    exact = module(image).numpy()
    assert np.allclose(written(image).numpy(), exact, atol=1e-6)
    with ncnn.Net() as net:
        net.opt.num_threads = 1
        for option in ("fp16_arithmetic", "fp16_storage", "fp16_packed", "bf16_storage"):
            setattr(net.opt, "use_" + option, False)
        assert net.load_param("module.ncnn.param") == 0 and net.load_model("module.ncnn.bin") == 0
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(image.numpy(), batch_index=0).clone())
            found = np.array(extractor.extract("out0")[1].numpy(batch_index=0)).copy()
    assert found.shape == exact.shape
    print(name)
    for words, values in (("PyTorch", exact), ("ncnn", found)):
        print(f"  {words}", values.reshape(-1, values.shape[-1]).round(3).tolist())
    return exact, found


values = torch.linspace(-2, 2, 9).view(1, 9)
for power in (3, 4):
    exact, found = compare(f"x ** {power}", Call(lambda x: x**power), values)
    assert (found[0, :5] > 1e38).all() and np.allclose(found[0, 5:], exact[0, 5:], rtol=1e-5)
for name, function in {"x ** 2": lambda x: x**2, "x * x * x": lambda x: x * x * x}.items():
    exact, found = compare(name, Call(function), values)
    assert np.allclose(exact, found, atol=1e-5)

values = torch.tensor([[-1.25, -0.75, -0.25, 0.25, 0.75, 1.25, 1.75]])
exact, found = compare("remainder by 1", Call(lambda x: torch.remainder(x, 1.0)), values)
assert np.allclose(exact, values - np.floor(values)) and np.allclose(found, values - np.round(values))
exact, found = compare("fmod by 1", Call(lambda x: torch.fmod(x, 1.0)), values)
assert np.allclose(exact, found)

ones = torch.ones(1, 1, 5, 5)
exact, found = compare("pooling, ceil_mode", Call(nn.AvgPool2d(2, ceil_mode=True)), ones)
assert (exact == 1).all() and found.ravel().tolist() == [1, 1, 0.5, 1, 1, 0.5, 0.5, 0.5, 0.25]
exact, found = compare("without", Call(nn.AvgPool2d(2)), ones)
assert (exact == 1).all() and (found == 1).all()
PY
OMP_NUM_THREADS=1 "$work/env/bin/python" look.py 2>/dev/null
