"""Checks beyond ``make test``: the ends of the supported versions, and the built package in an empty environment.

``pipx run --spec 'nox[uv]' nox -s package`` (or ``oldest``, ``newest``); arguments after ``--`` go to pytest. The
versions at the ends bring PyTorch's own choice of build, gigabytes on Linux.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["package"]

OLDEST, NEWEST = "3.10", "3.13"
# of extras, whose packages have bounds of their own
APART = ("explore", "cluster", "export", "tracking")
CORE = [f"--ignore=tests/{folder}" for folder in ("browser", "fid", "peers")]
CORE += ["--ignore=tests/test_readme.py"]  # of pages that show what is recorded here
CORE += [f"--ignore=tests/test_{name}.py" for name in APART]


@nox.session(python=OLDEST)
def oldest(session: nox.Session) -> None:
    """Run the tests of the core with the lowest versions that pyproject.toml allows."""
    session.install("--resolution", "lowest-direct", ".[test]")
    test(session)


@nox.session(python=NEWEST)
def newest(session: nox.Session) -> None:
    """Run the tests of the core with the newest versions that there are."""
    session.install("--upgrade", ".[test]")
    test(session)


def test(session: nox.Session) -> None:
    """Run some tests; all of the core are recorded."""
    record = f"--record=results/versions/{session.name}.json"
    session.run("pytest", *(session.posargs or [*CORE, record, "--numprocesses=auto", "--dist=loadfile"]))


@nox.session
@nox.parametrize("kind", ["whl", "tar.gz"])
def package(session: nox.Session, kind: str) -> None:
    """Build wheel and sdist, install one into an empty environment and use it there, away from the checkout."""
    root = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        session.run("uv", "build", "--quiet", "--out-dir", folder, str(root), external=True)
        built = next(Path(folder).glob(f"*.{kind}"))
        session.install("--constraint", "constraints.txt", str(built))
        session.run("uv", "pip", "check", external=True)
        with session.chdir(folder):
            session.run("python", "-c", "import entropic_ae; print(entropic_ae.__file__, entropic_ae.__version__)")
            session.run("entropic-ae", "train", "eae", "digits", "--epochs", "2", "--out", "run")
            session.run("entropic-ae", "sample", "run", "--out", "new.png")
            session.run("entropic-ae", "evaluate", "run", "--features", "pixels", "--n", "100")
            session.run("entropic-ae", "report", "run")
