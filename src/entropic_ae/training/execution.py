"""How a job is executed: devices, machines, precision and compilation, parsed once."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from entropic_ae import distributed
from entropic_ae.autoencoder import Autoencoder
from entropic_ae.errors import InputError
from entropic_ae.terms import Objective

__all__ = ["Execution", "compiled", "quiet_lightning"]

_DEVICES = ("auto", "cpu", "cuda", "mps")
_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "64": "64-true"}  # with Lightning's names


@dataclass(frozen=True)
class Execution:
    """The devices and the precision of a job.

    Names and numbers are checked at construction, the devices of this machine by ``target``: a job may be
    configured on one machine and executed on another.

    Attributes:
        device: auto, cpu, cuda or mps; auto takes an NVIDIA or AMD GPU if there is one, else the CPU. Apple's GPU,
            mps, has no float64: what needs it is computed on the CPU, see ``arrays.exact``.
        devices: processes on each machine, one per device.
        nodes: machines.
        precision: 32, bf16 or 64.
        compile: compile the networks.

    Raises: InputError for an unknown device or precision, and for fewer than one process or machine.

    >>> Execution("cpu", devices=2, nodes=3).processes
    6
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "32"
    compile: bool = False

    def __post_init__(self) -> None:
        if self.device not in _DEVICES:
            raise InputError(f"device must be auto, cpu, cuda or mps, got '{self.device}'.")
        if self.precision not in _PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(_PRECISIONS)}, got '{self.precision}'.")
        if min(self.devices, self.nodes) < 1:
            raise InputError(f"devices and nodes must be at least 1, got {self.devices} and {self.nodes}.")

        if self.device == "mps" and self.precision == "64":
            raise InputError("precision 64 needs float64, which the device mps lacks; use --device cpu.")
        if self.device == "mps" and self.processes > 1:
            raise InputError(f"a machine has one device mps, got {self.processes} processes; use --device cpu.")

    @property
    def processes(self) -> int:
        """The number of processes, on all machines together."""
        return self.devices * self.nodes

    @property
    def lightning_precision(self) -> Any:
        """Lightning's name for the precision."""
        return _PRECISIONS[self.precision]

    @property
    def target(self) -> torch.device:
        """The device of a process; InputError if the machine has fewer GPUs than requested."""
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("device cuda was requested, but PyTorch sees no GPU; use --device cpu.")
        if self.device == "mps":
            if not torch.backends.mps.is_available():
                raise InputError("device mps was requested, but PyTorch sees no Apple GPU; use --device cpu.")
            return torch.device("mps")
        if self.device == "cpu" or not torch.cuda.is_available():
            return torch.device("cpu")
        if self.devices > torch.cuda.device_count():
            raise InputError(f"this machine has {torch.cuda.device_count()} GPUs, got devices={self.devices}.")
        return torch.device("cuda")

    @property
    def slowdown(self) -> str:
        """A sentence on what makes training slow on this machine, with the remedy; empty if nothing does.

        In bf16 a CPU of the architecture x86 needs AVX-512. With AVX2 alone a training at width 16 was more than
        ten times slower than in float32. Older versions of PyTorch do not tell what a CPU has.
        """
        capabilities = getattr(torch.cpu, "get_capabilities", dict)
        if self.precision != "bf16" or self.target.type != "cpu" or not _emulates_bf16(capabilities()):
            return ""
        return "this CPU lacks AVX-512, without which training in bf16 is ten times slower; use --precision 32."

    @contextmanager
    def together(self) -> Iterator[None]:
        """Share encoding, decoding and features between the processes in the block, without Lightning's log."""
        with quiet_lightning(), distributed.together(self.target, self.devices, self.nodes):
            yield


def _emulates_bf16(capabilities: Mapping[str, Any]) -> bool:
    """Whether a CPU of the architecture x86 lacks vector instructions for bf16; False where that is not known.

    >>> _emulates_bf16({"architecture": "x86_64", "avx2": True, "avx512_bw": False})
    True
    >>> _emulates_bf16({})
    False
    """
    enough = ("avx512_bw", "avx_ne_convert")
    return capabilities.get("architecture") == "x86_64" and not any(capabilities.get(one) for one in enough)


def compiled(model: Autoencoder, objective: Objective) -> AbstractContextManager[None]:
    """Return a context in which the networks are compiled, unless a term needs a second derivative."""
    if deep := [term.name for term in objective.terms if term.derives_twice]:
        warnings.warn(
            f"{' and '.join(deep)} needs a second derivative, which compiled networks do not have; training "
            "continues without compiling.",
            stacklevel=3,
        )
        return nullcontext()
    return model.compiled()


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's notes on loaders and hardware; they do not apply to tensors in memory."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning.*")
            warnings.filterwarnings("ignore", module="lightning_fabric.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
