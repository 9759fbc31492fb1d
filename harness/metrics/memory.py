"""Peak memory of one forward pass above its inputs and weights, in an interpreter that has run nothing else."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path
from typing import TYPE_CHECKING

from harness.catalogs import BACKENDS
from harness.metric import Metric, Reading
from harness.record import Cell, Measurement

if TYPE_CHECKING:
    from harness.trial import Trial


def _unsupported(cell: Cell) -> str | None:
    if cell.backend in BACKENDS and cell.device not in BACKENDS[cell.backend].speed_on:
        return "interpreter: not its memory"
    return None


def _measure(trial: Trial) -> Reading:
    peak = _cuda_peak_mib(trial) if trial.cell.device == "cuda" else _cpu_peak_mib(trial)
    return Reading(measurements=(Measurement(name="memory.peak", unit="MiB", samples=(peak,)),), notes=trial.notes)


def _cuda_peak_mib(trial: Trial) -> float:
    import torch

    _warm_up(trial)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    trial.run()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def _cpu_peak_mib(trial: Trial) -> float:
    """Resident-set high-water mark of the pass above the size before it."""
    _warm_up(trial)
    before = _reset_high_water_mib()
    trial.run()
    return max(_high_water_mib() - before, 0.0)


def _warm_up(trial: Trial) -> None:
    """Pass a few pixels through the network: code pages, thread pools and workspaces are not the network's memory."""
    import torch

    with torch.inference_mode():
        trial.network(trial.input[..., :16, :16].contiguous())


def _reset_high_water_mib() -> float:
    """Lower the mark to the present size where the kernel allows it, and return the mark."""
    # On a kernel without it the mark of the import stays, and the figure is a lower bound.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _high_water_mib()


def _high_water_mib() -> float:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    if line is None:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(line.split()[1]) / 1024


METRIC = Metric(
    summary="peak memory of one forward pass above inputs and weights, in a fresh interpreter",
    unit="MiB",
    better="lower",
    measure=_measure,
    unsupported=_unsupported,
    fresh_process=True,
)
