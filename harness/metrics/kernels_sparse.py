"""The same with AST's second branch beside the softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contest.names import unsupported
from harness.metric import Metric, Reading

if TYPE_CHECKING:
    from harness.trial import Trial


def _measure(trial: Trial) -> Reading:
    from harness.contest.run import contest

    return contest(trial, "sparse")


METRIC = Metric(
    summary="the same with AST's second branch beside the softmax",
    unit="ms",
    better="lower",
    measure=_measure,
    unsupported=unsupported,
    timed=True,
    side_by_side=True,
)
