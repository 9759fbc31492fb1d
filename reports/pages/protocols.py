"""The protocols page: each printed number beside the one that this pipeline measures, and what lies between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.record import Record
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
from reports.printed import EQUAL, Kind, Verdict, gives, judge, published, rounded, signed, unlike
from reports.quantities import brief
from reports.results import counted, gather, in_words, state

if TYPE_CHECKING:
    from harness.store import StoredPlan

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
    verdicts = [judge(printed, result) for printed in published() for result in results if gives(result, printed)]
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


def _section(task: str, verdicts: Sequence[Verdict]) -> Section:
    groups = []
    for metric, title in _QUANTITIES.items():
        rows = [_row(verdict) for verdict in verdicts if verdict.printed.metric == metric]
        if rows:
            groups.append(Group(title=title, rows=tuple(rows)))
    table = Table(caption=f"{task}: printed and measured", columns=_COLUMNS, groups=tuple(groups), stubs=4)
    return Section(title=task, anchor=f"task-{task}", blocks=(table,))


def _row(verdict: Verdict) -> Row:
    printed, cell = verdict.printed, verdict.result.cell.id
    if verdict.measured is None or verdict.difference is None:
        missing = Entry(text=brief(verdict.reason), reason=verdict.reason, cell=cell)
        numbers = (missing, Entry(text="", cell=cell))
    else:
        detail = f"mean of {counted(verdict.images, 'image')}: {verdict.measured:.6f}"
        shown = str(rounded(verdict.measured, printed.printed))
        numbers = (
            Entry(text=shown, value=verdict.measured, detail=detail, cell=cell),
            Entry(text=signed(verdict.difference), value=float(verdict.difference), cell=cell),
        )
    weights = "" if printed.weights == "none" else f", {printed.weights}"
    otherwise = f", {in_words(verdict.result.cell, axes)}" if (axes := unlike(verdict.result.cell)) else ""
    return Row(
        entries=(
            Entry(text=printed.dataset),
            Entry(text=printed.setting),
            Entry(text=printed.method),
            Entry(text=f"{printed.model}{weights}{otherwise}"),
            Entry(text=printed.printed, value=float(printed.printed)),
            *numbers,
            Entry(text=verdict.words),
            Entry(text=printed.source),
        )
    )


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
