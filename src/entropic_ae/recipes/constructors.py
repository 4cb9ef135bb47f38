"""A constructor for each recipe, which returns model and objective without a run: ``EAE((1, 32, 32))``.

Each function is short for ``configure(recipe, preset, changes).build(shape)``, which accepts all settings.
"""

from __future__ import annotations

from collections.abc import Mapping

from entropic_ae.autoencoder import Autoencoder
from entropic_ae.networks import Shape
from entropic_ae.recipes import systems
from entropic_ae.recipes.presets import PRESETS, preset_for
from entropic_ae.recipes.recipe import Recipe
from entropic_ae.recipes.settings import configure
from entropic_ae.terms import Objective

__all__ = [
    "AE",
    "AEL2",
    "BNAE",
    "CVVAE",
    "EAE",
    "RAE",
    "RAEGP",
    "RAEL2",
    "RAESN",
    "TBNAE",
    "TEAE",
    "VAE",
    "WAE",
    "EAELinear",
    "TwoStageEAE",
    "TwoStageVAE",
]

Built = tuple[Autoencoder, Objective]


def AE(
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
        shape: (C, H, W) of the images, sides multiples of 8 from 8 to 256.
        latent_dim: length D of a code.
        width, depth: of both networks, see ``ConvEncoder``.
        preset: a name in ``PRESETS``, for the arguments that are None; default: the one of the nearest image size.
        seed: of the initial weights.

    Returns: the model, which maps images in [0, 1] to a ``Trace``, and the objective, which maps both to the loss.

    Raises: InputError for an invalid size or weight.

    Reference: the baseline AE of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436.

    >>> model, objective = AE((1, 8, 8), latent_dim=4, width=4)
    >>> model.bottleneck.latent_dim, [term.name for term in objective.terms]
    (4, ['squared_error'])
    """
    return _build(systems.AE, shape, latent_dim, width, depth, {}, preset, seed)


def AEL2(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    decoder_decay: float | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build an autoencoder with weight decay on the decoder.

    Arguments, results and errors are those of ``AE``; ``decoder_decay`` is the weight of ``DecoderDecay``.

    Reference: the baseline AE-L2 of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436.

    >>> _, objective = AEL2((1, 8, 8), latent_dim=4, width=4, decoder_decay=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "decoder_decay"]
    [0.5]
    """
    return _build(systems.AE_L2, shape, latent_dim, width, depth, {"decoder_decay": decoder_decay}, preset, seed)


def RAE(
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

    Arguments, results and errors are those of ``AE``; ``code_norm`` is the weight of ``CodeNorm``.

    Reference: RAE of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436.

    >>> _, objective = RAE((1, 8, 8), latent_dim=4, width=4, code_norm=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "code_norm"]
    [0.5]
    """
    return _build(systems.RAE, shape, latent_dim, width, depth, {"code_norm": code_norm}, preset, seed)


def RAEL2(
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
    """Build a regularised autoencoder: code norm, weight decay on the decoder.

    Arguments, results and errors are those of ``AE``; ``code_norm`` is the weight of ``CodeNorm``,
    ``decoder_decay`` is the weight of ``DecoderDecay``.

    Reference: RAE-L2 of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436.

    >>> _, objective = RAEL2((1, 8, 8), latent_dim=4, width=4, code_norm=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "code_norm"]
    [0.5]
    """
    weights = {"code_norm": code_norm, "decoder_decay": decoder_decay}
    return _build(systems.RAE_L2, shape, latent_dim, width, depth, weights, preset, seed)


def RAEGP(
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

    Arguments, results and errors are those of ``AE``; ``code_norm`` is the weight of ``CodeNorm``,
    ``decoder_gradient`` is the weight of ``DecoderGradient``.

    Reference: RAE-GP of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436; ``DecoderGradient`` documents how the penalty differs.

    >>> _, objective = RAEGP((1, 8, 8), latent_dim=4, width=4, code_norm=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "code_norm"]
    [0.5]
    """
    weights = {"code_norm": code_norm, "decoder_gradient": decoder_gradient}
    return _build(systems.RAE_GP, shape, latent_dim, width, depth, weights, preset, seed)


def RAESN(
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

    Arguments, results and errors are those of ``AE``; ``code_norm`` is the weight of ``CodeNorm``.

    Reference: RAE-SN of "From Variational to Deterministic Autoencoders", Ghosh et al. (2019),
    https://arxiv.org/abs/1903.12436.

    >>> _, objective = RAESN((1, 8, 8), latent_dim=4, width=4, code_norm=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "code_norm"]
    [0.5]
    """
    return _build(systems.RAE_SN, shape, latent_dim, width, depth, {"code_norm": code_norm}, preset, seed)


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
    return _build(systems.VAE, shape, latent_dim, width, depth, {"kl": kl}, preset, seed)


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
    return _build(systems.CV_VAE, shape, latent_dim, width, depth, {"kl": kl}, preset, seed)


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
    return _build(systems.WAE, shape, latent_dim, width, depth, {"mmd": mmd}, preset, seed)


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
    return _build(systems.TWO_STAGE_VAE, shape, latent_dim, width, depth, {"kl": kl}, preset, seed)


def BNAE(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build an autoencoder with batch norm without affine shift at the bottleneck.

    Arguments, results and errors are those of ``AE``.

    Reference: section 5.2 of "Batch Norm with Entropic Regularization Turns Deterministic Autoencoders into
    Generative Models", Ghose, Rashwan and Poupart (2020), https://arxiv.org/abs/2002.10631.

    >>> model, objective = BNAE((1, 8, 8), latent_dim=4, width=4)
    >>> model.bottleneck.latent_dim, [term.name for term in objective.terms]
    (4, ['squared_error'])
    """
    return _build(systems.BN_AE, shape, latent_dim, width, depth, {}, preset, seed)


def EAE(
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
    """Build the entropic autoencoder: batch norm at the bottleneck, maximised entropy of the codes.

    Arguments, results and errors are those of ``AE``; ``entropy`` is the weight of ``NegativeEntropy``,
    ``decoder_decay`` is the weight of ``DecoderDecay``.

    Reference: equation (2) and section 5.1 of "Batch Norm with Entropic Regularization Turns Deterministic
    Autoencoders into Generative Models", Ghose, Rashwan and Poupart (2020), https://arxiv.org/abs/2002.10631.

    >>> _, objective = EAE((1, 8, 8), latent_dim=4, width=4, entropy=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "entropy"]
    [0.5]
    """
    weights = {"entropy": entropy, "decoder_decay": decoder_decay}
    return _build(systems.EAE, shape, latent_dim, width, depth, weights, preset, seed)


def EAELinear(
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
    """Build the entropic autoencoder with weight decay on the decoder's linear layer.

    Arguments, results and errors are those of ``AE``; ``entropy`` is the weight of ``NegativeEntropy``,
    ``decoder_decay`` is the weight of ``DecoderDecay``.

    Reference: the scores in parentheses in Table 1 of "Batch Norm with Entropic Regularization Turns Deterministic
    Autoencoders into Generative Models", Ghose, Rashwan and Poupart (2020), https://arxiv.org/abs/2002.10631.

    >>> _, objective = EAELinear((1, 8, 8), latent_dim=4, width=4, entropy=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "entropy"]
    [0.5]
    """
    weights = {"entropy": entropy, "decoder_decay": decoder_decay}
    return _build(systems.EAE_LINEAR, shape, latent_dim, width, depth, weights, preset, seed)


def TwoStageEAE(
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
    """Build the entropic autoencoder as the first of two stages; ``SecondStage.fit`` is the second stage.

    Arguments, results and errors are those of ``AE``; ``entropy`` is the weight of ``NegativeEntropy``,
    ``decoder_decay`` is the weight of ``DecoderDecay``.

    References: section 6 of "Batch Norm with Entropic Regularization Turns Deterministic Autoencoders into
    Generative Models", Ghose, Rashwan and Poupart (2020), https://arxiv.org/abs/2002.10631; for the second stage,
    "Diagnosing and Enhancing VAE Models", Dai and Wipf (2019), https://arxiv.org/abs/1903.05789.

    >>> _, objective = TwoStageEAE((1, 8, 8), latent_dim=4, width=4, entropy=0.5)
    >>> [term.weight for term in objective.terms if term.setting == "entropy"]
    [0.5]
    """
    weights = {"entropy": entropy, "decoder_decay": decoder_decay}
    return _build(systems.TWO_STAGE_EAE, shape, latent_dim, width, depth, weights, preset, seed)


def TBNAE(
    shape: Shape,
    *,
    latent_dim: int | None = None,
    width: int | None = None,
    depth: int | None = None,
    preset: str | None = None,
    seed: int = 0,
) -> Built:
    """Build the network of ``t-bn-ae``, which is that of ``bn-ae``, as ``AE`` does.

    After training, fit a ``MixtureTransport`` to the codes and put both into a ``Transported`` bottleneck.

    >>> TBNAE((1, 8, 8), latent_dim=4, width=4)[0].bottleneck.latent_dim
    4
    """
    return _build(systems.TRANSPORTED_BN_AE, shape, latent_dim, width, depth, {}, preset, seed)


def TEAE(
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
    """Build network and objective of ``t-eae``, which are those of ``eae``; see ``TBNAE`` for its transport.

    Arguments, results, errors and reference are those of ``EAE``.

    >>> TEAE((1, 8, 8), latent_dim=4, width=4, entropy=0.5)[1].terms[1].weight
    0.5
    """
    weights = {"entropy": entropy, "decoder_decay": decoder_decay}
    return _build(systems.TRANSPORTED_EAE, shape, latent_dim, width, depth, weights, preset, seed)


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
