"""YAML with lines -> a pydantic model, or every problem with its line: what a spec's types demand, no more."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harness.catalog import suggest
from harness.record import Frozen
from harness.spec import SpecError
from harness.yaml_lines import Items, Node, Place, Problem, ReadError, Refused, Scalar, Table, parse, read_text, shown

Model = TypeVar("Model", bound=Frozen)
Keys = tuple[str | int, ...]
"""Where something stands: names of a mapping, and places in a list, from 0."""


class Document(NamedTuple):
    """What a file says, as plain data, and where it says it."""

    content: Any
    places: Mapping[Keys, Place]

    def problem(self, keys: Keys, message: str) -> Problem:
        """Place a message at a key, or at the nearest one around it that was written."""
        at = next(keys[:end] for end in range(len(keys), -1, -1) if keys[:end] in self.places)
        dotted = ".".join(str(key + 1) if isinstance(key, int) else key for key in keys)
        return Problem(self.places[at], dotted, message)


def tree(path: Path) -> tuple[Node | None, list[Problem]]:
    """Read a file as a tree, None where it has none, and what is wrong with it. Raises `SpecError` without a text."""
    try:
        text = read_text(path)
    except ReadError as error:
        raise SpecError([error.problem]) from None
    return _parsed(text, str(path), "is empty; write at least name, task, data and steps")


def overridden(root: Node, override: str, problems: list[Problem], place: Place | None = None) -> Node:
    """Return the tree with one value replaced or added, as by `steps=200` or `windows.1.top_k=[8, 16]`.

    The value is YAML, and the usual checks see it where it was written: at `place`, else at an option `--set`.
    """
    place = place or Place(f"--set {override if override.isprintable() else shown(override)}")
    dotted, equals, raw = override.partition("=")
    keys = [key.strip() for key in dotted.split(".")]
    if not equals or not all(keys):
        problems.append(Problem(place, "", "is no key=value; write it like steps=200"))
        return root
    leaf, found = _parsed(raw, place.source, "has no value; write one behind the '='")
    problems += (replace(problem, place=place) for problem in found)
    return root if leaf is None else _planted(root, keys, _moved(leaf, place), place, problems)


def plain(root: Node | None, problems: list[Problem]) -> Document:
    """Return a tree as plain data with its places. Raises `SpecError` with every problem, those given included."""
    if root is None or problems:
        raise SpecError(problems)
    places: dict[Keys, Place] = {}
    content = _plain(root, (), places, problems)
    if problems:
        raise SpecError(problems)
    return Document(content, places)


def validate(kind: type[Model], document: Document, *, beside: Sequence[str] = ()) -> Model:
    """Return the model that a document describes. Raises `SpecError` with every problem that its types find.

    Keys `beside` those of the model were read before; messages name them all the same.
    """
    try:
        # JSON is strict where YAML is loose, and has arrays where a model has tuples.
        return kind.model_validate_json(json.dumps(document.content), strict=True)
    except ValidationError as error:
        raise SpecError(
            document.problem(detail["loc"], _complaint(kind, detail, beside)) for detail in error.errors()
        ) from None


def _parsed(text: str, source: str, empty: str) -> tuple[Node | None, list[Problem]]:
    written = any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())
    return parse(text, source) if written else (None, [Problem(Place(source, 1), "", empty)])


def _moved(node: Node, place: Place) -> Node:
    """Return a tree all of which stands at one place: an override has no lines of its own."""
    match node:
        case Table(entries=entries):
            return Table(place, {key: (place, _moved(value, place)) for key, (_, value) in entries.items()})
        case Items(nodes=nodes):
            return Items(place, tuple(_moved(item, place) for item in nodes))
        case _:
            return replace(node, place=place)


def _planted(node: Node, keys: Sequence[str], leaf: Node, place: Place, problems: list[Problem]) -> Node:
    if not keys:
        return leaf
    key, *below = keys
    match node:
        case Table(entries=entries):
            at, old = entries.get(key, (place, Table(place, {})))
            planted = _planted(old, below, leaf, place, problems)
            return replace(node, entries={**entries, key: (at if below else place, planted)})
        case Items(nodes=nodes) if key.isdecimal() and 1 <= int(key) <= len(nodes):
            index = int(key) - 1
            planted = _planted(nodes[index], below, leaf, place, problems)
            return replace(node, nodes=(*nodes[:index], planted, *nodes[index + 1 :]))
        case Items(nodes=nodes):
            problems.append(Problem(place, key, f"the list has items 1 to {len(nodes)}; name one of them"))
        case _:
            problems.append(Problem(place, key, "cannot be set: the spec has a single value above it"))
    return node


def _plain(node: Node, keys: Keys, places: dict[Keys, Place], problems: list[Problem]) -> Any:
    """Return plain data and note where each part stands."""
    places[keys] = node.place
    match node:
        case Table(entries=entries):
            found = {}
            for key, (at, value) in entries.items():
                found[key] = _plain(value, (*keys, key), places, problems)
                places[*keys, key] = at
            return found
        case Items(nodes=nodes):
            return [_plain(item, (*keys, index), places, problems) for index, item in enumerate(nodes)]
        case Scalar(blank=True):
            complaint = "no value; write one, or remove the key"
        case Scalar(value=float(value), text=text) if not math.isfinite(value):
            complaint = f"{text} is no finite number; write one"
        case Scalar(value=value):
            return value
        case Refused():
            return None
    problems.append(Problem(node.place, ".".join(map(str, keys)), complaint))
    return None


def _complaint(kind: type[Frozen], detail: ErrorDetails, beside: Sequence[str]) -> str:
    """Say in the words of a spec what pydantic found."""
    value, bounds = detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            return "required key is missing; add it"
        case "extra_forbidden":
            known = list(_model_at(kind, detail["loc"][:-1]).model_fields)
            known += beside if len(detail["loc"]) == 1 else ()
            near = suggest(str(detail["loc"][-1]), known).strip().replace("Did", "did")
            return f"unknown key; {near or 'write one of: ' + ', '.join(known)}"
        case "greater_than_equal":
            return f"{shown(value)} is too small; write at least {bounds['ge']}"
        case "greater_than":
            return f"{shown(value)} is too small; write more than {bounds['gt']}"
        case "less_than_equal":
            return f"{shown(value)} is too large; write at most {bounds['le']}"
        case "less_than":
            return f"{shown(value)} is too large; write less than {bounds['lt']}"
        case "too_short":
            return f"has {bounds['actual_length']} items; write at least {bounds['min_length']}"
        case "literal_error":
            return f"{shown(value)} is not known; write {bounds['expected']}"
        case "model_type" | "model_attributes_type":
            return (
                f"{shown(value)} is no mapping; write one with {', '.join(_model_at(kind, detail['loc']).model_fields)}"
            )
        case other if other in _WANTED:
            return f"{shown(value)} is not {_WANTED[other]}; write {_WANTED[other]}"
    return f"{shown(value)}: {detail['msg'].removeprefix('Value error, ')}"


_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text: quote it if it is one",
    "bool_type": "true or false",
    "tuple_type": "a list",
}


def _model_at(kind: type[Frozen], keys: Keys) -> type[Frozen]:
    """Return the model that describes a mapping inside another."""
    for key in keys:
        if isinstance(key, str) and key in kind.model_fields:
            kind = next(_models(kind.model_fields[key].annotation), kind)
    return kind


def _models(annotation: Any) -> Iterator[type[Frozen]]:
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
