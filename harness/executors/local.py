"""Runs cells in worker processes of this machine; whatever ends a worker becomes a failure with a reason."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from harness.catalogs import BACKENDS, METRICS
from harness.child import STARTUP_SECONDS, THREAD_VARIABLES, Child, ChildEnded
from harness.environment import TREE
from harness.executors.messages import Event, Job, Taken
from harness.record import Cell, Environment, Failed, FailureKind, Timing, to_json
from harness.store import utc_now

MAX_IDLE = 2
PULSE_SECONDS = 5.0
"""How often a caller hears that a worker is still waited for."""


@dataclass(frozen=True)
class WorkerStarting:
    """A worker has been started for a cell and now imports torch."""

    cell: Cell
    pid: int


@dataclass(frozen=True)
class Measuring:
    """A worker has begun with a metric."""

    cell: Cell
    metric: str
    pid: int


Notify = Callable[[WorkerStarting | Measuring], None]


class LocalExecutor:
    """Workers of this machine: a reusable one an environment, fresh ones for metrics that ask for them."""

    def __init__(
        self,
        artifacts: Path,
        *,
        notify: Notify = lambda event: None,
        pulse: Callable[[], None] = lambda: None,
    ) -> None:
        self._artifacts = artifacts
        self._notify = notify
        self._pulse = pulse
        self._idle: dict[_Variables, _Worker] = {}
        """By what their environment adds to this one, the one used last at the end."""
        self._busy: _Worker | None = None

    def execute(
        self,
        cell: Cell,
        metrics: tuple[str, ...],
        *,
        timing: Timing,
        environment: Environment,
        limit_s: float,
    ) -> Iterator[Taken]:
        """Yield what became of each metric, every one exactly once.

        The metrics share a worker and the cell in it, but for those that want a fresh one. `limit_s` bounds
        the cell's metrics together, imports not counted. Whatever ends a worker is the failure of the metric
        it was at, or of all where it was at none; the others go on in a new one.
        """
        clock = _Clock(limit_s, "the cell")
        groups = [tuple(name for name in metrics if not METRICS[name].fresh_process)]
        groups += [(name,) for name in metrics if METRICS[name].fresh_process]
        groups = [group for group in groups if group]
        while groups:
            names = groups.pop(0)
            attempt = _Attempt(
                Job(
                    cell=cell,
                    metrics=names,
                    timing=timing,
                    environment=environment,
                    artifacts=str(self._artifacts),
                )
            )
            try:
                yield from self._work(attempt, clock, fresh=METRICS[names[0]].fresh_process)
            except _WorkerEnded as end:
                failure = Failed(failure=end.kind, error=end.reason)
                blamed = attempt.blamed()
                yield from (attempt.failed(name, failure) for name in blamed)
                if left := tuple(name for name in attempt.open if name not in blamed):
                    groups.insert(0, left)

    def close(self) -> None:
        """End all workers, a busy one in the middle of its cell."""
        for worker in [*self._idle.values(), *([self._busy] if self._busy else [])]:
            worker.kill()
        self._idle.clear()
        self._busy = None

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self, attempt: _Attempt, clock: _Clock, *, fresh: bool) -> Iterator[Taken]:
        if clock.left <= 0:
            raise _WorkerEnded("timeout", f"not started: {clock} was spent before")
        job, reusable = attempt.job, False
        variables = _variables(job)
        try:
            worker = self._begin(job, variables, fresh=fresh)
            clock.start()
            while (event := worker.next_event(clock, self._pulse)).kind != "done":
                if event.kind == "measuring":
                    attempt.begin(event.metric)
                    self._notify(Measuring(job.cell, event.metric, worker.pid))
                elif event.taken is not None:
                    attempt.end(event.taken)
                    yield event.taken
            reusable = not fresh and not attempt.tainted
        finally:
            clock.stop()
            if self._busy is not None and not reusable:
                self._busy.kill()
            elif self._busy is not None:
                self._idle[variables] = self._busy
            self._busy = None

    def _begin(self, job: Job, variables: _Variables, *, fresh: bool) -> _Worker:
        """Return a worker that has begun with the job; an idle one that has died meanwhile is replaced."""
        if not fresh and variables in self._idle:
            self._busy = self._idle.pop(variables)
            with suppress(_WorkerEnded):
                return self._hand_over(job, self._busy)
            self._busy.kill()
        while len(self._idle) >= MAX_IDLE:
            self._idle.pop(next(iter(self._idle))).kill()
        self._busy = _Worker(variables)
        return self._hand_over(job, self._busy)

    def _hand_over(self, job: Job, worker: _Worker) -> _Worker:
        worker.send(job)
        clock = _Clock(STARTUP_SECONDS, "the start of a worker")
        clock.start()
        while (event := worker.next_event(clock, self._pulse)).kind != "preparing":
            if event.kind == "importing":
                self._notify(WorkerStarting(job.cell, worker.pid))
        return worker


_Variables = tuple[tuple[str, str], ...]


def _variables(job: Job) -> _Variables:
    """Return what has to stand in a worker's environment before it starts."""
    cell = job.cell
    added = dict(BACKENDS[cell.backend].worker_env(cell.device)) if cell.backend != "none" else {}
    return tuple(sorted((dict.fromkeys(THREAD_VARIABLES, str(job.timing.threads)) | added).items()))


class _WorkerEnded(Exception):
    """A worker is gone, or was stopped, before it was done."""

    def __init__(self, kind: FailureKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class _Clock:
    """What is left of a time limit; can be made to stand still."""

    def __init__(self, limit_s: float, of: str) -> None:
        self._limit_s = limit_s
        self._of = of
        self._spent_s = 0.0
        self._since: float | None = None

    @property
    def left(self) -> float:
        running = time.monotonic() - self._since if self._since is not None else 0.0
        return self._limit_s - self._spent_s - running

    def start(self) -> None:
        self._since = time.monotonic()

    def stop(self) -> None:
        self._spent_s, self._since = self._limit_s - self.left, None

    def __str__(self) -> str:
        return f"the limit of {self._limit_s:g} s for {self._of}"


class _Attempt:
    """How far a worker has come with a job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.open = list(job.metrics)
        self.current: str | None = None
        self.tainted = False
        """Whether the worker should see no other cell: out of memory, or the device may be in a bad state."""
        self._begun_at, self._clock = utc_now(), time.monotonic()

    def begin(self, metric: str) -> None:
        self.current = metric
        self._begun_at, self._clock = utc_now(), time.monotonic()

    def end(self, taken: Taken) -> None:
        self.open.remove(taken.metric)
        self.current = None
        if isinstance(taken.outcome, Failed):
            self.tainted |= taken.outcome.failure == "out_of_memory" or self.job.cell.device == "cuda"

    def blamed(self) -> list[str]:
        return [self.current] if self.current is not None else list(self.open)

    def failed(self, metric: str, failure: Failed) -> Taken:
        return Taken(
            metric=metric,
            outcome=failure,
            environment=self.job.environment,
            started_at=self._begun_at,
            duration_s=time.monotonic() - self._clock,
        )


class _Worker:
    """A process that runs `harness.executors.worker`."""

    def __init__(self, variables: _Variables) -> None:
        # The tree's own packages come first, whatever lies in the working directory (-P).
        path = os.pathsep.join(filter(None, [str(TREE), os.environ.get("PYTHONPATH", "")]))
        self._child = Child(
            [sys.executable, "-P", "-X", "faulthandler", "-m", "harness.executors.worker"],
            environment={**os.environ, "PYTHONPATH": path, **dict(variables)},
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    def send(self, job: Job) -> None:
        """Hand a job over; a worker that has died says so when it is listened to."""
        self._child.send(json.dumps(to_json(job)))

    def next_event(self, clock: _Clock, pulse: Callable[[], None]) -> Event:
        """Wait for the worker's next word. Raises `_WorkerEnded` when it dies or the clock runs out."""
        while True:
            try:
                line = self._child.receive(min(clock.left, PULSE_SECONDS))
            except ChildEnded as end:
                raise _WorkerEnded("crashed", f"worker {end}") from None
            pulse()
            if line is not None:
                return Event.model_validate_json(line)
            if clock.left <= 0:
                self.kill()
                raise _WorkerEnded("timeout", f"stopped: {clock} was reached")

    def kill(self) -> None:
        """End the process and all that it has started, now; a second time nothing happens."""
        self._child.kill()
