"""The numbers of the paper's Table 1: Frechet Inception distances, as claims to be tested.

The paper is "Batch Norm with Entropic Regularization Turns Deterministic Autoencoders into Generative Models",
Ghose, Rashwan and Poupart (2020), https://arxiv.org/abs/2002.10631. It quotes the rows other than ``eae`` from
"From Variational to Deterministic Autoencoders", Ghosh et al. (2019), https://arxiv.org/abs/1903.12436; they are
hard to reproduce even with the authors' code.
"""

from __future__ import annotations

__all__ = ["PUBLISHED"]

# data set -> system -> density -> distance; the prior of the two-stage VAE is that of its second stage
PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "cifar10": {
        "vae": {"prior": 106.37, "mixture": 103.78},
        "cv-vae": {"prior": 94.75, "mixture": 86.64},
        "wae": {"prior": 117.44, "mixture": 93.53},
        "2svae": {"second-stage": 109.77},
        "rae": {"gaussian": 83.87, "mixture": 76.28},
        "rae-l2": {"gaussian": 80.80, "mixture": 74.16},
        "rae-gp": {"gaussian": 83.05, "mixture": 76.33},
        "rae-sn": {"gaussian": 84.25, "mixture": 75.30},
        "ae": {"gaussian": 84.74, "mixture": 76.47},
        "ae-l2": {"gaussian": 247.48, "mixture": 75.40},
        "eae": {"prior": 85.26, "gaussian": 80.07, "mixture": 73.12},
        "eae-linear": {"prior": 84.53},
    },
    "celeba": {
        "vae": {"prior": 48.12, "mixture": 45.52},
        "cv-vae": {"prior": 48.87, "mixture": 49.30},
        "wae": {"prior": 53.67, "mixture": 42.73},
        "2svae": {"second-stage": 49.70},
        "rae": {"gaussian": 48.20, "mixture": 44.68},
        "rae-l2": {"gaussian": 51.13, "mixture": 47.97},
        "rae-gp": {"gaussian": 116.30, "mixture": 45.63},
        "rae-sn": {"gaussian": 44.74, "mixture": 40.95},
        "ae": {"gaussian": 127.85, "mixture": 45.10},
        "ae-l2": {"gaussian": 346.29, "mixture": 48.42},
        "eae": {"prior": 44.63, "gaussian": 42.92, "mixture": 39.76},
    },
}
