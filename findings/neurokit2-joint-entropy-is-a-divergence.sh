#!/usr/bin/env bash
# neurokit2 0.3.0, numpy 2.4.6, scipy 1.17.1, pandas 2.3.3, scikit-learn 1.9.1, Python 3.11.
#
# Input: entropy_shannon_joint of two columns of labels 0 and 1: independent ones, equal ones, and one with a rare 1.
# And mutual_information of two normal variables of correlation 0.9, and of a variable with itself, by its methods.
# One would expect: the joint entropy in bits, base=2: 2 for independent fair labels, 1 for equal ones, and the same for
# exchanged columns. Mutual information of one unit, 0.83 nats or 1.20 bits; and 1 for the coefficient "max" of a
# variable with itself, the largest value of such a coefficient.
# What happens: entropy_shannon_joint is the Kullback-Leibler divergence between the two marginals and never looks at
# pairs, so it is near 0 for both. mutual_information has nats for "sklearn" and bits for "nolitsa" and "knn". The
# default, "varoquaux", smooths the histogram and by default returns a quotient of entropies less one, which only its
# source says. "max" divides nats by the logarithm to base 2, so that it cannot exceed log 2.
# Seen: joint entropy 0.003 for independent labels, 0.000 for equal ones; with a rare label 0.73 in one order and 0.55
# in the other, where it is 1.53. Mutual information: 0.11 by default, then 0.83, 1.19 and 1.23; "max" of a label with
# itself 0.69.
#
# What our library does: mutual_information is in nats, of continuous codes, and tests compare it with closed forms.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 pandas==2.3.3 scikit-learn==1.9.1 matplotlib requests
"$work/env/bin/pip" install --quiet --no-deps neurokit2==0.3.0 PyWavelets
cd "$work"
cat > look.py <<'PY'
import neurokit2
import numpy as np


def bits(counts):
    shares = counts[counts > 0] / counts.sum()
    return -(shares * np.log2(shares)).sum()


def look(name, first, second):
    pairs = np.histogram2d(first, second, bins=2)[0]
    found = neurokit2.entropy_shannon_joint(first, second)[0]
    p, q = pairs.sum(1) / pairs.sum(), pairs.sum(0) / pairs.sum()
    divergence = (p * np.log2(p / q)).sum()
    print(f"{name}: {found:.3f}; joint entropy {bits(pairs):.3f}, divergence of the marginals {divergence:.3f}")
    assert np.isclose(found, divergence, atol=1e-9)
    return found, bits(pairs)


rng = np.random.default_rng(0)
fair, other = rng.integers(0, 2, (2, 1000))
rare = (rng.random(1000) < 0.1).astype(int)
found, true = look("independent labels", fair, other)
assert found < 0.01 and true > 1.99
found, true = look("equal labels", fair, fair)
assert found == 0 and true > 0.99
found, true = look("a fair and a rare label", fair, rare)
exchanged, same = look("a rare and a fair label", rare, fair)
assert abs(found - exchanged) > 0.05 and np.isclose(true, same) and 1.4 < true < 1.55

correlation = 0.9
x = rng.standard_normal(5000)
y = correlation * x + np.sqrt(1 - correlation**2) * rng.standard_normal(5000)
true = -np.log(1 - correlation**2) / 2
print(f"mutual information: {true:.3f} nats, {true / np.log(2):.3f} bits")
measured = {kind: neurokit2.mutual_information(x, y, method=kind) for kind in ("sklearn", "nolitsa", "knn")}
measured["default"] = neurokit2.mutual_information(x, y)
print({kind: round(float(value), 3) for kind, value in measured.items()})
assert abs(measured["sklearn"] - true) < 0.06
assert abs(measured["nolitsa"] - true / np.log(2)) < 0.08 and abs(measured["knn"] - true / np.log(2)) < 0.08
assert measured["default"] < 0.2
label = (x > 0).astype(float)
coefficient = neurokit2.mutual_information(label[:500], label[:500], method="max")
print(f"'max' of a label with itself: {coefficient:.3f}; log 2 is {np.log(2):.3f}")
assert 0.6 < coefficient < np.log(2) + 1e-9
PY
"$work/env/bin/python" -W ignore look.py
