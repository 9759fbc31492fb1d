"""Building the dictionary: each way to select, and what each backend waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contest.names import unsupported
from harness.metric import Metric, Reading

if TYPE_CHECKING:
    from harness.trial import Trial


def _measure(trial: Trial) -> Reading:
    from harness.contest.selection import contest

    return contest(trial)


METRIC = Metric(
    summary="building the dictionary: each way to select the k best, and the packings that each backend reads",
    unit="ms",
    better="lower",
    measure=_measure,
    unsupported=unsupported,
    timed=True,
    side_by_side=True,
)
