"""What the command line prints of plans, summaries, catalogs and cells, as tables of plain text."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness import catalogs, datasets
from harness.catalog import Catalog
from harness.datasets import registry
from harness.inputs import Mismatch
from harness.plan import Plan
from harness.record import Cell, Failed, Measured, Record, Skipped
from harness.runner import Summary

SHOWN_CELLS = 24
"""Cells of a plan that are listed one by one; of more, only counts are shown unless all are asked for."""
SHOWN_MISMATCHES = 6
"""Unlike inputs that a run's summary names; a report names all."""


def print_plan(plan: Plan, console: Console, *, whole: bool = False) -> None:
    """Print the question, the cells (with `whole` all of them), their forecasts, and the reasons of all skips."""
    shown = len(plan.cells) if whole else SHOWN_CELLS
    total = plan.total
    console.print(f"{plan.spec.name}: {plan.spec.question}", highlight=False)
    varying = _varying([planned.cell for planned in plan.cells])
    if plan.cells:
        table = _table("cell", *varying, "metrics", "memory", "time")
        for planned in plan.cells[:shown]:
            values = [str(getattr(planned.cell, axis)) for axis in varying]
            memory, seconds = planned.forecast.bytes / 2**20, planned.forecast.seconds
            cost = [str(len(planned.metrics)), f"{memory:,.0f} MiB", f"{seconds:,.1f} s"]
            _add(table, planned.cell.id[:8], *values, *cost)
        console.print(table)
        if (more := len(plan.cells) - shown) > 0:
            console.print(f"and {more:,} more cells; --all lists them")
    reasons = Counter(skip.reason for skip in plan.skipped)
    if reasons:
        table = _table("skipped", "because")
        for reason, count in reasons.most_common():
            _add(table, f"{count:,}", reason)
        console.print(table)
    console.print(
        f"{len(plan.cells):,} cells with {plan.measurements:,} numbers to measure, "
        f"{len(plan.skipped):,} numbers skipped. Forecast, not a measurement: "
        f"{_duration(total.seconds)} in all, {total.bytes / 2**20:,.0f} MiB at most.",
        highlight=False,
    )


def print_summary(summary: Summary, folder: Path, console: Console) -> None:
    """Print how a run ended, whether its cells saw the same inputs, and what to do next."""
    console.print(
        f"{summary.measured:,} numbers measured ({summary.reused:,} of them before), {summary.skipped:,} skipped, "
        f"{summary.failed:,} failed, in {_duration(summary.seconds)}.",
        highlight=False,
    )
    print_mismatches(summary.mismatches, console)
    console.print(f"Now: semanir-bench report {folder}", highlight=False)


def print_mismatches(found: Sequence[Mismatch], console: Console) -> None:
    """Print which images cells saw degraded in different ways; nothing where there are none."""
    for mismatch in found[:SHOWN_MISMATCHES]:
        console.print(f"not the same input: {mismatch.words}", highlight=False, markup=False)
    if (more := len(found) - SHOWN_MISMATCHES) > 0:
        console.print(f"and {more:,} more images that are not the same; the report names them all", highlight=False)


def print_names(kind: str, experiments: Path, console: Console) -> None:
    """Print everything of a kind with one line about it."""
    table = _table(kind.removesuffix("s"), "what it is")
    for name, words in _names(kind, experiments):
        _add(table, name, words)
    console.print(table)


def print_cell(cell: Cell, history: Sequence[Record], console: Console, *, diff: bool) -> None:
    """Print a cell and its newest numbers; with `diff` beside the numbers before, and the change."""
    axes = cell.model_dump() if cell.benchmark is None else {"benchmark": cell.benchmark}
    named = [f"{axis} {value}" for axis, value in axes.items() if value is not None]
    console.print(f"cell {cell.id}", highlight=False)
    console.print("  " + ", ".join(named), highlight=False, markup=False)
    by_metric: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(history, key=lambda record: record.started_at):
        by_metric[record.metric].append(record)
    table = _table("number", *(["before"] if diff else []), "newest", *(["change"] if diff else []), "measured at")
    for metric, records in sorted(by_metric.items()):
        for row in _rows(metric, records, diff=diff):
            _add(table, *row)
    console.print(table)


def _rows(metric: str, records: Sequence[Record], *, diff: bool) -> Iterator[list[str]]:
    newest, *older = reversed(records)
    before = _medians(newest, older) if diff else {}
    when = newest.started_at[:19].replace("T", " ")
    match newest.outcome:
        case Measured(measurements=measurements):
            for measurement in measurements:
                value = statistics.median(measurement.samples)
                shown = f"{value:,.6g} {measurement.unit}"
                if not diff:
                    yield [measurement.name, shown, when]
                elif (known := before.get(measurement.name)) is None:
                    yield [measurement.name, "", shown, "", when]
                else:
                    yield [measurement.name, known[1], shown, _change(known[0], value), when]
        case Skipped(reason=reason):
            yield from _without_value(metric, f"skipped: {reason}", before, when, diff=diff)
        case Failed(failure=failure, error=error):
            yield from _without_value(metric, f"{failure}: {error}", before, when, diff=diff)


def _without_value(
    metric: str, words: str, before: Mapping[str, tuple[float, str]], when: str, *, diff: bool
) -> Iterator[list[str]]:
    """Yield a row for each number that there was before, or one for the metric."""
    if not diff:
        yield [metric, words, when]
    elif before:
        yield from ([name, shown, words, "", when] for name, (_, shown) in before.items())
    else:
        yield [metric, "", words, "", when]


def _medians(newest: Record, older: Sequence[Record]) -> dict[str, tuple[float, str]]:
    """Return what this class of machine measured last before: each number's median, and how it is shown."""
    here = newest.environment.machine_class
    for record in older:
        if record.environment.machine_class == here and isinstance(record.outcome, Measured):
            found = ((m, statistics.median(m.samples)) for m in record.outcome.measurements)
            return {m.name: (value, f"{value:,.6g} {m.unit}") for m, value in found}
    return {}


def _change(before: float, after: float) -> str:
    if before == after:
        return "none"
    return f"{after - before:+.3g}" + (f" ({(after - before) / abs(before):+.1%})" if before else "")


def _names(kind: str, experiments: Path) -> Iterator[tuple[str, str]]:
    match kind:
        case "backends":
            yield from _summaries(catalogs.BACKENDS)
        case "tasks":
            for name in catalogs.TASKS:
                task = catalogs.TASKS[name]
                settings = ", ".join(
                    f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
                    for key, value in task.defaults.items()
                )
                yield name, f"{task.summary} [{settings}]"
        case "metrics":
            yield from _summaries(catalogs.METRICS)
        case "models":
            for family in catalogs.MODELS:
                model = catalogs.MODELS[family]
                for configuration in model.configurations:
                    yield f"{family}/{configuration}".removesuffix("/"), model.summary
        case "datasets":
            for name in datasets.names():
                yield name, _place(name)
        case "experiments":
            from harness.spec import load

            for path in sorted(experiments.rglob("spec.yaml")):
                yield path.parent.relative_to(experiments).as_posix(), load(path).question


def _place(dataset: str) -> str:
    """Say where the images of a dataset that is here lie, or what they are made of."""
    if dataset == datasets.BUNDLED:
        return "scikit-image's photographs"
    if (folder := datasets.folder_of(dataset)) is not None:
        return str(folder)
    entry = registry.find(dataset)
    return f"made of {entry.derived.of}" if entry and entry.derived else ""


def _summaries(catalog: Catalog[Any]) -> Iterator[tuple[str, str]]:
    for name in catalog:
        yield name, str(getattr(catalog[name], "summary", ""))


def _varying(cells: Sequence[Cell]) -> list[str]:
    axes = list(Cell.model_fields)
    return [axis for axis in axes if len({getattr(cell, axis) for cell in cells}) > 1]


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _add(table: Table, *values: str) -> None:
    """Add a row of plain text: names and reasons may hold brackets, which are no markup."""
    table.add_row(*(Text(value) for value in values))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
