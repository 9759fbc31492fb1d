"""Peak signal-to-noise ratio of the restored images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.metric import Metric, Reading
from harness.record import Measurement
from harness.weights import missing

if TYPE_CHECKING:
    from harness.trial import Trial


def _measure(trial: Trial) -> Reading:
    """Read one value an image, in dB; equal images get the cap, and a note says so."""
    from harness import fidelity

    values = fidelity.restored(trial, fidelity.psnr)
    measurement = Measurement(name="psnr", unit="dB", samples=tuple(values.values()), labels=tuple(values))
    return Reading(measurements=(measurement,), notes=(*fidelity.cap_notes(values), *fidelity.depth_notes(trial)))


METRIC = Metric(
    summary="peak signal-to-noise ratio of the restored images, under the task's protocol",
    unit="dB",
    better="higher",
    measure=_measure,
    unsupported=missing,
    judged=True,
    restores=True,
)
