"""The command line: parse, call one function, print."""

from entropic_ae.cli.commands import app, main

__all__ = ["app", "main"]
