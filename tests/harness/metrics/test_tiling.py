"""The difference that tiles make."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness.catalogs import METRICS
from harness.metrics.tiling import METRIC
from harness.record import Cell, Timing
from harness.trial import Trial

TrialOf = Callable[..., Trial]


def trial_of_model(model: str, **axes: object) -> Trial:
    chosen = {"task": "denoise", "setting": "sigma=25", "images": 2, "image_size": 80} | axes
    return Trial(Cell(model=model, dataset="bundled", **chosen), Timing())


@pytest.mark.parametrize("tile", [None, 32])
def test_a_model_that_changes_nothing_makes_no_difference(tile: int | None) -> None:
    reading = METRIC.measure(trial_of_model("identity", tile=tile))
    assert [each.name for each in reading.measurements] == ["tiling.largest", "tiling.rms"]
    for measurement in reading.measurements:
        assert measurement.labels == ("chelsea", "motorcycle_left")
        assert measurement.samples == (0.0, 0.0)
    assert reading.notes == ()


def test_a_network_that_looks_further_than_the_overlap_differs_a_little() -> None:
    axes = {"backend": "sdpa", "weights": "shipped", "top_k": 16, "window": 8, "images": 1}
    trial = trial_of_model("semanir/small", **axes)
    largest, rms = (measurement.samples[0] for measurement in METRIC.measure(trial).measurements)
    assert 0.0 < rms < largest < 32.0
    tiled = trial_of_model("semanir/small", **axes, tile=64)
    difference = 255.0 * (tiled.restored["chelsea"].astype(np.float64) - trial.restored["chelsea"])
    assert largest == pytest.approx(np.abs(difference).max())
    assert METRIC.measure(tiled).measurements == METRIC.measure(trial).measurements


def test_an_image_that_fits_into_one_tile_is_named() -> None:
    (note,) = METRIC.measure(trial_of_model("identity", tile=96)).notes
    assert note == "fits into one tile of 96 pixels, so there is no difference: chelsea, motorcycle_left"


def test_without_weights_there_is_a_reason_before_anything_runs(trial_of: TrialOf) -> None:
    assert METRIC.unsupported(trial_of("weather").cell) == "no weights"
    assert METRICS["tiling"].restores
