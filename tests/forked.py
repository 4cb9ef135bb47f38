"""Processes forked from one that has loaded everything once: each starts in milliseconds, not seconds.

The process that they are forked from never trains, so that a fork is safe.
"""

import multiprocessing
import os
import sys

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *("entropic_ae.runs", "entropic_ae.cli", "entropic_ae.experiments", "filelock", "pytorch_lightning"),
        *("safetensors.torch", "sklearn.datasets.data", "test_resume"),
    ]
)


def start(target, *arguments):
    process = CONTEXT.Process(target=_quick_to_end, args=(target, *arguments), daemon=True)
    process.start()
    return process


def _quick_to_end(target, *arguments):
    target(*arguments)
    os._exit(0)  # what PyTorch takes down takes as long as the training


def start_command(out, *arguments):
    """Run the command line; what it prints goes into the files out.txt and err.txt of a folder."""
    return start(_command, out, [str(one) for one in arguments])


def _command(out, arguments):
    from entropic_ae import cli

    out.mkdir(parents=True, exist_ok=True)
    for descriptor, name in ((1, "out.txt"), (2, "err.txt")):
        os.dup2(os.open(out / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", buffering=1) for descriptor in (1, 2))
    sys.argv = ["entropic-ae", *arguments]
    try:
        cli.main()
    except SystemExit as stop:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(stop.code or 0)
