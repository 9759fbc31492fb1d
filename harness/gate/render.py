"""A verdict document as plain text, as a Markdown job summary, and as annotations of GitHub Actions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.gate.document import CellVerdict, ExactVerdict, GateDocument

MARKS = {"slower": "SLOWER", "not_measured": "NOT MEASURED", "worse": "WORSE"}
"""What a reader must not overlook is written large."""

Row = tuple[str, ...]


def as_text(document: GateDocument) -> str:
    """Return the report for a terminal."""
    lines = [_headline(document), *_facts(document)]
    if document.cells:
        lines += ["", *_aligned([TIMED, *map(_timed, document.cells)])]
    if document.exact:
        lines += ["", *_aligned([EXACT, *map(_exact, document.exact)])]
    lines += ["", *_notes(document)] if (notes := list(_notes(document))) and notes else []
    return "\n".join(lines)


def as_markdown(document: GateDocument) -> str:
    """Return the report for a job summary."""
    lines = [f"## Regression gate: {_headline(document)}", "", *(f"- {fact}" for fact in _facts(document))]
    for heading, rows in ((TIMED, [*map(_timed, document.cells)]), (EXACT, [*map(_exact, document.exact)])):
        if rows:
            lines += ["", *_table(heading, rows)]
    if notes := list(_notes(document)):
        lines += ["", *(f"- {_escaped(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def workflow_commands(document: GateDocument) -> Iterator[str]:
    """Yield a workflow command for each finding; GitHub shows them beside the commit."""
    timing = "error" if document.outcome == "fail" else "warning"
    if document.outcome in ("refused", "void"):
        yield _command("error", f"gate {document.outcome}", document.message)
    for cell in document.cells:
        if cell.status in ("slower", "not_measured") and not cell.waived:
            level = "error" if cell.status == "not_measured" else timing
            yield _command(level, f"{cell.cell}: {cell.status.replace('_', ' ')}", _ratio(cell) or cell.reason)
    for figure in document.exact:
        if figure.status in ("worse", "not_measured") and not figure.waived:
            yield _command("error", f"{figure.cell}: {figure.status.replace('_', ' ')}", figure.reason)
    for waiver in document.waivers:
        if waiver.state == "expired":
            yield _command("warning", f"{waiver.cell}: waiver expired", f"on {waiver.expires}: {waiver.reason}")


TIMED: Row = ("cell", "verdict", "head / base", "95 % interval", "base ms", "head ms", "launches")
EXACT: Row = ("figure", "verdict", "base", "head", "unit", "tolerance")


def _headline(document: GateDocument) -> str:
    return f"{document.outcome.replace('_', ' ').upper()}. {document.message}"


def _facts(document: GateDocument) -> Iterator[str]:
    if document.base and document.head:
        yield f"base {_side(document.base.revision, document.base.commit, document.base.dirty)}, " + (
            f"head {_side(document.head.revision, document.head.commit, document.head.dirty)}"
        )
    environment = document.environment
    versions = ", ".join(
        f"{name} {found}" for name, found in environment.versions.items() if name in ("torch", "triton")
    )
    yield f"{environment.cpu}, {environment.cores} cores, {environment.device}, {versions}"
    if document.cells:
        yield from _certificate(document)
        overhead = 1 - document.sampled_s / document.timed_s if document.timed_s else 0.0
        yield (
            f"{document.duration_s:.0f} s, of which {document.timed_s:.0f} timed, {overhead:.0%} of these not sampling"
            f"; margin {document.rule.margin:.0%}"
        )
    if (found := document.neighbours) is not None:
        yield (
            f"neighbours: pressure {_share(found.pressure_median)} median, {_share(found.pressure_p95)} 95th "
            f"percentile; steal {_share(found.steal_p95)}; load {found.load_average_median}; "
            f"{found.switches_per_s:.0f} interruptions a second; {found.throttled_blocks} throttled blocks"
        )
    if (sentinel := document.sentinel) is not None:
        yield f"A/A sentinel: {'ALARM' if sentinel.alarm else 'quiet'}"


def _certificate(document: GateDocument) -> Iterator[str]:
    if (held := document.certificate) is None:
        yield document.certificate_note
        return
    power = "; ".join(f"{effect}: {words}" for effect, words in held.power.items())
    yield (
        f"certificate of {held.date}: {held.false_alarms} false alarms in {held.comparisons} comparisons (at most "
        f"{held.false_alarm_at_most:.1%}); found: {power or 'not measured'}; launch sd {held.launch_sd:.3f}"
    )


def _notes(document: GateDocument) -> Iterator[str]:
    for cell in document.cells:
        if cell.reason:
            yield f"{cell.cell}: {cell.reason}"
    for figure in document.exact:
        if figure.reason:
            yield f"{figure.cell}: {figure.reason}"
    for waiver in document.waivers:
        used = "accepts a loss in this run" if waiver.used else "not needed in this run"
        state = f"until {waiver.expires}, {used}" if waiver.state == "active" else f"EXPIRED on {waiver.expires}"
        yield f"waiver for {waiver.cell} (limit {waiver.limit}, {state}): {waiver.reason}"


def _timed(cell: CellVerdict) -> Row:
    stages = f"{len(cell.first)}" + (f" + {len(cell.second)}" if cell.second else "")
    bounds = "" if cell.low is None or cell.high is None else f"{cell.low:.3f} to {cell.high:.3f}"
    return (
        cell.cell,
        _verdict(cell.status, cell.waived),
        _ratio(cell),
        bounds,
        _number(cell.base_ms),
        _number(cell.head_ms),
        stages,
    )


def _exact(figure: ExactVerdict) -> Row:
    base, head = _number(figure.base), _number(figure.head)
    return figure.cell, _verdict(figure.status, figure.waived), base, head, figure.unit, figure.tolerance


def _verdict(status: str, waived: bool) -> str:
    return f"{status.replace('_', ' ')}, waived" if waived else MARKS.get(status, status)


def _ratio(cell: CellVerdict) -> str:
    return "" if cell.ratio is None else f"{cell.ratio:.3f}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 1000 else f"{value:.4g}"


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0%}"


def _side(revision: str, commit: str, dirty: bool) -> str:
    own = commit[:12]
    return (own if revision == own else f"{revision} ({own})") + (" with changes" if dirty else "")


def _aligned(rows: Sequence[Row]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _table(heading: Row, rows: Sequence[Row]) -> Iterator[str]:
    yield f"| {' | '.join(heading)} |"
    yield f"|{'---|' * len(heading)}"
    for row in rows:
        yield f"| {' | '.join(map(_escaped, row))} |"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _command(level: str, title: str, message: str) -> str:
    """Escape as GitHub's runner reads workflow commands."""
    body = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    name = title.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={name}::{body}"
