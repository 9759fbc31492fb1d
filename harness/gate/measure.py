"""The timed part of a gate: launches of the first stage for every cell, of the second for those that look changed."""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from harness.gate.cells import SENTINEL, GateCell, GateSpec
from harness.gate.launch import Block, Launched, Setup, launch, values
from harness.gate.refusal import Refusal
from harness.gate.statistics import Judgement, Rule, Stages, judge, screened, sentinel_alarm

MOST_DEATHS = 3
"""Workers that may die in a run; each takes the cell that it was at out of it."""
STARTUP_FORECAST_S, PREPARING_FORECAST_S = 5.0, 0.6
"""Of a launch and of each of its cells, beside the samples; flex compiles for longer, others are ready at once."""
SIDES_AND_BACK = 4
"""Samples of a block."""

Say = Callable[[str], None]


@dataclass
class Timed:
    """Everything that the timed part found."""

    blocks: list[Block] = field(default_factory=list)
    stages: dict[str, Stages] = field(default_factory=dict)
    """Of every cell that was measured, the sentinel's among them."""
    failed: dict[str, str] = field(default_factory=dict)
    """Cell to reason."""
    started_s: float = 0.0
    duration_s: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def sampled_s(self) -> float:
        """Time that samples took; the rest of `duration_s` is overhead."""
        return sum(ms * block.calls for block in self.blocks for ms in block.ms) / 1e3

    def judged(self, spec: GateSpec) -> dict[str, Judgement]:
        """Return the verdict of each declared cell."""
        cells = {name: stages for name, stages in self.stages.items() if name != SENTINEL}
        declared = [cell.name for cell in spec.cells]
        absent = {name: self.failed.get(name, "no launch gave a value") for name in declared if name not in cells}
        found = judge(cells, spec.rule, not_measured=absent)
        return {name: found[name] for name in declared}

    def sentinel_alarm(self, rule: Rule) -> bool:
        """Return whether the run is void: the two copies of one code differ, or were never compared."""
        stages = self.stages.get(SENTINEL)
        if stages is None:
            return True
        return any(len(stage) > 0 and sentinel_alarm(stage, rule) for stage in (stages.first, stages.second))

    def median_ms(self, cell: str, side: str) -> float:
        """Return the median time of one call; informative, for it depends on the machine and its neighbours."""
        return median(ms for block in self.blocks if block.cell == cell for ms in block.side(side))  # type: ignore[arg-type]


def forecast_s(cells: int, spec: GateSpec, *, launches: int, blocks: int) -> float:
    """Return how long so many launches take, each cell with calls of at most a sample's time."""
    samples = cells * blocks * SIDES_AND_BACK * spec.sampling.sample_ms / 1e3
    return launches * (STARTUP_FORECAST_S + PREPARING_FORECAST_S * cells + 1.15 * samples)


def fitted(spec: GateSpec, budget_s: float) -> GateSpec:
    """Take as many blocks, at most those of the spec, as fit the budget with one second stage of a fifth of the cells.

    Raises `Refusal` where even the fewest do not fit.
    """
    cells, launches = len(spec.cells) + 1, spec.rule.launches
    for blocks in range(spec.sampling.blocks, 3, -1):
        whole = forecast_s(cells, spec, launches=launches, blocks=blocks)
        again = forecast_s(1 + -(-cells // 5), spec, launches=launches, blocks=blocks)
        if whole + again <= budget_s:
            return spec.model_copy(update={"sampling": spec.sampling.model_copy(update={"blocks": blocks})})
    raise Refusal(
        "small_budget",
        f"{cells} cells in {launches} launches do not fit into {budget_s / 60:.1f} min; give at least "
        f"--budget {-(-int(whole + again) // 60)}m, or a spec with fewer cells",
    )


def measure(setup: Setup, spec: GateSpec, *, budget_s: float, seed: int, say: Say) -> Timed:
    """Run both stages. Raises `Refusal` where a side cannot start or workers keep dying."""
    chance = random.Random(seed)
    found = Timed(started_s=time.monotonic())
    end = found.started_s + budget_s
    run = _Run(setup, found, chance, end, say)
    everything = (*spec.cells, spec.sentinel)
    first = run.stage(everything, spec.rule.launches)
    flagged = {name for name, of_cell in first.items() if name != SENTINEL and screened(of_cell, spec.rule)}
    second: dict[str, list[float]] = {}
    if flagged:
        say(f"measured again in fresh launches: {', '.join(sorted(flagged))}")
        second = run.stage([cell for cell in everything if cell.name in flagged | {SENTINEL}], spec.rule.launches)
    found.stages = joined(first, second, failed=found.failed, launches=spec.rule.launches)
    found.duration_s = time.monotonic() - found.started_s
    return found


def joined(
    first: Mapping[str, Sequence[float]],
    second: Mapping[str, Sequence[float]],
    *,
    failed: Collection[str],
    launches: int,
) -> dict[str, Stages]:
    """Return the stages of each cell that did not fail. Half a second stage decides nothing and is left out."""
    whole = len(second.get(SENTINEL, ())) >= launches
    return {
        name: Stages(tuple(of_cell), tuple(second.get(name, ())) if whole else ())
        for name, of_cell in first.items()
        if name not in failed
    }


class _Run:
    """A gate while it lasts."""

    def __init__(self, setup: Setup, found: Timed, chance: random.Random, end: float, say: Say) -> None:
        self._setup = setup
        self._found = found
        self._chance = chance
        self._end = end
        self._say = say
        self._deaths = 0
        self._number = 0

    def stage(self, cells: Sequence[GateCell], launches: int) -> dict[str, list[float]]:
        """Return the launch values of each cell; fewer than asked for where the budget ends."""
        collected: dict[str, list[float]] = {cell.name: [] for cell in cells}
        done, longest = 0, 0.0
        while done < launches and time.monotonic() + longest <= self._end:
            begun = time.monotonic()
            left = [cell for cell in cells if cell.name not in self._found.failed]
            if not left:
                break
            launched = launch(self._setup, left, self._number, self._chance, lambda words: None)
            self._found.failed.update(launched.failed)
            if launched.lost is not None:
                self._bury(*launched.lost)
                continue
            self._keep(launched, collected)
            self._number += 1
            done += 1
            longest = max(longest, time.monotonic() - begun)
            self._say(f"launch {self._number} took {time.monotonic() - begun:.1f} s, {launches - done} to go")
        return {name: of_cell for name, of_cell in collected.items() if of_cell}

    def _keep(self, launched: Launched, collected: dict[str, list[float]]) -> None:
        self._found.blocks.extend(launched.blocks)
        self._found.versions = launched.versions or self._found.versions
        for name, value in values(launched.blocks).items():
            collected[name].append(value)

    def _bury(self, cell: str, how: str) -> None:
        self._deaths += 1
        self._found.failed[cell] = how
        self._say(f"{cell}: {how}")
        if self._deaths > MOST_DEATHS or cell == SENTINEL:
            raise Refusal("dead_worker", f"workers keep dying, last at {cell}: {how}; nothing can be measured here")


@contextmanager
def device_lock(device: str, say: Say, *, place: Path | None = None) -> Iterator[None]:
    """Hold the one lock of a device: two gates at once would measure each other."""
    path = (place or Path(tempfile.gettempdir())) / f"semanir-gate-{device}.lock"
    # Without O_CREAT where it exists: Linux refuses that for another user's file in a shared folder.
    with os.fdopen(os.open(path, os.O_RDWR | (0 if path.exists() else os.O_CREAT), 0o666), "r+") as lock:
        with suppress(PermissionError):
            path.chmod(0o666)  # whatever the umask: other users wait for it, too
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another gate measures on this {device}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
