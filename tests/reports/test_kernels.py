from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from harness.catalogs import BACKENDS
from harness.contest.names import QUANTITIES, absence
from harness.record import Cell, Measured, Measurement, Skipped
from reports.document import Details, Document, Entry, Figure, Figures, Section, Table
from reports.kernel_goals import Goal, goals
from reports.pages import kernels
from reports.pages.kernels import build
from reports.renderers import html, markdown
from tests.reports.conftest import MACHINE

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


def measured(
    *measurements: Measurement, notes: tuple[str, ...] = (), workload: Mapping[str, float] = SIZES
) -> Measured:
    sizes = [Measurement(name=f"workload.{name}", unit="1", samples=(size,)) for name, size in workload.items()]
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
    def make(*found: tuple[Cell, Any] | tuple[Cell, Any, str]) -> Document:
        records = [make_record(cell, *metric or ["kernels"], outcome) for cell, outcome, *metric in found]
        sweep = make_sweep(records, name="kernels")
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


@pytest.fixture
def aim(monkeypatch: pytest.MonkeyPatch, document: Callable[..., Document]) -> Callable[..., list[Entry]]:
    """Judge results by one figure to reach: what stands under measured, at k and verdict."""

    def judge(goal: Goal, *found: Any) -> list[Entry]:
        monkeypatch.setattr(kernels, "goals", lambda: (goal,))
        (table,) = section(document(*found), "goals").blocks
        assert isinstance(table, Table)
        ((row,),) = [group.rows for group in table.groups if group.rows]
        return list(row.entries[-3:])

    return judge


def texts(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(each.text for each in entries)


def goal(measure: str, limit: float, *, quantity: str = "forward", over: str = "") -> Goal:
    return Goal(quantity=quantity, tokens=1024, dtype="bfloat16", measure=measure, over=over, limit=limit)


FASTER = CELL.model_copy(update={"top_k": 64})
NO_GPU = "no CUDA device on this machine"


@pytest.mark.parametrize(("limit", "verdict"), [(2.5, "reached"), (2.0, "missed by 25.0%")])
def test_a_time_to_reach_is_judged_by_the_slowest_k(aim: Callable[..., Any], limit: float, verdict: str) -> None:
    entries = aim(goal("ms", limit), (CELL, outcome(2.5)), (FASTER, outcome(0.1)))
    assert texts(entries) == ("2.50", "128", verdict)
    assert entries[0].cell == CELL.id


@pytest.mark.parametrize(("limit", "verdict"), [(8.0, "reached"), (10.0, "missed by 20.0%")])
def test_a_rival_is_judged_by_the_smallest_ratio_over_common_blocks(
    aim: Callable[..., Any], limit: float, verdict: str
) -> None:
    # Blocks 0, 2 and 4 are common: 8, 12 and 8 times. The quotient of the medians of all samples is 4.
    slow_once = measured(
        times("forward.hot.triton", [2.5, 9.0, 5.0, 9.0, 2.5]), times("forward.hot.mask", [20.0, 60.0, 20.0], every=2)
    )
    entries = aim(goal("times faster", limit, over="mask"), (CELL, slow_once), (FASTER, outcome(0.1)))
    assert texts(entries) == ("8.00", "128", verdict)
    assert entries[0].cell == CELL.id


@pytest.mark.parametrize(("limit", "verdict"), [(0.05, "reached"), (0.02, "missed by 25.0%")])
def test_memory_is_judged_by_the_largest_share_of_q_k_v_and_the_output(
    aim: Callable[..., Any], limit: float, verdict: str
) -> None:
    tensors_mib = 4 * 900 * 6 * 1024 * 32 * 2 / 2**20
    more, less = (
        measured(
            times("forward.hot.triton", [1.0]),
            Measurement(name="forward.memory.triton", unit="MiB", samples=(share * tensors_mib,)),
        )
        for share in (0.025, 0.01)
    )
    entries = aim(goal("share of memory", limit), (CELL, more), (FASTER, less))
    assert texts(entries) == ("2.5%", "128", verdict)


@pytest.mark.parametrize(("limit", "verdict"), [(1.5, "reached"), (1.2, "missed by 25.0%")])
def test_bias_is_judged_against_the_plain_contest_of_the_same_cell(
    aim: Callable[..., Any], limit: float, verdict: str
) -> None:
    biased = measured(times("bias.forward.hot.triton", [3.0, 9.0, 3.75]))
    wanted = goal("times", limit, quantity="bias.forward", over="forward")
    # The other k has no contest with a bias: it is not asked.
    entries = aim(wanted, (CELL, outcome(2.5)), (CELL, biased, "kernels_bias"), (FASTER, outcome(0.1)))
    assert texts(entries) == ("1.50", "128", verdict)


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (goal("ms", 1.0, quantity="backward"), "the gradient of q is off: not timed"),
        (goal("times faster", 1.0, over="flex"), "out of luck: it was"),
        (goal("share of memory", 0.1, quantity="backward"), "the gradient of q is off: not timed"),
        (goal("times", 1.0, quantity="bias.forward", over="forward"), "interpreter: not a speed"),
        (goal("times", 1.0, quantity="bias.backward", over="backward"), "the gradient of q is off: not timed"),
        (goal("ms", 1.0, quantity="dictionary"), "no cell of this plan"),
    ],
)
def test_what_is_not_measured_says_who_has_no_number_and_why(aim: Callable[..., Any], wanted: Goal, why: str) -> None:
    plain = outcome()
    plain = measured(
        *plain.measurements, notes=(*plain.notes, absence("backward", "triton", "the gradient of q is off: not timed"))
    )
    biased = measured(
        times("bias.backward.hot.triton", [1.0]), notes=(absence("bias.forward", "triton", "interpreter: not a speed"),)
    )
    entries = aim(wanted, (CELL, plain), (CELL, biased, "kernels_bias"))
    assert texts(entries) == ("not measured", "–", why)
    assert entries[0].reason == why


def test_a_k_without_a_number_is_not_passed_over(aim: Callable[..., Any]) -> None:
    verdict = f"reached where measured; 1 of 2 cells not: {NO_GPU}"
    found = aim(goal("ms", 2.5), (CELL, outcome()), (FASTER, Skipped(reason=NO_GPU)))
    assert texts(found) == ("2.50", "128", verdict)


@pytest.mark.parametrize(
    ("cell", "sizes"), [(CELL.model_copy(update={"device": "cpu"}), SIZES), (CELL, SIZES | {"windows": 100})]
)
def test_another_device_or_size_reaches_nothing(
    aim: Callable[..., Any], cell: Cell, sizes: Mapping[str, float]
) -> None:
    found = measured(times("forward.hot.triton", [0.1]), workload=sizes)
    assert texts(aim(goal("ms", 2.5), (cell, found))) == ("not measured", "–", "measured on another device or size")


def test_without_a_gpu_nothing_is_claimed(document: Callable[..., Document]) -> None:
    made = document((CELL, Skipped(reason=NO_GPU)))
    (table,) = section(made, "goals").blocks
    assert isinstance(table, Table)
    rows = [row.entries for group in table.groups for row in group.rows]
    assert len(rows) == len(goals())
    assert {row[-3].text for row in rows} == {"not measured"}
    assert {row[-1].text for row in rows} == {NO_GPU, "no cell of this plan"}
    text = markdown.render(made)
    assert "measured: nothing yet" in text
    assert f"Nothing has been measured yet: {NO_GPU}." in text


def test_the_figures_to_reach_name_quantities_and_rivals_that_exist() -> None:
    known = {quantity.name for of_variant in QUANTITIES.values() for quantity in of_variant} | {"dictionary"}
    for each in goals():
        assert each.quantity in known
        assert each.over in {"times faster": BACKENDS.names(), "times": known}.get(each.measure, {""})
    assert len({(each.quantity, each.tokens, each.measure, each.over) for each in goals()}) == len(goals()) == 20


def test_the_page_renders_and_tells_reasons_and_clocks(document: Callable[..., Document]) -> None:
    made = document((CELL, outcome()))
    page = html.render(made, artifact=lambda name: b"")
    assert "1900 to 1980 MHz" in page
    assert "out of luck: it was" in page
    assert f"semanir-bench cell {CELL.id} --rerun --diff --store runs/a" in page


def figures(section: Section) -> dict[str, Figure]:
    return {each.title: each for block in section.blocks if isinstance(block, Figures) for each in block.figures}


def drawn(figure: Figure) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Return where the points of each panel's series stand."""
    return {
        (panel.title, series.label): [(point.x, point.y) for point in series.points]
        for panel in figure.panels
        for series in panel.series
    }


def test_times_hot_and_cold_and_memory_are_drawn_against_k(document: Callable[..., Document]) -> None:
    cells = [CELL.model_copy(update={"top_k": k}) for k in (64, 128, 256)]
    page = document(*((cell, outcome(1.0 + i)) for i, cell in enumerate(cells)))
    found = figures(section(page, "n-1024"))
    assert list(found) == ["forward: time against k", "forward: memory against k"]
    hot, cold = "bfloat16 · caches hot", "bfloat16 · caches cold"
    assert drawn(found["forward: time against k"]) == {
        (hot, "mask"): [(64, 20), (128, 20), (256, 20)],
        (hot, "triton"): [(64, 1), (128, 2), (256, 3)],
        (cold, "triton"): [(64, 1.1), (128, 2.2), (256, 1.1 * 3)],
    }
    assert drawn(found["forward: memory against k"]) == {("bfloat16", "triton"): [(k, 21.1) for k in (64, 128, 256)]}
    (mask, triton), _ = (panel.series for panel in found["forward: time against k"].panels)
    assert mask.style != triton.style
    assert (triton.points[0].low, triton.points[0].high) == (1, 2)
    assert triton.points[0].cells == (cells[0].id,)
    assert "against-n" not in [each.anchor for each in page.sections]
    assert "caches cold" in html.render(page, artifact=lambda name: b"")


def test_against_n_each_window_stands_with_the_k_nearest_to_a_quarter(document: Callable[..., Document]) -> None:
    sizes = {(8, 16): 1.0, (16, 16): 9.0, (16, 64): 2.0, (32, 256): 4.0, (32, 512): 9.0}
    cells = {CELL.model_copy(update={"window": window, "top_k": k}): ms for (window, k), ms in sizes.items()}
    page = document(*((cell, outcome(ms)) for cell, ms in cells.items()))
    time = figures(section(page, "against-n"))["forward: time against N"]
    assert drawn(time)["bfloat16 · caches hot", "triton"] == [(64, 1), (256, 2), (1024, 4)]
    assert time.note.startswith("k is 16 at 64, 64 at 256, 256 at 1024")
    assert time.x.ticks == ((64, "64"), (256, "256"), (1024, "1024"))


def test_two_machines_share_no_table_and_no_figure(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    cells = [CELL.model_copy(update={"top_k": k}) for k in (32, 64, 128, 256)]
    there = MACHINE.model_copy(update={"machine_class": "f" * 16, "cpu": "Another CPU"})
    records = [
        make_record(cell, "kernels", outcome(), environment=MACHINE if i < 2 else there) for i, cell in enumerate(cells)
    ]
    sweep = make_sweep(records, name="kernels")
    page = build(sweep.records, sweep.plan)
    parts = [each for each in page.sections if each.title.startswith("N = 1024")]
    assert [each.anchor for each in parts] == [
        "n-1024-example-cpu-2-10ghz-2-cores-16-gib",
        "n-1024-another-cpu-2-cores-16-gib",
    ]
    for part, ks in zip(parts, (["32", "64"], ["128", "256"]), strict=True):
        table = part.blocks[0]
        assert isinstance(table, Table)
        assert [row.entries[1].text for row in table.groups[0].rows] == ks
        assert {x for points in drawn(figures(part)["forward: time against k"]).values() for x, _ in points} == set(
            map(float, ks)
        )
