"""The pictures that a report shows."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from harness.metrics.pictures import METRIC
from harness.trial import Trial

TrialOf = Callable[..., Trial]


def decoded(content: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(content))
    assert picture.format == "PNG"
    return np.asarray(picture)


@pytest.mark.parametrize("task", ["jpeg", "denoise", "demosaic", "sr", "deblur", "weather"])
def test_without_weights_degraded_and_target_are_kept_at_one_size(trial_of: TrialOf, task: str) -> None:
    trial = trial_of(task)
    reading = METRIC.measure(trial)
    assert set(reading.artifacts) == {f"{role}:{p.name}" for role in ("degraded", "target") for p in trial.pairs}
    (count,) = reading.measurements
    assert (count.unit, count.samples) == ("pictures", (4.0,))
    for pair in trial.pairs:
        target = decoded(reading.artifacts[f"target:{pair.name}"])
        assert np.array_equal(target, np.round(255 * pair.target).squeeze())
        assert decoded(reading.artifacts[f"degraded:{pair.name}"]).shape == target.shape


def test_with_weights_the_restoration_is_kept_clipped(trial_of: TrialOf) -> None:
    reading = METRIC.measure(trial_of("denoise", restore=lambda pair: 3.0 * pair.target - 1.0))
    picture = decoded(reading.artifacts["restored:chelsea"])
    assert picture.dtype == np.uint8
    assert {picture.min(), picture.max()} == {0, 255}
    assert reading.measurements[0].samples == (6.0,)


def test_a_reduced_input_is_shown_in_blocks(trial_of: TrialOf) -> None:
    trial = trial_of("sr", "scale=4")
    shown = decoded(METRIC.measure(trial).artifacts["degraded:chelsea"])
    small = np.round(255 * trial.pairs[0].degraded).astype(np.uint8)
    assert np.array_equal(shown, np.kron(small, np.ones((4, 4, 1), np.uint8)))
