"""One attention layer and its dictionary beside a yardstick, for fits over cells of other N and k."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contest.names import unsupported
from harness.metric import Metric, Reading

if TYPE_CHECKING:
    from harness.trial import Trial


def _measure(trial: Trial) -> Reading:
    from harness.contest.growth import contest

    return contest(trial)


METRIC = Metric(
    summary="forward of one attention layer and its dictionary: operations, memory, time beside a yardstick's",
    unit="ms",
    better="lower",
    measure=_measure,
    unsupported=unsupported,
    timed=True,
    side_by_side=True,
)
