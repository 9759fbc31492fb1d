"""A whole gate: trees out, both parts measured, verdicts judged, one document; whatever prevents it has a name."""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness.catalogs import BACKENDS
from harness.environment import machine
from harness.gate import certificate, exact, kernels, trees, waivers
from harness.gate.cells import SENTINEL, GateSpec
from harness.gate.certificate import Certificate
from harness.gate.document import (
    EXIT_CODES,
    CellVerdict,
    ExactVerdict,
    GateDocument,
    Neighbours,
    Outcome,
    Sentinel,
    Side,
    WaiverShown,
    bounded,
    percentile,
)
from harness.gate.launch import Block, Setup
from harness.gate.measure import Timed, device_lock, fitted, measure
from harness.gate.refusal import Refusal
from harness.gate.samples import write as write_samples
from harness.gate.statistics import screened
from harness.gate.trees import Tree
from harness.gate.waivers import Waiver
from harness.record import Environment
from harness.store import utc_now
from semanir.attention.problem import DeviceKind

WORKER = Path(__file__).parent / "worker.py"
LEAST_LOSS = 1.0
"""A ratio above it is a loss that a waiver can cover."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What the command asks for."""

    repository: Path
    spec: GateSpec
    base: str | None
    """A revision; None takes where HEAD left the main branch."""
    head: str
    timed: bool
    """Whether anything is timed."""
    exactly: bool
    """Whether the exact figures are compared."""
    baseline: Path | None
    """Committed figures that the exact ones of the checkout are compared with, instead of base's; nothing is timed."""
    waivers: Path
    certificates: Path
    budget_s: float
    seed: int
    enforce: bool = False
    """Let timing verdicts fail the gate where no certificate holds, too."""
    against_itself: bool = False
    """Measure although both sources are equal: a run of the program against itself."""
    lock_folder: Path | None = None


def gate(request: Request, say: Say, *, samples: Path | None = None) -> GateDocument:
    """Run a gate and return its document; a refusal is a document, too. Samples go to a file, where one is named."""
    started_at, begun = utc_now(), time.monotonic()
    environment = machine(request.spec.device)
    empty = GateDocument(
        outcome="refused",
        exit_code=EXIT_CODES["refused"],
        started_at=started_at,
        base=None,
        head=None,
        spec=request.spec.id,
        rule=request.spec.rule,
        environment=environment,
        gate_class=certificate.gate_class(environment),
        certificate_note="",
        duration_s=0.0,
        sampled_s=0.0,
        seed=request.seed,
    )
    try:
        found = _measured(request, empty, say, samples)
    except Refusal as refusal:
        found = empty.model_copy(update={"refusal": refusal.kind, "message": str(refusal)})
    return found.model_copy(update={"duration_s": round(time.monotonic() - begun, 1)})


def _measured(request: Request, empty: GateDocument, say: Say, samples: Path | None) -> GateDocument:
    today = datetime.datetime.now(datetime.UTC).date()
    spec = fitted(request.spec, request.budget_s) if request.timed else request.spec
    names = [cell.name for cell in (*spec.cells, *spec.exact)] + [f"static-{target}" for target in spec.static]
    accepted = waivers.load(request.waivers, names, today=today)
    _refuse_missing_device(spec.device, empty.environment)
    # A small budget takes fewer blocks, for which no certificate of more holds.
    empty = empty.model_copy(update={"spec": spec.id})
    held, note = certificate.holding(request.certificates, empty.environment, spec, today=today)
    if request.baseline is not None:
        document = _against_baseline(request, empty, request.baseline, say)
    else:
        document = _against_base(request, spec, empty, held, note, say, samples)
    document = _waived(document, accepted, today)
    return document if document.message else _concluded(document, binding=held is not None or request.enforce)


def _against_baseline(request: Request, document: GateDocument, baseline: Path, say: Say) -> GateDocument:
    """Compare the exact figures of the checkout, as it lies there, with the committed ones."""
    head = trees.in_place(request.repository)
    of_base = exact.read_baseline(baseline)
    with trees.held_folder() as folder, device_lock(request.spec.device, say, place=request.lock_folder):
        of_head = exact.figures(head, request.spec.exact, worker=WORKER, folder=folder, say=say)
    found = exact.compare(request.spec.exact, of_base, of_head) + list(exact.gone(request.spec.exact, of_base))
    committed = Side(
        revision=baseline.name, commit="", dirty=False, digest=hashlib.sha256(baseline.read_bytes()).hexdigest()
    )
    static = kernels.verdicts(request.spec.static)
    return document.model_copy(update={"base": committed, "head": _side(head), "exact": (*found, *static)})


def _against_base(
    request: Request,
    spec: GateSpec,
    document: GateDocument,
    held: Certificate | None,
    note: str,
    say: Say,
    samples: Path | None,
) -> GateDocument:
    """Measure two revisions in one run."""
    with ExitStack() as stack:
        before, after = stack.enter_context(trees.two_trees(request.repository, request.base, request.head))
        document = document.model_copy(
            update={
                "base": _side(before),
                "head": _side(after),
                "certificate": held.shown() if held else None,
                "certificate_note": note if request.timed else "",
            }
        )
        if before.digest == after.digest and not request.against_itself:
            return _ended(document, "nothing_to_compare", "A/A, nothing to compare: both trees hold the same sources")
        folder = before.folder.parent
        worker = Path(shutil.copyfile(WORKER, folder / "worker.py"))
        stack.enter_context(device_lock(spec.device, say, place=request.lock_folder))
        if request.exactly:
            figures = _exactly(request, before, after, worker, folder, say)
            document = document.model_copy(update={"exact": tuple(figures)})
        if not request.timed:
            return document
        setup = Setup(
            base=before,
            head=after,
            worker=worker,
            photo=exact.photograph(folder / "photo.f32") if spec.with_torch else folder,
            sampling=spec.sampling,
            device=spec.device,
            variables={"TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled")},  # one for both: equal sources, equal code
        )
        timed = measure(setup, spec, budget_s=request.budget_s, seed=request.seed, say=say)
    document = _with_times(document, timed, spec)
    if samples is None:
        return document
    return document.model_copy(update={"samples": samples.name, "samples_sha256": write_samples(samples, timed.blocks)})


def _refuse_missing_device(device: DeviceKind, environment: Environment) -> None:
    if device == "cuda" and environment.device == "no CUDA device":
        raise Refusal(
            "missing_device",
            "the spec times cells on a CUDA device and this machine has none; run it where there is one, or take a "
            "spec for the CPU",
        )


def _exactly(request: Request, before: Tree, after: Tree, worker: Path, folder: Path, say: Say) -> list[ExactVerdict]:
    cells = request.spec.exact
    found: list[ExactVerdict] = []
    if cells:
        of_head, of_base = (
            exact.figures(tree, cells, worker=worker, folder=folder, say=say) for tree in (after, before)
        )
        found = exact.compare(cells, of_base, of_head)
    if not request.spec.static:
        return found
    if not _same_files(after.folder / trees.PACKAGE, request.repository / trees.PACKAGE):
        reason = f"kernels are compiled from the checkout, which is not {after.revision}; check it out"
        return found + [kernels.not_measured(target, reason) for target in request.spec.static]
    # What base committed: a baseline that head has rewritten would accept its own kernels.
    committed = before.folder / "harness" / "static" / "baselines"
    return found + list(kernels.verdicts(request.spec.static, folder=committed))


def _same_files(one: Path, other: Path) -> bool:
    return other.is_dir() and trees.digest_of(one) == trees.digest_of(other)


def _with_times(document: GateDocument, timed: Timed, spec: GateSpec) -> GateDocument:
    judged = timed.judged(spec)
    verdicts = []
    for cell in spec.cells:
        found = judged[cell.name]
        stages = timed.stages.get(cell.name)
        is_there = stages is not None
        verdicts.append(
            CellVerdict(
                cell=cell.name,
                kind=cell.kind,
                backend=cell.backend,
                direction=cell.direction,
                status=found.status,
                ratio=found.ratio,
                low=bounded(found.low),
                high=bounded(found.high),
                p=found.p,
                reason=found.reason,
                base_ms=timed.median_ms(cell.name, "base") if is_there else None,
                head_ms=timed.median_ms(cell.name, "head") if is_there else None,
                first=tuple(stages.first) if stages else (),
                second=tuple(stages.second) if stages else (),
            )
        )
    own = timed.stages.get(SENTINEL)
    sentinel = Sentinel(
        first=tuple(own.first) if own else (),
        second=tuple(own.second) if own else (),
        alarm=timed.sentinel_alarm(spec.rule),
    )
    return document.model_copy(
        update={
            "cells": tuple(verdicts),
            "sentinel": sentinel,
            "neighbours": neighbours(timed.blocks),
            "timed_s": round(timed.duration_s, 1),
            "sampled_s": round(timed.sampled_s, 1),
            "environment": document.environment.model_copy(
                update={
                    "threads": spec.sampling.threads,
                    "versions": {**document.environment.versions, **timed.versions},
                }
            ),
        }
    )


def neighbours(blocks: Sequence[Block]) -> Neighbours:
    """Return what else ran on the machine while the samples were taken."""
    loads = [load for block in blocks for load in block.load]
    averages = [load.load_average for load in loads if load.load_average is not None]
    seconds = sum(ms * block.calls for block in blocks for ms in block.ms) / 1e3
    watched = any(load.throttle is not None for load in loads)
    return Neighbours(
        pressure_median=percentile([load.pressure for load in loads], 0.5),
        pressure_p95=percentile([load.pressure for load in loads], 0.95),
        steal_p95=percentile([load.steal for load in loads], 0.95),
        load_average_median=round(median(averages), 2) if averages else None,
        switches_per_s=round(sum(sum(block.switches) for block in blocks) / max(seconds, 1e-9), 1),
        throttled_blocks=sum(block.throttled for block in blocks) if watched else None,
    )


def _waived(document: GateDocument, accepted: Sequence[Waiver], today: datetime.date) -> GateDocument:
    """Mark the losses that a waiver covers, and show every waiver, used or not, expired or not."""
    by_cell = {waiver.cell: waiver for waiver in accepted}
    used: set[str] = set()

    def covered(name: str, status: str, ratio: float | None) -> bool:
        lost = status in ("slower", "worse", "not_measured")
        seen = None if status == "not_measured" else ratio
        if not lost or name not in by_cell or not by_cell[name].accepts(seen, today=today):
            return False
        used.add(name)
        return True

    cells = tuple(
        cell.model_copy(
            update={"waived": covered(cell.cell, "slower" if _is_cut(cell, document) else cell.status, cell.ratio)}
        )
        for cell in document.cells
    )
    exacts = tuple(
        figure.model_copy(update={"waived": covered(figure.cell, figure.status, loss(figure))})
        for figure in document.exact
    )
    shown = tuple(
        WaiverShown(
            cell=waiver.cell,
            limit=str(waiver.limit),
            reason=waiver.reason,
            expires=waiver.expires.isoformat(),
            state=waiver.state(today),
            used=waiver.cell in used,
        )
        for waiver in accepted
    )
    return document.model_copy(update={"cells": cells, "exact": exacts, "waivers": shown})


def loss(figure: ExactVerdict) -> float:
    """Return by which factor a figure got worse; infinite where there is no factor."""
    base, head = figure.base, figure.head
    if base is None or head is None or base <= 0 or head <= 0 or figure.quantity == "static cost":
        return float("inf")
    return base / head if figure.quantity == "psnr" else head / base


def _concluded(document: GateDocument, *, binding: bool) -> GateDocument:
    """Say what the verdicts mean together."""
    if document.sentinel is not None and document.sentinel.alarm:
        how = (
            "differs from itself: this run proves nothing; run it again when quieter"
            if document.sentinel.first
            else "was not measured: nothing shows whether this run can be believed"
        )
        return _ended(document, "void", f"the A/A sentinel {how}")
    verdicts: list[CellVerdict | ExactVerdict] = [*document.cells, *document.exact]
    missing = [verdict.cell for verdict in verdicts if _open(verdict, "not_measured")]
    worse = [figure.cell for figure in document.exact if _open(figure, "worse")]
    slower = [cell.cell for cell in document.cells if _open(cell, "slower")]
    cut = [cell.cell for cell in document.cells if not cell.waived and _is_cut(cell, document)]
    if missing or worse or cut or (slower and binding):
        parts = (
            ("slower", slower),
            ("worse", worse),
            ("declared and not measured", missing),
            ("not decided when the budget ended, which takes a larger --budget", cut),
        )
        return _ended(document, "fail", "; ".join(f"{words}: {', '.join(names)}" for words, names in parts if names))
    if slower:
        return _ended(
            document, "advisory", f"looks slower, and nothing fails without a certificate: {', '.join(slower)}"
        )
    return _ended(document, "pass", f"nothing got worse{_counts(document)}")


def _is_cut(cell: CellVerdict, document: GateDocument) -> bool:
    """Whether the budget ended before a cell was decided that may be slower: a large slow-down takes much time.

    The sentinel is in every launch: where it has all of them, a launch that a cell lacks was lost to something else.
    """
    launches, sentinel = document.rule.launches, document.sentinel
    if cell.status != "inconclusive" or sentinel is None:
        return False
    if len(sentinel.first) < launches:
        return True
    return screened(cell.first, document.rule) == "slower" and not cell.second and len(sentinel.second) < launches


def _counts(document: GateDocument) -> str:
    statuses: list[str] = [found.status for found in document.cells]
    statuses += [found.status for found in document.exact]
    counts: Mapping[str, int] = {status: statuses.count(status) for status in dict.fromkeys(statuses)}
    return ": " + ", ".join(f"{count} {status}" for status, count in counts.items()) if counts else ""


def _open(verdict: CellVerdict | ExactVerdict, status: str) -> bool:
    return verdict.status == status and not verdict.waived


def _ended(document: GateDocument, outcome: Outcome, message: str) -> GateDocument:
    return document.model_copy(update={"outcome": outcome, "exit_code": EXIT_CODES[outcome], "message": message})


def _side(tree: Tree) -> Side:
    return Side(revision=tree.revision, commit=tree.commit, dirty=tree.dirty, digest=tree.digest)


def backends_with_a_speed(device: DeviceKind) -> list[str]:
    """Return the backends that a spec of this device has to cover."""
    return [name for name in BACKENDS.names() if device in BACKENDS[name].speed_on]


def default_seed() -> int:
    """Return a seed from the system: the order of blocks must not be the same in every run."""
    return int.from_bytes(os.urandom(4), "big")
