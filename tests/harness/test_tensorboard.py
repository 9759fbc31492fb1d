"""Traces laid out for TensorBoard: run by run, from a store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.record import Cell, Environment, Measured, Measurement, Record
from harness.store import PlanEntry, ResultStore, StoredPlan, StoreError
from harness.tensorboard import run_name, write

CELL = Cell(model="semanir/nano", task="denoise", setting="sigma=25", dataset="bundled", backend="sdpa", top_k=8)
MACHINE = Environment(
    machine_class="0d1f2a3b4c5d6e7f",
    cpu="a",
    cores=2,
    memory_gib=4.0,
    system="b",
    device="cpu",
    python="3",
    versions={},
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResultStore]:
    with ResultStore.open(tmp_path / "store") as opened:
        yield opened


def profiled(store: ResultStore, cell: Cell, *, artifacts: dict[str, str]) -> StoredPlan:
    """Store a profile of the cell, and return a plan that asks for it."""
    record = Record(
        cell=cell,
        metric="profile",
        source="feed",
        outcome=Measured(measurements=(Measurement(name="profile.cpu.share", unit="1", samples=(1.0,)),)),
        artifacts=artifacts,
        environment=MACHINE,
        spec="5eed",
        commit="0" * 40,
        dirty=False,
        started_at="2026-11-20T10:00:00+00:00",
        duration_s=0.5,
    )
    store.append([record])
    entries = (PlanEntry(cell=cell, metric="profile", key=record.key),)
    return StoredPlan(digest="5eed", name="topk", question="?", text="", created_at="", entries=entries)


def test_a_trace_becomes_a_run_under_a_name_that_the_plugin_lists(store: ResultStore, tmp_path: Path) -> None:
    name = store.write_artifact(b"a trace", ".json.gz")
    plan = profiled(store, CELL, artifacts={"trace": name, "picture": "other.png"})
    (file,) = write(tmp_path / "runs", plan, store)
    assert file == tmp_path / "runs" / f"denoise-semanir-nano-sdpa-k8-{CELL.id[:7]}" / f"{CELL.id}.pt.trace.json.gz"
    assert file.read_bytes() == b"a trace"
    assert write(tmp_path / "runs", plan, store) == [file], "again, over what is there"


def test_names_of_runs_are_names_of_folders() -> None:
    cell = CELL.model_copy(update={"weights": "../my weights: 1", "window": 8})
    assert run_name(cell) == f"denoise-semanir-nano-sdpa-..-my-weights-1-window8-k8-{cell.id[:7]}"


def test_a_plan_without_traces_is_told_how_to_get_some(store: ResultStore, tmp_path: Path) -> None:
    plan = profiled(store, CELL, artifacts={})
    with pytest.raises(StoreError, match=r"plan topk has no traces; write `profile: true` into its spec"):
        write(tmp_path / "runs", plan, store)
    assert not (tmp_path / "runs").exists()


def test_a_trace_that_the_store_has_lost_is_named(store: ResultStore, tmp_path: Path) -> None:
    plan = profiled(store, CELL, artifacts={"trace": "gone.json.gz"})
    with pytest.raises(StoreError, match=r"has no 'gone\.json\.gz'"):
        write(tmp_path / "runs", plan, store)


def test_a_place_that_is_a_file_is_refused(store: ResultStore, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    plan = profiled(store, CELL, artifacts={"trace": store.write_artifact(b"a trace", ".json.gz")})
    with pytest.raises(StoreError, match="cannot be written"):
        write(tmp_path / "runs", plan, store)
