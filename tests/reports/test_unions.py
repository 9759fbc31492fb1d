from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from harness.record import Cell, Measured, Measurement, Skipped
from harness.unions.names import ACCESSES, LOCAL, RANDOM, TOKENS, Name, tiles_of
from reports.document import Figures, Table, Text
from reports.pages.unions import build
from reports.renderers.html import render
from reports.renderers.markdown import render as markdown

Make = Callable[..., Any]
IMAGES = ("camera", "coins")
ALONE = {"1": 0.5, "2-shifted": 0.8}


def cell_with(**fields: Any) -> Cell:
    axes = {"model": "semanir/small", "task": "denoise", "dataset": "bundled", "setting": "sigma=25"}
    chosen = {**axes, "backend": "sdpa", "weights": "shipped", "window": 16, "top_k": 16, **fields}
    return Cell.model_validate(chosen)


def shares(alone: Mapping[str, float] = ALONE, *, tokens: int = 256) -> Measured:
    """Make shares that are those of a list of single keys in tiles of 64 in rows, and larger in whatever differs."""

    def of(name: Name, base: float) -> float:
        grown = base * (name.queries / 64) ** 0.25 * (0.9 if name.order == "patches" else 1)
        grown += 0.3 if name.access == "blocks" else 0.001 * name.keys
        return min(1.0, grown + {"mean": 0.0, "q10": -0.1, "q90": 0.1}[name.statistic])

    measurements = [Measurement(name=TOKENS, unit="tokens", samples=(float(tokens),))]
    for source, base in {**alone, LOCAL: 0.3, RANDOM: 0.9}.items():
        learned = source in alone
        for order in ("rows", "patches"):
            for queries in tiles_of(tokens):
                for access, keys in ACCESSES:
                    if source == RANDOM and access == "list" and keys > 1:
                        continue
                    for statistic in ("mean", "q10", "q90") if learned else ("mean",):
                        name = Name(source, order, queries, access, keys, statistic)
                        share = of(name, base)
                        samples, labels = ((share - 0.01, share + 0.01), IMAGES) if learned else ((share,), ())
                        measurements.append(Measurement(name=str(name), unit="1", samples=samples, labels=labels))
    return Measured(measurements=tuple(measurements))


def restored(psnr: float) -> Measured:
    return Measured(measurements=(Measurement(name="psnr", unit="dB", samples=(psnr, psnr), labels=IMAGES),))


@pytest.fixture
def page(make_record: Make, make_sweep: Make) -> Make:
    def of(*answers: tuple[Cell, Any, Any]) -> Any:
        records = [
            make_record(cell, metric, outcome)
            for cell, *outcomes in answers
            for metric, outcome in zip(("unions", "psnr"), outcomes, strict=True)
            if outcome is not None
        ]
        sweep = make_sweep(records, name="unions")
        return build(sweep.records, sweep.plan)

    return of


def tables_of(document: Any, number: int = 0) -> list[Table]:
    return [block for block in document.sections[number].blocks if isinstance(block, Table)]


def rows_of(table: Table) -> list[dict[str, Any]]:
    heads = [f"{column.family} {column.label}".strip() for column in table.columns]
    return [dict(zip(heads, row.entries, strict=True)) for group in table.groups for row in group.rows]


def words_of(document: Any, number: int = 0) -> list[str]:
    return [block.text for block in document.sections[number].blocks if isinstance(block, Text)]


def test_the_decision_counts_dictionaries_below_the_limit_for_every_tile(page: Make) -> None:
    decisions, _, _ = tables_of(page((cell_with(), shares(), restored(30.0))))
    rows = {row["tile"].text: row for row in rows_of(decisions)}
    assert list(rows) == ["16 in rows", "4 x 4", "64 in rows", "8 x 8", "128 in rows", "8 x 16"]
    row = rows["64 in rows"]
    assert row["list in steps of 1 key"].text == "0.65 (1 of 2)"
    assert row["list in steps of 1 key"].detail == "0.501, 0.801"
    assert row["list in steps of 128 keys"].text == "0.78 (1 of 2)"
    assert row["blocks of 32 keys"].text == "0.90 (0 of 2)"
    assert row["saves at most"].text == "35"
    assert (row["PSNR"].text, row["useful"].text) == ("30.00", "yes")


def test_a_window_of_a_single_tile_has_no_other_shapes_of_it(page: Make) -> None:
    decisions, _, shapes = tables_of(page((cell_with(window=8, top_k=8), shares(tokens=64), restored(30.0))))
    assert [row["tile"].text for row in rows_of(decisions)] == ["16 in rows", "4 x 4", "64 in rows"]
    (row,) = rows_of(shapes)
    assert row["lists, tile of 128 in rows"].value is None
    assert row["lists, tile of 128 in rows"].reason
    assert row["lists, tile of the whole window"].text == row["lists, tile of 64 in rows"].text


def test_a_k_that_restores_much_worse_is_not_useful(page: Make) -> None:
    document = page(
        (cell_with(top_k=16), shares(), restored(29.85)),
        (cell_with(top_k=32), shares(), restored(29.95)),
        (cell_with(top_k=256), Skipped(reason="every key is kept, so every union is whole"), restored(30.0)),
        (cell_with(top_k=16, window=32), shares(tokens=1024), restored(20.0)),
    )
    found = [(row["window"].text, row["k"].text, row["useful"].text) for row in rows_of(tables_of(document)[0])]
    assert set(found) == {("16", "16", "no"), ("16", "32", "yes"), ("32", "16", "yes")}
    assert words_of(document)[0].startswith("Windows of 256 tokens, useful k 32, below 0.75.")


def test_the_verdict_names_k_and_way_and_what_could_be_saved(page: Make) -> None:
    answers = [
        (16, {"1": 0.3, "2-shifted": 0.5}),
        (64, {"1": 0.6, "2-shifted": 0.8}),
        (128, {"1": 0.9, "2-shifted": 0.9}),
    ]
    document = page(*((cell_with(top_k=k), shares(alone), restored(30.0)) for k, alone in answers))
    (verdict,) = words_of(document)
    assert (
        "Tiles of 64 in rows: lists of single keys at k = 16 (2 of 2 dictionaries, saves at most 60 %), k = 64 (1 of 2"
        " dictionaries, saves at most 30 %); lists in steps of 32 at k = 16 (2 of 2 dictionaries, saves at most 57 %),"
        " k = 64 (1 of 2 dictionaries, saves at most 27 %); lists in steps of 128 at k = 16 (2 of 2 dictionaries, saves"
        " at most 47 %); blocks of 32 at k = 16 (1 of 2 dictionaries, saves at most 30 %)." in verdict
    )


def test_a_window_without_a_useful_k_says_so(page: Make) -> None:
    whole = Skipped(reason="every key is kept, so every union is whole")
    document = page((cell_with(), shares(), restored(29.0)), (cell_with(top_k=256), whole, restored(30.0)))
    assert words_of(document) == ["Windows of 16: no measured k is useful."]


def test_where_nothing_was_restored_every_k_counts(page: Make) -> None:
    document = page((cell_with(), shares(), None))
    assert words_of(document)[0].startswith("Windows of 256 tokens, useful k 16, below 0.75.")
    (row, *_) = rows_of(tables_of(document)[0])
    assert (row["useful"].text, row["useful"].reason) == ("not restored", "not asked for")


def test_dictionaries_stand_beside_random_and_nearest_keys(page: Make) -> None:
    _, stages, _ = tables_of(page((cell_with(), shares(), restored(30.0))))
    rows = rows_of(stages)
    assert [row["dictionary"].text for row in rows] == ["1", "2, shifted", "random keys", "nearest keys"]
    first, random = rows[0], rows[2]
    assert [first[f"list in steps of 1 {each}"].text for each in ("mean", "10 %", "90 %")] == ["0.50", "0.40", "0.60"]
    assert random["list in steps of 1 mean"].text == "0.90"
    assert random["list in steps of 32 keys"].value is None


def test_curves_have_a_panel_for_each_window_and_the_limit_in_all(page: Make) -> None:
    answers = [(cell_with(window=w, top_k=k), shares(tokens=w * w), restored(30.0)) for w in (8, 16) for k in (8, 16)]
    document = page(*answers)
    [figure] = next(block for block in document.sections[0].blocks if isinstance(block, Figures)).figures
    assert [panel.title for panel in figure.panels] == ["window 8", "window 16"]
    for panel in figure.panels:
        limit = panel.series[-1]
        assert (limit.line, {point.y for point in limit.points}) == ("alone", {0.75})
    assert "tile of 8 x 8" not in {series.label for series in figure.panels[0].series}
    assert "tile of 8 x 8" in {series.label for series in figure.panels[1].series}


def test_networks_have_sections_of_their_own_and_skipped_ones_a_reason(page: Make) -> None:
    none = Skipped(reason="no weights")
    document = page(
        (cell_with(), shares(), restored(30.0)),
        (cell_with(task="sr", setting="scale=2"), shares(), restored(30.0)),
        (cell_with(task="jpeg", setting="quality=10"), none, none),
    )
    titles = [section.title for section in document.sections]
    assert len(titles) == 3
    assert titles[0].startswith("denoise")
    assert titles[1].startswith("sr")
    assert titles[-1] == "Measure again"
    said = [block.text for block in document.lead if isinstance(block, Text)]
    assert said[-1] == "Not measured (1 cell): no weights"


def test_a_plan_without_unions_says_so_and_the_page_can_be_written(page: Make) -> None:
    document = page((cell_with(), Skipped(reason="no weights"), Skipped(reason="no weights")))
    assert any("No unions" in block.text for block in document.lead if isinstance(block, Text))
    assert "No unions" in render(document, artifact=lambda name: b"")
    written = page((cell_with(), shares(), restored(30.0)))
    assert "64 in rows" in render(written, artifact=lambda name: b"")
    assert "0.65 (1 of 2)" in markdown(written)
