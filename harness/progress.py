"""Shows a run while it goes on: a bar with the time left in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.executors.local import Measuring, WorkerStarting
from harness.record import Cell, Failed, Record
from harness.runner import CellFinished, CellStarted, Event, PlanStarted, RunFinished, Waiting

PLAIN_SECONDS = 5.0
"""Between two lines where nobody sees a bar."""


def in_words(cell: Cell) -> str:
    """Name a cell by what usually varies, as in `denoise sigma=25 · sdpa · k 16 · window 8`."""
    words = [f"{cell.task} {cell.setting}", cell.model if cell.backend == "none" else cell.backend]
    words += [f"k {cell.top_k}"] if cell.top_k else []
    words += [f"window {cell.window}"] if cell.window else []
    return " · ".join(words)


class ProgressLine:
    """A listener of `harness.runner.run`; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = Progress(
            TextColumn("[bold]{task.fields[now]}", table_column=None),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._row: TaskID | None = None
        self._total = 0
        self._behind = 0
        self._begun = time.monotonic()
        self._said = 0.0

    def __enter__(self) -> ProgressLine:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event of the run."""
        match event:
            case PlanStarted(total=total, done=done, skipped=skipped):
                self._total, self._behind = total, done
                self._row = self.bar.add_task("cells", total=total, completed=done, now="starting")
                self.console.print(
                    f"{total:,} cells: {done:,} measured before, {total - done:,} to go; "
                    f"{skipped:,} numbers are skipped with a reason"
                )
            case CellStarted(cell=cell):
                self._now(in_words(cell))
            case WorkerStarting():
                self._now("starting a worker")
            case Measuring(cell=cell, metric=metric):
                self._now(f"{in_words(cell)} · {metric}")
            case Waiting(cell=cell, pid=pid):
                self._now(f"waiting for process {pid}: {in_words(cell)}")
            case CellFinished(cell=cell, records=records):
                self._behind += 1
                if self._row is not None:
                    self.bar.update(self._row, completed=self._behind)
                self._failures(cell, records)
                self._plainly(in_words(cell))
            case RunFinished():
                self._now("done")

    def _now(self, words: str) -> None:
        if self._row is not None:
            self.bar.update(self._row, now=escape(words))

    def _failures(self, cell: Cell, records: tuple[Record, ...]) -> None:
        for record in records:
            if isinstance(record.outcome, Failed):
                self.console.print(
                    f"[red]failed[/red] {escape(in_words(cell))} · {record.metric} · cell {cell.id[:8]}: "
                    f"{escape(record.outcome.error)}"
                )

    def _plainly(self, words: str) -> None:
        if self.console.is_terminal:
            return
        now = time.monotonic()
        if now - self._said < PLAIN_SECONDS and self._behind < self._total:
            return
        self._said = now
        left = (now - self._begun) / max(self._behind, 1) * (self._total - self._behind)
        self.console.print(f"{self._behind}/{self._total} cells, about {left:.0f} s left: {escape(words)}")
