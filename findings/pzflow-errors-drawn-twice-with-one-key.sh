#!/usr/bin/env bash
# pzflow 4.0.0, jax 0.10.2 and jaxlib 0.10.2 (CPU), optax 0.2.8, pandas 3.1.1, numpy 2.4.6, scipy 1.17.1, Python 3.11.
#
# Input: a flow of one column x with one condition c, of which the law is known: x - c is N(0, 1), by a bijector of a
# few lines. Both columns have error columns of 1, as log_prob(err_samples=...) and train(convolve_errs=True) want them.
# Then 2,000 independent draws of x and c, both N(0, 1), with the same errors; the bijector's slope on c is trained.
# Last, codes of 16, 48 and 128 columns: draws from N(0, I) and an ensemble of two flows that are N(0, I), and a tenth
# of these draws with StandardScaler(0, 0.1) in front of N(0, I).
# One would expect: with errors in both columns the density of N(0, 3), and a slope near 0, as with one error column.
# The ensemble of two equal flows has the density of one; a scaled density is that of SciPy in any dimension.
# What happens: the errors of data and of conditions are drawn with the same key, in log_prob and in each step of the
# training. With as many conditions as data columns they are the same numbers, and so errors of x and c are equal:
# they cancel in the density, and the training learns that x depends on c, from nothing but the errors. The ensemble
# takes the mean of exp(log_prob) in float32, which is 0 in many dimensions. Scales are multiplied before their
# logarithm is taken, also in float32, also in ShiftBounds, which is part of the default flow; where that overflows,
# the log-density of every row is the largest number of float32.
# Seen: the log-density of 1.5 given 0 is -2.04 without errors, -1.83 with errors of either column (SciPy: -1.83), and
# -2.04 with both (SciPy: -1.84). The slope is -0.03 with errors of x, 0.00 with errors of c, and 0.51 with both. With
# an error model that has another key the density is right. The ensemble has -inf for all rows of 128 columns and for
# none of 16 and 48, where the flow alone is right. With the scaler, all rows of 48 and 128 columns have 3.4e38; the
# first row should have 43.7 and 99.7.
#
# What our library does: densities of mixtures are added with logsumexp, and draws come from a generator that moves on.
# With pzflow, use a condition_error_model that folds a number into its key, as here, standardise codes in front of the
# flow, and take logsumexp of log_prob(return_ensemble=True).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pzflow==4.0.0 jax==0.10.2 jaxlib==0.10.2 optax==0.2.8 pandas==3.1.1 \
    numpy==2.4.6 scipy==1.17.1
cd "$work"
cat > look.py <<'PY'
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from pzflow import Flow, FlowEnsemble
from pzflow.bijectors import Bijector, ForwardFunction, InitFunction, InverseFunction, Reverse, StandardScaler
from pzflow.distributions import Normal
from scipy.stats import norm


@Bijector
def Slope():
    @InitFunction
    def start(key, width, **_):
        @ForwardFunction
        def forward(slope, x, conditions, **_):
            return x - slope * conditions, jnp.zeros(len(x))

        @InverseFunction
        def inverse(slope, x, conditions, **_):
            return x + slope * conditions, jnp.zeros(len(x))

        return jnp.array(0.0), forward, inverse

    return start, ("Slope", ())


def sloped(slope):
    flow = Flow(["x"], Slope(), Normal(1), conditional_columns=["c"])
    flow.set_bijector(Slope(), params=jnp.array(slope))
    return flow


draws = np.random.default_rng(0)
table = pd.DataFrame({"x": draws.normal(size=2000), "c": draws.normal(size=2000)})
for errors in ((), ("x_err",), ("c_err",), ("x_err", "c_err")):
    row = pd.DataFrame({"x": [1.5], "c": [0.0]} | dict.fromkeys(errors, [1.0]))
    found = float(sloped(1.0).log_prob(row, err_samples=10_000, seed=0)[0])
    right = norm.logpdf(1.5, scale=(1 + len(errors)) ** 0.5)
    flow = sloped(0.0)
    settings = {"epochs": 40, "batch_size": 2000, "optimizer": optax.sgd(0.3), "convolve_errs": True}
    flow.train(table.assign(**dict.fromkeys(errors, 1.0)), best_params=False, initial_loss=False, **settings)
    slope = float(flow._params[1])
    print(f"errors of {errors}: log-density {found:.2f}, exactly {right:.2f}; slope {slope:.2f}")
    if len(errors) < 2:
        assert abs(found - right) < 0.03 and abs(slope) < 0.1
    else:
        assert abs(found - norm.logpdf(1.5)) < 1e-3 and right - found > 0.15 and slope > 0.4


def other_errors(key, values, errors, times):
    key = jax.random.fold_in(key, 1)
    return values[:, None] + jax.random.normal(key, (len(values), times, values.shape[1])) * errors[:, None]


flow = Flow(["x"], Slope(), Normal(1), conditional_columns=["c"], condition_error_model=other_errors)
flow.set_bijector(Slope(), params=jnp.array(1.0))
mended = float(flow.log_prob(row, err_samples=10_000, seed=0)[0])
print(f"with an error model of one's own: {mended:.2f}")
assert abs(mended - norm.logpdf(1.5, scale=3**0.5)) < 0.03

for width in (16, 48, 128):
    names = [f"c{i}" for i in range(width)]
    codes = draws.normal(size=(100, width)).astype("float32")
    exact = norm.logpdf(codes).sum(1)
    rows = pd.DataFrame(codes, columns=names)
    alone = np.array(Flow(names, Reverse(), Normal(width)).log_prob(rows))
    several = np.array(FlowEnsemble(names, Reverse(), Normal(width), N=2).log_prob(rows))
    scaler = StandardScaler(np.zeros(width), np.full(width, 0.1))
    scaled = np.array(Flow(names, scaler, Normal(width)).log_prob(rows / 10))
    infinite = float(np.isinf(several).mean())
    print(f"{width} columns: flow off by {abs(alone - exact).max():.0e}, ensemble -inf for {infinite:.2f};", end=" ")
    print(f"first row with the scaler {scaled[0]:.6g}, exactly {exact[0] + width * np.log(10):.6g}")
    assert np.allclose(alone, exact, atol=1e-3)
    assert infinite == (width == 128)
    if width == 16:
        assert np.allclose(scaled, exact + width * np.log(10), atol=1e-3)
    else:
        assert (scaled > 1e38).all()
PY
JAX_PLATFORMS=cpu "$work/env/bin/python" look.py 2>/dev/null
