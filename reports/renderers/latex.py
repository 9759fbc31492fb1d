"""A document's tables in LaTeX, for a paper: booktabs, numbers aligned by siunitx, every string as text.

But for its comments the file is ASCII, and it takes whatever encoding, fonts and class the paper has. A table takes a
column of the paper where it can, else the page (`table*`); one that is wider or longer than a page is cut into several.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, groupby, pairwise
from math import ceil
from string import ascii_lowercase
from textwrap import wrap
from typing import TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.paper import Paper
from reports.document import Block, Column, Details, Document, Entry, Facts, Group, Row, Table, Text
from reports.names import renamed
from reports.renderers.latex_text import escaped
from reports.results import kin, pattern

Piece = TypeVar("Piece")

_COLUMN, _PAGE, _WIDEST = 50, 74, 118
"""Widths in letters: of a column and of a page of common classes, and of what is legible when shrunk to a page."""
_GAP = 2
"""Letters between two columns."""
_MOST_LINES = 40
"""Lines of a body that fit on a page, caption and notes beside them."""
_LINES = (34, 20)
"""Letters to which the texts of a column are wrapped, the fewer ones where the table is too wide otherwise."""
_NARROW = 12
"""Letters up to which a head is never wrapped."""


def render(document: Document, *, name: str, paper: Paper | None = None, standalone: bool = False) -> str:
    """Return the tables that hold numbers, folded ones too: a fragment for `\\input`, or a file that compiles as it is.

    `name` is the experiment's: labels begin with it where the `paper` has none. Tables of words alone are left out and
    named in the comment at the top. Equal documents give equal text.
    """
    tables = list(_tables(document))
    environment = Environment(
        loader=PackageLoader("reports.renderers"),
        autoescape=False,  # that of HTML; here every string goes through `escaped`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    return environment.get_template("tables.tex.j2").render(
        head=list(_head(document, tables)),
        tables=list(_floats([found for found in tables if found.printed], name, paper or Paper())),
        standalone=standalone,
    )


def has_tables(document: Document) -> bool:
    """Say whether there is a table with numbers."""
    return any(found.printed for found in _tables(document))


@dataclass(frozen=True, kw_only=True)
class _Float:
    """A table in the words of LaTeX."""

    environment: str
    caption: str
    label: str
    size: str
    columns: str
    heads: tuple[str, ...]
    rows: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Number:
    """The parts of a number that a text begins with, and the rest of the text."""

    sign: str
    whole: str
    decimals: str
    exponent: str
    rest: str

    @classmethod
    def read(cls, text: str) -> _Number | None:
        found = _NUMBER.fullmatch(text)
        if found is None:
            return None
        sign, whole, decimals, exponent, rest = (part or "" for part in found.groups())
        return cls(
            sign=sign.replace("−", "-"),
            whole=whole.replace(",", ""),
            decimals=decimals,
            exponent=str(int(exponent.replace("−", "-"))) if exponent else "",
            rest=rest,
        )

    @property
    def text(self) -> str:
        """As siunitx reads it."""
        decimals = f".{self.decimals}" if self.decimals else ""
        exponent = f"e{self.exponent}" if self.exponent else ""
        return f"{self.sign}{self.whole}{decimals}{exponent}"


_NUMBER = re.compile(r"([+−-]?)([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.([0-9]+))?(?:e([+−-]?[0-9]+))?(?:\s+(.+))?", re.S)


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """Places that the numbers of a column take."""

    sign: bool
    whole: int
    decimals: int
    exponent: str
    """Its sign and its number of digits, as in `-1`; empty where no number has one."""

    @classmethod
    def of(cls, numbers: Sequence[_Number]) -> _Shape:
        exponents = [each.exponent for each in numbers if each.exponent]
        sign = "-" if any(each.startswith("-") for each in exponents) else ""
        return cls(
            sign=any(each.sign for each in numbers),
            whole=max(len(each.whole) for each in numbers),
            decimals=max(len(each.decimals) for each in numbers),
            exponent=f"{sign}{max(len(each.lstrip('-')) for each in exponents)}" if exponents else "",
        )

    @property
    def format(self) -> str:
        """As siunitx's `table-format` wants it."""
        decimals = f".{self.decimals}" if self.decimals else ""
        exponent = f"e{self.exponent}" if self.exponent else ""
        return f"{'+' if self.sign else ''}{self.whole}{decimals}{exponent}"

    @property
    def width(self) -> int:
        """In letters."""
        decimals = self.decimals + 1 if self.decimals else 0
        return self.sign + self.whole + decimals + (6 if self.exponent else 0)


@dataclass(frozen=True, kw_only=True)
class _Track:
    """How a column is set: as one column of LaTeX, or as two where words follow its numbers."""

    index: int
    column: Column
    spec: str
    span: int
    width: int
    """In letters."""
    heads: tuple[str, ...]
    """Lines of its label."""
    wraps: int = 0
    """Letters of a line, where its texts are wrapped."""
    shape: _Shape | None = None

    @property
    def unit(self) -> str:
        return f"({self.column.unit})" if self.column.unit else ""


class _Reasons:
    """Letters for the reasons of a table: those that differ in numbers alone share one."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, None]] = {}

    def letter(self, reason: str) -> str:
        self._found.setdefault(kin(reason), {})[reason] = None
        return _letters(list(self._found).index(kin(reason)))

    def notes(self) -> Iterator[str]:
        for number, reasons in enumerate(self._found.values()):
            yield rf"\textsuperscript{{{_letters(number)}}}\,{escaped(_sentence(pattern(reasons)), wrapped=True)}"


# What is printed


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A table and where it stands."""

    table: Table
    section: str
    """Title of its section; empty for what stands before the first."""
    folded: bool

    @property
    def printed(self) -> bool:
        """It holds numbers."""
        places = [index for index, _ in _shown(self.table)]
        rows = [row for group in self.table.groups for row in group.rows]
        return any(row.entries[index].value is not None for row in rows for index in places)


def _tables(document: Document) -> Iterator[_Found]:
    yield from _inside(document.lead, "")
    for section in document.sections:
        yield from _inside(section.blocks, section.title)


def _inside(blocks: Iterable[Block], section: str, *, folded: bool = False) -> Iterator[_Found]:
    for block in blocks:
        match block:
            case Table():
                yield _Found(table=block, section=section, folded=folded)
            case Details(blocks=inner):
                yield from _inside(inner, section, folded=True)


def _shown(table: Table) -> list[tuple[int, Column]]:
    """Return the columns with their places, but for those that only lead somewhere in HTML."""
    return [(index, column) for index, column in enumerate(table.columns) if column.kind not in ("cell", "code")]


def _head(document: Document, tables: Sequence[_Found]) -> Iterator[str]:
    """Yield the lines of the comment at the top: what this is, where it comes from, what is wrong, what is left out."""
    yield _comment(document.title)
    for block in document.lead:
        match block:
            case Facts(items=items):
                yield from (_comment(f"{name}: {value}") for name, value in items)
            case Text(text=text, tone="warning"):
                yield _comment(f"Warning: {text}")
    if of_words := dict.fromkeys(found.table.caption for found in tables if not found.printed):
        yield _comment(f"Left out, as they hold no numbers: {'; '.join(of_words)}.")


def _floats(tables: Sequence[_Found], name: str, paper: Paper) -> Iterator[_Float]:
    """Yield every table. The only one that is not folded has caption and label of the paper as they are.

    Those of the others begin with them, and go on with the table's own words.
    """
    captions = Counter(found.table.caption for found in tables)
    open_ones = [found for found in tables if not found.folded] or tables
    base = paper.label or f"tab:{_slug(name) or 'results'}"
    taken: set[str] = set()
    for found in tables:
        unique = found.table.caption
        if captions[unique] > 1 and found.section:
            unique = f"{unique} ({found.section})"
        table = renamed(replace(found.table, caption=unique), paper.names)
        label, sentences = f"{base}-{_slug(unique) or len(taken) + 1}", [paper.caption, table.caption]
        if open_ones == [found]:
            label, sentences = base, [paper.caption or table.caption]
        caption = " ".join(_sentence(each) for each in sentences if each)
        parts = list(_parts(table))
        for number, (tracks, groups) in enumerate(parts, start=1):
            part = f" Part {number} of {len(parts)}." if len(parts) > 1 else ""
            yield _float(
                tracks,
                groups,
                stubs=table.stubs,
                caption=escaped(caption + part, wrapped=True),
                label=_untaken(label, taken),
                notes=table.notes if number == len(parts) else (),
            )


def _float(
    tracks: Sequence[_Track],
    groups: Sequence[Group],
    *,
    stubs: int,
    caption: str,
    label: str,
    notes: Sequence[str],
) -> _Float:
    width, reasons = _width(tracks), _Reasons()
    entries = [row.entries[track.index] for group in groups for row in group.rows for track in tracks]
    marks = ["best in bold"] * any(each.best for each in entries)
    marks += ["second underlined"] * any(each.second for each in entries)
    return _Float(
        environment="table" if width <= _COLUMN else "table*",
        caption=caption,
        label=label,
        size=r"\small" if width <= _PAGE else r"\footnotesize",
        columns="".join(track.spec for track in tracks),
        heads=tuple(_heads(tracks)),
        rows=tuple(_rows(tracks, groups, stubs, reasons)),
        notes=(
            *([_sentence(", ".join(marks).capitalize())] if marks else ()),
            *reasons.notes(),
            *(escaped(note, wrapped=True) for note in notes),
        ),
    )


# Columns


def _tracks(table: Table) -> list[_Track]:
    """Return how each column is set."""
    rows = [row for group in table.groups for row in group.rows]
    tracks: list[_Track] = []
    for letters in _LINES:
        tracks = [
            _track(index, column, [row.entries[index] for row in rows], letters) for index, column in _shown(table)
        ]
        if _width(tracks) <= _WIDEST:
            break
    return tracks


def _track(index: int, column: Column, entries: Sequence[Entry], letters: int) -> _Track:
    texts = [entry.text for entry in entries if entry.text and not entry.reason]
    numbers = [found for text in texts if (found := _Number.read(text))] if column.kind == "number" else []
    shape = _Shape.of(numbers) if numbers else None
    longest = max(map(len, texts), default=1)
    wraps, span, width = 0, 1, longest
    if shape:
        rest = max(len(each.rest) for each in numbers)
        span, width = 2 if rest else 1, shape.width + rest
        spec = f"S[table-format = {shape.format}, group-digits = integer]" + (r"@{\,}l" if rest else "")
    elif column.kind == "number" or (texts and all(text.isdecimal() for text in texts)):
        spec = "r"
    elif longest > letters:
        wraps, width, spec = letters, letters, rf">{{\raggedright\arraybackslash}}p{{{letters / 2:g}em}}"
    else:
        spec = "l"
    heads = _wrapped(column.label, width)
    unit = f"({column.unit})" if column.unit else ""
    width = max(width, len(unit), *map(len, heads)) if heads else max(width, len(unit))
    return _Track(index=index, column=column, spec=spec, span=span, width=width, heads=heads, wraps=wraps, shape=shape)


def _width(tracks: Iterable[_Track]) -> int:
    return sum(track.width + _GAP for track in tracks)


def _heads(tracks: Sequence[_Track]) -> Iterator[str]:
    """Yield the lines above the body: families with their rules, labels with units, all standing on the last line."""
    if any(track.column.family for track in tracks):
        runs = [(name, list(run)) for name, run in groupby(tracks, key=lambda track: track.column.family)]
        spans = [sum(track.span for track in run) for _, run in runs]
        names = [_wrapped(name, _width(run)) for name, run in runs]
        for line in _standing(names):
            yield _line([cell for text, span in zip(line, spans, strict=True) for cell in _across(escaped(text), span)])
        ends = list(accumulate(spans))
        rules = [(end - span + 1, end) for (name, _), span, end in zip(runs, spans, ends, strict=True) if name]
        yield " ".join(rf"\cmidrule(lr){{{first}-{last}}}" for first, last in rules)
    units = any(track.unit for track in tracks)
    for line in _standing([(*track.heads, *[track.unit] * units) for track in tracks]):
        texts = [escaped(text, wrapped=track.wraps > 0) for text, track in zip(line, tracks, strict=True)]
        yield _line([cell for text, track in zip(texts, tracks, strict=True) for cell in _words(text, track)])


def _wrapped(text: str, letters: int) -> tuple[str, ...]:
    return tuple(wrap(text, max(letters, _NARROW), break_long_words=False, break_on_hyphens=False))


def _standing(stacks: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """Yield stacks of texts line by line, all of them ending with the last."""
    for number in range(-max(map(len, stacks)), 0):
        yield [stack[number] if len(stack) >= -number else "" for stack in stacks]


def _across(shown: str, span: int) -> list[str]:
    return [rf"\multicolumn{{{span}}}{{c}}{{{shown}}}"] if shown else [""] * span


# Rows


def _rows(tracks: Sequence[_Track], groups: Sequence[Group], stubs: int, reasons: _Reasons) -> Iterator[str]:
    """Yield the lines of the body. A name that the row above has too is blank, but for the last that names the row."""
    span = sum(track.span for track in tracks)
    for number, group in enumerate(groups):
        if number:
            yield r"\midrule"
        if group.title and group.title != group.rows[0].entries[0].text:
            for line in _wrapped(group.title, _width(tracks)):
                yield _line([rf"\multicolumn{{{span}}}{{@{{}}l}}{{\textit{{{escaped(line)}}}}}"])
        shared = any(_same(one, other, stubs - 1) for one, other in pairwise(group.rows))
        above: Row | None = None
        for row in group.rows:
            if shared and above and not _same(above, row, stubs - 1):
                yield r"\addlinespace"
            yield _line(list(_cells(tracks, row, above, stubs, reasons)))
            above = row


def _cells(tracks: Sequence[_Track], row: Row, above: Row | None, stubs: int, reasons: _Reasons) -> Iterator[str]:
    said = ""
    for track in tracks:
        entry = row.entries[track.index]
        if track.index < stubs - 1 and above and _same(above, row, track.index + 1):
            yield from [""] * track.span
        elif entry.reason:
            mark = "" if entry.reason == said else rf"\rlap{{\textsuperscript{{{reasons.letter(entry.reason)}}}}}"
            yield from _words(f"---{mark}", track)
        else:
            yield from _entry(entry, track)
        said = entry.reason


def _entry(entry: Entry, track: _Track) -> list[str]:
    number = _Number.read(entry.text) if track.shape else None
    if number is None or track.shape is None:
        text = escaped(entry.text, wrapped=track.wraps > 0)
        if entry.best:
            text = rf"\textbf{{{text}}}"
        elif entry.second and not track.wraps:
            text = rf"\underline{{{text}}}"
        return _words(text, track)
    rest = escaped(number.rest)
    shown = number.text
    if entry.best:
        shown, rest = rf"\bfseries {shown}", rf"\textbf{{{rest}}}" if rest else ""
    elif entry.second:
        shown = _underlined(number, track.shape)
    return [shown, rest][: track.span]


def _words(shown: str, track: _Track) -> list[str]:
    """Return what is no number in the place of a track."""
    if track.span > 1:
        return _across(shown, track.span)
    return [f"{{{shown}}}" if track.shape and shown else shown]


def _underlined(number: _Number, shape: _Shape) -> str:
    """Return the number as text of the width that all have: siunitx draws no line under a number that it aligns."""
    before = "+" * (shape.sign and not number.sign) + "0" * (shape.whole - len(number.whole))
    after = "." * bool(shape.decimals and not number.decimals) + "0" * (shape.decimals - len(number.decimals))
    left, right = (rf"\phantom{{{each}}}" if each else "" for each in (before, after))
    return rf"{{{left}\underline{{\num{{{number.text}}}}}{right}}}"


def _line(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _same(one: Row, other: Row, names: int) -> bool:
    """Say whether rows share their first names; not where there is none to share."""
    return names > 0 and all(a.text == b.text for a, b in zip(one.entries[:names], other.entries[:names], strict=True))


# Parts


def _parts(table: Table) -> Iterator[tuple[list[_Track], list[Group]]]:
    """Cut a table where it is wider or longer than a page; every part has the columns that name its rows."""
    tracks = _tracks(table)
    pages = list(_pages(table, tracks))
    for columns in _by_width(tracks, table.stubs):
        yield from ((columns, page) for page in pages)


def _by_width(tracks: Sequence[_Track], stubs: int) -> Iterator[list[_Track]]:
    """Yield the columns of each part; families stay whole where they can."""
    names = [track for track in tracks if track.index < stubs]
    room = max(_WIDEST - _width(names), 0)
    runs: list[list[_Track]] = []
    for family, members in groupby(tracks[len(names) :], key=lambda track: track.column.family):
        run = list(members)
        runs += [run] if family and _width(run) <= room else [[track] for track in run]
    for part in _shared_out(runs, [_width(run) for run in runs], room) or [[]]:
        yield [*names, *chain.from_iterable(part)]


def _pages(table: Table, tracks: Sequence[_Track]) -> Iterator[list[Group]]:
    """Yield the rows of each part; those that share their first name, where others name them too, stay together."""
    wraps = {track.index: track.wraps for track in tracks if track.wraps}
    blocks: list[tuple[int, list[Row]]] = []
    sizes: list[float] = []
    for number, group in enumerate(table.groups):
        above = 1.5 * bool(group.title)
        for _, members in groupby(group.rows, key=lambda row: row.entries[0].text if table.stubs > 1 else row):
            run = list(members)
            together = sum(_height(row, wraps) for row in run) < _MOST_LINES
            for block in [run] if together else [[row] for row in run]:
                blocks.append((number, block))
                sizes.append(above + sum(_height(row, wraps) for row in block) + 0.5 * (table.stubs > 1))
                above = 0.0
    for page in _shared_out(blocks, sizes, _MOST_LINES):
        yield [
            Group(rows=tuple(chain.from_iterable(rows for _, rows in members)), title=table.groups[number].title)
            for number, members in groupby(page, key=lambda block: block[0])
        ]


def _height(row: Row, wraps: Mapping[int, int]) -> int:
    return max([1, *(ceil(len(row.entries[index].text) / letters) for index, letters in wraps.items())])


def _shared_out(pieces: Sequence[Piece], sizes: Sequence[float], room: int) -> list[list[Piece]]:
    """Share pieces out, in order, among as few parts as there is room for, of about the same size.

    A piece for which there is no room is a part by itself.
    """

    def parts_of(most: int) -> list[list[Piece]]:
        parts: list[list[Piece]] = []
        left = 0.0
        for piece, size in zip(pieces, sizes, strict=True):
            if not parts or size > left:
                parts.append([])
                left = most
            parts[-1].append(piece)
            left -= size
        return parts

    fewest = len(parts_of(room))
    return next(parts for most in range(room + 1) if len(parts := parts_of(most)) == fewest)


# Words


def _comment(text: str) -> str:
    """Return a text for a comment, on one line."""
    line = " ".join(text.split())
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def _untaken(label: str, taken: set[str]) -> str:
    """Return the label, with a number where it is taken, and take it."""
    numbered = (label if number == 1 else f"{label}-{number}" for number in range(1, len(taken) + 2))
    free = next(each for each in numbered if each not in taken)
    taken.add(free)
    return free


def _letters(number: int) -> str:
    """Return a, b, ..., z, aa, ab, ..."""
    more, last = divmod(number, len(ascii_lowercase))
    return (_letters(more - 1) if more else "") + ascii_lowercase[last]
