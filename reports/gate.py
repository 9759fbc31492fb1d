"""The regression gate: the page of a verdict with its samples, and the tables of the certificates behind verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median

from harness.gate import launch, words
from harness.gate.cells import SENTINEL
from harness.gate.certificate import Certificate, is_outdated
from harness.gate.document import CellVerdict, ExactVerdict, GateDocument, Outcome, percentile
from harness.gate.load import Load
from harness.gate.statistics import at_most
from reports.document import (
    Axis,
    Badge,
    Block,
    Code,
    Column,
    Details,
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
    State,
    Table,
    Text,
)
from reports.results import counted

_OUTCOMES: dict[Outcome, State] = {
    "pass": "measured",
    "advisory": "missing",
    "nothing_to_compare": "skipped",
    "fail": "failed",
    "void": "failed",
    "refused": "failed",
}
_STATUSES: dict[str, State] = {
    "slower": "failed",
    "worse": "failed",
    "not_measured": "failed",
    "inconclusive": "missing",
}
"""Of cells and figures; all others are as they should be."""
_LONG = 9
"""Cells above which strips stand in two columns."""
_STAGES = ("first stage", "second stage")


def build(verdict: GateDocument, samples: Sequence[launch.Block] = (), *, missing: str = "") -> Document:
    """Return the page of a verdict.

    `samples` are all blocks of its file in the order of time: with them it shows what each launch value is made of,
    base and head apart, and the neighbours' load. `missing` says why there are none.
    """
    sections = [
        Section(title="Timed cells", anchor="timed", blocks=tuple(_timed(verdict, samples, missing))),
        Section(title="Exact figures", anchor="exact", blocks=tuple(_exact(verdict))),
        Section(title="Waivers", anchor="waivers", blocks=tuple(_waivers(verdict))),
        Section(title="A/A sentinel", anchor="sentinel", blocks=tuple(_sentinel(verdict, samples))),
        Section(title="Neighbours", anchor="neighbours", blocks=tuple(_neighbours(samples))),
        Section(title="Certificate", anchor="certificate", blocks=tuple(_certificate(verdict))),
        Section(title="Provenance", anchor="provenance", blocks=(_provenance(verdict),)),
    ]
    there = {section.anchor for section in sections if section.blocks}
    said = Text(text=verdict.message, tone="plain" if verdict.exit_code == 0 else "warning")
    facts = tuple((name, value) for name, value in words.facts(verdict) if name != "certificate")
    return Document(
        title=f"Regression gate: {words.outcome(verdict)}",
        kicker=f"verdict of {verdict.started_at[:16].replace('T', ' ')} UTC",
        badges=tuple(badge for badge in _badges(verdict) if badge.anchor in there | {""}),
        lead=(said, Facts(items=facts)),
        sections=tuple(section for section in sections if section.blocks),
    )


def build_certificates(found: Sequence[Certificate]) -> Document:
    """Return what certificates prove: for each the false alarms of this gate and of the usual rules, and its power."""
    sections = [
        Section(
            title=words.machine(each.environment), anchor=each.gate_class, blocks=(_facts_of(each), *_tables_of(each))
        )
        for each in found
    ]
    return Document(title="Certificates of the regression gate", sections=tuple(sections))


def _badges(verdict: GateDocument) -> Iterator[Badge]:
    yield Badge(text=words.outcome(verdict), state=_OUTCOMES[verdict.outcome])
    for anchor, found in (("timed", verdict.cells), ("exact", verdict.exact)):
        statuses = [each.status for each in found]
        for status in dict.fromkeys(statuses):
            noun = " " + counted(statuses.count(status), "figure").split()[1] if anchor == "exact" else ""
            text = f"{statuses.count(status)}{noun} {status.replace('_', ' ')}"
            yield Badge(text=text, state=_STATUSES.get(status, "measured"), anchor=anchor)


# Timed cells


def _timed(verdict: GateDocument, samples: Sequence[launch.Block], missing: str) -> Iterator[Block]:
    if not verdict.cells:
        return
    columns = [Column(label=label) for label in words.timed_heads(verdict.rule)]
    for place in (2, 4, 5):
        columns[place] = Column(label=columns[place].label, kind="number")
    yield _table("Timed cells", columns, [_row(cell, words.timed(cell)) for cell in verdict.cells], verdict.cells)
    if missing:
        yield Text(text=missing, tone="note")
    measured = [cell for cell in verdict.cells if cell.first]
    if measured:
        yield Figures(figures=(_launches(measured, verdict, samples),))
    if apart := tuple(_apart(cell.cell, samples) for cell in measured if any(b.cell == cell.cell for b in samples)):
        number = sum(len(block.ms) for block in samples if block.cell != SENTINEL)
        yield Details(
            title="Every sample, base and head apart",
            count=counted(number, "sample"),
            blocks=(Figures(figures=apart),),
        )


def _launches(cells: Sequence[CellVerdict], verdict: GateDocument, samples: Sequence[launch.Block]) -> Figure:
    half = -(-len(cells) // 2)
    columns = [cells[:half], cells[half:]] if len(cells) > _LONG else [cells]
    blocks = " Light lines are its blocks, those beyond the axis at its edge." if samples else ""
    return Figure(
        title="Launch values",
        note=f"A mark is one launch.{blocks} Shaded: the margin of {verdict.rule.margin:.0%} to either side; right of "
        "it head is slower.",
        summary="The logarithm of head's time over base's in each launch of each cell",
        kind="strips",
        x=Axis(label="cell", ticks=tuple((place, cell.cell) for place, cell in enumerate(cells))),
        y=Axis(label="ln(head / base)", origin=0.0, band=(-verdict.rule.bound, verdict.rule.bound)),
        panels=tuple(
            Panel(
                series=(
                    *_stages([(cells.index(cell), cell.cell, cell.first, cell.second) for cell in column], samples),
                    Series(
                        label=f"mean with its {verdict.rule.confidence:.0%} interval",
                        style=2,
                        points=tuple(_estimate(cells.index(cell), cell) for cell in column if cell.ratio),
                    ),
                )
            )
            for column in columns
        ),
    )


def _stages(
    cells: Sequence[tuple[int, str, Sequence[float], Sequence[float]]], samples: Sequence[launch.Block]
) -> Iterator[Series]:
    """Yield the launch values of both stages, each behind the blocks that they are medians of."""
    places = {name: place for place, name, _, _ in cells}
    launches = max(len(first) for _, _, first, _ in cells)
    own = [block for block in samples if block.cell in places and not block.throttled]
    for stage, label in enumerate(_STAGES):
        blocks = [block for block in own if (block.launch >= launches) == bool(stage)]
        points = [
            Point(x=place, y=value, detail=f"launch {stage * launches + number}: ratio {math.exp(value):.3f}")
            for place, _, *values in cells
            for number, value in enumerate(values[stage], start=1)
        ]
        if blocks:
            behind = tuple(Point(x=places[block.cell], y=block.value) for block in blocks)
            yield Series(label=label, style=stage, points=behind, faint=True)
        if points:
            yield Series(label=label, style=stage, points=tuple(points))


def _estimate(place: int, cell: CellVerdict) -> Point:
    ratio, low, high = (None if end is None else math.log(end) for end in (cell.ratio, cell.low, cell.high))
    assert ratio is not None
    return Point(x=place, y=ratio, low=low, high=high, detail=words.verdict(cell))


def _apart(cell: str, samples: Sequence[launch.Block]) -> Figure:
    own = [block for block in samples if block.cell == cell]
    numbers = sorted({block.launch for block in own})
    series = []
    for style, side in enumerate(launch.SIDES.values()):
        times = {number: [ms for b in own if b.launch == number for ms in b.side(side)] for number in numbers}
        every = tuple(Point(x=number, y=ms) for number in numbers for ms in times[number])
        medians = tuple(
            Point(x=number, y=median(times[number]), detail=f"median of {len(times[number])}") for number in numbers
        )
        series += [
            Series(label=side, style=style, points=every, faint=True),
            Series(label=side, style=style, points=medians),
        ]
    return Figure(
        title=cell,
        summary="The times of base and head in each launch, and their medians",
        kind="strips",
        x=Axis(label="", ticks=tuple((number, f"launch {number + 1}") for number in numbers)),
        y=Axis(label="time of a call", unit="ms"),
        panels=(Panel(series=tuple(series)),),
    )


# The rest of a verdict


def _exact(verdict: GateDocument) -> Iterator[Block]:
    if verdict.exact:
        columns = [Column(label=label) for label in words.EXACT]
        for place in (2, 3):
            columns[place] = Column(label=columns[place].label, kind="number")
        rows = [_row(figure, words.exact(figure)) for figure in verdict.exact]
        yield _table("Exact figures", columns, rows, verdict.exact)


def _waivers(verdict: GateDocument) -> Iterator[Block]:
    if verdict.waivers:
        columns = [Column(label=label) for label in ("cell", "accepted ratio", "state", "reason")]
        rows = [(each.cell, each.limit, words.waiver_state(each), each.reason) for each in verdict.waivers]
        yield _table("Waivers", columns, [_words(row) for row in rows])


def _sentinel(verdict: GateDocument, samples: Sequence[launch.Block]) -> Iterator[Block]:
    if (sentinel := verdict.sentinel) is None or not sentinel.first:
        return
    half = math.log1p(verdict.rule.margin / 2)
    figure = Figure(
        title=f"One code on both sides: {'ALARM' if sentinel.alarm else 'quiet'}",
        note="Where it differs from itself by more than the shaded half of the margin, nothing else is believed.",
        summary="The logarithm of head's time over base's in each launch of the sentinel",
        kind="strips",
        x=Axis(label="cell", ticks=((0, SENTINEL),)),
        y=Axis(label="ln(head / base)", origin=0.0, band=(-half, half)),
        panels=(Panel(series=tuple(_stages([(0, SENTINEL, sentinel.first, sentinel.second)], samples))),),
    )
    yield Figures(figures=(figure,))


def _neighbours(samples: Sequence[launch.Block]) -> Iterator[Block]:
    """Yield what else ran on the machine, launch by launch; what its kernel does not tell is left out."""

    def of_loads(read: Callable[[Load], float | None]) -> Callable[[launch.Block], Iterable[float | None]]:
        return lambda block: (read(load) for load in block.load)

    kinds: Sequence[tuple[str, str, str, Callable[[launch.Block], Iterable[float | None]]]] = (
        ("Somebody waited for a processor", "share of the time", "%", of_loads(lambda load: _percent(load.pressure))),
        ("Taken by the host", "share of the time", "%", of_loads(lambda load: _percent(load.steal))),
        ("Load", "load average of a minute", "", of_loads(lambda load: load.load_average)),
        ("Interruptions of the workers", "rate", "1/s", _interruptions),
        ("Clock of the GPU", "clock", "MHz", of_loads(lambda load: load.sm_clock)),
    )
    figures: list[Figure] = []
    for title, label, unit, read in kinds:
        points = tuple(_spread(samples, read))
        if any(point.y or point.high for point in points):
            figures.append(
                Figure(
                    title=title,
                    note="Median of each launch, with its 5th and 95th percentile.",
                    summary=f"{title}, by launch in the order of time",
                    kind="lines",
                    x=Axis(label="launch", ticks=tuple((point.x, f"{point.x:g}") for point in points)),
                    y=Axis(label=label, unit=unit, zero=True),
                    panels=(Panel(series=(Series(label="", style=len(figures), points=points),)),),
                )
            )
    if figures:
        yield Figures(figures=tuple(figures))


def _spread(samples: Sequence[launch.Block], read: Callable[[launch.Block], Iterable[float | None]]) -> Iterator[Point]:
    for number in sorted({block.launch for block in samples}):
        found = [value for block in samples if block.launch == number for value in read(block)]
        middle, low, high = (percentile(found, share) for share in (0.5, 0.05, 0.95))
        if middle is not None:
            yield Point(x=number + 1, y=middle, low=low, high=high)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _interruptions(block: launch.Block) -> Iterator[float | None]:
    for count, ms in zip(block.switches, block.ms, strict=True):
        yield 1e3 * count / (ms * block.calls)


def _certificate(verdict: GateDocument) -> Iterator[Block]:
    if verdict.certificate_note:
        yield Text(text=f"{verdict.certificate_note}. semanir-bench gate --self-test DIR measures one.", tone="warning")
    if (held := verdict.certificate) is not None:
        proven = f"{held.false_alarms} in {held.comparisons} comparisons: at most {held.false_alarm_at_most:.1%}"
        found = [(f"{effect} found", said) for effect, said in held.power.items()]
        spread = ("launch sd", f"{held.launch_sd:.3f}")
        yield Facts(items=(("measured", held.date), ("false alarms", proven), *found, spread))


def _provenance(verdict: GateDocument) -> Details:
    rule = verdict.rule
    items = [
        ("seed", f"{verdict.seed}"),
        ("spec", verdict.spec),
        ("class", verdict.gate_class),
        ("python", verdict.environment.python),
        ("system", verdict.environment.system),
        (
            "rule",
            f"{rule.launches} launches a stage; the first at {rule.screen:g}, all cells together at {rule.family:g}; "
            f"same at {rule.equivalence:g}; sentinel at {rule.sentinel:g}",
        ),
        *((name, tree.digest) for name, tree in (("base", verdict.base), ("head", verdict.head)) if tree),
    ]
    if verdict.samples:
        items.append(("samples", f"{verdict.samples}, sha256 {verdict.samples_sha256}"))
    again = Code(text="semanir-bench gate --page gate.json", caption="writes this page again, from the verdict")
    return Details(title="What was asked, of what, and where", blocks=(Facts(items=tuple(items)), again))


# Certificates


def _facts_of(found: Certificate) -> Facts:
    environment, false = found.environment, found.false_alarms
    low, high = found.bootstrap
    average = "unknown" if found.load_average_median is None else f"{found.load_average_median}"
    hours = ", ".join(hour.replace("T", " ") for hour in found.hours)
    outdated = "no longer: the measuring code has changed since, and timing verdicts are advisory"
    return Facts(
        items=(
            ("certificate", f"{found.gate_class}, measured until {found.date}"),
            ("holds", outdated if is_outdated(found) else "for the measuring code as it is, until it is 180 days old"),
            ("software", ", ".join((environment.system, f"Python {environment.python}", *words.versions(environment)))),
            (
                "runs",
                f"{found.gates} of the program against itself, begun in the hours {hours} UTC; of all runs "
                f"{found.voided.words} were void",
            ),
            (
                "false alarms",
                f"{false.hits} of {false.trials} comparisons: at most {at_most(false.hits, false.trials):.1%} at 95 %; "
                f"whole runs drawn anew: {low:.1%} to {high:.1%}",
            ),
            (
                "time",
                f"{found.timed_s / 60:.1f} min for all cells of the spec, {found.overhead:.0%} of it not sampling; "
                "exact figures come on top",
            ),
            (
                "meanwhile",
                f"median pressure {words.share(found.pressure_median)}, load average {average}; standard deviation of "
                f"a launch value {found.launch_sd:.3f}",
            ),
        )
    )


def _tables_of(found: Certificate) -> Iterator[Table]:
    """Yield the false alarms of all rules on the same samples, and how often slow-downs were found."""
    rules = [_words(row) for row in words.rules(found)]
    yield _table("False alarms on the same samples", [Column(label=label) for label in words.RULES], rules)
    if found.power:
        powers = [_words(words.power(each)) for each in found.power]
        yield _table("Slow-downs that were put in", [Column(label=label) for label in words.POWER], powers)


# Tables


def _table(
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    verdicts: Sequence[CellVerdict | ExactVerdict] = (),
) -> Table:
    notes = tuple(words.reasons(verdicts))
    return Table(caption=caption, columns=tuple(columns), groups=(Group(rows=tuple(rows)),), notes=notes)


def _row(found: CellVerdict | ExactVerdict, texts: words.Row) -> Row:
    """Return a row whose verdict stands out where a reader must not overlook it."""
    loud = found.status in words.MARKS and not found.waived
    return Row(entries=tuple(Entry(text=text, best=loud and place == 1) for place, text in enumerate(texts)))


def _words(texts: words.Row) -> Row:
    return Row(entries=tuple(Entry(text=text) for text in texts))
