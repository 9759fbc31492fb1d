"""Compiles all launches for a target in fresh processes, on two cores."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.environment import TREE, version_of, without_folders
from harness.static.cost import Compiled, StaticError

PROCESSES = 2
ERROR_LINES = 6


def triton_version() -> str:
    """Return the installed version of triton. Raises `StaticError` without one."""
    if not (version := version_of("triton")):
        raise StaticError("triton is not installed; pip install -c constraints.txt -e . (Triton exists for Linux)")
    return version


def measure(target: str, *, only: str = "") -> list[Compiled]:
    """Return what the compiler makes of the launches whose name holds `only`, in the order of the problems.

    Nothing of this process's Triton is used: no interpreter, no settings, no cache.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{part}.jsonl" for part in range(PROCESSES)]
        workers = [_start(target, part, only, file) for part, file in enumerate(files)]
        try:
            for worker in workers:
                _, errors = worker.communicate()
                if worker.returncode:
                    raise StaticError(f"the compiling process ended with {worker.returncode}: {_last_lines(errors)}")
        finally:
            for worker in workers:
                worker.kill()
        return sorted(_read(files), key=lambda compiled: compiled.place)


def environment(cache: Path) -> dict[str, str]:
    """Return the variables under which a process compiles as a GPU's would, with nothing compiled before."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("TRITON_")}
    return variables | {
        "OMP_NUM_THREADS": "1",
        "TRITON_CACHE_DIR": str(cache),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(TREE), os.environ.get("PYTHONPATH", "")])),
    }


def _start(target: str, part: int, only: str, found: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "harness.static.worker", target, str(part), str(PROCESSES), only, str(found)],
        env=environment(found.with_suffix(".cache")),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _read(files: list[Path]) -> Iterator[Compiled]:
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            yield Compiled.model_validate_json(line)


def _last_lines(errors: str) -> str:
    return without_folders("\n".join(errors.strip().splitlines()[-ERROR_LINES:])) or "no word on stderr"
