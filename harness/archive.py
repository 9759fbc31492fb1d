"""A plan with its records as one small text file, to be committed beside an experiment: no store, no torch."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from harness.record import Frozen, Measured, Record, to_json
from harness.store import Hook, StoredPlan, StoreError, replacing

FORMAT = "semanir-bench records"
VERSION = 1
_REFERENCE = "$"
"""The one key of what stands for a part that is written on a line of its own."""
_SHORTEST = 80
"""Characters from which on what occurs several times is written once."""
_SHOWN = 60

Json = Any
Kind = TypeVar("Kind", bound=Frozen)


class ArchiveError(StoreError):
    """A file of records cannot be read or written; the message names file and line, the rule and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A plan and the newest record of each of its numbers that has one, in the plan's order.

    It answers a report's questions as a store does.
    """

    folder: Path
    """The file."""
    plan: StoredPlan
    records: Mapping[str, Record]

    @property
    def artifacts(self) -> Path:
        """The folder beside the file that may hold the pictures that records name."""
        return self.folder.with_name("artifacts")

    def plans(self) -> list[StoredPlan]:
        """Return the one plan."""
        return [self.plan]

    def latest(self, keys: Iterable[str] | None = None) -> dict[str, Record]:
        """Return the record of each key that has one; all where none are named."""
        wanted = self.records if keys is None else keys
        return {key: self.records[key] for key in wanted if key in self.records}

    def inputs(self) -> list[Record]:
        """Return a record of each cell and each set of degraded images that it was measured on, oldest first."""
        first: dict[tuple[str, str], Record] = {}
        for record in sorted(self.records.values(), key=lambda record: record.started_at):
            if record.degraded and isinstance(record.outcome, Measured):
                first.setdefault((record.cell.id, json.dumps(record.degraded, sort_keys=True)), record)
        return list(first.values())


def write(path: Path, plan: StoredPlan, records: Mapping[str, Record], *, before_rename: Hook = lambda: None) -> None:
    """Write a plan and those of `records` that it asks for; equal content gives equal bytes.

    A line is a JSON object with a digest of what it says: first the plan, then parts that several others share (they
    refer to it as `{"$": digest}`), then a record each. Pictures stay where they are; records name them all the same.
    Raises `ArchiveError`.
    """
    keys = dict.fromkeys(entry.key for entry in plan.entries)
    head = {"format": FORMAT, "version": VERSION, "records": sum(key in records for key in keys)}
    head["plan"] = _plain(plan)
    bodies = [_plain(records[key]) for key in keys if key in records]
    parts = _Parts([head, *bodies])
    folded_head, folded = parts.folded(head), [parts.folded(body) for body in bodies]
    lines = [_line({"digest": _digest(_text(head))} | folded_head)]
    lines += [_line({"digest": name, "part": content}) for name, content in parts.found.items()]
    for body, content in zip(bodies, folded, strict=True):
        lines.append(_line({"digest": _digest(_text(body)), "record": content}))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, "w", before_rename) as file:
            file.writelines(lines)
    except OSError as error:
        raise ArchiveError(f"{path} cannot be written: {error.strerror}; name a file in a folder of yours") from None


def read(path: Path) -> Archive:
    """Read what `write` wrote. Raises `ArchiveError` for a file that was cut, edited, or is of something else."""
    lines = _lines(path)
    first = _opened(path, lines[0])
    parts: dict[str, Json] = {}
    bodies: list[tuple[int, Json]] = []
    for number, line in enumerate(lines[1:], start=2):
        content = _parsed(path, number, line)
        match content:
            case {"digest": str() as name, "part": part, **rest} if not rest:
                parts[name] = _whole(path, number, name, part, parts, of_its_own=True)
            case {"digest": str() as name, "record": body, **rest} if not rest:
                bodies.append((number, _whole(path, number, name, body, parts)))
            case _:
                raise _wrong(path, number, "is neither a part nor a record")
    head = _whole(path, 1, first.pop("digest", None), first, parts)
    plan = _as(StoredPlan, head["plan"], path, 1)
    planned = dict.fromkeys(entry.key for entry in plan.entries)
    records: dict[str, Record] = {}
    for number, body in bodies:
        record = _as(Record, body, path, number)
        if record.key not in planned:
            raise _wrong(path, number, f"holds {record.metric} of cell {record.cell.id}, which the plan does not ask")
        if record.key in records:
            raise _wrong(path, number, f"holds {record.metric} of cell {record.cell.id} once more")
        records[record.key] = record
    if len(records) != head["records"]:
        raise _wrong(path, len(lines), f"is the last one after {len(records)} of {head['records']} records")
    return Archive(folder=path, plan=plan, records={key: records[key] for key in planned if key in records})


class _Parts:
    """Finds what occurs several times in some trees, and writes it once."""

    def __init__(self, trees: Iterable[Json]) -> None:
        self._counts: Counter[str] = Counter()
        self.found: dict[str, Json] = {}
        """Parts by digest; one that refers to another stands behind it."""
        for tree in trees:
            self._count(tree)

    def folded(self, node: Json) -> Json:
        """Return the tree with references in place of what occurs several times."""
        text = _text(node)
        name = _digest(text)
        if not _is_reference(node) and (len(text) < _SHORTEST or self._counts[name] < 2):
            return _each(node, self.folded)
        if name not in self.found:
            self.found[name] = _each(node, self.folded)
        return {_REFERENCE: name}

    def _count(self, node: Json) -> None:
        """Count a tree and what is in it; the inside of what was seen before counts once."""
        if isinstance(node, dict | list):
            name = _digest(_text(node))
            self._counts[name] += 1
            if self._counts[name] == 1:
                for child in node.values() if isinstance(node, dict) else node:
                    self._count(child)


def _each(node: Json, change: Callable[[Json], Json]) -> Json:
    """Return an object or a list with the objects and lists in it changed; most of what it holds are numbers."""
    if isinstance(node, dict):
        return {key: change(value) if isinstance(value, dict | list) else value for key, value in node.items()}
    return [change(value) if isinstance(value, dict | list) else value for value in node]


def _is_reference(node: Json) -> bool:
    return isinstance(node, dict) and node.keys() == {_REFERENCE}


def _unfolded(node: Json, parts: Mapping[str, Json]) -> Json:
    """Put parts in the place of references. Raises `KeyError` for an unknown one."""
    return parts[str(node[_REFERENCE])] if _is_reference(node) else _unfolded_inside(node, parts)


def _unfolded_inside(node: Json, parts: Mapping[str, Json]) -> Json:
    return _each(node, lambda child: _unfolded(child, parts))


def _plain(value: Frozen) -> Json:
    """Return a value as JSON has it, which knows no infinity: pydantic reads `inf` and `nan` back as numbers."""

    def finite(node: Json) -> Json:
        if isinstance(node, dict):
            return {key: finite(value) for key, value in node.items()}
        if isinstance(node, list):
            return list(map(finite, node))
        return str(node) if isinstance(node, float) and not math.isfinite(node) else node

    return finite(to_json(value))


def _text(content: Json) -> str:
    return json.dumps(content, separators=(",", ":"), allow_nan=False)


def _line(content: Json) -> str:
    return f"{_text(content)}\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except IsADirectoryError:
        written = f"semanir-bench export {path} --to records --out records.jsonl"
        raise ArchiveError(f"{path} is a folder, no file of records; of a store this writes one: {written}") from None
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error.strerror}; name a store or a file of records") from None
    except UnicodeDecodeError:
        raise ArchiveError(f"{path} is no text; name a store or a file that `export --to records` wrote") from None
    return lines[:-1] if len(lines) > 1 and not lines[-1] else lines


def _opened(path: Path, line: str) -> dict[str, Json]:
    """Return the first line's content. Raises `ArchiveError` where the file is of something else, or newer."""
    try:
        content = json.loads(line)
    except json.JSONDecodeError:
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        rows = isinstance(content, dict) and {"cell", "metric", "status"} <= content.keys()
        which = "holds the rows of `export --to jsonl`" if rows else f"does not begin a file of {FORMAT}"
        raise ArchiveError(f"{path}:1: this line {which}; name a store or a file that `export --to records` wrote")
    if content.get("version") != VERSION:
        newer = f"is of version {content.get('version')} and this program reads {VERSION}"
        raise ArchiveError(f"{path}:1: this file {newer}; upgrade semanir-bench")
    return content


def _parsed(path: Path, number: int, line: str) -> Json:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        cut = line.startswith("{") and not line.endswith("}")
        raise _wrong(path, number, "breaks off" if cut else "is no JSON") from None


def _whole(
    path: Path, number: int, name: object, content: Json, parts: Mapping[str, Json], *, of_its_own: bool = False
) -> Json:
    """Return a line's content with its parts, once it is what its digest says.

    What a part holds `of_its_own` is never a reference, whatever it looks like.
    """
    try:
        found = _unfolded_inside(content, parts) if of_its_own else _unfolded(content, parts)
    except KeyError as missing:
        raise _wrong(path, number, f"refers to part {missing}, which is missing") from None
    if name != _digest(_text(found)):
        raise _wrong(path, number, "does not say what was written: its digest is of something else")
    return found


def _as(kind: type[Kind], content: Json, path: Path, number: int) -> Kind:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        shown = place if len(place) <= _SHOWN else f"{place[:_SHOWN]}…"
        raise _wrong(path, number, f"cannot be read by this version, at {shown}") from None


def _wrong(path: Path, number: int, said: str) -> ArchiveError:
    anew = f"semanir-bench export STORE --to records --out {path}"
    remedy = f"take the file from version control again, or write it anew: {anew}"
    return ArchiveError(f"{path}:{number}: this line {said}; {remedy}")
