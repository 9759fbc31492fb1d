"""A worker: a process of its own that imports torch once and measures one cell after another."""

from __future__ import annotations

import gc
import json
import os
import queue
import random
import signal
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import psutil

from harness.catalogs import METRICS
from harness.environment import without_folders
from harness.executors.messages import Event, Job, Taken
from harness.record import Environment, Failed, FailureKind, Measured, to_json
from harness.store import utc_now, write_artifact

if TYPE_CHECKING:
    from harness.trial import Trial

ERROR_LENGTH = 2000

Tell = Callable[[Event], None]


def main() -> None:
    """Answer the jobs that come on stdin, one a line, until it closes."""
    tell = _private_stdout()
    inbox: queue.Queue[Job | None] = queue.Queue()
    threading.Thread(target=_listen, args=[inbox], daemon=True).start()
    tell(Event(kind="importing"))
    import harness.agreement
    import harness.trial  # noqa: F401  and torch with it

    gc.freeze()  # what is imported stays, so no later collection has to look at it
    tell(Event(kind="ready"))
    while (job := inbox.get()) is not None:
        tell(Event(kind="preparing"))
        for taken in measure(job, tell):
            tell(Event(kind="taken", taken=taken))
        tell(Event(kind="done"))
        inbox.task_done()


def measure(job: Job, tell: Tell = lambda event: None) -> Iterator[Taken]:
    """Bring the cell to life once and read the metrics off it; one that fails leaves the others alone."""
    import torch

    from harness.trial import prepare

    torch.set_num_threads(job.timing.threads)
    environment = in_worker(job.environment)
    clock, started_at = time.perf_counter(), utc_now()
    trial = _attempt(partial(prepare, job.cell, job.timing), seed=job.cell.seed)
    for metric in job.metrics:
        tell(Event(kind="measuring", metric=metric))
        read: _Read | Failed
        if isinstance(trial, Failed):
            read = trial
        else:
            read = _attempt(partial(_read, metric, trial, Path(job.artifacts)), seed=job.cell.seed)
        outcome, artifacts, degraded = (read, {}, {}) if isinstance(read, Failed) else read
        yield Taken(
            metric=metric,
            outcome=outcome,
            artifacts=artifacts,
            degraded=degraded,
            environment=environment,
            started_at=started_at,
            duration_s=time.perf_counter() - clock,
        )
        clock, started_at = time.perf_counter(), utc_now()


def in_worker(environment: Environment) -> Environment:
    """Add what only a process with torch knows: its threads, its flags, its device, and the load just now."""
    import torch

    on_gpu = environment.device != "cpu" and torch.cuda.is_available()
    return environment.model_copy(
        update={
            "device": torch.cuda.get_device_name() if on_gpu else environment.device,
            "threads": torch.get_num_threads(),
            "tf32": torch.backends.cuda.matmul.allow_tf32,
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "load_average": round(psutil.getloadavg()[0], 2),
        }
    )


def failure_of(error: Exception) -> Failed:
    """Say what went wrong and where: the innermost line that belongs to no library."""
    kind: FailureKind = "out_of_memory" if _is_out_of_memory(error) else "error"
    libraries = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(libraries)] or frames
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return Failed(failure=kind, error=without_folders(f"{type(error).__name__}: {error}")[:ERROR_LENGTH] + place)


_Read = tuple[Measured | Failed, dict[str, str], dict[str, str]]
"""Outcome, artifacts, degraded digests."""
Result = TypeVar("Result")


def _attempt(action: Callable[[], Result], *, seed: int) -> Result | Failed:
    import numpy as np
    import torch

    # A number depends on its cell alone, not on what this worker has run before.
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        return action()
    except Exception as error:
        traceback.print_exc()
        return failure_of(error)


def _read(name: str, trial: Trial, artifacts: Path) -> _Read:
    from harness.agreement import disagreement

    metric = METRICS[name]
    if metric.timed and not metric.side_by_side and (how := disagreement(trial)) is not None:
        return (
            Failed(failure="error", error=f"disagrees with the reference: {how}; no speed is reported"),
            {},
            {},
        )
    reading = metric.measure(trial)
    names = {role: write_artifact(artifacts, file, _suffix(file)) for role, file in reading.artifacts.items()}
    outcome = Measured(measurements=reading.measurements, notes=reading.notes)
    return outcome, names, dict(trial.degraded_digests)


def _suffix(file: bytes) -> str:
    packed = ".json.gz" if file.startswith(b"\x1f\x8b") else ".json"
    return ".png" if file.startswith(b"\x89PNG") else packed


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    told = ("can't allocate memory", "not enough memory", "CUDA out of memory", "out of memory")
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in told)


def _private_stdout() -> Tell:
    """Keep the pipe for events alone: whatever a library prints goes to stderr from now on."""
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(event: Event) -> None:
        pipe.write(json.dumps(to_json(event), separators=(",", ":")).encode() + b"\n")

    return tell


def _listen(inbox: queue.Queue[Job | None]) -> None:
    """Hand on jobs until the pipe closes, which it does as well when the runner was killed."""
    rest = b""
    while chunk := os.read(sys.stdin.fileno(), 1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            inbox.put(Job.model_validate_json(line))
    if inbox.unfinished_tasks:
        _die()
    inbox.put(None)


def _die() -> None:
    """End now, amid a measurement that nobody waits for, with every process this one has started."""
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
