"""pytest-benchmark's JSON -> a plan with its records: another program's times, kept as what they are."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic_core import ErrorDetails

from harness.record import Cell, Environment, Imported, Measured, Measurement, Record, digest
from harness.store import PlanEntry, ResultStore, StoredPlan, StoreError, utc_now
from harness.yaml_lines import shown

METRIC = "pytest-benchmark"
PAGE = "benchmarks"
VERSIONS = ("4", "5")
"""Of pytest-benchmark, whose JSON is read."""
SAMPLES = "time"
"""The measurement of all rounds, s a call; absent where the file holds statistics alone."""
STATISTICS = ("min", "max", "mean", "median", "stddev", "iqr", "q1", "q3")
"""As the file states them, s a call; each is a measurement of its own, as in `time.median`."""
COUNTS = ("rounds", "iterations")
UNKNOWN = "unknown"

_ANEW = "write the file anew: pytest --benchmark-json=FILE"
_DEEPEST = 100
"""Lists and mappings inside each other; what reads records again has a limit, too."""
_SHOWN = 80
"""Characters of a place that a message names."""
_SURROGATE = re.compile("[\ud800-\udfff]")

Time = Annotated[float, Field(ge=0)]


class BenchmarkFileError(StoreError):
    """A file is not what pytest-benchmark writes; the message names file and place, the rule and the remedy."""


class _Read(BaseModel):
    """What is read of a mapping; the rest of it is left."""

    model_config = ConfigDict(strict=True, frozen=True)


class _Stats(_Read):
    min: Time
    max: Time
    mean: Time
    median: Time
    stddev: Time
    iqr: Time
    q1: Time
    q3: Time
    rounds: int = Field(ge=1)
    iterations: int = Field(ge=1)
    """Calls in a round; times are of one call, the mean over them."""
    data: list[Time] | None = None
    """All rounds."""

    @model_validator(mode="after")
    def _of_one_sample(self) -> _Stats:
        if not (self.min <= self.median <= self.max and self.min <= self.mean <= self.max):
            raise ValueError("mean and median are not between min and max")
        if self.data is not None and len(self.data) != self.rounds:
            raise ValueError(f"data holds {len(self.data)} times and rounds says {self.rounds}")
        if self.data is not None and (min(self.data), max(self.data)) != (self.min, self.max):
            raise ValueError("min and max are not those of data")
        return self


class _Benchmark(_Read):
    fullname: str = Field(min_length=1)
    group: JsonValue = None
    params: dict[str, JsonValue] | None = None
    extra_info: dict[str, JsonValue] = {}
    options: dict[str, JsonValue] = {}
    stats: _Stats


class _File(_Read):
    version: str
    datetime: str
    machine_info: dict[str, JsonValue]
    commit_info: dict[str, JsonValue]
    benchmarks: list[_Benchmark] = Field(min_length=1)


def read(path: Path) -> tuple[StoredPlan, tuple[Record, ...]]:
    """Return a plan named after the file and a record of each benchmark, in the file's order.

    Two files of equal bytes give the same records. Host names are left out, and the commit is that of the file.
    Raises `BenchmarkFileError`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BenchmarkFileError(f"{path} cannot be read: {error.strerror}; {_ANEW}") from None
    file, sha256 = _checked(path, content), hashlib.sha256(content).hexdigest()
    when, environment = _utc(path, file.datetime), _environment(file, sha256)
    commit, dirty = _commit(file.commit_info)
    records = tuple(
        Record(
            cell=Cell(model="none", task="none", dataset="none", setting="none", benchmark=found.fullname),
            metric=METRIC,
            source=sha256,
            outcome=Measured(measurements=tuple(_measurements(found.stats))),
            environment=environment,
            spec=sha256[:16],
            commit=commit,
            dirty=dirty,
            started_at=when,
            duration_s=found.stats.mean * found.stats.rounds * found.stats.iterations,
            imported=Imported(
                program=f"{METRIC} {file.version}",
                project=_text(file.commit_info, "project"),
                branch=_text(file.commit_info, "branch"),
                group="" if found.group is None else str(found.group),
                params=found.params or {},
                extra_info=found.extra_info,
                clock=_text(found.options, "timer") or UNKNOWN,
            ),
        )
        for found in file.benchmarks
    )
    plan = StoredPlan(
        digest=sha256[:16],
        name=path.stem,
        question=f"How long do the benchmarks of {path.name} take?",
        text="",
        created_at=utc_now(),
        page=PAGE,
        entries=tuple(PlanEntry(cell=each.cell, metric=each.metric, key=each.key) for each in records),
    )
    return plan, records


def keep(plan: StoredPlan, records: Sequence[Record], store: ResultStore) -> int:
    """Add a plan and those of its records that the store does not hold, and return how many these were."""
    held = store.statuses(record.key for record in records)
    new = [record for record in records if record.key not in held]
    store.remember(plan)
    store.append(new)
    store.refresh_exports()
    return len(new)


def _checked(path: Path, content: bytes) -> _File:
    document = _parsed(path, content)
    if not isinstance(document, dict):
        _refuse(path, "", "is not what pytest-benchmark writes, which is a mapping")
    for key in ("version", "machine_info", "benchmarks"):
        if key not in document:
            _refuse(path, "", f"is not what pytest-benchmark writes: it has no '{key}'")
    if str(document["version"]).partition(".")[0] not in VERSIONS:
        said = f"{shown(document['version'])} is not one of pytest-benchmark {' or '.join(VERSIONS)}, which are read"
        _refuse(path, "version", said)
    for place, said in _unsayable(document, ""):
        _refuse(path, place, said)
    try:
        file = _File.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        _refuse(path, _place(first["loc"]), _complaint(first))
    counts = Counter(found.fullname for found in file.benchmarks)
    for index, found in enumerate(file.benchmarks):
        if counts[found.fullname] > 1:
            said = f"{shown(found.fullname)} occurs {counts[found.fullname]} times, and rows go by it"
            _refuse(path, f"benchmarks[{index}].fullname", said, "give each case an id of its own")
    return file


def _parsed(path: Path, content: bytes) -> Any:
    if not content.strip():
        _refuse(path, "", "is empty: no benchmark was run, or pytest was stopped before its end")
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        _refuse(path, f"line {error.lineno}, column {error.colno}", f"is no JSON ({error.msg})")
    except (ValueError, RecursionError) as error:
        _refuse(path, "", f"is no JSON that can be read ({error})")


def _unsayable(node: Any, place: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield what JSON has no word for and a store no place, and where it is."""
    match node:
        case dict() | list() if depth > _DEEPEST:
            yield place, f"is nested more than {_DEEPEST} deep"
        case float() if not math.isfinite(node):
            yield place, f"{node} is no finite number"
        case str() if _SURROGATE.search(node):
            yield place, f"{node!a} holds half a character"
        case dict():
            for key, value in node.items():
                yield from _unsayable(key, f"{place}.{key!a}".removeprefix("."))
                yield from _unsayable(value, f"{place}.{key}".removeprefix("."), depth + 1)
        case list():
            for index, value in enumerate(node):
                yield from _unsayable(value, f"{place}[{index}]", depth + 1)


def _place(keys: Sequence[str | int]) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def _complaint(detail: ErrorDetails) -> str:
    match detail["type"]:
        case "missing":
            return "is missing"
        case "value_error":
            return detail["msg"].removeprefix("Value error, ")
        case "too_short":
            return "holds no benchmark"
        case _:
            return f"is {shown(detail['input'])}; {detail['msg'].replace('Input should', 'it should')}"


def _refuse(path: Path, place: str, said: str, remedy: str = _ANEW) -> NoReturn:
    shown_place = place if len(place) <= _SHOWN else f"{place[:_SHOWN]}…"
    raise BenchmarkFileError(f"{path}: {shown_place}{': ' if place else ''}{said}; {remedy}")


def _utc(path: Path, text: str) -> str:
    """Return a time as records write it; one without a zone is UTC, as version 4 writes it."""
    try:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError):
        _refuse(path, "datetime", f"{shown(text)} is no time as ISO 8601 has it")


def _environment(file: _File, sha256: str) -> Environment:
    """Describe the file's machine as far as it does; machines of unknown processors are all different."""
    machine = file.machine_info
    about = machine.get("cpu")
    processor = about if isinstance(about, dict) else {}
    cpu = _text(processor, "brand_raw") or _text(machine, "processor")
    cores = processor.get("count")
    system, release = _text(machine, "system"), re.match(r"\d+(\.\d+)?", _text(machine, "release"))
    python, kind = _text(machine, "python_version"), _text(machine, "python_implementation")
    same = [cpu or sha256, cores, _text(machine, "machine"), system, release and release[0].partition(".")[0]]
    return Environment(
        machine_class=digest([METRIC, *same]),
        cpu=cpu or f"{UNKNOWN} processor",
        cores=cores if isinstance(cores, int) else None,
        memory_gib=None,
        system=" ".join(part for part in (system, release[0] if release else "") if part) or UNKNOWN,
        device=UNKNOWN,
        python=(python if kind in ("", "CPython") else f"{python} ({kind})") or UNKNOWN,
        versions={METRIC: file.version},
    )


def _commit(about: Mapping[str, JsonValue]) -> tuple[str, bool]:
    """Return the commit and whether files differed from it; as for this program's own where there is none."""
    commit = _text(about, "id")
    if commit in ("", UNKNOWN, "unversioned"):
        return UNKNOWN, True
    return commit, about.get("dirty") is not False


def _text(about: Mapping[str, JsonValue], key: str) -> str:
    value = about.get(key)
    return value.strip() if isinstance(value, str) else ""


def _measurements(stats: _Stats) -> Iterator[Measurement]:
    if stats.data is not None:
        yield Measurement(name=SAMPLES, unit="s", samples=tuple(stats.data))
    for name in STATISTICS:
        yield Measurement(name=f"{SAMPLES}.{name}", unit="s", samples=(getattr(stats, name),))
    for name in COUNTS:
        yield Measurement(name=name, unit="1", samples=(getattr(stats, name),))
