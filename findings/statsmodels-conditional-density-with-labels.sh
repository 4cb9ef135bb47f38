#!/usr/bin/env bash
# statsmodels 0.15.0, numpy 2.4.6, scipy 1.17.1, pandas 2.3.3, Python 3.11.
#
# Input: 200 codes of one dimension with labels 0, 1 and 2, normal around 0, 3 and 6 with a deviation of 1, and the
# density of codes given labels: KDEMultivariateConditional with the label as an unordered variable, bw="cv_ml".
# One would expect: the bandwidths of the highest leave-one-out likelihood, as documented: near 0.5 for the codes, as
# the density of each class alone gets, and near 0 for the labels.
# What happens: the search for the bandwidths knows no bounds. A negative bandwidth of the labels gives the own class
# more than 1 and the others less than 0, which raises the product as long as no sum is negative, and a wide bandwidth
# of the codes keeps the sums positive. The result is then set to 1e-10 for the labels, but the width for the codes
# stays. It is far from the maximum. The same with KDEMultivariate of codes and labels. No warning.
# Seen: for two seeds bandwidths of the codes of 2.73 and 2.15, where each class alone gets 0.26 to 0.64; classes have
# deviations of 2.3 to 3.0, where the draws have 1; leave-one-out log-likelihoods of -411 and -371, where 0.35 gets -302
# and -284. The joint density has 3.26, and -659 in place of -522.
#
# What our library does: it has no kernel density estimate; densities of a class are fitted to the codes of that class.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 pandas==2.3.3 packaging==26.4
"$work/env/bin/pip" install --quiet --no-deps statsmodels==0.15.0 patsy==1.0.3
cd "$work"
cat > look.py <<'PY'
import numpy as np
from statsmodels.nonparametric.kernel_density import KDEMultivariate, KDEMultivariateConditional

CODES = 200
grid = np.linspace(-25, 30, 1101)


def likelihood(model, bandwidths):
    return -model.loo_likelihood(np.array(bandwidths), np.log)


def independent(codes, labels, width, share):
    """Return the leave-one-out log-likelihood from its formula, with densities of the pairs."""
    same = labels[:, None] == labels
    kernel = np.exp(-(((codes[:, None] - codes) / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))
    weight = np.where(same, 1 - share, share / 2)
    np.fill_diagonal(weight, 0)
    with np.errstate(invalid="ignore"):
        return np.log((kernel * weight).sum(1) / weight.sum(1)).sum()


def draws(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, CODES)
    return rng.normal(size=CODES) + 3 * labels, labels


def conditional(codes, labels, method):
    return KDEMultivariateConditional(endog=[codes], exog=[labels], dep_type="c", indep_type="u", bw=method)


def look(seed):
    codes, labels = draws(seed)
    model = conditional(codes, labels, "cv_ml")
    start = conditional(codes, labels, "normal_reference").bw
    alone = [float(KDEMultivariate([codes[labels == c]], "c", bw="cv_ml").bw[0]) for c in range(3)]
    values = {
        "result": likelihood(model, model.bw),
        "start": likelihood(model, start),
        "good": likelihood(model, [0.35, 1e-10]),
    }
    for name, (width, share) in {"result": model.bw, "start": start, "good": (0.35, 1e-10)}.items():
        assert abs(independent(codes, labels, width, share) - values[name]) < 1e-6
    # what the search runs after: shares below 0, which no kernel has
    values["2.5 with -0.1"] = independent(codes, labels, 2.5, -0.1)
    values["2.5 with 0"] = independent(codes, labels, 2.5, 0)
    deviations = []
    for label in range(3):
        density = model.pdf(grid[:, None], np.full((len(grid), 1), label))
        mean = np.average(grid, weights=density)
        deviations.append(np.sqrt(np.average((grid - mean) ** 2, weights=density)))
    print(f"seed {seed}: bandwidths {model.bw[0]:.2f} and {model.bw[1]:.0e}; each class alone", end=" ")
    print(np.round(alone, 2).tolist(), "deviations", np.round(deviations, 2).tolist())
    print("   log-likelihood", {name: round(float(value), 1) for name, value in values.items()})
    return model.bw, alone, deviations, values


for seed in range(2):
    bandwidths, alone, deviations, values = look(seed)
    assert bandwidths[0] > 1.5 and bandwidths[1] == 1e-10
    assert max(alone) < 0.8 and min(deviations) > 1.7
    assert values["result"] < values["good"] - 50
    assert values["2.5 with -0.1"] > values["2.5 with 0"]
codes, labels = draws(0)
joint = KDEMultivariate([codes, labels], "cu", bw="cv_ml")
# its likelihood is of sums over the other draws, not of means
found, good = (likelihood(joint, widths) - CODES * np.log(CODES - 1) for widths in (joint.bw, [0.35, 1e-10]))
print(f"joint density: bandwidths {joint.bw[0]:.2f} and {joint.bw[1]:.0e},", end=" ")
print(f"log-likelihood {found:.1f}, with 0.35 {good:.1f}")
assert joint.bw[0] > 1.5 and found < good - 50
PY
"$work/env/bin/python" -W ignore look.py
