"""The PSNR of restorations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from harness.metrics.psnr import METRIC
from harness.trial import Trial

TrialOf = Callable[..., Trial]


def test_every_image_has_its_own_value_under_its_name(trial_of: TrialOf) -> None:
    trial = trial_of("jpeg", "quality=20", restore=lambda pair: pair.degraded)
    (measurement,) = METRIC.measure(trial).measurements
    assert (measurement.name, measurement.unit) == ("psnr", "dB")
    assert measurement.labels == ("chelsea", "motorcycle_left")
    for value, pair in zip(measurement.samples, trial.pairs, strict=True):
        as_8_bit = [np.round(255 * image).astype(np.uint8) for image in (pair.target, pair.degraded)]
        assert value == pytest.approx(peak_signal_noise_ratio(*as_8_bit))


def test_a_restoration_beyond_the_range_is_judged_clipped(trial_of: TrialOf) -> None:
    plain = METRIC.measure(trial_of("jpeg", restore=lambda pair: pair.target.clip(0.1, 1.0)))
    beyond = METRIC.measure(
        trial_of("jpeg", restore=lambda pair: np.where(pair.target == 1.0, 9.0, pair.target.clip(0.1, 1.0)))
    )
    assert plain.measurements == beyond.measurements


def test_a_perfect_restoration_gets_the_cap_and_a_note(trial_of: TrialOf) -> None:
    reading = METRIC.measure(trial_of("denoise", restore=lambda pair: pair.target))
    assert reading.measurements[0].samples == (100.0, 100.0)
    assert reading.notes == ("equal to its target, PSNR capped at 100 dB: chelsea, motorcycle_left",)


def test_without_weights_there_is_a_reason_before_anything_runs(trial_of: TrialOf) -> None:
    assert METRIC.unsupported(trial_of("weather").cell) == "no weights"
