"""Time of one forward pass, dictionary included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.catalogs import BACKENDS
from harness.metric import Metric, Reading
from harness.record import Cell, Measurement

if TYPE_CHECKING:
    from harness.trial import Trial


def _unsupported(cell: Cell) -> str | None:
    if cell.backend in BACKENDS and cell.device not in BACKENDS[cell.backend].speed_on:
        return "interpreter: not a speed"
    return None


def _measure(trial: Trial) -> Reading:
    from harness.timing import latencies_ms

    samples = tuple(latencies_ms(trial.run, trial.timing, trial.cell.device))
    return Reading(measurements=(Measurement(name="latency", unit="ms", samples=samples),), notes=trial.notes)


METRIC = Metric(
    summary="time of one forward pass with its dictionary; all samples are kept",
    unit="ms",
    better="lower",
    measure=_measure,
    unsupported=_unsupported,
    timed=True,
)
