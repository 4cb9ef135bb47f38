#!/usr/bin/env bash
# copulas 0.14.1, numpy 2.4.6, pandas 2.3.3, Python 3.11.
#
# Input: 2,000 draws of N(0, 4 I) in the plane, and a Gaussian copula with Gaussian marginals fitted to them.
# One would expect: probability_density is the density of the draws, here 0.0398 at 0, and integrates to 1.
# What happens: it is the density of the normal scores, without the factor of the marginals' densities. So it does not
# change with the scale of the data, and likelihoods of two data sets, or of other models, cannot be compared with it.
# Draws are right.
# Seen: 0.159 at 0 for standard deviations of 0.5, 1 and 2; integrals 0.25, 1.00 and 3.99.
#
# What our library does instead: log_prob of its copula has the marginals' densities, and a test integrates it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 pandas==2.3.3 scipy==1.17.1 copulas==0.14.1
cd "$work"
cat > look.py <<'PY'
import logging
import warnings

import numpy as np
import pandas as pd
from copulas.multivariate import GaussianMultivariate
from copulas.univariate import GaussianUnivariate

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
normal = np.random.default_rng(0).standard_normal((2000, 2))
line = np.linspace(-8, 8, 81)
grid = pd.DataFrame(np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2))
for scale in (0.5, 1.0, 2.0):
    copula = GaussianMultivariate(distribution=GaussianUnivariate)
    copula.fit(pd.DataFrame(normal * scale))
    centre = float(np.ravel(copula.probability_density(pd.DataFrame([[0.0, 0.0]])))[0])
    integral = float(copula.probability_density(grid).sum() * (line[1] - line[0]) ** 2)
    spread = float(copula.sample(4000).std().mean())
    print(f"scale {scale}: density at 0 {centre:.4f}, integral {integral:.2f}, spread of draws {spread:.2f}")
    assert abs(centre - 1 / (2 * np.pi)) < 0.003 and abs(integral / scale**2 - 1) < 0.05
    assert abs(spread / scale - 1) < 0.1
PY
"$work/env/bin/python" look.py
echo "as described"
