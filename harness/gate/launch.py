"""One launch: two fresh interpreters alive at once, and ABBA or BAAB blocks of every cell in random order."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.gate.cells import KINDS, SENTINEL, GateCell, Sampling
from harness.gate.interpreter import CellFailed, Interpreter, WorkerDied
from harness.gate.load import SLOWED, Load, Meter, busy_ticks, quietest
from harness.gate.refusal import Refusal
from harness.gate.statistics import launch_value
from harness.gate.trees import Side, Tree
from harness.record import Frozen

Order = Literal["ABBA", "BAAB"]
SIDES: Mapping[str, Side] = {"A": "base", "B": "head"}
PREPARING_SECONDS = 180.0
"""For one cell; FlexAttention compiles at its first call."""
SAMPLE_SECONDS = 60.0
FREEZING = "freeze"
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),  # the highest that glibc takes
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""Lets glibc keep what a call has freed. By itself it returns some of that to Linux and takes it back page by page, in
one process and not in the next: equal sources then differed by up to a half, for a whole launch."""
MOST_THROTTLED = 0.2
"""Share of a launch's blocks that may be thrown away for a throttled clock; above it the launch gives no value."""


class Block(Frozen):
    """Four samples of one cell, next to each other in time, with what the machine did meanwhile."""

    launch: int
    cell: str
    order: Order
    """A is base and B is head."""
    calls: int
    """In a sample."""
    ms: tuple[float, float, float, float]
    """Of one call, in the order in which they were taken."""
    cpu_ms: tuple[float, float, float, float]
    """Processor time of one call: far below `ms` where the worker was not let to run."""
    switches: tuple[int, int, int, int]
    """How often the worker was interrupted."""
    load: tuple[Load, Load, Load, Load]

    def side(self, side: Side) -> list[float]:
        """Return the two times of one side."""
        return [ms for letter, ms in zip(self.order, self.ms, strict=True) if SIDES[letter] == side]

    @property
    def value(self) -> float:
        """ln(head / base), of the means of both sides; the median of a launch's blocks is its launch value."""
        return launch_value([self.side("base")], [self.side("head")])

    @property
    def throttled(self) -> bool:
        """Whether a GPU's clock was held down by heat or by the board."""
        return any((load.throttle or 0) & SLOWED for load in self.load)


@dataclass(frozen=True)
class Launched:
    """What one launch gave."""

    blocks: tuple[Block, ...]
    failed: Mapping[str, str]
    """Cell to reason, for those that one side could not run."""
    lost: tuple[str, str] | None = None
    """The cell at which a worker died, and how: the launch is to be done again without it."""
    versions: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Setup:
    """What all launches of a gate share."""

    base: Tree
    head: Tree
    worker: Path
    """The one file that both sides run."""
    photo: Path
    sampling: Sampling
    device: str
    variables: Mapping[str, str]
    """Added to the environment of both sides."""


def values(blocks: Sequence[Block]) -> dict[str, float]:
    """Return the launch value of each cell of one launch; throttled blocks are left out, at most a fifth of them."""
    found = {}
    for name in dict.fromkeys(block.cell for block in blocks):
        own = [block for block in blocks if block.cell == name]
        kept = [block for block in own if not block.throttled]
        if len(kept) >= (1 - MOST_THROTTLED) * len(own):
            found[name] = launch_value([b.side("base") for b in kept], [b.side("head") for b in kept])
    return found


def launch(
    setup: Setup, cells: Sequence[GateCell], number: int, chance: random.Random, note: Callable[[str], None]
) -> Launched:
    """Start both interpreters, bring the cells to life in both, and sample. Raises `Refusal` where one cannot start."""
    with ExitStack() as stack:
        trees = [setup.base, setup.head]
        chance.shuffle(trees)  # who starts first gets other memory
        sides: dict[Side, Interpreter] = {}
        before = busy_ticks()
        for tree in trees:
            sides[tree.side] = stack.enter_context(
                Interpreter(
                    tree, setup.worker, threads=setup.sampling.threads, variables={**ALLOCATOR, **setup.variables}
                )
            )
        with_torch = any(cell.kind in (*KINDS, SENTINEL) for cell in cells)
        for side in sides.values():
            side.hail(with_torch=with_torch)
        greetings = {name: side.greet(with_torch=with_torch) for name, side in sides.items()}
        if setup.device == "cuda" and not all(greeting["cuda"] for greeting in greetings.values()):
            raise Refusal(
                "missing_device",
                "torch finds no CUDA device here; install the torch that its driver wants, or take a spec for the CPU",
            )
        pair = _Pair(setup, sides, chance, Meter(greetings["head"]["cuda"] if setup.device == "cuda" else ""))
        try:
            pair.prepare(cells)
            if setup.device == "cpu":
                core = quietest(before, busy_ticks())
                for side in sides.values():
                    side.pin(core)
            for block in range(setup.sampling.blocks):
                note(f"launch {number + 1}, block {block + 1} of {setup.sampling.blocks}")
                alive = [cell for cell in cells if cell.name not in pair.failed]
                for cell in chance.sample(alive, len(alive)):
                    pair.block(cell, number)
        except WorkerDied as death:
            return Launched((), pair.failed, lost=(pair.at, str(death)))
        blocks = tuple(block for block in pair.blocks if block.cell not in pair.failed)
        return Launched(blocks, pair.failed, versions=greetings["head"]["versions"])


class _Pair:
    """Both sides of a launch while it lasts."""

    def __init__(self, setup: Setup, sides: Mapping[Side, Interpreter], chance: random.Random, meter: Meter) -> None:
        self.failed: dict[str, str] = {}
        self.blocks: list[Block] = []
        self.at = ""
        """The cell that is at work."""
        self._setup = setup
        self._sides = sides
        self._chance = chance
        self._meter = meter
        self._calls: dict[str, int] = {}

    def prepare(self, cells: Sequence[GateCell]) -> None:
        """Bring each cell to life on both sides, at the same time where they do not share a device."""
        for cell in cells:
            self.at = cell.name
            request = {"do": "prepare", "cell": cell.request(), "photo": str(self._setup.photo)}
            once = self._both(cell.name, request, together=self._setup.device == "cpu")
            if once:
                mean = sum(answer["once_ms"] for answer in once) / len(once)
                self._calls[cell.name] = max(1, round(self._setup.sampling.sample_ms / max(mean, 1e-6)))
        self._both(FREEZING, {"do": "freeze"}, together=True)
        if stray := self.failed.get(FREEZING):
            raise Refusal("foreign_package", f"{stray}; remove whatever puts another copy first on sys.path")

    def _both(self, cell: str, request: Mapping[str, Any], *, together: bool) -> list[dict[str, Any]]:
        """Ask both sides and return both answers; none, and a reason kept, where a side reports an error."""
        answers, sides = [], list(self._sides.values())
        if together:
            for side in sides:
                side.send(request)
        for side in sides:
            if not together:
                side.send(request)
            try:
                answers.append(side.receive(PREPARING_SECONDS))
            except CellFailed as error:
                self.failed.setdefault(cell, str(error))
        return answers if len(answers) == len(sides) else []

    def block(self, cell: GateCell, number: int) -> None:
        """Take four samples of a cell."""
        self.at = cell.name
        order: Order = self._chance.choice(("ABBA", "BAAB"))
        calls, taken, loads = self._calls[cell.name], [], []
        request = {"do": "sample", "cell": cell.name, "calls": calls, "cold": cell.cold}
        for letter in order:
            before = self._meter.read()
            try:
                taken.append(self._sides[SIDES[letter]].ask(request, limit_s=SAMPLE_SECONDS))
            except CellFailed as error:
                self.failed[cell.name] = str(error)
                return
            loads.append(self._meter.since(before))
        self.blocks.append(
            Block(
                launch=number,
                cell=cell.name,
                order=order,
                calls=calls,
                ms=tuple(round(sample["ms"], 6) for sample in taken),
                cpu_ms=tuple(round(sample["cpu_ms"], 6) for sample in taken),
                switches=tuple(sample["switches"] for sample in taken),
                load=(loads[0], loads[1], loads[2], loads[3]),
            )
        )
