from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.record import Cell, Failed, Measured, Measurement, Skipped
from reports.document import Block, Details, Document, Facts, Figures, Gallery, Section, Table, Text, blocks_of
from reports.results import listed
from tests.reports.conftest import MACHINE


def cell_with(**fields: Any) -> Cell:
    return Cell.model_validate(
        {"model": "semanir/small", "task": "denoise", "dataset": "bundled", "setting": "sigma=25", **fields}
    )


CELL = cell_with()


def measured(name: str, unit: str, *samples: float, labels: tuple[str, ...] = ()) -> Measured:
    return Measured(measurements=(Measurement(name=name, unit=unit, samples=samples, labels=labels),))


def section(document: Document, title: str) -> Section:
    return next(each for each in document.sections if each.title == title)


def blocks(parts: tuple[Block, ...]) -> Iterator[Block]:
    for block in parts:
        yield block
        if isinstance(block, Details):
            yield from blocks(block.blocks)


def main_table(document: Document, title: str = "denoise") -> Table:
    return next(each for each in blocks(section(document, title).blocks) if isinstance(each, Table))


def column(table: Table, label: str, family: str = "") -> list[Any]:
    at = next(i for i, c in enumerate(table.columns) if c.label == label and (not family or c.family == family))
    return [row.entries[at] for group in table.groups for row in group.rows]


def words(document: Document) -> str:
    found = [each.text for each in document.lead if isinstance(each, Text)]
    for part in document.sections:
        found += [each.text for each in blocks(part.blocks) if isinstance(each, Text)]
    return "\n".join(found)


@pytest.fixture
def timed(make_record: Callable[..., Any]) -> Callable[..., Any]:
    def make(backend: str, *samples_ms: float, **fields: Any) -> Any:
        cell = cell_with(backend=backend)
        return make_record(cell, "latency", measured("latency", "ms", *samples_ms), **fields)

    return make


def test_the_baseline_is_the_timed_backend_that_spends_most(whole: Any) -> None:
    ratios = column(main_table(whole.document()), "ratio")
    assert {entry.text for entry in ratios if entry.value == 1} == {"1.00"}
    units = {c.unit for c in main_table(whole.document()).columns if c.label == "ratio"}
    assert units == {"× mask"}


def test_a_baseline_that_is_named_is_taken(whole: Any) -> None:
    units = {c.unit for c in main_table(whole.document(baseline="sdpa")).columns if c.label == "ratio"}
    assert units == {"× sdpa"}


def test_a_ratio_divides_medians_of_cells_that_differ_in_the_backend_alone(
    timed: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    sweep = make_sweep([timed("a", 10, 12, 50), timed("b", 6, 6, 600)])
    assert [entry.text for entry in column(main_table(sweep.document()), "ratio")] == ["1.00", "0.50"]


@pytest.mark.parametrize("fields", [{"commit": "f" * 40}, {"dirty": True}])
def test_times_of_unlike_runs_are_never_divided(
    timed: Callable[..., Any], make_sweep: Callable[..., Any], fields: dict[str, Any]
) -> None:
    sweep = make_sweep([timed("a", 10, 12), timed("b", 6, 6, **fields)])
    assert column(main_table(sweep.document()), "ratio")[1].reason == "a was timed in another run"


def test_times_under_unlike_rules_share_no_column(timed: Callable[..., Any], make_sweep: Callable[..., Any]) -> None:
    table = main_table(make_sweep([timed("a", 10, timing="one"), timed("b", 6, timing="two")]).document())
    assert [c.family for c in table.columns if c.label == "median"] == [
        "latency (rule one)",
        "latency (rule two)",
    ]
    assert [entry.text for entry in column(table, "median", "latency (rule one)")] == [
        "10.0",
        "timed under another …",
    ]


def test_numbers_of_two_machines_share_no_column_and_no_figure(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    here, there = (MACHINE.model_copy(update={"machine_class": f"{i}" * 16, "cpu": f"CPU {i}"}) for i in (1, 2))
    records = [
        make_record(cell_with(backend=backend, top_k=k), metric, measured(name, unit, 10 * k), environment=machine)
        for k, machine in ((8, here), (16, here), (32, there), (64, there))
        for backend in ("mask", "sdpa")
        for metric, name, unit in (("latency", "latency", "ms"), ("memory", "memory.peak", "MiB"))
    ]
    document = make_sweep(records).document()
    table = main_table(document)
    for family, label, otherwise in (
        ("latency", "median", "timed on another machine"),
        ("memory", "peak", "measured on another machine"),
    ):
        first = column(table, label, f"{family} (CPU 1, 2 cores, 16 GiB)")
        assert [entry.value or entry.reason for entry in first] == [80, 80, 160, 160, *[otherwise] * 4]
        second = column(table, label, f"{family} (CPU 2, 2 cores, 16 GiB)")
        assert [entry.value or entry.reason for entry in second] == [*[otherwise] * 4, 320, 320, 640, 640]
    figures = [each for _, block in blocks_of(document) if isinstance(block, Figures) for each in block.figures]
    latency = [each for each in figures if each.title.startswith("Latency")]
    assert [each.title for each in latency] == [f"Latency (CPU {i}, 2 cores, 16 GiB) against k" for i in (1, 2)]
    assert [sorted({p.x for s in each.panels[0].series for p in s.points}) for each in latency] == [[8, 16], [32, 64]]
    assert sum(each.title.startswith("Memory (CPU") for each in figures) == 2


def test_values_of_unlike_protocols_share_no_column(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    records = [
        make_record(
            cell_with(setting=f"sigma={i}"),
            "psnr",
            measured("psnr", "dB", 30, labels=("a",)),
            protocol=protocol,
        )
        for i, protocol in enumerate(("gray-crop0-uint8", "rgb-crop0-uint8"))
    ]
    table = main_table(make_sweep(records).document())
    assert [entry.text for entry in column(table, "PSNR", "quality (rgb-crop0-uint8)")] == [
        "judged by another …",
        "30.00",
    ]


def test_the_gain_is_paired_by_the_image_and_not_by_its_place(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    after = make_record(CELL, "psnr", measured("psnr", "dB", 30, 40, labels=("a", "b")))
    before = make_record(CELL, "degraded", measured("degraded.psnr", "dB", 35, 20, 7, labels=("b", "a", "c")))
    gain = column(main_table(make_sweep([after, before]).document()), "gain")[0]
    assert gain.text == "+7.50"
    assert "+5.00 to +10.00 dB" in gain.detail


def test_the_best_stand_out_with_whatever_noise_cannot_tell_from_them(
    timed: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    sweep = make_sweep([timed("a", 10, 10.2), timed("b", 6.0, 6.4), timed("c", 6.1, 6.5)])
    assert [entry.best for entry in column(main_table(sweep.document()), "ratio")] == [False, True, True]


def test_nobody_is_best_where_all_are_equal(timed: Callable[..., Any], make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep([timed("a", 10, 10), timed("b", 10, 10)])
    assert not any(entry.best for entry in column(main_table(sweep.document()), "ratio"))


def test_every_number_of_a_table_names_its_cell(whole: Any) -> None:
    ids = {entry.cell.id for entry in whole.plan.entries}
    for part in whole.document().sections:
        for table in (each for each in blocks(part.blocks) if isinstance(each, Table) and "measured" in each.caption):
            cells = [entry.cell for g in table.groups for row in g.rows for entry in row.entries[table.stubs :]]
            assert cells
            assert set(cells) <= ids


def test_every_cell_has_the_command_that_measures_it_again(whole: Any) -> None:
    table = next(
        each
        for each in blocks(section(whole.document(store_name="my store"), "Measure again").blocks)
        if isinstance(each, Table)
    )
    commands = {row.anchor: row.entries[-1].text for group in table.groups for row in group.rows}
    assert set(commands) == {entry.cell.id for entry in whole.plan.entries}
    for cell, command in commands.items():
        assert command == f"semanir-bench cell {cell} --rerun --diff --store 'my store'"


def test_a_column_without_any_number_is_left_out_and_says_why(whole: Any) -> None:
    table = main_table(whole.document(), "jpeg")
    assert "PSNR" not in [c.label for c in table.columns]
    assert table.notes == ("Without any number, so not shown: PSNR, gain, SSIM. Reason: no weights.",)


def test_times_of_an_interpreter_are_never_shown(whole: Any) -> None:
    table = main_table(whole.document())
    at = [i for i, c in enumerate(table.columns) if c.family == "latency"]
    rows = [row.entries for g in table.groups for row in g.rows if row.entries[1].text == "triton"]
    assert rows
    assert {row[i].reason for row in rows for i in at} == {"interpreter: not a speed"}


def test_pictures_without_weights_say_so_in_the_place_of_the_restoration(whole: Any) -> None:
    gallery = next(each for each in section(whole.document(), "sr").blocks if isinstance(each, Gallery))
    roles = {picture.role: picture for picture in gallery.comparisons[0].pictures}
    assert roles["restored"].reason == "no weights"
    assert roles["degraded"].artifact
    assert roles["target"].artifact


def test_backends_that_agree_are_one_line_of_quality_and_each_a_line_of_cost(whole: Any) -> None:
    figures = next(each for each in section(whole.document(), "denoise").blocks if isinstance(each, Figures))
    psnr, ssim, pareto, latency, memory = figures.figures
    assert (ssim.title, pareto.title) == ("SSIM against k", "PSNR against latency")
    assert [series.label for series in psnr.panels[0].series] == ["window 8", "window 16"]
    assert [series.label for series in latency.panels[0].series] == ["gather", "mask", "sdpa"]
    assert "no triton (interpreter: not a speed)" in latency.note
    assert memory.title == "Memory against k"
    assert [series.label for series in memory.panels[0].series] == ["triton", "gather", "mask", "sdpa"]
    assert all(p.cells for f in figures.figures for a in f.panels for s in a.series for p in s.points)


def test_seeds_are_averaged_with_their_range(make_record: Callable[..., Any], make_sweep: Callable[..., Any]) -> None:
    records = [
        make_record(
            cell_with(seed=seed, top_k=top_k),
            "psnr",
            measured("psnr", "dB", 30 + seed + top_k, labels=("a",)),
        )
        for seed in (0, 1, 2)
        for top_k in (8, 16)
    ]
    document = make_sweep(records).document()
    figures = next(each for each in section(document, "denoise").blocks if isinstance(each, Figures))
    point = figures.figures[0].panels[0].series[0].points[0]
    assert (point.y, point.low, point.high, len(point.cells)) == (39, 38, 40, 3)
    assert figures.figures[0].note == "mean over seed, whisker: their range"


def test_backends_that_agree_keep_the_interval_of_the_difference(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    """Not how far backends differ, which is nothing, but how sure the difference to the best k is."""
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 6))
    records = [
        make_record(
            cell_with(top_k=top_k, backend=backend),
            "psnr",
            measured("psnr", "dB", *(30 + 3 * n + top_k / 8 + noise[row][n] for n in range(6)), labels=tuple("abcdef")),
        )
        for row, top_k in enumerate((8, 16))
        for backend in ("mask", "sdpa")
    ]
    document = make_sweep(records).document()
    figures = next(each for each in section(document, "denoise").blocks if isinstance(each, Figures))
    worse, best = figures.figures[0].panels[0].series[0].points
    assert len(worse.cells) == 2
    assert (best.low, best.high) == (None, None)
    assert 0.05 < worse.high - worse.low < 1
    assert (
        "backends agree within 0.01 dB; their mean; whisker: 95 % interval of the difference" in figures.figures[0].note
    )


def test_reasons_that_differ_in_numbers_alone_are_one_group(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    records = [
        make_record(
            cell_with(seed=seed),
            "psnr",
            Failed(failure="crashed", error=f"signal 11 at 0x{seed:08x}"),
        )
        for seed in range(500)
    ]
    document = make_sweep(records).document()
    groups = [each for each in section(document, "Skipped and failed").blocks if isinstance(each, Details)]
    assert [(group.title, group.count) for group in groups] == [
        ("crashed: signal … at …", "500 results: psnr in denoise")
    ]


def test_failures_stand_before_what_was_skipped(whole: Any) -> None:
    groups = [each for each in section(whole.document(), "Skipped and failed").blocks if isinstance(each, Details)]
    assert [group.state for group in groups] == ["failed", "skipped", "skipped"]
    assert groups[0].title == "out of memory: MemoryError: 4.1 GiB"


def test_a_store_that_is_half_full_reports_what_is_there_and_counts_the_rest(whole: Any) -> None:
    half = replace(whole, records=dict(list(whole.records.items())[::2]))
    document = half.document()
    missing = next(badge for badge in document.badges if badge.state == "missing")
    assert missing.text == f"{len(whole.records) - len(half.records):,} not run yet"
    assert column(main_table(document), "cell")


def test_a_plan_without_records_says_that_nothing_was_run(whole: Any) -> None:
    empty = replace(whole, records={})
    assert "No cell of this plan has been run yet" in words(empty.document())
    assert "<h1>" in empty.html()


def test_a_plan_without_cells_says_so(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep([])
    assert "holds no cells" in words(sweep.document())
    assert "<h1>" in sweep.html()


def test_one_record_makes_a_report(make_record: Callable[..., Any], make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep([make_record(CELL, "latency", measured("latency", "ms", 3.0))])
    assert "3.00" in sweep.html()


def test_records_of_other_plans_are_left_out(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any], small: Any
) -> None:
    sweep = make_sweep([make_record(CELL, "latency", measured("latency", "ms", 3.0))])
    assert replace(sweep, records={**small.records, **sweep.records}).html() == sweep.html()


def test_a_metric_that_the_page_has_never_heard_of_gets_its_columns(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    sweep = make_sweep([make_record(CELL, "lpips", measured("lpips", "1", 0.25, 0.75))])
    assert [entry.text for entry in column(main_table(sweep.document()), "lpips")] == ["0.500"]


def test_thousands_of_cells_are_folded_along_their_outer_axes(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    records = [
        make_record(
            cell_with(seed=seed, window=window, top_k=top_k, backend=backend),
            "psnr",
            Skipped(reason="no weights") if top_k == 64 else measured("psnr", "dB", 30.0, labels=("a",)),
        )
        for seed in range(10)
        for window in (8, 16, 32)
        for top_k in (8, 16, 32, 64, 128)
        for backend in ("a", "b", "c", "d", "e", "f", "g")
    ]
    document = make_sweep(records).document()
    tables = [each for each in blocks(section(document, "denoise").blocks) if isinstance(each, Table)]
    assert max(sum(len(group.rows) for group in table.groups) for table in tables) <= 60
    cells = [table for table in tables if table.caption.startswith("What each cell")]
    assert sum(len(group.rows) for table in cells for group in table.groups) == len(records)


def test_numbers_of_a_column_have_the_same_decimals(whole: Any) -> None:
    table = main_table(whole.document())
    for i, head in enumerate(table.columns):
        if head.kind == "number":
            texts = [row.entries[i].text for g in table.groups for row in g.rows if row.entries[i].value is not None]
            assert len({len(text.partition(".")[2]) for text in texts}) == 1, head.label


def test_only_the_most_frequent_reasons_are_spelled_out() -> None:
    reasons = {"no weights": 9, "k 128 exceeds 64": 2, "k 256 exceeds 64": 3, "not run yet": 1}
    assert listed(reasons, "cell", 2) == "no weights (9 cells); k … exceeds … (5 cells); and 1 more reason"
    assert listed({"no weights": 9}, "cell") == "no weights"


def test_a_store_of_failures_alone_is_a_page_of_reasons(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    records = [
        make_record(cell_with(backend=backend, top_k=k), metric, Failed(failure="error", error="Traceback\nOh: no"))
        for backend in ("mask", "sdpa")
        for k in (8, 16)
        for metric in ("psnr", "latency", "memory")
    ]
    sweep = make_sweep(records)
    assert [(badge.text, badge.state) for badge in sweep.document().badges] == [("12 failed", "failed")]
    html = sweep.html()
    assert "Oh: no" in html
    assert "plot" not in re.findall(r'class="(\w+)"', html)


@pytest.mark.parametrize("odd", [math.nan, math.inf])
@pytest.mark.parametrize("metric", ["psnr", "latency", "memory"])
def test_numbers_that_are_none_break_no_page(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any], metric: str, odd: float
) -> None:
    names = {"psnr": ("psnr", "dB"), "latency": ("latency", "ms"), "memory": ("memory.peak", "MiB")}
    records = [
        make_record(
            cell_with(backend=backend, top_k=k),
            metric,
            measured(*names[metric], odd if (backend, k) == ("mask", 8) else 20.0 + k, 30.0, labels=("a", "b")),
        )
        for backend in ("mask", "sdpa")
        for k in (8, 16, 32)
    ]
    html = make_sweep(records).html()
    plots = re.findall(r'<svg class="plot".*?</svg>', html, flags=re.S)
    assert plots
    assert "1 without a finite number left out" in html
    assert not [number for plot in plots for number in re.findall(r'="[^"]*\b(?:nan|inf)\b', plot)]
    assert ("undefined" if math.isnan(odd) else "∞") in html


def test_inputs_that_differ_are_told_by_their_range_and_by_what_they_are_judged(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    def both(sigma: int, before: float, **degraded: Any) -> list[Any]:
        cell = cell_with(setting=f"sigma={sigma}")
        found = [Measurement(name="degraded.psnr", unit="dB", samples=(before, before), labels=("a", "b"))]
        return [
            make_record(cell, "degraded", Measured(measurements=tuple(found), **degraded)),
            make_record(cell, "psnr", measured("psnr", "dB", 30.0, 31.0, labels=("a", "b")), protocol="gray-uint8"),
        ]

    def told(*records: Any) -> tuple[str, tuple[str, ...]]:
        document = make_sweep(records).document()
        facts = [each for each in section(document, "denoise").blocks if isinstance(each, Facts)]
        return dict(facts[0].items)["degraded input"], main_table(document).notes

    assert told(*both(15, 24.5)) == ("24.50 dB over 2 images", ())
    otherwise = "the degraded input is judged by gray-crop0-none"
    input_, notes = told(*both(15, 24.5, notes=(otherwise,)), *both(50, 14.1, notes=(otherwise,)))
    assert input_ == "14.10 to 24.50 dB over 2 images"
    assert notes == (f"Gain: {otherwise}, PSNR by gray-uint8.",)


def figures_of(sweep: Any) -> dict[str, Any]:
    found = next(each for each in section(sweep.document(), "denoise").blocks if isinstance(each, Figures))
    return {figure.title: figure for figure in found.figures}


def test_a_cell_that_lacks_a_seed_is_in_no_mean_of_a_figure(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    records = [
        make_record(cell_with(seed=seed, top_k=k), "psnr", measured("psnr", "dB", 30.0 + k + seed, labels=("a",)))
        for seed, k in ((0, 8), (1, 8), (0, 16), (1, 16), (0, 24))
    ]
    figure = figures_of(make_sweep(records))["PSNR against k"]
    (series,) = figure.panels[0].series
    assert [(point.x, len(point.cells)) for point in series.points] == [(8, 2), (16, 2)]
    assert "1 cell without every seed left out" in figure.note


def test_a_mark_of_several_backends_has_the_area_of_what_all_of_them_need(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    def records(backend: str, k: int) -> list[Any]:
        cell = cell_with(backend=backend, top_k=k)
        counts = {"flops.spent": 1e9 * (1 + (backend == "a")), "flops.useful": 1e8 * k}
        found = tuple(Measurement(name=name, unit="FLOP", samples=(count,)) for name, count in counts.items())
        psnr = measured("psnr", "dB", 30.0 + k, labels=("a",))
        return [make_record(cell, "psnr", psnr), make_record(cell, "flops", Measured(measurements=found))]

    figure = figures_of(make_sweep([each for b in "ab" for k in (8, 16) for each in records(b, k)]))["PSNR against k"]
    assert [point.size for point in figure.panels[0].series[0].points] == [0.5, 1.0]
    assert "area of a mark: 0.8 to 1.6 GFLOP that kept pairs need" in figure.note


def test_a_line_of_one_machine_says_whose_it_is(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    places = {name: MACHINE.model_copy(update={"machine_class": name * 16, "cpu": name}) for name in "ab"}
    records = [
        make_record(cell_with(backend=backend, top_k=k), metric, measured(metric, unit, k), environment=places[name])
        for name, backend in (("a", "gather"), ("b", "mask"))
        for k in (8, 16)
        for metric, unit in (("latency", "ms"), ("memory", "MiB"))
    ]
    titles = list(figures_of(make_sweep(records)))
    assert [title.split(", ")[-1] for title in titles] == ["gather) against k", "mask) against k"] * 2


def test_a_time_of_zero_has_no_ratio_and_no_place(timed: Callable[..., Any], make_sweep: Callable[..., Any]) -> None:
    table = main_table(make_sweep([timed("a", 0, 0), timed("b", 6, 6)]).document(baseline="a"))
    assert any("a took no time" in note for note in table.notes)
    assert column(table, "spread")[0].reason == "no time above zero"


def test_operations_are_told_three_ways_where_a_network_ran(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any]
) -> None:
    def counted(backend: str, **counts: float) -> Any:
        found = tuple(Measurement(name=f"flops.{name}", unit="FLOP", samples=(n,)) for name, n in counts.items())
        return make_record(cell_with(backend=backend), "flops", Measured(measurements=found))

    ran = {"spent": 2e9, "useful": 1e9}
    table = main_table(
        make_sweep([counted("a", **ran, dispatcher=2e9), counted("b", **ran, dispatcher=1.5e9)]).document()
    )
    same, less = column(table, "dispatcher")
    assert same.detail == "2,000,000,000 FLOP"
    assert less.detail == "1,500,000,000 FLOP, −25.0 % beside the formula"
    formulas = main_table(make_sweep([counted("a", **ran), counted("b", **ran)]).document())
    assert "dispatcher" not in [each.label for each in formulas.columns]
