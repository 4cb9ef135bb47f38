"""The normal distribution function and its quantile by arithmetic, exp and log, which ONNX has in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["log_erfc", "normal_quantile"]

# Coefficients of W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of
# Computation 23, 1969: for arguments up to 0.46875, up to 4, and beyond.
_SMALL = (
    (
        3.16112374387056560e0,
        1.13864154151050156e2,
        3.77485237685302021e2,
        3.20937758913846947e3,
        1.85777706184603153e-1,
    ),
    (2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
_MIDDLE = (
    (
        5.64188496988670089e-1,
        8.88314979438837594e0,
        6.61191906371416295e1,
        2.98635138197400131e2,
        8.81952221241769090e2,
        1.71204761263407058e3,
        2.05107837782607147e3,
        1.23033935479799725e3,
        2.15311535474403846e-8,
    ),
    (
        1.57449261107098347e1,
        1.17693950891312499e2,
        5.37181101862009858e2,
        1.62138957456669019e3,
        3.29079923573345963e3,
        4.36261909014324716e3,
        3.43936767414372164e3,
        1.23033935480374942e3,
    ),
)
_LARGE = (
    (
        3.05326634961232344e-1,
        3.60344899949804439e-1,
        1.25781726111229246e-1,
        1.60837851487422766e-2,
        6.58749161529837803e-4,
        1.63153871373020978e-2,
    ),
    (
        2.56852019228982242e0,
        1.87295284992346725e0,
        5.27905102951428412e-1,
        6.05183413124413191e-2,
        2.33520497626869185e-3,
    ),
)

# Coefficients of M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied
# Statistics 37, 1988: for tails above 0.075, above e^-25, and beyond.
_CENTRE = (
    (
        2509.0809287301226727,
        33430.575583588128105,
        67265.770927008700853,
        45921.953931549871457,
        13731.693765509461125,
        1971.5909503065514427,
        133.14166789178437745,
        3.3871328727963666080,
    ),
    (
        5226.4952788528545610,
        28729.085735721942674,
        39307.895800092710610,
        21213.794301586595867,
        5394.1960214247511077,
        687.18700749205790830,
        42.313330701600911252,
        1.0,
    ),
)
_FLANK = (
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258,
        3.64784832476320460504,
        5.76949722146069140550,
        4.63033784615654529590,
        1.42343711074968357734,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940,
        2.05319162663775882187,
        1.0,
    ),
)
_TAIL = (
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580,
        5.46378491116411436990,
        6.65790464350110377720,
    ),
    (
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    ),
)
_END = math.sqrt(700.0)  # of the last


def log_erfc(x: Tensor) -> Tensor:
    """Return log(erfc(x)), (...), with an error below 1e-15 in float64, relative to values beyond 1.

    >>> log_erfc(torch.tensor([-1.0, 0.0, 2.0]).double()).exp().round(decimals=6)
    tensor([1.8427, 1.0000, 0.0047], dtype=torch.float64)
    """
    size = x.abs()
    few = size.clamp_max(0.46875)
    error = few * _quotient(few * few, *_SMALL)
    far = size.clamp_min(4.0)
    inverse = 1 / (far * far)
    large = (1 / math.sqrt(math.pi) - inverse * _quotient(inverse, *_LARGE)) / far
    scaled = torch.where(size <= 4, _quotient(size.clamp(0.46875, 4.0), *_MIDDLE), large)
    log_tail = scaled.log() - size * size
    upper = torch.where(size <= 0.46875, (1 - error).log(), log_tail)
    lower = torch.where(size <= 0.46875, 1 + error, 2 - log_tail.exp()).log()
    return torch.where(x >= 0, upper, lower)


def _quotient(x: Tensor, above: tuple[float, ...], below: tuple[float, ...]) -> Tensor:
    numerator, denominator = above[-1] * x, x
    for a, b in zip(above[:-2], below[:-1], strict=True):
        numerator, denominator = (numerator + a) * x, (denominator + b) * x
    return (numerator + above[-2]) / (denominator + below[-1])


def normal_quantile(log_tail: Tensor) -> Tensor:
    """Return x at most 0 with log P(Z < x) = ``log_tail``, (...) float64.

    Rational functions and a step of Newton's give it to 1e-11. Below e^-700, where the functions end, the first
    terms of the tail's expansion take their place.

    >>> round(normal_quantile(torch.tensor([-5000.0]).double()).item(), 2)
    -99.94
    """
    y = log_tail.clamp_max(-math.log(2))
    centre = 0.5 - y.exp()
    near = centre * _ratio(0.180625 - centre * centre, *_CENTRE)
    root = (-y).sqrt()
    middle = _ratio(root.clamp_max(5.0) - 1.6, *_FLANK)
    tail = _ratio(root.clamp_max(_END) - 5.0, *_TAIL)
    far = y.clamp_max(-3.0)
    deep = (-2 * far - (-4 * math.pi * far).log()).sqrt()
    x = torch.where(root <= 5, middle, torch.where(root <= _END, tail, deep))
    x = -torch.where(centre <= 0.425, near, x)
    log_cdf = log_erfc(-x * math.sqrt(0.5)) - math.log(2)
    return x - (log_cdf - y) * (log_cdf + x * x / 2 + math.log(2 * math.pi) / 2).exp()


def _ratio(x: Tensor, above: tuple[float, ...], below: tuple[float, ...]) -> Tensor:
    """Return the quotient of two polynomials, coefficients from the highest power down."""
    numerator, denominator = above[0] * x + above[1], below[0] * x + below[1]
    for a, b in zip(above[2:], below[2:], strict=True):
        numerator, denominator = numerator * x + a, denominator * x + b
    return numerator / denominator
