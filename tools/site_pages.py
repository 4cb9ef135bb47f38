"""What the site adds to the pages of ``docs/``: pictures of ``results/``, commands, modules, typeset formulas.

A hook of MkDocs, named in ``mkdocs.yml``. The page of commands comes from the command line, the pages of modules
from docstrings. Formulas become MathML at build time, so that pages need no script and no network.
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import entropic_ae

ROOT = Path(__file__).parent.parent
STUB = Path(entropic_ae.__file__).with_suffix(".pyi")
# Names by module: the public ones of the package, and those that only scripts of several processes need.
MODULES = {"distributed": {"alone", "synchronise", "together"}}
INHERITED = {"runs"}  # modules whose classes have public members of a base class that is not public
for _module, _name in re.findall(r"^from \.([\w.]+) import (\w+)", STUB.read_text(encoding="utf-8"), re.MULTILINE):
    if _module != "version":
        MODULES.setdefault(_module, set()).add(_name)


def on_config(config: MkDocsConfig) -> None:
    """Put the modules into the navigation, in the order of the alphabet."""
    reference = config.nav[-1]["Reference"]
    reference.append({"Python": [{module: f"api/{module}.md"} for module in sorted(MODULES)]})


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add what lies outside ``docs/`` or is generated."""
    for picture in sorted((ROOT / "results").rglob("*.png")):
        files.append(File.generated(config, picture.relative_to(ROOT).as_posix(), abs_src_path=str(picture)))
    files.append(File.generated(config, "commands.md", content=commands()))
    for module, names in MODULES.items():
        files.append(File.generated(config, f"api/{module}.md", content=module_page(module, names)))


def on_page_markdown(markdown: str, **_: object) -> str:
    """Let links of ``docs/`` to ``results/``, which lead there on a disk, lead to the site's copy."""
    return markdown.replace("](../results/", "](results/")


def on_page_content(content: str, **_: object) -> str:
    """Replace the formulas that pymdownx.arithmatex has marked by MathML."""
    return re.sub(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', _typeset, content, flags=re.DOTALL)


def _typeset(match: re.Match[str]) -> str:
    return convert(html.unescape(match[2]).strip(), display="inline" if match[1] == "span" else "block")


def commands() -> str:
    """Return the page of commands: Typer's own description of the command line."""
    command = [sys.executable, "-m", "typer", "entropic_ae.cli", "utils", "docs", "--name", "entropic-ae"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    text = done.stdout.replace("# `entropic-ae`\n", "# Commands\n", 1)
    return re.sub(r"\[/?b\]", "**", text)  # rich's bold to Markdown's


def module_page(module: str, names: set[str]) -> str:
    """Return the page of a module, for mkdocstrings to fill in."""
    members = ", ".join(sorted(names))
    options = f"members: [{members}]\n      inherited_members: {str(module in INHERITED).lower()}"
    return f"# {module}\n\n::: entropic_ae.{module}\n    options:\n      {options}\n"
