"""A contest from the drawing of the workload to the numbers: who is right is timed, and who is not is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import torch
from torch import Tensor

from harness.catalogs import BACKENDS
from harness.contest import condition, entrants, truth
from harness.contest.clock import Clock, Series, Temperature, Work, clock_of, side_by_side
from harness.contest.entrants import Entrant, OutOfTheContest
from harness.contest.names import FLOOR, QUANTITIES, SIZES, Kind, Name, Quantity, Variant, absence
from harness.contest.workload import Workload, draw
from harness.environment import without_folders
from harness.metric import Reading
from harness.record import Measurement
from harness.trial import Trial
from semanir.attention.problem import Form

UNITS: Mapping[Kind, str] = {
    "hot": "ms",
    "cold": "ms",
    "host": "ms",
    "memory": "MiB",
    "reserved": "MiB",
    "spent": "FLOP",
    "useful": "FLOP",
    "error": "relative error",
    "repeatable": "1",
    "parts": "calls",
}
INTERPRETED = "interpreter: not a speed"


@dataclass
class Findings:
    """What has been found so far."""

    measurements: list[Measurement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    conditions: list[Mapping[str, float]] = field(default_factory=list)

    def add(self, name: Name, samples: Sequence[float], labels: Sequence[str] = ()) -> None:
        """Keep the samples of a contender."""
        unit = UNITS[name.kind]
        self.measurements.append(Measurement(name=str(name), unit=unit, samples=tuple(samples), labels=tuple(labels)))

    def exclude(self, quantity: str, contender: str, reason: str) -> None:
        """Keep why a contender has no times."""
        self.notes.append(absence(quantity, contender, reason))

    def time(
        self,
        quantity: str,
        works: Sequence[Work],
        trial: Trial,
        clock: Clock,
        temperatures: Sequence[Temperature] = get_args(Temperature),
    ) -> None:
        """Time works side by side and keep their samples, each with the block that it was taken in."""
        if not works:
            return
        read = condition.reader(trial.cell.device)
        found, conditions = side_by_side(
            works, trial.timing, clock, seed=trial.cell.seed, condition=read, temperatures=temperatures
        )
        self.conditions += conditions
        for series in found:
            self.add(Name(quantity, series.temperature, series.name), series.times_ms, blocks(series))
            if trial.cell.device == "cuda" and series.temperature == "hot":
                self.add(Name(quantity, "host", series.name), series.host_ms, blocks(series))

    def reading(self, workload: Workload) -> Reading:
        """Return everything, with the sizes of the workload and the condition of the device."""
        windows, heads, tokens, head_dim = workload.shape
        sizes = (windows, heads, tokens, head_dim, workload.kept.top_k)
        counted = [
            Measurement(name=f"workload.{name}", unit="1", samples=(float(size),))
            for name, size in zip(SIZES, sizes, strict=True)
        ]
        read = [state for state in self.conditions if state]
        states = [
            Measurement(name=f"device.{name}", unit=unit, samples=tuple(state[name] for state in read))
            for name, unit in condition.UNITS.items()
            if read
        ]
        return Reading(measurements=(*counted, *self.measurements, *states), notes=tuple(self.notes))


def blocks(series: Series) -> list[str]:
    """Return the labels of a series' samples."""
    return [f"block {number}" for number in series.blocks]


def contest(trial: Trial, variant: Variant) -> Reading:
    """Compare all backends of the catalog on the workload of a cell: agreement first, then memory, then times."""
    workload = draw(trial, variant, _all_forms())
    expected = truth.expected(workload)
    findings, clock = Findings(), clock_of(trial.cell.device)
    if variant == "plain":
        findings.time(FLOOR, [Work("copy", (lambda: _copying(workload),))], trial, clock)
    for quantity in QUANTITIES[variant]:
        timed = list(_admitted(trial, workload, quantity, expected, findings))
        findings.time(quantity.name, [entrant.work() for entrant in timed], trial, clock)
    return findings.reading(workload)


def _all_forms() -> frozenset[Form]:
    asked = (BACKENDS[name].forms(needs_grad=True) for name in BACKENDS)
    return frozenset[Form]({"boolean"}).union(*asked)


def _admitted(
    trial: Trial, workload: Workload, quantity: Quantity, expected: Mapping[str, Tensor], findings: Findings
) -> Iterator[Entrant]:
    """Yield who may be timed; keep the errors of all, and why the others may not."""
    for name in BACKENDS:
        try:
            entrant = tried(name, trial, workload, quantity, expected, findings)
        except OutOfTheContest as reason:
            findings.exclude(quantity.name, name, str(reason))
            continue
        if trial.cell.device == "cuda":
            peak, reserved = entrants.memory_mib(entrant)
            findings.add(Name(quantity.name, "memory", name), [peak])
            findings.add(Name(quantity.name, "reserved", name), [reserved])
        yield entrant


def tried(
    name: str,
    trial: Trial,
    workload: Workload,
    quantity: Quantity,
    expected: Mapping[str, Tensor],
    findings: Findings,
) -> Entrant:
    """Have a backend compute everything twice. Raises `OutOfTheContest` where it cannot, or must not be timed."""
    backend = BACKENDS[name]
    problem = workload.problem(trial, needs_grad=bool(quantity.gradients))
    entrant = entrants.enter(name, backend, quantity, workload, problem, rivals=len(BACKENDS.names()))
    errors, repeatable = _guarded(lambda: entrants.check(entrant, expected))
    findings.add(Name(quantity.name, "error", name), list(errors.values()), list(errors))
    findings.add(Name(quantity.name, "repeatable", name), [float(repeatable)])
    findings.add(Name(quantity.name, "parts", name), [float(len(entrant.parts))])
    if (reason := entrants.objection(errors, trial.cell.dtype)) is not None:
        raise OutOfTheContest(reason)
    if trial.cell.device not in backend.speed_on:
        raise OutOfTheContest(INTERPRETED)
    return entrant


Checked = tuple[dict[str, float], bool]


def _guarded(check: Callable[[], Checked]) -> Checked:
    """Let nobody's failure end the contest of the others."""
    try:
        return check()
    except Exception as error:
        headline = str(error).strip().partition("\n")[0]
        raise OutOfTheContest(f"{type(error).__name__}: {without_folders(headline)}") from error


def _copying(workload: Workload) -> Callable[[], None]:
    """Read and write as many bytes as reading q, k and v and writing the output take."""
    source = torch.empty((2, *workload.shape), dtype=workload.q.dtype, device=workload.q.device).normal_()
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)

    return copy
