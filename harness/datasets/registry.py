"""The standard sets of the six tasks: where each comes from, what its source says of licences, and its files."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent

Role = Literal["test", "train", "material"]


@dataclass(frozen=True)
class File:
    """One file of a set, as it was recorded."""

    name: str
    """Below the set's folder, with forward slashes."""
    path: str
    """In the source repository."""
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Derived:
    """How the images of a set are made of those of another, pixel for pixel."""

    of: str
    how: Literal["gray", "subset", "crop"]
    """MATLAB's rgb2gray; the images whose names the file list has; a square of all images."""
    top: int = 0
    """First row of a crop."""
    left: int = 0
    """First column of a crop."""
    side: int = 0
    """Pixels of a crop."""


@dataclass(frozen=True)
class KnownLeak:
    """Training images that are known to be in test sets, found when the registry was made."""

    tests: tuple[str, ...]
    files: tuple[str, ...]
    """Of the training set."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of a set. It has a source with a commit and files, or words that say where a person gets it."""

    name: str
    role: Role
    """`material` is no set of images: weights, kernels, masks."""
    tasks: tuple[str, ...]
    folder: str
    """Below the data root."""
    licence: str
    """As the source states it."""
    aliases: tuple[str, ...] = ()
    pairs: bool = False
    """It holds degraded images beside the clean ones."""
    clean: str = ""
    """Glob of clean images where the layout is of its own kind."""
    degraded: str = ""
    """Glob of degraded images where the layout is of its own kind."""
    repository: str = ""
    """`owner/name` on the public forge."""
    commit: str = ""
    where: str = ""
    """Where a person gets it, when no source is recorded."""
    layout: str = ""
    """How its files are laid out, when no source is recorded."""
    note: str = ""
    derived: Derived | None = None
    in_tests: tuple[KnownLeak, ...] = ()

    @property
    def files(self) -> tuple[File, ...]:
        """Every file with its checksum; empty where no source is recorded."""
        return _files().get(self.name, ())


@cache
def entries() -> Mapping[str, Entry]:
    """Return every registered set by its name, in the order of the tasks."""
    found = {}
    for raw in json.loads((HERE / "sets.json").read_text(encoding="utf-8")):
        content: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()
        }
        if "derived" in raw:
            content["derived"] = Derived(**raw["derived"])
        if "in_tests" in raw:
            content["in_tests"] = tuple(
                KnownLeak(tuple(leak["tests"]), tuple(leak["files"])) for leak in raw["in_tests"]
            )
        found[raw["name"]] = Entry(**content)
    return found


def find(name: str) -> Entry | None:
    """Return the set of this name or alias, without regard to case."""
    return _by_any_name().get(name.casefold())


def image_sets() -> list[str]:
    """Return the names of all registered sets of images."""
    return [name for name, entry in entries().items() if entry.role != "material"]


@cache
def _by_any_name() -> Mapping[str, Entry]:
    return {name.casefold(): entry for entry in entries().values() for name in (entry.name, *entry.aliases)}


@cache
def _files() -> Mapping[str, tuple[File, ...]]:
    listed: dict[str, list[File]] = {}
    with (HERE / "files.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            listed.setdefault(row["set"], []).append(
                File(name=row["file"], path=row["path"], sha256=row["sha256"], bytes=int(row["bytes"]))
            )
    return {name: tuple(files) for name, files in listed.items()}
