"""Constructors of the systems whose codes are held to the prior by a divergence."""

from __future__ import annotations

from entropic_ae.networks import Shape
from entropic_ae.recipes import systems
from entropic_ae.recipes.constructors.building import Built, build

__all__ = ["CVVAE", "VAE", "WAE", "TwoStageVAE"]


def VAE(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    kl: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build a variational autoencoder.

    Arguments, results and errors are those of ``AE``; ``kl`` is the weight of ``KullbackLeibler``.

    Reference: "Auto-Encoding Variational Bayes", Kingma and Welling (2013), https://arxiv.org/abs/1312.6114.

    >>> _, objective = VAE((1, 8, 8), latent_dim=4, width=4, kl=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "kl"]
    [0.5]
    """
    return build(systems.VAE, shape, latent_dim, width, depth, {"kl": kl}, preset, seed)


def CVVAE(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    kl: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build a variational autoencoder of constant variance.

    Arguments, results and errors are those of ``AE``; ``kl`` is the weight of ``KullbackLeibler``.

    Reference: CV-VAE of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436.

    >>> _, objective = CVVAE((1, 8, 8), latent_dim=4, width=4, kl=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "kl"]
    [0.5]
    """
    return build(systems.CV_VAE, shape, latent_dim, width, depth, {"kl": kl}, preset, seed)


def WAE(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    mmd: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build a Wasserstein autoencoder: codes matched to N(0, I) by their MMD.

    Arguments, results and errors are those of ``AE``; ``mmd`` is the weight of ``MaximumMeanDiscrepancy``.

    Reference: WAE-MMD of "Wasserstein Auto-Encoders", Tolstikhin et al. (2017),
    https://arxiv.org/abs/1711.01558.

    >>> _, objective = WAE((1, 8, 8), latent_dim=4, width=4, mmd=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "mmd"]
    [0.5]
    """
    return build(systems.WAE, shape, latent_dim, width, depth, {"mmd": mmd}, preset, seed)


def TwoStageVAE(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    kl: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build the first stage of the two-stage VAE, with a learned scale; ``SecondStage.fit`` is the second stage.

    Arguments, results and errors are those of ``AE``; ``kl`` is the weight of ``KullbackLeibler``.

    Reference: "Diagnosing and Enhancing VAE Models", Dai and Wipf (2019), https://arxiv.org/abs/1903.05789.

    >>> _, objective = TwoStageVAE((1, 8, 8), latent_dim=4, width=4, kl=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "kl"]
    [0.5]
    """
    return build(systems.TWO_STAGE_VAE, shape, latent_dim, width, depth, {"kl": kl}, preset, seed)
