"""The project's verbs: `nox --list` shows them."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import sys
from pathlib import Path

import nox

nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True

# nox makes an environment for each session, and torch fills 2.4 GB of each: sessions that need it share this one.
FULL = Path(".nox/full").resolve()
# Two busy threads on two busy cores wait for each other, ten times slower than one.
THREADS = {"OMP_NUM_THREADS": "1"}
# A file is one process's: its fixtures are made once, and each process of torch takes one thread and a GB.
# In the order of folders the long files without many tests come early, and no process waits for the other's last.
SHARED = ("-n", str(min(4, os.cpu_count() or 1)), "--dist", "loadfile", "--no-loadscope-reorder")


def full(session: nox.Session, extras: str = "") -> None:
    """Make or update the shared environment, pinned, with this checkout installed in it."""
    if not (FULL / "bin" / "python").exists():
        session.run(sys.executable, "-m", "venv", os.fspath(FULL), external=True)
    # Compiling all of torch takes longer than importing what is used of it.
    in_full(session, "python", "-m", "pip", "install", "--no-compile", "-c", "constraints.txt", "-e", f".{extras}")


def in_full(session: nox.Session, command: str, *arguments: str, silent: bool = False) -> None:
    """Run a command of the shared environment."""
    environment = THREADS | {"PATH": f"{FULL / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    session.run(os.fspath(FULL / "bin" / command), *arguments, env=environment, external=True, silent=silent)


@nox.session(venv_backend="none")
def demo(session: nox.Session) -> None:
    """The main job: sweep experiments/quickstart and write its report. `nox -s demo -- DIR` chooses the store."""
    full(session)
    store = session.posargs[0] if session.posargs else "results/quickstart"
    in_full(session, "semanir-bench", "run", "quickstart", "--out", store, "--resume")
    in_full(session, "semanir-bench", "report", store, silent=True)
    atexit.register(print, f"\nThe report: {Path(store).resolve() / 'report.html'}")  # after nox's own last line


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """All tests. Arguments go to pytest."""
    full(session, "[test]")
    in_full(session, "pytest", *(session.posargs or SHARED))


@nox.session(venv_backend="none")
def coverage(session: nox.Session) -> None:
    """All tests, with branch coverage of the torch-free code, which makes them slower."""
    full(session, "[test]")
    in_full(session, "coverage", "erase")
    in_full(session, "pytest", *SHARED, "--cov", "--cov-report=")
    in_full(session, "coverage", "report")


@nox.session
def style(session: nox.Session) -> None:
    """Lint, format and import contracts. `nox -s style -- --fix` mends what can be mended."""
    session.install("-c", "constraints.txt", "ruff", "import-linter")
    if "--fix" in session.posargs:
        session.run("ruff", "check", "--fix", ".")
        session.run("ruff", "format", ".")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", env={"PYTHONPATH": os.fspath(Path.cwd())})


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """mypy, strict."""
    full(session, "[test,types]")
    in_full(session, "mypy")


@nox.session(venv_backend="none")
def benchmarks(session: nox.Session) -> None:
    """Hold times to their figures, as ratios measured side by side on this machine. Arguments go to pytest.

    The gate's cells are pytest-benchmark's: `semanir-bench import-benchmark` reads the JSON that is written.
    """
    full(session, "[test]")
    figures = Path("results/benchmarks.json")
    figures.parent.mkdir(exist_ok=True)
    # Arguments may name no benchmark: then nothing is saved, which is no error.
    lenient = ["-W", "default::pytest_benchmark.logger.PytestBenchmarkWarning"]
    chosen = session.posargs or ["tests/benchmarks", "tests/harness/gate"]
    in_full(session, "pytest", "-m", "timing", "-s", *lenient, f"--benchmark-json={figures}", *chosen)


@nox.session(venv_backend="none")
def static(session: nox.Session) -> None:
    """Compile every kernel for every target and compare with the baseline; no GPU. `-- --write` makes a new one."""
    full(session)
    in_full(session, "semanir-bench", "static", *(session.posargs or ["--check"]))


@nox.session(venv_backend="none")
def protocols(session: nox.Session) -> None:
    """Measure every printed row whose set is here, and keep records and table in the experiment's folder."""
    if "SEMANIR_DATA" not in os.environ:
        session.error("set SEMANIR_DATA to the folder that holds test/<Name> and weights/")
    full(session, "[foreign]")
    answer(session, "protocols")


@nox.session(venv_backend="none")
def flops(session: nox.Session) -> None:
    """Count where operations go over k and window, and keep records and tables in the experiment's folder."""
    full(session)
    answer(session, "flops")


@nox.session(venv_backend="none")
def scaling(session: nox.Session) -> None:
    """Fit how one attention layer grows with N and k on this CPU, and keep records and tables."""
    full(session)
    answer(session, "scaling")


@nox.session(venv_backend="none")
def shipped(session: nox.Session) -> None:
    """Measure what the shipped networks reach, and keep records and tables in the experiment's folder."""
    full(session)
    answer(session, "shipped")


@nox.session(venv_backend="none")
def gpu(session: nox.Session) -> None:
    """Measure experiments/kernels in the active environment, which has the GPU's own torch; keep records and tables.

    `nox -s gpu -- --smoke` runs every line of it in small, on any machine, and writes nothing.
    """
    bench = ("python", "-m", "harness.cli")
    if "--smoke" in session.posargs:
        session.run(*bench, "run", "kernels", "--resume", *session.posargs, external=True)
        return
    store = session.posargs[0] if session.posargs else "results/kernels"
    session.run(*bench, "run", "kernels", "--out", store, "--resume", external=True)
    for arguments in keeping("kernels", store):
        session.run(*bench, *arguments, external=True)


def answer(session: nox.Session, experiment: str) -> None:
    """Run an experiment, write its page, and keep its records and tables in its folder."""
    store = session.posargs[0] if session.posargs else f"results/{experiment}"
    in_full(session, "semanir-bench", "run", experiment, "--out", store, "--resume")
    for arguments in keeping(experiment, store):
        in_full(session, "semanir-bench", *arguments)


def keeping(experiment: str, store: str) -> list[list[str]]:
    """Return the commands that write a store's page, its records for the repository, and their tables in the README."""
    folder = Path("experiments") / experiment
    records, readme = (os.fspath(folder / name) for name in ("records.jsonl", "README.md"))
    return [
        ["report", store],
        ["export", store, "--to", "records", "--out", records],
        ["report", records, "--into", readme],
    ]


def without_torch(session: nox.Session) -> None:
    """Install what reports need, and this checkout."""
    session.install("-c", "constraints.txt", *REPORT_NEEDS)
    session.install("--no-deps", "-e", ".")


@nox.session
def answers(session: nox.Session) -> None:
    """Write tables and figures of committed records into the READMEs: nothing is measured, no torch."""
    without_torch(session)
    for records in sorted(Path("experiments").rglob("records.jsonl")):
        readme = records.with_name("README.md")
        session.run("semanir-bench", "report", os.fspath(records), "--into", os.fspath(readme))
    for name, origin in json.loads(PICTURES.read_text()).items():
        if source := origin.get("figure_of"):
            only = ["--format", "svg", "--only", Path(name).stem]
            session.run("semanir-bench", "figure", source, *only, "--wide", "-o", os.fspath(PICTURES.parent))
            remember(PICTURES.parent / name, origin)


@nox.session
def certificate(session: nox.Session) -> None:
    """Count the gate's certificates again from their raw runs, and write the README's tables: no torch, no clock."""
    without_torch(session)
    session.run("semanir-bench", "gate", "--recount", "experiments/gate/README.md")


@nox.session
def report(session: nox.Session) -> None:
    """Write pages, tables and figures of all committed records, without torch; `-- results/mine` one store's page."""
    without_torch(session)
    session.run("semanir-bench", *(["report", *session.posargs] if session.posargs else ["gallery"]))


@nox.session(venv_backend="none")
def picture(session: nox.Session) -> None:
    """Take the README's picture of a report that shows bundled photographs: `nox -s picture -- results/quickstart`."""
    store = Path(session.posargs[0] if session.posargs else "results/quickstart")
    datasets = {json.loads(line)["dataset"] for line in (store / "exports" / "records.jsonl").read_text().splitlines()}
    if datasets != {"bundled"}:
        session.error(f"{store} shows {', '.join(sorted(datasets))}; only bundled photographs may be committed")
    png = PICTURES.with_name("report.png")
    page = (store / "report.html").resolve().as_uri()
    shot = [f"--screenshot={png}", "--window-size=1280,1660", "--hide-scrollbars", page]
    session.run("chromium", "--headless", "--no-sandbox", "--disable-gpu", *shot, external=True)
    remember(png, {"datasets": sorted(datasets)})


def remember(picture: Path, origin: dict[str, object]) -> None:
    """Note what a committed picture shows, and its digest; a test compares both."""
    known = json.loads(PICTURES.read_text())
    known[picture.name] = origin | {"sha256": hashlib.sha256(picture.read_bytes()).hexdigest()}
    PICTURES.write_text(json.dumps(known, indent=2) + "\n")


PICTURES = Path("docs/pictures.json")
"""The pictures of the README, with what each shows."""
REPORT_NEEDS = [
    "jaxtyping",
    "jinja2",
    "matplotlib",
    "numpy",
    "pandas",
    "pillow",
    "platformdirs",
    "psutil",
    "pydantic",
    "rich",
    "ruamel.yaml",
    "scipy",
    "typer",
]
