"""What a runner and its workers say to each other, one JSON text a line."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.record import Cell, Environment, Frozen, Outcome, Timing


class Job(Frozen):
    """What a worker is asked for: some metrics of one cell, in one go."""

    cell: Cell
    metrics: tuple[str, ...]
    timing: Timing
    environment: Environment
    """The machine as the runner sees it; the worker adds what it alone knows."""
    artifacts: str
    """The store's folder of artifacts."""


class Taken(Frozen):
    """What became of one metric of a job."""

    metric: str
    outcome: Outcome
    artifacts: dict[str, str] = Field(default_factory=dict)
    degraded: dict[str, str] = Field(default_factory=dict)
    environment: Environment
    started_at: str
    duration_s: float
    """Time spent on this metric in seconds; the first one's holds the preparation of the cell."""


class Event(Frozen):
    """A line on the worker's pipe."""

    kind: Literal["importing", "ready", "preparing", "measuring", "taken", "done"]
    metric: str = ""
    """The metric that starts."""
    taken: Taken | None = None
