"""The same with a position bias, and what the gradient of its table adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contest.names import unsupported
from harness.metric import Metric, Reading

if TYPE_CHECKING:
    from harness.trial import Trial


def _measure(trial: Trial) -> Reading:
    from harness.contest.run import contest

    return contest(trial, "bias")


METRIC = Metric(
    summary="the same with a position bias, and what the gradient of its table adds",
    unit="ms",
    better="lower",
    measure=_measure,
    unsupported=unsupported,
    timed=True,
    side_by_side=True,
)
