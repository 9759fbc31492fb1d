"""What the harness costs beside the measuring: `pytest tests/benchmarks -s` prints the figures."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

TINY = """\
question: what does a cell cost beside its measuring?
axes:
  model: semanir/nano
  task: denoise
  dataset: bundled
  backend: [mask, sdpa]
  top_k: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
  window: 4
  image_size: 16
  images: 1
  seed: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
metrics: [flops, degraded]
"""

TEN_THOUSAND = """\
question: how long does a plan of ten thousand cells take?
axes:
  model: semanir/small
  task: [jpeg, denoise, demosaic, sr, deblur, weather]
  dataset: bundled
  backend: [triton, gather, mask, sdpa]
  top_k: [4, 8, 16, 32, 64]
  window: [8, 16]
  seed: [{seeds}]
metrics: [agreement, psnr, ssim, flops, latency, memory]
"""


@pytest.mark.timing
def test_two_hundred_tiny_cells_cost_less_than_60_ms_each_beside_their_measuring(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(TINY)
    code = (
        "import json, time\n"
        "from harness.plan import expand\n"
        "from harness.runner import run\n"
        "from harness.spec import load\n"
        "from harness.store import ResultStore\n"
        "plan = expand(load('spec.yaml'))\n"
        "with ResultStore.open('store') as store:\n"
        "    start = time.perf_counter()\n"
        "    summary = run(plan, store)\n"
        "    wall = time.perf_counter() - start\n"
        "    measured = sum(record.duration_s for record in store.latest().values())\n"
        "print(json.dumps([len(plan.cells), summary.measured, summary.failed, wall, measured]))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    cells, numbers, failed, wall, measured = json.loads(ran.stdout.splitlines()[-1])
    overhead_ms = (wall - measured) / cells * 1e3
    print(f"\n{cells} cells: {wall:.2f} s in all, {measured:.2f} s measuring, {overhead_ms:.1f} ms a cell beside it")
    assert (cells, numbers, failed) == (200, 400, 0)
    assert overhead_ms < 60


@pytest.fixture
def large(tmp_path: Path) -> Path:
    spec = tmp_path / "spec.yaml"
    spec.write_text(TEN_THOUSAND.format(seeds=", ".join(map(str, range(42)))))
    return spec


@pytest.mark.timing
def test_a_plan_of_ten_thousand_cells_takes_less_than_3_s(large: Path) -> None:
    start = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-m", "harness.cli", "plan", str(large)], capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - start
    print(f"\n10,080 cells planned in {seconds:.2f} s, interpreter start included")
    assert "10,080 cells with" in ran.stdout
    assert seconds < 3
