"""Fit a transport to the codes of a run, keep it in its folder, and attach it to the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from entropic_ae import generation
from entropic_ae.arrays import as_double
from entropic_ae.autoencoder import Autoencoder
from entropic_ae.bottlenecks import Bottleneck, Transported
from entropic_ae.distributed import in_turn, is_first, sharers
from entropic_ae.errors import InputError, warn
from entropic_ae.priors import as_prior
from entropic_ae.randomness import generator
from entropic_ae.recipes import Scalar, read_fit_settings
from entropic_ae.storage.files import sha256
from entropic_ae.storage.run_folder import RunFolder, SavedTransport
from entropic_ae.storage.tensors import write_tensors
from entropic_ae.transports import TRANSPORTS, Transport

if TYPE_CHECKING:
    from entropic_ae.runs.run import Run

__all__ = ["attach", "attach_saved", "compare", "fit_transport", "likelihoods", "remove_transport", "transport_of"]

_FEW = 10  # codes for each of their dimensions, below which a fit says little of other codes


def transport_of(model: Autoencoder) -> Transport | None:
    """Return the transport of a model's codes, or None."""
    bottleneck = model.bottleneck
    return bottleneck.transport if isinstance(bottleneck, Transported) else None


def attach(model: Autoencoder, files: RunFolder, saved: SavedTransport) -> None:
    """Attach a saved transport to a model with the weights that it belongs to.

    Raises: InputError if it is unknown here, damaged or of another model.
    """
    kind = TRANSPORTS.find(saved.kind)
    device = next(model.parameters()).device
    try:
        transport = kind.from_state(saved.tensors, model.bottleneck.prior())
    except KeyError as error:
        raise InputError(
            f"{files.transport} is damaged or of another model ({error.args[0]}); fit it again with entropic-ae "
            "transport, or delete it."
        ) from None
    model.bottleneck = Transported(model.bottleneck, transport.to(device))


def attach_saved(run: Run) -> None:
    """Attach the transport in a run's folder to its model, if it belongs to the weights there."""
    if (saved := run.files.read_transport(sha256(run.files.weights.read_bytes()))) is not None:
        attach(run.model, run.files, saved)


def fit_transport(run: Run, kind: str, seed: int, settings: Mapping[str, Scalar]) -> Transport:
    """Fit a transport to the codes of a run: the implementation of ``Run.fit_transport``."""
    found = TRANSPORTS.find(kind)
    fitting: dict[str, Any] = read_fit_settings(f"the transport '{kind}'", found.fit_scores, settings)
    found.check(**fitting)
    kept = run.origin is None and run.is_current("its transport is not saved")
    model = run.model
    before = model.bottleneck
    model.bottleneck = _untransported(before)
    try:
        with in_turn():
            weights = sha256(run.files.weights.read_bytes())
            metadata = {"weights": weights, "transport": kind, "seed": str(seed), "settings": json.dumps(fitting)}
            saved = run.files.read_transport(weights) if kept else None
            if saved is None or saved.metadata != metadata:
                transport = _fit(run, found, seed, fitting)
                if kept:
                    write_tensors(run.files.transport, transport.state(), metadata)
                    saved = run.files.read_transport(weights)
                else:
                    model.bottleneck = Transported(model.bottleneck, transport)
            if kept and saved is not None:
                attach(model, run.files, saved)
    except BaseException:
        model.bottleneck = before
        raise
    if kept:
        run.mark_saved()
    fitted = transport_of(model)
    assert fitted is not None
    return fitted


def _fit(run: Run, kind: type[Transport], seed: int, settings: Mapping[str, Any]) -> Transport:
    codes = _codes(run, seed)
    return kind.fit(codes, run.model.bottleneck.prior(), seed=seed, **settings).to(codes.device)


def _codes(run: Run, seed: int) -> Tensor:
    """Return the training codes of a run whose transport is taken away: (N, D), on the device of its model."""
    codes, std = generation.encode_posterior(run.model, *run.data.train)
    if std is not None:  # the aggregate posterior is what the decoder has seen
        codes = codes + std * torch.randn(codes.shape, generator=generator(seed))
    if len(codes) < _FEW * codes.shape[1] and is_first(sharers()):
        warn(
            f"{len(codes):,} training codes of {codes.shape[1]} dimensions are few for a transport, which may fit "
            f"them alone; expected {_FEW * codes.shape[1]:,} or more: lower latent_dim, or train on more images."
        )
    return codes.to(next(run.model.parameters()).device)


def compare(run: Run, seed: int) -> dict[str, float]:
    """Return the mean log densities of validation codes, in nats, by the name of a transport, or none.

    All kinds are fitted to the training codes, at their default settings, and none is kept. One whose package is
    missing is left out.
    """
    with generation.without_transport(run.model):
        codes, z, prior = _codes(run, seed), _validation_codes(run), run.model.bottleneck.prior()
    found = {"none": _prior_likelihood(prior, z)}
    for name, kind in TRANSPORTS.items():
        with suppress(InputError):
            kind.check()
            found[name] = kind.fit(codes, prior, seed=seed).to(codes.device).log_prob(z).mean().item()
    return found


def likelihoods(run: Run) -> tuple[float, float]:
    """Return the mean log density of the validation codes z, in nats: under a run's transport, and its prior."""
    assert run.transport is not None
    z = _validation_codes(run)
    return run.transport.log_prob(z).mean().item(), _prior_likelihood(run.model.bottleneck.prior(), z)


def _validation_codes(run: Run) -> Tensor:
    """Return the codes of the validation images before a transport: (N, D), float64 if the device has it."""
    with generation.without_transport(run.model):
        codes = generation.encode(run.model, *run.data.validation)
    return as_double(codes.to(next(run.model.parameters()).device))


def _prior_likelihood(prior: Distribution, z: Tensor) -> float:
    return float(prior.log_prob(as_prior(prior).interior(z.cpu())).mean())


def remove_transport(run: Run) -> None:
    """Remove the transport of a run: the implementation of ``Run.remove_transport``."""
    kept = run.origin is None and run.is_current("its transport stays in the folder")
    run.model.bottleneck = _untransported(run.model.bottleneck)
    if kept:
        run.files.transport.unlink(missing_ok=True)
        run.mark_saved()


def _untransported(bottleneck: Bottleneck) -> Bottleneck:
    return bottleneck.bottleneck if isinstance(bottleneck, Transported) else bottleneck
