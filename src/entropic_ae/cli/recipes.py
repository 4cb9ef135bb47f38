"""The command ``recipes``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from entropic_ae.cli.printing import Document, console, hint, print_table, short

__all__ = ["recipes"]


def recipes(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="Show this system's settings for each data set.")
    ] = None,
) -> Document:
    """List the systems and all other names, or describe a system: its parts and all its settings."""
    from entropic_ae.bottlenecks import BOTTLENECKS
    from entropic_ae.data import DATASETS
    from entropic_ae.densities import DENSITIES
    from entropic_ae.features import FEATURES
    from entropic_ae.recipes import NETWORKS, PRESETS, RECIPES, SIZES, by_preset
    from entropic_ae.terms import FEATURE_NETWORKS
    from entropic_ae.training import LOGGERS
    from entropic_ae.transports import TRANSPORTS

    if recipe is None:
        table = Table("recipe", "what it is", box=None, padding=(0, 2, 0, 0))
        for one in RECIPES.values():
            table.add_row(one.name, one.summary)
        print_table(table)
        console.print()
        parts = (NETWORKS, BOTTLENECKS, FEATURE_NETWORKS, TRANSPORTS, DENSITIES)
        registries = (DATASETS, PRESETS, SIZES, *parts, FEATURES, LOGGERS)
        names = Table("what", "by name", box=None, padding=(0, 2, 0, 0))
        for registry in registries:
            names.add_row(registry.kind, ", ".join(registry))
        print_table(names)
        hint("\n[b]entropic-ae recipes NAME[/b] shows one with its settings, e.g. recipes eae.")
        systems = [{"name": one.name, "summary": one.summary} for one in RECIPES.values()]
        return {"recipes": systems, **{registry.kind: list(registry) for registry in registries}}
    one = RECIPES.find(recipe)
    console.print(f"[b]{one.name}[/b]: {one.summary}")
    console.print(f"reference: {escape(one.reference)}")
    console.print(f"bottleneck: {one.bottleneck.func.__name__}")
    console.print(f"objective: {' + '.join(f'{term.setting} * {type(term).__name__}' for term in one.terms)}")
    console.print(f"measured with: {', '.join(one.densities)}; images are drawn from {one.density} by default")
    console.print("\nSettings by data set (change any with [b]--set[/b] name=value):")
    columns = by_preset(one)
    longest = max(len(name) for column in columns.values() for name in column)  # never truncated
    by_data = [Column(name, overflow="fold") for name in columns]
    settings = Table(Column("setting", no_wrap=True, min_width=longest), *by_data, box=None, padding=(0, 2, 0, 0))
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        settings.add_row(name, *(short(column.get(name, "")) for column in columns.values()))
    print_table(settings)
    return {
        "name": one.name,
        "summary": one.summary,
        "reference": one.reference,
        "bottleneck": one.bottleneck.func.__name__,
        "objective": [{"weight": term.setting, "term": type(term).__name__} for term in one.terms],
        "densities": [*one.densities],
        "density": one.density,
        "settings": columns,
    }
