"""What the metrics of a run mean, in words, and the one command that would improve it most."""

from entropic_ae.verdict.command import run_command, setting_text, train_command
from entropic_ae.verdict.findings import Finding, Verdict, entropy_of, verdict

__all__ = [
    "Finding",
    "Verdict",
    "entropy_of",
    "run_command",
    "setting_text",
    "train_command",
    "verdict",
]
