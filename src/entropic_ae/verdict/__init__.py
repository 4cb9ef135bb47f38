"""What the metrics of a run mean, in words, and the one command that would improve it most."""

from entropic_ae.verdict.command import resume_command, run_command, setting_text, train_command
from entropic_ae.verdict.findings import Finding, Verdict, entropy_of, verdict

__all__ = [
    "Finding",
    "Verdict",
    "entropy_of",
    "resume_command",
    "run_command",
    "setting_text",
    "train_command",
    "verdict",
]
