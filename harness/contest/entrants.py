"""Those who take part: how much of the workload they do at a time, whether they are right, what memory they take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch._functorch import config as functorch_config

from harness.agreement import TOLERANCE
from harness.contest import truth
from harness.contest.clock import Call, Work
from harness.contest.names import Quantity
from harness.contest.workload import Workload
from semanir.attention.problem import Backend, Problem
from semanir.attention.signature import Attend

TRAINING = 3
"""What a backward takes beside the forecast of a forward, as a multiple of it: saved weights, and their gradients."""


class OutOfTheContest(Exception):
    """A backend that is not timed, and why."""


@dataclass(frozen=True)
class Entrant:
    """A backend at one quantity of a workload."""

    name: str
    attend: Attend
    quantity: Quantity
    workload: Workload
    at_once: int
    """Windows that it does at a time: all, or as many as the free memory of the device holds by its forecast."""

    @property
    def parts(self) -> list[Workload]:
        """The workload as it does it."""
        return list(self.workload.parts(self.at_once))

    def work(self) -> Work:
        """Return it as something to be timed."""
        return Work(self.name, tuple(_making_ready(self.attend, self.quantity, part) for part in self.parts))

    def results(self) -> Iterator[dict[str, Tensor]]:
        """Compute each part once: its output, or the gradients that the quantity asks for."""
        names = self.quantity.gradients or ("out",)
        for making_ready in self.work().parts:
            found = making_ready()()
            yield dict(zip(names, found if self.quantity.gradients else (found,), strict=True))


def enter(
    name: str, backend: Backend, quantity: Quantity, workload: Workload, problem: Problem, *, rivals: int
) -> Entrant:
    """Return a backend that can run the problem. Raises `OutOfTheContest` with the reason where it cannot.

    A backward keeps what its forward saved for as long as it is timed, so `rivals` share the memory.
    """
    if (reason := backend.unsupported(problem)) is not None:
        raise OutOfTheContest(reason)
    if quantity.gradients and not backend.differentiable:
        raise OutOfTheContest("it has no gradients")
    at_once = problem.windows
    if problem.device == "cuda":
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info()
        room = free // (rivals + 1) if quantity.gradients else free // 2
        at_once = windows_that_fit(backend, problem, room)
    return Entrant(name, backend.load(), quantity, workload, at_once)


def windows_that_fit(backend: Backend, problem: Problem, room: int) -> int:
    """Return how many windows, in even parts, a backend can do at a time in so many bytes, by its forecast.

    Raises `OutOfTheContest` where not even one fits.
    """
    factor = TRAINING if problem.needs_grad else 1

    def need(count: int) -> int:
        kept_pairs = problem.kept_pairs * count // problem.windows
        return factor * backend.extra_bytes(replace(problem, windows=count, kept_pairs=kept_pairs))

    parts = 1
    while need(-(-problem.windows // parts)) > room:
        if parts >= problem.windows:
            raise OutOfTheContest(f"a single window needs {need(1) / 2**30:.1f} GiB; {room / 2**30:.1f} GiB are free")
        parts *= 2
    return math.ceil(problem.windows / parts)


def check(entrant: Entrant, expected: Mapping[str, Tensor]) -> tuple[dict[str, float], bool]:
    """Return the error of each result, and whether a second run gave the same bits.

    Before each run memory is left full of NaN for the results to be made in, so that what is not written shows.
    """
    first, second = (_poisoned(entrant) for _ in range(2))
    errors = {name: truth.error(found, expected[name], shared=name == "table") for name, found in first.items()}
    return errors, all(torch.equal(first[name], second[name]) for name in first)


def objection(errors: Mapping[str, float], dtype: str) -> str | None:
    """Return in words how results miss the reference, or None."""
    limit = TOLERANCE[dtype]  # type: ignore[index]
    for name, error in errors.items():
        if not error <= limit:  # NaN is wrong as well
            what = "the output" if name == "out" else f"the gradient of {name}"
            return f"{what} is off by {error:.1e} relative to float64; {dtype} allows {limit:.0e}: not timed"
    return None


def memory_mib(entrant: Entrant) -> tuple[float, float]:
    """Return the peak of a CUDA device above inputs and results, for a backward with its forward, and of the allocator.

    One that does its windows in parts is looked at in its first.
    """
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    result = next(entrant.results())
    torch.cuda.synchronize()
    own = sum(found.numel() * found.element_size() for found in result.values())
    peak = torch.cuda.max_memory_allocated() - before - own
    return peak / 2**20, (torch.cuda.max_memory_reserved() - reserved) / 2**20


def _making_ready(attend: Attend, quantity: Quantity, part: Workload) -> Callable[[], Call]:
    return lambda: _backward(attend, quantity, part) if quantity.gradients else _forward(attend, part)


def _forward(attend: Attend, part: Workload) -> Call:
    def call() -> Tensor:
        with torch.no_grad():
            return _attend(attend, part)

    return call


def _backward(attend: Attend, quantity: Quantity, part: Workload) -> Call:
    """Compute a forward, and return what computes its gradients, again and again."""
    leaves = {name: getattr(part, name).detach().requires_grad_() for name in ("q", "k", "v")}
    bias = part.bias
    if bias is not None and "table" in quantity.gradients:
        leaves["table"] = bias.table.detach().requires_grad_()
        bias = replace(bias, table=leaves["table"])
    own = replace(part, q=leaves["q"], k=leaves["k"], v=leaves["v"], bias=bias)
    # What torch compiles would hand the saved tensors on to the first of the gradient calls as scratch space.
    with torch.enable_grad(), functorch_config.patch(donated_buffer=False):
        out = _attend(attend, own)
    wanted = [leaves[name] for name in quantity.gradients]
    return lambda: torch.autograd.grad(out, wanted, part.grad_out, retain_graph=True)


def _attend(attend: Attend, part: Workload) -> Tensor:
    return attend(part.q, part.k, part.v, part.kept, bias=part.bias, scale=part.scale, weighting=part.weighting)


def _poisoned(entrant: Entrant) -> dict[str, Tensor]:
    _leave_nan(entrant.workload.q)
    found = list(entrant.results())
    return {name: truth.joined(name, [part[name] for part in found]) for name in found[0]}


def _leave_nan(like: Tensor) -> None:
    """Fill as much as four results take, and free it again: the allocator hands it to whoever comes next."""
    if like.is_cuda:
        torch.cuda.empty_cache()
    torch.full((4, like.numel()), math.nan, dtype=like.dtype, device=like.device)
