"""The protocols page: each printed number beside the one that this pipeline measures, and what lies between them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from harness.record import Cell, Record
from reports.document import (
    Badge,
    Block,
    Column,
    Document,
    Entry,
    Facts,
    Group,
    Row,
    Section,
    State,
    Table,
    Text,
)
from reports.origin import again, provenance
from reports.quantities import brief
from reports.results import Result, counted, gather, in_words, state

if TYPE_CHECKING:
    from harness.store import StoredPlan

PUBLISHED = Path(__file__).parents[1] / "published" / "protocols.csv"

EQUAL = "equal in printed digits"
Kind = Literal["equal", "within", "differs", "absent"]

_NAMED = ("task", "dataset", "setting", "model", "weights")
"""Axes that a printed number names."""
_HARMLESS = frozenset({"batch", "device", "seed", "tile"})
"""Axes that leave a restoration what it is, but for rounding and the draw of the noise."""
_QUANTITIES = {"psnr": "PSNR, dB", "ssim": "SSIM", "degraded.psnr": "PSNR of the input, dB, unclipped"}
_COLUMNS = (
    Column(label="set"),
    Column(label="setting"),
    Column(label="printed as", hint="the method's name in the table that prints it"),
    Column(label="model", hint="what computes it here; a network with the file that its weights come from"),
    Column(label="printed", kind="number"),
    Column(label="measured", kind="number", hint="mean over images, with the printed decimals"),
    Column(label="difference", kind="number", hint="measured less printed, both with the printed decimals"),
    Column(label="verdict"),
    Column(label="source"),
)


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A number that a table prints, and the cell that has to give it."""

    source: str
    """Paper and table."""
    task: str
    dataset: str
    setting: str
    method: str
    """Its name in that table."""
    model: str
    weights: str
    metric: str
    """Name of the measurement, as in `psnr` or `degraded.psnr`."""
    printed: str
    """As printed: its decimals say how closely a measurement is compared."""
    within: str
    """A difference that chance explains, where the input is random; empty where nothing is."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of a printed number."""

    printed: Printed
    result: Result
    kind: Kind
    measured: float | None = None
    images: int = 0
    difference: Decimal | None = None
    """Of the rounded numbers."""
    reason: str = ""
    """Why there is no measurement."""

    @property
    def words(self) -> str:
        """The verdict for reading."""
        match self.kind:
            case "equal":
                return EQUAL
            case "within":
                return f"within {self.printed.within}, the input being random"
            case "differs":
                return f"differs by {_signed(self.difference)}"
            case "absent":
                return "not measured"


@cache
def published() -> tuple[Printed, ...]:
    """Read the printed numbers."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        return tuple(Printed(**row) for row in csv.DictReader(file))


def build(
    records: Mapping[str, Record],
    plan: StoredPlan,
    *,
    artifact: Callable[[str], bytes] | None = None,
    store_name: str = "STORE",
    baseline: str | None = None,
) -> Document:
    """Compare a plan's records with every printed number that one of its cells has to give.

    `store_name` is how commands name the store. Pictures and backends, of which `artifact` and `baseline` tell
    other pages, are not looked at.
    """
    results = gather(records, plan)
    verdicts = [judge(printed, result) for printed in published() for result in results if _gives(result, printed)]
    found = [record for result in results for record in result.records.values() if record]
    tasks = list(dict.fromkeys(verdict.printed.task for verdict in verdicts))
    sections = [_section(task, [each for each in verdicts if each.printed.task == task]) for task in tasks]
    sections.append(again(results, store_name))
    return Document(
        title=plan.question,
        kicker="Protocols",
        badges=tuple(_badges(verdicts)),
        lead=tuple(_lead(plan, verdicts, found)),
        sections=tuple(sections),
    )


def judge(printed: Printed, result: Result) -> Verdict:
    """Compare a measurement with the printed number, in the printed digits."""
    metric = printed.metric.partition(".")[0]
    measurement = result.measurement(metric, printed.metric)
    if measurement is None:
        return Verdict(printed=printed, result=result, kind="absent", reason=result.why_not(metric))
    if unlike := [axis for axis in _unlike(result.cell) if axis not in _HARMLESS]:
        reason = f"not comparable: measured with {in_words(result.cell, unlike)}"
        return Verdict(printed=printed, result=result, kind="absent", reason=reason)
    mean = fmean(measurement.samples)
    difference = _rounded(mean, printed.printed) - Decimal(printed.printed)
    kind: Kind = "differs"
    if difference == 0:
        kind = "equal"
    elif printed.within and abs(difference) <= Decimal(printed.within):
        kind = "within"
    images = len(measurement.samples)
    return Verdict(printed=printed, result=result, kind=kind, measured=mean, images=images, difference=difference)


def _rounded(value: float, like: str) -> Decimal:
    """Round as tables do, to as many decimals as the printed number has."""
    return Decimal(repr(value)).quantize(Decimal(like), rounding="ROUND_HALF_UP")


def _gives(result: Result, printed: Printed) -> bool:
    """Return whether a cell was asked for the printed number."""
    named = all(getattr(result.cell, axis) == getattr(printed, axis) for axis in _NAMED)
    return named and printed.metric.partition(".")[0] in result.records


def _unlike(cell: Cell) -> list[str]:
    """Return the axes on which a cell differs from the one that a table prints: all images, whole, once."""
    fields = Cell.model_fields.items()
    return [axis for axis, about in fields if axis not in _NAMED and getattr(cell, axis) != about.default]


def _section(task: str, verdicts: Sequence[Verdict]) -> Section:
    groups = []
    for metric, title in _QUANTITIES.items():
        rows = [_row(verdict) for verdict in verdicts if verdict.printed.metric == metric]
        if rows:
            groups.append(Group(title=title, rows=tuple(rows)))
    table = Table(caption=f"{task}: printed and measured", columns=_COLUMNS, groups=tuple(groups), stubs=2)
    return Section(title=task, anchor=f"task-{task}", blocks=(table,))


def _row(verdict: Verdict) -> Row:
    printed, cell = verdict.printed, verdict.result.cell.id
    if verdict.measured is None or verdict.difference is None:
        missing = Entry(text=brief(verdict.reason), reason=verdict.reason, cell=cell)
        numbers = (missing, Entry(text="", cell=cell))
    else:
        detail = f"mean of {counted(verdict.images, 'image')}: {verdict.measured:.6f}"
        shown = str(_rounded(verdict.measured, printed.printed))
        numbers = (
            Entry(text=shown, value=verdict.measured, detail=detail, cell=cell),
            Entry(text=_signed(verdict.difference), value=float(verdict.difference), cell=cell),
        )
    weights = "" if printed.weights == "none" else f", {printed.weights}"
    unlike = f", {in_words(verdict.result.cell, axes)}" if (axes := _unlike(verdict.result.cell)) else ""
    return Row(
        entries=(
            Entry(text=printed.dataset),
            Entry(text=printed.setting),
            Entry(text=printed.method),
            Entry(text=f"{printed.model}{weights}{unlike}"),
            Entry(text=printed.printed, value=float(printed.printed)),
            *numbers,
            Entry(text=verdict.words),
            Entry(text=printed.source),
        )
    )


def _signed(difference: Decimal | None) -> str:
    if not difference:
        return "0"
    return f"{difference:+f}".replace("-", "−")


def _badges(verdicts: Sequence[Verdict]) -> Iterator[Badge]:
    kinds = Counter(verdict.kind for verdict in verdicts)
    shown: tuple[tuple[Kind, str, State], ...] = (
        ("equal", "equal", "measured"),
        ("within", "within chance", "measured"),
        ("differs", "differ", "failed"),
    )
    for kind, words, badge in shown:
        if kinds[kind]:
            yield Badge(text=f"{kinds[kind]} {words}", state=badge)
    states = Counter(
        state(verdict.result.records.get(verdict.printed.metric.partition(".")[0]))
        for verdict in verdicts
        if verdict.kind == "absent"
    )
    words_of: dict[State, str] = {"skipped": "skipped", "failed": "failed", "missing": "not run yet"}
    for name, words in words_of.items():
        if states[name]:
            yield Badge(text=f"{states[name]} {words}", state=name)


def _lead(plan: StoredPlan, verdicts: Sequence[Verdict], found: Sequence[Record]) -> Iterator[Block]:
    yield Facts(items=tuple(provenance(plan, found)))
    if not verdicts:
        yield Text(text="No cell of this plan gives a number that a table prints.", tone="warning")
        return
    kinds = Counter(verdict.kind for verdict in verdicts)
    compared = len(verdicts) - kinds["absent"]
    yield Text(
        text=f"Of {counted(len(verdicts), 'printed number')}, {compared} were measured: {kinds['equal']} are {EQUAL}, "
        f"{kinds['within']} differ by no more than a random input explains, {kinds['differs']} differ."
    )
    reasons = Counter(verdict.reason for verdict in verdicts if verdict.kind == "absent")
    for reason, count in reasons.most_common():
        yield Text(text=f"Not measured ({counted(count, 'number')}): {reason}", tone="note")
