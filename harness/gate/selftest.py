"""The gate against itself: runs of one program twice, and of a copy with extra work in one backend.

Each run is a whole gate in a folder of its own, so a self-test that was interrupted goes on where it stopped;
`harness.gate.recount` makes a certificate of them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.gate import document, exact, run, samples, trees
from harness.gate.cells import GateCell, GateSpec, SelfTest
from harness.gate.document import GateDocument
from harness.gate.interpreter import Interpreter
from harness.gate.launch import ALLOCATOR
from harness.gate.measure import device_lock
from harness.gate.refusal import Refusal
from harness.gate.run import Request

Say = Callable[[str], None]

ITSELF = "itself"
CALIBRATION_SECONDS = 300.0


@dataclass(frozen=True)
class Trial:
    """One run of a self-test."""

    name: str
    backend: str | None = None
    """That gets extra work; None for the program against itself."""
    effect: float = 0.0
    """Extra work, as a share of the operation's time."""


def trials(plan: SelfTest) -> Iterator[Trial]:
    """Yield all runs, the kinds taking turns: an hour with noisy neighbours must not meet one kind alone."""
    counts = {0.0: plan.itself, **{effect.share: effect.runs for effect in plan.effects}}
    most = max(counts.values())
    for number in range(most):
        for effect, count in counts.items():
            done, place = number * count // most, (number + 1) * count // most
            if place > done and effect:
                yield Trial(f"{plan.backend}-{effect * 100:g}-{place:02}", plan.backend, effect)
            elif place > done:
                yield Trial(f"{ITSELF}-{place:02}")


def perform(request: Request, plan: SelfTest, folder: Path, say: Say) -> None:
    """Run all trials that the folder does not hold yet. Raises `Refusal`, and leaves what was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    for trial in trials(plan):
        target = folder / trial.name
        if (target / document.NAME).is_file():
            say(f"{trial.name}: measured before")
            continue
        target.mkdir(exist_ok=True)
        found = _performed(request, trial, target / samples.NAME, say)
        if found.refusal is not None:
            raise Refusal(found.refusal, f"{trial.name}: {found.message}")
        (target / document.NAME).write_text(document.as_json(found), encoding="utf-8")
        say(f"{trial.name}: {found.outcome}, {found.message}")


def _performed(request: Request, trial: Trial, file: Path, say: Say) -> GateDocument:
    request = replace(request, seed=run.default_seed())  # each run its own order of launches, cells and blocks
    if trial.backend is None:
        return run.gate(replace(request, base="HEAD", head="HEAD", against_itself=True), say, samples=file)
    with trees.held_folder() as folder:
        copy = clone(request.repository, folder / "copy")
        cells = injected(request.spec, trial.backend)
        with device_lock(request.spec.device, say, place=request.lock_folder):
            counts = calibrate(copy, cells, trial.backend, folder, say=say)
        inject(copy, trial.backend, {key(cell): round(trial.effect * counts[cell.name]) for cell in cells})
        spec = request.spec.model_copy(update={"cells": tuple(around(request.spec, trial.backend))})
        changed = replace(request, repository=copy, base="HEAD", head=trees.WORKTREE, spec=spec)
        return run.gate(changed, say, samples=file)


def injected(spec: GateSpec, backend: str) -> list[GateCell]:
    """Return the cells that get extra work: all attention calls of the backend. Raises `Refusal` without one."""
    cells = [cell for cell in spec.cells if cell.kind == "attention" and cell.backend == backend]
    if not cells:
        raise Refusal("bad_spec", f"the spec times no attention of '{backend}'; name another backend")
    return cells


def around(spec: GateSpec, backend: str) -> Iterator[GateCell]:
    """Yield the backend's attention calls, and of all others one of each backend and kind, who must not be blamed."""
    seen = set()
    for cell in spec.cells:
        if cell.kind == "attention" and cell.backend == backend:
            yield cell
        elif (sort := (cell.kind, cell.backend)) not in seen and cell.backend != backend:
            seen.add(sort)
            yield cell


def clone(repository: Path, folder: Path) -> Path:
    """Copy a repository with its history, committed files alone. Raises `Refusal`."""
    try:
        subprocess.run(
            ["git", "clone", "--quiet", "--no-hardlinks", str(repository), str(folder)],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise Refusal("no_repository", f"{repository} cannot be copied: {error}") from None
    return folder


EXTRA = """

# Extra work for the self-test of the regression gate: arithmetic that nobody reads. Never part of the project.
import torch as _torch

_GATE_COUNTS = {counts!r}
_gate_square: list = []
_gate_attend = attend


def gate_extra(count):
    with _torch.no_grad():
        if not _gate_square:
            _gate_square.append(_torch.full((64, 64), 0.125))
        for _ in range(count):
            _torch.mm(_gate_square[0], _gate_square[0])


class _GateLater(_torch.autograd.Function):
    @staticmethod
    def forward(ctx, out, count):
        ctx.count = count
        return out.view_as(out)

    @staticmethod
    def backward(ctx, gradient):
        gate_extra(ctx.count)
        return gradient, None


def attend(q, k, v, kept, **options):
    out = _gate_attend(q, k, v, kept, **options)
    later = q.requires_grad and _torch.is_grad_enabled()
    sparse = getattr(options.get("weighting"), "relu_squared", None) is not None
    shape = "x".join(map(str, q.shape))
    count = _GATE_COUNTS.get(f"{{shape}} bias={{options.get('bias') is not None}} sparse={{sparse}} later={{later}}", 0)
    if later:
        return _GateLater.apply(out, count)
    gate_extra(count)
    return out
"""


def key(cell: GateCell) -> str:
    """Return by what the extra work of an attention call is found: its shape, and what else it was asked for."""
    shape = f"{cell.windows}x{cell.heads}x{cell.tokens}x{cell.head_dim}"
    return f"{shape} bias={cell.bias} sparse={cell.sparse} later={cell.direction == 'backward'}"


def inject(copy: Path, backend: str, counts: Mapping[str, int]) -> None:
    """Append extra work to a backend of a copied tree, as often as `counts` says for each call."""
    file = copy / "semanir" / "attention" / "backends" / backend / "attend.py"
    own = file.read_text(encoding="utf-8").partition(EXTRA[:60])[0]
    file.write_text(own + EXTRA.format(counts=dict(counts)), encoding="utf-8")


def calibrate(copy: Path, cells: Sequence[GateCell], backend: str, folder: Path, *, say: Say) -> dict[str, float]:
    """Return how many units of extra work take as long as one call of each cell, on this machine and now."""
    inject(copy, backend, {})
    photo = exact.photograph(folder / "photo.f32")
    module = f"semanir.attention.backends.{backend}.attend"
    found = {}
    with Interpreter(trees.in_place(copy), run.WORKER, threads=1, variables=ALLOCATOR) as side:
        side.greet(with_torch=True)
        for cell in cells:
            asked = {"do": "calibrate", "cell": cell.request(), "photo": str(photo), "module": module}
            answer = side.ask(asked, limit_s=CALIBRATION_SECONDS)
            found[cell.name] = answer["call_ms"] / answer["unit_ms"]
            say(f"{cell.name}: a call of {answer['call_ms']:.1f} ms is {found[cell.name]:.0f} units of extra work")
    return found
