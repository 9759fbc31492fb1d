"""The kernels page: one attention layer by every backend side by side, and what the figures to reach are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from harness.contest.interval import median_interval
from harness.contest.names import FLOOR, Kind
from harness.record import Measured, Measurement, Record
from reports.contests import QUANTITIES, Contest
from reports.document import (
    Badge,
    Block,
    Column,
    Details,
    Document,
    Entry,
    Facts,
    Figures,
    Group,
    Row,
    Section,
    State,
    Table,
    Text,
)
from reports.kernel_curves import against_k, against_tokens
from reports.kernel_goals import MEASURES, Goal, goals
from reports.origin import again, provenance
from reports.quantities import brief
from reports.results import arrange, axis_values, counted, gather, listed, reason, state

if TYPE_CHECKING:
    from harness.store import StoredPlan

WORKLOAD_TOKENS = 921_600
"""The figures to reach are for as many tokens as an image of 1280 x 720 has."""
NOT_MEASURED = "not measured"

_MOVED = {"forward": 1, "backward": 2}
"""Bytes that must be moved, in floors: q, k, v and the output; their gradients beside them."""


def build(
    records: Mapping[str, Record],
    plan: StoredPlan,
    *,
    artifact: Callable[[str], bytes] | None = None,
    store_name: str = "STORE",
    baseline: str | None = None,
) -> Document:
    """Show every contest of a plan, and the figures to reach beside what was measured.

    `baseline` is the backend that others are divided by; by default the one that the cells name. There are no
    pictures, so `artifact` is not looked at.
    """
    results = arrange(gather(records, plan), ("window", "dtype", "top_k"))
    contests = [Contest(result) for result in results]
    found = [record for result in results for record in result.records.values() if record]
    counts = Counter(state(record) for result in results for record in result.records.values())
    sections = [Section(title="Figures to reach", anchor="goals", blocks=(_goal_table(contests),))]
    everybody = sorted({name for each in contests for quantity in QUANTITIES for name in each.contenders(quantity)})
    machines = list(dict.fromkeys(each.machine for each in contests if each.sizes))
    for machine in machines:
        of_machine = [each for each in contests if each.machine in (machine, "")]
        where = machine if len(machines) > 1 else ""
        for window in axis_values(results, "window"):
            of_window = [each for each in of_machine if each.result.cell.window == window]
            if any(each.sizes for each in of_window):
                sections.append(_section(of_window, baseline, everybody, where))
        along = (
            tuple(against_tokens(of_machine, quantity, title, everybody))
            for quantity, (_, title, _) in QUANTITIES.items()
        )
        if figures := tuple(Figures(figures=found) for found in along if found):
            sections.append(_placed("Against N", "against-n", where, figures))
    sections.append(Section(title="Not timed, and why", anchor="absences", blocks=tuple(_absences(contests))))
    sections.append(again(results, store_name))
    words: dict[State, str] = {"skipped": "skipped", "failed": "failed", "missing": "not run yet"}
    kinds: tuple[State, ...] = ("measured", "skipped", "failed", "missing")
    return Document(
        title=plan.question,
        kicker="Kernels",
        badges=tuple(
            Badge(text=f"{counts[kind]:,} {words.get(kind, kind)}", state=kind) for kind in kinds if counts[kind]
        ),
        lead=tuple(_lead(plan, contests, found)),
        sections=tuple(sections),
    )


def _lead(plan: StoredPlan, contests: Sequence[Contest], found: Sequence[Record]) -> Iterator[Block]:
    measured = [record for record in found if isinstance(record.outcome, Measured)]
    yield Facts(items=(*provenance(plan, measured), *_software(measured), *_conditions(contests)))
    if not measured:
        why = Counter(reason(record) for record in found) or Counter({"not run yet": 1})
        yield Text(text=f"Nothing has been measured yet: {listed(why, 'number')}.", tone="warning")
    elif any(record.cell.device == "cpu" for record in measured):
        yield Text(text="Some of these are times of a CPU: read ratios within a table alone.", tone="warning")
    yield Details(
        title="How to read this",
        blocks=(
            Text(
                text="All backends of the catalog compute the same fresh inputs in one process, in blocks of random "
                "order, each only after its results agreed with float64 in every window. A time is the median of the "
                "samples. Hot: the caches are as the call before left them. Cold: they were flushed, outside of the "
                "time. Ratios are medians over blocks."
            ),
            Text(
                text="The dictionary is the one that the network's first stage makes of photographs, a batch of them. "
                "Windows are not shifted."
            ),
        ),
    )


def _software(measured: Sequence[Record]) -> Iterator[tuple[str, str]]:
    software = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in record.environment.versions.items()) for record in measured
    )
    if software:
        yield "software", "; ".join(software)
    if drivers := dict.fromkeys(record.environment.driver for record in measured if record.environment.driver):
        yield "driver", ", ".join(drivers)


def _conditions(contests: Sequence[Contest]) -> Iterator[tuple[str, str]]:
    """Yield the span of what the device said of itself between blocks."""
    spans: dict[tuple[str, str], list[float]] = {}
    for contest in contests:
        for metric in contest.result.records:
            for each in contest.result.measurements(metric):
                if each.name.startswith("device."):
                    spans.setdefault((each.name.removeprefix("device."), each.unit), []).extend(each.samples)
    for (name, unit), samples in spans.items():
        yield name.replace("_", " "), f"{min(samples):g} to {max(samples):g} {unit}"


def _goal_table(contests: Sequence[Contest]) -> Table:
    columns = (
        Column(label="what"),
        Column(label="compared with"),
        Column(label="N", kind="number"),
        Column(label="dtype"),
        Column(label="to reach", kind="number"),
        Column(label="measured", kind="number", hint="hot, where it is a time; the worst k"),
        Column(label="at k", kind="number", hint="the k that was worst"),
        Column(label="verdict"),
    )
    groups = tuple(
        Group(title=title, rows=tuple(_goal_row(goal, contests) for goal in goals() if goal.measure == measure))
        for measure, (title, _) in MEASURES.items()
    )
    return Table(caption="Figures to reach, on one data-centre GPU", columns=columns, groups=groups, stubs=2)


def _goal_row(goal: Goal, contests: Sequence[Contest]) -> Row:
    _, form = MEASURES[goal.measure]
    head = (
        Entry(text=QUANTITIES[goal.quantity][1]),
        Entry(text=goal.compared_with),
        Entry(text=str(goal.tokens), value=goal.tokens),
        Entry(text=goal.dtype),
        Entry(text=f"{'≥' if goal.measure == 'times faster' else '≤'} {form.format(goal.limit)}", value=goal.limit),
    )
    asked = [
        each
        for each in contests
        if each.tokens == goal.tokens and each.result.cell.dtype == goal.dtype and goal.metric in each.result.records
    ]
    read = [(_read(goal, each), each.result.cell) for each in asked]
    numbers = [(number, cell) for number, cell in read if isinstance(number, float)]
    why = Counter(reason for reason, _ in read if isinstance(reason, str))
    if not numbers:
        because = listed(why or {"no cell of this plan": 1}, "cell")
        nothing = (Entry(text=NOT_MEASURED, reason=because), Entry(text="–", reason=because))
        return Row(entries=(*head, *nothing, Entry(text=because)))
    number, cell = goal.worst(numbers)
    verdict = goal.verdict(number)
    if why:
        verdict += f" where measured; {why.total()} of {counted(len(asked), 'cell')} not: {listed(why, 'cell')}"
    return Row(
        entries=(
            *head,
            Entry(text=form.format(number), value=number, cell=cell.id),
            Entry(text=str(cell.top_k), value=cell.top_k, cell=cell.id),
            Entry(text=verdict),
        )
    )


def _read(goal: Goal, contest: Contest) -> float | str:
    """Return the number that a goal is about, or the reason why a contest has none."""
    if (sizes := contest.sizes) and (
        contest.result.cell.device != "cuda" or sizes["windows"] * sizes["tokens"] != WORKLOAD_TOKENS
    ):
        return "measured on another device or size"
    names = goal.samples(contest.result.cell.backend)
    for name in names:
        if name not in contest.samples:
            return contest.why_not(name.quantity, name.contender)
    first, last = contest.samples[names[0]], contest.samples[names[-1]]
    match goal.measure:
        case "ms":
            return median(first.samples)
        case "times faster":
            ratios = _by_block(first, last)
            return median(ratios) if ratios else "never in the same block"
        case "share of memory":
            return first.samples[0] * 2**20 / contest.moved_bytes()
        case "times":
            return median(first.samples) / median(last.samples)


def _section(contests: Sequence[Contest], baseline: str | None, everybody: Sequence[str], where: str) -> Section:
    blocks: list[Block] = []
    for quantity, (metric, title, hint) in QUANTITIES.items():
        asked = [each for each in contests if metric in each.result.records]
        if not asked:
            continue
        if names := sorted({name for each in asked for name in each.contenders(quantity)}):
            reference = baseline or asked[0].result.cell.backend
            blocks += _Tables(quantity, title, hint, asked, names, reference).blocks()
            if figures := tuple(against_k(asked, quantity, title, everybody)):
                blocks.append(Figures(figures=figures))
    window, tokens = contests[0].result.cell.window, contests[0].tokens
    return _placed(f"N = {tokens}, windows of {window}", f"n-{tokens}", where, tuple(blocks))


def _placed(title: str, anchor: str, where: str, blocks: tuple[Block, ...]) -> Section:
    """Return a section that names its machine where there is more than one."""
    if not where:
        return Section(title=title, anchor=anchor, blocks=blocks)
    slug = re.sub(r"[^a-z0-9]+", "-", where.lower()).strip("-")
    return Section(title=f"{title} · {where}", anchor=f"{anchor}-{slug}", blocks=blocks)


@dataclass(frozen=True)
class _Number:
    """One group of a table: what stands in each place."""

    title: str
    form: str
    """Format of the number and, where there is one, of its margin."""
    read: Callable[[Contest, str], _Read | None]


@dataclass(frozen=True)
class _Read:
    """A number off the samples of a contender."""

    value: float
    detail: str = ""
    margin: float = 0.0
    """Half of the 99 % interval of the median, in percent of it."""


@dataclass(frozen=True)
class _Tables:
    """The tables of one quantity at one N: rows are k, columns are contenders."""

    quantity: str
    title: str
    hint: str
    contests: Sequence[Contest]
    names: Sequence[str]
    reference: str

    def blocks(self) -> Iterator[Block]:
        """Yield the times, and folded what else was measured or follows from it."""
        yield self._table(self.title, self._times(), notes=(self.hint,))
        more = [number for number in self._more() if self._has(number)]
        if more:
            table = self._table(f"{self.title}: memory, rates, errors", more)
            yield Details(title=f"{self.title}: memory, rates, errors", blocks=(table,))

    def _table(self, caption: str, numbers: Sequence[_Number], notes: tuple[str, ...] = ()) -> Table:
        stub = (Column(label="dtype"), Column(label="k", kind="number"))
        columns = (*stub, *(Column(label=name, kind="number") for name in self.names))
        groups = tuple(Group(title=number.title, rows=tuple(self._rows(number))) for number in numbers)
        return Table(caption=caption, columns=columns, groups=groups, stubs=1, notes=notes)

    def _rows(self, number: _Number) -> Iterator[Row]:
        for contest in self.contests:
            cell = contest.result.cell
            stub = (Entry(text=cell.dtype), Entry(text=str(cell.top_k), value=cell.top_k))
            yield Row(entries=(*stub, *(self._entry(number, contest, name) for name in self.names)))

    def _entry(self, number: _Number, contest: Contest, name: str) -> Entry:
        found, cell = number.read(contest, name), contest.result.cell.id
        if found is None:
            why = contest.why_not(self.quantity, name)
            return Entry(text=brief(why), reason=why, cell=cell)
        text = number.form.format(found.value, found.margin)
        return Entry(text=text, value=found.value, detail=found.detail, cell=cell)

    def _has(self, number: _Number) -> bool:
        return any(number.read(contest, name) for contest in self.contests for name in self.names)

    def _times(self) -> list[_Number]:
        numbers = [
            _Number(f"{self.title}: hot, ms", "{:.3f} ± {:.1f} %", self._median("hot")),
            _Number(f"{self.title}: cold, ms", "{:.3f} ± {:.1f} %", self._median("cold")),
        ]
        ratio = _Number(f"{self.title}: hot, times {self.reference}", "{:.2f} ± {:.1f} %", self._ratio)
        memory = _Number(f"{self.title}: peak above inputs and results, MiB", "{:.1f}", self._first("memory"))
        return [numbers[0], *(number for number in (numbers[1], ratio, memory) if self._has(number))]

    def _more(self) -> list[_Number]:
        return [
            _Number("reserved by the allocator, MiB", "{:.1f}", self._first("reserved")),
            _Number("calls that do all windows", "{:.0f}", self._first("parts")),
            _Number("largest error, relative to float64", "{:.1e}", self._worst),
            _Number("two runs gave the same bits", "{:.0f}", self._first("repeatable")),
            _Number("host, ms a call", "{:.3f}", self._median("host")),
            _Number("useful TFLOP/s", "{:.2f}", self._rate(useful=True)),
            _Number("spent TFLOP/s", "{:.2f}", self._rate(useful=False)),
            _Number("GB/s of q, k, v and the output", "{:.0f}", self._bandwidth),
            _Number("hot, times copying those bytes", "{:.2f}", self._over_floor),
        ]

    def _median(self, kind: Kind) -> Callable[[Contest, str], _Read | None]:
        def read(contest: Contest, name: str) -> _Read | None:
            found = contest.of(self.quantity, kind, name)
            return None if found is None else _of_samples(found.samples, counted(len(found.samples), "sample"))

        return read

    def _ratio(self, contest: Contest, name: str) -> _Read | None:
        found = contest.of(self.quantity, "hot", name)
        other = contest.of(self.quantity, "hot", self.reference)
        if found is None or other is None:
            return None
        ratios = _by_block(found, other)
        return _of_samples(ratios, counted(len(ratios), "block")) if ratios else None

    def _first(self, kind: Kind) -> Callable[[Contest, str], _Read | None]:
        def read(contest: Contest, name: str) -> _Read | None:
            found = contest.of(self.quantity, kind, name)
            return None if found is None else _Read(found.samples[0])

        return read

    def _worst(self, contest: Contest, name: str) -> _Read | None:
        found = contest.of(self.quantity, "error", name)
        if found is None:
            return None
        labelled = zip(found.labels, found.samples, strict=True) if found.labels else ()
        return _Read(max(found.samples), ", ".join(f"{label} {error:.1e}" for label, error in labelled))

    def _rate(self, *, useful: bool) -> Callable[[Contest, str], _Read | None]:
        def read(contest: Contest, name: str) -> _Read | None:
            time, flops = self._median("hot")(contest, name), contest.flops(self.quantity, name)
            if time is None or flops is None:
                return None
            count = flops.useful if useful else flops.spent
            return _Read(count / time.value / 1e9, f"{count:,} FLOP by formula")

        return read

    def _bandwidth(self, contest: Contest, name: str) -> _Read | None:
        time = self._median("hot")(contest, name)
        if time is None or self.quantity != "forward":
            return None
        moved = contest.moved_bytes()
        return _Read(moved / time.value / 1e6, f"{moved:,} bytes")

    def _over_floor(self, contest: Contest, name: str) -> _Read | None:
        time, floor = self._median("hot")(contest, name), contest.of(FLOOR, "hot", "copy")
        if time is None or floor is None or self.quantity not in _MOVED:
            return None
        bound = median(floor.samples) * _MOVED[self.quantity]
        return _Read(time.value / bound, f"copying as many bytes takes {bound:.4g} ms on this device")


def _by_block(found: Measurement, other: Measurement) -> list[float]:
    """Divide samples by those of another, of the same block; blocks that one of them is not in are left out."""
    of_block = dict(zip(other.labels, other.samples, strict=True))
    pairs = zip(found.labels, found.samples, strict=True)
    return [time / of_block[block] for block, time in pairs if block in of_block]


def _of_samples(samples: Sequence[float], counted_samples: str) -> _Read:
    low, high = median_interval(samples)
    middle = median(samples)
    detail = f"median of {counted_samples}, 99 % interval {low:.4g} to {high:.4g}"
    return _Read(middle, detail, 50 * (high - low) / middle)


def _absences(contests: Sequence[Contest]) -> Iterator[Block]:
    found: Counter[tuple[str, str, str]] = Counter()
    for contest in contests:
        for (quantity, contender), why in contest.absences.items():
            found[quantity, contender, why] += 1
        for metric, record in contest.result.records.items():
            if record is None or not isinstance(record.outcome, Measured):
                found[metric, "all", reason(record)] += 1
    if not found:
        yield Text(text="Every contender has times for everything.")
        return
    columns = (Column(label="what"), Column(label="who"), Column(label="why"), Column(label="cells", kind="number"))
    rows = tuple(
        Row(
            entries=(
                Entry(text=QUANTITIES[what][1] if what in QUANTITIES else what),
                Entry(text=who),
                Entry(text=why),
                Entry(text=str(count)),
            )
        )
        for (what, who, why), count in sorted(found.items())
    )
    yield Table(caption="Not timed, and why", columns=columns, groups=(Group(rows=rows),), stubs=2)
