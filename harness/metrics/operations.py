"""Operations of one forward pass by formula alone: of networks and images that would take long to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.metric import Metric, Reading

if TYPE_CHECKING:
    from harness.trial import Trial


def _measure(trial: Trial) -> Reading:
    from harness.operations import count, measurements

    return Reading(measurements=measurements(count(trial)))


METRIC = Metric(
    summary="operations of one forward pass as `flops` counts them by formula; nothing is run",
    unit="FLOP",
    better="lower",
    measure=_measure,
)
