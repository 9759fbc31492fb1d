"""The traces of a plan in folders, as TensorBoard's profiler plugin (torch-tb-profiler) lists them: a run a cell."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from harness.record import Cell
from harness.store import ResultStore, StoredPlan, StoreError
from harness.traces import ROLE, SUFFIX

_NAMING = ("task", "model", "backend", "weights", "window", "top_k")
"""Axes that a run is named by, where they have a value; the cell's id tells the others apart."""
_SHOWN = 7
"""Digits of the id, as reports show it."""


def write(folder: Path, plan: StoredPlan, store: ResultStore) -> list[Path]:
    """Copy the newest trace of each of the plan's cells to `folder/<run>/<cell>.pt.trace.json.gz` and return the files.

    A trace that is there already is replaced, and what else is there stays. Raises `StoreError` where the plan has
    none, one is missing from the store, or the folder cannot be written.
    """
    records = store.latest({entry.key for entry in plan.entries})
    traces = {record.cell: store.artifact(name) for record in records.values() if (name := record.artifacts.get(ROLE))}
    if not traces:
        remedy = f"write `profile: true` into its spec, then `semanir-bench run SPEC --out {store.folder} --resume`"
        raise StoreError(f"{store.folder}: plan {plan.name} has no traces; {remedy}")
    files = []
    try:
        for cell, trace in traces.items():
            file = folder / run_name(cell) / f"{cell.id}{SUFFIX}"
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(trace, file)
            files.append(file)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror}; name a folder of yours") from None
    return files


def run_name(cell: Cell) -> str:
    """Return how a cell is called among the runs, as in `denoise-semanir-small-mask-shipped-window8-k16-1a2b3c4`."""
    words = {"window": "window", "top_k": "k"}
    values = {axis: getattr(cell, axis) for axis in _NAMING}
    named = [f"{words.get(axis, '')}{value}" for axis, value in values.items() if value not in (None, "none")]
    return "-".join(re.sub(r"[^\w.+=]+", "-", part) for part in (*named, cell.id[:_SHOWN]))
