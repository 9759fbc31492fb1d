from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.contest.names import absence
from harness.record import Cell, Measured, Measurement, Skipped
from reports.document import Details, Document, Entry, Section, Table
from reports.pages.kernels import build, goals
from reports.renderers import html, markdown

CELL = Cell(
    model="semanir/S",
    task="sr",
    dataset="bundled",
    setting="scale=2,color=rgb",
    backend="triton",
    window=32,
    top_k=128,
    image_size=192,
    batch=100,
    dtype="bfloat16",
    device="cuda",
)
SIZES = {"windows": 900, "heads": 6, "tokens": 1024, "head_dim": 32, "top_k": 128}


def times(name: str, samples: Sequence[float], every: int = 1) -> Measurement:
    labels = tuple(f"block {i * every}" for i in range(len(samples)))
    return Measurement(name=name, unit="ms", samples=tuple(samples), labels=labels)


def measured(*measurements: Measurement, notes: tuple[str, ...] = ()) -> Measured:
    sizes = [Measurement(name=f"workload.{name}", unit="1", samples=(size,)) for name, size in SIZES.items()]
    return Measured(measurements=(*sizes, *measurements), notes=notes)


def outcome(forward_ms: float = 2.5) -> Measured:
    return measured(
        times("floor.hot.copy", [0.4] * 5),
        times("forward.hot.triton", [forward_ms, forward_ms * 2, forward_ms, forward_ms, forward_ms]),
        times("forward.cold.triton", [forward_ms * 1.1] * 5),
        times("forward.hot.mask", [20.0, 30.0, 20.0], every=2),
        Measurement(name="forward.memory.triton", unit="MiB", samples=(21.1,)),
        Measurement(name="forward.error.triton", unit="relative error", samples=(4e-3,), labels=("out",)),
        Measurement(name="device.sm_clock", unit="MHz", samples=(1900.0, 1980.0)),
        notes=(absence("forward", "flex", "out of luck: it was"), absence("backward", "mask", "no")),
    )


@pytest.fixture
def document(make_record: Callable[..., Any], make_sweep: Callable[..., Any]) -> Callable[..., Document]:
    def make(*pairs: tuple[Cell, Any]) -> Document:
        sweep = make_sweep([make_record(cell, "kernels", found) for cell, found in pairs], name="kernels")
        return build(sweep.records, sweep.plan, store_name="runs/a")

    return make


def section(document: Document, anchor: str) -> Section:
    return next(each for each in document.sections if each.anchor == anchor)


def entry(table: Table, group: str, column: str) -> Entry:
    place = [each.label for each in table.columns].index(column)
    (found,) = [each for each in table.groups if each.title == group]
    return found.rows[0].entries[place]


def test_times_stand_by_contender_with_their_interval_and_their_ratio(document: Callable[..., Document]) -> None:
    forward, folded, *_ = section(document((CELL, outcome())), "n-1024").blocks
    assert isinstance(forward, Table)
    assert [column.label for column in forward.columns] == ["dtype", "k", "flex", "mask", "triton"]
    assert entry(forward, "forward: hot, ms", "triton").text == "2.500 ± 50.0 %"
    assert entry(forward, "forward: cold, ms", "triton").text == "2.750 ± 0.0 %"
    assert entry(forward, "forward: hot, ms", "flex").reason == "out of luck: it was"
    # Of the blocks that both were in, 0, 2 and 4: 8, 12 and 8 times as long.
    assert entry(forward, "forward: hot, times triton", "mask").value == 8
    assert entry(forward, "forward: peak above inputs and results, MiB", "triton").text == "21.1"
    assert isinstance(folded, Details)
    (more,) = folded.blocks
    assert isinstance(more, Table)
    moved = 4 * 900 * 6 * 1024 * 32 * 2
    useful = 4 * 6 * 900 * 1024 * 128 * 32
    assert entry(more, "GB/s of q, k, v and the output", "triton").value == pytest.approx(moved / 2.5e-3 / 1e9)
    assert entry(more, "useful TFLOP/s", "triton").value == pytest.approx(useful / 2.5e-3 / 1e12)
    assert entry(more, "spent TFLOP/s", "triton").value == pytest.approx(8 * useful / 2.5e-3 / 1e12)
    assert entry(more, "hot, times copying those bytes", "triton").value == pytest.approx(2.5 / 0.4)


def verdicts(document: Document) -> dict[tuple[str, str], tuple[str, str]]:
    (table,) = section(document, "goals").blocks
    assert isinstance(table, Table)
    rows = [[each.text for each in row.entries] for row in table.groups[0].rows]
    return {(row[0], row[1]): (row[4], row[5]) for row in rows}


@pytest.mark.parametrize(("share", "verdict"), [(0.9, "reached"), (1.5, "missed by 50%")])
def test_a_figure_to_reach_is_judged_by_the_slowest_k(
    document: Callable[..., Document], share: float, verdict: str
) -> None:
    goal = next(each for each in goals() if (each.quantity, each.tokens) == ("forward", 1024))
    fast = CELL.model_copy(update={"top_k": 64})
    made = document((fast, outcome(0.1)), (CELL, outcome(share * goal.at_most_ms)))
    assert verdicts(made)["forward", "1024"] == (f"{share * goal.at_most_ms:.2f}", verdict)
    assert verdicts(made)["backward", "1024"][0] == "not measured"
    assert verdicts(made)["forward", "256"] == ("not measured", "no cell of this plan")


def test_another_device_or_size_reaches_nothing(document: Callable[..., Document]) -> None:
    on_cpu = CELL.model_copy(update={"device": "cpu"})
    assert verdicts(document((on_cpu, outcome())))["forward", "1024"] == (
        "not measured",
        "measured on another device or size",
    )


def test_without_a_gpu_nothing_is_claimed(document: Callable[..., Document]) -> None:
    made = document((CELL, Skipped(reason="no CUDA device on this machine")))
    assert verdicts(made)["forward", "1024"] == ("not measured", "no CUDA device on this machine")
    text = markdown.render(made)
    assert "measured: nothing yet" in text
    assert "Nothing has been measured yet: no CUDA device on this machine." in text


def test_the_page_renders_and_tells_reasons_and_clocks(document: Callable[..., Document]) -> None:
    made = document((CELL, outcome()))
    page = html.render(made, artifact=lambda name: b"")
    assert "1900 to 1980 MHz" in page
    assert "out of luck: it was" in page
    assert f"semanir-bench cell {CELL.id} --rerun --diff --store runs/a" in page
