"""Reads YAML as a tree that knows its lines: plain data alone, nothing constructed, nothing expanded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
CORE_TAGS = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Place:
    """Where something was written: a line of a file, or a command-line option."""

    source: str
    line: int = 0
    """Counted from one; 0 where the source has no lines."""

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: place, key, and what would be right."""

    place: Place
    where: str
    """The dotted key, as in `axes.top_k`; empty where the whole source is meant."""
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.where}: {self.message}" if self.where else f"{self.place}: {self.message}"


@dataclass(frozen=True)
class Scalar:
    """A single value. A plain one is resolved by the core schema of YAML 1.2; a quoted one is text."""

    place: Place
    value: str | int | float | bool | None
    text: str

    @property
    def blank(self) -> bool:
        """True where nothing is written at all, which YAML reads as null."""
        return self.value is None and not self.text


@dataclass(frozen=True)
class Items:
    """A list."""

    place: Place
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Table:
    """A mapping; each key with the place where it stands."""

    place: Place
    entries: Mapping[str, tuple[Place, Node]]


@dataclass(frozen=True)
class Refused:
    """Something that has been reported already, so that nobody reports it again."""

    place: Place


Node = Scalar | Items | Table | Refused


class ReadError(ValueError):
    """The source cannot be read any further; carries the one problem that ended the reading."""

    def __init__(self, place: Place, message: str, where: str = "") -> None:
        self.problem = Problem(place, where, message)
        super().__init__(str(self.problem))


def read_text(path: Path) -> str:
    """Return the file's text. Raises `ReadError` for whatever is no UTF-8 file of at most `MAX_BYTES`."""
    place = Place(str(path))
    try:
        if path.is_dir():
            raise ReadError(place, f"is a folder; give a file, as in {path / 'spec.yaml'}")
        if not path.exists():
            raise ReadError(place, "no such file; give the path of a spec, as in experiments/quickstart/spec.yaml")
        if not path.is_file():
            raise ReadError(place, "is no regular file; give the path of a spec")
        if (size := path.stat().st_size) > MAX_BYTES:
            limit = f"{MAX_BYTES // 1024} KiB"
            raise ReadError(place, f"has {size:,} bytes; a spec may have {limit}: write less, or several specs")
        raw = path.read_bytes()
    except OSError as error:
        raise ReadError(place, f"cannot be read: {error.strerror}") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{raw[error.start]:02x} is no UTF-8; save the file as UTF-8"
        raise ReadError(Place(str(path), line), message) from None


def parse(text: str, source: str) -> tuple[Node | None, list[Problem]]:
    """Return the one document of a text, or None where it has none, and everything that is wrong with it.

    Works on the parser's events: nothing is constructed, no alias is followed, and the depth is bounded.
    Never raises: broken syntax, a second document, excessive depth and an empty text are problems too.
    """
    builder = _Builder(source)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
        if builder.root is None:
            raise ReadError(Place(source, 1), "is empty; write at least a question, axes and metrics")
    except ReadError as error:
        return None, [*builder.problems, error.problem]
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else builder.line
        return None, [*builder.problems, Problem(Place(source, line), "", f"broken YAML: {_syntax(error)}")]
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return None, [
            *builder.problems,
            Problem(Place(source, line), "", "holds a control character; remove it"),
        ]
    except Exception as error:  # beside its own errors the parser lets ValueError, IndexError and others escape
        place = Place(source, builder.line)
        return None, [*builder.problems, Problem(place, "", f"broken YAML near this line: {error}")]
    return builder.root, builder.problems


def resolve(text: str) -> str | int | float | bool | None:
    """Return the value of a plain scalar by the core schema of YAML 1.2: `yes` and `1_000` are text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if match := _BASED.fullmatch(text):
        return int(match[2], 8 if match[1] == "0o" else 16)
    if _FLOAT.fullmatch(text):
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))
    return text


def shown(value: object) -> str:
    """Return a value as an error quotes it: short, printable, in the words of YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    quoted = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return quoted if len(quoted) <= 60 else f"{quoted[:57]}..."


_WORDS: dict[str, str | int | float | bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
# Longer digit strings become floats: Python refuses to convert very long ones, and no axis can mean them.
_INT = re.compile(r"[-+]?[0-9]{1,40}")
_BASED = re.compile(r"(0o|0x)([0-7]{1,40}|(?<=0x)[0-9a-fA-F]{1,40})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


@dataclass
class _Open:
    """A collection whose end has not been seen yet; a mapping's children are key, value, key, value."""

    place: Place
    mapping: bool
    refused: bool = False
    children: list[Node] = field(default_factory=list)
    keys: dict[str, Place] = field(default_factory=dict)

    @property
    def awaits_key(self) -> bool:
        return self.mapping and len(self.children) % 2 == 0

    def closed(self) -> Node:
        if self.refused:
            return Refused(self.place)
        if not self.mapping:
            return Items(self.place, tuple(self.children))
        entries: dict[str, tuple[Place, Node]] = {}
        for key, value in zip(self.children[::2], self.children[1::2], strict=True):
            if isinstance(value, Scalar) and value.blank:  # the parser puts it where the next token is
                value = replace(value, place=key.place)
            if isinstance(key, Scalar):
                entries.setdefault(key.text, (key.place, value))
        return Table(self.place, entries)


class _Builder:
    """Turns parser events into nodes on an explicit stack: no recursion, whatever the input."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.line = 1
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._stack: list[_Open] = []

    def take(self, event: Any) -> None:
        self.line = event.start_mark.line + 1
        place = Place(self.source, self.line)
        match event:
            case DocumentStartEvent() if self.root is not None:
                raise ReadError(place, "a second document begins; a spec is one document: split the file")
            case AliasEvent():
                self._refuse(place, f"alias '*{event.anchor}' is refused: a spec spells everything out; copy the value")
                self._add(Refused(place))
            case ScalarEvent():
                plain = event.implicit[0]
                value = resolve(event.value) if plain else event.value
                self._add(Refused(place) if self._tainted(event) else Scalar(place, value, event.value))
            case MappingStartEvent() | SequenceStartEvent():
                if len(self._stack) >= MAX_DEPTH:
                    message = f"is nested deeper than {MAX_DEPTH} levels; a spec needs five: flatten it"
                    raise ReadError(place, message, self._where())
                if self._stack and self._stack[-1].awaits_key:
                    self._refuse(place, "a key must be one word; quote it if it is meant as text")
                opened = _Open(place, mapping=isinstance(event, MappingStartEvent), refused=self._tainted(event))
                self._stack.append(opened)
            case MappingEndEvent() | SequenceEndEvent():
                self._add(self._stack.pop().closed())

    def _add(self, node: Node) -> None:
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        if parent.awaits_key and isinstance(node, Scalar):
            if node.text in parent.keys:
                first = parent.keys[node.text].line
                self._refuse(node.place, f"duplicate key; first on line {first}: keep one of them", node.text)
            parent.keys.setdefault(node.text, node.place)
        parent.children.append(node)

    def _tainted(self, event: Any) -> bool:
        """Report a tag or an anchor; True where the node must not be read as data."""
        place = Place(self.source, event.start_mark.line + 1)
        if event.anchor is not None:
            self._refuse(place, f"anchor '&{event.anchor}' is refused: a spec spells everything out; remove it")
        if event.tag is not None:
            tag = str(event.tag)
            tag = f"!!{tag.removeprefix(CORE_TAGS)}" if tag.startswith(CORE_TAGS) else tag
            self._refuse(place, f"tag {shown(tag)} is refused: a spec is plain data and runs no code; remove the tag")
        return event.tag is not None

    def _refuse(self, place: Place, message: str, key: str | None = None) -> None:
        self.problems.append(Problem(place, self._where(key), message))

    def _where(self, key: str | None = None) -> str:
        """Return the dotted key of what is read now."""
        words = []
        for opened in self._stack:
            if not opened.mapping:
                words.append(str(len(opened.children) + 1))
            elif not opened.awaits_key:
                name = opened.children[-1]
                words.append(name.text if isinstance(name, Scalar) else "?")
        words += [] if key is None else [key]
        return ".".join(word if word.isprintable() and len(word) <= 60 else shown(word) for word in words)


def _syntax(error: MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "it ends too early").strip()
    if r"'\t'" in problem:
        return "a tab indents this line; indent with spaces"
    context = f" {error.context}" if error.problem and error.context else ""
    return f"{problem}{context}"
