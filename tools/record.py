"""Record a newcomer's walk in a terminal as SVG pictures: train on a folder, sample, evaluate, report.

    PYTHONPATH=src python tools/record.py --columns 80 110 --out docs

The folder holds the handwritten digits that come with scikit-learn, as PNG files. Each command runs in a terminal
of its own with that many columns. Of a line that is redrawn in place the last state is kept, as it stands when the
command ends. Writes ``walk-COLUMNS.svg``; the pictures ask no other server for fonts.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.text import Text

import entropic_ae as eae
from entropic_ae.pictures import as_picture

__all__ = ["COMMANDS", "lines", "main", "record", "svg"]

COMMANDS = (
    "train eae numerals --epochs 60 --out runs/numerals",
    "sample runs/numerals --n 32 --out new.png",
    "evaluate runs/numerals",
    "report runs/numerals",
)
ROWS = 60  # of the terminal
LARGEST = 60_000  # bytes of a picture
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)  # of another server
_UP = re.compile(r"\x1b\[1?A")  # the cursor goes to the line above, which is drawn over
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-ln-z]")  # all but colours


def record(command: str, folder: Path, columns: int) -> bytes:
    """Return what a command writes into a terminal; RuntimeError if it fails."""
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths, "TERM": "xterm-256color", "COLUMNS": str(columns)}
    environment["ENTROPIC_AE_CACHE"] = str(folder / "cache")  # no path of this machine, and a first use as it is
    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    program = [sys.executable, "-m", "entropic_ae", *shlex.split(command)]
    with subprocess.Popen(program, cwd=folder, env=environment, **streams) as running:
        os.close(terminal)
        written = io.BytesIO()
        with suppress(OSError):  # Linux ends a terminal without writers so
            while part := os.read(control, 2**16):
                written.write(part)
    os.close(control)
    if running.returncode:
        raise RuntimeError(f"{command} ended with status {running.returncode}: {written.getvalue().decode()}")
    return written.getvalue()


def lines(written: str) -> Iterator[str]:
    """Yield the lines that stay: of one that is redrawn in place its last state, none that is drawn over."""
    kept: list[str] = []
    for whole in written.replace("\r\n", "\n").split("\n"):
        for _ in range(min(len(_UP.findall(whole)), len(kept))):
            kept.pop()
        drawn = re.split(r"\r|\x1b\[2K", whole.rstrip("\r"))[-1]
        last = _CONTROLS.sub("", drawn)
        if last or not _CONTROLS.search(whole):
            kept.append(last)
    yield from kept


def svg(steps: list[tuple[str, str]], columns: int, title: str) -> str:
    """Return commands and what they wrote as an SVG picture of a terminal."""
    console = Console(
        record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    for command, written in steps:
        _print(console, Text(f"$ entropic-ae {command}", "bold"), columns)
        decoder = AnsiDecoder()
        for line in lines(written.strip("\r\n")):
            _print(console, decoder.decode_line(line), columns)
        console.print()
    return _FONTS.sub("", console.export_svg(title=title, unique_id=f"walk{columns}"))


def _print(console: Console, text: Text, columns: int) -> None:
    """Print a line as a terminal does, which goes on below after its last column, in the midst of a word."""
    for part in text.divide(range(columns, len(text), columns)) or [text]:
        console.print(part, soft_wrap=True)


def digits(folder: Path) -> None:
    """Write scikit-learn's digits as PNG files, in a folder for each class."""
    data = eae.load_images("digits")
    for part in (data.train, data.validation, data.test):
        assert part.labels is not None
        for label in part.labels.unique().tolist():
            some = part.images[part.labels == label]
            place = folder / str(label)
            place.mkdir(parents=True, exist_ok=True)
            start = len(list(place.iterdir()))
            for number, image in enumerate(some, start):
                as_picture(image).save(place / f"{number:04}.png")


def main() -> None:
    """Record the walk at each number of columns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, nargs="+", default=[80, 110])
    parser.add_argument("--out", type=Path, required=True, help="a folder")
    given = parser.parse_args()
    for columns in given.columns:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name).resolve()
            digits(folder / "numerals")
            steps = []
            for command in COMMANDS:
                written = record(command, folder, columns).decode()
                steps.append((command, written.replace(f"{folder}{os.sep}", "")))
        picture = svg(steps, columns, f"A folder of images, {columns} columns")
        if len(picture.encode()) > LARGEST:
            sys.exit(f"the picture has {len(picture.encode()):,} bytes, expected at most {LARGEST:,}.")
        (given.out / f"walk-{columns}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
