"""Turns a plan into records, one cell after another: the only place where a failure is kept, not raised."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path

from harness.catalogs import METRICS, TASKS
from harness.environment import TREE, machine, revision
from harness.executors.local import LocalExecutor, Measuring, WorkerStarting
from harness.executors.messages import Taken
from harness.inputs import Mismatch, mismatches
from harness.plan import Plan
from harness.record import Cell, Environment, Outcome, Record, Skipped, Timing, record_key
from harness.sources import source_digest
from harness.store import (
    HeldBy,
    Lease,
    LeaseLost,
    PlanEntry,
    ResultStore,
    Status,
    StoredPlan,
    StoreError,
    utc_now,
)

BEAT_SECONDS = 10.0
"""How often a run says that it is alive; a small part of what a lease lasts."""
WAIT_SECONDS = 0.5
"""Between two looks at cells that other runs hold."""

DONE: frozenset[Status] = frozenset({"measured"})
"""What is not measured again. The reason of a skip or of a failure may be gone: a larger budget, a mended image."""


@dataclass(frozen=True)
class PlanStarted:
    """The plan is stored, and so are its skips; what is left will be measured now."""

    total: int
    """Cells to measure, those done before included."""
    done: int
    """Cells of which everything had been measured before."""
    skipped: int
    """Pairs of cell and metric that the plan skips."""


@dataclass(frozen=True)
class CellStarted:
    """The cell is leased to this run."""

    cell: Cell
    index: int
    """Cells that are behind, those done before included."""


@dataclass(frozen=True)
class Committing:
    """The cell's records are written but not committed: inside the transaction."""

    cell: Cell


@dataclass(frozen=True)
class CellFinished:
    """The cell's records are in the store."""

    cell: Cell
    records: tuple[Record, ...]
    """Empty where another run has measured everything meanwhile."""
    seconds: float


@dataclass(frozen=True)
class Waiting:
    """Only cells that other runs measure are left; this one waits for `pid`."""

    cell: Cell
    pid: int


@dataclass(frozen=True)
class Exporting:
    """An export is written under a temporary name and not renamed yet."""

    path: Path


@dataclass(frozen=True)
class Summary:
    """What is known of the plan when a run ends, by pairs of cell and metric."""

    measured: int
    skipped: int
    failed: int
    reused: int
    """Of these, how many had been measured before this run."""
    seconds: float
    mismatches: tuple[Mismatch, ...] = ()
    """Images that some of the plan's cells and other records of the store saw degraded in different ways."""


@dataclass(frozen=True)
class RunFinished:
    """Everything that the plan asks for has a record."""

    summary: Summary


Event = (
    PlanStarted
    | CellStarted
    | WorkerStarting
    | Measuring
    | Committing
    | CellFinished
    | Waiting
    | Exporting
    | RunFinished
)
Listener = Callable[[Event], None]


def run(plan: Plan, store: ResultStore, *, listener: Listener = lambda event: None) -> Summary:
    """Measure what the plan asks for and the store does not have, then export the store.

    On any exception, Ctrl-C included, workers are ended and leases given back, and what was measured stays.
    Raises `StoreError`.
    """
    begun = time.monotonic()
    spec = plan.spec
    cells = {
        planned.cell: [_wanted(planned.cell, metric, spec.timing) for metric in planned.metrics]
        for planned in plan.cells
    }
    skips = [(_wanted(skip.cell, skip.metric, spec.timing), skip.reason) for skip in plan.skipped]
    everything = [*itertools.chain.from_iterable(cells.values()), *(wanted for wanted, _ in skips)]
    stored = StoredPlan(
        digest=spec.digest,
        name=spec.name,
        question=spec.question,
        text=spec.text,
        created_at=utc_now(),
        timing=spec.timing,
        cell_seconds=spec.budget.cell_seconds,
        page=spec.page,
        paper=spec.paper,
        comparisons=spec.comparisons,
        entries=tuple(PlanEntry(cell=one.cell, metric=one.metric, key=one.key) for one in everything),
    )
    store.remember(stored)
    sweep = _Sweep(stored, store, listener)
    before = store.statuses(one.key for one in everything)
    sweep.skip((one, reason) for one, reason in skips if before.get(one.key) not in ("measured", "skipped"))
    left = {cell: wanted for cell, wanted in cells.items() if any(before.get(one.key) not in DONE for one in wanted)}
    listener(PlanStarted(total=len(cells), done=len(cells) - len(left), skipped=len(skips)))
    sweep.measure(left, behind=len(cells) - len(left))
    reused = sum(before.get(one.key) in DONE for one in everything)
    return _finish(store, everything, listener, reused=reused, begun=begun)


def remeasure(cell: Cell, store: ResultStore, *, listener: Listener = lambda event: None) -> Summary:
    """Measure again whatever the newest plan of the cell asks for; the history keeps what was there.

    A number that was skipped stays skipped. Raises `StoreError` where no plan holds the cell or it was imported.
    """
    if cell.benchmark is not None:
        raise StoreError(
            f"{store.folder}: cell {cell.id} was imported, and only its own program can measure it again; run that, "
            "then `semanir-bench import-benchmark` on its new file"
        )
    begun = time.monotonic()
    plan = next((plan for plan in store.plans() if any(entry.cell == cell for entry in plan.entries)), None)
    if plan is None:
        raise StoreError(f"{store.folder}: no plan holds cell {cell.id}; run its experiment into this store first")
    everything = [_wanted(cell, entry.metric, plan.timing) for entry in plan.entries if entry.cell == cell]
    newest = {record.metric: record.outcome for record in store.history(cell.id)}
    wanted = [one for one in everything if not isinstance(newest.get(one.metric), Skipped)]
    listener(PlanStarted(total=1, done=0, skipped=len(everything) - len(wanted)))
    if wanted:
        _Sweep(plan, store, listener, again=True).measure({cell: wanted}, behind=0)
    return _finish(store, everything, listener, reused=0, begun=begun)


def _finish(store: ResultStore, wanted: Sequence[_Wanted], listener: Listener, *, reused: int, begun: float) -> Summary:
    store.refresh_exports(before_rename=lambda path: listener(Exporting(path)))
    counts = Counter(store.statuses(one.key for one in wanted).values())
    summary = Summary(
        measured=counts.pop("measured", 0),
        skipped=counts.pop("skipped", 0),
        failed=counts.total(),
        reused=reused,
        seconds=time.monotonic() - begun,
        mismatches=mismatches(store.inputs(), touching=(one.cell for one in wanted)),
    )
    listener(RunFinished(summary))
    return summary


@dataclass(frozen=True)
class _Wanted:
    """One number that the plan asks for, with what its record's key is made of."""

    cell: Cell
    metric: str
    protocol: str
    timing: str
    source: str
    environment: Environment

    @cached_property
    def key(self) -> str:
        machine_class = self.environment.machine_class
        return record_key(self.cell.id, self.metric, self.protocol, self.timing, self.source, machine_class)


def _wanted(cell: Cell, metric: str, timing: Timing) -> _Wanted:
    kind = METRICS[metric]
    return _Wanted(
        cell=cell,
        metric=metric,
        protocol=_protocol_id(cell.task, cell.setting) if kind.judged else "",
        timing=timing.id if kind.timed else "",
        source=source_digest(cell, metric),
        environment=machine(cell.device),
    )


@cache
def _protocol_id(task: str, setting: str) -> str:
    return TASKS[task].protocol(TASKS[task].parse(setting)).id


class _Sweep:
    """Leases cells and has them measured until none is left, here or in another run."""

    def __init__(self, plan: StoredPlan, store: ResultStore, listener: Listener, *, again: bool = False) -> None:
        self._plan = plan
        self._store = store
        self._listener = listener
        self._again = again
        """Whether to measure also what has been measured."""
        self._commit, self._dirty = revision(TREE)
        self._behind = 0
        self._lease: Lease | None = None
        self._beaten_at = 0.0

    def skip(self, skips: Iterable[tuple[_Wanted, str]]) -> None:
        """Store the reasons for what the plan does not measure."""
        self._store.append(self._record(wanted, Skipped(reason=reason)) for wanted, reason in skips)

    def measure(self, cells: Mapping[Cell, Sequence[_Wanted]], *, behind: int) -> None:
        """Measure each cell once; one that another run holds is looked at again until that run lets go."""
        self._behind = behind
        left, waiting = list(cells), None
        with LocalExecutor(self._store.artifacts, notify=self._listener, pulse=self._beat) as executor:
            while left:
                turns = {cell: self._turn(cell, cells[cell], executor) for cell in left}
                held = {cell: other for cell, other in turns.items() if other is not None}
                if len(held) == len(left):
                    cell, other = next(iter(held.items()))
                    if Waiting(cell, other.pid) != waiting:
                        waiting = Waiting(cell, other.pid)
                        self._listener(waiting)
                    time.sleep(WAIT_SECONDS)
                left = list(held)

    def _turn(self, cell: Cell, wanted: Sequence[_Wanted], executor: LocalExecutor) -> HeldBy | None:
        """Measure a cell, unless another run is at it."""
        lease = self._store.acquire(cell.id)
        if isinstance(lease, HeldBy):
            return lease
        self._lease, self._beaten_at = lease, time.monotonic()
        try:
            self._cell(cell, wanted, lease, executor)
        except LeaseLost:  # this process was asleep for long
            return self._turn(cell, wanted, executor)
        finally:
            self._lease = None
            self._store.release(lease)
        return None

    def _cell(self, cell: Cell, wanted: Sequence[_Wanted], lease: Lease, executor: LocalExecutor) -> None:
        begun = time.monotonic()
        # Asked under the lease: another run may have been here since the plan was compared with the store.
        statuses = {} if self._again else self._store.statuses(one.key for one in wanted)
        missing = {one.metric: one for one in wanted if statuses.get(one.key) not in DONE}
        records: list[Record] = []
        if missing:
            self._listener(CellStarted(cell, self._behind))
            taken = executor.execute(
                cell,
                tuple(missing),
                timing=self._plan.timing,
                environment=machine(cell.device),
                limit_s=self._plan.cell_seconds,
            )
            try:
                records.extend(self._record(missing[one.metric], one.outcome, one) for one in taken)
            except KeyboardInterrupt:
                self._store.append(records, release=lease)
                raise
            self._store.append(records, release=lease, before_commit=partial(self._listener, Committing(cell)))
        self._behind += 1
        self._listener(CellFinished(cell, tuple(records), time.monotonic() - begun))

    def _beat(self) -> None:
        if self._lease is not None and time.monotonic() - self._beaten_at > BEAT_SECONDS:
            self._beaten_at = time.monotonic()
            self._store.beat(self._lease)

    def _record(self, wanted: _Wanted, outcome: Outcome, taken: Taken | None = None) -> Record:
        return Record(
            cell=wanted.cell,
            metric=wanted.metric,
            protocol=wanted.protocol,
            timing=wanted.timing,
            source=wanted.source,
            outcome=outcome,
            artifacts=taken.artifacts if taken else {},
            environment=taken.environment if taken else wanted.environment,
            degraded=taken.degraded if taken else {},
            spec=self._plan.digest,
            commit=self._commit,
            dirty=self._dirty,
            started_at=taken.started_at if taken else utc_now(),
            duration_s=taken.duration_s if taken else 0.0,
        )
