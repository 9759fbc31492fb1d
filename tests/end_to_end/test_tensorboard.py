"""`profile: true` from a spec to a report and to TensorBoard, whose plugin reads the same times off the trace."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import pytest
from typer.testing import CliRunner

from harness import cli, traces
from harness.record import Measured, Record
from harness.store import ResultStore

pytestmark = pytest.mark.slow

SPEC = """
question: where does the time of a pass go?
axes: {model: semanir/nano, task: denoise, dataset: bundled, image_size: 32, images: 1, window: 4, top_k: 8,
       backend: [sdpa, triton]}
metrics: psnr
budget: {cell_seconds: 600}
profile: true
"""
PATIENCE_S = 240
"""For a server that starts on a machine with other work to do; one that is idle takes some ten seconds."""


def call(*arguments: str | Path) -> str:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profiled")
    (folder / "spec.yaml").write_text(SPEC)
    call("run", folder / "spec.yaml", "--out", folder / "store")
    return folder / "store"


@pytest.fixture(scope="module")
def profiles(store: Path) -> dict[str, Record]:
    with ResultStore.open(store) as opened:
        return {record.cell.backend: record for record in opened.latest().values() if record.metric == "profile"}


@pytest.fixture(scope="module")
def runs(store: Path) -> Path:
    call("export", store, "--to", "tensorboard", "--out", store / "runs")
    return store / "runs"


def test_a_profiled_cell_keeps_its_trace_and_an_interpreted_one_is_skipped(
    store: Path, profiles: dict[str, Record]
) -> None:
    measured = profiles["sdpa"]
    assert isinstance(measured.outcome, Measured)
    trace = store / "artifacts" / measured.artifacts[traces.ROLE]
    assert trace.name.endswith(".json.gz")
    longest = traces.operators(traces.quickest(traces.read(trace.read_bytes())), "cpu")[0]
    times = next(each for each in measured.outcome.measurements if each.name == "profile.cpu.time")
    assert (times.labels[0], times.samples[0]) == (longest.name, longest.own_us)
    skipped = profiles["triton"].outcome
    assert getattr(skipped, "reason", "") == "interpreter: not its profile"


def test_the_report_draws_it(store: Path) -> None:
    call("report", store)
    page = (store / "report.html").read_text()
    assert page.count('<figure class="timeline">') == 1
    assert "Where the time of a pass goes" in page


@pytest.fixture
def ask(runs: Path, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start TensorBoard on loopback, return what asks its profiler plugin, and end it with all it has started."""
    if importlib.util.find_spec("torch_tb_profiler") is None:
        pytest.skip("the extra 'profile' is not installed: pip install -e '.[profile]'")
    log = tmp_path / "log"
    options = ["--logdir", str(runs), "--host", "127.0.0.1", "--port", "0", "--load_fast", "false"]
    with log.open("w") as written:
        server = subprocess.Popen(
            [sys.executable, "-m", "tensorboard.main", *options],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    opener = build_opener(ProxyHandler({}))

    def address() -> str | None:
        assert server.poll() is None, log.read_text()
        found = re.search(r"http://127\.0\.0\.1:\d+/", log.read_text())
        return found[0] if found else None

    try:
        root = until(address)

        def request(route: str, **query: str) -> Any:
            url = f"{root}data/plugin/pytorch_profiler/{route}?{urlencode(query)}"
            with opener.open(url, timeout=PATIENCE_S) as answer:
                return json.load(answer)

        yield request
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def until(found: Callable[[], Any]) -> Any:
    """Return the first answer that holds something."""
    end = time.monotonic() + PATIENCE_S
    while not (answer := found()):
        assert time.monotonic() < end, f"no answer in {PATIENCE_S} s"
        time.sleep(0.2)
    return answer


def test_tensorboard_lists_the_run_and_its_operators_agree_with_ours(ask: Callable[..., Any], runs: Path) -> None:
    (run,) = [each.name for each in runs.iterdir()]
    assert until(lambda: ask("runs")["runs"]) == [run]
    assert "Operator" in ask("views", run=run)
    (worker,) = ask("workers", run=run, view="Operator")
    (span,) = ask("spans", run=run, worker=worker)
    table = ask("operation/table", run=run, worker=worker, span=span, group_by="Operation")["data"]

    ours: dict[str, list[traces.Operator]] = defaultdict(list)
    for one in traces.read((runs / run / f"{worker}{traces.SUFFIX}").read_bytes()):
        for operator in traces.operators(one, "cpu"):
            ours[operator.name].append(operator)
    assert {row["name"] for row in table} == ours.keys() - {traces.OUTSIDE}
    for row in table:
        calls = sum(operator.calls for operator in ours[row["name"]])
        assert row["calls"] <= calls, "an operator straight inside one of its name counts as one"
        own_us = sum(operator.own_us for operator in ours[row["name"]])
        assert row["host_self_duration"] == pytest.approx(own_us, rel=0.01, abs=1 + calls), row["name"]
