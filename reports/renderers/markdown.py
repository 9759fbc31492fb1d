"""A document as Markdown: words and tables alone, without figures and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from reports.document import Block, Code, Column, Details, Document, Entry, Facts, Table, Text


def render(document: Document, *, titled: bool = False, folded: bool = True) -> str:
    """Return the lead and the sections that hold words or tables, as headings of the second level with tables.

    A file that this becomes a part of has a title of its own, and no room for what a page folds: both can be left out.
    """
    parts = [f"# {_escaped(document.title)}"] if titled else []
    parts += _blocks(document.lead, 3 if folded else 0)
    for section in document.sections:
        if blocks := [*_blocks(section.blocks, 3 if folded else 0)]:
            parts += [f"## {_escaped(section.title)}", *blocks]
    return "\n\n".join(parts) + "\n"


def _blocks(blocks: Iterable[Block], level: int) -> Iterator[str]:
    """Yield blocks; what is folded under headings of `level` and below, or not at all where that is 0."""
    for block in blocks:
        match block:
            case Details() if level and (inside := [*_blocks(block.blocks, level + 1)]):
                count = f" ({_escaped(block.count)})" if block.count else ""
                yield f"{'#' * level} {_escaped(block.title)}{count}"
                yield from inside
            case Code() if level:
                fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", block.text)), default=0))
                yield f"{fence}\n{block.text.rstrip()}\n{fence}"
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
        rows = [[_entry(entry) for entry in row.entries] for row in group.rows]
        yield "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rules, *rows))
    found = [entry for group in table.groups for row in group.rows for entry in row.entries if entry.value is not None]
    if any(entry.best for entry in found):
        yield f"Best in bold{', second underlined' if any(entry.second for entry in found) else ''}."
    for note in table.notes:
        yield _escaped(note)


def _head(column: Column) -> str:
    label = f"{column.family} {column.label}".strip()
    return f"{label}, {column.unit}" if column.unit else label


def _entry(entry: Entry) -> str:
    """Return the number, the best bold and the second underlined, or why there is none."""
    text = _escaped(entry.text or entry.reason)
    return f"**{text}**" if entry.best else f"<ins>{text}</ins>" if entry.second else text


def _escaped(text: str) -> str:
    """Keep what Markdown would read as its own from being read so; a table's cell is one line."""
    for letter in "\\`*_|<[":
        text = text.replace(letter, f"\\{letter}")
    return " ".join(text.split())
