from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.record import Cell, Measured, Measurement, Skipped
from reports.document import Figures, Table, Text
from reports.pages.flops import build

Make = Callable[..., Any]


def cell_with(**fields: Any) -> Cell:
    axes = {"model": "semanir/S", "task": "sr", "dataset": "bundled", "setting": "scale=4", "backend": "gather"}
    return Cell.model_validate({**axes, "window": 8, "top_k": 64, **fields})


def counts(**parts: int) -> Measured:
    return Measured(
        measurements=tuple(
            Measurement(name=f"flops.{name}", unit="FLOP", samples=(float(count),)) for name, count in parts.items()
        )
    )


FEW = counts(spent=400, useful=400, dense=800, attention=100, convolutions=200, mlp=100, dictionary=0, dispatcher=300)
MANY = counts(spent=800, useful=400, dense=800, attention=400, convolutions=200, mlp=100, dictionary=100)


@pytest.fixture
def page(make_record: Make, make_sweep: Make) -> Make:
    def of(*answers: tuple[Cell, Any]) -> Any:
        sweep = make_sweep([make_record(cell, "flops", outcome) for cell, outcome in answers], name="flops")
        return build(sweep.records, sweep.plan)

    return of


def table_of(document: Any, number: int = 0) -> Table:
    return next(block for block in document.sections[number].blocks if isinstance(block, Table))


def row_of(table: Table, number: int = 0) -> dict[str, Any]:
    rows = [row for group in table.groups for row in group.rows]
    return dict(zip((column.label for column in table.columns), rows[number].entries, strict=True))


def test_a_row_holds_the_share_of_each_part_and_they_add_up(page: Make) -> None:
    row = row_of(table_of(page((cell_with(), FEW))))
    shares = {name: row[name].text for name in ("attention", "dictionary", "MLPs", "convolutions")}
    assert shares == {"attention": "25.0", "dictionary": "0.0", "MLPs": "25.0", "convolutions": "50.0"}
    assert row["attention"].detail == "100 FLOP"


def test_a_dispatcher_that_disagrees_is_shown_in_its_row(page: Make) -> None:
    row = row_of(table_of(page((cell_with(), FEW))))
    assert row["dispatcher against spent"].text == "−25.0"
    assert row["dispatcher against spent"].detail == "300 FLOP by the dispatcher, 400 by formula"


def test_a_network_that_was_not_run_has_no_count_of_the_dispatcher(page: Make) -> None:
    table = table_of(page((cell_with(), FEW), (cell_with(backend="triton"), MANY)))
    row = row_of(table, 1)
    assert row["dispatcher"].reason == "not run"
    assert row["dispatcher"].value is None
    assert "dispatcher" not in row_of(table_of(page((cell_with(), MANY))))


def test_a_part_that_the_page_does_not_know_is_shown_under_its_own_name(page: Make) -> None:
    table = table_of(page((cell_with(), counts(spent=10, useful=10, dense=10, attention=4, routing=6))))
    assert row_of(table)["routing"].text == "60.0"


def test_networks_have_sections_and_backends_groups_in_the_order_of_window_and_k(page: Make) -> None:
    answers = [
        (cell_with(model=model, backend=backend, window=window, top_k=k), FEW)
        for model in ("semanir/S", "semanir/small")
        for k, window in ((256, 16), (64, 16), (64, 8))
        for backend in ("gather", "mask")
    ]
    document = page(*answers)
    assert [each.title for each in document.sections] == ["model semanir/S", "model semanir/small", "Measure again"]
    table = table_of(document)
    assert [group.title for group in table.groups] == ["gather", "mask"]
    rows = [(row_of(table, i)["window"].text, row_of(table, i)["k"].text) for i in range(3)]
    assert rows == [("8", "64"), ("16", "64"), ("16", "256")]


def test_backends_that_compute_the_same_share_a_panel(page: Make) -> None:
    answers = [(cell_with(backend=backend), FEW if backend == "gather" else MANY) for backend in ("gather", "a", "b")]
    blocks = page(*answers).sections[0].blocks
    [figure] = next(block for block in blocks if isinstance(block, Figures)).figures
    assert figure.kind == "stacked"
    assert [panel.title for panel in figure.panels] == ["gather", "a, b"]
    for panel in figure.panels:
        assert sum(point.y for series in panel.series for point in series.points) == pytest.approx(100)


def test_what_was_not_counted_is_said_with_its_reason(page: Make) -> None:
    refused = Skipped(reason="top_k 128 exceeds the 64 tokens of window 8")
    document = page((cell_with(), FEW), (cell_with(top_k=128), refused))
    said = [block.text for block in document.lead if isinstance(block, Text)]
    assert said[-1] == "Not counted (1 cell): top_k 128 exceeds the 64 tokens of window 8"


def test_a_plan_of_which_nothing_was_counted_says_so(page: Make) -> None:
    document = page((cell_with(), Skipped(reason="not today")))
    assert any("No operations" in block.text for block in document.lead if isinstance(block, Text))
    assert [each.title for each in document.sections] == ["Measure again"]
