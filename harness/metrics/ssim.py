"""Structural similarity of the restored images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.metric import Metric, Reading
from harness.record import Measurement
from harness.weights import missing

if TYPE_CHECKING:
    from harness.trial import Trial


def _measure(trial: Trial) -> Reading:
    """Read one value an image, at most 1."""
    from harness import fidelity

    values = fidelity.restored(trial, fidelity.ssim)
    measurement = Measurement(name="ssim", unit="1", samples=tuple(values.values()), labels=tuple(values))
    return Reading(measurements=(measurement,), notes=fidelity.depth_notes(trial))


METRIC = Metric(
    summary="structural similarity of the restored images, under the task's protocol",
    unit="1",
    better="higher",
    measure=_measure,
    unsupported=missing,
    judged=True,
    restores=True,
)
