"""The SSIM of restorations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from harness import fidelity
from harness.metrics.ssim import METRIC
from harness.trial import Trial

TrialOf = Callable[..., Trial]


def test_every_image_has_its_own_value_under_its_name(trial_of: TrialOf) -> None:
    (measurement,) = METRIC.measure(trial_of("jpeg", restore=lambda pair: pair.degraded)).measurements
    assert measurement.labels == ("chelsea", "motorcycle_left")
    assert all(0.3 < value < 1.0 for value in measurement.samples)


def test_it_equals_a_loop_over_all_whole_windows(trial_of: TrialOf) -> None:
    trial = trial_of("jpeg", "quality=20,color=rgb", restore=lambda pair: pair.degraded, image_size=24)
    (measurement,) = METRIC.measure(trial).measurements
    for value, pair in zip(measurement.samples, trial.pairs, strict=True):
        image, target = (np.round(255.0 * x.astype(np.float64)) for x in (pair.degraded, pair.target))
        assert value == pytest.approx(by_definition(image, target), abs=1e-9)


def test_an_image_smaller_than_the_window_is_refused_with_its_size() -> None:
    small = np.zeros((10, 40, 1))
    with pytest.raises(ValueError, match="needs 11x11 pixels; the protocol leaves 10x40"):
        fidelity.ssim(small, small)


def test_without_weights_there_is_a_reason_before_anything_runs(trial_of: TrialOf) -> None:
    assert METRIC.unsupported(trial_of("weather").cell) == "no weights"


def by_definition(image: np.ndarray, target: np.ndarray) -> float:
    """Wang et al. 2004, equation 13, at every position of an 11x11 Gaussian window that lies in the image."""
    bell = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(bell, bell) / bell.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for channel in range(image.shape[-1]):
        for top in range(image.shape[0] - 10):
            for left in range(image.shape[1] - 10):
                x, y = (z[top : top + 11, left : left + 11, channel] for z in (image, target))
                mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
                var_x, var_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
                covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
                values.append(
                    (2 * mean_x * mean_y + c1)
                    * (2 * covariance + c2)
                    / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
                )
    return float(np.mean(values))
