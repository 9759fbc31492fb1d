"""Operations of one forward pass three ways: by formula (spent, useful, dense) and by torch's dispatcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.metric import Metric, Reading

if TYPE_CHECKING:
    from harness.trial import Trial


def _measure(trial: Trial) -> Reading:
    from harness.operations import count, measurements

    counts = count(trial)
    notes: tuple[str, ...] = ()
    if trial.backend is None or trial.cell.device in trial.backend.speed_on:
        counts["dispatcher"], spent = _dispatched(trial), counts["spent"]
        if counts["dispatcher"] != spent:
            counted = counts["dispatcher"]
            notes = (f"torch's dispatcher counts {counted:,}, the formula {spent:,}: fused attention may count 0",)
    return Reading(measurements=measurements(counts), notes=notes)


def _dispatched(trial: Trial) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        trial.run()
    return int(counter.get_total_flops())


METRIC = Metric(
    summary="operations of one forward pass (a multiply-add is two): spent, useful and dense by formula, and counted",
    unit="FLOP",
    better="lower",
    measure=_measure,
    whole=True,
)
