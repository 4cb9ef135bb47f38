"""The model and the objective of each recipe, for who wants no run: ``build_eae((1, 32, 32), entropy=0.1)``.

Each function is short for ``configure(recipe, preset, changes).build(shape)``, which takes every setting.
"""

from __future__ import annotations

from collections.abc import Mapping

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.networks import Shape
from entropic_ae.recipes.presets import PRESETS, preset_for
from entropic_ae.recipes.recipe import Recipe, configure
from entropic_ae.recipes.systems import (
    AE,
    AE_L2,
    BN_AE,
    CV_VAE,
    EAE,
    EAE_LINEAR,
    RAE,
    RAE_GP,
    RAE_L2,
    RAE_SN,
    TWO_STAGE_EAE,
    TWO_STAGE_VAE,
    VAE,
    WAE,
)
from entropic_ae.terms import Objective

__all__ = [
    "build_2seae",
    "build_2svae",
    "build_ae",
    "build_ae_l2",
    "build_bn_ae",
    "build_cv_vae",
    "build_eae",
    "build_eae_linear",
    "build_rae",
    "build_rae_gp",
    "build_rae_l2",
    "build_rae_sn",
    "build_vae",
    "build_wae",
]

Built = tuple[Autoencoder, Objective]


def build_ae(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build a plain autoencoder.

    Arguments:
        shape: (C, H, W) of the images, sides multiples of 8 from 8 to 128.
        latent_dim: length D of a code.
        width, depth: of both networks, see ``ConvEncoder``.
        preset: a name in ``PRESETS`` for what is None, by default the one with the nearest images.
        seed: of the initial weights.

    Returns: the model, which maps images in [0, 1] to a ``Trace``, and the objective, which maps both to the loss.

    Raises: InputError for a size or a weight that cannot work.

    Reference: the baseline AE of Ghosh et al. (2019), From variational to deterministic autoencoders.

    >>> model, objective = build_ae((1, 8, 8), latent_dim=4, width=4)
    >>> model.bottleneck.latent_dim, [term.name for term in objective.terms]
    (4, ['squared_error'])
    """
    return _build(AE, shape, latent_dim, width, depth, {}, preset, seed)


def build_ae_l2(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    decoder_decay: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build an autoencoder whose decoder weights are decayed.

    Arguments, results and errors are those of ``build_ae``; ``decoder_decay`` is the weight of ``DecoderDecay``.

    Reference: the baseline AE-L2 of Ghosh et al. (2019).

    >>> _, objective = build_ae_l2((1, 8, 8), latent_dim=4, width=4, decoder_decay=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "decoder_decay"]
    [0.5]
    """
    return _build(AE_L2, shape, latent_dim, width, depth, {"decoder_decay": decoder_decay}, preset, seed)


def build_rae(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    code_norm: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build a regularised autoencoder: code norm.

    Arguments, results and errors are those of ``build_ae``; ``code_norm`` is the weight of ``CodeNorm``.

    Reference: RAE of Ghosh et al. (2019).

    >>> _, objective = build_rae((1, 8, 8), latent_dim=4, width=4, code_norm=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "code_norm"]
    [0.5]
    """
    return _build(RAE, shape, latent_dim, width, depth, {"code_norm": code_norm}, preset, seed)


def build_rae_l2(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    code_norm: float | None = None,
    decoder_decay: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build a regularised autoencoder: code norm, decoder weights decayed.

    Arguments, results and errors are those of ``build_ae``; ``code_norm`` is the weight of ``CodeNorm``,
    ``decoder_decay`` is the weight of ``DecoderDecay``.

    Reference: RAE-L2 of Ghosh et al. (2019).

    >>> _, objective = build_rae_l2((1, 8, 8), latent_dim=4, width=4, code_norm=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "code_norm"]
    [0.5]
    """
    weights = {"code_norm": code_norm, "decoder_decay": decoder_decay}
    return _build(RAE_L2, shape, latent_dim, width, depth, weights, preset, seed)


def build_rae_gp(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    code_norm: float | None = None,
    decoder_gradient: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build a regularised autoencoder: code norm, gradient penalty on the decoder.

    Arguments, results and errors are those of ``build_ae``; ``code_norm`` is the weight of ``CodeNorm``,
    ``decoder_gradient`` is the weight of ``DecoderGradient``.

    Reference: RAE-GP of Ghosh et al. (2019); ``DecoderGradient`` says how its penalty differs.

    >>> _, objective = build_rae_gp((1, 8, 8), latent_dim=4, width=4, code_norm=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "code_norm"]
    [0.5]
    """
    weights = {"code_norm": code_norm, "decoder_gradient": decoder_gradient}
    return _build(RAE_GP, shape, latent_dim, width, depth, weights, preset, seed)


def build_rae_sn(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    code_norm: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build a regularised autoencoder: code norm, spectral normalisation of both networks.

    Arguments, results and errors are those of ``build_ae``; ``code_norm`` is the weight of ``CodeNorm``.

    Reference: RAE-SN of Ghosh et al. (2019).

    >>> _, objective = build_rae_sn((1, 8, 8), latent_dim=4, width=4, code_norm=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "code_norm"]
    [0.5]
    """
    return _build(RAE_SN, shape, latent_dim, width, depth, {"code_norm": code_norm}, preset, seed)


def build_vae(
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

    Arguments, results and errors are those of ``build_ae``; ``kl`` is the weight of ``KullbackLeibler``.

    Reference: Kingma and Welling (2013), Auto-encoding variational Bayes.

    >>> _, objective = build_vae((1, 8, 8), latent_dim=4, width=4, kl=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "kl"]
    [0.5]
    """
    return _build(VAE, shape, latent_dim, width, depth, {"kl": kl}, preset, seed)


def build_cv_vae(
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

    Arguments, results and errors are those of ``build_ae``; ``kl`` is the weight of ``KullbackLeibler``.

    Reference: CV-VAE of Ghosh et al. (2019).

    >>> _, objective = build_cv_vae((1, 8, 8), latent_dim=4, width=4, kl=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "kl"]
    [0.5]
    """
    return _build(CV_VAE, shape, latent_dim, width, depth, {"kl": kl}, preset, seed)


def build_wae(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    mmd: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build a Wasserstein autoencoder: codes pushed to N(0, I) by their MMD.

    Arguments, results and errors are those of ``build_ae``; ``mmd`` is the weight of ``MaximumMeanDiscrepancy``.

    Reference: WAE-MMD of Tolstikhin et al. (2017), Wasserstein auto-encoders.

    >>> _, objective = build_wae((1, 8, 8), latent_dim=4, width=4, mmd=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "mmd"]
    [0.5]
    """
    return _build(WAE, shape, latent_dim, width, depth, {"mmd": mmd}, preset, seed)


def build_2svae(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    kl: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build a VAE with a learned scale of the error, first stage of two; ``SecondStage.fit`` is the other.

    Arguments, results and errors are those of ``build_ae``; ``kl`` is the weight of ``KullbackLeibler``.

    Reference: Dai and Wipf (2019), Diagnosing and enhancing VAE models.

    >>> _, objective = build_2svae((1, 8, 8), latent_dim=4, width=4, kl=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "kl"]
    [0.5]
    """
    return _build(TWO_STAGE_VAE, shape, latent_dim, width, depth, {"kl": kl}, preset, seed)


def build_bn_ae(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build an autoencoder with batch norm without affine shift at the bottleneck.

    Arguments, results and errors are those of ``build_ae``.

    Reference: section 5.2 of the paper.

    >>> model, objective = build_bn_ae((1, 8, 8), latent_dim=4, width=4)
    >>> model.bottleneck.latent_dim, [term.name for term in objective.terms]
    (4, ['squared_error'])
    """
    return _build(BN_AE, shape, latent_dim, width, depth, {}, preset, seed)


def build_eae(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    entropy: float | None = None,
    decoder_decay: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build the entropic autoencoder: batch norm at the bottleneck, entropy of the codes raised.

    Arguments, results and errors are those of ``build_ae``; ``entropy`` is the weight of ``NegativeEntropy``,
    ``decoder_decay`` is the weight of ``DecoderDecay``.

    Reference: equation (2) and section 5.1 of the paper.

    >>> _, objective = build_eae((1, 8, 8), latent_dim=4, width=4, entropy=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "entropy"]
    [0.5]
    """
    weights = {"entropy": entropy, "decoder_decay": decoder_decay}
    return _build(EAE, shape, latent_dim, width, depth, weights, preset, seed)


def build_eae_linear(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    entropy: float | None = None,
    decoder_decay: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build the entropic autoencoder, the decoder's linear layer decayed.

    Arguments, results and errors are those of ``build_ae``; ``entropy`` is the weight of ``NegativeEntropy``,
    ``decoder_decay`` is the weight of ``DecoderDecay``.

    Reference: Table 1 of the paper, in parentheses.

    >>> _, objective = build_eae_linear((1, 8, 8), latent_dim=4, width=4, entropy=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "entropy"]
    [0.5]
    """
    weights = {"entropy": entropy, "decoder_decay": decoder_decay}
    return _build(EAE_LINEAR, shape, latent_dim, width, depth, weights, preset, seed)


def build_2seae(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    entropy: float | None = None,
    decoder_decay: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build the entropic autoencoder as first stage of two; ``SecondStage.fit`` is the other.

    Arguments, results and errors are those of ``build_ae``; ``entropy`` is the weight of ``NegativeEntropy``,
    ``decoder_decay`` is the weight of ``DecoderDecay``.

    Reference: section 6 of the paper; second stage of Dai and Wipf (2019).

    >>> _, objective = build_2seae((1, 8, 8), latent_dim=4, width=4, entropy=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "entropy"]
    [0.5]
    """
    weights = {"entropy": entropy, "decoder_decay": decoder_decay}
    return _build(TWO_STAGE_EAE, shape, latent_dim, width, depth, weights, preset, seed)


def _build(
    recipe: Recipe,
    shape: Shape,
    latent_dim: int | None,
    width: int | None,
    depth: int | None,
    weights: Mapping[str, float | None],
    preset: str | None,
    seed: int,
) -> Built:
    changes = {"latent_dim": latent_dim, "width": width, "depth": depth, **weights}
    given = {name: value for name, value in changes.items() if value is not None}
    return configure(recipe, PRESETS.find(preset or preset_for(shape)), given).build(shape, seed=seed)
