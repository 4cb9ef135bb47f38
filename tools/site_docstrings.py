"""Docstrings as the site shows them: this project's sections and examples, put into Markdown.

An extension of griffe, which mkdocstrings reads the sources with; ``mkdocs.yml`` names it.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTION = re.compile(r"(Arguments|Attributes|Returns|Raises|References?):(?: (.+))?")
ENTRY = re.compile(r"(\S[^:]*): (.*)")


def as_markdown(text: str) -> str:
    """Return a docstring with its sections as lists under a bold word and its examples as blocks of code."""
    return "\n\n".join(_paragraph(paragraph) for paragraph in re.split(r"\n{2,}", text))


def _paragraph(paragraph: str) -> str:
    first, *rest = paragraph.splitlines()
    if first.startswith(">>> "):
        return f"```pycon\n{paragraph}\n```"
    section = SECTION.fullmatch(first)
    if section is None:
        return paragraph
    name, said = section.groups()
    if said is not None:
        return " ".join([f"**{name}:** {said}", *(line.strip() for line in rest)])
    lines = [f"**{name}**", ""]
    for line in rest:
        entry = ENTRY.fullmatch(line.strip())
        if line.startswith(" " * 5) or entry is None:
            lines.append(f"  {line.strip()}")
        else:
            lines.append(f"- `{entry[1]}`: {entry[2]}")
    return "\n".join(lines)


class AsMarkdown(griffe.Extension):
    """Rewrites each docstring as it is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite that of a module, a class, a function or an attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
