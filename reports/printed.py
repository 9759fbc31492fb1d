"""Printed numbers beside measured ones: what a table prints, the cell that has to give it, and what came of it."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Literal

from harness.catalogs import TASKS
from harness.record import Cell, Measurement
from reports.results import Result, in_words, number_text

PUBLISHED = Path(__file__).parent / "published" / "protocols.csv"

EQUAL = "equal in printed digits"
Kind = Literal["equal", "within", "differs", "absent"]

_NAMED = ("task", "dataset", "setting", "model", "weights")
"""Axes that a printed number names."""
_HARMLESS = frozenset({"batch", "device", "seed", "tile"})
"""Axes that leave a restoration what it is, but for rounding and the draw of the noise."""
_RESTORING = frozenset(
    {"backend", "top_k", "window", "sharing", "similarity", "shift", "score", "ensemble", "dtype"}
    | {"batch", "tile", "device"}
)
"""Axes that say how an image is restored: what is restored stays the same."""
_INPUT = "degraded"
"""The metric that judges the degraded input of a cell, whatever restores it."""


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A number that a table prints, and the cell that has to give it."""

    source: str
    """Paper and table."""
    task: str
    dataset: str
    setting: str
    method: str
    """Its name in that table."""
    model: str
    weights: str
    metric: str
    """Name of the measurement, as in `psnr` or `degraded.psnr`."""
    printed: str
    """As printed: its decimals say how closely a measurement is compared."""
    within: str
    """A difference that chance explains, where the input is random; empty where nothing is."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of a printed number."""

    printed: Printed
    result: Result
    kind: Kind
    measured: float | None = None
    images: int = 0
    difference: Decimal | None = None
    """Of the rounded numbers."""
    reason: str = ""
    """Why there is no measurement."""
    metric: str = ""
    """Name of the metric whose record was read."""

    @property
    def words(self) -> str:
        """The verdict for reading."""
        match self.kind:
            case "equal":
                return EQUAL
            case "within":
                return f"within {self.printed.within}, the input being random"
            case "differs":
                return f"differs by {signed(self.difference)}"
            case "absent":
                return "not measured"


@cache
def published() -> tuple[Printed, ...]:
    """Read the printed numbers."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        return tuple(Printed(**row) for row in csv.DictReader(file))


def judge(printed: Printed, result: Result) -> Verdict:
    """Compare a measurement with the printed number, in the printed digits."""
    metric = printed.metric.partition(".")[0]
    measurement = result.measurement(metric, printed.metric)
    if measurement is None:
        return Verdict(printed=printed, result=result, kind="absent", reason=result.why_not(metric))
    if axes := [axis for axis in unlike(result.cell) if axis not in _HARMLESS]:
        reason = f"not comparable: measured with {in_words(result.cell, axes)}"
        return Verdict(printed=printed, result=result, kind="absent", reason=reason)
    return _compared(printed, result, measurement, metric)


def judge_input(printed: Printed, result: Result) -> Verdict | None:
    """Compare a printed number of the input itself with the degraded input that any cell measured beside its own.

    None where the number is not of the input, or where the cell has another one: of another task, dataset, setting or
    protocol, of a part of the dataset, or of a part of its images.
    """
    cell = result.cell
    if (printed.model, printed.weights) != ("identity", "none"):
        return None
    if (cell.task, cell.dataset, cell.setting) != (printed.task, printed.dataset, printed.setting):
        return None
    measurement = result.measurement(_INPUT, f"{_INPUT}.{printed.metric}")
    if measurement is None or set(unlike(cell)) - _RESTORING or not _judged_as_an_output(result):
        return None
    return _compared(printed, result, measurement, _INPUT)


def _judged_as_an_output(result: Result) -> bool:
    """Return whether the input was judged by the protocol that judges a restored image; noise, say, is not clipped."""
    task, record = TASKS[result.cell.task], result.records[_INPUT]
    setting = task.parse(result.cell.setting)
    own = (task.input_protocol or task.protocol)(setting)
    return record is not None and record.protocol == own.id == task.protocol(setting).id


def _compared(printed: Printed, result: Result, measurement: Measurement, metric: str) -> Verdict:
    mean = fmean(measurement.samples)
    if not math.isfinite(mean):
        why = "an image is restored perfectly" if mean > 0 else "no number"
        reason = f"the measured mean is {number_text(mean)}: {why}"
        return Verdict(printed=printed, result=result, kind="absent", reason=reason)
    difference = rounded(mean, printed.printed) - Decimal(printed.printed)
    kind: Kind = "differs"
    if difference == 0:
        kind = "equal"
    elif printed.within and abs(difference) <= Decimal(printed.within):
        kind = "within"
    images = len(measurement.samples)
    return Verdict(
        printed=printed,
        result=result,
        kind=kind,
        measured=mean,
        images=images,
        difference=difference,
        metric=metric,
    )


def rounded(value: float, like: str) -> Decimal:
    """Round as tables do, to as many decimals as the printed number has."""
    return Decimal(repr(value)).quantize(Decimal(like), rounding="ROUND_HALF_UP")


def gives(result: Result, printed: Printed) -> bool:
    """Return whether a cell was asked for the printed number."""
    named = all(getattr(result.cell, axis) == getattr(printed, axis) for axis in _NAMED)
    return named and printed.metric.partition(".")[0] in result.records


def unlike(cell: Cell) -> list[str]:
    """Return the axes on which a cell differs from the one that a table prints: all images, whole, once."""
    fields = Cell.model_fields.items()
    return [axis for axis, about in fields if axis not in _NAMED and getattr(cell, axis) != about.default]


def signed(difference: Decimal | None) -> str:
    if not difference:
        return "0"
    return f"{difference:+f}".replace("-", "−")
