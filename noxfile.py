"""The project's verbs: `nox -s demo`, `tests`, `style`, `types`, `report`."""

from __future__ import annotations

import atexit
import os
from pathlib import Path

import nox

nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

# One environment holds torch (2.4 GB); all sessions that need it share it.
FULL = ".nox/full"
LIGHT = ".nox/light"
# Two busy threads on two busy cores wait for each other, ten times slower than one.
THREADS = {"OMP_NUM_THREADS": "1"}


def install(session: nox.Session, *what: str) -> None:
    """Install pinned."""
    session.install("-c", "constraints.txt", *what)


@nox.session(venv_location=FULL)
def demo(session: nox.Session) -> None:
    """The main job: sweep experiments/quickstart and write its report. `nox -s demo -- DIR` chooses the store."""
    install(session, "-e", ".")
    store = session.posargs[0] if session.posargs else "results/quickstart"
    session.run("semanir-bench", "run", "quickstart", "--out", store, "--resume", env=THREADS, success_codes=[0, 1])
    session.run("semanir-bench", "report", store, silent=True)
    atexit.register(print, f"\nThe report: {Path(store).resolve() / 'report.html'}")  # after nox's own last line


@nox.session(venv_location=FULL)
def tests(session: nox.Session) -> None:
    """All tests, with branch coverage of the torch-free code. Arguments go to pytest."""
    install(session, "-e", ".[test]")
    session.run("coverage", "erase")
    session.run("pytest", *(session.posargs or ["--cov", "--cov-report="]), env=THREADS)
    if not session.posargs:
        session.run("coverage", "report", "--include", ",".join(TORCH_FREE), "--fail-under=85", "--skip-covered")


@nox.session(venv_location=LIGHT)
def style(session: nox.Session) -> None:
    """Lint, format and import contracts. `nox -s style -- --fix` mends what can be mended."""
    install(session, "ruff", "import-linter")
    if "--fix" in session.posargs:
        session.run("ruff", "check", "--fix", ".")
        session.run("ruff", "format", ".")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", env={"PYTHONPATH": os.fspath(Path.cwd())})


@nox.session(venv_location=FULL)
def types(session: nox.Session) -> None:
    """mypy, strict."""
    install(session, "-e", ".[test,types]")
    session.run("mypy")


@nox.session(venv_location=".nox/report")
def report(session: nox.Session) -> None:
    """Write a store's report in an environment without torch: `nox -s report -- results/quickstart`."""
    install(session, *REPORT_NEEDS)
    session.install("--no-deps", "-e", ".")
    session.run("semanir-bench", "report", *(session.posargs or ["results/quickstart"]))


TORCH_FREE = [
    "semanir/attention/problem.py",
    "semanir/attention/regions.py",
    "semanir/model.py",
    "semanir/models/*/__init__.py",
    "semanir/weights/__init__.py",
    "harness/*.py",
    "harness/executors/*.py",
    "harness/tasks/*.py",
    "harness/metrics/*.py",
    "reports/*",
]
REPORT_NEEDS = [
    "jaxtyping",
    "jinja2",
    "numpy",
    "pandas",
    "pillow",
    "platformdirs",
    "psutil",
    "pydantic",
    "rich",
    "ruamel.yaml",
    "typer",
]
