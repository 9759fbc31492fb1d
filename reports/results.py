"""A plan joined with its records: what was asked of each cell, what came of it, and how cells differ."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.record import Cell, Failed, Measured, Measurement, Record, Skipped
from reports.document import State

if TYPE_CHECKING:
    from harness.store import StoredPlan

_INNER = ("sharing", "window", "top_k", "backend")
AXES = (*(name for name in Cell.model_fields if name != "task" and name not in _INNER), *_INNER)
"""Every axis but the task, from the one that changes least to the contenders; axes to come stand in front."""

JUDGED = ("task", "setting", "dataset", "image_size", "images", "seed")
"""Axes that say which images are restored and how they are degraded: quality is compared at equal values of them."""

_LABELS = {"top_k": "k"}
_UNSET = {"top_k": "all", "images": "all", "image_size": "whole", "window": "default", "tile": "whole"}
_UNSET |= dict.fromkeys(("similarity", "shift", "score"), "default")

_NUMBER = re.compile(r"\b(?:0x[0-9a-fA-F]+|\d[\d.,]*)(?<![.,])")
_LONGEST_REASON = 160


@dataclass(frozen=True, eq=False)
class Result:
    """A cell of a plan with the newest record of each metric that the plan asks for; None is not run yet."""

    cell: Cell
    records: Mapping[str, Record | None]

    def measurement(self, metric: str, name: str = "") -> Measurement | None:
        """Return a metric's measurement of this name (its first, without one), where it was measured."""
        found = self.measurements(metric)
        return next((each for each in found if name in ("", each.name)), None)

    def measurements(self, metric: str) -> tuple[Measurement, ...]:
        """Return everything that a metric measured."""
        record = self.records.get(metric)
        return record.outcome.measurements if record and isinstance(record.outcome, Measured) else ()

    def notes(self, metric: str) -> tuple[str, ...]:
        """Return what a reader of a metric's numbers has to know, where it was measured."""
        record = self.records.get(metric)
        return record.outcome.notes if record and isinstance(record.outcome, Measured) else ()

    def why_not(self, metric: str) -> str:
        """Return the reason why a metric has no numbers."""
        if metric not in self.records:
            return "not asked for"
        return reason(self.records[metric])

    def artifacts(self) -> dict[str, str]:
        """Return the files of all metrics by role."""
        return {role: name for each in self.records.values() if each for role, name in each.artifacts.items()}


def gather(records: Mapping[str, Record], plan: StoredPlan) -> list[Result]:
    """Join a plan with the records by key, in the plan's order. Records of other plans are left out."""
    cells: dict[str, Cell] = {}
    found: dict[str, dict[str, Record | None]] = {}
    for entry in plan.entries:
        cells.setdefault(entry.cell.id, entry.cell)
        found.setdefault(entry.cell.id, {})[entry.metric] = records.get(entry.key)
    return [Result(cell, found[cell_id]) for cell_id, cell in cells.items()]


def state(record: Record | None) -> State:
    """Return how a planned result stands."""
    return record.outcome.kind if record else "missing"


def reason(record: Record | None) -> str:
    """Return why there are no numbers, in one line."""
    match record.outcome if record else None:
        case Skipped(reason=text):
            return _clipped(text)
        case Failed(failure=failure, error=error):
            return _clipped(f"{failure.replace('_', ' ')}: {headline(error)}")
        case Measured():
            return "no such number"
        case None:
            return "not run yet"


def pattern(reasons: Iterable[str]) -> str:
    """Return what reasons have in common once their numbers, or whatever holds a digit, are left out."""
    found = list(dict.fromkeys(reasons))
    return found[0] if len(found) == 1 else _NUMBER.sub("…", found[0])


def kin(reason: str) -> str:
    """Return a key that is the same for reasons that differ in numbers and addresses alone."""
    return _NUMBER.sub("…", reason)


def listed(reasons: Mapping[str, int], unit: str, most: int = 3) -> str:
    """Join reasons with their counts, kindred ones as one and only the most frequent in full."""
    kinds: dict[str, dict[str, int]] = {}
    for text, count in reasons.items():
        kinds.setdefault(kin(text), {})[text] = count
    ranked = sorted(kinds.values(), key=lambda members: -sum(members.values()))
    if len(ranked) == 1:
        return pattern(ranked[0])
    said = [f"{pattern(members)} ({counted(sum(members.values()), unit)})" for members in ranked[:most]]
    rest = [f"and {counted(len(ranked) - most, 'more reason')}"] if len(ranked) > most else []
    return "; ".join(said + rest)


def counted(number: int, noun: str) -> str:
    """Return `1 cell`, `2,000 cells`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def varying(results: Iterable[Result]) -> tuple[str, ...]:
    """Return the axes along which these cells differ, outermost first."""
    return varying_cells([result.cell for result in results])


def varying_cells(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Return the axes along which cells differ, outermost first."""
    return tuple(axis for axis in AXES if len({getattr(cell, axis) for cell in cells}) > 1)


def axis_values(results: Iterable[Result], axis: str) -> list[Any]:
    """Return an axis's values: numbers in order with `None` (no limit) last, words as the plan has them."""
    values = list(dict.fromkeys(getattr(result.cell, axis) for result in results))
    if all(isinstance(value, int | None) for value in values):
        return sorted(values, key=lambda value: (value is None, value or 0))
    return values


def arrange(results: Sequence[Result], axes: Sequence[str]) -> list[Result]:
    """Sort cells along axes, the first changing least."""
    order = {axis: {value: i for i, value in enumerate(axis_values(results, axis))} for axis in axes}
    return sorted(results, key=lambda result: [order[axis][getattr(result.cell, axis)] for axis in axes])


def judged_on(result: Result) -> tuple[object, ...]:
    """Return what a cell's quality was judged on: cells with equal values of `JUDGED` saw the same images."""
    return tuple(getattr(result.cell, axis) for axis in JUDGED)


def but_seed(result: Result) -> tuple[object, ...]:
    """Return everything of a cell but its seed: cells with equal values of it repeat each other."""
    return tuple(getattr(result.cell, axis) for axis in ("task", *AXES) if axis != "seed")


def number_text(value: float, form: str = "{:.2f}") -> str:
    """Format a number for reading: a minus as typeset, no sign before a zero, and words for what is no number."""
    if math.isnan(value):
        return "undefined"
    text = form.format(value).replace("-", "−").replace("inf", "∞")
    return text.lstrip("−+") if math.isfinite(value) and not re.search("[1-9]", text) else text


def label(axis: str) -> str:
    """Return an axis's name for reading."""
    return _LABELS.get(axis, axis.replace("_", " "))


def value_text(axis: str, value: object) -> str:
    """Return an axis's value for reading."""
    return _UNSET.get(axis, "none") if value is None else str(value)


def in_words(cell: Cell, axes: Iterable[str]) -> str:
    """Name a cell by some of its axes, as in `window 8 · k 16 · mask`."""
    return " · ".join(phrase(axis, getattr(cell, axis)) for axis in axes)


def phrase(axis: str, value: object) -> str:
    """Name one value; a word that speaks for itself stands without its axis."""
    text = value_text(axis, value)
    return text if axis in ("task", "backend", "dataset", "setting", "device", "dtype") else f"{label(axis)} {text}"


def headline(error: str) -> str:
    """Return the line of an error that says most: the last of a traceback, else the first."""
    lines = [line.strip() for line in error.splitlines() if line.strip()] or ["no message"]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"
