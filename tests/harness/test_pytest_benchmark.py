"""pytest-benchmark's JSON in a store: what is kept, whose machine and commit it carries, and what is refused."""

from __future__ import annotations

import copy
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest
from typer.testing import CliRunner

from harness import archive
from harness.cli import app
from harness.environment import machine
from harness.pytest_benchmark import BenchmarkFileError, keep, read
from harness.record import Cell, Measured, Record
from harness.store import ResultStore

HOST = "a-host-of-mine"
DATA = [0.0021, 0.0019, 0.002, 0.0024]
CASES = """\
import pytest


@pytest.mark.benchmark(group="<script>alert(1)</script> 100 %")
@pytest.mark.parametrize("word", ["a[b]", "'quoted'", '"50 %"', "<b>"])
def test_upper(benchmark, word):
    benchmark.extra_info["why"] = {"nested": [1, None, True]}
    benchmark.pedantic(word.upper, rounds=4, iterations=3)


@pytest.mark.parametrize("thing", [object()])
def test_without_a_group(benchmark, thing):
    benchmark.pedantic(id, args=(thing,), rounds=1)
"""

Write = Callable[..., Path]


def benchmark(name: str = "test_sum[10]", data: list[float] = DATA, **changes: Any) -> dict[str, Any]:
    """Return one benchmark as version 5 writes it; the quartiles are pytest-benchmark's."""
    ordered = sorted(data)
    q1, q3 = median(ordered[: len(data) // 2]), median(ordered[len(data) // 2 :])
    return {
        "group": "sums",
        "name": name,
        "fullname": f"tests/test_sums.py::{name}",
        "params": {"count": 10},
        "param": "10",
        "extra_info": {},
        "options": {"disable_gc": False, "timer": "perf_counter", "min_rounds": 5, "warmup": False},
        "stats": {
            "min": min(data),
            "max": max(data),
            "mean": fmean(data),
            "stddev": 0.0002,
            "rounds": len(data),
            "median": median(data),
            "iqr": q3 - q1,
            "q1": q1,
            "q3": q3,
            "iqr_outliers": 0,
            "outliers": "1;0",
            "ops": 1 / fmean(data),
            "total": sum(data),
            "data": data,
            "iterations": 1,
        },
        **changes,
    }


def document(*benchmarks: dict[str, Any], cpu: str = "Example CPU 9000", **changes: Any) -> dict[str, Any]:
    """Return a whole file, of another machine and another project."""
    return {
        "machine_info": {
            "node": HOST,
            "processor": "",
            "machine": "x86_64",
            "python_implementation": "CPython",
            "python_version": "3.12.1",
            "release": "5.15.0-1053-azure",
            "system": "Linux",
            "cpu": {"brand_raw": cpu, "count": 64, "hz_advertised": [2445428000, 0]},
        },
        "commit_info": {
            "id": "deadbeef" * 5,
            "time": "2026-01-01T00:00:00+00:00",
            "dirty": True,
            "project": "theirs",
            "branch": "feature",
        },
        "benchmarks": list(benchmarks) or [benchmark()],
        "datetime": "2026-03-04T05:06:07.890123+01:00",
        "version": "5.3.1",
        **changes,
    }


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a document, or a text, and return the file."""

    def written(content: Any, name: str = "sums.json") -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return written


def imported(file: Path, folder: Path) -> Any:
    return CliRunner().invoke(app, ["import-benchmark", str(file), "--out", str(folder)])


def samples(record: Record) -> dict[str, tuple[float, ...]]:
    assert isinstance(record.outcome, Measured)
    return {each.name: each.samples for each in record.outcome.measurements}


def test_what_the_installed_pytest_benchmark_writes_is_kept(tmp_path: Path) -> None:
    (tmp_path / "test_cases.py").write_text(CASES)
    run = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_benchmark.plugin", "--benchmark-json=out.json"]
    # Among the processes that share the tests, pytest-benchmark would think itself one of them and time nothing.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    alone["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    subprocess.run(run, cwd=tmp_path, env=alone, capture_output=True, check=True)
    file = json.loads((tmp_path / "out.json").read_text())
    plan, records = read(tmp_path / "out.json")
    assert (plan.name, plan.page, len(plan.entries)) == ("out", "benchmarks", 5)
    for record, written in zip(records, file["benchmarks"], strict=True):
        about, found = record.imported, samples(record)
        assert about is not None
        assert record.cell.benchmark == written["fullname"]
        assert about.program == f"pytest-benchmark {file['version']}"
        assert (about.group, about.params) == (written["group"] or "", written["params"])
        assert about.extra_info == written["extra_info"]
        assert found.pop("time") == tuple(written["stats"]["data"])
        assert {name.removeprefix("time."): value for name, (value,) in found.items()} == {
            name: written["stats"][name] for name in (name.removeprefix("time.") for name in found)
        }
        assert {"time.min", "time.mean", "time.median", "time.stddev", "time.iqr", "rounds"} <= found.keys()
    assert platform.node() not in json.dumps([record.model_dump(mode="json") for record in records])


def test_machine_and_commit_are_those_of_the_file(write: Write, tmp_path: Path) -> None:
    assert imported(write(document()), tmp_path / "store").exit_code == 0
    with ResultStore.open(tmp_path / "store", create=False) as store:
        (record,) = store.latest().values()
    place, about = record.environment, record.imported
    assert (place.cpu, place.cores, place.memory_gib) == ("Example CPU 9000", 64, None)
    assert (place.system, place.python, place.device) == ("Linux 5.15", "3.12.1", "unknown")
    assert place.machine_class != machine("cpu").machine_class
    assert (record.commit, record.dirty) == ("deadbeef" * 5, True)
    assert about is not None
    assert (about.project, about.branch, about.clock) == ("theirs", "feature", "perf_counter")
    assert record.started_at == "2026-03-04T04:06:07.890+00:00"
    assert not [
        path for path in (tmp_path / "store").rglob("*") if path.is_file() and HOST.encode() in path.read_bytes()
    ]


def test_version_4_writes_utc_without_a_zone_and_may_hold_statistics_alone(write: Write) -> None:
    found = benchmark()
    del found["stats"]["data"]
    commit = {"id": "unversioned", "dirty": False, "project": "theirs", "branch": "(unknown)"}
    old = document(found, version="4.0.0", datetime="2026-03-04T05:06:07.890123", commit_info=commit)
    _, (record,) = read(write(old))
    assert record.started_at == "2026-03-04T05:06:07.890+00:00"
    assert (record.commit, record.dirty) == ("unknown", True), "as everything here that has no commit"
    assert "time" not in samples(record)
    assert samples(record)["time.median"] == (found["stats"]["median"],)


def test_machines_that_a_file_does_not_name_are_never_one(write: Write) -> None:
    def machine_class(info: dict[str, Any], **changes: Any) -> str:
        _, (record,) = read(write(document(machine_info=info, **changes)))
        return record.environment.machine_class

    known = document()["machine_info"]
    assert machine_class(known) == machine_class({**known, "node": "another"})
    assert machine_class(known) != machine_class({**known, "cpu": {"brand_raw": "Example CPU 9000", "count": 8}})
    assert machine_class({}) != machine_class({}, datetime="2026-03-05T05:06:07+00:00")
    _, (record,) = read(write(document(machine_info={})))
    assert (record.environment.cpu, record.environment.cores) == ("unknown processor", None)


def test_importing_a_file_again_changes_nothing(write: Write, tmp_path: Path) -> None:
    file, folder = write(document(benchmark(), benchmark("test_sum[20]"))), tmp_path / "store"
    first = imported(file, folder)
    assert "sums: 2 benchmarks, 2 of them new" in first.output

    def content() -> tuple[Any, ...]:
        with ResultStore.open(folder, create=False) as store:
            (plan,) = store.plans()
            return plan, store.latest(), len(store.history(plan.entries[0].cell.id)), list(store.rows())

    before = content()
    again = imported(file, folder)
    assert (again.exit_code, again.output) == (0, first.output.replace("2 of them new", "0 of them new"))
    assert content() == before


def test_an_import_that_was_killed_is_completed_by_the_next(write: Write, tmp_path: Path) -> None:
    plan, records = read(write(document(benchmark(), benchmark("test_sum[20]"))))
    with ResultStore.open(tmp_path / "store") as store:
        store.remember(plan)
        store.append(records[:1])
        assert keep(plan, records, store) == 1
        assert len(store.plans()) == 1
        assert store.latest().keys() == {record.key for record in records}


def test_two_machines_in_one_store_keep_apart(write: Write, tmp_path: Path) -> None:
    """The same benchmark at the same commit: two plans, and neither report nor comparison holds times of both."""
    folder = tmp_path / "store"
    here = write(document(benchmark(data=[0.5, 0.5])), "here.json")
    there = write(document(benchmark(data=[0.25, 0.25]), cpu="Another CPU"), "there.json")
    assert imported(here, folder).exit_code == imported(there, folder).exit_code == 0
    reports = {}
    for name in ("here", "there"):
        out = tmp_path / f"{name}.html"
        ran = CliRunner().invoke(app, ["report", str(folder), "--plan", name, "--out", str(out)])
        assert ran.exit_code == 0, ran.output
        reports[name] = out.read_text()
    for name, own, other in (("here", "500.000", "250.000"), ("there", "250.000", "500.000")):
        assert own in reports[name]
        assert other not in reports[name]
    with ResultStore.open(folder, create=False) as store:
        (cell,) = {entry.cell.id for plan in store.plans() for entry in plan.entries}
    shown = CliRunner().invoke(app, ["cell", cell, "--store", str(folder), "--diff"]).output
    assert "test_sum[10]" in shown, "brackets are no markup"
    assert "0.25 s" in shown
    assert "0.5 s" not in shown


def test_a_file_imported_before_is_reported_by_the_command_that_is_named(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "a store"
    old, new = write(document(), "old.json"), write(document(benchmark("test_other")), "new.json")
    for file in (old, new, old):
        said = imported(file, folder).output
    plan, _ = read(old)
    assert f"report '{folder}' --plan {plan.digest[:7]}\n" in said.splitlines()[-1] + "\n"


def test_an_imported_cell_is_not_measured_again(write: Write, tmp_path: Path) -> None:
    imported(write(document()), tmp_path / "store")
    cell = Cell(model="none", task="none", dataset="none", setting="none", benchmark="tests/test_sums.py::test_sum[10]")
    ran = CliRunner().invoke(app, ["cell", cell.id, "--store", str(tmp_path / "store"), "--rerun"])
    assert ran.exit_code == 2
    assert "was imported" in ran.output


def test_no_spec_asks_for_a_benchmark(write: Write) -> None:
    axes = {"model": "bicubic", "task": "sr", "dataset": "bundled", "benchmark": "x"}
    file = write({"question": "?", "axes": axes, "metrics": ["psnr"]}, "spec.yaml")
    ran = CliRunner().invoke(app, ["plan", str(file)])
    assert ran.exit_code == 2
    assert "benchmark" in ran.output


def test_an_imported_plan_survives_as_a_file_of_records(write: Write, tmp_path: Path) -> None:
    plan, records = read(write(document(benchmark(extra_info={"deep": [{"a": None}], "ü": "<&%"}))))
    archive.write(tmp_path / "records.jsonl", plan, {record.key: record for record in records})
    found = archive.read(tmp_path / "records.jsonl")
    assert found.plan == plan
    assert tuple(found.records.values()) == records


def broken(path: str, value: Any) -> dict[str, Any]:
    """Return a document with one value replaced, or removed where it is `...`."""
    found = copy.deepcopy(document(benchmark(), benchmark("test_sum[20]")))
    node: Any = found
    *keys, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    for key in keys:
        node = node[key]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return found


WRONG: dict[str, tuple[Any, str]] = {
    "empty": ("", "is empty: no benchmark was run"),
    "cut": ('{"version": "5.3.1",\n "mach', "line 2, column 2: is no JSON"),
    "too deep": ("[" * 100_000, "is no JSON that can be read"),
    "deep": (broken("benchmarks/0/extra_info", {"a": json.loads("[" * 200 + "]" * 200)}), "more than 100 deep"),
    "a list": ([document()], "is not what pytest-benchmark writes, which is a mapping"),
    "google": ({"context": {}, "benchmarks": [{"name": "BM_x"}]}, "writes: it has no 'version'"),
    "pyperf": ({"version": "1.0", "benchmarks": [{"runs": []}], "metadata": {}}, "it has no 'machine_info'"),
    "old": (document(version="3.4.1"), "version: '3.4.1' is not one of pytest-benchmark 4 or 5"),
    "to come": (document(version="50.0.0"), "version: '50.0.0' is not one of"),
    "no version": (document(version=None), "version: null is not one of"),
    "no time": (document(datetime="yesterday"), "datetime: 'yesterday' is no time as ISO 8601 has it"),
    "year 1": (document(datetime="0001-01-01T00:00:00+14:00"), "datetime: '0001"),
    "no benchmarks": (document(benchmarks=[]), "benchmarks: holds no benchmark"),
    "no stats": (broken("benchmarks/1/stats", ...), "benchmarks[1].stats: is missing"),
    "no mean": (broken("benchmarks/1/stats/mean", ...), "benchmarks[1].stats.mean: is missing"),
    "no name": (broken("benchmarks/0/fullname", ""), "benchmarks[0].fullname: is ''"),
    "words": (broken("benchmarks/0/stats/min", "fast"), "benchmarks[0].stats.min: is 'fast'; it should be"),
    "null": (broken("benchmarks/0/stats/iqr", None), "benchmarks[0].stats.iqr: is null"),
    "yes": (broken("benchmarks/0/stats/iqr", True), "benchmarks[0].stats.iqr: is true"),
    "half a round": (broken("benchmarks/0/stats/rounds", 3.5), "benchmarks[0].stats.rounds: is 3.5"),
    "no round": (broken("benchmarks/0/stats/rounds", 0), "benchmarks[0].stats.rounds: is 0"),
    "negative": (broken("benchmarks/0/stats/stddev", -1e-9), "benchmarks[0].stats.stddev: is -1e-09"),
    "NaN": (broken("benchmarks/1/stats/mean", float("nan")), "benchmarks[1].stats.mean: nan is no finite number"),
    "a NaN round": (broken("benchmarks/0/stats/data/2", float("nan")), "benchmarks[0].stats.data[2]: nan is no"),
    "overflow": (json.dumps(document()).replace("[0.0021", "[1e999"), "benchmarks[0].stats.data[0]: inf is no"),
    "extra NaN": (broken("benchmarks/0/extra_info", {"a": [float("inf")]}), "benchmarks[0].extra_info.a[0]: inf is"),
    "order": (broken("benchmarks/0/stats/median", 0.1), "stats: mean and median are not between min and max"),
    "a round lost": (broken("benchmarks/0/stats/data", DATA[:3]), "stats: data holds 3 times and rounds says 4"),
    "an edited min": (broken("benchmarks/0/stats/min", 0.001), "stats: min and max are not those of data"),
    "surrogate": (broken("benchmarks/0/fullname", "a\ud800"), r"benchmarks[0].fullname: 'a\ud800' holds half a"),
    "surrogate key": (broken("benchmarks/0/params", {"\ud800": 1}), "holds half a character"),
    "twins": (document(benchmark(), benchmark()), "'tests/test_sums.py::test_sum[10]' occurs 2 times"),
    "no machine": (broken("machine_info", "vm"), "machine_info: is 'vm'"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_read_is_refused_with_its_place_and_leaves_no_store(
    wrong: str, write: Write, tmp_path: Path
) -> None:
    content, said = WRONG[wrong]
    file = write(content)
    ran = imported(file, tmp_path / "store")
    assert ran.exit_code == 2
    assert ran.output.startswith(f"{file}: ")
    assert said in ran.output
    assert "; write the file anew: pytest --benchmark-json" in ran.output or "an id of its own" in ran.output
    assert len(ran.output.splitlines()) == 1
    assert not (tmp_path / "store").exists()


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkFileError, match=r"absent\.json cannot be read: No such file"):
        read(tmp_path / "absent.json")
    with pytest.raises(BenchmarkFileError, match="cannot be read: Is a directory"):
        read(tmp_path)
    (tmp_path / "picture.json").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(BenchmarkFileError, match=r"picture\.json: is no JSON that can be read"):
        read(tmp_path / "picture.json")
