"""The figures that kernels are to reach, set before anything was measured."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

from harness.contest.names import Name
from harness.record import Cell, Frozen
from reports.contests import QUANTITIES

GOALS = Path(__file__).parent / "goals" / "kernels.csv"

Measure = Literal["ms", "times faster", "share of memory", "times"]
MEASURES: Mapping[Measure, tuple[str, str]] = {
    "ms": ("Time of a call, ms", "{:.2f}"),
    "times faster": ("Times faster than a rival in the same contest", "{:.2f}"),
    "share of memory": ("Peak above inputs and results, as a share of q, k, v and the output", "{:.1%}"),
    "times": ("Time, as a multiple of another quantity's on the same workload", "{:.2f}"),
}
"""Per measure of a figure to reach what it is, and its format."""


class Goal(Frozen):
    """A figure that was set as the aim, before anything was measured."""

    quantity: str
    tokens: int
    dtype: str
    measure: Measure
    over: str
    """The rival, of `times faster`; the other quantity, of `times`; empty for the rest."""
    limit: float
    """The least that reaches it, of `times faster`; the most, of the rest."""

    @property
    def metric(self) -> str:
        """The metric that measures it."""
        return QUANTITIES[self.quantity][0]

    @property
    def compared_with(self) -> str:
        """What it is divided by, for reading."""
        return QUANTITIES[self.over][1] if self.measure == "times" else self.over

    def samples(self, backend: str) -> tuple[Name, ...]:
        """Return the samples that it is read from: one series, or the dividend and the divisor."""
        own = Name(self.quantity, "hot", backend)
        match self.measure:
            case "ms":
                return (own,)
            case "times faster":
                return replace(own, contender=self.over), own
            case "share of memory":
                return (replace(own, kind="memory"),)
            case "times":
                return own, replace(own, quantity=self.over)

    def worst(self, found: Iterable[tuple[float, Cell]]) -> tuple[float, Cell]:
        """Return the number that decides, with its cell."""
        choose = min if self.measure == "times faster" else max
        return choose(found, key=lambda pair: pair[0])

    def verdict(self, number: float) -> str:
        """Say whether a number reaches it, and else by which part of the limit it does not."""
        off = number / self.limit - 1
        missed = off < 0 if self.measure == "times faster" else off > 0
        return f"missed by {abs(off):.1%}" if missed else "reached"


@cache
def goals() -> tuple[Goal, ...]:
    """Read the figures to reach."""
    with GOALS.open(encoding="utf-8", newline="") as file:
        return tuple(Goal.model_validate(row) for row in csv.DictReader(file))
