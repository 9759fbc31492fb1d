from __future__ import annotations

import csv
import errno
import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from harness.frames import frame
from harness.record import (
    Cell,
    Environment,
    Failed,
    FailureKind,
    Measured,
    Measurement,
    Outcome,
    Record,
    Skipped,
)
from harness.store import (
    DATABASE,
    LEASE_SECONDS,
    HeldBy,
    Lease,
    LeaseLost,
    PlanEntry,
    ResultStore,
    StoredPlan,
    StoreError,
    file_system_of,
    process_birth,
)

TREE = Path(__file__).resolve().parents[2]
CELL = Cell(model="semanir/nano", task="denoise", dataset="bundled", setting="sigma=25", backend="sdpa")
ENVIRONMENT = Environment(
    machine_class="m", cpu="a processor", cores=2, memory_gib=4.0, system="Linux 6.1", device="cpu",
    python="3.11.7", versions={"torch": "2.13.0"},
)  # fmt: skip


def seeded(seed: int) -> Cell:
    return Cell.model_validate(CELL.model_dump() | {"seed": seed})


def a_record(outcome: Outcome | None = None, *, cell: Cell = CELL, metric: str = "psnr") -> Record:
    numbers = Measurement(name=metric, unit="dB", samples=(30.0, math.inf), labels=("astronaut", "camera"))
    return Record(
        cell=cell, metric=metric, source="s", environment=ENVIRONMENT, spec="spec", commit="c", dirty=False,
        outcome=outcome or Measured(measurements=(numbers,)), started_at="2026-01-01T00:00:00", duration_s=0.5,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResultStore]:
    with ResultStore.open(tmp_path / "store") as opened:
        yield opened


def python(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    return subprocess.Popen(command, cwd=TREE, text=True, stdout=subprocess.PIPE, stdin=subprocess.PIPE)


def test_an_appended_record_is_found_under_its_key_in_another_process_too(store: ResultStore) -> None:
    record = a_record()
    store.append(iter([record]))
    with ResultStore.open(store.folder, create=False) as again:
        assert again.latest() == again.latest([record.key, "unknown"]) == {record.key: record}


def test_the_newest_record_of_a_key_is_shown_and_history_keeps_all(store: ResultStore) -> None:
    first, second = a_record(Failed(failure="crashed", error="x")), a_record()
    store.append([first])
    store.append([second])
    assert store.latest() == {first.key: second}
    assert store.history(CELL.id[:6]) == [first, second]


def test_inputs_are_one_record_of_each_cell_and_set_of_digests(store: ResultStore) -> None:
    def seen(digest: str, metric: str, outcome: Outcome | None = None) -> Record:
        return a_record(outcome, metric=metric).model_copy(update={"degraded": {"cat": digest} if digest else {}})

    endless = Measured(measurements=(Measurement(name="error", unit="1", samples=(math.inf,)),))
    records = [seen("", "flops"), seen("a", "agreement", endless), seen("a", "psnr"), seen("a", "ssim")]
    forged = seen("b", "psnr")
    store.append([*records, forged, seen("c", "psnr", Failed(failure="crashed", error="x"))])
    found = store.inputs()
    assert [record.degraded["cat"] for record in found] == ["a", "b"]
    assert found[1] == forged


@pytest.mark.parametrize("kind", get_args(FailureKind))
def test_a_failed_repetition_does_not_displace_what_was_measured(store: ResultStore, kind: FailureKind) -> None:
    measured, failed = a_record(), a_record(Failed(failure=kind, error="x"))
    assert measured.key == failed.key
    store.append([failed, measured, failed])
    assert store.latest() == {measured.key: measured}
    assert store.statuses([measured.key, "unknown"]) == {measured.key: "measured"}
    assert len(store.history(CELL.id)) == 3


def test_of_failures_and_skips_the_newest_speaks(store: ResultStore) -> None:
    failed, skipped = a_record(Failed(failure="error", error="x")), a_record(Skipped(reason="no weights"))
    store.append([failed, skipped])
    assert store.latest() == {skipped.key: skipped}


def test_statuses_name_the_kind_of_a_failure(store: ResultStore) -> None:
    kinds: tuple[FailureKind, ...] = ("out_of_memory", "timeout", "crashed", "error")
    records = [a_record(Failed(failure=kind, error="x"), metric=kind) for kind in kinds]
    store.append(records)
    assert store.statuses(record.key for record in records) == {record.key: record.metric for record in records}


def test_six_thousand_finished_keys_are_known_in_a_quarter_of_a_second(store: ResultStore) -> None:
    cells = [seeded(seed) for seed in range(1000)]
    records = [a_record(cell=cell, metric=f"metric{index}") for cell in cells for index in range(6)]
    store.append(records)
    keys = [record.key for record in records]
    begun = time.perf_counter()
    assert len(store.statuses(keys)) == 6000
    assert time.perf_counter() - begun < 0.25


@pytest.mark.parametrize("change", ["UPDATE records SET status = 'x'", "DELETE FROM records"])
def test_records_are_never_changed_nor_removed(store: ResultStore, change: str) -> None:
    store.append([a_record()])
    connection = sqlite3.connect(store.folder / DATABASE)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(change)
    connection.close()


def test_records_are_added_all_or_none(store: ResultStore) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.append([a_record(), a_record(metric="ssim")], before_commit=interrupt)
    assert store.latest() == {}
    store.append([a_record()])
    assert len(store.latest()) == 1


def test_a_cell_is_found_by_the_start_of_its_id(store: ResultStore) -> None:
    store.append([a_record()])
    assert store.find_cell(CELL.id[:5]) == store.find_cell(CELL.id) == CELL


def test_an_id_that_fits_no_cell_or_several_is_refused_with_a_remedy(store: ResultStore) -> None:
    store.append([a_record(cell=seeded(seed)) for seed in range(40)])
    with pytest.raises(StoreError, match="no cell's id starts with 'zz'"):
        store.find_cell("zz")
    with pytest.raises(StoreError, match=r"fits several cells \(.+, \.\.\.\); give more digits"):
        store.find_cell("")


def a_plan(name: str, *metrics: str) -> StoredPlan:
    entries = tuple(PlanEntry(cell=CELL, metric=metric, key=f"key-{metric}") for metric in metrics)
    return StoredPlan(digest=name, name=name, question="why?", text="a: 1", created_at="2026-01-01", entries=entries)


def test_the_newest_plan_of_each_spec_is_remembered_newest_first(store: ResultStore) -> None:
    for plan in (a_plan("a", "psnr"), a_plan("b", "psnr"), a_plan("a", "psnr", "ssim")):
        store.remember(plan)
    assert store.plans() == [a_plan("a", "psnr", "ssim"), a_plan("b", "psnr")]
    assert store.find_cell(CELL.id) == CELL


def test_a_plan_that_says_nothing_new_is_stored_once(store: ResultStore) -> None:
    store.remember(a_plan("a", "psnr"))
    store.remember(a_plan("b", "psnr"))
    store.remember(a_plan("a", "psnr").model_copy(update={"created_at": "2027-01-01"}))
    assert [plan.name for plan in store.plans()] == ["b", "a"]


def test_a_leased_cell_is_not_leased_again_until_it_is_released(store: ResultStore) -> None:
    lease = store.acquire("cell")
    assert isinstance(lease, Lease)
    assert store.acquire("cell") == HeldBy(os.getpid())
    store.release(lease)
    assert isinstance(store.acquire("cell"), Lease)


@pytest.mark.parametrize("reaped", [True, False])
def test_the_lease_of_a_killed_process_is_taken_over(store: ResultStore, reaped: bool) -> None:
    script = """
        import sys
        from harness.store import ResultStore
        print(ResultStore.open(sys.argv[1]).acquire("cell"), flush=True)
        sys.stdin.read()
    """
    with python(script, str(store.folder)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().startswith("Lease")
        assert store.acquire("cell") == HeldBy(holder.pid)
        holder.send_signal(signal.SIGKILL)
        if reaped:
            holder.wait()
        else:
            os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        assert isinstance(store.acquire("cell"), Lease)


def test_a_lease_whose_heart_stopped_is_taken_over_and_its_records_are_refused(store: ResultStore) -> None:
    lease = store.acquire("cell")
    assert isinstance(lease, Lease)
    later = time.time() + LEASE_SECONDS + 1
    store.beat(lease, now=lambda: later)
    assert isinstance(store.acquire("cell", now=lambda: later + 1), HeldBy)
    assert isinstance(store.acquire("cell", now=lambda: later + LEASE_SECONDS), Lease)
    with pytest.raises(LeaseLost, match="taken over"):
        store.append([a_record()], release=lease)
    assert store.latest() == {}
    store.release(lease)
    assert isinstance(store.acquire("cell"), HeldBy)


def test_a_process_on_another_host_is_judged_by_its_heart_alone(store: ResultStore) -> None:
    with sqlite3.connect(store.folder / DATABASE) as connection:
        lease = ["cell", "token", "another host", 1, -1.0, time.time()]
        connection.execute("INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?)", lease)
    connection.close()
    assert store.acquire("cell") == HeldBy(1)


def test_a_pid_that_is_used_again_is_another_process() -> None:
    first = python("import sys; sys.stdin.read()")
    second = python("import time; time.sleep(0.05); import sys; sys.stdin.read()")
    assert process_birth(first.pid) is not None
    for process in (first, second):
        process.communicate()
        assert process_birth(process.pid) is None


def test_processes_that_run_at_once_measure_each_cell_once(store: ResultStore) -> None:
    script = """
        import random, sys, time
        from harness.store import Lease, ResultStore
        from tests_store import seeded, a_record

        with ResultStore.open(sys.argv[1]) as store:
            cells = [seeded(seed) for seed in range(40)]
            random.shuffle(cells)
            while cells:
                cell = cells.pop()
                lease = store.acquire(cell.id)
                if not isinstance(lease, Lease):
                    cells.insert(0, cell)
                elif a_record(cell=cell).key in store.statuses([a_record(cell=cell).key]):
                    store.release(lease)
                else:
                    time.sleep(0.002)
                    store.append([a_record(cell=cell)], release=lease)
    """
    load = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("tests_store", {__file__!r})
sys.modules["tests_store"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
"""
    runs = [python(load + textwrap.dedent(script), str(store.folder)) for _ in range(3)]
    for run in runs:
        run.communicate(timeout=60)
        assert run.returncode == 0
    assert [len(store.history(seeded(seed).id)) for seed in range(40)] == [1] * 40


def test_processes_that_make_one_store_at_once_all_succeed(tmp_path: Path) -> None:
    script = "import sys; from harness.store import ResultStore; ResultStore.open(sys.argv[1]).close()"
    makers = [python(script, str(tmp_path / "store")) for _ in range(4)]
    for maker in makers:
        maker.communicate(timeout=60)
        assert maker.returncode == 0


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file is a file; a store is a folder"):
        ResultStore.open(tmp_path / "file")
    with pytest.raises(StoreError, match="cannot hold a store"):
        ResultStore.open(tmp_path / "file" / "below")


def test_a_store_that_is_not_there_is_not_made_for_a_reader(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no results store; `semanir-bench run"):
        ResultStore.open(tmp_path / "nothing", create=False)
    with pytest.raises(StoreError, match=r"there is no file .*gone.jsonl; name one that `semanir-bench export"):
        ResultStore.open(tmp_path / "gone.jsonl", create=False)
    (tmp_path / "records.jsonl").write_text("")
    with pytest.raises(StoreError, match=r"it holds records: name .*records\.jsonl"):
        ResultStore.open(tmp_path, create=False)
    assert [path.name for path in tmp_path.iterdir()] == ["records.jsonl"]


def test_a_store_of_a_newer_version_is_refused(store: ResultStore) -> None:
    with sqlite3.connect(store.folder / DATABASE) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match=r"has schema 99 and this version reads up to 1; upgrade"):
        ResultStore.open(store.folder)


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("CREATE TABLE songs (id)")
    connection.close()
    with pytest.raises(StoreError, match="a database of something else"):
        ResultStore.open(tmp_path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(StoreError, match=r"file is not a database; it is damaged: put a copy back"):
        ResultStore.open(tmp_path)


def test_a_damaged_database_says_so_when_it_is_read(tmp_path: Path) -> None:
    with ResultStore.open(tmp_path) as store:
        store.append([a_record(metric=f"metric{index}") for index in range(200)])
    with (tmp_path / DATABASE).open("r+b") as file:
        file.seek(8 * 4096)
        file.write(os.urandom(40 * 4096))
    with pytest.raises(StoreError, match="damaged"), ResultStore.open(tmp_path) as store:
        store.latest()


def test_a_network_file_system_is_known_by_its_mount() -> None:
    mounts = [(Path(path), kind) for path, kind in (("/", "ext4"), ("/data", "NFS4"), ("/data/fast", "xfs"))]
    assert file_system_of(Path("/data/runs/store"), mounts) == (Path("/data"), "nfs4")
    assert file_system_of(Path("/data/fast/store"), mounts) == (Path("/data/fast"), "xfs")
    assert file_system_of(Path("/database"), mounts) == (Path("/"), "ext4")
    assert file_system_of(Path("/x"), [*mounts, (Path("/"), "tmpfs")]) == (Path("/"), "tmpfs")


def test_an_artifact_lies_on_the_disk_before_it_has_its_name(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that outlives a power failure must not name a file that did not."""
    seen = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        sync(descriptor)
        held = Path(f"/proc/self/fd/{descriptor}").resolve()
        seen.append(("folder" if held.is_dir() else held.read_bytes(), sorted(p.suffix for p in held.parent.iterdir())))

    monkeypatch.setattr(os, "fsync", watched)
    store.write_artifact(b"pixels", ".png")
    assert [content for content, _ in seen] == [b"pixels", "folder"]
    assert seen[0][1] == [".tmp"]
    store.write_artifact(b"pixels", ".png")
    assert len(seen) == 2


def test_an_artifact_that_cannot_be_synced_is_not_there(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.write_artifact(b"pixels", ".png")
    assert list(store.artifacts.iterdir()) == []


def test_an_artifact_is_stored_once_under_its_content(store: ResultStore) -> None:
    name = store.write_artifact(b"pixels", ".png")
    assert name == store.write_artifact(b"pixels", ".png")
    assert store.artifact(name).read_bytes() == b"pixels"
    assert [path.name for path in store.artifacts.iterdir()] == [name]


@pytest.mark.parametrize("name", ["missing.png", "../records.sqlite", "."])
def test_an_artifact_that_is_not_there_is_an_error(store: ResultStore, name: str) -> None:
    with pytest.raises(StoreError, match="has no"):
        store.artifact(name)


def test_what_a_killed_writer_left_is_swept_once_it_is_old(store: ResultStore) -> None:
    old, new = store.artifacts / ".old.tmp", store.artifacts / ".new.tmp"
    for path in (old, new):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    ResultStore.open(store.folder).close()
    assert [path.name for path in store.artifacts.iterdir()] == [".new.tmp"]


def test_exports_hold_one_row_a_sample_and_a_reason_where_there_is_none(store: ResultStore) -> None:
    store.append([a_record(), a_record(Skipped(reason="no weights"), metric="ssim")])
    store.append([a_record(Failed(failure="crashed", error="signal 9"), metric="latency")])
    paths = {kind: store.folder / f"records.{kind}" for kind in ("csv", "jsonl")}
    store.export(paths["csv"], "csv")
    store.export(paths["jsonl"], "jsonl")
    with paths["csv"].open(newline="") as file:
        from_csv = list(csv.DictReader(file))
    from_jsonl = [json.loads(line) for line in paths["jsonl"].read_text().splitlines()]
    seen = [(row["metric"], row["label"], row["value"], row["status"], row["reason"]) for row in from_csv]
    assert seen == [
        ("psnr", "astronaut", "30.0", "measured", ""),
        ("psnr", "camera", "inf", "measured", ""),
        ("ssim", "", "", "skipped", "no weights"),
        ("latency", "", "", "crashed", "signal 9"),
    ]
    assert [row["value"] for row in from_jsonl] == [30.0, "inf", "", ""]
    assert {row["cell"] for row in from_jsonl} == {CELL.id}
    table = frame(store.folder)
    assert np.array_equal(table["value"], [30.0, math.inf, math.nan, math.nan], equal_nan=True)
    assert table["top_k"].dtype == "Int64"


def test_an_export_may_be_read_by_whom_the_mask_lets(store: ResultStore, tmp_path: Path) -> None:
    store.append([a_record()])
    before = os.umask(0o022)
    try:
        store.export(tmp_path / "out.csv", "csv")
    finally:
        os.umask(before)
    assert (tmp_path / "out.csv").stat().st_mode & 0o777 == 0o644


def test_exports_are_written_again_when_a_record_is_new_or_a_file_is_gone(store: ResultStore) -> None:
    written: list[str] = []
    store.append([a_record()])
    for change in (None, None, "record", "file"):
        if change == "record":
            store.append([a_record(metric="ssim")])
        elif change == "file":
            (store.folder / "exports" / "records.csv").unlink()
        store.refresh_exports(before_rename=lambda path: written.append(path.name))
    assert written == ["records.csv", "records.jsonl"] * 2 + ["records.csv"]


def test_an_export_that_is_interrupted_leaves_the_old_one(store: ResultStore) -> None:
    path = store.folder / "exports" / "records.csv"
    store.export(path, "csv")
    before = path.read_text()
    store.append([a_record()])

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.export(path, "csv", before_rename=interrupt)
    assert path.read_text() == before
    assert [left.name for left in path.parent.iterdir()] == ["records.csv"]


def test_an_export_that_cannot_be_written_says_where(store: ResultStore) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        store.export(store.folder / DATABASE / "records.csv", "csv")


def test_an_emptied_database_is_no_store(tmp_path: Path) -> None:
    (tmp_path / DATABASE).touch()
    with pytest.raises(StoreError, match="is empty, so its records are lost"):
        ResultStore.open(tmp_path, create=False)


def test_a_name_that_no_file_system_takes_is_refused() -> None:
    with pytest.raises(StoreError, match="cannot be a folder"):
        ResultStore.open(Path("x" * 300))


def test_a_store_that_cannot_be_written_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ResultStore.open(tmp_path / "store") as store:
        store.append([a_record()])
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with ResultStore.open(tmp_path / "store", create=False) as archive:
        assert list(archive.latest().values()) == [a_record()]
        with pytest.raises(StoreError):
            archive.append([a_record()])
