"""List the licence of everything that an installation brings, as the packages themselves state it.

``python tools/licences.py`` writes ``docs/licences.md`` from its environment, which must have all extras, those
that ``dev`` leaves out too: fid (``PYTHONPATH=.venv/fid``) and dino; with ``--check`` it only says whether a
dependency is missing from the page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAGE = Path(__file__).parent.parent / "docs" / "licences.md"
NAME = "entropic-ae"
DEVELOPMENT = {"dev", "test", "browser", "docs"}
APART = ("torch-fidelity", "torchvision", "transformers")  # of the extras fid and dino, which dev does not bring
HEAD = """# Licences

The library is under the MIT licence. Below is everything that an installation brings, as each package states its
licence itself; `tools/licences.py` writes this page. Nothing of these is copied into the library.

"""


def main() -> None:
    """Write the page, or check it."""
    extras = set(distribution(NAME).metadata.get_all("Provides-Extra") or []) - DEVELOPMENT
    core, all_of_it = closure(set()), closure(extras)
    rows = [
        f"| {name} | {licence(found)} | {'always' if name in core else 'by an extra'} |"
        for name, found in sorted(all_of_it.items())
    ]
    text = HEAD + "\n".join(["| package | licence | installed |", "| --- | --- | --- |", *rows]) + "\n"
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
        return
    listed = set(re.findall(r"^\| ([\w.-]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    if missing := sorted(all_of_it.keys() - listed):
        sys.exit(f"docs/licences.md lacks {', '.join(missing)}; run tools/licences.py.")


def closure(extras: set[str]) -> dict[str, Distribution]:
    """Return what the library requires with these extras, and what that requires, by name."""
    found: dict[str, Distribution] = {}
    todo = list(required(distribution(NAME), extras))
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        try:
            found[name] = distribution(requirement.name)
        except PackageNotFoundError:
            if name in APART and "--check" in sys.argv:
                continue
            sys.exit(f"{name} is not installed; run this where all extras are.")
        todo += required(found[name], requirement.extras)
    return found


def required(package: Distribution, extras: set[str]) -> Iterator[Requirement]:
    """Yield what a package requires on this machine, with these of its extras."""
    for text in package.requires or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if canonicalize_name(requirement.name) == NAME:  # an extra made of others
            continue
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield requirement


def licence(package: Distribution) -> str:
    """Return what a package says of its licence: an expression, else its classifiers, else the first line."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    classes = [c.rpartition(" :: ")[2] for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")]
    stated = (metadata.get("License") or "").strip().partition("\n")[0]
    if classes and classes != ["OSI Approved"]:
        return ", ".join(classes)
    return stated[:60] or "not stated"


if __name__ == "__main__":
    main()
