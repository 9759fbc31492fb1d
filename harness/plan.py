"""Unfolds a spec into cells, each with a forecast, and says why whatever is not measured is not."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from harness import datasets, tiles
from harness.catalog import suggest
from harness.catalogs import BACKENDS, METRICS, MODELS, TASKS
from harness.metric import Metric
from harness.record import Cell
from harness.spec import AXES, ExperimentSpec, SpecError, Sweep, matches
from harness.weights import missing
from harness.yaml_lines import Place, Problem, shown
from semanir.attention.problem import ITEM_BYTES, DeviceKind, dictionary_bytes
from semanir.model import Model, Request

STAND_IN_SIDE = 512
"""Side in pixels that stands for a whole image, whose size no one knows before it is read."""
LIVE_MAPS = 16
"""Feature maps taken to be alive at once: residuals, q, k, v, output, the MLP's hidden ones, copies between windows."""
PLAIN_WIDTH = 64
"""Channels that a model without attention is taken to have."""
FLOPS_PER_SECOND: dict[DeviceKind, float] = {"cpu": 2e10, "cuda": 5e12}
"""Nominal rate at which a forward pass is taken to run: one processor core, one data-centre accelerator."""
INTERPRETED = 700.0
"""How much longer attention takes on a device on which the backend's time says nothing."""
QUANTITIES = 2
"""Contests of one metric that times contenders side by side."""
PROCESS_START_S = 3.0
READING_S = 0.15
"""What any metric takes beside forward passes, the check of agreement included."""
TURNS = {"none": 1, "x8": 8}
"""Forward passes that an ensemble takes for one."""
UNKNOWN_IMAGES = 10
"""Images that stand for a whole dataset."""
MIN_PREFIX = 4
NO_CUDA = "no CUDA device on this machine"
COLLAPSING = ("backend", "window", "top_k", "sharing", "similarity", "shift", "score", "weights")
"""Axes that some models do not use; there a cell takes their default, so that it comes once."""


@dataclass(frozen=True)
class Forecast:
    """What a cell is expected to take: crude, made without running anything, and never a measurement."""

    bytes: int
    """Parameters, live feature maps and the largest working memory of the backend, one forward pass: on a tile
    where nothing of the cell needs the whole input."""
    seconds: float
    """All its metrics, at nominal rates."""


@dataclass(frozen=True)
class PlannedCell:
    """A cell that will be run."""

    cell: Cell
    metrics: tuple[str, ...]
    forecast: Forecast


@dataclass(frozen=True)
class Skip:
    """One metric of one cell that will not be measured."""

    cell: Cell
    metric: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """Everything that a spec asks for, sorted into what will be measured and what will not."""

    spec: ExperimentSpec
    cells: tuple[PlannedCell, ...]
    skipped: tuple[Skip, ...]

    @property
    def total(self) -> Forecast:
        """The most memory that one cell takes, and the time of all cells one after the other."""
        return Forecast(
            bytes=max((planned.forecast.bytes for planned in self.cells), default=0),
            seconds=sum((planned.forecast.seconds for planned in self.cells), 0.0),
        )

    @property
    def measurements(self) -> int:
        """Pairs of a cell and a metric that will be measured."""
        return sum(len(planned.metrics) for planned in self.cells)


def expand(spec: ExperimentSpec, *, only: Sequence[str] = (), cuda: bool | None = None) -> Plan:
    """Unfold a spec. Every (cell, metric) that it asks for ends up planned, or skipped with a reason.

    Axes that a model does not use collapse to their default, so such a cell comes once; the rules of
    `exclude` and of a metric's `only` look at the collapsed cell. The argument `only` keeps cells by
    `axis=value[,value]` (all of these must hold) or by the first hex digits of their id (one of these must).
    Without `cuda` the machine is asked. Raises `SpecError` for an `only` that names nothing of this plan.
    """
    judge = _Judge(spec, has_cuda if cuda is None else lambda: bool(cuda))
    planned, skipped = [], []
    for cell in _chosen(list(_unfold(spec)), only):
        wanted = [choice.name for choice in spec.metrics if choice.admits(cell)]
        rules = [rule for rule in spec.exclude if matches(rule.where, cell)]
        takes = judge.takes(cell)
        refusal = judge.refusal(cell, takes)
        reasons: dict[str, str | None] = {}
        for name in wanted:
            excluded = next((rule.reason for rule in rules if rule.forbids(name)), None)
            reasons[name] = excluded or refusal or judge.refusal_of(METRICS[name], cell, takes)
        skipped += [Skip(cell, name, reason) for name, reason in reasons.items() if reason is not None]
        if measured := tuple(name for name in wanted if reasons[name] is None):
            metrics = [METRICS[name] for name in measured]
            most = max(takes.bytes_of(metric) for metric in metrics)
            planned.append(PlannedCell(cell, measured, Forecast(most, _seconds(cell, metrics, takes, spec))))
    return Plan(spec, tuple(planned), tuple(skipped))


def request_for(cell: Cell) -> Request:
    """Return the network that a cell asks for; a whole image counts as 512 x 512 pixels."""
    task = TASKS[cell.task]
    setting = task.parse(cell.setting)
    scale = task.scale(setting)
    side = max(1, (cell.image_size or STAND_IN_SIDE) // scale)
    return Request(
        configuration=cell.model.partition("/")[2],
        channels=task.channels(setting),
        scale=scale,
        height=side,
        width=side,
        batch=cell.batch,
        window=cell.window,
        top_k=cell.top_k,
        sharing=cell.sharing,
        similarity=cell.similarity,
        shift=cell.shift,
        score=cell.score,
        holds=task.holds(setting),
        dtype=cell.dtype,
        device=cell.device,
    )


@cache
def has_cuda() -> bool:
    """Return whether the driver shows a CUDA device, without torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    if any(Path("/proc/driver/nvidia/gpus").glob("*")):
        return True
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    count = ctypes.c_uint(0)
    found = nvml.nvmlInit_v2() == 0 and nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0
    return found and count.value > 0


def _unfold(spec: ExperimentSpec) -> Iterator[Cell]:
    """Yield every cell once, sweep after sweep, each in the order of the axes of `Cell`."""
    seen: set[Cell] = set()
    for sweep in spec.sweeps:
        for cell in _product(sweep):
            if cell not in seen:
                seen.add(cell)
                yield cell


def _product(sweep: Sweep) -> Iterator[Cell]:
    rest = [axis for axis in AXES if axis not in ("model", "task", "setting")]
    for model in sweep.values("model"):
        used = _family(str(model)).uses
        values = [
            (Cell.model_fields[axis].default,) if axis in COLLAPSING and axis not in used else sweep.values(axis)
            for axis in rest
        ]
        for task in sweep.values("task"):
            for setting in sweep.settings[str(task)]:
                for point in itertools.product(*values):
                    content: dict[str, Any] = dict(zip(rest, point, strict=True))
                    yield Cell(model=str(model), task=str(task), setting=setting, **content)


def _family(model: str) -> Model:
    return MODELS[model.partition("/")[0]]


def _chosen(cells: list[Cell], only: Sequence[str]) -> list[Cell]:
    """Return the cells that the `--only` items keep."""
    filters: dict[str, set[str]] = {}
    prefixes: list[str] = []
    problems: list[Problem] = []
    for item in only:
        axis, equals, listed = (part.strip() for part in item.partition("="))
        if equals:
            known = list(dict.fromkeys(_text(getattr(cell, axis)) for cell in cells)) if axis in AXES else []
            separator = ";" if axis == "setting" else ","
            wanted = {value.strip() for value in listed.split(separator)}
            filters[axis] = filters.get(axis, set()) | wanted
            message = _mistake(axis, wanted, known)
        else:
            prefixes.append(item.lower())
            message = _no_prefix(item, cells)
        if message:
            problems.append(Problem(Place(f"--only {item if item.isprintable() else shown(item)}"), "", message))
    if problems:
        raise SpecError(problems)
    return [
        cell
        for cell in cells
        if all(_text(getattr(cell, axis)) in wanted for axis, wanted in filters.items())
        and (not prefixes or cell.id.startswith(tuple(prefixes)))
    ]


def _mistake(axis: str, wanted: set[str], known: list[str]) -> str | None:
    if axis not in AXES:
        return f"no axis '{axis}'.{suggest(axis, list(AXES))} It has: {', '.join(AXES)}"
    for value in sorted(wanted - set(known)):
        near = suggest(value, known)
        return f"no cell of this plan has {axis} {shown(value)}.{near} It has: {', '.join(known)}"
    return None


def _no_prefix(item: str, cells: list[Cell]) -> str | None:
    if not re.fullmatch(rf"[0-9a-fA-F]{{{MIN_PREFIX},}}", item):
        return f"is neither axis=value, as in task=denoise, nor {MIN_PREFIX} or more hex digits of a cell's id"
    if not any(cell.id.startswith(item.lower()) for cell in cells):
        return "no cell of this plan has an id that begins so; `plan` lists them"
    return None


def _text(value: object) -> str:
    return "null" if value is None else str(value)


@dataclass(frozen=True)
class _Cost:
    """What a network says of itself: why it cannot run, or what a forward pass takes."""

    reason: str | None
    bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Takes:
    """What a cell takes."""

    whole: _Cost
    """Of one forward pass on its whole input."""
    restoring: _Cost
    """Of one restored image: the memory of a forward pass on its largest tile, the time of all tiles and turns."""

    def bytes_of(self, metric: Metric) -> int:
        """Return the memory that a metric needs at once."""
        whole = metric.whole or metric.timed or metric.fresh_process
        return self.whole.bytes if whole else self.restoring.bytes


@dataclass
class _Judge:
    """Judges cells; equal networks of several cells and tasks are asked once."""

    spec: ExperimentSpec
    cuda: Callable[[], bool]
    _by_cell: dict[tuple[object, ...], _Takes] = field(default_factory=dict)
    _by_request: dict[tuple[str, str, Request], _Cost] = field(default_factory=dict)
    _by_dataset: dict[tuple[str, str, str, int | None], str | None] = field(default_factory=dict)

    def takes(self, cell: Cell) -> _Takes:
        # fmt: off
        key = (cell.model, cell.task, cell.setting, cell.backend, cell.top_k, cell.window, cell.sharing,
               cell.similarity, cell.shift, cell.score,
               cell.image_size, cell.batch, cell.tile, cell.ensemble, cell.dtype, cell.device)
        # fmt: on
        if key not in self._by_cell:
            request = request_for(cell)
            whole = self._cost(cell, request)
            restoring = self._restoring(cell, replace(request, batch=1)) if whole.reason is None else whole
            self._by_cell[key] = _Takes(whole, restoring)
        return self._by_cell[key]

    def _restoring(self, cell: Cell, image: Request) -> _Cost:
        """Add up the tiles of an image in all turns; one that is not cut is a single tile."""
        tile = cell.tile or max(image.height, image.width)
        placed = (tile, tiles.overlap_of(tile), tiles.grid_of(cell.window))
        if cell.tile and (reason := tiles.unsupported(*placed)) is not None:
            return _Cost(reason)
        heights, widths = (
            [end - begin for begin, end in tiles.spans(side, *placed)] for side in (image.height, image.width)
        )
        pieces = Counter(itertools.product(heights, widths))
        costs = {size: self._cost(cell, replace(image, height=size[0], width=size[1])) for size in pieces}
        return _Cost(
            reason=None,
            bytes=max(cost.bytes for cost in costs.values()),
            seconds=TURNS[cell.ensemble] * sum(count * costs[size].seconds for size, count in pieces.items()),
        )

    def _cost(self, cell: Cell, request: Request) -> _Cost:
        asked = (cell.model, cell.backend, request)
        if asked not in self._by_request:
            self._by_request[asked] = _network_cost(*asked)
        return self._by_request[asked]

    def absence(self, cell: Cell) -> str | None:
        """Return why the cell's images cannot be had, from its dataset or for want of what degrades them, or None."""
        key = (cell.dataset, cell.task, cell.setting, cell.images)
        if key not in self._by_dataset:
            setting = TASKS[cell.task].parse(cell.setting)
            material = TASKS[cell.task].material(setting)
            self._by_dataset[key] = (material.missing() if material else None) or datasets.absent(
                cell.dataset,
                task=cell.task,
                pairs=datasets.wants_pairs(setting),
                average=datasets.wants_average(setting),
                images=cell.images,
            )
        return self._by_dataset[key]

    def refusal(self, cell: Cell, takes: _Takes) -> str | None:
        """Return the first reason why nothing of the cell can be measured, or None."""
        if cell.top_k is not None and cell.window is not None and cell.top_k > cell.window**2:
            return f"top_k {cell.top_k} exceeds the {cell.window**2} tokens of window {cell.window}"
        if takes.whole.reason is not None:
            return takes.whole.reason
        if (reason := self.absence(cell)) is not None:
            return reason
        if cell.device == "cuda" and not self.cuda():
            return NO_CUDA
        return None

    def refusal_of(self, metric: Metric, cell: Cell, takes: _Takes) -> str | None:
        """Return why this metric cannot be measured of a cell that can be run, or None."""
        needed, allowed = takes.bytes_of(metric), self.spec.budget.memory_mib * 2**20
        if needed > allowed:
            return f"needs about {_gib(needed)}; budget.memory_mib allows {_gib(allowed)}"
        if (reason := metric.unsupported(cell)) is not None:
            return reason
        if metric.restores and takes.restoring.reason is not None and missing(cell) is None:
            return takes.restoring.reason
        return None


def _network_cost(name: str, backend_name: str, request: Request) -> _Cost:
    model = _family(name)
    if (reason := model.unsupported(request)) is not None:
        return _Cost(reason)
    if backend_name == "none" and "backend" in model.uses:
        return _Cost(f"{name} needs an attention backend; add the axis backend: [{', '.join(BACKENDS)}]")
    problems = Counter(model.problems(request))
    flops = float(sum(model.flops(request).values()))
    item = ITEM_BYTES[request.dtype]
    live = request.batch * request.height * request.width * PLAIN_WIDTH
    extra = 0
    if problems:
        backend = BACKENDS[backend_name]
        for problem in problems:
            if (reason := backend.unsupported(problem)) is not None:
                return _Cost(f"{backend_name}: {reason}")
        slowdown = 1.0 if request.device in backend.speed_on else INTERPRETED
        flops += slowdown * sum(count * backend.flops(problem).spent for problem, count in problems.items())
        # The dictionary is built before the attention runs, so only the larger of the two counts.
        extra = max(max(backend.extra_bytes(problem), dictionary_bytes(problem, backend.needs)) for problem in problems)
        live = max(problem.windows * problem.tokens * problem.heads * problem.head_dim for problem in problems)
    return _Cost(
        reason=None,
        bytes=(model.parameters(request) + LIVE_MAPS * live) * item + extra,
        seconds=flops / FLOPS_PER_SECOND[request.device],
    )


def _seconds(cell: Cell, metrics: Sequence[Metric], takes: _Takes, spec: ExperimentSpec) -> float:
    """Forecast a cell: every image restored where one is judged, the timing rule, fresh processes."""
    timing, forward_s = spec.timing, takes.whole.seconds
    images = cell.images or UNKNOWN_IMAGES
    total = READING_S * len(metrics)
    if any(metric.restores for metric in metrics) and missing(cell) is None:
        total += images * takes.restoring.seconds
    for metric in metrics:
        if metric.restores and metric.whole:
            total += images * TURNS[cell.ensemble] * forward_s
        if metric.side_by_side:
            total += QUANTITIES * timing.cap_ms / 1e3
        elif metric.timed:
            total += max(timing.warmup_ms / 1e3, forward_s) + timing.samples * max(timing.sample_ms / 1e3, forward_s)
        if metric.fresh_process:
            total += PROCESS_START_S + forward_s
    return total


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 / 10 else f"{count / 2**20:.0f} MiB"
