"""The gate's timed cells as pytest-benchmark cases: `nox -s benchmarks`, then `semanir-bench import-benchmark`.

A case asks the gate's own worker, which brings the cell to life and times its calls: in a fresh interpreter, without
the shape checker that tests run under. pytest-benchmark repeats, summarises and compares.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from ruamel.yaml import YAML

from harness.gate import cells, command, exact, trees
from harness.gate.interpreter import Interpreter
from harness.gate.launch import PREPARING_SECONDS
from harness.gate.run import WORKER

ROOT = Path(__file__).parents[2]
SPEC = cells.load(ROOT / command.SPEC)
CELLS = {cell.name: cell for cell in SPEC.cells}
ROUNDS = 2 * SPEC.sampling.blocks
"""As many samples as one side of the gate takes in a launch."""

Prepare = Callable[[cells.GateCell], Callable[[], None]]

taken_s: list[float] = []
"""Of every timed call, by the worker's clock."""


def gate_clock() -> float:
    """Return the seconds that all timed calls have taken so far: the timer that pytest-benchmark reads."""
    return math.fsum(taken_s)


@pytest.fixture(scope="module")
def prepare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepare]:
    """Bring a cell to life in a worker that all cases share, and return what times one call of it."""
    photo = exact.photograph(tmp_path_factory.mktemp("gate") / "photo.f32")
    with Interpreter(trees.in_place(ROOT), WORKER, threads=SPEC.sampling.threads) as worker:
        worker.greet(with_torch=True)

        def ask(**request: Any) -> dict[str, Any]:
            return worker.ask(request, limit_s=PREPARING_SECONDS)

        def prepared(cell: cells.GateCell) -> Callable[[], None]:
            ask(do="prepare", cell=cell.request(), photo=str(photo))
            ask(do="freeze")
            return lambda: taken_s.append(ask(do="sample", cell=cell.name, calls=1, cold=cell.cold)["ms"] / 1e3)

        yield prepared


@pytest.mark.timing
@pytest.mark.benchmark(group="gate", timer=gate_clock)
@pytest.mark.parametrize("name", CELLS)
def test_gate_cell(name: str, prepare: Prepare, benchmark: BenchmarkFixture) -> None:
    cell = CELLS[name]
    benchmark.extra_info |= {
        "cell": name,
        "kind": cell.kind,
        "backend": cell.backend or "none",
        "direction": cell.direction,
        "gate_spec": SPEC.id,
    }
    benchmark.pedantic(prepare(cell), rounds=ROUNDS)
    if benchmark.enabled:
        assert benchmark.stats.stats.data == pytest.approx(taken_s[-ROUNDS:]), "the times are the worker's own"


def test_each_timed_cell_of_the_gate_is_a_case() -> None:
    collecting = ["--noconftest", "--collect-only", "-q", "-m", "timing", "-p", "pytest_benchmark.plugin", __file__]
    # Among the processes that share the tests, pytest-benchmark would think itself one of them and refuse.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    alone["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *collecting],
        cwd=ROOT,
        env=alone,
        capture_output=True,
        text=True,
        check=True,
    )
    declared = [cell["name"] for cell in YAML(typ="safe").load(ROOT / command.SPEC)["cells"]]
    assert re.findall(r"::test_gate_cell\[(.+)\]$", ran.stdout, re.MULTILINE) == declared
