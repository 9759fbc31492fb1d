"""A live worker of one side: a fresh interpreter in its own tree, and the pipe to it."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.environment import without_folders
from harness.gate.refusal import Refusal
from harness.gate.trees import PACKAGE, Tree

STARTUP_SECONDS = 300.0
"""Time to import torch and the package, on a cold and busy disk."""
ERROR_LINES = 4
ERROR_BYTES = 8192
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class WorkerDied(Exception):
    """A worker is gone, or did not answer in time; the message says whose it was and how it ended."""


class CellFailed(Exception):
    """A worker lives and says that a cell cannot be measured; the message is its error."""


class Interpreter:
    """One side of a launch."""

    def __init__(self, tree: Tree, worker: Path, *, threads: int, variables: Mapping[str, str] | None = None) -> None:
        self.tree = tree
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in `close`
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        # Its own tree comes first on the path, and nothing of the folder that the gate was called in (-P): with the
        # working directory in head, PYTHONPATH=base alone would silently import head.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-X", "faulthandler", str(worker), str(tree.folder), str(threads)],
            cwd=tree.folder,
            env={
                **inherited,
                "PYTHONPATH": os.pathsep.join([str(tree.folder), *_without_other_copies()]),
                **dict.fromkeys(THREAD_VARIABLES, str(threads)),
                **(variables or {}),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,
        )
        self._rest = b""
        self._lines: list[bytes] = []

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ask(self, request: Mapping[str, Any], *, limit_s: float) -> dict[str, Any]:
        """Send a request and return its answer. Raises `WorkerDied`, and `CellFailed` for an error that it reports."""
        self.send(request)
        return self.receive(limit_s)

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a request; a worker that has died says so when it is listened to."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")

    def receive(self, limit_s: float) -> dict[str, Any]:
        """Wait for the answer to the oldest request that has none."""
        assert self._process.stdout is not None
        end = time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not self._lines:
                if (left := end - time.monotonic()) <= 0:
                    self.close()
                    raise WorkerDied(f"{self.tree.side}'s worker did not answer within {limit_s:g} s and was stopped")
                if selector.select(left):
                    self._read()
        answer: dict[str, Any] = json.loads(self._lines.pop(0))
        if "error" in answer and not answer.get("foreign"):
            raise CellFailed(f"{self.tree.side}: {without_folders(str(answer['error']))}")
        return answer

    def greet(self, *, with_torch: bool) -> dict[str, Any]:
        """Wait until it has imported its package, and return what it says of itself. Raises `Refusal`."""
        try:
            answer = self.ask({"do": "hello", "torch": with_torch}, limit_s=STARTUP_SECONDS)
        except (CellFailed, WorkerDied) as error:
            raise Refusal(
                "does_not_import",
                f"{self.tree.side} ({self.tree.revision}) cannot be imported: {error}; it has no speed to compare with",
            ) from None
        # Checked there and here: a worker that lies about its origin would compare a tree with itself.
        if answer.get("foreign") or not Path(answer["file"]).is_relative_to(self.tree.folder.resolve()):
            raise Refusal(
                "foreign_package",
                f"{self.tree.side}'s worker did not import semanir from its own tree but from "
                f"{answer.get('file', answer.get('error'))}; remove whatever puts another copy first on sys.path",
            )
        return answer

    def pin(self, core: int) -> None:
        """Keep it on one processor."""
        with suppress(OSError):
            os.sched_setaffinity(self.pid, {core})

    def close(self) -> None:
        """End it and all that it has started, now; a second time nothing happens."""
        if self._errors.closed:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Interpreter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        chunk = os.read(self._process.stdout.fileno(), 1 << 16)
        if not chunk:
            cause = self._cause_of_death()
            self.close()
            raise WorkerDied(cause)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._lines += lines

    def _cause_of_death(self) -> str:
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return f"{self.tree.side}'s worker closed its pipe and went on"
        size = os.fstat(self._errors.fileno()).st_size
        lines = os.pread(self._errors.fileno(), ERROR_BYTES, max(0, size - ERROR_BYTES)).decode(errors="replace")
        last = without_folders("\n".join(lines.strip().splitlines()[-ERROR_LINES:]))
        how = f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exited with code {code}"
        return f"{self.tree.side}'s worker {how}" + (f"; its last lines: {last}" if last else "")


def _without_other_copies() -> list[str]:
    """Folders of this process's PYTHONPATH that hold no second copy of the package."""
    folders = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if Path(folder).is_absolute()]
    return [folder for folder in folders if not (Path(folder) / PACKAGE).exists()]
