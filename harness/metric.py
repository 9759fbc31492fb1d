"""What a metric is: one `measure(trial)` that fits PSNR, FLOPs, memory and latency alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from harness.record import Cell, Measurement

if TYPE_CHECKING:
    from harness.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a metric read off a trial."""

    measurements: tuple[Measurement, ...]
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    """Role to file content (PNG, or JSON, packed with gzip or not), as in `restored:astronaut`."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A quantity that can be read off a trial. The module that holds it imports no torch at its top."""

    summary: str
    unit: str
    better: Literal["higher", "lower", "neither"]
    measure: Callable[[Trial], Reading]
    unsupported: Callable[[Cell], str | None] = lambda cell: None
    """The reason, known without running, why this cell has no such number: `no weights`, `interpreter: not a speed`."""
    judged: bool = False
    """True where the task's protocol decides the value, so its id is part of the record's key."""
    restores: bool = False
    """True where every image of the cell is restored for it; for the forecast."""
    whole: bool = False
    """True where it runs the network on a whole input, whatever the cell's tile, as all that is timed does; for the
    forecast."""
    timed: bool = False
    """True where the spec's timing rule decides the value. Nothing is timed before it agrees with the reference."""
    side_by_side: bool = False
    """True where it times every backend of the catalog beside the cell's own, each after a check of its own."""
    fresh_process: bool = False
    """True where the number is only right in an interpreter that has run nothing else."""
