"""The page of operations: which part of a network spends them as k and the window grow, and how far counts agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.record import Record
from reports.document import (
    Axis,
    Block,
    Column,
    Document,
    Entry,
    Facts,
    Figure,
    Figures,
    Group,
    Panel,
    Point,
    Row,
    Section,
    Series,
    Table,
    Text,
)
from reports.marks import Value
from reports.origin import again, provenance
from reports.quantities import Quantity, Read, entries
from reports.results import Result, arrange, axis_values, counted, gather, in_words, label, listed, value_text, varying

if TYPE_CHECKING:
    from harness.store import StoredPlan

_PARTS = {
    "attention": "attention",
    "dictionary": "dictionary",
    "projections": "projections",
    "mlp": "MLPs",
    "convolutions": "convolutions",
    "position": "position bias",
}
"""Parts of a network in the order of a column or a bar; others follow under their own names."""
_HINTS = {
    "attention": "the products of queries with keys and of weights with values, as the backend computes them",
    "dictionary": "comparing all tokens of a window to find the k nearest; nothing where all are kept",
    "projections": "from tokens to queries, keys and values, and from their mixture back",
    "position": "the network that gives the position bias; it does not grow with the image",
}
_TOTALS = ("spent", "useful", "dense", "dispatcher")
"""Counts of the whole network, which are no parts of it."""
_METRICS = ("flops", "operations")
"""Those that count operations; the second does not ask the dispatcher."""
_INNER = ("window", "top_k")


def build(
    records: Mapping[str, Record],
    plan: StoredPlan,
    *,
    artifact: Callable[[str], bytes] | None = None,
    store_name: str = "STORE",
    baseline: str | None = None,
) -> Document:
    """Show the share of each part over k and window, for each network and backend.

    `store_name` is how commands name the store. Pictures and baselines, of which `artifact` and `baseline` tell
    other pages, are not looked at.
    """
    results = gather(records, plan)
    counted_ones = [result for result in results if _count(result, "spent") is not None]
    outer = tuple(axis for axis in varying(counted_ones) if axis not in (*_INNER, "backend"))
    networks: dict[str, list[Result]] = {}
    for result in arrange(counted_ones, (*outer, "backend", *_INNER)):
        networks.setdefault(in_words(result.cell, outer) or result.cell.model, []).append(result)
    sections = [_section(title, i, members) for i, (title, members) in enumerate(networks.items(), start=1)]
    return Document(
        title=plan.question,
        kicker="Operations",
        lead=tuple(_lead(plan, results, counted_ones)),
        sections=(*sections, again(results, store_name)) if results else (),
    )


def _lead(plan: StoredPlan, results: Sequence[Result], counted_ones: Sequence[Result]) -> Iterator[Block]:
    found = [record for result in results for record in result.records.values() if record]
    yield Facts(items=tuple(provenance(plan, found)))
    if not counted_ones:
        yield Text(text="No operations of this plan have been counted.", tone="warning")
    words = (
        "A multiply-add is two operations; norms, softmax and element-wise work are not counted. Shares are of what"
        " a network spends by formula, which is the figure to cite; useful counts the kept pairs of queries and keys"
        " alone, dense all pairs of a window. torch's dispatcher counts another way, as the network runs: it sees"
        " nothing inside a fused attention. Where the two differ, the table says by how much."
    )
    yield Text(text=words)
    missing = (result for result in results if result not in counted_ones)
    reasons = Counter(result.why_not(metric) for result in missing for metric in _METRICS if metric in result.records)
    if reasons:
        yield Text(text=f"Not counted ({counted(reasons.total(), 'cell')}): {listed(reasons, 'cell')}", tone="note")


def _section(title: str, number: int, results: Sequence[Result]) -> Section:
    parts = _parts(results)
    ran = any(_count(result, "dispatcher") is not None for result in results)
    columns = [*_share_columns(parts), *_count_columns(_TOTALS if ran else _TOTALS[:-1])]
    stubs = tuple(Column(label=label(axis)) for axis in _INNER)
    filled = [entries(quantity, results) for quantity in columns]
    backends: dict[str, list[Row]] = {}
    for i, result in enumerate(results):
        names = (Entry(text=value_text(axis, getattr(result.cell, axis))) for axis in _INNER)
        row = Row(entries=(*names, *(column[i] for column in filled)))
        backends.setdefault(result.cell.backend, []).append(row)
    table = Table(
        caption=f"{title}: where its operations go",
        columns=(*stubs, *(quantity.column for quantity in columns)),
        groups=tuple(Group(title=backend, rows=tuple(rows)) for backend, rows in backends.items()),
        stubs=len(stubs),
    )
    return Section(title=title, anchor=f"network-{number}", blocks=(Figures(figures=(_bars(results, parts),)), table))


def _parts(results: Sequence[Result]) -> list[str]:
    """Return the parts that any of these networks has, the known ones first."""
    found = {
        each.name.removeprefix("flops.")
        for result in results
        for metric in _METRICS
        for each in result.measurements(metric)
    }
    return [*(part for part in _PARTS if part in found), *sorted(found - {*_PARTS, *_TOTALS})]


def _count(result: Result, name: str) -> float | None:
    found = (result.measurement(metric, f"flops.{name}") for metric in _METRICS)
    return next((each.samples[0] for each in found if each), None)


def _share(result: Result, part: str) -> float:
    """Return a part's share of what is spent, in percent."""
    return 100 * (_count(result, part) or 0.0) / (_count(result, "spent") or 1.0)


def _share_columns(parts: Sequence[str]) -> Iterator[Quantity]:
    def read_of(part: str) -> Read:
        return lambda result: Value(value=_share(result, part), detail=f"{_count(result, part) or 0:,.0f} FLOP")

    for part in parts:
        name, hint = _PARTS.get(part, part), _HINTS.get(part, "")
        yield Quantity(label=name, unit="%", hint=hint, form="{:.1f}", read=read_of(part))


def _count_columns(names: Sequence[str]) -> Iterator[Quantity]:
    def read_of(name: str) -> Read:
        def read(result: Result) -> Value | str:
            count = _count(result, name)
            if count is None:
                return "not run"
            return Value(value=count / 1e9, detail=f"{count:,.0f} FLOP")

        return read

    def disagreement(result: Result) -> Value | str:
        spent, counted_too = _count(result, "spent") or 1.0, _count(result, "dispatcher")
        if counted_too is None:
            return "nothing to compare with"
        detail = f"{counted_too:,.0f} FLOP by the dispatcher, {spent:,.0f} by formula"
        return Value(value=100 * (counted_too / spent - 1), detail=detail)

    for name in names:
        yield Quantity(label=name, unit="GFLOP", form="{:.2f}", read=read_of(name))
    if "dispatcher" in names:
        yield Quantity(label="dispatcher against spent", unit="%", form="{:+.1f}", read=disagreement)


def _bars(results: Sequence[Result], parts: Sequence[str]) -> Figure:
    """Draw a bar for each window and k; backends that compute the same share a panel."""
    pairs = list(dict.fromkeys((result.cell.window, result.cell.top_k) for result in results))
    panels: dict[tuple[Series, ...], list[str]] = {}
    for backend in axis_values(results, "backend"):
        members = [result for result in results if result.cell.backend == backend]
        series = tuple(
            Series(
                label=_PARTS.get(part, part),
                style=style,
                points=tuple(
                    Point(
                        x=float(pairs.index((each.cell.window, each.cell.top_k))),
                        y=_share(each, part),
                        detail=f"{_count(each, part) or 0:,.0f} FLOP",
                    )
                    for each in members
                ),
            )
            for style, part in enumerate(parts)
        )
        panels.setdefault(series, []).append(str(backend))
    ticks = tuple(
        (float(i), " · ".join(value_text(axis, value) for axis, value in zip(_INNER, pair, strict=True)))
        for i, pair in enumerate(pairs)
    )
    return Figure(
        title="Share of operations by window · k",
        summary=f"share of {', '.join(_PARTS.get(part, part) for part in parts)} by window and k",
        kind="stacked",
        x=Axis(label="window and k", ticks=ticks),
        y=Axis(label="share of what is spent", unit="%", zero=True),
        panels=tuple(Panel(series=series, title=", ".join(backends)) for series, backends in panels.items()),
    )
