"""What a verdict and a certificate say, in short words and rows: the terminal and the pages print the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.gate.certificate import Certificate, Power, Share
from harness.gate.document import CellVerdict, ExactVerdict, GateDocument, Neighbours, Side, WaiverShown
from harness.gate.statistics import Rule
from harness.record import Environment

MARKS = {"slower": "SLOWER", "not_measured": "NOT MEASURED", "worse": "WORSE"}
"""What a reader must not overlook is written large."""

Row = tuple[str, ...]

EXACT: Row = ("figure", "verdict", "base", "head", "unit", "tolerance")
RULES: Row = ("rule", "false alarms", "rate", "95 % interval")
POWER: Row = ("slow-down", "seen as", "found", "95 % interval", "other backends blamed", "speed-up called slower")


def headline(document: GateDocument) -> str:
    """Return the outcome and what it means, as in `FAIL. slower: sdpa-forward`."""
    return f"{outcome(document).upper()}. {document.message}"


def outcome(document: GateDocument) -> str:
    """Return the outcome as a reader says it."""
    return document.outcome.replace("_", " ")


def facts(document: GateDocument) -> Iterator[tuple[str, str]]:
    """Yield what a reader wants to know before the tables."""
    if document.base and document.head:
        yield "base", side(document.base)
        yield "head", side(document.head)
    environment = document.environment
    yield "machine", f"{machine(environment)}, {', '.join(versions(environment))}"
    if document.cells:
        yield "certificate", _certificate(document)
        overhead = 1 - document.sampled_s / document.timed_s if document.timed_s else 0.0
        yield (
            "time",
            f"{document.duration_s:.0f} s, of which {document.timed_s:.0f} timed, {overhead:.0%} of these not sampling",
        )
        yield "margin", f"{document.rule.margin:.0%}"
    if (found := document.neighbours) is not None:
        average = found.load_average_median
        yield (
            "neighbours",
            f"pressure {share(found.pressure_median)} median, {share(found.pressure_p95)} 95th percentile; "
            f"steal {share(found.steal_p95)}; load {'unknown' if average is None else average}; "
            f"{found.switches_per_s:.0f} interruptions a second{_throttling(found, document.environment)}",
        )
    if (sentinel := document.sentinel) is not None:
        yield "A/A sentinel", "ALARM" if sentinel.alarm else "quiet"


def _throttling(found: Neighbours, environment: Environment) -> str:
    if found.throttled_blocks is not None:
        return f"; {found.throttled_blocks} throttled blocks"
    return "" if environment.device == "cpu" else "; the clock was not watched: pip install nvidia-ml-py"


def machine(environment: Environment) -> str:
    """Return processor, cores and device."""
    return f"{environment.cpu}, {environment.cores} cores, {environment.device}"


def versions(environment: Environment) -> list[str]:
    """Return the versions of what computes."""
    return [f"{name} {found}" for name, found in environment.versions.items() if name in ("torch", "triton")]


def timed_heads(rule: Rule) -> Row:
    """Return the heads of the columns of timed cells."""
    return "cell", "verdict", "head / base", f"{rule.confidence:.0%} interval", "base ms", "head ms", "launches"


def timed(cell: CellVerdict) -> Row:
    """Return the row of a timed cell, as `timed_heads` heads it."""
    stages = f"{len(cell.first)}" + (f" + {len(cell.second)}" if cell.second else "")
    bounds = "" if cell.low is None or cell.high is None else f"{cell.low:.3f} to {cell.high:.3f}"
    times = number(cell.base_ms), number(cell.head_ms)
    return cell.cell, verdict(cell), ratio(cell), bounds, *times, stages


def exact(figure: ExactVerdict) -> Row:
    """Return the row of an exact figure, as `EXACT` heads it."""
    values = number(figure.base), number(figure.head)
    return figure.cell, verdict(figure), *values, figure.unit, figure.tolerance


def reasons(verdicts: Sequence[CellVerdict | ExactVerdict]) -> Iterator[str]:
    """Yield each reason once, behind the names of all that have it."""
    names: dict[str, list[str]] = {}
    for found in verdicts:
        if found.reason:
            names.setdefault(found.reason, []).append(found.cell)
    yield from (f"{', '.join(of_reason)}: {reason}" for reason, of_reason in names.items())


def waiver(found: WaiverShown) -> str:
    """Return what a waiver accepts, until when, and whether it did in this run."""
    return f"waiver for {found.cell} (limit {found.limit}, {waiver_state(found)}): {found.reason}"


def waiver_state(found: WaiverShown) -> str:
    """Return whether it holds and was needed."""
    used = "accepts a loss in this run" if found.used else "not needed in this run"
    return f"until {found.expires}, {used}" if found.state == "active" else f"EXPIRED on {found.expires}"


def rules(found: Certificate) -> Iterator[Row]:
    """Yield a row for this gate and for each of the usual rules, as `RULES` heads them."""
    for name, counted in (("this gate", found.false_alarms), *found.rivals.items()):
        yield name, f"{counted.hits} of {counted.trials}", f"{counted.hits / counted.trials:.1%}", interval(counted)


def power(found: Power) -> Row:
    """Return the row of a slow-down, as `POWER` heads it."""
    caught, *wrong = (f"{one.hits} of {one.trials}" for one in (found.found, found.blamed, found.exchanged))
    return slow_down(found), f"{found.seen:+.1%}", caught, interval(found.found), *wrong


def slow_down(found: Power) -> str:
    """Return what was put in, as in `+10% in sdpa`."""
    return f"{found.effect:+.0%} in {found.backend}"


def interval(counted: Share) -> str:
    """Return the exact interval of a rate."""
    low, high = counted.interval
    return f"{low:.1%} to {high:.1%}"


def verdict(found: CellVerdict | ExactVerdict) -> str:
    """Return the status, and whether a waiver covers it."""
    status = found.status.replace("_", " ")
    return f"{status}, waived" if found.waived else MARKS.get(found.status, status)


def ratio(cell: CellVerdict) -> str:
    """Return head's time over base's, or nothing."""
    return "" if cell.ratio is None else f"{cell.ratio:.3f}"


def number(value: float | None) -> str:
    """Return a figure rounded for reading, or nothing."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 1000 else f"{value:.4g}"


def share(value: float | None) -> str:
    """Return a share in percent; not every kernel tells."""
    return "unknown" if value is None else f"{value:.0%}"


def side(tree: Side) -> str:
    """Return a tree by its revision and commit."""
    own = tree.commit[:12]
    named = tree.revision if not own or tree.revision == own else f"{tree.revision} ({own})"
    return named + (" with changes" if tree.dirty else "")


def _certificate(document: GateDocument) -> str:
    if (held := document.certificate) is None:
        return document.certificate_note
    found = "; ".join(f"{effect}: {words}" for effect, words in held.power.items())
    return (
        f"of {held.date}: {held.false_alarms} false alarms in {held.comparisons} comparisons (at most "
        f"{held.false_alarm_at_most:.1%}); found: {found or 'not measured'}; launch sd {held.launch_sd:.3f}"
    )
