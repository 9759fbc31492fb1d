from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.record import Cell, Measured, Measurement, Skipped
from harness.weights import cards
from reports.document import Gallery, Table, Text
from reports.pages.shipped import DEFAULT_K, Goal, build, goals, interval, method, protocol_in_words, verdict
from reports.renderers import html, latex, markdown

Make = Callable[..., Any]
NAMES = ("camera", "coffee")


def cell_with(**fields: Any) -> Cell:
    axes = {"model": "semanir/small", "task": "denoise", "dataset": "bundled", "setting": "sigma=25"}
    network = {"backend": "sdpa", "weights": "shipped", "top_k": 16, "window": 8}
    classical = str(fields.get("model", "semanir")).partition("/")[0] != "semanir"
    return Cell.model_validate({**axes, **({} if classical else network), **fields})


def scored(name: str, *samples: float) -> Measured:
    labels = NAMES[: len(samples)]
    return Measured(measurements=(Measurement(name=name, unit="dB", samples=samples, labels=labels),))


@pytest.fixture
def page(make_record: Make, make_sweep: Make) -> Make:
    def of(*answers: tuple[Cell, tuple[float, ...], tuple[float, ...]]) -> Any:
        records = []
        for cell, before, after in answers:
            records += [make_record(cell, "degraded", scored("degraded.psnr", *before))]
            records += [make_record(cell, "psnr", scored("psnr", *after), protocol="rgb-crop10-uint8")]
        sweep = make_sweep(records, name="shipped")
        return build(sweep.records, sweep.plan)

    return of


def table_of(document: Any, section: int) -> Table:
    return next(block for block in document.sections[section].blocks if isinstance(block, Table))


def rows_of(document: Any, section: int) -> list[dict[str, Any]]:
    table = table_of(document, section)
    labels = [column.label for column in table.columns]
    return [dict(zip(labels, row.entries, strict=True)) for group in table.groups for row in group.rows]


def said(document: Any, section: int) -> list[str]:
    return [block.text for block in document.sections[section].blocks if isinstance(block, Text)]


def test_each_photograph_is_compared_with_its_own_best_classical_method(page: Make) -> None:
    document = page(
        (cell_with(), (20.0, 20.0), (30.0, 31.0)),
        (cell_with(model="nonlocal_means"), (20.0, 20.0), (29.0, 28.0)),
        (cell_with(model="total_variation/0.08"), (20.0, 20.0), (28.0, 30.75)),
    )
    camera, coffee = rows_of(document, 1)
    assert (camera["classical method"].text, camera["gain over classical"].text) == ("non-local means", "+1.00")
    assert (coffee["classical method"].text, coffee["gain over classical"].text) == ("total variation 0.08", "+0.25")
    assert coffee["gain over input"].text == "+11.00"
    assert said(document, 1) == [
        "denoise: +0.62 dB in the mean and +0.25 dB or more on each photograph (coffee), over non-local means,"
        " total variation 0.08; to reach: more than 0.5 dB on each, not reached."
    ]
    chosen = "Classical methods to choose from: denoise: non-local means, total variation 0.08."
    assert chosen in table_of(document, 1).notes


def test_the_bare_input_is_no_classical_method(page: Make) -> None:
    own = {"task": "deblur", "setting": "kernel=motion"}
    document = page(
        (cell_with(**own), (20.0, 20.0), (20.5, 20.25)),
        (cell_with(**own, model="identity"), (20.0, 20.0), (20.0, 20.0)),
    )
    for row in rows_of(document, 1):
        assert row["classical method"].text == "no classical method"
        assert row["classical"].value is None
        assert row["gain over classical"].value is None
    assert [row["gain over input"].text for row in rows_of(document, 1)] == ["+0.50", "+0.25"]
    assert "over the input (no classical method); to reach: more than 0 dB on each, reached." in said(document, 1)[0]


def test_a_classical_method_is_compared_with_even_where_the_input_is_better(page: Make) -> None:
    (row,) = rows_of(
        page(
            (cell_with(), (20.0,), (30.0,)),
            (cell_with(model="identity"), (20.0,), (20.0,)),
            (cell_with(model="nonlocal_means"), (20.0,), (19.0,)),
        ),
        1,
    )
    assert (row["classical method"].text, row["gain over classical"].text) == ("non-local means", "+11.00")


def test_a_test_set_has_a_column_for_each_k_and_is_held_to_its_figure(page: Make) -> None:
    own = {"dataset": "Set12", "weights": "denoise-gray-25"}
    asked = goals()["denoise", "Set12"].at_least_db
    document = page(
        (cell_with(**own, top_k=16), (20.0, 21.0), (asked - 1, asked)),
        (cell_with(**own, top_k=32), (20.0, 21.0), (asked, asked + 0.5)),
    )
    (row,) = rows_of(document, 0)
    assert row["k = 16"].text == f"{asked - 0.5:.2f}"
    assert row["k = 32"].value == pytest.approx(asked + 0.25)
    assert row["to reach"].text == f"{asked:.2f}"
    assert row["verdict"].text == "reached at k = 32"
    assert row["images"].text == "2"
    assert row["gain over input, k = 16"].text == f"{asked - 21:+.2f}"
    assert (row["setting"].text, row["protocol"].text) == ("sigma=25", "RGB, 10 px cut")


def test_a_figure_that_no_k_reaches_is_said_to_be_missed(page: Make) -> None:
    own = {"dataset": "Set12", "weights": "denoise-gray-25"}
    (row,) = rows_of(page((cell_with(**own), (20.0,), (25.0,))), 0)
    assert row["verdict"].text == f"missed by {goals()['denoise', 'Set12'].at_least_db - 25:.2f} dB at k = 16"
    assert row["95 % interval"].reason == "one image shows no spread"


@pytest.mark.parametrize(
    ("means", "words"),
    [
        ({8: 30.0, 16: 30.0, 32: 31.0}, "reached"),
        ({8: 30.5, 16: 29.9, 32: 30.0, 64: 31.0}, "reached at k = 32"),
        ({4: 31.0, 8: 30.0, 16: 29.9}, "reached at k = 8"),
        ({8: 29.0, 16: 29.75, 32: 29.95}, "missed by 0.25 dB at k = 16"),
        ({16: 29.999}, "missed by less than 0.01 dB at k = 16"),
        ({8: 29.0, 32: 29.5}, "missed by 0.50 dB at k = 32"),
        ({}, "–"),
    ],
)
def test_the_verdict_is_that_of_the_shipped_k_and_names_any_other(means: dict[int, float], words: str) -> None:
    assert verdict(means, Goal(task="denoise", dataset="Set12", over="", at_least_db=30.0)) == words
    assert verdict(means, None) == "–"


def test_the_shipped_weights_are_judged_at_the_default_k() -> None:
    judged = {name: card.training["validation"] for name, card in cards().items()}
    assert judged
    assert {name: found["top_k"] for name, found in judged.items()} == dict.fromkeys(judged, DEFAULT_K)


def test_a_gain_at_another_k_never_stands_under_the_default(page: Make) -> None:
    own = {"dataset": "Set12", "weights": "denoise-gray-25"}
    (row,) = rows_of(page((cell_with(**own, top_k=32), (20.0, 21.0), (30.0, 31.0))), 0)
    assert row["gain over input, k = 16"].value is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gray-crop0-uint8", "gray"),
        ("y-crop2-uint8", "Y, 2 px cut"),
        ("gray-crop0-none", "gray, neither clipped nor rounded"),
        ("lab-crop0-uint8", "lab-crop0-uint8"),
        ("", ""),
    ],
)
def test_a_protocol_is_said_in_words(name: str, words: str) -> None:
    assert protocol_in_words(name) == words


def test_every_format_says_what_the_numbers_are(page: Make) -> None:
    own = {"dataset": "Set12", "weights": "denoise-gray-25"}
    document = page((cell_with(**own), (20.0, 21.0), (30.0, 31.0)), (cell_with(), (20.0, 20.0), (30.0, 31.0)))
    assert "| PSNR k = 16, dB |" in markdown.render(document)
    assert 'class="named">PSNR</th>' in html.render(document, artifact=lambda name: b"")
    assert r"\multicolumn{3}{c}{PSNR}" in latex.render(document, name="shipped")
    for text in (markdown.render(document), html.render(document, artifact=lambda name: b"")):
        assert "before training" not in text
        assert "reports/goals/shipped.csv" in text


def test_pictures_that_are_not_kept_give_way_to_the_command_that_makes_them(
    make_record: Make, make_sweep: Make, small: Any
) -> None:
    (name, content) = next(iter(small.files.items()))
    kept = {f"{role}:camera": name for role in ("degraded", "restored", "target")}
    sweep = make_sweep([make_record(cell_with(), "psnr", scored("psnr", 30.0), artifacts=kept)], name="shipped")
    for lost in (build(sweep.records, sweep.plan), build(sweep.records, sweep.plan, artifact=lambda name: b"")):
        assert not any(isinstance(block, Gallery) for section in lost.sections for block in section.blocks)
        assert said(lost, 2) == [
            "The pictures of 1 task are not kept beside these records. Made by: semanir-bench run shipped --only"
            " dataset=bundled --out results/shipped. Shown by: semanir-bench report results/shipped."
        ]
    there = build(sweep.records, sweep.plan, artifact=lambda name: content)
    assert [type(block) for block in there.sections[2].blocks] == [Gallery]


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    differences = np.random.default_rng(0).normal(1.0, 0.5, 9)
    theirs = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    np.testing.assert_allclose(interval(list(differences)), theirs, rtol=1e-12)


def test_weights_that_are_not_there_leave_their_reason(make_record: Make, make_sweep: Make) -> None:
    cells = (cell_with(), cell_with(dataset="Set12", weights="denoise-gray-25"))
    sweep = make_sweep([make_record(cell, "psnr", Skipped(reason="no weights")) for cell in cells], name="shipped")
    document = build(sweep.records, sweep.plan)
    assert said(document, 1) == ["denoise: no number (no weights)."]
    assert "no weights" in said(document, 0)[-1]
    for text in (html.render(document, artifact=lambda name: b""), markdown.render(document)):
        assert "no weights" in text


def test_the_input_of_a_demosaicking_network_is_called_by_who_made_it() -> None:
    own = {"model": "identity", "task": "demosaic"}
    assert method(cell_with(**own, setting="pattern=rggb")) == "Malvar"
    assert method(cell_with(**own, setting="pattern=rggb,interpolation=none")) == "no classical method"
