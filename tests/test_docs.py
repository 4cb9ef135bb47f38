"""The site builds strictly, and every block of code on its pages and in the README runs.

A page's blocks run in order, in one folder and one process; a shell expands those of the command line. ``LESS``
makes heavy commands small. What cannot run here at all stands in ``ELSEWHERE`` with the reason, or a page says
``<!-- not run: REASON -->`` above a block; the command line's options are parsed all the same. Where its readers
have done something before, a page says ``<!-- first: COMMAND -->``.
"""

import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
import typer
from PIL import Image

import entropic_ae as eae
from entropic_ae import cli, scikit
from entropic_ae.cli import commands
from entropic_ae.experiments.studies import STUDIES
from entropic_ae.features import classifier

ROOT = Path(__file__).parent.parent
APART = ("extend.md",)  # scripts, each a file: tests/test_extend.py runs them
EXPORT = ROOT / "docs" / "export.md"  # whose run and files tests/test_export.py looks at, and so runs it
PAGES = (ROOT / "README.md", *(p for p in sorted((ROOT / "docs").glob("*.md")) if p.name not in APART))
PART = re.compile(
    r"^<!-- (?P<mark>first|not run): (?P<said>[^\n]+) -->$|^```(?P<language>[^\n]*)\n(?P<code>.*?)^```$",
    re.M | re.S,
)

# A command that has one of these options gets it so, whatever the page says, which would take hours.
LESS = {
    "--epochs": "1",
    "--limit": "60",
    "--n": "60",
    "--seeds": "0",
    "--width": "2",
    "--recipes": "2svae",
    "--rates": "1e-3",
    "--factors": "5",
    "--features": "classifier:mnist",  # 64 of them, of a network that is trained once; 1,024 pixels take longer
}
# the same, of Python
LESS_PYTHON = {r"\bepochs=\d+": "epochs=1", r"\(n=\d+\)": "(n=60)", r"\brange\(500\)": "range(100)"}
LESS_SETTINGS = {"width": "2", "second-stage.epochs": "1"}  # the same, of settings
ELSEWHERE = {
    "make": "installs, then does what other blocks do",
    "pip": "installs",
    "python3": "makes an environment to install into",
    "python": "measures for an hour: tests/test_benchmarks.py",
    "source": "enters it",
    "hf": "needs an account",
    "hf:": "needs the Hub: tests/test_hub.py has a stand-in for it",
    "onnx": "takes as long as the rest of its page: docs/export.md has it by default",
    "push": "needs the Hub: tests/test_hub.py",
    "explore": "serves until it is stopped: tests/test_explore.py",
    "torchrun": "needs several GPUs: tests/test_distributed.py has processes on a CPU",
    "srun": "needs a cluster",
    "--devices": "needs several GPUs: tests/test_distributed.py",
    "constraints": "takes minutes at any size: tests/test_figures.py",
    "bottleneck": "trains one run a bottleneck: tests/test_studies.py",
}
RECORD = """
set -eu
for name in entropic-ae hf make pip python python3 source srun torchrun; do
    eval "$name() { printf '%s\\037' $name \\"\\$@\\"; printf '\\036'; }"
done
"""


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """Registered data sets of a few random images, and a cache for the module."""
    root = tmp_path_factory.mktemp("docs")
    draw = np.random.default_rng(0)
    for name, column, shape in (("mnist", "image", (28, 28)), ("cifar10", "img", (32, 32, 3))):
        for split, n in (("train", 100), ("validation", 60), ("test", 60)):
            images = [Image.fromarray(draw.integers(0, 256, shape, np.uint8)) for _ in range(n)]
            rows = datasets.Dataset.from_dict({column: images, "label": [i % 10 for i in range(n)]})
            rows.to_parquet(str(root / "data" / name / f"{split}-0.parquet"))
    return root


@pytest.fixture
def folder(stand_ins, tmp_path, monkeypatch):
    """An empty folder to run in, but for the pictures that pages call path/to."""
    for name in ("photos", "other/photos"):
        (tmp_path / "path/to" / name).mkdir(parents=True)
        for i in range(30):
            noise = np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / "path/to" / name / f"{i}.png")
    monkeypatch.setenv("ENTROPIC_AE_CACHE", str(stand_ins / "cache"))
    monkeypatch.setenv("ENTROPIC_AE_DATA", str(stand_ins / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parts(page):
    """Yield each block's language, its code, and why it is not run; a command before is a block of its own."""
    reason = None
    for part in PART.finditer(page.read_text(encoding="utf-8")):
        if part["mark"] == "not run":
            reason = part["said"]
        elif part["mark"] == "first":
            yield "sh", part["said"], None
        else:
            yield part["language"], part["code"], reason
            reason = None


def expanded(code):
    """Return the commands that a shell makes of a block, as lists of words."""
    done = subprocess.run(["bash", "-c", RECORD + code], capture_output=True, text=True, check=True)
    return [command.split("\037")[:-1] for command in done.stdout.split("\036")[:-1]]


def reason_not_to(words):
    """Return the reason of ``ELSEWHERE`` for a command, None if it runs here."""
    for key, reason in ELSEWHERE.items():
        if key in words or (key.endswith(":") and any(word.startswith(key) for word in words)):
            return reason
    return None


def parse(arguments):
    """Return the command of the command line that these are for, having parsed them as it would."""
    group = typer.main.get_command(cli.app)
    with group.make_context("entropic-ae", list(arguments), resilient_parsing=True) as context:
        name, command, rest = group.resolve_command(context, commands._expand(arguments))
        command.make_context(name, list(rest), parent=context)
    return command


def smaller(arguments):
    """Return a command with ``LESS`` and ``LESS_SETTINGS`` in it."""
    known = {option for parameter in parse(arguments).params for option in parameter.opts}
    if arguments[0] == "figure":
        known -= {"--recipes"}  # only the study of lengths takes it
    kept = []
    for word in arguments:
        name, equals, _ = word.partition("=")
        if kept and kept[-1] in LESS:
            kept.pop()
        else:
            kept.append(f"{name}={LESS_SETTINGS[name]}" if equals and name in LESS_SETTINGS else word)
    given = {f"--{word.partition('=')[0]}" for word in kept if "=" in word}  # by --set, and once is enough
    less = [word for option, value in LESS.items() if option in known - given for word in (option, value)]
    return kept + less


def smaller_python(code):
    """Return a block with ``LESS_PYTHON`` in it."""
    for much, less in LESS_PYTHON.items():
        code = re.sub(much, less, code)
    return code


def run(words, reason, monkeypatch):
    """Run a command in this process, made small; where there is a reason not to, only look at its options."""
    why = reason or reason_not_to(words)
    if "torchrun" in words:
        words = ["entropic-ae", *words[words.index("entropic_ae") + 1 :]]
    if "entropic-ae" not in words:
        assert why, f"{words[0]} is run by no test; give a reason in ELSEWHERE"
        return
    arguments = words[words.index("entropic-ae") + 1 :]
    if why:
        parse(arguments)
        return
    monkeypatch.setattr(sys, "argv", ["entropic-ae", *smaller(arguments)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert not exit_.value.code, f"{' '.join(words)}: exit code {exit_.value.code}"


def run_page(page, monkeypatch):
    """Run the blocks of a page in the current folder."""
    found = {}
    for language, code, reason in parts(page):
        known = language in {"python", "sh", "text"} or (language == "js" and reason)  # which nothing here runs
        assert known, f"a block of {language or 'no language'}"
        if language == "python" and reason is None:
            exec(compile(smaller_python(code), page.name, "exec"), found)
        elif language == "sh":
            for words in expanded(code):
                run(words, reason, monkeypatch)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("page", [page for page in PAGES if page != EXPORT], ids=lambda page: page.name)
def test_blocks_run(page, folder, monkeypatch):
    monkeypatch.setattr(scikit, "_FEWEST_EPOCHS", 1)  # where no epochs are given
    monkeypatch.setattr(scikit, "_MOST_EPOCHS", 1)
    monkeypatch.setattr(classifier, "_GREY_BUDGET", 0)  # as few epochs as it ever has
    monkeypatch.setattr(classifier, "_COLOUR_BUDGET", 0)
    fewer = [replace(axis, values=axis.values[:2], by_data={}) for axis in STUDIES["weight"][::3]]
    monkeypatch.setitem(STUDIES, "weight", tuple(fewer))
    for registry in (eae.NETWORKS, eae.FEATURE_NETWORKS):
        monkeypatch.setattr(registry, "data", dict(registry.data))
    run_page(page, monkeypatch)


def test_every_fence_is_a_block():
    for page in PAGES:
        fences = [
            line for line in page.read_text(encoding="utf-8").splitlines() if line.lstrip().startswith("```")
        ]
        marked = page.read_text(encoding="utf-8").count("<!-- first: ")
        assert len(fences) == 2 * (len(list(parts(page))) - marked), page.name


def test_no_reason_and_no_option_made_small_is_left_over():
    blocks = [code for page in PAGES for language, code, _ in parts(page) if language == "sh"]
    words = {word for code in blocks for command in expanded(code) for word in command}
    assert "hf:" in {word[:3] for word in words}
    assert set(ELSEWHERE) <= words | {"hf:"}
    commands = typer.main.get_command(cli.app).commands.values()
    assert set(LESS) <= {option for command in commands for one in command.params for option in one.opts}


# the site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as ``make docs`` builds it; the command ends with an error at the first warning."""
    pytest.importorskip("mkdocs", reason="needs MkDocs: pip install '.[docs]'")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_every_page_and_picture_is_in_the_site(site):
    for page in PAGES[1:]:
        html = (site / f"{page.stem}.html").read_text(encoding="utf-8")
        for picture in re.findall(r'<img [^>]*src="([^"]+)"', html):
            assert (site / picture).stat().st_size > 1000, picture


def test_the_reference_has_every_public_name(site):
    for module, names in runpy.run_path(str(ROOT / "tools" / "site_pages.py"))["MODULES"].items():
        html = (site / "api" / f"{module}.html").read_text(encoding="utf-8")
        for name in names:
            assert re.search(rf'id="entropic_ae\.{module}\.(\w+\.)*{name}"', html), f"{module}.{name}"


def test_the_reference_has_every_command_and_option(site):
    html = (site / "commands.html").read_text(encoding="utf-8")
    for name, command in typer.main.get_command(cli.app).commands.items():
        section = html.partition(f'id="entropic-ae-{name}"')[2].partition("<h2 ")[0]
        for parameter in command.params:
            shown = parameter.metavar if parameter.param_type_name == "argument" else parameter.opts[-1]
            assert shown.strip("[]").split()[0] in section, f"{name} {shown}"
    assert "[b]" not in html


def test_pages_ask_nothing_of_other_servers(site):
    for page in site.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        asked = re.findall(r'<(?:script|img|iframe)[^>]* src="(\w+://[^"]*)"', html)
        asked += re.findall(r'<link[^>]* rel="(?:stylesheet|preload|icon)"[^>]* href="(\w+://[^"]*)"', html)
        assert asked == [], page.name


def test_formulas_are_typeset(site):
    """Every formula is MathML in the page itself: no marked source is left for a script to render."""
    html = (site / "idea.html").read_text(encoding="utf-8")
    source = (ROOT / "docs" / "idea.md").read_text(encoding="utf-8")
    assert html.count('display="block"') == source.count("\n$$\n") // 2 > 0
    assert "<mi>&#x003B2;</mi>" in html
    assert "arithmatex" not in html


def test_docstrings_become_markdown():
    pytest.importorskip("griffe", reason="needs MkDocs: pip install '.[docs]'")
    tool = runpy.run_path(str(ROOT / "tools" / "site_docstrings.py"))
    arguments = "Arguments:\n    a, b: numbers,\n        any: at all."
    text = f"Add.\n\n{arguments}\n\nRaises: InputError\n    never.\n\n>>> add(1, 1)\n2"
    assert tool["as_markdown"](text) == (
        "Add.\n\n**Arguments**\n\n- `a, b`: numbers,\n  any: at all.\n\n**Raises:** InputError never.\n\n"
        "```pycon\n>>> add(1, 1)\n2\n```"
    )


def test_recordings_of_a_terminal_keep_what_stays_and_ask_no_other_server():
    tool = runpy.run_path(str(ROOT / "tools" / "record.py"))
    written = "one\r\ntwo\rtoo\r\n\x1b[1mbold\x1b[0m\r\nspins\r\n\x1b[1A\x1b[2Kdone\r\n"
    assert list(tool["lines"](written))[:4] == ["one", "too", "\x1b[1mbold\x1b[0m", "done"]
    picture = tool["svg"]([("report run", "a" * 25)], 20, "title")
    assert "a" * 20 in picture
    assert "a" * 21 not in picture
    for one in (picture, *(path.read_text() for path in (ROOT / "docs").glob("walk-*.svg"))):
        assert "url(http" not in one.replace('url("', "url(")
        assert len(one.encode()) < 60_000
