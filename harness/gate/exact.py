"""Figures without noise: parameters, FLOPs, agreement, memory, PSNR of shipped weights, static cost of kernels.

Each is compared with a committed baseline, or with what the same worker finds in the base's tree.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from harness import datasets
from harness.catalogs import BACKENDS, TASKS
from harness.channels import units
from harness.gate.cells import ExactCell, Quantity
from harness.gate.document import ExactStatus, ExactVerdict, bounded
from harness.gate.interpreter import CellFailed, Interpreter, WorkerDied
from harness.gate.refusal import Refusal
from harness.gate.trees import Tree
from harness.record import Frozen
from harness.task import generator
from semanir.attention.problem import DtypeName
from semanir.weights import cards

EXACT_SECONDS = 300.0
PHOTO_SIDE = 256
PROCESSES = 2
AGREEMENT: Mapping[DtypeName, float] = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-3, "bfloat16": 8e-3}
"""Largest accepted relative error against float64, as `harness.agreement` has it."""
MORE_MEMORY, MORE_MIB = 0.03, 0.5
PSNR_DB = 0.01

EVERY_BLOCK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
"""glibc gets every larger block from the kernel and gives it back at once. Left alone it learns to keep some, by an
order of events that differs from run to run, and the peak of one call was seen to differ by 4 of 60 MiB."""

UNITS: Mapping[Quantity, str] = {
    "parameters": "parameters",
    "flops": "FLOP",
    "agreement": "relative error",
    "memory": "MiB",
    "psnr": "dB",
}
TOLERANCES: Mapping[Quantity, str] = {
    "parameters": "exactly equal",
    "flops": "exactly equal or fewer",
    "agreement": "at most what the dtype allows, and at most four times the error before",
    "memory": f"at most {MORE_MEMORY:.0%} + {MORE_MIB:g} MiB more",
    "psnr": f"at most {PSNR_DB:g} dB less",
}


@dataclass(frozen=True)
class Found:
    """What one tree gave for one cell."""

    value: float | None
    reason: str = ""
    """Why there is no value."""


class Baseline(Frozen):
    """The committed figures."""

    schema_version: Literal[1] = 1
    values: dict[str, float]
    """Cell to value."""


def figures(
    tree: Tree, cells: Sequence[ExactCell], *, worker: Path, folder: Path, say: Callable[[str], None]
) -> dict[str, Found]:
    """Measure all cells in one tree. Those of memory get an interpreter each, the others share one an environment.

    Raises `Refusal` where the tree cannot be imported.
    """
    photo = photograph(folder / "photo.f32")
    groups: dict[tuple[object, ...], list[ExactCell]] = {}
    for cell in cells:
        variables = _variables(cell)
        alone = cell.name if cell.quantity == "memory" else ""
        groups.setdefault((variables, alone), []).append(cell)

    def measured(group: tuple[tuple[object, ...], list[ExactCell]]) -> dict[str, Found]:
        (variables, _), members = group
        return _in_one(tree, members, worker=worker, photo=photo, folder=folder, variables=dict(variables))  # type: ignore[call-overload]

    found: dict[str, Found] = {}
    with ThreadPoolExecutor(PROCESSES) as pool:
        for part in pool.map(measured, groups.items()):
            found |= part
            say(f"exact: {len(found)} of {len(cells)} figures of {tree.side}")
    return {cell.name: found[cell.name] for cell in cells}


def compare(cells: Sequence[ExactCell], base: Mapping[str, Found], head: Mapping[str, Found]) -> list[ExactVerdict]:
    """Return the verdict of each cell."""
    return [_compared(cell, base.get(cell.name, Found(None, "not in the baseline")), head[cell.name]) for cell in cells]


def read_baseline(path: Path) -> dict[str, Found]:
    """Return the committed figures. Raises `Refusal` (bad_document) with the remedy."""
    remedy = "write one from the code as it is: semanir-bench gate --exact --write-baseline"
    if not path.is_file():
        raise Refusal("bad_document", f"{path}: there is no baseline; {remedy}")
    try:
        values = Baseline.model_validate_json(path.read_text(encoding="utf-8")).values
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise Refusal("bad_document", f"{path}: no baseline of this gate ({message}); {remedy}") from None
    return {name: Found(value) for name, value in values.items()}


def write_baseline(path: Path, found: Mapping[str, Found]) -> None:
    """Make figures the baseline. Raises `Refusal` where one is missing: a baseline with holes guards nothing."""
    if missing := {name: each.reason for name, each in found.items() if each.value is None}:
        name, reason = next(iter(missing.items()))
        raise Refusal(
            "bad_document", f"{path}: not written, {name} and {len(missing) - 1} others have no value: {reason}"
        )
    values = {name: each.value for name, each in sorted(found.items()) if each.value is not None}
    path.write_text(json.dumps(Baseline(values=values).model_dump(), indent=1) + "\n", encoding="utf-8")


def gone(cells: Sequence[ExactCell], base: Mapping[str, Found]) -> Iterator[ExactVerdict]:
    """Yield a verdict for each figure that the baseline holds and the spec no longer asks for."""
    for name in sorted(base.keys() - {cell.name for cell in cells}):
        yield ExactVerdict(
            cell=name,
            quantity="",
            unit="",
            status="not_measured",
            base=base[name].value,
            head=None,
            tolerance="",
            reason="in the baseline and no longer in the spec; write the baseline anew if it was taken out on purpose",
        )


def photograph(path: Path) -> Path:
    """Write the first bundled photograph as float32 in units of one, `256 x 256 x 3`."""
    (image,) = datasets.load(datasets.BUNDLED, images=1, image_size=PHOTO_SIDE)
    np.ascontiguousarray(units(image.pixels), dtype=np.float32).tofile(path)
    return path


def _in_one(
    tree: Tree, cells: Sequence[ExactCell], *, worker: Path, photo: Path, folder: Path, variables: Mapping[str, str]
) -> dict[str, Found]:
    found: dict[str, Found] = {}
    left = list(cells)
    while left:
        with Interpreter(tree, worker, threads=1, variables=variables) as side:
            side.greet(with_torch=True)
            while left:
                cell = left.pop(0)
                request = cell.request() | _pictures(cell, folder)
                try:
                    answer = side.ask({"do": "exact", "cell": request, "photo": str(photo)}, limit_s=EXACT_SECONDS)
                    found[cell.name] = Found(float(answer["value"]))
                except CellFailed as error:
                    found[cell.name] = Found(None, str(error))
                except WorkerDied as error:  # the others get a new one
                    found[cell.name] = Found(None, str(error))
                    break
    return found


def _pictures(cell: ExactCell, folder: Path) -> dict[str, str]:
    """Write the degraded photograph and its target for a PSNR; both trees read the same files."""
    if cell.quantity != "psnr" or cell.weights is None:
        return {}
    card, side = cards()[cell.weights], cell.size or 64
    task = TASKS[card.task]
    setting = task.parse(cell.setting or card.setting)
    if datasets.wants_pairs(setting) or datasets.wants_average(setting):
        setting = task.parse("default")  # a photograph has no partner: blurred by the task, it still tells a change
    (image,) = datasets.load(datasets.BUNDLED, images=1, image_size=side * card.scale)
    target = task.prepare_target(image.pixels, setting)
    randomness = generator(0, image.name)
    degraded = task.degrade(target, task.draw(setting, randomness), randomness)
    named = {"degraded": degraded, "target": units(target)}
    for name, pixels in named.items():
        path = folder / f"{cell.name}.{os.getpid()}.{name}.f32"
        np.ascontiguousarray(pixels, dtype=np.float32).tofile(path)
        named[name] = str(path)  # type: ignore[assignment]
    return named  # type: ignore[return-value]


def _variables(cell: ExactCell) -> tuple[tuple[str, str], ...]:
    own = {} if cell.backend is None else dict(BACKENDS[cell.backend].worker_env(cell.device or "cpu"))
    return tuple(sorted((own | (EVERY_BLOCK if cell.quantity == "memory" else {})).items()))


def _compared(cell: ExactCell, base: Found, head: Found) -> ExactVerdict:
    status, reason = _judged(cell, base, head)
    return ExactVerdict(
        cell=cell.name,
        quantity=cell.quantity,
        unit=UNITS[cell.quantity],
        status=status,
        base=bounded(base.value),
        head=bounded(head.value),
        tolerance=TOLERANCES[cell.quantity],
        reason=reason,
    )


def _judged(cell: ExactCell, base: Found, head: Found) -> tuple[ExactStatus, str]:
    if head.value is None or base.value is None:
        return "not_measured", head.reason or base.reason
    if not np.isfinite(head.value):
        return "worse", f"{head.value} is no number"
    old, new = base.value, head.value
    match cell.quantity:
        case "parameters":
            return ("same", "") if new == old else ("worse", f"{old:,.0f} -> {new:,.0f}: another network")
        case "flops":
            return _lower(old, new, limit=old, words=f"{old:,.0f} -> {new:,.0f}")
        case "memory":
            return _lower(old, new, limit=old * (1 + MORE_MEMORY) + MORE_MIB, words=f"{old:.1f} -> {new:.1f} MiB")
        case "agreement":
            allowed = AGREEMENT[cell.dtype or "float32"]
            words = f"{old:.1e} -> {new:.1e}, {cell.dtype or 'float32'} allows {allowed:.0e}"
            # Rounding differs between processors; four times what it was is another way to compute.
            return _lower(old, new, limit=min(allowed, 4 * max(old, allowed / 100)), words=words)
        case "psnr":
            return _lower(-old, -new, limit=PSNR_DB - old, words=f"{old:.3f} -> {new:.3f} dB")


def _lower(old: float, new: float, *, limit: float, words: str) -> tuple[ExactStatus, str]:
    if new > limit:
        return "worse", words
    return ("better", words) if old - new > max(limit - old, 0.0) else ("same", "")
