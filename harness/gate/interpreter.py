"""A live worker of one side: a fresh interpreter in its own tree, and the pipe to it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.child import STARTUP_SECONDS, THREAD_VARIABLES, Child, ChildEnded
from harness.environment import without_folders
from harness.gate.refusal import Refusal
from harness.gate.trees import PACKAGE, Tree


class WorkerDied(Exception):
    """A worker is gone, or did not answer in time; the message says whose it was and how it ended."""


class CellFailed(Exception):
    """A worker lives and says that a cell cannot be measured; the message is its error."""


class Interpreter:
    """One side of a launch."""

    def __init__(self, tree: Tree, worker: Path, *, threads: int, variables: Mapping[str, str] | None = None) -> None:
        self.tree = tree
        self._is_hailed = False
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        # Its own tree comes first on the path, and nothing of the folder that the gate was called in (-P): with the
        # working directory in head, PYTHONPATH=base alone would silently import head.
        self._child = Child(
            [sys.executable, "-P", "-X", "faulthandler", str(worker), str(tree.folder), str(threads)],
            environment={
                **inherited,
                "PYTHONPATH": os.pathsep.join([str(tree.folder), *_without_other_copies()]),
                **dict.fromkeys(THREAD_VARIABLES, str(threads)),
                **(variables or {}),
            },
            folder=tree.folder,
        )

    def ask(self, request: Mapping[str, Any], *, limit_s: float) -> dict[str, Any]:
        """Send a request and return its answer. Raises `WorkerDied`, and `CellFailed` for an error that it reports."""
        self.send(request)
        return self.receive(limit_s)

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a request; a worker that has died says so when it is listened to."""
        self._child.send(json.dumps(request))

    def receive(self, limit_s: float) -> dict[str, Any]:
        """Wait for the answer to the oldest request that has none."""
        try:
            line = self._child.receive(limit_s)
        except ChildEnded as end:
            raise WorkerDied(f"{self.tree.side}'s worker {end}") from None
        if line is None:
            self.close()
            raise WorkerDied(f"{self.tree.side}'s worker did not answer within {limit_s:g} s and was stopped")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer and not answer.get("foreign"):
            raise CellFailed(f"{self.tree.side}: {without_folders(str(answer['error']))}")
        return answer

    def hail(self, *, with_torch: bool) -> None:
        """Let it import its package, and do not wait for it."""
        self.send({"do": "hello", "torch": with_torch})
        self._is_hailed = True

    def greet(self, *, with_torch: bool) -> dict[str, Any]:
        """Wait until it has imported its package, and return what it says of itself. Raises `Refusal`."""
        if not self._is_hailed:
            self.hail(with_torch=with_torch)
        try:
            answer = self.receive(STARTUP_SECONDS)
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
            os.sched_setaffinity(self._child.pid, {core})

    def close(self) -> None:
        """End it and all that it has started, now; a second time nothing happens."""
        self._child.kill()

    def __enter__(self) -> Interpreter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _without_other_copies() -> list[str]:
    """Folders of this process's PYTHONPATH that hold no second copy of the package."""
    folders = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if Path(folder).is_absolute()]
    return [folder for folder in folders if not (Path(folder) / PACKAGE).exists()]
