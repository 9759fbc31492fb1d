"""Quality against time, and marks whose areas tell a third number."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.record import Cell, Measured, Measurement
from reports.curves import lines
from reports.document import Axis, Figure, Point
from reports.marks import Value
from reports.pareto import against_best, fronts, undominated
from reports.quantities import latency_ms
from reports.renderers import figures, plots
from reports.results import Result

IMAGES = ("a", "b", "c", "d", "e")
MS, DB = Axis(label="latency", unit="ms", log=True), Axis(label="PSNR", unit="dB")
Make = Callable[..., Any]


@pytest.fixture
def result(make_record: Make) -> Callable[..., Result]:
    def make(k: int, gain: float, ms: float, images: tuple[str, ...] = IMAGES, **axes: Any) -> Result:
        named = {"model": "m", "task": "denoise", "dataset": "Set12", "setting": "s", "backend": "mask", "top_k": k}
        cell = Cell.model_validate(named | axes)
        noise = np.random.default_rng(k).normal(0, 0.01, len(images))
        samples = tuple(28.0 + 3 * n + gain + float(noise[n]) for n in range(len(images)))
        found = {
            "psnr": Measurement(name="psnr", unit="dB", samples=samples, labels=images),
            "latency": Measurement(name="latency", unit="ms", samples=(ms, 1.1 * ms, 1.2 * ms)),
            "flops": Measurement(name="flops.spent", unit="FLOP", samples=(1e9 * k,)),
        }
        return Result(
            cell, {name: make_record(cell, name, Measured(measurements=(each,))) for name, each in found.items()}
        )

    return make


def psnr(result: Result) -> Value | str:
    found = result.measurement("psnr")
    if found is None:
        return result.why_not("psnr")
    images = {name: (value,) for name, value in zip(found.labels, found.samples, strict=True)}
    return Value(value=float(np.mean(found.samples)), images=images)


def gflop(result: Result) -> Value | str:
    found = result.measurement("flops")
    return Value(value=found.samples[0] / 1e9) if found else "none"


def drawn(results: list[Result]) -> Figure:
    (found,) = fronts(results, against_best(results, psnr), latency_ms, y=DB, x=MS)
    return found


def test_the_line_joins_what_none_beats_in_both(result: Callable[..., Result]) -> None:
    results = [result(4, 0.0, 1.0), result(8, 0.5, 4.0), result(16, 0.4, 8.0), result(32, 1.0, 16.0)]
    line, *series = drawn(results).panels[0].series
    assert line.line == "alone"
    assert [round(point.x, 1) for point in line.points] == [1.1, 4.4, 17.6]
    assert sum(len(each.points) for each in series) == 4
    assert all(each.line == "none" for each in series)


def test_quality_is_as_sure_as_its_difference_to_the_best_and_time_as_its_quartiles(
    result: Callable[..., Result],
) -> None:
    results = [result(4, 0.0, 1.0), result(8, 0.5, 4.0), result(16, 0.4, 8.0)]
    points = {point.cells[0]: point for series in drawn(results).panels[0].series[1:] for point in series.points}
    lower, best = points[results[0].cell.id], points[results[1].cell.id]
    assert best.low is None
    assert 0 < lower.high - lower.low < 0.1, "images differ by 3 dB, differences by hundredths"
    assert lower.x_low < lower.x < lower.x_high
    *_, row = [
        row for row in csv.DictReader(io.StringIO(plots.as_csv(drawn(results)))) if row["cells"] == lower.cells[0]
    ]
    assert (row["left"], row["right"]) == (repr(lower.x_low), repr(lower.x_high))


def test_few_images_and_others_have_no_whisker(result: Callable[..., Result]) -> None:
    few = [result(4, 0.0, 1.0, images=IMAGES[:4]), result(8, 1.0, 2.0, images=IMAGES[:4])]
    other = [result(4, 0.0, 1.0), result(8, 1.0, 2.0, images=("x", *IMAGES[1:]))]
    for results in (few, other):
        read = against_best(results, psnr)
        assert all(read(each).low is None for each in results)


def test_a_time_that_is_none_has_no_place_on_a_logarithmic_axis(result: Callable[..., Result]) -> None:
    figure = drawn([result(k, k / 10, ms) for k, ms in ((4, 1.0), (8, 2.0), (16, 4.0), (32, 0.0), (64, -1.0))])
    assert sum(len(each.points) for each in figure.panels[0].series if each.line != "alone") == 3
    assert "2 without a finite number left out" in figure.note


def test_no_series_looks_like_the_front(result: Callable[..., Result]) -> None:
    line, *series = drawn([result(k, k / 10, float(k)) for k in range(1, 8)]).panels[0].series
    assert len(series) == 7
    assert line.style not in {each.style for each in series}


def test_a_slower_backend_that_agrees_is_beaten_whatever_its_last_bit_says() -> None:
    points = [Point(x=1.0, y=30.0), Point(x=2.0, y=30.00001), Point(x=3.0, y=30.1), Point(x=4.0, y=30.05)]
    assert [point.x for point in undominated(points)] == [1.0, 3.0]


def test_two_cells_make_no_front(result: Callable[..., Result]) -> None:
    results = [result(4, 0.0, 1.0), result(8, 1.0, 2.0)]
    assert list(fronts(results, psnr, latency_ms, y=DB, x=MS)) == []


def test_of_many_cells_those_are_drawn_that_none_beats(result: Callable[..., Result]) -> None:
    results = [result(k, min(k, 40) / 10, 1.0 + k) for k in range(1, 122)]
    figure = drawn(results)
    line, *series = figure.panels[0].series
    shown = {point.cells for each in series for point in each.points}
    assert shown == {point.cells for point in line.points}
    assert 30 < len(shown) < 50
    assert figure.note.endswith(f"{121 - len(shown)} cells that others beat are in the table alone")
    assert "in the table alone" not in drawn(results[:120]).note
    (alone,) = fronts([*results, result(500, 99.0, 0.1)], psnr, latency_ms, y=DB, x=MS)
    assert [len(each.points) for each in alone.panels[0].series] == [1]
    assert "one beats all others in both" in alone.note


def test_what_is_judged_on_other_images_competes_with_nobody_here(result: Callable[..., Result]) -> None:
    """Less noise is no better network: each setting and each set has a front and a best of its own."""
    easy = [result(k, 9.0 + k / 50, float(k), setting="sigma=15") for k in (4, 8, 16)]
    hard = [result(k, k / 50, float(k), setting="sigma=50") for k in (4, 8, 16)]
    results = [*easy, *hard]
    read = against_best(results, psnr)
    found = list(fronts(results, read, latency_ms, y=DB, x=MS))
    assert [figure.title for figure in found] == [
        "PSNR against latency (sigma=15)",
        "PSNR against latency (sigma=50)",
    ]
    assert [len(figure.panels[0].series[0].points) for figure in found] == [3, 3]
    assert [read(each).low is None for each in results] == [False, False, True] * 2
    many = [result(k, k / 50, float(k), setting=f"sigma={sigma}") for sigma in range(40) for k in (4, 8, 16)]
    *others, last = fronts(many, psnr, latency_ms, y=DB, x=MS)
    assert 10 < len(others) + 1 < 40
    assert last.note.endswith(f"{40 - len(others) - 1} more in the table alone")


def test_places_without_names_get_round_ones_that_cover_all(result: Callable[..., Result]) -> None:
    results = [result(4, 0.0, 1.3), result(8, 0.5, 4.0), result(16, 0.4, 70.0)]
    (_, svg), *_ = figures.draw(drawn(results))
    assert [float(x) for x in re.findall(r'text-anchor="middle">([0-9.]+)</text>', svg)] == [1, 2, 5, 10, 20, 50, 100]
    assert svg.count('class="whisker') == 5
    assert plots.draw(drawn(results), form="svg", venue=plots.VENUES["cvpr"]).startswith(b"<?xml")


def test_the_area_of_a_mark_is_its_number(result: Callable[..., Result]) -> None:
    results = [result(4, 0.0, 1.0), result(8, 0.5, 4.0), result(16, 0.4, 8.0)]
    found = lines(results, psnr, title="PSNR", y=DB, size=(gflop, "GFLOP spent"))
    assert [point.size for point in found.panels[0].series[0].points] == [0.25, 0.5, 1.0]
    assert [row["area"] for row in csv.DictReader(io.StringIO(plots.as_csv(found)))] == ["0.25", "0.5", "1.0"]
    assert "area of a mark: 4 to 16 GFLOP spent" in found.note
    (_, svg), *_ = figures.draw(found)
    radii = [float(r) for r in re.findall(r'class="mark disc s\d" [^>]*r="([0-9.]+)"', svg)]
    assert radii == pytest.approx([4.0, 5.7, 8.0], abs=0.06)


def test_marks_are_the_usual_where_a_number_is_missing_or_all_are_one(result: Callable[..., Result]) -> None:
    results = [result(4, 0.0, 1.0), result(8, 0.5, 4.0)]
    for read in (lambda each: "none", lambda each: Value(value=2.0)):
        found = lines(results, psnr, title="PSNR", y=DB, size=(read, "GFLOP"))
        assert all(point.size is None for point in found.panels[0].series[0].points)
        assert "area" not in found.note
