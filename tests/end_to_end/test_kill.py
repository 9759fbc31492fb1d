from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from harness.environment import TREE
from harness.record import Failed, Measured, Record
from harness.store import ResultStore
from reports.document import Document
from reports.pages.ablation import build

pytestmark = pytest.mark.slow

SPEC = """
question: does a kill leave a trace?
axes: {model: semanir/nano, task: denoise, dataset: bundled, image_size: 32, images: 1, window: 8,
       top_k: [8, 16, 24], backend: [sdpa, mask]}
metrics: [flops, pictures, latency, psnr]
timing: {warmup_ms: 0, sample_ms: 1, samples: 2}
"""
CELLS, MEASURED, SKIPPED = 6, 18, 6
RUNNER_KILLS = (
    *[("import", 1)] * 3,
    *[("measuring", moment) for moment in (1, 2, 3)],
    *[("commit", moment) for moment in (1, 2, 1)],
    *[("export", moment) for moment in (1, 2, 1)],
)
"""Phase, and the how-maniest event of it in that run."""


@dataclass
class Story:
    """What a store went through."""

    folder: Path
    codes: list[int] = field(default_factory=list)
    workers: list[int] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    """Keys that were finished before a kill and not after it."""
    failed: Counter[str] = field(default_factory=Counter)
    """Records of failures by metric, before the last run."""

    def run(self, spec: Path, victim: str = "nobody", phase: str = "never", *moments: int) -> None:
        before = self.finished()
        driver = Path(__file__).with_name("kill_driver.py")
        command = [sys.executable, str(driver), str(spec), str(self.folder), victim, phase, *map(str, moments)]
        done = subprocess.run(command, cwd=TREE, stdout=subprocess.PIPE, timeout=300, check=False)
        self.codes.append(done.returncode)
        self.workers += map(int, done.stdout.split())
        self.lost |= before - self.finished()

    def finished(self) -> set[str]:
        with ResultStore.open(self.folder) as store:
            return {key for key, record in store.latest().items() if record.finished}

    def history(self) -> list[Record]:
        with ResultStore.open(self.folder) as store:
            cells = {record.cell.id for record in store.latest().values()}
            return [record for cell in cells for record in store.history(cell)]

    def exported(self) -> list[tuple[str, ...]]:
        """Return the rows of the export in a fixed order, without what no two runs share."""
        with (self.folder / "exports" / "records.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            for name in ("started_at", "duration_s", *(["value"] if row["metric"] == "latency" else [])):
                del row[name]
        return sorted(tuple(row.values()) for row in rows)

    def report(self) -> Document:
        """Return the report on records whose times are all the same."""
        with ResultStore.open(self.folder) as store:
            records = {key: _without_times(record) for key, record in store.latest().items()}
            (plan,) = store.plans()
            return build(
                records,
                plan.model_copy(update={"created_at": ""}),
                artifact=lambda name: store.artifact(name).read_bytes(),
                store_name="store",
                baseline=None,
            )


def _without_times(record: Record) -> Record:
    content = record.model_dump() | {"started_at": "2026-01-01", "duration_s": 0.0}
    content["environment"]["load_average"] = None
    if record.metric == "latency" and isinstance(record.outcome, Measured):
        for measurement in content["outcome"]["measurements"]:
            measurement["samples"] = (1.0,) * len(measurement["samples"])
    return Record.model_validate(content)


@dataclass
class Stories:
    undisturbed: Story
    runner: Story
    workers: dict[str, Story]

    @property
    def killed(self) -> Iterator[Story]:
        yield self.runner
        yield from self.workers.values()


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Stories:
    folder = tmp_path_factory.mktemp("kill")
    spec = folder / "spec.yaml"
    spec.write_text(SPEC)

    def undisturbed() -> Story:
        story = Story(folder / "undisturbed")
        story.run(spec)
        return story

    def runner_killed() -> Story:
        story = Story(folder / "runner")
        for phase, moment in RUNNER_KILLS:
            story.run(spec, "runner", phase, moment)
        story.run(spec)
        return story

    def worker_killed(phase: str, moments: Iterable[int]) -> Story:
        story = Story(folder / f"worker-{phase}")
        story.run(spec, "worker", phase, *moments)
        story.failed = Counter(record.metric for record in story.history() if isinstance(record.outcome, Failed))
        story.run(spec)
        return story

    with ThreadPoolExecutor(max_workers=2) as pool:
        runner = pool.submit(runner_killed)
        plain = pool.submit(undisturbed)
        # While importing, at a cell's first metric, and between two cells; at an export no worker is left.
        moments = {"import": range(1, 4), "measuring": (1, 4, 10), "commit": range(1, 4)}
        workers = {phase: pool.submit(worker_killed, phase, when) for phase, when in moments.items()}
        return Stories(plain.result(), runner.result(), {phase: story.result() for phase, story in workers.items()})


def test_the_runner_was_killed_three_times_in_each_phase(stories: Stories) -> None:
    assert stories.runner.codes == [-9] * len(RUNNER_KILLS) + [0]
    assert Counter(phase for phase, _ in RUNNER_KILLS) == {"import": 3, "measuring": 3, "commit": 3, "export": 3}


def test_the_runner_survives_its_workers(stories: Stories) -> None:
    assert all(story.codes == [0, 0] for story in stories.workers.values())


def test_what_a_killed_worker_was_at_failed_and_nothing_else(stories: Stories) -> None:
    assert stories.workers["import"].failed == {"flops": 3, "pictures": 3, "latency": 3}
    assert stories.workers["measuring"].failed == {"flops": 3}
    assert stories.workers["commit"].failed == {}


def test_no_finished_record_is_lost_and_none_is_measured_twice(stories: Stories) -> None:
    for story in stories.killed:
        assert not story.lost
        finished = Counter(record.key for record in story.history() if record.finished)
        assert len(finished) == MEASURED + SKIPPED
        assert set(finished.values()) == {1}


def test_the_sweep_completes_and_exports_what_an_undisturbed_one_does(stories: Stories) -> None:
    expected = stories.undisturbed.exported()
    assert len(expected) > MEASURED
    for story in stories.killed:
        assert story.exported() == expected


def test_artifacts_are_those_of_an_undisturbed_run(stories: Stories) -> None:
    def names(story: Story) -> list[str]:
        return sorted(path.name for path in (story.folder / "artifacts").glob("[!.]*"))

    assert len(names(stories.undisturbed)) == 2
    assert all(names(story) == names(stories.undisturbed) for story in stories.killed)


def test_the_report_is_that_of_an_undisturbed_run_but_for_timings(stories: Stories) -> None:
    expected = stories.undisturbed.report()
    assert all(story.report() == expected for story in stories.killed)


def test_no_worker_outlives_its_runner(stories: Stories) -> None:
    workers = [pid for story in stories.killed for pid in story.workers]
    assert len(workers) > 20
    deadline = time.monotonic() + 30
    while any(map(psutil.pid_exists, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(psutil.pid_exists, workers))
