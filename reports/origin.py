"""What every page says of its numbers: where they come from, and the command that measures each again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.record import Measured, Record
from reports.document import Column, Details, Entry, Group, Row, Section, Table, Text
from reports.machines import in_short
from reports.results import Result, counted, in_words, varying

if TYPE_CHECKING:
    from harness.store import StoredPlan


_NOTHING = "nothing measured"


def provenance(plan: StoredPlan, found: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """Yield the experiment, the days, the machines, the commits and the spec of these records."""
    days = sorted({record.started_at[:10] for record in found})
    machines = dict.fromkeys(in_short(record.environment) for record in found)
    commits = dict.fromkeys(f"{record.commit[:10]}{' (dirty)' if record.dirty else ''}" for record in found)
    yield "experiment", plan.name
    yield "measured", " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "nothing yet"
    yield "machine", "; ".join(machines) or "none yet"
    yield "commit", ", ".join(commits) or "none yet"
    yield "spec", plan.digest


def again(results: Sequence[Result], store_name: str) -> Section:
    """Return the section that every number leads to: a cell's axes, its origin and the command to repeat it.

    What all cells have in common of their origins stands once, below the table.
    """
    axes = ("task", *varying(results))
    store = shlex.quote(store_name)
    origins = [_origin(result) for result in results]
    known = [origin for origin in origins if origin]  # what was not measured has none
    shared = {
        kind: text for kind, text in (known[0] if known else {}).items() if all(e.get(kind) == text for e in known)
    }
    own = ["; ".join(t for kind, t in each.items() if kind not in shared) if each else _NOTHING for each in origins]
    hint = "when, by which code and spec, where, and by which protocol images are judged"
    columns = (
        Column(label="cell", kind="cell"),
        Column(label="axes"),
        *((Column(label="measured", hint=hint),) if any(own) else ()),
        Column(label="command", kind="code", hint="measures the cell again and shows the difference"),
    )
    rows = tuple(
        Row(
            anchor=result.cell.id,
            entries=(
                Entry(text=result.cell.id, cell=result.cell.id),
                Entry(text=in_words(result.cell, axes)),
                *((Entry(text=origin),) if any(own) else ()),
                Entry(text=f"semanir-bench cell {result.cell.id} --rerun --diff --store {store}", cell=result.cell.id),
            ),
        )
        for result, origin in zip(results, own, strict=True)
    )
    notes = ("; ".join(shared.values()),) if shared else ()
    table = Table(caption="Commands, by cell", columns=columns, groups=(Group(rows=rows),), notes=notes)
    said = Text(text="Each command measures one cell again, from scratch, and shows what changed.")
    folded = Details(title="Commands, by cell", count=counted(len(rows), "cell"), blocks=(said, table))
    return Section(title="Measure again", anchor="cells", blocks=(folded,))


def _origin(result: Result) -> dict[str, str]:
    """Say where a cell's numbers come from, by kind; several of a kind stand beside each other."""
    found = [record for record in result.records.values() if record and isinstance(record.outcome, Measured)]
    days = sorted({record.started_at[:10] for record in found})
    kinds = {
        "measured": [days[0], days[-1]] if days else [],
        "commit": [f"{record.commit[:10]}{' (dirty)' if record.dirty else ''}" for record in found],
        "spec": [record.spec for record in found],
        "on": [in_short(record.environment) for record in found],
        "protocol": [record.protocol for record in found if record.protocol],
    }
    between = {"measured": " to "}
    said = {kind: between.get(kind, " and ").join(dict.fromkeys(texts)) for kind, texts in kinds.items() if texts}
    return {kind: f"{kind} {text}" for kind, text in said.items()}
