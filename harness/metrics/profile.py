"""Where the time of a forward pass goes: a trace of torch's profiler, and what its operators took by themselves."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from harness import traces
from harness.catalogs import BACKENDS
from harness.environment import without_folders
from harness.metric import Metric, Reading
from harness.record import Cell, Measurement

if TYPE_CHECKING:
    from torch import nn

    from harness.trial import Trial

PASSES = 3
"""Passes of a trace. Two go before them: one that compiles and allocates, one with the profiler on, thrown away."""
LARGEST_BYTES = 4 * 2**20
"""Of a packed trace: where the passes take more, fewer are kept, and none where one alone does."""
TOP = 12
"""Operators that the record names; the trace has all."""


def _unsupported(cell: Cell) -> str | None:
    if cell.backend in BACKENDS and cell.device not in BACKENDS[cell.backend].speed_on:
        return "interpreter: not its profile"
    return None


def _measure(trial: Trial) -> Reading:
    """Read time, share and calls of the longest operators of the quickest pass, on each side; keep the trace of all."""
    count, notes = PASSES, list(trial.notes)
    content = _trace(trial, count)
    if len(content) > LARGEST_BYTES:
        count = max(1, PASSES * LARGEST_BYTES // len(content))
        content = _trace(trial, count)
        notes.append(f"{count} of {PASSES} passes traced: all of them take more than {LARGEST_BYTES / 2**20:g} MiB")
    artifacts = {traces.ROLE: content}
    if len(content) > LARGEST_BYTES:
        artifacts = {}
        notes.append(f"the trace was not kept: one pass takes {len(content) / 2**20:.1f} MiB")
    quickest = traces.quickest(traces.read(content))
    measurements = []
    for side in traces.SIDES:
        if found := traces.operators(quickest, side)[:TOP]:
            names = tuple(operator.name for operator in found)
            for quantity, unit, samples in (
                ("time", "us", tuple(operator.own_us for operator in found)),
                ("share", "1", tuple(operator.share for operator in found)),
                ("calls", "1", tuple(float(operator.calls) for operator in found)),
            ):
                name = f"profile.{side}.{quantity}"
                measurements.append(Measurement(name=name, unit=unit, samples=samples, labels=names))
    return Reading(measurements=tuple(measurements), artifacts=artifacts, notes=tuple(notes))


def _trace(trial: Trial, count: int) -> bytes:
    """Return the trace of some passes, packed, without what would name a person or a machine."""
    import torch
    from torch.profiler import ProfilerActivity, profile, schedule

    from harness.timing import undisturbed

    on_cuda = trial.cell.device == "cuda"
    profiler = profile(
        activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])],
        record_shapes=True,
        schedule=schedule(wait=1, warmup=1, active=count, repeat=1),
    )
    with undisturbed(trial.timing), _marked(trial.network), profiler:
        for _ in range(2 + count):
            trial.run()
            if on_cuda:
                torch.cuda.synchronize()
            profiler.step()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(file))
        written = json.loads(file.read_bytes())
    for naming in ("host_name", "traceName"):
        written.pop(naming, None)
    return gzip.compress(without_folders(json.dumps(written, separators=(",", ":"))).encode(), mtime=0)


@contextmanager
def _marked(network: nn.Module) -> Iterator[None]:
    """Let a trace name the modules that hold others, so that operators lie inside what they belong to."""
    from torch.profiler import record_function

    marks: list[record_function] = []

    def opener(name: str) -> Any:
        def begin(module: nn.Module, inputs: object) -> None:
            mark = record_function(name)
            mark.__enter__()
            marks.append(mark)

        return begin

    def end(module: nn.Module, inputs: object, output: object) -> None:
        marks.pop().__exit__(None, None, None)

    hooks = []
    for name, module in network.named_modules():
        if name and any(True for _ in module.children()):
            hooks += [module.register_forward_pre_hook(opener(name)), module.register_forward_hook(end)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


METRIC = Metric(
    summary="share of a forward pass that each operator takes, and a trace of torch's profiler",
    unit="1",
    better="neither",
    measure=_measure,
    unsupported=_unsupported,
    timed=True,
    fresh_process=True,
)
