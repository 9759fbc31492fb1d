"""What a cell's numbers look like beside those before."""

from __future__ import annotations

import io
import itertools

import pytest
from rich.console import Console

from harness.overview import print_cell
from harness.record import Cell, Environment, Failed, Measured, Measurement, Outcome, Record, Skipped

CELL = Cell(model="semanir/nano", task="denoise", dataset="bundled", setting="sigma=25", backend="sdpa")
FAST = Measured(measurements=(Measurement(name="latency", unit="ms", samples=(10.0, 12.0, 11.0)),))
SLOW = Measured(measurements=(Measurement(name="latency", unit="ms", samples=(22.0,)),))
CRASHED = Failed(failure="crashed", error="killed by signal 9")
ABSENT = Skipped(reason="no weights")


def history(*outcomes: Outcome, machines: str = "") -> list[Record]:
    """Return records of one number, oldest first; `machines` names the machine of each, in letters."""
    return [
        Record(
            cell=CELL,
            metric="latency",
            source="s",
            outcome=outcome,
            environment=Environment(
                machine_class=machine,
                cpu="a processor",
                cores=2,
                memory_gib=4.0,
                system="Linux 6.1",
                device="cpu",
                python="3.11.7",
                versions={},
            ),
            spec="spec",
            commit="c",
            dirty=False,
            started_at=f"2026-01-0{day}T00:00:00",
            duration_s=0.5,
        )
        for day, (outcome, machine) in enumerate(itertools.zip_longest(outcomes, machines, fillvalue="m"), start=1)
    ]


def shown(records: list[Record], *, diff: bool = True) -> list[str]:
    out = io.StringIO()
    print_cell(CELL, records, Console(file=out, width=200), diff=diff)
    return [" ".join(line.split()) for line in out.getvalue().splitlines()[3:]]


@pytest.mark.parametrize(
    ("outcomes", "row"),
    [
        ((FAST, SLOW), "latency 11 ms 22 ms +11 (+100.0%) 2026-01-02 00:00:00"),
        ((FAST, CRASHED), "latency 11 ms crashed: killed by signal 9 2026-01-02 00:00:00"),
        ((FAST, ABSENT), "latency 11 ms skipped: no weights 2026-01-02 00:00:00"),
        ((FAST, CRASHED, SLOW), "latency 11 ms 22 ms +11 (+100.0%) 2026-01-03 00:00:00"),
        ((CRASHED, FAST), "latency 11 ms 2026-01-02 00:00:00"),
        ((CRASHED, ABSENT), "latency skipped: no weights 2026-01-02 00:00:00"),
    ],
)
def test_a_number_stands_beside_the_one_that_was_measured_last(outcomes: tuple[Outcome, ...], row: str) -> None:
    assert shown(history(*outcomes)) == [row]


def test_only_the_same_machine_has_a_number_before() -> None:
    assert shown(history(FAST, FAST, SLOW, machines="mnn")) == ["latency 11 ms 22 ms +11 (+100.0%) 2026-01-03 00:00:00"]
    assert shown(history(FAST, SLOW, machines="mn")) == ["latency 22 ms 2026-01-02 00:00:00"]


def test_without_the_difference_the_newest_stands_alone() -> None:
    assert shown(history(FAST, CRASHED), diff=False) == ["latency crashed: killed by signal 9 2026-01-02 00:00:00"]
