"""Put the tables of ``results/`` into the README, between the marks that name their folders.

``python tools/update_readme.py`` rewrites the README; with ``--check`` it only says whether it would.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from entropic_ae.experiments.table1 import render

ROOT = Path(__file__).parent.parent
MARK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """Return the text with each marked table rendered from its folder."""
    return MARK.sub(lambda match: f"{match[1]}{render(ROOT / match[2])}\n{match[3]}", text)


if __name__ == "__main__":
    readme = ROOT / "README.md"
    old = readme.read_text(encoding="utf-8")
    new = with_tables(old)
    if "--check" in sys.argv:
        sys.exit("README.md is not what results/ says; run tools/update_readme.py." if new != old else 0)
    readme.write_text(new, encoding="utf-8")
