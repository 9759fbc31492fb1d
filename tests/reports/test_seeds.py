"""Cells that differ in the seed alone are told together: means, deviations, and the best over images and seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.record import Cell, Measured, Measurement
from reports.document import Figures, Table, blocks_of

Make = Callable[..., Any]
IMAGES = tuple("abcdef")


@pytest.fixture
def scored(make_record: Make) -> Callable[..., Any]:
    """Make the PSNR of a cell: images differ by whole dB, a seed shifts all of them by `shift`."""

    def make(k: int, seed: int, gain: float, shift: float = 0.0, images: tuple[str, ...] = IMAGES) -> Any:
        named = {"model": "m", "task": "denoise", "dataset": "Set12", "setting": "sigma=25", "backend": "sdpa"}
        cell = Cell.model_validate(named | {"top_k": k, "seed": seed})
        noise = np.random.default_rng([k, seed]).normal(0, 0.01, len(images))
        samples = tuple(25.0 + n + gain + shift + float(noise[n]) for n in range(len(images)))
        return make_record(
            cell, "psnr", Measured(measurements=(Measurement(name="psnr", unit="dB", samples=samples, labels=images),))
        )

    return make


def tables(sweep: Any) -> dict[str, Table]:
    return {block.caption: block for _, block in blocks_of(sweep.document()) if isinstance(block, Table)}


def column(table: Table, label: str) -> list[Any]:
    at = next(i for i, each in enumerate(table.columns) if each.label == label)
    return [row.entries[at] for group in table.groups for row in group.rows]


def test_seeds_become_a_mean_and_a_deviation(scored: Make, make_sweep: Make) -> None:
    shifts = {0: -0.03, 1: 0.0, 2: 0.03}
    sweep = make_sweep([scored(k, seed, k / 8, shift) for k in (8, 16) for seed, shift in shifts.items()])
    found = tables(sweep)
    together, each = found["Means of denoise over 3 seeds"], found["What each cell of denoise measured"]
    assert [entry.text for entry in column(together, "k")] == ["8", "16"]
    singles = np.reshape([entry.value for entry in column(each, "PSNR")], (3, 2))  # the seed is the outer axis
    assert [entry.value for entry in column(together, "PSNR")] == pytest.approx(singles.mean(axis=0))
    assert [entry.value for entry in column(together, "sd")] == pytest.approx(singles.std(axis=0, ddof=1))
    assert {len(entry.text.partition(".")[2]) for entry in column(together, "sd")} == {3}
    assert [entry.best for entry in column(together, "PSNR")] == [False, True]
    ids = {record.cell.id for record in sweep.records.values() if record.cell.top_k == 8}
    for label in ("PSNR", "sd"):
        assert all(cell in column(together, label)[0].detail for cell in ids)


def test_seeds_that_disagree_mark_no_best(scored: Make, make_sweep: Make) -> None:
    sweep = make_sweep([scored(8, seed, 0.0) for seed in (0, 1)] + [scored(16, 0, 0.5), scored(16, 1, -0.4)])
    found = tables(sweep)
    assert [entry.best for entry in column(found["What each cell of denoise measured"], "PSNR")].count(True) == 2
    assert not any(entry.best for entry in column(found["Means of denoise over 2 seeds"], "PSNR"))


def test_what_lacks_a_seed_or_has_other_images_says_so(scored: Make, make_sweep: Make) -> None:
    whole = [scored(8, seed, 0.0) for seed in (0, 1)]
    other = [scored(16, 0, 0.0), scored(16, 1, 0.0, images=tuple("uvwxyz"))]
    together = tables(make_sweep([*whole, *other, scored(24, 0, 0.0)]))["Means of denoise over 2 seeds"]
    reasons = [entry.reason for entry in column(together, "PSNR")]
    assert reasons == ["", "its seeds have other images", "no seed 1 in the plan"]
    assert [entry.reason for entry in column(together, "sd")] == reasons


def test_one_seed_has_no_such_table(scored: Make, make_sweep: Make) -> None:
    found = tables(make_sweep([scored(k, 0, 0.0) for k in (8, 16)]))
    assert not [caption for caption in found if caption.startswith("Means of")]


def test_costs_alone_have_no_such_table(make_record: Make, make_sweep: Make) -> None:
    named = {"model": "m", "task": "denoise", "dataset": "Set12", "setting": "sigma=25", "backend": "sdpa"}
    time = Measured(measurements=(Measurement(name="latency", unit="ms", samples=(1.0, 2.0)),))
    cells = [Cell.model_validate(named | {"seed": seed}) for seed in (0, 1)]
    found = tables(make_sweep([make_record(cell, "latency", time) for cell in cells]))
    assert not [caption for caption in found if caption.startswith("Means of")]


def test_a_front_is_over_seeds_and_not_one_for_each(scored: Make, make_record: Make, make_sweep: Make) -> None:
    records = [scored(k, seed, k / 8, seed / 10) for k in (8, 16, 24) for seed in (0, 1)]
    records += [
        make_record(
            each.cell,
            "latency",
            Measured(measurements=(Measurement(name="latency", unit="ms", samples=(each.cell.top_k,) * 3),)),
        )
        for each in list(records)
    ]
    sweep = make_sweep(records)
    figures = [
        figure for _, block in blocks_of(sweep.document()) if isinstance(block, Figures) for figure in block.figures
    ]
    (front,) = [figure for figure in figures if figure.title.endswith("against latency")]
    assert front.title == "PSNR (mean over 2 seeds) against latency"
    singles = [entry.value for entry in column(tables(sweep)["Means of denoise over 2 seeds"], "PSNR")]
    assert sorted(point.y for each in front.panels[0].series[1:] for point in each.points) == pytest.approx(singles)
