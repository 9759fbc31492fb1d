from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.record import Cell, Measured, Measurement, Skipped
from reports.document import Table, Text
from reports.pages.shipped import build, goals, interval, method
from reports.renderers import html, markdown

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
            records += [make_record(cell, "psnr", scored("psnr", *after))]
        sweep = make_sweep(records, name="shipped")
        return build(sweep.records, sweep.plan)

    return of


def rows_of(document: Any, section: int) -> list[dict[str, Any]]:
    table = next(block for block in document.sections[section].blocks if isinstance(block, Table))
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
    assert (camera["method"].text, camera["gain"].text) == ("non-local means", "+1.00")
    assert (coffee["method"].text, coffee["gain"].text) == ("total variation 0.08", "+0.25")
    assert said(document, 1) == [
        "denoise: +0.62 dB in the mean and +0.25 dB or more on each photograph (coffee), over non-local means,"
        " total variation 0.08; asked: more than 0.5 dB on each, not reached."
    ]


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
    assert row["asked"].text == f"{asked:.2f} reached"
    assert row["images"].text == "2"
    assert row["gain"].text == f"{asked - 21:+.2f}"


def test_a_figure_that_no_k_reaches_is_said_to_be_missed(page: Make) -> None:
    own = {"dataset": "Set12", "weights": "denoise-gray-25"}
    (row,) = rows_of(page((cell_with(**own), (20.0,), (25.0,))), 0)
    assert row["asked"].text.endswith("not reached")
    assert row["95 % interval"].reason == "one image shows no spread"


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
    assert method(cell_with(**own, setting="pattern=rggb,interpolation=none")) == "the input"
