"""This library's objectives against pythae's models: same weights, same images, same noise.

pythae is no dependency and lives in an environment of its own (Python 3.11):

    python -m venv peers && peers/bin/pip install torch==2.13.0+cpu
    peers/bin/pip install --no-deps pythae==0.1.2
    peers/bin/pip install numpy scipy scikit-learn pydantic imageio tqdm typing_extensions cloudpickle safetensors
    PYTHONPATH=src peers/bin/python tests/peers/compare_pythae.py --write results/peers/pythae.json

It prints the largest relative differences of losses and gradients, and what pythae does otherwise than the paper
and the published code of Ghosh et al. (2019), in numbers; a difference that it does not expect ends it with
status 1. ``--write`` keeps what was found, from which ``tools/update_docs.py`` makes the tables of docs/peers.md.
pytest does not collect this file.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pythae.models
import torch
from pythae.data.datasets import BaseDataset
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.pipelines import TrainingPipeline
from pythae.trainers import CoupledOptimizerTrainer, CoupledOptimizerTrainerConfig
from torch import Tensor, nn

from entropic_ae import __version__
from entropic_ae.autoencoder import Autoencoder
from entropic_ae.bottlenecks import Bottleneck, GaussianPosterior, Identity
from entropic_ae.estimators import mmd2
from entropic_ae.networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from entropic_ae.provenance import git_commit, machine, versions
from entropic_ae.storage.files import write_json
from entropic_ae.terms import (
    CodeNorm,
    DecoderDecay,
    DecoderGradient,
    KullbackLeibler,
    MaximumMeanDiscrepancy,
    Objective,
    SquaredError,
    Term,
)

SEEDS = range(5)
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}  # relative
MNIST = (1, 32, 32)  # the shape that the published weights belong to: P = 1024 values, D = 16


class Encoder(BaseEncoder):
    """One of this library's encoders as pythae wants it: (N, C, H, W) to codes, or to means and log variances."""

    def __init__(self, network: nn.Module, bottleneck: Bottleneck) -> None:
        super().__init__()
        self.network = network
        self.log_std_limit = getattr(bottleneck, "log_std_limit", None)

    def forward(self, x: Tensor) -> ModelOutput:
        h = self.network(x)
        if self.log_std_limit is None:
            return ModelOutput(embedding=h)
        mean, raw = h.chunk(2, dim=1)
        # this library's encoder means the logarithm of the standard deviation, pythae's that of the variance
        return ModelOutput(embedding=mean, log_covariance=2 * self.log_std_limit * torch.tanh(raw))


class Decoder(BaseDecoder):
    """One of this library's decoders as pythae wants it: (N, D) to images."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.network(z))


@dataclass(frozen=True)
class Case:
    """One model of pythae and the terms that say the same; this library's loss is ``factor`` times pythae's.

    ``parts`` maps the name of a part of pythae's loss to a term's name and what the term's value is multiplied by.
    """

    model: str
    terms: tuple[Term, ...]
    bottleneck: type[Bottleneck] = Identity
    settings: dict[str, Any] = field(default_factory=dict)
    factor: float = 1.0
    parts: dict[str, tuple[str, float]] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={value:g}" for name, value in self.settings.items())
        return f"{self.model}({shown})"

    @property
    def conversion(self) -> str:
        """The equation, as text."""
        total = " + ".join(f"{type(term).__name__}({term.weight:g})" for term in self.terms)
        return total if self.factor == 1 else f"({total}) / {self.factor:g}"


CASES = (
    Case("AE", (SquaredError(),)),
    Case(
        "VAE",
        (SquaredError(0.5), KullbackLeibler(1.0)),
        GaussianPosterior,
        parts={"recon_loss": ("squared_error", 0.5), "reg_loss": ("kl_divergence", 1.0)},
    ),
    Case(  # the recipe vae on MNIST: pythae halves the error, so half the weight
        "BetaVAE",
        (SquaredError(), KullbackLeibler(0.312)),
        GaussianPosterior,
        {"beta": 0.312 / 2},
        factor=2.0,
        parts={"recon_loss": ("squared_error", 0.5), "reg_loss": ("kl_divergence", 1.0)},
    ),
    Case(  # the recipe wae on MNIST
        "WAE_MMD",
        (SquaredError(), MaximumMeanDiscrepancy(3e-2 * 1024)),
        settings={"reg_weight": 3e-2 * 1024},
        parts={"recon_loss": ("squared_error", 1.0), "mmd_loss": ("mmd", 1.0)},
    ),
    Case(  # the recipe rae on MNIST: pythae halves the norm, so twice the weight
        "RAE_L2",
        (SquaredError(), CodeNorm(5e-4 * 1024 / 16)),
        settings={"embedding_weight": 2 * 5e-4 * 1024 / 16},
        parts={"recon_loss": ("squared_error", 1.0), "embedding_loss": ("code_norm", 0.5)},
    ),
)


def build(
    networks: str, bottleneck: type[Bottleneck], dtype: torch.dtype, seed: int
) -> tuple[Autoencoder, Tensor]:
    """Return a small model in training mode and a batch of random images in [0, 1], (N, C, H, W)."""
    torch.manual_seed(seed)
    if networks == "convolutional":
        shape, made = MNIST, bottleneck(16)
        encoder: nn.Module = ConvEncoder(shape, made.in_features, width=8)
        decoder: nn.Module = ConvDecoder(shape, made.latent_dim, width=8)
    else:
        shape, made = (3, 12, 20), bottleneck(6)
        encoder = MLPEncoder(shape, made.in_features, hidden=64)
        decoder = MLPDecoder(shape, made.latent_dim, hidden=64)
    return Autoencoder(encoder, made, decoder).to(dtype).train(), torch.rand(24, *shape).to(dtype)


def peer(name: str, model: Autoencoder, x: Tensor, **settings: Any) -> nn.Module:
    """Return pythae's model of that name over the networks, and so the weights, of ``model``."""
    config = getattr(pythae.models, name + ("_Config" if "_" in name else "Config"))
    made = getattr(pythae.models, name)(
        config(input_dim=tuple(x.shape[1:]), latent_dim=model.bottleneck.latent_dim, **settings),
        encoder=Encoder(model.encoder, model.bottleneck),
        decoder=Decoder(model.decoder),
    )
    return made.train(model.training)


def relative(found: Iterable[Tensor], expected: Iterable[Tensor]) -> float:
    """Return ||found - expected|| / ||expected|| over all values together."""
    a, b = (torch.cat([value.detach().double().flatten() for value in values]) for values in (found, expected))
    assert a.shape == b.shape
    assert b.norm() > 0
    return ((a - b).norm() / b.norm()).item()


def close(found: float | Tensor, expected: float | Tensor, tolerance: float = 1e-10) -> None:
    """Assert that two numbers agree to a relative tolerance."""
    a, b = (float(torch.as_tensor(value).detach()) for value in (found, expected))
    assert abs(a - b) <= tolerance * max(abs(b), 1e-30), f"expected {b}, got {a}"


def compare(case: Case, networks: str, dtype: torch.dtype, seed: int) -> dict[str, float]:
    """Return the relative differences of the loss, of its parts and of the gradients."""
    model, x = build(networks, case.bottleneck, dtype, seed)
    objective = Objective(case.terms, model)
    trace = model(x)
    torch.manual_seed(seed)
    loss, values = objective(model, trace)
    # pythae is given the noise that this library drew: read off the codes, or drawn again from the prior
    if trace.code.posterior is not None:
        noise = (trace.code.z - trace.code.posterior.mean) / trace.code.posterior.stddev
    else:
        torch.manual_seed(seed)
        noise = model.bottleneck.prior().sample((len(x),)).to(x)
    with patch("torch.randn_like", return_value=noise.detach()) as drawn:
        theirs = peer(case.model, model, x, **case.settings)({"data": x})
    assert drawn.call_count == (case.model in ("VAE", "BetaVAE", "WAE_MMD")), "the noise was not the one given"
    found = {"loss": relative([loss / case.factor], [theirs.loss])}
    pairs = [(values[term] * scale, theirs[part]) for part, (term, scale) in case.parts.items()]
    found["parts"] = max((relative([a], [b]) for a, b in pairs), default=found["loss"])
    for name, network in (("encoder gradient", model.encoder), ("decoder gradient", model.decoder)):
        weights = list(network.parameters())
        ours = torch.autograd.grad(loss / case.factor, weights, retain_graph=True)
        found[name] = relative(ours, torch.autograd.grad(theirs.loss, weights, retain_graph=True))
    return found


def agreement() -> Iterator[tuple[Case, torch.dtype, dict[str, float]]]:
    """Yield each case's largest differences over seeds and networks."""
    for case in CASES:
        for dtype in TOLERANCE:
            runs = [compare(case, kind, dtype, seed) for kind in ("convolutional", "perceptron") for seed in SEEDS]
            yield case, dtype, {name: max(run[name] for run in runs) for name in runs[0]}


def jacobian(z: Tensor, x_hat: Tensor) -> Tensor:
    """Return the squared Frobenius norm of d x_hat / d z for each code, (N,); codes must not affect each other."""
    rows = [torch.autograd.grad(value.sum(), z, retain_graph=True)[0] for value in x_hat.flatten(1).unbind(1)]
    return torch.stack(rows).square().sum((0, 2))


def linear(encoder: Tensor, decoder: Tensor) -> Autoencoder:
    """Return a linear autoencoder of 2 x 2 images, in float64, whose Jacobians are the matrices given."""
    down, up = nn.Linear(4, 2, bias=False), nn.Linear(2, 4, bias=False)
    down.weight.data, up.weight.data = encoder, decoder
    model = Autoencoder(
        nn.Sequential(nn.Flatten(), down), Identity(2), nn.Sequential(up, nn.Unflatten(1, (1, 2, 2)))
    )
    return model.double()


def penalty(model: Autoencoder, x: Tensor) -> tuple[float, float]:
    """Return the gradient penalty of pythae's RAE_GP and that of DecoderGradient."""
    ours = DecoderGradient()(model, model(x))
    return peer("RAE_GP", model, x)({"data": x.clone()}).gen_reg_loss.item(), ours.item()


def gradient_penalty() -> Iterator[tuple[str, str]]:
    """Show what RAE_GP of pythae differentiates, by what and how."""
    torch.manual_seed(0)
    x = torch.rand(20000, 1, 2, 2, dtype=torch.float64)  # DecoderGradient is a mean over signs, one draw an image
    down = torch.tensor([[1.0, 0.0, 0.5, 0.0], [0.0, 1.0, 0.0, -0.5]])
    up = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 2.0]])  # squares add up to 8
    theirs, ours = penalty(linear(down, up), x)
    close(theirs, (up @ down).sum(0).square().sum())
    close(ours, 8, 0.03)
    yield "linear decoder W, norm(J)^2 = 8", f"pythae {theirs:.3f}, this library {ours:.3f}"

    scaled, same = penalty(linear(2 * down, up), x)
    close(scaled / theirs, 4)
    close(same, 8, 0.03)
    yield "the encoder doubled, so norm(J)^2 = 8 still", f"pythae {scaled:.3f}, this library {same:.3f}"

    traded, grown = penalty(linear(down / 2, 2 * up), x)
    close(traded, theirs)
    close(grown, 32, 0.03)
    yield "the encoder halved, W doubled: norm(J)^2 = 32", f"pythae {traded:.3f}, this library {grown:.3f}"

    opposed, seen = penalty(linear(down, torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])), x)
    assert abs(opposed) < 1e-20
    close(seen, 10, 0.03)
    yield "columns of W that sum to 0, norm(J)^2 = 10", f"pythae {opposed:.3f}, this library {seen:.3f}"

    model, x = build("convolutional", Identity, torch.float64, 0)
    model.eval()  # so that an image depends on its own code only
    trace = model(x)
    exact = jacobian(trace.code.z, trace.x_hat).mean().item()
    draws = torch.stack([DecoderGradient()(model, trace).detach() for _ in range(200)])
    error = (draws.std() / len(draws) ** 0.5).item()
    assert abs(draws.mean().item() - exact) < 5 * error
    published = torch.autograd.grad(trace.x_hat.square().sum(), trace.code.z, retain_graph=True)[0]
    by_code = torch.autograd.grad(trace.x_hat.sum(), trace.code.z, retain_graph=True)[0]
    data = x.clone().requires_grad_()
    whole = model(data)
    by_image = torch.autograd.grad(whole.x_hat.sum(), data, create_graph=True)[0].flatten(1).square().sum(1).mean()
    theirs = peer("RAE_GP", model, x, embedding_weight=0.3, reg_weight=0.7)({"data": x.clone()})
    close(theirs.gen_reg_loss, by_image)
    # the whole of pythae's loss, in this library's terms and that penalty
    rest, _ = Objective([SquaredError(), CodeNorm(0.3 / 2)], model)(model, whole)
    close(theirs.loss, rest + 0.7 * by_image)
    weights = list(model.parameters())
    gradients = (torch.autograd.grad(loss, weights) for loss in (rest + 0.7 * by_image, theirs.loss))
    assert relative(*gradients) < 1e-10
    yield "untrained convolutional networks in evaluation, P = 1024, D = 16: exact norm(J)^2", f"{exact:.4g}"
    yield "the same: DecoderGradient, mean of 200 draws", f"{draws.mean():.4g} +- {error:.1g}"
    yield "the same: published code, gradient of sum(x_hat^2) by z", f"{published.square().sum(1).mean():.4g}"
    yield "the same: gradient of sum(x_hat) by z", f"{by_code.square().sum(1).mean():.4g}"
    yield "the same: pythae, gradient of sum(x_hat) by x", f"{theirs.gen_reg_loss:.4g}"


def coupled(rae: nn.Module, x: Tensor, config: CoupledOptimizerTrainerConfig | None) -> CoupledOptimizerTrainer:
    """Return the trainer that pythae's pipeline makes of a configuration, its optimisers set, not run."""
    pipeline = TrainingPipeline(model=rae, training_config=config)
    dataset = BaseDataset(x, torch.zeros(len(x)))
    trainer = CoupledOptimizerTrainer(model=rae, train_dataset=dataset, training_config=pipeline.training_config)
    trainer.set_encoder_optimizer()
    trainer.set_decoder_optimizer()
    return trainer


def decayed_decoder() -> Iterator[tuple[str, str]]:
    """Show what a training step of pythae does to RAE_L2's two networks."""
    decay = 0.1
    model, x = build("convolutional", Identity, torch.float32, 0)  # pythae's data sets are float32
    rae = peer("RAE_L2", model, x, embedding_weight=0.3, reg_weight=decay)
    (group,) = coupled(rae, x, None).decoder_optimizer.param_groups
    assert group["weight_decay"] == 0
    yield (
        f"RAE_L2(reg_weight={decay}), default trainer: weight decay of the decoder's optimiser",
        f"{group['weight_decay']}",
    )

    rates = {"encoder_learning_rate": 1.0, "decoder_learning_rate": 1.0}
    kinds = {"encoder_optimizer_cls": "SGD", "decoder_optimizer_cls": "SGD"}
    trainer = coupled(rae, x, CoupledOptimizerTrainerConfig(no_cuda=True, **kinds, **rates))
    model.double().train()
    x = x.double()
    names = [name for name, _ in model.named_parameters()]
    before = {name: value.detach().clone() for name, value in model.named_parameters()}

    def gradients(*terms: Term) -> dict[str, Tensor]:
        loss, _ = Objective([SquaredError(), CodeNorm(0.3 / 2), *terms], model)(model, model(x))
        return dict(zip(names, torch.autograd.grad(loss, list(model.parameters())), strict=True))

    plain, decayed = gradients(), gradients(DecoderDecay(decay / 2))
    output = rae({"data": x})
    close(output.loss, Objective([SquaredError(), CodeNorm(0.3 / 2)], model)(model, model(x))[0])  # no decay in it
    trainer._optimizers_step(output)
    step = {name: before[name] - value.detach() for name, value in model.named_parameters()}

    encoder = [name for name in names if name.startswith("encoder.")]
    decoder = [name for name in names if name.startswith("decoder.")]
    assert relative([step[name] for name in encoder], [2 * plain[name] for name in encoder]) < 1e-10
    once, moved = (torch.cat([of[name].flatten() for name in encoder]).norm() for of in (plain, step))
    yield "one step of SGD at rate 1: the encoder's step / its gradient", f"{moved / once:.6f}"
    expected = [plain[name] + decay * before[name] for name in decoder]
    assert relative([step[name] for name in decoder], expected) < 1e-10
    added = torch.cat([(step[name] - plain[name]).flatten() for name in decoder]).norm()
    size = torch.cat([before[name].flatten() for name in decoder]).norm()
    yield (
        "the same step: (the decoder's step - its gradient) / its parameters",
        f"{added / size:.6f} = reg_weight, on all {len(decoder)} parameter tensors",
    )
    # DecoderDecay never counts biases and batch norms, as the published code's regulariser of kernels
    kernels = [name for name in decoder if before[name].dim() > 1]
    others = [name for name in decoder if before[name].dim() == 1]
    assert relative([step[name] for name in kernels], [decayed[name] for name in kernels]) < 1e-10
    assert relative([plain[name] for name in others], [decayed[name] for name in others]) < 1e-10
    yield (
        f"tensors on which that is DecoderDecay({decay / 2:g}), weight reg_weight / 2",
        f"{len(kernels)} weights of linear layers and convolutions; the {len(others)} biases and batch norm "
        "parameters are decayed by pythae alone",
    )


def adam() -> Iterator[tuple[str, str]]:
    """Show that the doubled gradient hardly matters under Adam."""
    moves = []
    for factor in (1.0, 2.0):
        model, x = build("convolutional", Identity, torch.float64, 0)
        optimizer = torch.optim.Adam(model.encoder.parameters(), lr=1e-3)
        loss, _ = Objective([SquaredError()], model)(model, model(x))
        before = [value.detach().clone() for value in model.encoder.parameters()]
        (factor * loss).backward()
        optimizer.step()
        moves.append([a - b for a, b in zip(before, model.encoder.parameters(), strict=True)])
    difference = relative(moves[1], moves[0])
    assert difference < 1e-2
    yield "Adam's first step from a doubled gradient, rel. difference", figure(difference)


def bandwidth() -> Iterator[tuple[str, str]]:
    """Show that pythae's kernel_bandwidth b is scales times b^2 here, and its lone kernel the scale 1."""
    model, x = build("convolutional", Identity, torch.float64, 0)
    z = model.encode(x)
    draws = torch.randn_like(z) + 0.5
    for settings, scales in (
        ({"kernel_bandwidth": 1.5}, None),
        ({"scales": None}, [1.0]),
        ({"scales": [3]}, [3.0]),
    ):
        wae = peer("WAE_MMD", model, x, **settings)
        theirs = wae.loss_function(x, x, z, draws)[2]
        expected = [s * 1.5**2 for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)] if scales is None else scales
        difference = relative([mmd2(z, draws, scales=expected)], [theirs])
        assert difference < 1e-10
        (setting,) = settings.items()
        shown = "the default 7 times 1.5^2" if scales is None else f"{scales}"
        yield f"WAE_MMD({setting[0]}={setting[1]}): mmd2 with scales {shown}, rel. difference", figure(difference)


def default_weights() -> Iterator[tuple[str, str]]:
    """Show that pythae's default weights are the published ones, for another reduction.

    Published on MNIST, with the error averaged over P = 1024 values and the code's squares over D = 16: code norm
    1e-4 and decay 1e-7 (RAE-L2), MMD 3e-2 (WAE). pythae sums the error.
    """
    model, x = build("convolutional", Identity, torch.float64, 0)
    trace = model(x)
    P, D = x[0].numel(), model.bottleneck.latent_dim
    rae = peer("RAE_L2", model, x)
    assert (rae.model_config.embedding_weight, rae.model_config.reg_weight) == (1e-4, 1e-7)
    output = rae({"data": x})
    theirs = rae.model_config.embedding_weight * output.embedding_loss / output.recon_loss
    published = 1e-4 * trace.code.z.square().mean() / (trace.x_hat - x).square().mean()
    close(published / theirs, 2 * P / D)
    yield "code norm / error: published over pythae's default", f"{published / theirs:.0f} = 2 P / D"
    # a penalty of w sum(k^2) beside an error averaged over P, against weight_decay = w beside its sum
    (kernel,) = (value for name, value in model.decoder.named_parameters() if name == "convolutions.2.weight")
    ours = torch.autograd.grad(DecoderDecay(1e-7 * P, linear=False)(model, trace) * 1e-7 * P, kernel)[0]
    ratio = (ours / (rae.model_config.reg_weight * kernel)).mean()
    close(ratio, 2 * P)
    yield "decoder decay / error: published over pythae's default", f"{ratio:.0f} = 2 P"
    wae = peer("WAE_MMD", model, x)
    assert wae.model_config.reg_weight == 3e-2
    yield "MMD / error: published over pythae's default", f"{3e-2 * P / wae.model_config.reg_weight:.0f} = P"


def figure(difference: float) -> str:
    """Return a relative difference as text, rounded to a digit."""
    return f"{difference:.0e}" if difference else "0"


def main() -> int:
    """Compare, print, and write the results if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="FILE", help="write what was found as JSON")
    out = parser.parse_args().write
    logging.disable(logging.WARNING)  # pythae's trainers talk

    names = ("loss", "parts", "encoder gradient", "decoder gradient")
    rows, failures = [], []
    for case, dtype, found in agreement():
        kind = str(dtype).removeprefix("torch.")
        rows.append([f"`{case}`", f"`{case.conversion}`", kind, *(figure(found[name]) for name in names)])
        failures += [
            f"{case}, {kind}: {name} differs by {found[name]:.1e}, more than {TOLERANCE[dtype]:.0e}"
            for name in names
            if not found[name] <= TOLERANCE[dtype]  # also for NaN
        ]
    shown = []
    for demonstration in (gradient_penalty, decayed_decoder, adam, default_weights, bandwidth):
        try:
            shown += [[demonstration.__name__, *row] for row in demonstration()]
        except AssertionError as error:
            failures.append(f"{demonstration.__name__}: {error}")
    found = {
        "versions": {**versions(), "entropic-ae": __version__, "pythae": version("pythae")},
        "machine": machine(),
        "git_commit": git_commit(),
        "seeds": len(SEEDS),
        "agreement": [["pythae", "this library", "precision", *names], *rows],
        "deviations": [["what", "found"], *(row[1:] for row in shown)],
    }
    print("\n".join(" | ".join(row) for name in ("agreement", "deviations") for row in found[name]))
    print("\n" + ("\n".join(failures) if failures else "All as expected."))
    if out is not None and not failures:
        write_json(out, found)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
