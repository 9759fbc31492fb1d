"""The paper ledger: every printed number with what became of it here: reproduced, differing, or not run and why."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from harness import datasets, weights
from harness.catalogs import MODELS
from harness.datasets import registry
from harness.plan import request_for
from harness.record import Cell
from reports import document
from reports.document import Badge, Column, Details, Document, Entry, Group, Row, Section, Table, Text
from reports.origin import again
from reports.printed import Printed, Verdict, gives, judge, judge_input, published, rounded
from reports.results import Result, counted

PRINTED = Path(__file__).parent / "published" / "printed.csv"

_FEWEST = 3
"""Fewer numbers may all end in 0 by chance."""
_PADDED = re.compile(r"0\.\d{3}0")

State = Literal["reproduced", "differs", "not run here"]
_COLUMNS = (
    Column(label="setting"),
    Column(label="method", hint="as the table calls it"),
    Column(label="metric"),
    Column(label="printed", kind="number"),
    Column(label="measured", kind="number", hint="mean over images, with the printed decimals"),
    Column(label="verdict"),
    Column(label="because"),
)
_BADGES: Mapping[State, document.State] = {"reproduced": "measured", "differs": "failed", "not run here": "missing"}
_SOURCES = {
    "KGT-draft-table-1": "Table 1, gray JPEG artifacts",
    "KGT-draft-table-2": "Table 2, colour JPEG artifacts",
    "KGT-draft-table-4": "Table 4, motion deblurring",
    "KGT-draft-table-5": "Table 5, denoising",
    "KGT-draft-table-6": "Table 6, adverse weather",
    "KGT-draft-table-7": "Table 7, demosaicking",
    "KGT-draft-table-8": "Table 8, super-resolution",
    "SR-literature-bicubic-row": "Bicubic rows of the super-resolution literature",
}
"""Tables of Ren et al., the draft of SemanIR called KGT, by the names of the file."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A number of a table, and the experiment that would give it."""

    printed: Printed
    spec: str
    """Name of the experiment, for `semanir-bench plan` and `run`."""
    kind: str
    """What else the table says of the method."""
    note: str
    """What is odd about the print."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A claim with what became of it."""

    claim: Claim
    verdict: Verdict | None
    reason: str

    @property
    def state(self) -> State:
        """In one of three words."""
        if self.verdict is None or self.verdict.kind == "absent":
            return "not run here"
        return "differs" if self.verdict.kind == "differs" else "reproduced"


@cache
def claims() -> tuple[Claim, ...]:
    """Read all printed numbers.

    The SSIMs of a method on a dataset that all end in 0 were known to three decimals and padded to fit their table:
    the last digit says nothing, so they are compared without it.
    """
    with PRINTED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    by_method: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        by_method.setdefault(_of_method(row), []).append(row["printed"])
    padded = {
        key
        for key, numbers in by_method.items()
        if key[-1] == "ssim" and len(numbers) >= _FEWEST and all(_PADDED.fullmatch(number) for number in numbers)
    }
    chance = {_key(each): each.within for each in published()}
    return tuple(_claim(row, chance, padded=_of_method(row) in padded) for row in rows)


def _of_method(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("source", "dataset", "method", "metric"))


def _claim(row: dict[str, str], chance: Mapping[tuple[str, ...], str], *, padded: bool) -> Claim:
    """Return the claim of a row; `chance` says by how much a measurement may differ, as pixels are drawn."""
    named = {name: row[name] for name in row if name not in ("spec", "kind", "note")}
    note = row["note"]
    if padded:
        named["printed"] = row["printed"][:-1]
        note = "; ".join(filter(None, (note, f"printed as {row['printed']}, padded")))
    it = Printed(**named, within="")
    return Claim(printed=replace(it, within=chance.get(_key(it), "")), spec=row["spec"], kind=row["kind"], note=note)


def _key(it: Printed) -> tuple[str, ...]:
    return it.source, it.dataset, it.setting, it.model, it.weights, it.metric


def lines(results: Sequence[Result]) -> Iterator[Line]:
    """Judge every claim by the first of the results that measured it, and one of the input by any cell's own input."""
    by_cell: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        cell = result.cell
        by_cell.setdefault((cell.task, cell.dataset, cell.setting, cell.model, cell.weights), []).append(result)
    here = frozenset(datasets.names())
    for claim in claims():
        it = claim.printed
        given = by_cell.get((it.task, it.dataset, it.setting, it.model, it.weights), [])
        verdicts = [judge(it, result) for result in given if gives(result, it)]
        if all(verdict.kind == "absent" for verdict in verdicts):
            verdicts += filter(None, (judge_input(it, result) for result in results))
        best = min(verdicts, key=lambda verdict: verdict.kind == "absent", default=None)
        yield Line(claim=claim, verdict=best, reason=_because(claim, best, here))


def build(results: Sequence[Result], stores: Mapping[Result, str] | None = None) -> Document:
    """Return the page, a section for each table.

    `stores` says how a command names the store of a result: measured numbers of these lead to their cells. A cell that
    several stores hold stands once, with the store that answers first; numbers of the others lead nowhere.
    """
    found = list(lines(results))
    states = Counter(line.state for line in found)
    homes = _homes(found, stores or {})
    sections = [
        _section(source, [line for line in found if line.claim.printed.source == source], homes)
        for source in dict.fromkeys(line.claim.printed.source for line in found)
    ]
    sections += [_again(homes)] if homes else []
    reasons = Counter(line.reason for line in found if line.state == "not run here")
    within = sum(line.verdict is not None and line.verdict.kind == "within" for line in found)
    by_chance = " in all printed digits"
    if within:
        by_chance += f" or, {within:,} of them, within what the draw of a random input explains"
    return Document(
        title="What the paper prints, and what became of it here",
        kicker="Ledger",
        badges=tuple(
            Badge(text=_tally(states[state], state), state=badge) for state, badge in _BADGES.items() if states[state]
        ),
        lead=(
            Text(
                text=f"Of {counted(len(found), 'printed number')}: {states['reproduced']:,} reproduced{by_chance},"
                f" {_tally(states['differs'], 'differs')}, {states['not run here']:,} not run here:"
            ),
            *(Text(text=f"{count:,}: {reason}", tone="note") for reason, count in reasons.most_common()),
        ),
        sections=tuple(sections),
    )


def _tally(number: int, state: State) -> str:
    return f"{number:,} {'differ' if state == 'differs' and number != 1 else state}"


def _homes(found: Sequence[Line], stores: Mapping[Result, str]) -> dict[Result, str]:
    """Return the results that gave a measured number, each with its store, the same cell of other stores left out."""
    homes: dict[Result, str] = {}
    by_cell: dict[str, str] = {}
    for line in found:
        if line.verdict is None or line.verdict.measured is None:
            continue
        result = line.verdict.result
        store = stores.get(result)
        if store is not None and by_cell.setdefault(result.cell.id, store) == store:
            homes[result] = store
    return homes


def _again(homes: Mapping[Result, str]) -> Section:
    """Return the section that measured numbers lead to, cells of each store by themselves."""
    by_store: dict[str, dict[str, Result]] = {}
    for result, store in homes.items():
        cells = by_store.setdefault(store, {})
        first = cells.get(result.cell.id)
        # Two plans of a store may ask one cell for different metrics.
        cells[result.cell.id] = Result(result.cell, {**result.records, **first.records}) if first else result
    blocks = [
        replace(block, title=f"{block.title}, {store}") if isinstance(block, Details) else block
        for store, cells in by_store.items()
        for block in again(list(cells.values()), store).blocks
    ]
    return Section(title="Measure again", anchor="cells", blocks=tuple(blocks))


def _section(source: str, found: Sequence[Line], homes: Mapping[Result, str]) -> Section:
    states = Counter(line.state for line in found)
    specs = ", ".join(f"semanir-bench run {spec}" for spec in dict.fromkeys(line.claim.spec for line in found))
    said = ", ".join(_tally(number, state) for state, number in states.items())
    title = _SOURCES.get(source, source)
    tables = []
    for dataset in dict.fromkeys(line.claim.printed.dataset for line in found):
        own = [line for line in found if line.claim.printed.dataset == dataset]
        rows = tuple(_row(line, homes) for line in own)
        table = Table(caption=f"{title}: {dataset}", columns=_COLUMNS, groups=(Group(rows=rows),), stubs=2)
        open_ = any(line.state != "not run here" for line in own)
        tables.append(Details(title=dataset, count=counted(len(own), "number"), blocks=(table,), open=open_))
    return Section(title=title, anchor=source.lower(), blocks=(Text(text=f"{said}. Made by: {specs}."), *tables))


def _row(line: Line, homes: Mapping[Result, str]) -> Row:
    it, verdict = line.claim.printed, line.verdict
    measured = Entry(text="–")
    words: str = line.state
    if verdict is not None and verdict.measured is not None:
        shown = str(rounded(verdict.measured, it.printed))
        cell = verdict.result.cell.id if verdict.result in homes else ""
        measured = Entry(text=shown, value=verdict.measured, detail=_origin(verdict), cell=cell)
        if verdict.kind != "equal":
            words = verdict.words
    because = "; ".join(filter(None, (line.reason, line.claim.note)))
    return Row(
        entries=(
            Entry(text=it.setting),
            Entry(text=f"{it.method}{f', {line.claim.kind}' if line.claim.kind else ''}"),
            Entry(text=it.metric.upper()),
            Entry(text=it.printed, value=float(it.printed)),
            measured,
            Entry(text=words),
            Entry(text=because),
        )
    )


def _origin(verdict: Verdict) -> str:
    """Say which cell measured a number, when and with which code."""
    record = verdict.result.records.get(verdict.metric)
    when = f", {record.started_at[:10]}, commit {record.commit[:10]}" if record else ""
    return f"cell {verdict.result.cell.id}, {counted(verdict.images, 'image')}{when}"


def _because(claim: Claim, verdict: Verdict | None, here: frozenset[str]) -> str:
    """Say why a claim was not run, or what measured it where that is not the method itself.

    `here` holds the datasets of this machine.
    """
    it = claim.printed
    if verdict is not None:
        cell = verdict.result.cell
        if verdict.kind == "absent":
            return verdict.reason
        return "" if cell.model == it.model else f"measured as the input of {cell.model}, cell {cell.id}"
    if it.method.startswith("KGT"):
        return "the network's weights were never published, and none of its size was trained here"
    if it.model:
        return _lacking(it, here) or "none of the records at hand measured it"
    if not (family := _family(it.method)):
        return "the method is not part of this project"
    return f"{family} is a model of this project, but {_unplanned(claim, family)}"


def _lacking(it: Printed, here: frozenset[str]) -> str | None:
    """Return what the cell of a printed number lacks on this machine, dataset or weights, or None."""
    if it.dataset not in here:
        entry = registry.find(it.dataset)
        if entry is None:
            return f"no dataset '{it.dataset}' is known"
        return (
            datasets.how_to_get(it.dataset) if entry.files else f"{it.dataset} is not here: get it from {entry.where}"
        )
    cell = Cell(model=it.model, weights=it.weights, task=it.task, dataset=it.dataset, setting=it.setting)
    return weights.missing(cell)


@cache
def _family(method: str) -> str:
    """Return the model of the project that a table's method is, by other rows of it or by its name; empty if none."""
    models = {claim.printed.model.partition("/")[0] for claim in claims() if claim.printed.method == method}
    named = method.casefold()
    return max(models, default="") or (named if named in MODELS else "")


def _unplanned(claim: Claim, family: str) -> str:
    """Say why no cell of a model of the project gives a printed number."""
    it, model = claim.printed, MODELS[family]
    if "weights" in model.uses and not model.formats:
        return "it reads no weights of third parties"
    names = ["/".join(filter(None, (family, configuration))) for configuration in model.configurations]
    cells = (Cell(model=name, task=it.task, dataset=it.dataset, setting=it.setting) for name in names)
    refusals = [model.unsupported(request_for(cell)) for cell in cells]
    if refusals and refusals[0] and all(refusals):
        return refusals[0].partition(";")[0]
    alike = (other.printed for other in claims() if (other.kind, other.printed.method) == (claim.kind, it.method))
    fitting = {other.model for other in alike if other.model and (other.task, other.setting) == (it.task, it.setting)}
    if fitting:
        return f"no experiment runs {' or '.join(sorted(fitting))} on {it.dataset}"
    return "no weights in the registry are known as those of this row"
