"""Two stores side by side: what their records allow to be concluded, and why the rest does not follow from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

import numpy as np

from harness.catalogs import METRICS
from harness.record import Cell, Measured, Measurement, Record
from reports.document import Badge, Block, Column, Details, Document, Entry, Facts, Group, Row, Section, Table, Text
from reports.machines import in_short
from reports.origin import again
from reports.paired import Difference, compare, verdicts
from reports.results import Result, counted, in_words, listed, number_text, reason, varying_cells

COSTS = ("latency", "memory")
"""Metrics whose numbers belong to one run on one machine."""
Pair = tuple[Record, Record]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two: how it is called, and the newest record of each cell and metric."""

    name: str
    records: Mapping[tuple[str, str], Record]
    store: str = ""
    """As a command names it; without one, no number leads to its cell."""

    @classmethod
    def of(cls, name: str, records: Iterable[Record], store: str = "") -> Side:
        """Take the newest of the records that ask the same."""
        newest: dict[tuple[str, str], Record] = {}
        for record in sorted(records, key=lambda record: record.started_at):
            newest[record.cell.id, record.metric] = record
        return cls(name=name, records=newest, store=store)

    def machines(self) -> list[str]:
        """Name the machines."""
        return list(dict.fromkeys(in_short(record.environment) for record in self.records.values()))


def build(one: Side, other: Side) -> Document:
    """Return the page. Differences are the second less the first."""
    both = [key for key in one.records if key in other.records]
    pairs = [(one.records[key], other.records[key]) for key in both]
    measured = [pair for pair in pairs if all(isinstance(record.outcome, Measured) for record in pair)]
    axes = varying_cells([first.cell for first, _ in pairs])
    parts = [
        _quality(measured, axes, one, other),
        _exact(measured, axes, one, other),
        _costs(measured, axes, one, other),
    ]
    sections = [part.section for part in parts if part is not None]
    sections.append(_missing(one, other, pairs, axes))
    cells = {cell.id: cell for part in parts if part is not None for cell in part.cells}
    if cells and (one.store or other.store):
        sections.append(_again(list(cells.values()), one, other))
    concluded = [part.words for part in parts if part is not None] or [_nothing(one, other, pairs)]
    return Document(
        title=f"{one.name} and {other.name}",
        kicker="Comparison",
        badges=(Badge(text=f"{len(both):,} results in both", state="measured" if both else "missing"),),
        lead=(
            Facts(items=tuple(item for side in (one, other) for item in _side(side))),
            *(Text(text=words) for words in concluded),
        ),
        sections=tuple(sections),
    )


@dataclass(frozen=True, kw_only=True)
class _Part:
    words: str
    section: Section
    cells: tuple[Cell, ...] = ()
    """Whose numbers stand in it."""


def _leads(cell: Cell, one: Side, other: Side) -> tuple[str, str]:
    """Return where a number of the first and one of the second side lead to; empty where its store has no name."""
    return (cell.id if one.store else "", f"{cell.id}-second" if other.store else "")


def _again(cells: Sequence[Cell], one: Side, other: Side) -> Section:
    """Return the section that numbers lead to, the cells of each side by themselves."""
    blocks: list[Block] = []
    for side, which in ((one, 0), (other, 1)):
        if not side.store:
            continue
        records: dict[str, dict[str, Record | None]] = {}
        for (cell_id, metric), record in side.records.items():
            records.setdefault(cell_id, {})[metric] = record
        section = again([Result(cell, records[cell.id]) for cell in cells], side.store)
        anchors = {cell.id: _leads(cell, one, other)[which] for cell in cells}
        blocks += [_named(block, side.name, anchors) for block in section.blocks]
    return Section(title="Measure again", anchor="cells", blocks=tuple(blocks))


def _named(block: Block, name: str, anchors: Mapping[str, str]) -> Block:
    """Say of folded commands whose they are, and name their rows by `anchors`: the other side has the same cells."""
    if isinstance(block, Details):
        inside = tuple(_named(each, name, anchors) for each in block.blocks)
        return replace(block, title=f"{block.title}, {name}", blocks=inside)
    if isinstance(block, Table):
        groups = tuple(
            replace(group, rows=tuple(replace(row, anchor=anchors[row.anchor]) for row in group.rows))
            for group in block.groups
        )
        return replace(block, groups=groups)
    return block


def _side(side: Side) -> Iterator[tuple[str, str]]:
    found = list(side.records.values())
    days = sorted({record.started_at[:10] for record in found})
    commits = dict.fromkeys(f"{record.commit[:10]}{' (dirty)' if record.dirty else ''}" for record in found)
    said = (counted(len(found), "result"), " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "nothing yet")
    yield side.name, "; ".join((*said, *side.machines(), f"commit {', '.join(commits) or 'none'}"))


def _quality(pairs: Sequence[Pair], axes: Sequence[str], one: Side, other: Side) -> _Part | None:
    """Compare image by image what is measured on images and wants to be high."""
    rows: list[tuple[Cell, Measurement, Measurement, Difference | str]] = []
    for first, second in pairs:
        if first.metric not in METRICS or METRICS[first.metric].better != "higher":
            continue
        named = {each.name: each for each in _numbers(second)}
        shared = [(mine, named[mine.name]) for mine in _numbers(first) if mine.labels and mine.name in named]
        rows += [(first.cell, mine, theirs, _difference(first, second, mine, theirs)) for mine, theirs in shared]
    if not rows:
        return None
    judged = [found for *_, found in rows if isinstance(found, Difference)]
    said = iter(verdicts(judged))
    table_rows, counts = [], Counter[str]()
    for cell, mine, theirs, found in rows:
        entries = [Entry(text=in_words(cell, axes) or cell.task, detail=f"cell {cell.id}"), Entry(text=mine.name)]
        leads = _leads(cell, one, other)
        entries += [
            _number(fmean(each.samples), mine.unit, lead) for each, lead in zip((mine, theirs), leads, strict=True)
        ]
        if isinstance(found, str):
            counts["not comparable"] += 1
            entries += [Entry(text=found.partition(":")[0], reason=found)] * 3
        else:
            verdict = next(said)
            verdict = "equal" if found.low == found.mean == found.high == 0 else verdict
            counts[verdict] += 1
            mean = number_text(found.mean, f"{{:+.{_digits(mine.unit)}f}}")
            span = f"{mean} [{number_text(found.low, '{:+.2g}')}, {number_text(found.high, '{:+.2g}')}]"
            entries.append(Entry(text=span, value=found.mean, detail=f"{found.images} images"))
            entries.append(Entry(text=f"{found.detectable:.2g}", value=found.detectable))
            entries.append(Entry(text=verdict))
        table_rows.append(Row(entries=tuple(entries)))
    columns = (
        Column(label="cell"),
        Column(label="number"),
        Column(label=one.name, kind="number"),
        Column(label=other.name, kind="number"),
        Column(label="difference", kind="number", hint="second less first, mean over images, 95 % interval"),
        Column(label="detectable", kind="number", hint="what a comparison of this size finds four times out of five"),
        Column(label="verdict", hint="'perhaps' does not stand once the number of comparisons is counted (Holm)"),
    )
    table = Table(caption="Quality", columns=columns, groups=(Group(rows=tuple(table_rows)),))
    found = ", ".join(f"{number:,} {verdict}" for verdict, number in counts.most_common())
    words = f"Quality, {other.name} against {one.name}, image by image: {found}."
    section = Section(title="Quality", anchor="quality", blocks=(table,))
    return _Part(words=words, section=section, cells=tuple(cell for cell, *_ in rows))


def _difference(first: Record, second: Record, mine: Measurement, theirs: Measurement) -> Difference | str:
    if first.protocol != second.protocol:
        return f"other protocols: {first.protocol or 'none'} and {second.protocol or 'none'}"
    unlike = [name for name, digest in first.degraded.items() if second.degraded.get(name, digest) != digest]
    if unlike:
        return f"unlike inputs: {unlike[0]} was degraded in two ways; both sides need the same software"
    here, there = (
        dict(zip(mine.labels, mine.samples, strict=False)),
        dict(zip(theirs.labels, theirs.samples, strict=False)),
    )
    shared = [name for name in here if name in there]
    if len(shared) != len(here) or len(shared) != len(there):
        return f"other images: {len(here)} and {len(there)}, {len(shared)} of them in both"
    differences = np.array([[there[name] - here[name]] if math.isfinite(here[name]) else [math.nan] for name in shared])
    if len(shared) < 2:
        return "one image: nothing is known of others"
    if not np.isfinite(differences).all():
        return "perfect images: an infinite number has no difference"
    return compare(differences)


def _exact(pairs: Sequence[Pair], axes: Sequence[str], one: Side, other: Side) -> _Part | None:
    """Compare what a formula counts: equal or not."""
    rows, cells, unequal, total = [], [], 0, 0
    for first, second in pairs:
        if first.metric != "flops":
            continue
        named = {each.name: each for each in _numbers(second)}
        for mine in _numbers(first):
            theirs = named.get(mine.name)
            if theirs is None:
                continue
            total += 1
            if mine.samples == theirs.samples:
                continue
            unequal += 1
            cells.append(first.cell)
            values = [
                Entry(text=f"{each.samples[0]:,.0f}", value=each.samples[0], cell=lead)
                for each, lead in zip((mine, theirs), _leads(first.cell, one, other), strict=True)
            ]
            rows.append(
                Row(entries=(Entry(text=in_words(first.cell, axes) or first.cell.task), Entry(text=mine.name), *values))
            )
    if not total:
        return None
    said = f"{unequal:,} of {counted(total, 'count')} differ" if unequal else f"equal in all {counted(total, 'count')}"
    words = f"Operations: {said}."
    columns = (
        Column(label="cell"),
        Column(label="number"),
        Column(label=one.name, kind="number"),
        Column(label=other.name, kind="number"),
    )
    blocks: tuple[Block, ...] = (Text(text=words),)
    if rows:
        blocks += (Table(caption="Operations that differ", columns=columns, groups=(Group(rows=tuple(rows)),)),)
    section = Section(title="Operations", anchor="operations", blocks=blocks)
    return _Part(words=words, section=section, cells=tuple(cells))


def _costs(pairs: Sequence[Pair], axes: Sequence[str], one: Side, other: Side) -> _Part | None:
    """Put costs side by side where one machine measured both, without a verdict."""
    asked = [pair for pair in pairs if pair[0].metric in COSTS]
    if not asked:
        return None
    rows, cells, apart = [], [], Counter[str]()
    for first, second in asked:
        why = _apart(first, second)
        if why:
            apart[why] += 1
            continue
        mine, theirs = (_numbers(record)[0] for record in (first, second))
        reduced = median if first.metric == "latency" else max
        values = [reduced(each.samples) for each in (mine, theirs)]
        ratio = values[1] / values[0] if values[0] else math.nan
        leads = _leads(first.cell, one, other)
        cells.append(first.cell)
        rows.append(
            Row(
                entries=(
                    Entry(text=in_words(first.cell, axes) or first.cell.task),
                    Entry(text=f"{first.metric}, {mine.unit}"),
                    *(Entry(text=f"{v:.4g}", value=v, cell=lead) for v, lead in zip(values, leads, strict=True)),
                    Entry(text=f"{ratio:.2f}", value=ratio),
                )
            )
        )
    gate = "`semanir-bench gate` measures two source trees in one run and judges"
    if not rows:
        words = f"Time and memory: nothing follows, {listed(apart, 'number')}; {gate}."
        return _Part(words=words, section=Section(title="Time and memory", anchor="costs", blocks=(Text(text=words),)))
    words = (
        f"Time and memory: {counted(len(rows), 'number')} from one machine stand side by side, without a verdict: two"
        f" runs differ by what else the machine did. {gate}."
    )
    if apart:
        words += f" Not side by side: {listed(apart, 'number')}."
    columns = (
        Column(label="cell"),
        Column(label="number"),
        Column(label=one.name, kind="number"),
        Column(label=other.name, kind="number"),
        Column(label="ratio", kind="number", hint="of two runs: no verdict"),
    )
    table = Table(caption="Time and memory", columns=columns, groups=(Group(rows=tuple(rows)),))
    section = Section(title="Time and memory", anchor="costs", blocks=(Text(text=words), table))
    return _Part(words=words, section=section, cells=tuple(cells))


def _apart(first: Record, second: Record) -> str:
    """Return why two costs stand on different ground; empty where they do not."""
    here, there = first.environment, second.environment
    if here.machine_class != there.machine_class:
        return f"measured on two machines: {in_short(here)}, and {in_short(there)}"
    if first.timing != second.timing:
        return "timed by two rules"
    if here.threads != there.threads:
        return f"{here.threads} threads and {there.threads}"
    changed = sorted(
        name for name in {*here.versions, *there.versions} if here.versions.get(name) != there.versions.get(name)
    )
    return f"other software: {', '.join(changed)}" if changed else ""


def _missing(one: Side, other: Side, pairs: Sequence[Pair], axes: Sequence[str]) -> Section:
    blocks: list[Block] = []
    for side, against in ((one, other), (other, one)):
        alone = Counter(record.metric for key, record in side.records.items() if key not in against.records)
        if alone:
            said = ", ".join(f"{number:,} {metric}" for metric, number in alone.most_common())
            blocks.append(Text(text=f"In {side.name} alone: {said}."))
    rows = tuple(
        Row(
            entries=(
                Entry(text=in_words(first.cell, axes) or first.cell.task),
                Entry(text=first.metric),
                *(
                    Entry(text="measured" if isinstance(record.outcome, Measured) else reason(record))
                    for record in (first, second)
                ),
            )
        )
        for first, second in pairs
        if isinstance(first.outcome, Measured) != isinstance(second.outcome, Measured)
    )
    if rows:
        columns = (Column(label="cell"), Column(label="metric"), Column(label=one.name), Column(label=other.name))
        blocks.append(Table(caption="Measured in one of them", columns=columns, groups=(Group(rows=rows),)))
    if not blocks:
        blocks.append(Text(text="Both hold the same results."))
    return Section(title="Not in both", anchor="alone", blocks=tuple(blocks))


def _nothing(one: Side, other: Side, pairs: Sequence[Pair]) -> str:
    if pairs:
        return f"Nothing can be compared: no result is measured in both {one.name} and {other.name}."
    return f"Nothing can be compared: {one.name} and {other.name} have no cell and metric in common."


def _numbers(record: Record) -> tuple[Measurement, ...]:
    return record.outcome.measurements if isinstance(record.outcome, Measured) else ()


def _number(value: float, unit: str, lead: str) -> Entry:
    return Entry(text=number_text(value, f"{{:.{_digits(unit)}f}}"), value=value, cell=lead)


def _digits(unit: str) -> int:
    return 2 if unit == "dB" else 4
