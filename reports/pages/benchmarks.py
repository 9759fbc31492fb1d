"""The page of an imported file of pytest-benchmark: its statistics as they stand there, and all rounds it holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.pytest_benchmark import METRIC, SAMPLES, UNKNOWN
from harness.record import Imported, Record
from reports.document import (
    Badge,
    Block,
    Code,
    Column,
    Details,
    Document,
    Entry,
    Facts,
    Group,
    Row,
    Section,
    Table,
    Text,
)
from reports.machines import in_short
from reports.marks import Value
from reports.quantities import Quantity, Read, entries
from reports.results import Result, counted, gather

if TYPE_CHECKING:
    from harness.store import StoredPlan

_STATISTICS: Mapping[str, str] = {
    "min": "",
    "mean": "",
    "median": "",
    "stddev": "of the sample",
    "iqr": "the third quartile less the first",
}
"""Columns with what is said of them."""
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_FORM = "{:,.3f}"
"""Of times, in a unit of which the shortest one has at least one."""
_SPREADS = ("stddev", "iqr")
_MOST_ROUNDS = 100
"""Of a benchmark, that are shown one by one."""
_LONGEST = 80
_NO_SAMPLES = "statistics only: the file was saved without its rounds; pytest --benchmark-json keeps them"


def build(
    records: Mapping[str, Record],
    plan: StoredPlan,
    *,
    artifact: Callable[[str], bytes] | None = None,
    store_name: str = "STORE",
    baseline: str | None = None,
) -> Document:
    """Show a row for each benchmark, a section for each group.

    A plan is one file and so of one machine. Nothing here can be measured again by this program and there are no
    pictures and no backends: what other pages do with `artifact`, `store_name` and `baseline` is not done.
    """
    results = gather(records, plan)
    found = [record for result in results if (record := result.records.get(METRIC))]
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(_group(result), []).append(result)
    sections = [
        Section(
            title=title or ("Benchmarks" if len(groups) == 1 else "Without a group"),
            anchor=f"group-{i}",
            blocks=tuple(_tables(members)),
        )
        for i, (title, members) in enumerate(groups.items(), start=1)
    ]
    return Document(
        title=plan.question,
        kicker="Imported benchmarks",
        badges=(Badge(text=counted(len(found), "benchmark"), state="measured"),),
        lead=tuple(_lead(plan, found)),
        sections=(*sections, _cells(results)),
    )


def _lead(plan: StoredPlan, found: Sequence[Record]) -> Iterator[Block]:
    facts = {
        "file": [plan.name],
        "measured": [record.started_at[:10] for record in found],
        "machine": [in_short(record.environment) for record in found],
        "system": [f"{record.environment.system}, Python {record.environment.python}" for record in found],
        "commit": [_commit(record) for record in found],
        "timed by": [f"{about.program}, {about.clock}" for record in found if (about := record.imported)],
    }
    yield Facts(items=tuple((name, "; ".join(dict.fromkeys(values))) for name, values in facts.items() if values))
    said = (
        "Imported: another program took these times, on the machine and at the commit above, and this one repeats what"
        " the file states. Compare them with each other, and with no times of another machine or another program."
    )
    yield Text(text=said, tone="note")


def _commit(record: Record) -> str:
    about = record.imported
    known = record.commit != UNKNOWN
    words = f"{record.commit[:10]}{' (dirty)' if known and record.dirty else ''}"
    words += f" of {about.project}" if about and about.project else ""
    return words + (f", branch {about.branch}" if known and about and about.branch else "")


def _imported(result: Result) -> Imported | None:
    record = result.records.get(METRIC)
    return record.imported if record else None


def _group(result: Result) -> str:
    about = _imported(result)
    return about.group if about else ""


def _tables(results: Sequence[Result]) -> Iterator[Block]:
    """Yield the table of a group, and folded the rounds of its benchmarks."""
    seconds, unit = _unit(results)
    statistics = [
        Quantity(label=name, unit=unit, form=_FORM, hint=hint, read=_statistic(name, seconds))
        for name, hint in _STATISTICS.items()
    ]
    counts = {"rounds": _rounds, "samples": _samples}
    rounds, samples = (Quantity(label=name, form="{:,.0f}", read=read) for name, read in counts.items())
    params = (Column(label="params"), [_params(result) for result in results])
    yield _table("Benchmarks", results, [rounds, *statistics, samples], params)
    sampled = [result for result in results if result.measurement(METRIC, SAMPLES)]
    if sampled:
        shares = [
            Quantity(label=f"{share * 100:.0f} %", unit=unit, form=_FORM, read=_quantile(share, seconds))
            for share in _QUANTILES
        ]
        said = Text(text="The shares are of a benchmark's rounds: so many took no longer.", tone="note")
        listed = "\n".join(_listed(result, seconds) for result in sampled)
        caption = f"Rounds in their order, {unit}, up to {_MOST_ROUNDS} of each; semanir-bench export writes all"
        yield Details(
            title="Samples",
            count=counted(len(sampled), "benchmark"),
            blocks=(_table("Samples", sampled, shares), said, Code(text=listed, caption=caption)),
        )


def _table(
    caption: str,
    results: Sequence[Result],
    quantities: Sequence[Quantity],
    *words: tuple[Column, Sequence[Entry]],
) -> Table:
    """Return a table with a row for each benchmark, under its file: the name, some words, the numbers."""
    filled = [*(column for _, column in words), *(entries(quantity, results) for quantity in quantities)]
    files: dict[str, list[Row]] = {}
    for i, result in enumerate(results):
        file, name = _names(result)
        named = Entry(text=name, cell=result.cell.id)
        files.setdefault(file, []).append(Row(entries=(named, *(column[i] for column in filled))))
    heads = (Column(label="benchmark"), *(head for head, _ in words), *(quantity.column for quantity in quantities))
    groups = tuple(Group(title=file, rows=tuple(rows)) for file, rows in files.items())
    return Table(caption=caption, columns=heads, groups=groups)


def _names(result: Result) -> tuple[str, str]:
    """Return a benchmark's file and its name there."""
    file, colons, name = str(result.cell.benchmark).partition("::")
    return (file, name) if colons else ("", file)


def _unit(results: Sequence[Result]) -> tuple[float, str]:
    """Return the unit in which the shortest median is at least one."""
    found = [each.samples[0] for result in results if (each := result.measurement(METRIC, f"{SAMPLES}.median"))]
    shortest = min((time for time in found if time > 0), default=1.0)
    return next((unit for unit in _UNITS if shortest >= unit[0]), _UNITS[-1])


def _statistic(name: str, seconds: float) -> Read:
    def read(result: Result) -> Value | str:
        found, rounds = (result.measurement(METRIC, each) for each in (f"{SAMPLES}.{name}", "rounds"))
        if found is None or rounds is None:
            return result.why_not(METRIC)
        if name in _SPREADS and rounds.samples[0] < 2:
            return "one round: it shows no spread"
        return Value(value=found.samples[0] / seconds, detail=_of(result))

    return read


def _rounds(result: Result) -> Value | str:
    found = result.measurement(METRIC, "rounds")
    return Value(value=found.samples[0], detail=_of(result)) if found else result.why_not(METRIC)


def _of(result: Result) -> str:
    rounds, calls = (result.measurement(METRIC, name) for name in ("rounds", "iterations"))
    if rounds is None or calls is None:
        return ""
    return f"{counted(int(rounds.samples[0]), 'round')} of {counted(int(calls.samples[0]), 'call')}"


def _samples(result: Result) -> Value | str:
    found = result.measurement(METRIC, SAMPLES)
    if found is None:
        return _NO_SAMPLES if result.measurements(METRIC) else result.why_not(METRIC)
    return Value(value=len(found.samples), detail="semanir-bench export writes them all")


def _quantile(share: float, seconds: float) -> Read:
    def read(result: Result) -> Value | str:
        found = result.measurement(METRIC, SAMPLES)
        return Value(value=float(np.quantile(found.samples, share)) / seconds) if found else _NO_SAMPLES

    return read


def _listed(result: Result, seconds: float) -> str:
    found = result.measurement(METRIC, SAMPLES)
    times = found.samples if found else ()
    more = [f"… {len(times) - _MOST_ROUNDS:,} more"] if len(times) > _MOST_ROUNDS else []
    return "  ".join([f"{_names(result)[1]}:", *(_FORM.format(time / seconds) for time in times[:_MOST_ROUNDS]), *more])


def _params(result: Result) -> Entry:
    about = _imported(result)
    return Entry(text=_in_words(about.params) if about else "")


def _cells(results: Sequence[Result]) -> Section:
    """Return the section that every number leads to: a benchmark's cell and what it left of its own accord."""
    columns = (Column(label="cell", kind="cell"), Column(label="benchmark"), Column(label="extra info"))
    rows = []
    for result in results:
        about = _imported(result)
        extra = _in_words(about.extra_info) if about else ""
        own = (Entry(text=result.cell.id, cell=result.cell.id), Entry(text=str(result.cell.benchmark)))
        rows.append(Row(anchor=result.cell.id, entries=(*own, Entry(text=extra))))
    table = Table(caption="Cells", columns=columns, groups=(Group(rows=tuple(rows)),))
    folded = Details(title="Cells and extra info", count=counted(len(rows), "cell"), blocks=(table,))
    return Section(title="Cells", anchor="cells", blocks=(folded,))


def _in_words(values: Mapping[str, Any]) -> str:
    """Return `key=value` pairs, as JSON has what is no text; a long one is cut."""
    said = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values.values())
    return ", ".join(f"{key}={_clipped(text)}" for key, text in zip(values, said, strict=True))


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
