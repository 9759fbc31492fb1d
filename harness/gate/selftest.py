"""The gate against itself: runs of one program twice, and of a copy with extra work in one backend -> a certificate.

Each run is a whole gate in a folder of its own, so a self-test that was interrupted goes on where it stopped, and a
certificate can be made again from the committed runs by anybody.
"""

from __future__ import annotations

import datetime
import hashlib
import math
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from harness.gate import certificate, document, exact, rivals, run, trees
from harness.gate.cells import GateCell, GateSpec, SelfTest
from harness.gate.certificate import Certificate, Power, Share
from harness.gate.document import GateDocument
from harness.gate.interpreter import Interpreter
from harness.gate.launch import Block
from harness.gate.refusal import Refusal
from harness.gate.run import Request

Say = Callable[[str], None]

VERDICT, SAMPLES = "gate.json", "samples.jsonl.gz"
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
                yield Trial(f"itself-{place:02}")


def perform(request: Request, plan: SelfTest, folder: Path, say: Say) -> None:
    """Run all trials that the folder does not hold yet. Raises `Refusal`, and leaves what was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    for trial in trials(plan):
        target = folder / trial.name
        if (target / VERDICT).is_file():
            say(f"{trial.name}: measured before")
            continue
        target.mkdir(exist_ok=True)
        found = _performed(request, trial, target / SAMPLES, say)
        if found.refusal is not None:
            raise Refusal(found.refusal, f"{trial.name}: {found.message}")
        (target / VERDICT).write_text(document.as_json(found), encoding="utf-8")
        say(f"{trial.name}: {found.outcome}, {found.message}")


def _performed(request: Request, trial: Trial, samples: Path, say: Say) -> GateDocument:
    if trial.backend is None:
        return run.gate(replace(request, base="HEAD", head="HEAD", against_itself=True), say, samples=samples)
    with trees.held_folder() as folder:
        copy = clone(request.repository, folder / "copy")
        cells = injected(request.spec, trial.backend)
        counts = calibrate(copy, cells, trial.backend, folder, say=say)
        inject(copy, trial.backend, {key(cell): round(trial.effect * counts[cell.name]) for cell in cells})
        spec = request.spec.model_copy(update={"cells": tuple(around(request.spec, trial.backend))})
        changed = replace(request, repository=copy, base="HEAD", head=trees.WORKTREE, spec=spec)
        return run.gate(changed, say, samples=samples)


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
    with Interpreter(trees.in_place(copy), run.WORKER, threads=1) as side:
        side.greet(with_torch=True)
        for cell in cells:
            asked = {"do": "calibrate", "cell": cell.request(), "photo": str(photo), "module": module}
            answer = side.ask(asked, limit_s=CALIBRATION_SECONDS)
            found[cell.name] = answer["call_ms"] / answer["unit_ms"]
            say(f"{cell.name}: a call of {answer['call_ms']:.1f} ms is {found[cell.name]:.0f} units of extra work")
    return found


def certify(folder: Path, spec: GateSpec, *, today: datetime.date) -> Certificate:
    """Make a certificate from all runs of a folder. Raises `Refusal` where they do not belong together."""
    runs = {path.parent.name: path for path in sorted(folder.glob(f"*/{VERDICT}"))}
    found = {name: document.parse(path.read_text(encoding="utf-8"), str(path)) for name, path in runs.items()}
    itself = {name: one for name, one in found.items() if name.startswith("itself-")}
    if not itself:
        raise Refusal("bad_certificate", f"{folder} holds no run of the program against itself; nothing is certified")
    classes = {one.gate_class for one in found.values()}
    if len(classes) > 1:
        raise Refusal(
            "bad_certificate", f"{folder} holds runs of {len(classes)} classes of machine; certify each alone"
        )
    if strange := [name for name, one in itself.items() if one.spec != spec.id]:
        raise Refusal("bad_certificate", f"{strange[0]} was run with another spec than the one that is certified")
    valid = {name: one for name, one in itself.items() if one.outcome != "void"}
    clusters = tuple(_alarms(one) for one in valid.values())
    blocks = {name: run.read_samples(folder / name / SAMPLES) for name in valid}
    first = next(iter(found.values()))
    loads = run.neighbours([block for of_run in blocks.values() for block in of_run])
    return Certificate(
        date=today,
        gate_class=first.gate_class,
        environment=first.environment,
        procedure=certificate.procedure(),
        spec=spec.id,
        source=first.base.digest if first.base else "",
        gates=len(valid),
        hours=tuple(sorted({one.started_at[:13] for one in valid.values()})),
        false_alarms=Share(hits=sum(hits for hits, _ in clusters), trials=sum(trials for _, trials in clusters)),
        clusters=clusters,
        voided=Share(hits=sum(one.outcome == "void" for one in found.values()), trials=len(found)),
        power=tuple(_powers(found, spec)),
        launch_sd=certificate.launch_sd([cell.first for one in valid.values() for cell in one.cells]),
        rivals=compared([pair for of_run in blocks.values() for pair in pairs(of_run)]),
        pressure_median=loads.pressure_median,
        load_average_median=loads.load_average_median,
        runs={
            f"{name}/{file}": hashlib.sha256((folder / name / file).read_bytes()).hexdigest()
            for name in found
            for file in (VERDICT, SAMPLES)
        },
    )


@dataclass(frozen=True)
class Pair:
    """Two samples of one program, as a rule would compare them."""

    arrangement: str
    base: tuple[float, ...]
    head: tuple[float, ...]


def pairs(blocks: Sequence[Block]) -> Iterator[Pair]:
    """Yield disjoint comparisons of each cell: base of one launch and head of the next, and both of one launch."""
    times: dict[tuple[str, int], dict[str, list[float]]] = {}
    for block in blocks:
        sides = times.setdefault((block.cell, block.launch), {"base": [], "head": []})
        for side in ("base", "head"):
            sides[side] += block.side(side)
    for cell in dict.fromkeys(name for name, _ in times):
        launches = [of_launch for (name, _), of_launch in times.items() if name == cell]
        for one, other in zip(launches[::2], launches[1::2], strict=False):
            yield Pair("one run after the other", tuple(one["base"]), tuple(other["head"]))
            yield Pair("side by side", tuple(one["base"]), tuple(one["head"]))


def compared(found: Sequence[Pair]) -> dict[str, Share]:
    """Return the false alarms of the usual rules on samples of one program."""
    shares = {}
    for arrangement in dict.fromkeys(pair.arrangement for pair in found):
        chosen = [pair for pair in found if pair.arrangement == arrangement]
        for name, rule in rivals.RULES.items():
            alarms = sum(bool(rule(np.array([pair.base]), np.array([pair.head]))[0]) for pair in chosen)
            shares[f"{name}, {arrangement}"] = Share(hits=alarms, trials=len(chosen))
    return shares


def as_markdown(found: Certificate) -> str:
    """Return the table of the README: this gate and the usual rules, their false alarms on the same samples."""
    low, high = found.bootstrap
    lines = [
        "| rule | false alarms | rate, with its 95 % interval |",
        "|---|---|---|",
        f"| this gate | {found.false_alarms.hits} of {found.false_alarms.trials} | {_rate(found.false_alarms)} |",
        *(f"| {name} | {share.hits} of {share.trials} | {_rate(share)} |" for name, share in found.rivals.items()),
        "",
        f"{found.gates} gates in the hours {', '.join(hour.replace('T', ' ') for hour in found.hours)} UTC; whole "
        f"gates drawn anew: {low:.1%} to {high:.1%}. {_machine(found)}",
    ]
    if found.power:
        lines += ["", "| slow-down | seen as | found | other backends blamed |", "|---|---|---|---|"]
        for power in found.power:
            row = (f"{power.effect:+.0%} in {power.backend}", f"{power.seen:+.1%}")
            lines.append(f"| {' | '.join((*row, power.found.words, power.blamed.words))} |")
    return "\n".join(lines)


def _rate(share: Share) -> str:
    low, high = share.interval
    return f"{share.hits / share.trials:.1%} ({low:.1%} to {high:.1%})"


def _machine(found: Certificate) -> str:
    pressure = "unknown" if found.pressure_median is None else f"{found.pressure_median:.0%}"
    return (
        f"{found.environment.cpu}, {found.environment.cores} cores; median pressure {pressure}, load average "
        f"{found.load_average_median}; standard deviation of a launch value {found.launch_sd:.3f}."
    )


def _alarms(one: GateDocument) -> tuple[int, int]:
    measured = [cell for cell in one.cells if cell.status != "not_measured"]
    return sum(cell.status in ("slower", "faster") for cell in measured), len(measured)


def _powers(found: Mapping[str, GateDocument], spec: GateSpec) -> Iterator[Power]:
    """Count detections at the level of the whole spec: fewer cells in a run must not make them easier."""
    level = spec.rule.family / len(spec.cells)
    kinds: dict[tuple[str, float], list[GateDocument]] = {}
    for name, one in found.items():
        backend, _, rest = name.rpartition("-")[0].rpartition("-")
        if backend and one.outcome != "void":
            kinds.setdefault((backend, float(rest) / 100), []).append(one)
    for (backend, effect), runs in sorted(kinds.items(), key=lambda item: item[0][1]):
        cells = [cell for one in runs for cell in one.cells]
        own = [cell for cell in cells if cell.backend == backend and cell.kind == "attention"]
        others = [cell for cell in cells if cell.backend != backend]
        caught = [cell.status == "slower" and cell.p is not None and cell.p <= level for cell in own]
        seen = [math.exp(median(cell.second or cell.first)) - 1 for cell in own if cell.first]
        yield Power(
            backend=backend,
            effect=effect,
            seen=round(median(seen), 4) if seen else 0.0,
            found=Share(hits=sum(caught), trials=len(own)),
            blamed=Share(hits=sum(cell.status == "slower" for cell in others), trials=len(others)),
        )
