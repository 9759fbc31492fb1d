"""A verdict or a certificate as plain text, and a verdict as annotations of GitHub Actions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.gate import words
from harness.gate.certificate import Certificate
from harness.gate.document import GateDocument
from harness.gate.words import Row


def as_text(document: GateDocument) -> str:
    """Return the report for a terminal."""
    parts = [[words.headline(document), *_aligned(words.facts(document))]]
    if document.cells:
        parts.append(_aligned([words.timed_heads(document.rule), *map(words.timed, document.cells)]))
    if document.exact:
        parts.append(_aligned([words.EXACT, *map(words.exact, document.exact)]))
    notes = [*words.reasons(document.cells), *words.reasons(document.exact), *map(words.waiver, document.waivers)]
    return _joined([*parts, notes])


def certificate_as_text(found: Certificate) -> str:
    """Return a certificate's counts for a terminal."""
    tables = [_aligned([words.RULES, *words.rules(found)])]
    if found.power:
        tables.append(_aligned([words.POWER, *map(words.power, found.power)]))
    return _joined(tables)


def workflow_commands(document: GateDocument) -> Iterator[str]:
    """Yield a workflow command for each finding; GitHub shows them beside the commit."""
    timing = "error" if document.outcome == "fail" else "warning"
    if document.outcome in ("refused", "void"):
        yield _command("error", f"gate {document.outcome}", document.message)
    for cell in document.cells:
        if cell.status in ("slower", "not_measured") and not cell.waived:
            level = "error" if cell.status == "not_measured" else timing
            yield _command(level, f"{cell.cell}: {cell.status.replace('_', ' ')}", words.ratio(cell) or cell.reason)
    for figure in document.exact:
        if figure.status in ("worse", "not_measured") and not figure.waived:
            yield _command("error", f"{figure.cell}: {figure.status.replace('_', ' ')}", figure.reason)
    for waiver in document.waivers:
        if waiver.state == "expired":
            yield _command("warning", f"{waiver.cell}: waiver expired", f"on {waiver.expires}: {waiver.reason}")


def _aligned(rows: Iterable[Row]) -> list[str]:
    held = list(rows)
    widths = [max(map(len, column)) for column in zip(*held, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in held]


def _joined(parts: Iterable[list[str]]) -> str:
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _command(level: str, title: str, message: str) -> str:
    """Escape as GitHub's runner reads workflow commands."""
    body = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    name = title.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={name}::{body}"
