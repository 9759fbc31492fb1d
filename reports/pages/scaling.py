"""The scaling page: with which exponents time, memory and operations of one attention layer grow with N and k."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Literal

from harness.contest.names import SIZES, YARDSTICK, YARDSTICK_SIDE, Kind, Name, parse, reasons
from harness.record import Measurement, Record
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
from reports.exponents import ABOUT, LEAST_POINTS, NEAR, Cost, Interval, PowerLaw, crossover, growth, power_law
from reports.machines import by_machine
from reports.origin import again, provenance
from reports.quantities import brief
from reports.results import AXES, Result, arrange, axis_values, counted, gather, in_words, listed

if TYPE_CHECKING:
    from harness.store import StoredPlan

METRIC = "growth"
YARDSTICK_FLOP = 2 * YARDSTICK_SIDE**3
Along = Literal["window", "top_k"]
_SYMBOLS: Mapping[Along, str] = {"window": "N", "top_k": "k"}


@dataclass(frozen=True)
class _Who:
    """A contender of one quantity: a backend at the forward, or a selector at the dictionary."""

    quantity: str
    contender: str

    @property
    def label(self) -> str:
        """Its name for reading."""
        return self.contender if self.quantity == "forward" else f"dictionary ({self.contender})"


@dataclass(frozen=True)
class _Kind:
    """What is counted of everybody: one group of rows and one figure."""

    title: str
    unit: str
    read: Callable[[_Point, _Who], tuple[float, ...] | None]
    """For a token; None where there is nothing."""
    beside: tuple[_Who, ...] = ()
    """Rows beside those of the contenders."""


@dataclass(frozen=True, eq=False)
class _Point:
    """What the record of one cell says, for a token."""

    result: Result

    @cached_property
    def measured(self) -> Mapping[str, Measurement]:
        """Every measurement by name."""
        return {each.name: each for each in self.result.measurements(METRIC)}

    @cached_property
    def absences(self) -> Mapping[tuple[str, str], str]:
        """Why contenders have no times."""
        return reasons(self.result.notes(METRIC))

    @property
    def size(self) -> Mapping[str, int]:
        """The sizes of the workload."""
        return {name: int(self.measured[f"workload.{name}"].samples[0]) for name in SIZES}

    @property
    def tokens(self) -> int:
        """Tokens of all windows."""
        return self.size["windows"] * self.size["tokens"]

    def find(self, who: _Who, kind: Kind) -> Measurement | None:
        """Return the samples of a contender."""
        return self.measured.get(str(Name(who.quantity, kind, who.contender)))

    def time(self, who: _Who) -> tuple[float, ...] | None:
        """Return block by block the operations of the yardstick that take as long as a token does."""
        found, yardstick = self.find(who, "hot"), self.find(_Who(who.quantity, YARDSTICK), "hot")
        if found is None or yardstick is None:
            return None
        of_block = dict(zip(yardstick.labels, yardstick.samples, strict=True))
        pairs = zip(found.labels, found.samples, strict=True)
        return tuple(YARDSTICK_FLOP * time / of_block[block] / self.tokens for block, time in pairs)

    def memory(self, who: _Who) -> tuple[float, ...] | None:
        """Return bytes."""
        found = self.find(who, "memory")
        return None if found is None or found.samples[0] <= 0 else (2**20 * found.samples[0] / self.tokens,)

    def operations(self, who: _Who) -> tuple[float, ...] | None:
        """Return the operations spent; of the kept pairs, which are the same whoever computes them, those useful."""
        if who == _KEPT:
            names = (name for each in self.measured if (name := parse(each)) is not None and name.kind == "useful")
            found = next((self.measured[str(name)] for name in names), None)
        else:
            found = self.find(who, "spent")
        return None if found is None else (found.samples[0] / self.tokens,)


_KEPT = _Who("forward", "kept pairs alone")
_KINDS = (
    _Kind("time", "FLOP of the yardstick", _Point.time),
    _Kind("memory", "bytes", _Point.memory),
    _Kind("operations", "FLOP", _Point.operations, beside=(_KEPT,)),
)


@dataclass(frozen=True, eq=False)
class _Sweep:
    """Cells that differ in the window alone, or in k alone."""

    along: Along
    points: Sequence[_Point]
    machine: str = ""
    """Its name, where there are several."""

    @property
    def symbol(self) -> str:
        """What grows."""
        return _SYMBOLS[self.along]

    @property
    def title(self) -> str:
        """What grows, and what does not."""
        size = self.points[0].size
        fixed = f"k = {size['top_k']}" if self.along == "window" else f"N = {size['tokens']}"
        where = f" ({self.machine})" if self.machine else ""
        return f"{self.symbol} grows at {fixed}, {self.points[0].tokens:,} tokens{where}"

    @property
    def contenders(self) -> list[_Who]:
        """Everybody of whom anything is known, forward first."""
        found = dict.fromkeys(
            _Who(name.quantity, name.contender)
            for point in self.points
            for each in point.measured
            if (name := parse(each)) is not None and name.contender != YARDSTICK
        )
        return sorted(found, key=lambda who: (who.quantity, who.contender))

    def costs(self, kind: _Kind, who: _Who) -> list[Cost]:
        """Return what a token takes at each size; what is no cost, as nothing at all, has no place in a power law."""
        size = "tokens" if self.along == "window" else "top_k"
        found = ((point.size[size], kind.read(point, who)) for point in self.points)
        return [Cost(size=at, samples=each) for at, each in found if each and all(0 < one < math.inf for one in each)]

    def why_not(self, who: _Who, costs: Sequence[Cost]) -> str:
        """Return why there is no exponent."""
        if costs:
            return f"{counted(len(costs), 'point')}: a fit needs {LEAST_POINTS}"
        subject = (who.quantity, who.contender)
        why = Counter(point.absences[subject] for point in self.points if subject in point.absences)
        return listed(why, "cell") if why else "no number"


def build(
    records: Mapping[str, Record],
    plan: StoredPlan,
    *,
    artifact: Callable[[str], bytes] | None = None,
    store_name: str = "STORE",
    baseline: str | None = None,
) -> Document:
    """Show the exponents of every sweep over windows or over k that a plan holds.

    Nobody is compared with anybody, and there are no pictures: `baseline` and `artifact` are not looked at.
    """
    results = gather(records, plan)
    measured = [result for result in results if result.measurements(METRIC)]
    sections = [_section(i, sweep) for i, sweep in enumerate(_sweeps(measured), start=1)]
    return Document(
        title=plan.question,
        kicker="Scaling",
        lead=tuple(_lead(plan, results, measured, found_sweeps=bool(sections))),
        sections=(*sections, again(results, store_name)) if results else (),
    )


def _lead(
    plan: StoredPlan, results: Sequence[Result], measured: Sequence[Result], *, found_sweeps: bool
) -> Iterator[Block]:
    found = [record for result in results for record in result.records.values() if record]
    yield Facts(items=(*provenance(plan, found), *_setting(measured)))
    if not found_sweeps:
        yield Text(text=f"No sweep has the {LEAST_POINTS} measured sizes that a fit needs.", tone="warning")
    yield Text(
        text="What a token takes of one attention layer's forward (its share of the call) is taken to be a power of the"
        " size that grows; the exponent is fitted by least squares of logarithms, with a studentised bootstrap over"
        " points and samples for its 95 % interval. Few points give wide intervals. A window of N tokens takes N times"
        " as much, so a flat token is a linear window, and a token linear in N a quadratic window: the word beside the"
        " exponent is that of the window where N grows, and of the token where k does."
        f" It is the word of the whole interval: within {NEAR} of a whole number it is that number's, and about that"
        f" number's where it strays from it by {ABOUT} at most."
    )
    yield Text(
        text="Time is the device's own (processor time on a CPU), divided block by block by the time of a yardstick,"
        f" a product of two matrices of {YARDSTICK_SIDE} x {YARDSTICK_SIDE}, which is the same in every cell. Memory is"
        " the most that torch's allocator gives at a time, above inputs and results. Operations are counted by formula:"
        " what a backend spends, and what the kept pairs need whoever computes them. The last column is of another"
        " model, a constant plus a part in proportion to the size: from which size on the growing part is the larger."
    )
    missing = Counter(result.why_not(METRIC) for result in results if result not in measured)
    if missing:
        yield Text(text=f"Not measured ({counted(missing.total(), 'cell')}): {listed(missing, 'cell')}", tone="note")


def _setting(measured: Sequence[Result]) -> Iterator[tuple[str, str]]:
    records = [record for result in measured if (record := result.records[METRIC])]
    if versions := dict.fromkeys(record.environment.versions.get("torch", "none") for record in records):
        yield "torch", ", ".join(versions)
    if dtypes := axis_values(measured, "dtype"):
        yield "dtype", ", ".join(dtypes)
    if sizes := [_Point(result).size for result in measured[:1]]:
        yield "heads", f"{sizes[0]['heads']} of {sizes[0]['head_dim']} channels"


def _sweeps(measured: Sequence[Result]) -> Iterator[_Sweep]:
    """Yield what differs in one of the two axes alone and has enough points, first along the window.

    Each machine has sweeps of its own.
    """
    for along in _SYMBOLS:
        others = tuple(axis for axis in ("task", *AXES) if axis != along)
        for machine, own in by_machine(measured, METRIC):
            groups: dict[str, list[Result]] = {}
            for result in arrange(own, (*others, along)):
                groups.setdefault(in_words(result.cell, others), []).append(result)
            for members in groups.values():
                if len(axis_values(members, along)) >= LEAST_POINTS:
                    yield _Sweep(along, [_Point(result) for result in members], machine)


def _section(number: int, sweep: _Sweep) -> Section:
    blocks: tuple[Block, ...] = (_table(sweep), Figures(figures=tuple(_figures(sweep))))
    return Section(title=sweep.title, anchor=f"sweep-{number}", blocks=blocks)


def _table(sweep: _Sweep) -> Table:
    subject = "window" if sweep.along == "window" else "token"
    exponent = f"of a token's cost in {sweep.symbol}, with its 95 % interval"
    crossing = f"{sweep.symbol} from which on the growing part of the cost is larger than the constant one"
    columns = (
        Column(label="who"),
        Column(label="exponent", kind="number", hint=exponent),
        Column(label=f"cost of a {subject}"),
        Column(label=f"growth prevails from {sweep.symbol}", kind="number", hint=crossing),
    )
    groups = tuple(
        Group(title=kind.title, rows=tuple(_row(sweep, kind, who) for who in (*sweep.contenders, *kind.beside)))
        for kind in _KINDS
    )
    return Table(caption=sweep.title, columns=columns, groups=groups)


def _row(sweep: _Sweep, kind: _Kind, who: _Who) -> Row:
    costs = sweep.costs(kind, who)
    law = _law(costs)
    if law is None:
        why = sweep.why_not(who, costs)
        absent = Entry(text=brief(why), reason=why)
        return Row(entries=(Entry(text=who.label), absent, absent, absent))
    exponent = law.exponent
    home, fitted = sweep.points[0].result.cell.id, f"cells {', '.join(point.result.cell.id for point in sweep.points)}"
    detail = f"{counted(len(costs), 'point')}, {exponent.low:.3f} to {exponent.high:.3f}; {fitted}"
    prevails = _prevails(costs)
    return Row(
        entries=(
            Entry(text=who.label),
            Entry(text=_interval_text(exponent), value=exponent.value, detail=detail, cell=home),
            Entry(text=growth(exponent.plus(1) if sweep.along == "window" else exponent)),
            replace(prevails, detail=f"{prevails.detail}; {fitted}", cell=home),
        )
    )


def _law(costs: Sequence[Cost]) -> PowerLaw | None:
    return power_law(costs) if len(costs) >= LEAST_POINTS else None


def _interval_text(exponent: Interval) -> str:
    text = f"{exponent.value:.2f}"
    if exponent.high - exponent.low >= 0.005:
        text += f" [{exponent.low:.2f}, {exponent.high:.2f}]"
    return text.replace("-0.00", "0.00").replace("-", "−")


def _prevails(costs: Sequence[Cost]) -> Entry:
    """Say where the growing part of the cost overtakes the constant one, as far as the interval tells."""
    found, sizes = crossover(costs), [cost.size for cost in costs]
    detail = f"fitted {found.value:.3g}, 95 % from {found.low:.3g} to {found.high:.3g}"
    if found.low >= max(sizes):
        return Entry(text=f"beyond {max(sizes):g}", detail=detail)
    if found.high <= min(sizes):
        return Entry(text=f"below {min(sizes):g}", detail=detail)
    if found.low <= 0:
        return Entry(text="unresolved" if math.isinf(found.high) else f"below {found.high:.0f}", detail=detail)
    if math.isinf(found.high):
        return Entry(text=f"above {found.low:.0f}", detail=detail)
    return Entry(text=f"{found.value:.0f} [{found.low:.0f}, {found.high:.0f}]", value=found.value, detail=detail)


def _figures(sweep: _Sweep) -> Iterator[Figure]:
    for kind in _KINDS:
        series = tuple(_drawn(sweep, kind))
        if not series:
            continue
        sizes = sorted({point.x for each in series for point in each.points})
        yield Figure(
            title=f"{kind.title} against {sweep.symbol}",
            summary=f"{kind.title} of a token against {sweep.symbol}, both logarithmic, with the fitted power laws",
            kind="lines",
            x=Axis(label=sweep.symbol, log=True, ticks=tuple((size, f"{size:g}") for size in sizes)),
            y=Axis(label=f"{kind.title} of a token", unit=kind.unit, log=True),
            panels=(Panel(series=series),),
        )


def _drawn(sweep: _Sweep, kind: _Kind) -> Iterator[Series]:
    """Yield points and fitted line of each; those that cost the same share theirs."""
    everybody = [*sweep.contenders, *kind.beside]
    alike: dict[tuple[Cost, ...], list[_Who]] = {}
    for who in everybody:
        if found := tuple(sweep.costs(kind, who)):
            alike.setdefault(found, []).append(who)
    for costs, members in alike.items():
        label, style = ", ".join(who.label for who in members), everybody.index(members[0])
        points = tuple(Point(x=cost.size, y=median(cost.samples), detail=_spread(cost)) for cost in costs)
        yield Series(label=label, style=style, points=points, line="none")
        if law := _law(costs):
            ends = (costs[0].size, costs[-1].size)
            fitted = tuple(Point(x=size, y=law.at(size)) for size in ends)
            yield Series(label=label, style=style, points=fitted, line="alone")


def _spread(cost: Cost) -> str:
    if len(cost.samples) == 1:
        return ""
    return f"median of {counted(len(cost.samples), 'block')}, {min(cost.samples):.4g} to {max(cost.samples):.4g}"
