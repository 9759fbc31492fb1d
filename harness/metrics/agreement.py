"""How far the backend is from the float64 reference on the cell's own inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.metric import Metric, Reading
from harness.record import Cell, Measurement

if TYPE_CHECKING:
    from harness.trial import Trial


def _unsupported(cell: Cell) -> str | None:
    return "no attention" if cell.backend == "none" else None


def _measure(trial: Trial) -> Reading:
    from harness.agreement import relative_errors

    errors = relative_errors(trial)
    measurement = Measurement(
        name="agreement", unit="relative error", samples=tuple(errors.values()), labels=tuple(errors)
    )
    return Reading(measurements=(measurement,))


METRIC = Metric(
    summary="||out - reference|| / ||reference|| of attention calls, against float64 on a few windows",
    unit="relative error",
    better="lower",
    measure=_measure,
    unsupported=_unsupported,
)
