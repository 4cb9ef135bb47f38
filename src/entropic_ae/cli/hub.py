"""Commands of the Hugging Face Hub: push and pull."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from entropic_ae.cli.options import Device, load_run
from entropic_ae.cli.printing import Document, console
from entropic_ae.storage.examples import EXAMPLE

__all__ = ["pull", "push"]


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder of [b]train[/b].")],
    repo: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="On the Hugging Face Hub; created if missing.")
    ],
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public, not private.")] = False,
    revision: Annotated[str | None, typer.Option(help="A branch; created if missing.")] = None,
    message: Annotated[str | None, typer.Option(help="The commit message.")] = None,
    license: Annotated[str | None, typer.Option(help="For the model card, e.g. mit; default: none.")] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Also push real.png, reconstructions.png, interpolations.png or report.html, which show real "
            "images. Repeatable.",
        ),
    ] = None,
    device: Device = "auto",
) -> Document:
    """Share a run on the Hugging Face Hub, with a model card: weights, densities, results, samples.

    Log in first, by [b]hf auth login[/b] or with a token in HF_TOKEN.
    """
    loaded = load_run(str(run), device)
    url = loaded.push_to_hub(
        repo, private=not public, revision=revision, message=message, license=license, include=include or ()
    )
    console.print(url)
    return {"run": run, "url": url}


def pull(
    run: Annotated[
        str,
        typer.Argument(metavar="hf:OWNER/NAME", help="A run on the Hub; @REVISION may follow."),
    ],
    out: Annotated[Path | None, typer.Option(help="The run folder; default: runs/NAME.")] = None,
) -> Document:
    """Copy a run from the Hugging Face Hub to a run folder, where densities and metrics can be saved.

    An example that comes with the library, such as example:mnist, is copied too.
    """
    from entropic_ae.sharing import fetch, repository

    name = run.removeprefix(EXAMPLE) if run.startswith(EXAMPLE) else repository(run)[0].partition("/")[2]
    folder = fetch(run, out=out or Path("runs") / name)
    console.print(str(folder))
    return {"source": run, "run": folder}
