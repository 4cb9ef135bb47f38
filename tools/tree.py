"""The tree of the package with the purpose of each module, for ``docs/layout.md``."""

from __future__ import annotations

import ast
from pathlib import Path

__all__ = ["render_tree"]


def purpose(module: Path) -> str:
    """Return the first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split()).replace("``", "`")


def render_tree(path: Path) -> str:
    """Return a table of the modules below a package, the rooms in alphabetical order.

    Arguments:
        path: the package.
    """
    rows = ["| module | purpose |", "| --- | --- |"]
    for room in sorted(path.iterdir()):
        if (room / "__init__.py").is_file():
            rows.append(f"| **`{room.name}/`** | {purpose(room / '__init__.py')} |")
            for module in sorted(
                one for one in room.rglob("*.py") if one.parent != room or one.stem != "__init__"
            ):
                package = module.parent if module.stem == "__init__" else module
                name = f"{package.relative_to(path).as_posix()}{'/' * (package != module)}"
                rows.append(f"| `{name}` | {purpose(module)} |")
        elif room.suffix == ".py":
            rows.append(f"| **`{room.name}`** | {purpose(room)} |")
    return "\n".join(rows)
