"""A document as Markdown, for a README: words and tables alone, without figures, pictures and what is folded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reports.document import Block, Column, Document, Entry, Facts, Table, Text


def render(document: Document, *, titled: bool = False) -> str:
    """Return the lead and the sections that hold words or tables, as headings of the second level with tables.

    The title is left out unless it is asked for: the file that this becomes a part of has its own.
    """
    parts = [f"# {_escaped(document.title)}"] if titled else []
    parts += _blocks(document.lead)
    for section in document.sections:
        if blocks := [*_blocks(section.blocks)]:
            parts += [f"## {_escaped(section.title)}", *blocks]
    return "\n\n".join(parts) + "\n"


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Text(text=text):
                yield _escaped(text)
            case Facts(items=items):
                yield "\n".join(f"- {_escaped(name)}: {_escaped(value)}" for name, value in items)
            case Table():
                yield from _table(block)


def _table(table: Table) -> Iterator[str]:
    """Yield a table for each group, under the group's title; a place without a number holds its reason."""
    heads = [_escaped(_head(column)) for column in table.columns]
    rules = ["---:" if column.kind == "number" else "---" for column in table.columns]
    for group in table.groups:
        if group.title:
            yield f"**{_escaped(group.title)}**"
        rows = [[_escaped(_entry(entry)) for entry in row.entries] for row in group.rows]
        yield "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rules, *rows))
    for note in table.notes:
        yield _escaped(note)


def _head(column: Column) -> str:
    label = f"{column.family} {column.label}".strip()
    return f"{label}, {column.unit}" if column.unit else label


def _entry(entry: Entry) -> str:
    return entry.text or entry.reason


def _escaped(text: str) -> str:
    """Keep what Markdown would read as its own from being read so; a table's cell is one line."""
    for letter in "\\`*_|<[":
        text = text.replace(letter, f"\\{letter}")
    return " ".join(text.split())
