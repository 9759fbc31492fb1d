from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from harness.contest.names import absence
from harness.record import Cell, Measured, Measurement, Skipped
from reports.document import Document, Entry, Figures, Section, Table, Text
from reports.pages.scaling import YARDSTICK_FLOP, build
from reports.renderers import html, markdown
from tests.reports.conftest import MACHINE

WINDOWS = (4, 8, 12, 16, 24, 32)
KEPT = (16, 32, 64, 128, 256)
Make = Callable[..., Any]


def cell(window: int, top_k: int = 16, image_size: int = 192) -> Cell:
    axes = {"model": "semanir/S", "task": "sr", "dataset": "bundled", "setting": "scale=2", "backend": "sdpa"}
    return Cell.model_validate({**axes, "window": window, "top_k": top_k, "image_size": image_size})


def times(name: str, per_yardstick: float) -> tuple[Measurement, ...]:
    """A contender beside a yardstick that a busy machine makes slower from block to block."""
    labels, slow = ("block 0", "block 1", "block 2"), (1.0, 2.0, 5.0)
    quantity = name.partition(".")[0]
    return (
        Measurement(name=name, unit="ms", samples=tuple(per_yardstick * each for each in slow), labels=labels),
        Measurement(name=f"{quantity}.hot.yardstick", unit="ms", samples=slow, labels=labels),
    )


def measured(window: int, top_k: int = 16, tokens: int = 9216) -> Measured:
    """A dense backend, one that copies keys, and one that has no speed here; the dictionary scores all pairs."""
    size = window**2
    sizes = {"windows": tokens // size, "heads": 6, "tokens": size, "head_dim": 32, "top_k": top_k}
    numbers: Mapping[str, tuple[str, float]] = {
        "forward.memory.dense": ("MiB", size * 1e-2),
        "forward.memory.copying": ("MiB", top_k * 1e-1),
        "forward.spent.dense": ("FLOP", 4.0 * tokens * size),
        "forward.useful.dense": ("FLOP", 4.0 * tokens * top_k),
        "forward.spent.copying": ("FLOP", 4.0 * tokens * top_k),
        "forward.useful.copying": ("FLOP", 4.0 * tokens * top_k),
        "forward.spent.absent": ("FLOP", 4.0 * tokens * size),
        "forward.useful.absent": ("FLOP", 4.0 * tokens * top_k),
        "selection.spent.torch": ("FLOP", 2.0 * tokens * size),
    }
    return Measured(
        measurements=(
            *(Measurement(name=f"workload.{name}", unit="1", samples=(float(n),)) for name, n in sizes.items()),
            *(Measurement(name=name, unit=unit, samples=(n,)) for name, (unit, n) in numbers.items()),
            *times("forward.hot.dense", 100 + size),
            times("forward.hot.copying", 5.0 * top_k)[0],
            *times("selection.hot.torch", 3.0 * size),
        ),
        notes=(absence("forward", "absent", "interpreter: not a speed"),),
    )


@pytest.fixture
def page(make_record: Make, make_sweep: Make) -> Make:
    def of(*answers: tuple[Cell, Any]) -> Document:
        sweep = make_sweep([make_record(each, "growth", outcome) for each, outcome in answers], name="scaling")
        return build(sweep.records, sweep.plan, store_name="runs/a")

    return of


@pytest.fixture
def both(page: Make) -> Document:
    """N at k = 16 on 9,216 tokens, and k at N = 1024 on 1,024."""
    along_n = [(cell(window), measured(window)) for window in WINDOWS]
    along_k = [(cell(32, k, 64), measured(32, k, 1024)) for k in KEPT]
    return page(*along_k, *along_n)


def entries(section: Section, kind: str, who: str) -> dict[str, Entry]:
    table = section.blocks[0]
    assert isinstance(table, Table)
    (group,) = (each for each in table.groups if each.title == kind)
    (row,) = (each for each in group.rows if each.entries[0].text == who)
    return dict(zip((column.label for column in table.columns), row.entries, strict=True))


def test_sweeps_are_found_among_the_cells_first_those_over_windows(both: Document) -> None:
    assert [each.title for each in both.sections] == [
        "N grows at k = 16, 9,216 tokens",
        "k grows at N = 1024, 1,024 tokens",
        "Measure again",
    ]


def test_words_are_of_a_window_where_n_grows(both: Document) -> None:
    def of(kind: str, who: str) -> tuple[str, str]:
        row = entries(both.sections[0], kind, who)
        return row["exponent"].text, row["cost of a window"].text

    assert of("operations", "dense") == ("1.00", "quadratic")
    assert of("operations", "kept pairs alone") == of("operations", "copying") == ("0.00", "linear")
    assert of("memory", "dense") == ("1.00", "quadratic")
    assert of("time", "copying") == ("0.00", "linear")
    assert of("time", "dictionary (torch)") == ("1.00", "quadratic")


def test_words_are_of_a_token_where_k_grows(both: Document) -> None:
    def of(kind: str, who: str) -> tuple[str, str]:
        row = entries(both.sections[1], kind, who)
        return row["exponent"].text, row["cost of a token"].text

    assert of("time", "dense") == of("operations", "dense") == ("0.00", "constant")
    assert of("time", "copying") == of("memory", "copying") == ("1.00", "linear")
    assert of("operations", "kept pairs alone") == ("1.00", "linear")


def test_a_machine_that_slows_down_between_blocks_does_not_widen_the_time(both: Document) -> None:
    assert "[" not in entries(both.sections[0], "time", "copying")["exponent"].text


def test_growth_prevails_from_where_both_parts_are_equal(both: Document) -> None:
    along_n, along_k, _ = both.sections
    column = "growth prevails from N"
    assert entries(along_n, "time", "dense")[column].value == pytest.approx(100)
    assert entries(along_n, "time", "dictionary (torch)")[column].text == "below 16"
    assert entries(along_k, "time", "dense")["growth prevails from k"].text in ("beyond 256", "unresolved")


def test_who_was_not_timed_has_operations_and_the_reason_for_the_rest(both: Document) -> None:
    for kind in ("time", "memory"):
        absent = entries(both.sections[0], kind, "absent")
        assert absent["exponent"].reason == absent["cost of a window"].reason == "interpreter: not a speed"
    assert entries(both.sections[0], "operations", "absent")["exponent"].value == pytest.approx(1)
    assert entries(both.sections[0], "memory", "dictionary (torch)")["exponent"].reason == "no number"


def test_a_number_that_a_few_cells_have_gets_no_exponent(page: Make) -> None:
    fewer = measured(4)
    fewer = fewer.model_copy(update={"measurements": [m for m in fewer.measurements if "selection" not in m.name]})
    answers = [(cell(window), measured(window)) for window in WINDOWS[2:]]
    document = page(*answers, (cell(4), fewer))
    row = entries(document.sections[0], "time", "dictionary (torch)")
    assert row["exponent"].reason == "4 points: a fit needs 5"


def test_figures_show_points_in_yardsticks_and_fitted_lines(both: Document) -> None:
    figures = both.sections[0].blocks[1]
    assert isinstance(figures, Figures)
    assert [each.title for each in figures.figures] == [
        "time against N",
        "memory against N",
        "operations against N",
    ]
    series = figures.figures[0].panels[0].series
    assert {each.line for each in series} == {"none", "alone"}
    dots = next(each for each in series if each.label == "dense" and each.line == "none")
    assert dots.points[0].y == pytest.approx(116 * YARDSTICK_FLOP / 9216)
    labels = [each.label for each in figures.figures[2].panels[0].series]
    assert "absent, dense" in labels, "those that cost the same share a line"


def test_too_few_sizes_are_said_and_not_fitted(page: Make) -> None:
    document = page(*((cell(window), measured(window)) for window in WINDOWS[:4]))
    assert [each.title for each in document.sections] == ["Measure again"]
    assert any("No sweep has the 5" in block.text for block in document.lead if isinstance(block, Text))


def test_points_of_two_machines_are_no_sweep(make_record: Make, make_sweep: Make) -> None:
    there = MACHINE.model_copy(update={"machine_class": "f" * 16, "cpu": "Another CPU"})
    machines = (MACHINE, there) * (len(WINDOWS) // 2)
    sweep = make_sweep(
        [
            make_record(cell(window), "growth", measured(window), environment=machine)
            for window, machine in zip(WINDOWS, machines, strict=True)
        ],
        name="scaling",
    )
    assert [each.title for each in build(sweep.records, sweep.plan).sections] == ["Measure again"]


def test_memory_of_nothing_has_no_place_in_a_power_law(page: Make) -> None:
    """Nor have times below the clock's resolution: a cost of 0 has no logarithm."""
    nothing = ("forward.memory.dense", "forward.hot.dense", "selection.hot.torch")
    answers = []
    for window in WINDOWS:
        outcome = measured(window)
        free = tuple(
            each.model_copy(update={"samples": (0.0,) * len(each.samples)}) if each.name in nothing else each
            for each in outcome.measurements
        )
        answers.append((cell(window), outcome.model_copy(update={"measurements": free})))
    document = page(*answers)
    assert html.render(document, artifact=lambda name: b"")


def test_what_was_not_measured_is_said_with_its_reason(page: Make) -> None:
    document = page((cell(4), Skipped(reason="no CUDA device on this machine")))
    said = [block.text for block in document.lead if isinstance(block, Text)]
    assert said[-1] == "Not measured (1 cell): no CUDA device on this machine"


def test_it_renders(both: Document) -> None:
    text = markdown.render(both)
    assert "| copying | 0.00 | linear |" in text
    assert "| absent | interpreter |" in text
    assert "N grows at k = 16" in html.render(both, artifact=lambda name: b"")


def test_an_exponent_leads_to_its_first_cell_and_names_all(both: Document) -> None:
    ids = {cell(window).id for window in WINDOWS}
    table = next(block for block in both.sections[0].blocks if isinstance(block, Table))
    numbers = [
        entry for group in table.groups for row in group.rows for entry in row.entries if entry.value is not None
    ]
    assert numbers
    for entry in numbers:
        assert entry.cell in ids
        assert all(each in entry.detail for each in ids)
