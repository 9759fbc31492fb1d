"""The static cost of kernels as cells of the gate: one a target, judged as `semanir-bench static --check` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.gate.document import ExactStatus, ExactVerdict
from harness.static import baseline
from harness.static.comparison import compare
from harness.static.cost import StaticError
from harness.static.measure import measure, triton_version


def verdicts(targets: Sequence[str], *, folder: Path = baseline.FOLDER) -> Iterator[ExactVerdict]:
    """Compile every kernel for each target and compare with a folder of baselines, head's own or base's."""
    for target in targets:
        try:
            expected = baseline.read(triton_version(), target, folder=folder)
            compiled = measure(target)
        except StaticError as error:
            yield _verdict(target, "not_measured", None, None, str(error))
            continue
        worse = [str(difference) for difference in compare(expected, compiled, target) if difference.is_worse]
        yield _verdict(target, "worse" if worse else "same", len(expected), len(compiled), "; ".join(worse))


def not_measured(target: str, reason: str) -> ExactVerdict:
    """Return the verdict of a target whose kernels could not be compiled for it."""
    return _verdict(target, "not_measured", None, None, reason)


def _verdict(target: str, status: ExactStatus, base: int | None, head: int | None, reason: str) -> ExactVerdict:
    return ExactVerdict(
        cell=f"static-{target}",
        quantity="static cost",
        unit="kernels",
        status=status,
        base=base,
        head=head,
        tolerance="no kernel worse: see semanir-bench static",
        reason=reason,
    )
