from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from harness.catalogs import BACKENDS, METRICS
from harness.environment import TREE
from harness.executors.local import Measuring, WorkerStarting
from harness.plan import Plan, Skip, expand
from harness.record import Failed, Measured, Outcome, Record, Skipped
from harness.runner import CellFinished, Committing, Event, PlanStarted, Summary, Waiting, remeasure, run
from harness.spec import load
from harness.store import Lease, ResultStore, StoreError

MISBEHAVIOUR = {
    "toy_value": "print('{no event}', flush=True); return reading(7.0)",
    "toy_error": "raise ValueError('no such pixel')",
    "toy_memory": "import torch; torch.empty(1 << 50)",
    "toy_kill": "os.kill(os.getpid(), 9)",
    "toy_exit": "print('my last words', file=sys.stderr); sys.exit(3)",
    "toy_pid": "return reading(os.getpid())",
    "toy_fresh": "return reading(os.getpid())",
    "toy_timed": "return reading(1.0)",
    "toy_sleep": "import time; time.sleep(100)",
    "toy_flaky": "flag = os.environ['TOY_FLAG']; os.path.exists(flag) or os.kill(os.getpid(), 9); return reading(1.0)",
}
METRIC = """
import os, sys
from harness.metric import Metric, Reading
from harness.record import Measurement

def reading(value):
    return Reading(
        measurements=(Measurement(name="toy", unit="1", samples=(float(value),)),), artifacts={{"picture": b"pixels"}}
    )

def measure(trial):
    {body}

METRIC = Metric(
    summary="", unit="1", better="neither", measure=measure, fresh_process={fresh}, timed={timed}
)
"""
BACKEND = """
from dataclasses import replace
from semanir.attention.backends.mask import BACKEND as MASK

def attend(q, k, v, kept, **options):
    return v * 0.5

BACKEND = replace(MASK, module="toy_wrong")
"""
SPEC = """
question: what becomes of a metric that misbehaves?
axes: {{model: semanir/nano, task: denoise, dataset: bundled, image_size: 32, images: 1, window: 8, top_k: {top_k},
       backend: {backend}}}
metrics: {metrics}
timing: {{warmup_ms: 0, sample_ms: 1, samples: 2}}
budget: {{cell_seconds: {seconds}}}
"""


@pytest.fixture(autouse=True, scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An installed plug-in with a metric for each way to fail, and a backend that computes something else."""
    folder = tmp_path_factory.mktemp("plugin")
    for name, body in MISBEHAVIOUR.items():
        text = METRIC.format(body=body, fresh=name == "toy_fresh", timed=name == "toy_timed")
        (folder / f"{name}.py").write_text(text)
    (folder / "toy_wrong.py").write_text(BACKEND)
    (folder / "toy-1.0.dist-info").mkdir()
    (folder / "toy-1.0.dist-info" / "METADATA").write_text("Name: toy\nVersion: 1.0\n")
    groups = ["[semanir_bench.metrics]", *(f"{name} = {name}" for name in MISBEHAVIOUR)]
    groups += ["[semanir_bench.backends]", "toy_wrong = toy_wrong"]
    (folder / "toy-1.0.dist-info" / "entry_points.txt").write_text("\n".join(groups))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("TOY_FLAG", str(folder / "flag"))
        with catalogs_read_again():
            yield folder


@contextmanager
def catalogs_read_again() -> Iterator[None]:
    for catalog in (METRICS, BACKENDS):
        vars(catalog).pop("_modules", None)
    try:
        yield
    finally:
        for catalog in (METRICS, BACKENDS):
            vars(catalog).pop("_modules", None)


def a_plan(
    folder: Path, *metrics: str, top_k: tuple[int, ...] = (8,), backend: str = "sdpa", seconds: float = 60
) -> Plan:
    values = {"top_k": list(top_k), "backend": backend, "metrics": f"[{', '.join(metrics)}]", "seconds": seconds}
    (folder / "spec.yaml").write_text(SPEC.format(**values))
    return expand(load(folder / "spec.yaml"))


class Sweep:
    """A run with all that it said."""

    def __init__(self, plan: Plan, folder: Path, also: Callable[[Event], None] = lambda event: None) -> None:
        self.events: list[Event] = []
        self.folder = folder

        def listen(event: Event) -> None:
            self.events.append(event)
            also(event)

        with ResultStore.open(folder) as store:
            self.summary = run(plan, store, listener=listen)
            self.records = list(store.latest().values())

    @property
    def outcomes(self) -> dict[str, Outcome]:
        return {record.metric: record.outcome for record in self.records}

    @property
    def measured(self) -> list[str]:
        return [event.metric for event in self.events if isinstance(event, Measuring)]

    @property
    def started(self) -> list[int]:
        return [event.pid for event in self.events if isinstance(event, WorkerStarting)]

    def numbers(self, metric: str) -> list[float]:
        return [
            record.outcome.measurements[0].samples[0]
            for record in self.records
            if record.metric == metric and isinstance(record.outcome, Measured)
        ]


@pytest.fixture(scope="module")
def misbehaving(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Sweep:
    folder = tmp_path_factory.mktemp("sweep")
    metrics = ["toy_value", "toy_error", "toy_kill", "toy_pid", "toy_memory", "toy_exit", "toy_fresh"]
    return Sweep(a_plan(folder, *metrics), folder / "store")


def test_an_exception_names_itself_and_its_line(misbehaving: Sweep) -> None:
    failed = Failed(failure="error", error="ValueError: no such pixel (toy_error.py:12)")
    assert misbehaving.outcomes["toy_error"] == failed


def test_a_killed_worker_names_the_signal_and_the_metrics_behind_it_are_measured(misbehaving: Sweep) -> None:
    killed = misbehaving.outcomes["toy_kill"]
    assert killed == Failed(failure="crashed", error="worker was killed by signal 9 (SIGKILL)")
    assert isinstance(misbehaving.outcomes["toy_pid"], Measured)


def test_a_worker_that_exits_names_its_code_and_its_last_words(misbehaving: Sweep) -> None:
    ended = misbehaving.outcomes["toy_exit"]
    assert isinstance(ended, Failed)
    assert ended.failure == "crashed"
    assert ended.error.startswith("worker exited with code 3; its last lines: ")
    assert ended.error.endswith("my last words")


def test_memory_that_runs_out_is_a_failure_of_its_own_kind(misbehaving: Sweep) -> None:
    full = misbehaving.outcomes["toy_memory"]
    assert isinstance(full, Failed)
    assert full.failure == "out_of_memory"


def test_what_a_metric_prints_does_not_disturb_its_numbers(misbehaving: Sweep) -> None:
    assert misbehaving.numbers("toy_value") == [7.0]


def test_an_artifact_lies_in_the_store_under_its_content(misbehaving: Sweep) -> None:
    with ResultStore.open(misbehaving.folder) as store:
        for record in misbehaving.records:
            if isinstance(record.outcome, Measured):
                assert store.artifact(record.artifacts["picture"]).read_bytes() == b"pixels"


def test_a_metric_that_wants_a_fresh_process_shares_it_with_none(misbehaving: Sweep) -> None:
    (fresh,), (shared,) = misbehaving.numbers("toy_fresh"), misbehaving.numbers("toy_pid")
    assert int(fresh) == misbehaving.started[-1]
    assert fresh != shared


def test_a_summary_counts_what_is_measured_and_what_failed(misbehaving: Sweep) -> None:
    summary = misbehaving.summary
    assert (summary.measured, summary.failed, summary.skipped, summary.reused) == (3, 4, 0, 0)


def test_records_carry_the_environment_of_their_worker(misbehaving: Sweep) -> None:
    record = next(record for record in misbehaving.records if record.metric == "toy_value")
    assert record.environment.threads == 1
    assert record.environment.tf32 is not None
    assert record.environment.deterministic is False
    assert record.environment.load_average is not None
    assert record.degraded.keys() == {"chelsea"}
    assert len(record.source) == 64


def test_no_record_names_a_folder_of_this_machine(misbehaving: Sweep) -> None:
    texts = [record.model_dump_json() for record in misbehaving.records]
    assert not any(str(folder) in text for text in texts for folder in (Path.home(), TREE))


def test_a_resumed_run_measures_only_what_failed(misbehaving: Sweep, tmp_path: Path) -> None:
    metrics = ["toy_value", "toy_error", "toy_kill", "toy_memory"]
    again = Sweep(a_plan(tmp_path, *metrics), misbehaving.folder)
    assert sorted(again.measured) == ["toy_error", "toy_kill", "toy_memory"]
    assert again.summary.reused == 1


def test_a_spec_that_wants_one_more_metric_measures_only_that(misbehaving: Sweep, tmp_path: Path) -> None:
    again = Sweep(a_plan(tmp_path, "toy_value", "toy_error", "degraded"), misbehaving.folder)
    assert again.measured == ["toy_error", "degraded"]
    with ResultStore.open(again.folder) as store:
        assert store.plans()[0].name == tmp_path.name


def test_a_cell_that_takes_too_long_is_stopped_and_what_came_before_is_kept(tmp_path: Path) -> None:
    sweep = Sweep(a_plan(tmp_path, "toy_value", "toy_sleep", "toy_pid", seconds=1.5), tmp_path / "store")
    assert isinstance(sweep.outcomes["toy_value"], Measured)
    stopped = Failed(failure="timeout", error="stopped: the limit of 1.5 s for the cell was reached")
    late = Failed(failure="timeout", error="not started: the limit of 1.5 s for the cell was spent before")
    assert [sweep.outcomes["toy_sleep"], sweep.outcomes["toy_pid"]] == [stopped, late]
    assert not any(psutil.pid_exists(pid) for pid in sweep.started)


def test_one_worker_measures_cell_after_cell(tmp_path: Path) -> None:
    sweep = Sweep(a_plan(tmp_path, "toy_pid", top_k=(8, 16, 24)), tmp_path / "store")
    assert sweep.numbers("toy_pid") == sweep.started * 3
    assert [type(event).__name__ for event in sweep.events[:3]] == ["PlanStarted", "CellStarted", "WorkerStarting"]
    assert sweep.events[0] == PlanStarted(total=3, done=0, skipped=0)
    assert not any(psutil.pid_exists(pid) for pid in sweep.started)


def test_a_worker_that_dies_between_two_cells_costs_nothing(tmp_path: Path) -> None:
    started: list[int] = []

    def kill_idle(event: Event) -> None:
        if isinstance(event, Committing):
            psutil.Process(started[-1]).kill()
        elif isinstance(event, WorkerStarting):
            started.append(event.pid)

    sweep = Sweep(a_plan(tmp_path, "toy_pid", top_k=(8, 16)), tmp_path / "store", kill_idle)
    assert sweep.numbers("toy_pid") == sweep.started
    assert len(sweep.started) == 2


def test_a_backend_that_disagrees_has_no_speed(tmp_path: Path) -> None:
    sweep = Sweep(a_plan(tmp_path, "toy_timed", "toy_value", backend="toy_wrong"), tmp_path / "store")
    refused = sweep.outcomes["toy_timed"]
    assert isinstance(refused, Failed)
    assert refused.error.startswith("disagrees with the reference: call 0 is off by")
    assert isinstance(sweep.outcomes["toy_value"], Measured)


def test_a_worker_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugin: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('this torch is broken')")
    monkeypatch.setenv("PYTHONPATH", f"{plugin}{os.pathsep}{tmp_path}")
    sweep = Sweep(a_plan(tmp_path, "toy_value", "toy_pid"), tmp_path / "store")
    assert len(sweep.started) == 1
    for outcome in sweep.outcomes.values():
        assert isinstance(outcome, Failed)
        assert outcome.failure == "crashed"
        assert "ImportError: this torch is broken" in outcome.error


def test_a_skip_is_stored_once_and_measured_when_the_plan_allows_it(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, "toy_value", top_k=(8, 16))
    tight = Plan(plan.spec, (), tuple(Skip(planned.cell, "toy_value", "too large") for planned in plan.cells))
    for _ in range(2):
        sweep = Sweep(tight, tmp_path / "store")
        assert sweep.summary == Summary(0, 2, 0, 0, sweep.summary.seconds)
    with ResultStore.open(tmp_path / "store") as store:
        assert [len(store.history(planned.cell.id)) for planned in plan.cells] == [1, 1]
    assert Sweep(plan, tmp_path / "store").measured == ["toy_value"] * 2


def test_ctrl_c_keeps_what_is_measured_and_leaves_no_worker_and_no_lease(tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, WorkerStarting):
            started.append(event.pid)
        if isinstance(event, Measuring) and event.metric == "toy_pid":
            raise KeyboardInterrupt

    started: list[int] = []
    plan = a_plan(tmp_path, "toy_value", "toy_pid")
    with pytest.raises(KeyboardInterrupt):
        Sweep(plan, tmp_path / "store", interrupt)
    assert not any(psutil.pid_exists(pid) for pid in started)
    with ResultStore.open(tmp_path / "store") as store:
        assert [record.metric for record in store.latest().values()] == ["toy_value"]
        assert isinstance(store.acquire(plan.cells[0].cell.id), Lease)


def test_two_runs_at_once_measure_each_cell_once(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, "toy_value", "toy_pid", top_k=(8, 16, 24))
    script = f"""
from harness.plan import expand
from harness.runner import run
from harness.spec import load
from harness.store import ResultStore
with ResultStore.open({str(tmp_path / "store")!r}) as store:
    print(run(expand(load({str(tmp_path / "spec.yaml")!r})), store).measured)
"""
    runs = [subprocess.Popen([sys.executable, "-c", script], cwd=TREE, stdout=subprocess.PIPE) for _ in range(2)]
    assert [run.communicate(timeout=120)[0] for run in runs] == [b"6\n", b"6\n"]
    with ResultStore.open(tmp_path / "store") as store:
        assert [len(store.history(planned.cell.id)) for planned in plan.cells] == [2, 2, 2]


def test_a_run_waits_for_a_cell_that_another_one_measures(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, "toy_value")
    (cell,) = [planned.cell for planned in plan.cells]
    with ResultStore.open(tmp_path / "store") as other:
        lease = other.acquire(cell.id)
        assert isinstance(lease, Lease)

        def let_go(event: Event) -> None:
            if isinstance(event, Waiting):
                other.release(lease)

        sweep = Sweep(plan, tmp_path / "store", let_go)
    assert Waiting(cell, os.getpid()) in sweep.events
    assert sweep.measured == ["toy_value"]


def test_a_crash_is_tried_again_and_the_history_keeps_both(tmp_path: Path, plugin: Path) -> None:
    plan = a_plan(tmp_path, "toy_flaky")
    assert Sweep(plan, tmp_path / "store").summary.failed == 1
    (plugin / "flag").touch()
    assert Sweep(plan, tmp_path / "store").summary.measured == 1
    with ResultStore.open(tmp_path / "store") as store:
        history = store.history(plan.cells[0].cell.id)
    assert [record.outcome.kind for record in history] == ["failed", "measured"]


def test_a_cell_is_measured_again_without_what_was_skipped(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, "toy_value", "psnr")
    sweep = Sweep(plan, tmp_path / "store")
    assert isinstance(sweep.outcomes["psnr"], Skipped)
    finished: list[Record] = []

    def listen(event: Event) -> None:
        if isinstance(event, CellFinished):
            finished.extend(event.records)

    with ResultStore.open(tmp_path / "store") as store:
        summary = remeasure(plan.cells[0].cell, store, listener=listen)
        assert (summary.measured, summary.skipped, summary.reused) == (1, 1, 0)
        assert [record.metric for record in store.history(plan.cells[0].cell.id)] == ["psnr", "toy_value", "toy_value"]
        assert len(store.plans()) == 1
    assert [record.metric for record in finished] == ["toy_value"]


def test_a_cell_of_no_plan_is_not_measured_again(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, "toy_value")
    with (
        ResultStore.open(tmp_path / "store") as store,
        pytest.raises(StoreError, match=r"no plan holds cell .*; run its experiment into this store first"),
    ):
        remeasure(plan.cells[0].cell, store)
