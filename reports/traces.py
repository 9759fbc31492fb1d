"""Profiles of cells as blocks of a page: the operators that took longest, and the pass as a timeline."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from harness import traces
from harness.traces import OUTSIDE, Operator, Pass, Side, TraceError
from reports.document import Axis, Block, Column, Details, Entry, Group, Lane, Row, Span, Table, Text, Timeline
from reports.results import Result, counted, in_words

_METRIC = "profile"
_MOST_OPERATORS = 10
"""Rows of a table; what else there is stands in one row."""
_LONGEST_NAME = 90
"""Of an operator in a table: names of kernels hold all their template's arguments."""
_MOST_TIMELINES = 6
"""Cells of a task whose pass is drawn; tables take little room and stand for all."""
_MOST_SPANS = 500
"""Of a timeline: short neighbours are joined until there are no more."""
_MOST_LANES = 8
_MOST_ROWS = 12
"""Depths that are drawn."""
_SHORTEST = 0.1
"""Percent of the pass: spans below it are joined as long as all of them together are below it."""
_COLOURS = 7
"""Operators with a colour of their own; the rest share the one that is left."""
_REST = "other operators"
_COLUMNS = {
    "cpu": Column(label="operator", hint="what torch was asked to compute; outside them the thread ran Python, mostly"),
    "device": Column(label="on the device", hint="kernels and copies, as the device ran them"),
}
_SHARES = {
    "cpu": "of the time of its side: the pass, or all threads together",
    "device": "of the time in which something ran on the device",
}


def profiles(
    results: Sequence[Result], axes: Sequence[str], artifact: Callable[[str], bytes] | None
) -> Iterator[Block]:
    """Yield one folded block with the profiles of these cells; nothing where none was profiled.

    `axes` are those that name a cell among the others. `artifact` returns a file of the store, empty where it is lost.
    """
    profiled = [result for result in results if result.measurements(_METRIC)]
    if not profiled:
        return
    words = (
        "The quickest of a few passes, each slowed by the profiler: what counts is the share that an operator takes by"
        " itself, without the operators inside it. Times on a CPU are informative."
    )
    blocks: list[Block] = [Text(text=words, tone="note")]
    if len(profiled) == 1:
        blocks += _profile(profiled[0], artifact, drawn=True)
    else:
        for index, result in enumerate(profiled):
            inside = tuple(_profile(result, artifact, drawn=index < _MOST_TIMELINES))
            name = in_words(result.cell, axes) or result.cell.id
            blocks.append(Details(title=name, count=_headline(result), blocks=inside))
    yield Details(title="Where the time of a pass goes", count=counted(len(profiled), "cell"), blocks=tuple(blocks))


def _profile(result: Result, artifact: Callable[[str], bytes] | None, *, drawn: bool) -> Iterator[Block]:
    """Yield the tables and the timeline of one cell; the record's own numbers where its trace cannot be read."""
    record = result.records[_METRIC]
    name = record.artifacts.get(traces.ROLE, "") if record else ""
    try:
        quickest = traces.quickest(_read(name, artifact))
    except TraceError as error:
        yield Text(text=f"No timeline, and no more operators than the record names: {error}.", tone="warning")
        for side in traces.SIDES:
            yield from _table(result, side, _recorded(result, side)[:_MOST_OPERATORS])
        return
    for side in traces.SIDES:
        yield from _table(result, side, traces.operators(quickest, side))
    if drawn:
        yield timeline(quickest)
    else:
        words = (
            f"The first {_MOST_TIMELINES} cells are drawn. `semanir-bench export --to tensorboard` writes all traces."
        )
        yield Text(text=words, tone="note")


def _read(name: str, artifact: Callable[[str], bytes] | None) -> tuple[Pass, ...]:
    if not name:
        raise TraceError("its trace was too large to be kept")
    content = artifact(name) if artifact else b""
    if not content:
        raise TraceError(f"the trace {name[:12]}… is missing from the store")
    try:
        return traces.read(content)
    except TraceError as error:
        raise TraceError(f"the trace {name[:12]}… cannot be read, for {error}") from None


def _recorded(result: Result, side: Side) -> list[Operator]:
    """Return the operators that the record itself names; a count that is no number is none."""
    found = [result.measurement(_METRIC, f"profile.{side}.{quantity}") for quantity in ("time", "share", "calls")]
    times, shares, calls = (dict(zip(each.labels, each.samples, strict=False)) if each else {} for each in found)
    return [
        Operator(name=name, own_us=time, share=shares.get(name, 0.0), calls=_whole(calls.get(name, 0.0)))
        for name, time in times.items()
    ]


def _whole(count: float) -> int:
    return round(count) if math.isfinite(count) else 0


def _headline(result: Result) -> str:
    """Say which operators take most."""
    side: Side = "device" if result.measurement(_METRIC, "profile.device.share") else "cpu"
    longest = [each for each in _recorded(result, side) if math.isfinite(each.share)][:3]
    return ", ".join(f"{_short(each.name)} {100 * each.share:.0f} %" for each in longest)


def _table(result: Result, side: Side, found: Sequence[Operator]) -> Iterator[Table]:
    if not found:
        return
    cell = result.cell.id
    shown, rest = found[:_MOST_OPERATORS], found[_MOST_OPERATORS:]
    rows = [
        Row(
            entries=(
                Entry(text=each.name if len(each.name) <= _LONGEST_NAME else f"{each.name[: _LONGEST_NAME - 1]}…"),
                _share(each, cell),
                Entry(text=f"{each.calls:,}" if each.calls else "", value=float(each.calls)),
            )
        )
        for each in shown
    ]
    if rest:
        share, calls = 100 * sum(each.share for each in rest), sum(each.calls for each in rest)
        others = Entry(text=f"{len(rest)} others")
        rows.append(
            Row(entries=(others, Entry(text=f"{share:.1f}", value=share), Entry(text=f"{calls:,}", value=float(calls))))
        )
    columns = (
        _COLUMNS[side],
        Column(label="own time", unit="%", kind="number", hint=_SHARES[side]),
        Column(label="calls", kind="number", hint="in one pass"),
    )
    yield Table(caption=f"Operators of cell {cell}, {side}", columns=columns, groups=(Group(rows=tuple(rows)),))


def _share(operator: Operator, cell: str) -> Entry:
    if not math.isfinite(operator.share):
        return Entry(text="–", reason="the record holds no number", cell=cell)
    share = 100 * operator.share
    return Entry(text=f"{share:.1f}", value=share, detail=_time(operator), cell=cell)


def _time(operator: Operator) -> str:
    if not math.isfinite(operator.own_us):
        return ""
    return f"{operator.own_us / 1e3:.3g} ms of one pass under the profiler, which slows what it watches"


def timeline(of: Pass) -> Timeline:
    """Draw a pass: modules hold operators, the operators that take most have colours, short neighbours are joined."""
    ranked = [each.name for side in reversed(traces.SIDES) for each in traces.operators(of, side)]
    named = [name for name in ranked if name != OUTSIDE][:_COLOURS]
    styles = {name: style for style, name in enumerate(named)}
    lanes = [Lane(title=lane.title, spans=_drawn(lane, styles, of.length_us)) for lane in of.lanes[:_MOST_LANES]]
    shortest = _SHORTEST
    joined = [_joined(lane, shortest) for lane in lanes]
    while sum(len(lane.spans) for lane in joined) > _MOST_SPANS:
        shortest *= 2
        joined = [_joined(lane, shortest) for lane in lanes]
    deepest = max((span.depth for lane in of.lanes for span in lane.spans), default=0) + 1
    notes = [
        "A box is a module or an operator, inside what called it; colour marks operators that spend at least half of"
        f" their time themselves. Gaps of a thread are Python. Neighbours below {shortest:.2g} % are joined."
    ]
    if len(of.lanes) > _MOST_LANES:
        notes.append(f"{counted(len(of.lanes) - _MOST_LANES, 'more lane')} left out.")
    if deepest > _MOST_ROWS:
        notes.append(f"{counted(deepest - _MOST_ROWS, 'more row')} below left out.")
    longest = ", ".join(_short(name) for name in named[:3])
    return Timeline(
        title="One pass",
        summary=f"{counted(len(of.lanes), 'lane')} of one pass; longest by themselves are {longest}",
        axis=Axis(label="of the pass", unit="%", ticks=tuple((float(x), str(x)) for x in range(0, 101, 10))),
        lanes=tuple(joined),
        keys=(*((_short(name), style) for name, style in styles.items()), (_REST, _COLOURS)),
        note=" ".join(notes),
    )


def _drawn(lane: traces.Lane, styles: Mapping[str, int], length_us: float) -> tuple[Span, ...]:
    """Return a lane's spans row by row, in percent of the pass."""
    scale = 100 / (length_us or 1.0)
    return tuple(
        Span(
            start=scale * span.start_us,
            length=scale * span.length_us,
            label=span.name if span.module else _short(span.name),
            detail=f"{span.name}: {scale * span.length_us:.2g} % of the pass"
            + ("" if span.module else f", {scale * span.own_us:.2g} % by itself"),
            depth=span.depth,
            style=styles.get(span.name, _COLOURS) if not span.module and 2 * span.own_us >= span.length_us else None,
        )
        for span in sorted(lane.spans, key=lambda span: span.depth)
        if span.depth < _MOST_ROWS
    )


def _joined(lane: Lane, shortest: float) -> Lane:
    """Return a lane in which short spans of a row are one as long as all of them together are short."""
    found: list[Span] = []
    together: list[Span] = []
    for span in lane.spans:
        if together and (span.depth != together[0].depth or span.start + span.length - together[0].start >= shortest):
            found.append(_one(together))
            together = []
        if span.length >= shortest:
            found.append(span)
        else:
            together.append(span)
    if together:
        found.append(_one(together))
    return replace(lane, spans=tuple(found))


def _one(spans: Sequence[Span]) -> Span:
    """Return neighbours as one span that says what they are, in the colour that takes most of them."""
    first, last = spans[0], spans[-1]
    if len(spans) == 1:
        return first
    length = last.start + last.length - first.start
    counts = Counter(span.label for span in spans).most_common()
    some = ", ".join(f"{name} ×{count}" for name, count in counts[:4]) + (", …" if len(counts) > 4 else "")
    lengths: dict[int | None, float] = defaultdict(float)
    for span in spans:
        lengths[span.style] += span.length
    detail = f"{len(spans)} short ones, {length:.2g} % of the pass: {some}"
    return replace(first, length=length, label="", detail=detail, style=max(lengths, key=lambda style: lengths[style]))


def _short(name: str) -> str:
    """Return a name without scopes, template arguments and parameters, as in `softmax_warp_forward`."""
    bare = re.split(r"[<(]", name.replace("(anonymous namespace)::", ""), maxsplit=1)[0]
    return bare.strip().removeprefix("void ").rpartition("::")[2] or name
