#!/usr/bin/env bash
# zuko 1.6.0, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: distributions of PyTorch, asked for what they have no answer to: a log-density outside of the support, a
# negative standard deviation, a mean that is no number, a covariance that is not symmetric. Before and after
# "import zuko", a library of normalizing flows that others, as sbi and lampe, import too.
# One would expect: a ValueError, PyTorch's default, before and after: an import adds names, and zuko is not used.
# What happens: when it is imported, zuko sets two attributes of the class Distribution itself. No distribution of
# PyTorch in this process checks its parameters or values any more, in code that never heard of zuko. Nothing is
# reported, and the documentation does not have it. What was an error is now a number, and a mistake in a training shows
# late or never. A distribution that is given validate_args=True checks as before.
# Seen: 6 of 6 raise a ValueError before, none after. The log-density of Exponential(1) at -3 is 3, more than it has
# anywhere in its support; the divergence of N(0, -1) from N(0, 1) is 0; a mean of NaN draws NaN.
#
# What our library does: it does not use zuko, and changes no setting of PyTorch's distributions. Where it does without
# checks, it says so to the one distribution.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/env/bin/pip" install --quiet --no-deps zuko==1.6.0
cd "$work"
cat > look.py <<'PY'
import math

import torch
from torch.distributions import Exponential, LogNormal, MultivariateNormal, Normal, Poisson, kl_divergence

one_sided = torch.tensor([[1.0, 0.9], [0.2, 1.0]])
questions = {
    "log-density of Exponential(1) at -3": lambda: Exponential(1.0).log_prob(torch.tensor(-3.0)),
    "log-probability of Poisson(2) at 1.5": lambda: Poisson(2.0).log_prob(torch.tensor(1.5)),
    "log-density of LogNormal(0, 1) at -1": lambda: LogNormal(0.0, 1.0).log_prob(torch.tensor(-1.0)),
    "divergence of N(0, -1) from N(0, 1)": lambda: kl_divergence(Normal(0.0, -1.0), Normal(0.0, 1.0)),
    "draw of N(nan, 1)": lambda: Normal(torch.tensor(math.nan), 1.0).sample(),
    "log-density with a covariance of 0.9 and 0.2": lambda: MultivariateNormal(torch.zeros(2), one_sided).log_prob(
        torch.ones(2)
    ),
}


def ask():
    answers = {}
    for name, question in questions.items():
        try:
            answers[name] = question().item()
        except ValueError:
            answers[name] = "ValueError"
        print(f"  {name}: {answers[name]}")
    return answers


print("before")
before = ask()
import zuko  # noqa: E402

print(f"after import zuko {zuko.__version__}")
after = ask()
assert set(before.values()) == {"ValueError"}
assert "ValueError" not in after.values()
assert after["log-density of Exponential(1) at -3"] == 3 and after["divergence of N(0, -1) from N(0, 1)"] == 0
assert math.isnan(after["draw of N(nan, 1)"]) and math.isfinite(after["log-probability of Poisson(2) at 1.5"])
try:
    Normal(0.0, -1.0, validate_args=True)
except ValueError:
    print("validate_args=True: ValueError")
else:
    raise AssertionError("validate_args=True has no effect")
PY
"$work/env/bin/python" look.py 2>/dev/null
