"""What one attention layer and its dictionary take beside a yardstick, so that cells of other sizes can be compared."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from harness.catalogs import BACKENDS
from harness.contest import truth
from harness.contest.clock import Call, Clock, CudaClock, HostClock, Work
from harness.contest.entrants import OutOfTheContest
from harness.contest.footprint import peak_mib
from harness.contest.names import YARDSTICK, YARDSTICK_SIDE, Name, Quantity
from harness.contest.run import INTERPRETED, Findings, tried
from harness.contest.selection import WAYS, builder, selectors
from harness.contest.workload import Workload, draw, stage_input
from harness.metric import Reading
from harness.trial import Trial
from semanir.attention.problem import Form

FORWARD = Quantity("forward")
SELECTION = Quantity("selection")
NOTHING_TO_CHOOSE = "every key is kept: nothing to choose"


class ProcessorClock(HostClock):
    """Processor time of this process: what neighbours take of a shared machine is not in it."""

    def time(self, call: Call, repeats: int, before: Call) -> tuple[float, float]:
        """Follow `Clock`."""
        before()
        start = time.process_time()
        for _ in range(repeats):
            call()
        elapsed = (time.process_time() - start) * 1e3
        return elapsed, elapsed


def contest(trial: Trial) -> Reading:
    """Measure forward and dictionary of whoever has a speed on the cell's device: operations, memory, time.

    Times are taken with warm caches, on a CPU of the processor alone. Each block has the yardstick's beside them:
    quotients with it outlive a machine that is faster or slower by the time of the next cell.
    """
    timed = (BACKENDS[name] for name in BACKENDS if trial.cell.device in BACKENDS[name].speed_on)
    forms = (backend.forms(needs_grad=False) for backend in timed)
    workload = draw(trial, "plain", frozenset[Form]({"boolean"}).union(*forms))
    findings, clock = Findings(), CudaClock() if trial.cell.device == "cuda" else ProcessorClock()
    _count(trial, workload, findings)
    _take(FORWARD, list(_attending(trial, workload, findings)), trial, findings, clock)
    _take(SELECTION, list(_selecting(trial, workload, findings)), trial, findings, clock)
    return findings.reading(workload)


def _count(trial: Trial, workload: Workload, findings: Findings) -> None:
    """Keep the operations by formula, also of who is not timed here; comparisons of a selection are none."""
    problem = workload.problem(trial, needs_grad=False)
    for name in BACKENDS:
        if BACKENDS[name].unsupported(problem) is None:
            flops = BACKENDS[name].flops(problem)
            findings.add(Name(FORWARD.name, "spent", name), [float(flops.spent)])
            findings.add(Name(FORWARD.name, "useful", name), [float(flops.useful)])
    windows, tokens, channels = stage_input(trial).shape
    for name in WAYS if workload.kept.top_k < tokens else ():
        findings.add(Name(SELECTION.name, "spent", name), [2.0 * windows * tokens**2 * channels])


def _attending(trial: Trial, workload: Workload, findings: Findings) -> Iterator[Work]:
    """Yield who computes the definition, of those whose time says something on this device."""
    expected = {"out": _expected(workload)}
    for name in BACKENDS:
        if trial.cell.device not in BACKENDS[name].speed_on:
            findings.exclude(FORWARD.name, name, INTERPRETED)
            continue
        try:
            yield tried(name, trial, workload, FORWARD, expected, findings).work()
        except OutOfTheContest as reason:
            findings.exclude(FORWARD.name, name, str(reason))


def _expected(workload: Workload) -> Tensor:
    """Compute the output in float64, as many windows at a time as `truth.ELEMENTS` allows."""
    _, heads, tokens, _ = workload.shape
    parts = workload.parts(max(1, truth.ELEMENTS // (heads * tokens**2)))
    return torch.cat([truth.attend(each, each.q.double(), each.k.double(), each.v.double(), None) for each in parts])


def _selecting(trial: Trial, workload: Workload, findings: Findings) -> Iterator[Work]:
    """Yield who finds the k best, of those whose time says something on this device."""
    if workload.kept.top_k == workload.kept.tokens:
        for name in WAYS:
            findings.exclude(SELECTION.name, name, NOTHING_TO_CHOOSE)
        return
    build = builder(trial)
    for name, way in WAYS.items():
        if trial.cell.device in way.speed_on:
            yield from selectors([name], trial, build, workload, findings)
        else:
            findings.exclude(SELECTION.name, name, INTERPRETED)


def _take(quantity: Quantity, works: Sequence[Work], trial: Trial, findings: Findings, clock: Clock) -> None:
    """Measure the memory of each, in parts of the windows where it needs them, and then time all side by side."""
    for work in works:
        peak = peak_mib(work.parts[0](), trial.cell.device)
        findings.add(Name(quantity.name, "memory", work.name), [peak])
    if works:
        yardstick = Work(YARDSTICK, (lambda: _yardstick(trial),))
        findings.time(quantity.name, [*works, yardstick], trial, clock, temperatures=("hot",))


def _yardstick(trial: Trial) -> Call:
    dtype = getattr(torch, trial.cell.dtype)
    one, other = (torch.randn(YARDSTICK_SIDE, YARDSTICK_SIDE, device=trial.cell.device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(one)
    return lambda: torch.mm(one, other, out=product)
