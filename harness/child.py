"""A child process that is spoken to line by line: started apart from its parent, ended with all that it has started."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from harness.environment import without_folders

STARTUP_SECONDS = 300.0
"""Time that a child gets to import torch, on a cold and busy disk."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""What numerical libraries read, before they are imported, to learn how many threads they may start."""
ERROR_LINES = 6
ERROR_BYTES = 8192
CHUNK_BYTES = 1 << 20


class ChildEnded(Exception):
    """A child is gone; the message says how, as in `exited with code 3; its last lines: ...`."""


class Child:
    """A process with pipes for its input and output; what it writes to stderr is kept for its obituary."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path | None = None) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in `kill`
        # A session of its own keeps Ctrl-C for the parent, and lets one signal end the child with all its children.
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,
        )
        self._errors_seen = 0
        self._heard = False
        self._rest = b""
        self._lines: list[bytes] = []

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def send(self, line: str) -> None:
        """Write a line; a child that has died says so when it is listened to."""
        assert self._process.stdin is not None
        if self._heard:  # what it has written by now belongs to what it was asked before
            self._errors_seen = self._errors_size()
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n".encode())

    def receive(self, limit_s: float) -> str | None:
        """Return its next line, or None where there is none within the time. Raises `ChildEnded`."""
        assert self._process.stdout is not None
        end = time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not self._lines:
                if selector.select(max(0.0, end - time.monotonic())):
                    self._read()
                elif time.monotonic() >= end:
                    return None
        self._heard = True
        return self._lines.pop(0).decode()

    def kill(self) -> None:
        """End the process and all that it has started, now; a second time nothing happens."""
        if self._errors.closed:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        chunk = os.read(self._process.stdout.fileno(), CHUNK_BYTES)
        if not chunk:
            how = self._how_it_ended()
            self.kill()
            raise ChildEnded(how)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._lines += lines

    def _errors_size(self) -> int:
        return os.fstat(self._errors.fileno()).st_size  # no seek: the child writes at the same position

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "closed its pipe and went on; it was stopped"
        start = max(self._errors_seen, self._errors_size() - ERROR_BYTES)
        lines = os.pread(self._errors.fileno(), ERROR_BYTES, start).decode(errors="replace").strip().splitlines()
        # Who is killed from outside has no last words; what stands there belongs to what it was asked before.
        last = "" if code == -signal.SIGKILL else without_folders("\n".join(lines[-ERROR_LINES:]))
        how = f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exited with code {code}"
        return how + (f"; its last lines: {last}" if last else "")
