"""The quick part of experiments/protocols: printed rows and committed values, on the sets that are here."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from harness import datasets
from harness.catalogs import METRICS
from harness.plan import expand
from harness.record import Cell, Timing
from harness.spec import load
from harness.trial import prepare
from harness.weights import missing
from reports.printed import Printed, published

FOLDER = Path(__file__).parents[2] / "experiments" / "protocols"

QUICK = [
    row
    for row in published()
    if (row.dataset, row.model) in (("Set5", "bicubic"), ("Classic5", "identity"), ("Set12", "identity"))
]
BSD68_PSNR = {"3096": 38.236, "12084": 28.4097, "14037": 33.0307}
"""PSNR in dB of DnCNN-S at sigma 25, seed 0, by image."""


def cell_of(row: Printed) -> Cell:
    return Cell(model=row.model, weights=row.weights, task=row.task, dataset=row.dataset, setting=row.setting)


def values(cell: Cell, measurement: str) -> dict[str, float]:
    """Measure a cell's images, or skip the test where they, or the weights, are not here."""
    reason = datasets.absent(cell.dataset, task=cell.task, pairs=False, images=cell.images) or missing(cell)
    if reason:
        pytest.skip(reason)
    metric = METRICS[measurement.partition(".")[0]]
    found = next(each for each in metric.measure(prepare(cell, Timing())).measurements if each.name == measurement)
    return dict(zip(found.labels, found.samples, strict=True))


def test_every_printed_number_belongs_to_a_cell_of_the_experiment() -> None:
    plan = expand(load(FOLDER / "spec.yaml"))
    asked = {(planned.cell, metric) for planned in plan.cells for metric in planned.metrics}
    asked |= {(skip.cell, skip.metric) for skip in plan.skipped}
    assert [row for row in published() if (cell_of(row), row.metric.partition(".")[0]) not in asked] == []


def test_sets_that_are_not_here_are_skipped_with_the_command_that_gets_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path))
    plan = expand(load(FOLDER / "spec.yaml"))
    assert plan.cells == ()
    assert "LIVE1 is not here: semanir-bench data fetch LIVE1" in {skip.reason for skip in plan.skipped}


@pytest.mark.parametrize("row", QUICK, ids=lambda row: f"{row.dataset}-{row.setting}-{row.metric}")
def test_a_printed_number_is_measured_in_all_its_digits(row: Printed) -> None:
    decimals = len(row.printed.partition(".")[2])
    assert f"{fmean(values(cell_of(row), row.metric).values()):.{decimals}f}" == row.printed


def test_three_images_of_bsd68_keep_their_committed_values() -> None:
    weights = "DnCNN-S/sigma=25.mat"
    cell = Cell(model="dncnn/S", weights=weights, task="denoise", dataset="BSD68", setting="sigma=25", images=3)
    assert values(cell, "psnr") == pytest.approx(BSD68_PSNR, abs=0.002)


def test_the_committed_table_holds_every_printed_number() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for row in published():
        weights = "" if row.weights == "none" else f", {row.weights}"
        start = f"| {row.dataset} | {row.setting} | {row.method} | {row.model}{weights} | {row.printed} |"
        assert start in text.replace("\\", ""), start
