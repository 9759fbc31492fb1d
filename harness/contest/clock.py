"""The clock of contenders side by side: every block takes a sample of each, hot and cold, in random order."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch

from harness.contest.interval import median_interval
from harness.record import Timing
from harness.timing import undisturbed
from semanir.attention.problem import DeviceKind

Temperature = Literal["hot", "cold"]
Call = Callable[[], Any]

FLUSH_BYTES = 256 * 2**20
"""Written before a cold sample, or twice the second-level cache where that is more."""
SETTLED_MS = 500.0
"""Load that the samples of a hot series add up to before it may end."""
SETTLED = 0.01
"""Half the width of the median's interval, over the median, at which a series may end."""
LEAST = 5
"""Samples that even a contender gets that is too slow for the rule, where the rule asks for as many."""
WARM_AT_MOST = 3
"""How many times `warmup_ms` a warm-up lasts whose times do not come to rest."""


@dataclass(frozen=True)
class Work:
    """Something to be timed: parts that make a call ready, untimed, and together do all windows.

    A single part is made ready once and called again and again; of several, each sample makes every one ready,
    calls it once and drops it, so that they never lie in memory together.
    """

    name: str
    parts: tuple[Callable[[], Call], ...]


@dataclass
class Series:
    """The samples of one contender at one temperature."""

    name: str
    temperature: Temperature
    times_ms: list[float] = field(default_factory=list)
    """Of one call over all windows."""
    host_ms: list[float] = field(default_factory=list)
    """Until it was launched; the whole time on a CPU."""
    blocks: list[int] = field(default_factory=list)
    """Number of the block of each sample: samples of one block are compared with each other."""
    load_ms: float = 0.0

    def settled(self, timing: Timing) -> bool:
        """Return whether it has the samples, the load and the interval that end it."""
        if len(self.times_ms) < timing.samples or (self.temperature == "hot" and self.load_ms < SETTLED_MS):
            return False
        low, high = median_interval(self.times_ms)
        return (high - low) / 2 <= SETTLED * median(self.times_ms)


@runtime_checkable
class Clock(Protocol):
    """How time is taken on a kind of device."""

    def drain(self) -> None:
        """Wait until nothing is under way."""

    def time(self, call: Call, repeats: int, before: Call) -> tuple[float, float]:
        """Return ms of `repeats` calls after `before`, which is not timed, and ms until the host had launched them."""

    def flush(self, lead_ms: float) -> None:
        """Fill the caches with something else, for at least `lead_ms` where the device works on its own."""


class HostClock:
    """Wall-clock of calls that return when they are done."""

    def __init__(self) -> None:
        self._filler = torch.empty(FLUSH_BYTES // 4, dtype=torch.int32)

    def drain(self) -> None:
        """Nothing is ever under way."""

    def time(self, call: Call, repeats: int, before: Call) -> tuple[float, float]:
        """Follow `Clock`."""
        before()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        elapsed = (time.perf_counter() - start) * 1e3
        return elapsed, elapsed

    def flush(self, lead_ms: float) -> None:
        """Follow `Clock`."""
        self._filler.zero_()


class CudaClock:
    """Events of the device around the calls: time of the device alone as long as the host launches ahead of it."""

    def __init__(self) -> None:
        cache = torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
        self._filler = torch.empty(max(2 * cache, FLUSH_BYTES) // 4, dtype=torch.int32, device="cuda")
        self._filler.zero_()
        once, _ = self.time(self._filler.zero_, 10, self._filler.zero_)
        self._flush_ms = once / 10

    def drain(self) -> None:
        """Follow `Clock`."""
        torch.cuda.synchronize()

    def time(self, call: Call, repeats: int, before: Call) -> tuple[float, float]:
        """Follow `Clock`. What `before` launches keeps the device busy while the host launches the first call."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before()
        start.record()
        begun = time.perf_counter()
        for _ in range(repeats):
            call()
        launched_ms = (time.perf_counter() - begun) * 1e3
        end.record()
        end.synchronize()
        return start.elapsed_time(end), launched_ms

    def flush(self, lead_ms: float) -> None:
        """Follow `Clock`: a call that is launched while the last flush still runs starts the moment it ends."""
        for _ in range(1 + math.ceil(lead_ms / self._flush_ms)):
            self._filler.zero_()


def clock_of(device: DeviceKind) -> Clock:
    """Return the clock of a device."""
    return CudaClock() if device == "cuda" else HostClock()


def side_by_side(
    works: Sequence[Work],
    timing: Timing,
    clock: Clock,
    *,
    seed: int,
    condition: Callable[[], Mapping[str, float]],
    temperatures: Sequence[Temperature] = get_args(Temperature),
) -> tuple[list[Series], list[Mapping[str, float]]]:
    """Sample all works in blocks of random order until each series has settled, or the cap of the rule is reached.

    A work that is slow for the cap takes part in every second, third ... block only, but in `LEAST` blocks at
    least. Returns the series, and the device's condition after each block.
    """
    conditions: list[Mapping[str, float]] = []
    with undisturbed(timing):
        runners = [_Runner(work, clock) for work in works]
        for runner in runners:
            runner.warm_up(timing)
        lines = [_Line(runner, Series(runner.name, at), timing) for runner in runners for at in temperatures]
        for line in lines:
            line.share(timing.cap_ms / len(lines), timing)
        order, begun, block = random.Random(seed), time.perf_counter(), 0
        while not _finished(lines, timing, (time.perf_counter() - begun) * 1e3):
            for line in order.sample(lines, len(lines)):
                if block % line.period == 0:
                    line.sample(block)
            conditions.append(condition())
            block += 1
    return [line.series for line in lines], conditions


def _finished(lines: Sequence[_Line], timing: Timing, elapsed_ms: float) -> bool:
    if any(len(line.series.times_ms) < min(LEAST, timing.samples) for line in lines):
        return False
    return elapsed_ms >= timing.cap_ms or all(line.period > 1 or line.series.settled(timing) for line in lines)


class _Runner:
    """Calls a work, whole."""

    def __init__(self, work: Work, clock: Clock) -> None:
        self.name = work.name
        self.once_ms = math.inf
        self.launch_ms = 0.0
        self._clock = clock
        self._parts = work.parts
        self._ready = work.parts[0]() if len(work.parts) == 1 else None

    def warm_up(self, timing: Timing) -> None:
        """Call until `warmup_ms` of load and until the last five times agree, if that comes to be."""
        spent, times = 0.0, list[float]()
        while True:
            begun = time.perf_counter()
            self.once_ms, self.launch_ms = self.time(1, lambda: None)
            spent += (time.perf_counter() - begun) * 1e3
            times = [*times[-4:], self.once_ms]
            at_rest = len(times) == 5 and max(times) - min(times) <= SETTLED * median(times)
            if len(times) > 1 and spent >= timing.warmup_ms * (1 if at_rest else WARM_AT_MOST):
                return

    def time(self, repeats: int, before: Call) -> tuple[float, float]:
        """Return the time of one call, and the host's part of it, in ms."""
        if self._ready is not None:
            elapsed, launched = self._clock.time(self._ready, repeats, before)
            return elapsed / repeats, launched / repeats
        elapsed = launched = 0.0
        for part in self._parts:
            call = part()
            self._clock.drain()
            of_part = self._clock.time(call, 1, before)
            elapsed, launched = elapsed + of_part[0], launched + of_part[1]
        return elapsed, launched

    def flush(self) -> None:
        """Leave nothing of it in the caches."""
        self._clock.flush(self.launch_ms)

    def warm(self) -> None:
        """Leave in the caches what a call leaves there; one in parts leaves nothing that the next could use."""
        if self._ready is not None:
            self._ready()


class _Line:
    """A series while it is taken."""

    def __init__(self, runner: _Runner, series: Series, timing: Timing) -> None:
        self.series = series
        self.period = 1
        self._runner = runner
        long = runner.once_ms >= timing.sample_ms
        self._repeats = 1 if long or series.temperature == "cold" else math.ceil(timing.sample_ms / runner.once_ms)

    def share(self, fair_ms: float, timing: Timing) -> None:
        """Take part so rarely that the samples that the rule asks for fit into a fair share of the cap."""
        wanted_ms = timing.samples * self._repeats * self._runner.once_ms
        self.period = max(1, min(math.ceil(wanted_ms / fair_ms), timing.samples // LEAST))

    def sample(self, block: int) -> None:
        """Take one."""
        before = self._runner.warm if self.series.temperature == "hot" else self._runner.flush
        elapsed, launched = self._runner.time(self._repeats, before)
        self.series.times_ms.append(elapsed)
        self.series.host_ms.append(launched)
        self.series.blocks.append(block)
        self.series.load_ms += elapsed * self._repeats
