"""From the raw runs of a self-test to a certificate, counted from samples alone, so that anybody can count it again."""

from __future__ import annotations

import datetime
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from harness.gate import certificate, document, rivals, run, samples, statistics
from harness.gate.cells import SENTINEL
from harness.gate.certificate import Certificate, Power, Share
from harness.gate.document import CellVerdict, GateDocument
from harness.gate.launch import Block, values
from harness.gate.measure import Timed
from harness.gate.refusal import Refusal
from harness.gate.selftest import ITSELF
from harness.gate.statistics import Judgement, Stages

TOLERANCE = 1e-9
"""Of a launch value, whose last digits may depend on the processor."""
AGAIN = "measure it again: semanir-bench gate --self-test DIR"


@dataclass(frozen=True)
class _Run:
    """A whole gate of a self-test, judged anew."""

    verdict: GateDocument
    blocks: tuple[Block, ...]
    judged: Mapping[str, Judgement]

    @property
    def is_void(self) -> bool:
        """Whether its sentinel raised an alarm."""
        return self.verdict.outcome == "void"


def certify(folder: Path, *, spec: str, today: datetime.date) -> Certificate:
    """Make a certificate from all runs of a folder, of the spec with this digest.

    Every verdict is judged again from its samples. Raises `Refusal` where the runs do not belong together, or where a
    verdict is not what its samples say.
    """
    paths = {path.parent.name: path for path in sorted(folder.glob(f"*/{document.NAME}"))}
    found = {name: _read(path) for name, path in paths.items()}
    itself = {name: one for name, one in found.items() if name.startswith(f"{ITSELF}-")}
    _refuse_strangers(folder, spec, found, itself)
    valid = [one for one in itself.values() if not one.is_void]
    clusters = tuple(_alarms(one) for one in valid)
    loads = run.neighbours([block for one in valid for block in one.blocks])
    first = next(iter(found.values())).verdict
    return Certificate(
        date=today,
        gate_class=first.gate_class,
        environment=first.environment,
        procedure=certificate.procedure(),
        spec=spec,
        source=first.base.digest if first.base else "",
        gates=len(valid),
        hours=tuple(sorted({one.verdict.started_at[:13] for one in valid})),
        false_alarms=Share(hits=sum(hits for hits, _ in clusters), trials=sum(trials for _, trials in clusters)),
        clusters=clusters,
        voided=Share(hits=sum(one.is_void for one in found.values()), trials=len(found)),
        power=tuple(_powers(found, cells=len(valid[0].verdict.cells))),
        launch_sd=certificate.launch_sd([cell.first for one in valid for cell in one.verdict.cells]),
        timed_s=median(one.verdict.timed_s for one in valid),
        overhead=round(median(1 - one.verdict.sampled_s / max(one.verdict.timed_s, 1e-9) for one in valid), 4),
        rivals=compared([pair for one in valid for pair in pairs(one.blocks)]),
        pressure_median=loads.pressure_median,
        load_average_median=loads.load_average_median,
        runs={
            f"{name}/{file}": samples.sha256_of(folder / name / file)
            for name in found
            for file in (document.NAME, samples.NAME)
        },
    )


def keep(found: Certificate, folder: Path, certificates: Path) -> Path:
    """Write a certificate and the runs that it was counted from side by side, and return the certificate's path."""
    certificates.mkdir(parents=True, exist_ok=True)
    path = certificate.write(found, certificates)
    if (runs := _runs_of(path)).resolve() != folder.resolve():
        shutil.rmtree(runs, ignore_errors=True)
        for name in found.runs:
            (runs / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, runs / name)
    return path


def recount(certificates: Path) -> list[Certificate]:
    """Count every certificate of a folder again from the runs beside it, and return what was counted.

    Raises `Refusal` where there is no certificate, where a run is missing or not the one that was counted, and where
    the count comes out different.
    """
    paths = sorted(certificates.glob("*.json"))
    if not paths:
        raise Refusal(
            "bad_certificate",
            f"{certificates} holds no certificate: measure one on this machine, which takes hours, with "
            "'semanir-bench gate --self-test DIR', and commit what it leaves there",
        )
    return [_recounted(path) for path in paths]


def rejudged(verdict: GateDocument, blocks: Sequence[Block], place: str) -> dict[str, Judgement]:
    """Judge the cells of a run again from its samples. Raises `Refusal` where its verdict says anything else."""
    by_launch: dict[int, list[Block]] = {}
    for block in blocks:
        by_launch.setdefault(block.launch, []).append(block)
    counted: dict[str, list[float]] = {}
    for number in sorted(by_launch):
        for name, value in values(by_launch[number]).items():
            counted.setdefault(name, []).append(value)

    def stages(name: str, first: Sequence[float], second: Sequence[float]) -> Stages:
        told, own = [*first, *second], counted.get(name, [])[: len(first) + len(second)]
        if len(own) != len(told) or any(abs(one - other) > TOLERANCE for one, other in zip(own, told, strict=True)):
            raise Refusal("bad_certificate", f"{place}: the launches of {name} are not those of its samples; {AGAIN}")
        return Stages(own[: len(first)], own[len(first) :])

    measured = [cell for cell in verdict.cells if cell.status != "not_measured"]
    found = statistics.judge(
        {cell.cell: stages(cell.cell, cell.first, cell.second) for cell in measured},
        verdict.rule,
        not_measured={cell.cell: cell.reason for cell in verdict.cells if cell.status == "not_measured"},
    )
    for cell in verdict.cells:
        if found[cell.cell].status != cell.status:
            said = f"{cell.cell} is {cell.status} in its verdict and {found[cell.cell].status} by its samples"
            raise Refusal("bad_certificate", f"{place}: {said}; {AGAIN}")
    if (sentinel := verdict.sentinel) is None:
        raise Refusal("bad_certificate", f"{place}: has no sentinel, so nothing was timed; {AGAIN}")
    own = stages(SENTINEL, sentinel.first, sentinel.second)
    timed = Timed(stages={SENTINEL: own} if own.first else {})
    if (verdict.outcome == "void") != timed.sentinel_alarm(verdict.rule):
        raise Refusal("bad_certificate", f"{place}: its sentinel says something else than its outcome; {AGAIN}")
    return found


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
        alike: dict[tuple[int, int], list[Pair]] = {}  # those with as many samples are judged in one go
        for pair in found:
            if pair.arrangement == arrangement:
                alike.setdefault((len(pair.base), len(pair.head)), []).append(pair)
        for name, rule in rivals.RULES.items():
            alarms = [rule(np.array([p.base for p in of]), np.array([p.head for p in of])) for of in alike.values()]
            counted = np.concatenate(alarms)
            shares[f"{name}, {arrangement}"] = Share(hits=int(counted.sum()), trials=len(counted))
    return shares


def _read(path: Path) -> _Run:
    place = str(path.parent)
    verdict = document.parse(path.read_text(encoding="utf-8"), str(path))
    file = path.with_name(samples.NAME)
    if not file.is_file() or samples.sha256_of(file) != verdict.samples_sha256:
        raise Refusal("bad_certificate", f"{file}: is not the file of samples that the verdict names; {AGAIN}")
    blocks = tuple(samples.read(file))
    return _Run(verdict, blocks, rejudged(verdict, blocks, place))


def _refuse_strangers(folder: Path, spec: str, found: Mapping[str, _Run], itself: Mapping[str, _Run]) -> None:
    """Refuse runs that do not belong together. Raises `Refusal`."""
    if not any(_alarms(one)[1] for one in itself.values() if not one.is_void):
        raise Refusal(
            "bad_certificate", f"{folder} holds no valid run of the program against itself; nothing is certified"
        )
    classes = {one.verdict.gate_class for one in found.values()}
    if len(classes) > 1:
        raise Refusal(
            "bad_certificate", f"{folder} holds runs of {len(classes)} classes of machine; certify each alone"
        )
    if len({one.verdict.base.digest if one.verdict.base else "" for one in found.values()}) > 1:
        raise Refusal("bad_certificate", f"{folder} holds runs of several versions of the package; certify each alone")
    if strange := [name for name, one in itself.items() if one.verdict.spec != spec]:
        raise Refusal("bad_certificate", f"{strange[0]} was run with another spec than the one that is certified")


def _recounted(path: Path) -> Certificate:
    """Return a certificate as it is counted now. Raises `Refusal` where that is not what it says."""
    held, runs = certificate.read(path), _runs_of(path)
    there = {str(file.relative_to(runs)) for file in runs.glob("*/*")}
    for name in sorted(there | held.runs.keys()):
        if name not in there:
            raise Refusal("bad_certificate", f"{runs / name}: is missing; put back what {path.name} was counted from")
        if samples.sha256_of(runs / name) != held.runs.get(name):
            raise Refusal("bad_certificate", f"{runs / name}: is not what {path.name} was counted from; put that back")
    found = certify(runs, spec=held.spec, today=held.date).model_copy(update={"procedure": held.procedure})
    for field in Certificate.model_fields:
        if (told := getattr(held, field)) != (counted := getattr(found, field)):
            raise Refusal("bad_certificate", f"{path}: {field} is {told}, but its runs give {counted}; {AGAIN}")
    return found


def _runs_of(certificate_file: Path) -> Path:
    """Return the folder of the runs behind a certificate: beside it, under its name."""
    return certificate_file.with_suffix("")


def _alarms(one: _Run) -> tuple[int, int]:
    measured = [found for found in one.judged.values() if found.status != "not_measured"]
    return sum(found.status in ("slower", "faster") for found in measured), len(measured)


def _powers(found: Mapping[str, _Run], *, cells: int) -> Iterator[Power]:
    """Count detections at the level of the whole spec of so many cells: fewer in a run must not make them easier."""
    kinds: dict[tuple[str, float], list[_Run]] = {}
    for name, one in found.items():
        backend, _, rest = name.rpartition("-")[0].rpartition("-")
        if backend and not one.is_void:
            kinds.setdefault((backend, float(rest) / 100), []).append(one)
    for (backend, effect), runs in sorted(kinds.items(), key=lambda item: item[0][1]):
        own = [(one, cell) for one in runs for cell in one.verdict.cells if _is_slowed(cell, backend)]
        others = [one.judged[cell.cell] for one in runs for cell in one.verdict.cells if cell.backend != backend]
        seen = [math.exp(median(cell.second or cell.first)) - 1 for _, cell in own if cell.first]
        yield Power(
            backend=backend,
            effect=effect,
            seen=round(median(seen), 4) if seen else 0.0,
            found=Share(hits=sum(_is_caught(one, cell, cells) for one, cell in own), trials=len(own)),
            blamed=Share(hits=sum(other.status == "slower" for other in others), trials=len(others)),
            exchanged=Share(hits=sum(_is_slower_exchanged(one, cell) for one, cell in own), trials=len(own)),
        )


def _is_slowed(cell: CellVerdict, backend: str) -> bool:
    return cell.backend == backend and cell.kind == "attention"


def _is_slower_exchanged(one: _Run, cell: CellVerdict) -> bool:
    """Whether a cell would be called slower if head had been base, judged alone, which is the least strict.

    Each block took both sides alike, in an order drawn by a coin.
    """
    if not cell.first:
        return False
    stages = Stages(*(tuple(-value for value in stage) for stage in (cell.first, cell.second)))
    return statistics.judge({cell.cell: stages}, one.verdict.rule)[cell.cell].status == "slower"


def _is_caught(one: _Run, cell: CellVerdict, cells: int) -> bool:
    found = one.judged[cell.cell]
    return found.status == "slower" and found.p is not None and found.p <= one.verdict.rule.family / cells
