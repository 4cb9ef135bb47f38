#!/usr/bin/env bash
# lightly 1.6.0, torch 2.13.0 (CPU), torchvision 0.28.0, numpy 2.4.6, Python 3.11.
#
# Input: codes of 64 images in 8 dimensions, four views of each, for EMPSSLLoss; its total coding rate is there to keep
# codes apart. Codes that fill the sphere are compared with codes at one point, with equal noise in the views, and then
# the codes themselves are trained with the loss and SGD. Then codes of two views for CO2Regularizer, which is added to
# a loss in its example.
# One would expect: the collapsed codes have the larger loss, and trained codes fill all 8 dimensions; the regulariser
# has a gradient.
# What happens: the coding rate is added with a plus, where the paper maximises it, so that the loss rewards collapse:
# one point is better than codes that fill the sphere, and codes near 0 are better still. Codes are not normalised in
# it either. The regulariser puts its result into a new tensor, without its history, so that a training with it is the
# training without it; all that is said is a warning about copies of tensors.
# Seen: loss -191.6 of the sphere, -196.4 of one point, -198.7 of codes near 0. After 300 steps, codes that started on
# the sphere are on one line, with singular values of 0.45 and seven of 0.00, and a mean length of 0.45. With the sign
# turned and codes normalised, the singular values are 0.35 to 0.36. The regulariser is 12.4, and 13.5 with a memory
# bank, both with requires_grad False, and gradients are those of the rest of the loss.
#
# What our library does: it has neither loss, and evaluate names a collapse. With lightly, use tcr_loss with a minus on
# normalised codes, as here, and write CO2 out.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pillow tqdm
"$work/env/bin/pip" install --quiet --no-deps lightly==1.6.0 torchvision==0.28.0
cd "$work"
cat > look.py <<'PY'
import sys

import torch
import torch.nn.functional as F

try:
    import torchvision  # noqa: F401
except RuntimeError:  # beside another build of torch its compiled operators are missing; losses need none
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from lightly.loss import EMPSSLLoss
from lightly.loss.emp_ssl_loss import invariance_loss, tcr_loss
from lightly.loss.regularizer import CO2Regularizer

torch.manual_seed(0)
noise = 0.05 * torch.randn(4, 64, 8)
sphere = F.normalize(torch.randn(64, 8), dim=1) + noise
point = sphere[0, :1] + noise
loss = EMPSSLLoss()
found = [loss(list(codes)).item() for codes in (sphere, point, 0.001 * sphere)]
print("loss of the sphere, one point, near 0:", [round(value, 1) for value in found])
assert found[0] > found[1] + 3 > found[2] + 3


def turned(views):  # as in the paper: the coding rate of normalised codes is maximised
    codes = F.normalize(torch.stack(views), dim=-1)
    return -tcr_loss(codes, 0.2) + 200 * invariance_loss(codes)


for name, function in (("as it is", loss), ("with a minus", turned)):
    codes = sphere.clone().requires_grad_()
    optimizer = torch.optim.SGD([codes], lr=0.5)
    for _ in range(300):
        optimizer.zero_grad()
        function(list(codes)).backward()
        optimizer.step()
    codes = codes.detach()
    values = torch.linalg.svdvals(codes.mean(0)) / 8
    length = codes.norm(dim=-1).mean().item()
    print(f"{name}: mean length {length:.2f}, singular values {[round(value, 2) for value in values.tolist()]}")
    assert (values[1] < 0.1 * values[0]) == (function is loss)
    assert function is loss or values[-1] > 0.5 * values[0]

first, second = (torch.randn(32, 8, requires_grad=True) for _ in range(2))
for settings in ({}, {"memory_bank_size": (64, 8)}):
    term = CO2Regularizer(**settings)(first, second)
    print(f"regulariser {settings}: {term.item():.1f}, requires_grad {term.requires_grad}")
    assert term.item() > 1 and not term.requires_grad
    (term + first.square().sum() + second.square().sum()).backward()
    assert torch.equal(first.grad, 2 * first) and torch.equal(second.grad, 2 * second)
    first.grad = second.grad = None
PY
"$work/env/bin/python" look.py 2>/dev/null
