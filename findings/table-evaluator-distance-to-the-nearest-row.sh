#!/usr/bin/env bash
# table-evaluator 1.9.0, numpy 2.4.6, pandas 2.3.3, scipy 1.17.1, scikit-learn 1.9.1, Python 3.11.
#
# Input: row_distance of table-evaluator, for 1,000 real codes, draws of N(0, I) in 8 dimensions, and as many generated
# ones: other draws; ten of the real codes, a hundred times each; and the real codes times 100, plus 500. And
# column_correlations of the same.
# One would expect: what its README says, the distance between each generated row and the closest real one, which tells
# how private the data are. So copies have 0, and codes far away more than other draws.
# What happens: it is the distance of each real row to the closest generated one. The ten copied rows are far from most
# real ones, so a generator that gives nothing but copies looks more private than fresh draws. And each set is
# standardised by its own mean and deviation, so codes a hundred times as large are at 0, and would be copies.
# column_correlations sorts both columns first, so it sees neither the shift nor the scale, nor what belongs to a row.
# Seen, means: other draws 1.40; ten real codes, repeated, 2.50; the real codes times 100 0.00. The distance that is
# described is 1.38, 0 and 1,434. column_correlations has 0.998, 0.951 and 1.000.
#
# What our library does: near_copies looks for the nearest training image of each generated one, and standardises
# neither set; a sample that equals a training image is always a near-copy.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 pandas==2.3.3 scipy==1.17.1 scikit-learn==1.9.1 matplotlib==3.11.2 \
  seaborn==0.13.2 tqdm==4.70.1
"$work/env/bin/pip" install --quiet --no-deps table-evaluator==1.9.0
cd "$work"
cat > look.py <<'PY'
import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from table_evaluator import TableEvaluator

random = np.random.default_rng(0)
names = [f"z{index}" for index in range(8)]
real = random.standard_normal((1000, 8))
sets = {
    "other draws": random.standard_normal((1000, 8)),
    "ten real rows, repeated": np.repeat(real[:10], 100, axis=0),
    "real rows times 100": 100 * real + 500,
}
found, described = {}, {}
for name, fake in sets.items():
    evaluator = TableEvaluator(pd.DataFrame(real, columns=names), pd.DataFrame(fake, columns=names))
    found[name] = float(evaluator.row_distance()[0])
    described[name] = cdist(fake / real.std(axis=0), real / real.std(axis=0)).min(axis=1).mean()
    # by hand: each set in its own unit, and the nearest generated row of each real one
    own = [(rows - rows.mean(axis=0)) / rows.std(axis=0, ddof=1) for rows in (real, fake)]
    assert abs(found[name] - cdist(*own).min(axis=1).mean()) < 1e-9
    columns = float(evaluator.column_correlations())
    copies = evaluator.get_copies(return_len=True)
    print(f"{name}: {found[name]:.3f}, as described {described[name]:.3f}; columns {columns:.3f}; copies {copies}")
    assert columns > 0.94
assert found["ten real rows, repeated"] > 1.5 * found["other draws"] > 1 and described["ten real rows, repeated"] == 0
assert found["real rows times 100"] < 1e-6 and described["real rows times 100"] > 1000
PY
"$work/env/bin/python" look.py 2>/dev/null
