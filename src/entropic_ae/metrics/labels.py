"""What codes tell about labels: the accuracy of simple classifiers on codes of held-out images."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from entropic_ae.arrays import ArrayLike, as_tensor
from entropic_ae.errors import InputError
from entropic_ae.metrics.codes import check_finite

__all__ = ["knn_accuracy", "linear_probe_accuracy"]


def knn_accuracy(
    codes: ArrayLike, labels: ArrayLike, test_codes: ArrayLike, test_labels: ArrayLike, k: int = 5
) -> float:
    """Accuracy of the majority label among the k nearest training codes, on codes of other images.

    Distances are Euclidean, in the scale of the codes. Of labels with equally many votes the lowest is taken.

    Arguments:
        codes: codes of training images, (N, D), N >= k.
        labels: their whole-numbered labels, (N,).
        test_codes: codes of other images, (M, D), M >= 1.
        test_labels: their labels, (M,).
        k: number of neighbours.

    Returns: the share of right answers. Compare it with the share of the most frequent label.

    Raises: InputError: codes that are not finite matrices of one width, labels of another length or not whole
        numbers, or k outside 1 to N.

    Computed by scikit-learn.

    >>> knn_accuracy([[0.0], [0.1], [5.0], [5.1]], [0, 0, 1, 1], [[0.2], [4.0], [9.0]], [0, 1, 0], k=1)
    0.6666666666666666
    """
    from sklearn.neighbors import KNeighborsClassifier

    train, test = _checked(codes, labels, test_codes, test_labels, "knn_accuracy")
    if not 1 <= k <= len(train[0]):
        raise InputError(
            f"k must be from 1 to the number of training codes, {len(train[0])}, got {k}; lower it, or give more."
        )
    return float(KNeighborsClassifier(k).fit(*train).score(*test))


def linear_probe_accuracy(
    codes: ArrayLike, labels: ArrayLike, test_codes: ArrayLike, test_labels: ArrayLike, *, penalty: float = 1.0
) -> float:
    """Accuracy of a logistic regression that is fitted to training codes, on codes of other images.

    Codes are standardised by the training codes first, so that the penalty has the same meaning at each scale.

    Arguments:
        codes: codes of training images, (N, D).
        labels: their whole-numbered labels, (N,), of at least 2 values.
        test_codes: codes of other images, (M, D), M >= 1.
        test_labels: their labels, (M,).
        penalty: weight of half the squared norm of the coefficients, beside the summed negative log likelihood.

    Returns: the share of right answers. Compare it with the share of the most frequent label.

    Raises: InputError: codes that are not finite matrices of one width, labels of another length or not whole
        numbers, one label only, or a penalty that is not above 0.

    Reference: Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016,
    https://arxiv.org/abs/1610.01644. Computed by scikit-learn.

    >>> codes = [[-1.0], [-2.0], [1.0], [2.0]]
    >>> linear_probe_accuracy(codes, [0, 0, 1, 1], [[-3.0], [3.0]], [0, 1])
    1.0
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = _checked(codes, labels, test_codes, test_labels, "linear_probe_accuracy")
    if len(np.unique(train[1])) < 2:
        raise InputError(
            "linear_probe_accuracy needs at least 2 different labels, got 1; there is nothing to tell."
        )
    if penalty <= 0:
        raise InputError(f"penalty must be above 0, got {penalty}; the default is 1.")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty, max_iter=1000))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(*train)
        except ConvergenceWarning as error:
            raise InputError(
                f"the linear probe did not converge in 1000 steps with penalty {penalty}; raise the penalty."
            ) from error
    return float(model.score(*test))


def _checked(
    codes: ArrayLike, labels: ArrayLike, test_codes: ArrayLike, test_labels: ArrayLike, who: str
) -> list[tuple[Any, Any]]:
    """Return training and test codes with their labels, as arrays."""
    found = []
    for name, given, its_labels in (("training", codes, labels), ("test", test_codes, test_labels)):
        z, y = as_tensor(given, who).detach().cpu(), as_tensor(its_labels, who).detach().cpu()
        if z.ndim != 2 or z.numel() == 0 or y.shape != (len(z),):
            raise InputError(
                f"{who} needs {name} codes (N, D) and labels (N,), got {tuple(z.shape)} and {tuple(y.shape)}; "
                "give each code its label."
            )
        if y.is_floating_point() and not bool((y == y.round()).all()):
            raise InputError(f"{who} needs whole-numbered labels, got fractions; give the number of the class.")
        check_finite(z)
        found.append((z.double().numpy(), y.long().numpy()))
    if found[0][0].shape[1] != found[1][0].shape[1]:
        raise InputError(
            f"training and test codes must have one width, got {found[0][0].shape[1]} and "
            f"{found[1][0].shape[1]}; encode both with one model."
        )
    return found
