"""What commands print: tables, metrics, cautions."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["console", "errors", "print_caution", "print_metrics", "print_table", "short"]

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)
_FEW = 100  # test images, below which no distance means much
_UNBOUNDED = 1000  # characters, more than any table has


def print_table(table: Table) -> None:
    """Print a table, folded to the width of a terminal only: a file or a pipe has none."""
    wide = console if console.is_terminal else Console(highlight=False, width=_UNBOUNDED)
    with wide.capture() as captured:
        wide.print(table)
    for line in captured.get().splitlines():
        wide.out(line.rstrip(), highlight=False)


def short(value: Any) -> str:
    """Return a setting as a table shows it."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def print_metrics(result: dict[str, Any]) -> None:
    """Print what ``Run.evaluate`` returns: distances, reconstruction error, entropy, verdict, collapse."""
    from entropic_ae.report import distance_rows

    codes = result["codes"]
    table = Table("images", "number", "Frechet distance", "kernel distance", box=None, padding=(0, 2, 0, 0))
    for row in distance_rows(result):
        table.add_row(*row)
    console.print(f"Distances to {result['real_images']:,} test images in {result['features']} features:")
    print_table(table)
    console.print(f"reconstruction error {result['reconstruction_error']:.3f} (squared, summed over an image)")
    entropy = f"entropy of {codes['n']:,} held-out codes {codes['entropy']:.2f} nats"
    if codes["maximum"] is not None:
        entropy += (
            f", maximum {codes['maximum']:.2f}, gap {codes['gap']:.2f} "
            f"({codes['corrected_gap']:.2f} from as many draws of the prior by the same estimate)"
        )
    console.print(entropy)
    if "verdict" in result["diagnostics"]:
        console.print(result["diagnostics"]["verdict"])
    else:
        console.print(f"too few codes to say how far they are from the prior: {codes['n']}")
    if result["real_images"] < _FEW:
        console.print(f"[bold yellow]few images:[/] distances to {result['real_images']} of them say little")
    collapse = result["collapse"]
    console.print(f"active codes {collapse['active_codes']} of {collapse['latent_dim']}")
    if collapse["collapsed"]:
        collapsed = ", ".join(collapse["collapsed"])
        console.print(
            f"[bold yellow]collapsed[/] (less than a tenth of the real variance; dead codes): {collapsed}"
        )


def print_caution(caution: str | None) -> None:
    """Print ``Run.caution``, if there is one."""
    if caution is not None:
        console.print(f"[bold yellow]short training:[/] {caution}")
