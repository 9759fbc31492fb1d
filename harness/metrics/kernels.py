"""Forward and backward of one attention layer, all backends side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contest.names import unsupported
from harness.metric import Metric, Reading

if TYPE_CHECKING:
    from harness.trial import Trial


def _measure(trial: Trial) -> Reading:
    from harness.contest.run import contest

    return contest(trial, "plain")


METRIC = Metric(
    summary="forward and backward of one attention layer, all backends side by side",
    unit="ms",
    better="lower",
    measure=_measure,
    unsupported=unsupported,
    timed=True,
    side_by_side=True,
)
