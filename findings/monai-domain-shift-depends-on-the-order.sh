#!/usr/bin/env bash
# monai 1.6.1, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
#
# Input: the indicator domain_shift of EmbeddingCollapseMetric, for a set of 500 draws of N(0, I) in 16 dimensions as
# embeddings of the source: against itself; itself in another order; itself with one draw more; other draws of the same
# law; the set moved by 100 in each dimension, and times 1,000. Then sets of 32 draws in 256 dimensions.
# One would expect: one value for the first four, which are one domain, and another for what is far away. The docstring
# has 1 for "representations identical", and domains that are "indistinguishable" as a collapse; the two sets may have
# different sizes.
# What happens: it is linear CKA, which compares two embeddings of the same objects, row by row. Rows of two domains are
# not pairs, so its value says nothing about the domains: it depends on the order of the rows, and does not see a
# shift or a scale, from which CKA is free by design. If sizes differ, the larger set is shuffled and cut, so no
# row meets its own. And with few rows in many dimensions it is near 1 for any two sets, as its HSIC, "unbiased" by its
# comment, is the biased one.
# Seen: 1.00 against itself, 0.04 in another order, 0.03 with one draw more, 0.03 for other draws; 1.00 for the set
# moved by 100, and times 1,000. In 256 dimensions 0.88 for other draws. By default the worst indicator is the result.
#
# What our library does: its distances between two sets of codes, Frechet, energy and MMD, do not depend on their order;
# they see shifts and scales, and know no pairs.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$work/env/bin/pip" install --quiet --no-deps monai==1.6.1
cd "$work"
cat > look.py <<'PY'
import torch
from monai.metrics import EmbeddingCollapseMetric

generator = torch.Generator().manual_seed(0)
metric = EmbeddingCollapseMetric(include_indicators=["domain_shift"])
source, others = torch.randn(2, 500, 16, generator=generator)
more = torch.randn(1, 16, generator=generator)


def shift(one, other):
    return metric(one, target_embeddings=other)["domain_shift"].item()


def cka(one, other):
    """Linear CKA by the formula of features: the squared norm of the cross covariance, by those of both."""
    one, other = (part - part.mean(0) for part in (one, other))
    return ((one.T @ other).norm() ** 2 / (one.T @ one).norm() / (other.T @ other).norm()).item()


targets = {
    "itself": source,
    "in another order": source.flip(0),
    "with one draw more": torch.cat([source, more]),
    "other draws": others,
    "moved by 100": source + 100,
    "times 1,000": 1000 * source,
}
found = {name: shift(source, target) for name, target in targets.items()}
for name, target in targets.items():
    print(f"{name}: {found[name]:.3f}", end="" if len(target) == 500 else "\n")
    if len(target) == 500:
        print(f"; CKA of the rows as pairs {cka(source, target):.3f}")
        assert abs(found[name] - cka(source, target)) < 1e-3
assert all(found[name] > 0.999 for name in ("itself", "moved by 100", "times 1,000"))
assert all(found[name] < 0.05 for name in ("in another order", "with one draw more", "other draws"))
wide = shift(*torch.randn(2, 32, 256, generator=generator))
print(f"32 other draws in 256 dimensions: {wide:.3f}")
assert wide > 0.85
PY
"$work/env/bin/python" look.py 2>/dev/null
