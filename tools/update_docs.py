"""Put what ``results/`` holds into the README and the pages of ``docs/``, between the marks that name it.

``python tools/update_docs.py`` rewrites them; with ``--check`` it only says whether it would. The marks are
``<!-- table: FOLDER -->`` (the whole table of a folder), ``<!-- brief table: FOLDER -->``,
``<!-- tries: FOLDER -->`` (what was tried in tuning), ``<!-- study: FOLDER -->``, ``<!-- caption: FILE -->`` (of a
figure), and of what pythae does ``<!-- versions: FILE -->``, ``<!-- agreement: FILE -->`` and
``<!-- deviations: FILE -->``.
"""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path

from entropic_ae.experiments.studies import render_study
from entropic_ae.experiments.table1 import render
from entropic_ae.experiments.tuning import render_tries
from entropic_ae.files import read_json

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def peer_versions(path: Path) -> str:
    """Return the versions that were compared."""
    found = read_json(path)["versions"]
    return ", ".join(f"{name} {found[name]}" for name in ("pythae", "entropic-ae", "torch", "python")) + "."


def peer_rows(path: Path, *, name: str) -> str:
    """Return what was found as a Markdown table."""
    head, *rows = read_json(path)[name]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def caption(path: Path) -> str:
    """Return what was written beside a figure."""
    return path.read_text(encoding="utf-8").strip()


KINDS = {
    "table": render,
    "brief table": partial(render, brief=True),
    "tries": render_tries,
    "study": render_study,
    "caption": caption,
    "versions": peer_versions,
    "agreement": partial(peer_rows, name="agreement"),
    "deviations": partial(peer_rows, name="deviations"),
}
MARK = re.compile(rf"(<!-- ({'|'.join(KINDS)}): (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """Return the text with each marked table rendered from its folder."""
    return MARK.sub(lambda match: f"{match[1]}{KINDS[match[2]](ROOT / match[3])}\n{match[4]}", text)


if __name__ == "__main__":
    stale = []
    for page in PAGES:
        old = page.read_text(encoding="utf-8")
        new = with_tables(old)
        if new != old:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(new, encoding="utf-8")
    if "--check" in sys.argv and stale:
        sys.exit(f"{', '.join(stale)}: not what results/ says; run tools/update_docs.py.")
