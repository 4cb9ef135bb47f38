#!/usr/bin/env bash
# scikit-dimension 0.5.0, scikit-learn 1.9.1, numpy 2.4.6, scipy 1.17.1, pandas and numba of the same day, Python 3.11.
#
# Input: 2,000 draws from N(0, I) in 32 and 64 dimensions, as codes of an autoencoder would be, for three estimators of
# the intrinsic dimension with their defaults: KNN, MiND_ML and FisherS, each with six seeds.
# One would expect: somewhat too small numbers, as for all estimators from nearest neighbours, much the same at each
# seed.
# What happens: KNN gives any number up to the number of dimensions, because its defaults regress on four random subsets
# of 3 to 6. MiND_ML always gives 10, because it looks no further than its default D=10. FisherS is near the truth in 32
# dimensions and gives NaN in 64, where it can separate each point from all others. None reports anything.
# Seen, lowest to highest of six: KNN 3 to 32 of 32 and 4 to 49 of 64; MiND_ML 10 each time; FisherS 31 to 34 of 32,
# NaN of 64, six times.
#
# What our library does: it estimates no intrinsic dimension; `diagnose` counts active codes by their variance.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 pandas numba matplotlib tqdm joblib
"$work/env/bin/pip" install --quiet --no-deps scikit-dimension==0.5.0
cd "$work"
cat > look.py <<'PY'
import warnings

import numpy as np

warnings.simplefilter("ignore")
from skdim.id import KNN, FisherS, MiND_ML  # noqa: E402

for dim in (32, 64):
    found = {kind: [] for kind in (KNN, MiND_ML, FisherS)}
    for seed in range(6):
        np.random.seed(seed)
        draws = np.random.standard_normal((2000, dim))
        for kind, values in found.items():
            values.append(float(kind().fit(draws).dimension_))
    for kind, values in found.items():
        print(dim, kind.__name__, [round(value, 1) for value in values])
    assert max(found[KNN]) - min(found[KNN]) > dim / 3
    assert set(found[MiND_ML]) == {10.0}
    fisher = np.array(found[FisherS])
    assert np.isnan(fisher).any() if dim == 64 else np.abs(fisher - dim).max() < 4
PY
"$work/env/bin/python" look.py 2>/dev/null
