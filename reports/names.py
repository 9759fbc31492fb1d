"""What a paper prints for the values of axes: `Ours` where a spec says `topk-random`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from harness.record import Cell
from reports.document import Column, Entry, Figure, Group, Panel, Row, Table
from reports.results import label, phrase, value_text

Names = Mapping[str, Mapping[str, str]]
"""Per axis what is printed for a value; see `harness.paper.Paper.names`."""

_INSIDE = r"\w.,=/-"
"""What may stand beside a letter within one value."""


def renamed(table: Table, names: Names) -> Table:
    """Return the table as a paper prints it; entries with a number stay as they are.

    In a column that an axis heads, an entry that is a value gets its name. Everywhere else in the table a value that
    is a word of its own does, and so does what `reports.results.phrase` says of a value. A number and `none` mean
    something else in most places: these are replaced in their column and in phrases alone.
    """
    exact, said = _exact(names), _said(names)

    def entry(found: Entry, column: Column) -> Entry:
        if found.value is not None:
            return found
        text = exact.get((column.label, found.text)) or said(found.text)
        return replace(found, text=text, reason=said(found.reason))

    def row(found: Row) -> Row:
        return replace(found, entries=tuple(map(entry, found.entries, table.columns)))

    return replace(
        table,
        caption=said(table.caption),
        columns=tuple(
            replace(each, label=said(each.label), unit=said(each.unit), family=said(each.family))
            for each in table.columns
        ),
        groups=tuple(Group(rows=tuple(map(row, each.rows)), title=said(each.title)) for each in table.groups),
        notes=tuple(map(said, table.notes)),
    )


def renamed_figure(figure: Figure, names: Names) -> Figure:
    """Return the figure as a paper prints it; ticks of an axis of the spec get that axis' names alone."""
    exact, said = _exact(names), _said(names)
    ticks = tuple((x, exact.get((figure.x.label, text)) or said(text)) for x, text in figure.x.ticks)

    def panel(found: Panel) -> Panel:
        return replace(
            found,
            title=said(found.title),
            series=tuple(replace(each, label=said(each.label)) for each in found.series),
        )

    return replace(
        figure,
        title=said(figure.title),
        x=replace(figure.x, ticks=ticks),
        panels=tuple(map(panel, figure.panels)),
    )


def _exact(names: Names) -> dict[tuple[str, str], str]:
    """Return names by the head of a column and the text in it."""
    return {(label(axis), value_text(axis, _value(key))): name for axis, key, name in _each(names)}


def _said(names: Names) -> Callable[[str], str]:
    """Return what puts names into a text, longest words first and each place once."""
    words: dict[str, str] = {}
    for axis, key, name in _each(names):
        text, whole = value_text(axis, _value(key)), phrase(axis, _value(key))
        counted = key == "null" or key.isdecimal()
        if whole != text:
            words[whole] = f"{label(axis)} {name}" if counted else name
        if not counted and text != "none":
            words[text] = name
    if not words:
        return lambda text: text
    either = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    pattern = re.compile(rf"(?<![{_INSIDE}])(?:{either})(?![\w=/-]|[.,]\w)")
    return lambda text: pattern.sub(lambda found: words[found[0]], text)


def _each(names: Names) -> Iterable[tuple[str, str, str]]:
    """Yield axis, value and name, in the order of the axes."""
    return ((axis, key, name) for axis in Cell.model_fields for key, name in names.get(axis, {}).items())


def _value(key: str) -> str | None:
    return None if key == "null" else key
