"""How long large reports take, from the records to the file and from there to the eye: `nox -s benchmarks`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from harness.record import Cell, Measured, Measurement, Record
from harness.store import ResultStore
from reports.publish import publish
from tests.reports.conftest import record, sweep_of

IMAGES = tuple(f"{n:02}" for n in range(12))
MB = 1_000_000


def records(count: int) -> Iterator[Record]:
    """Yield PSNR, operations, memory and latency of so many cells over all axes of an ablation, by four metrics."""
    rng = np.random.default_rng(0)
    for n in range(count // 4):
        backend, k, window, task, seed = n % 4, n // 4 % 5, n // 20 % 3, n // 60 % 6, n // 360
        cell = Cell(
            model="semanir/small",
            task=("denoise", "jpeg", "demosaic", "sr", "deblur", "weather")[task],
            dataset="Set12",
            setting="all",
            backend=("triton", "gather", "mask", "sdpa")[backend],
            top_k=4 << k,
            window=8 << window,
            seed=seed,
        )
        psnr = tuple(float(x) for x in 28 + k / 10 + rng.normal(0, 1, len(IMAGES)))
        times = tuple(float(x) for x in 10 + rng.random(10))
        found = {
            "psnr": Measurement(name="psnr", unit="dB", samples=psnr, labels=IMAGES),
            "flops": Measurement(name="flops.spent", unit="FLOP", samples=(1e9 * (k + window + 1),)),
            "memory": Measurement(name="memory.peak", unit="MiB", samples=(20.0 + backend,)),
            "latency": Measurement(name="latency", unit="ms", samples=times),
        }
        for metric, measurement in found.items():
            yield record(cell, metric, Measured(measurements=(measurement,)))


@pytest.mark.timing
@pytest.mark.parametrize(("count", "seconds", "mb"), [(10_000, 10, 5), (100_000, 120, 40)])
def test_many_records_make_a_page_in_time(tmp_path: Path, count: int, seconds: float, mb: float) -> None:
    sweep = sweep_of(records(count))
    with ResultStore.open(tmp_path / "store") as store:
        store.remember(sweep.plan)
        store.append(sweep.records.values())
        start = time.perf_counter()
        page = publish(store, tmp_path / "report.html")
        taken = time.perf_counter() - start
    size = page.stat().st_size / MB
    print(f"\n{count:,} records: {taken:.1f} s, {size:.1f} MB")
    assert taken < seconds
    assert size < mb


@pytest.mark.timing
def test_all_committed_experiments_are_rebuilt_within_a_minute(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness.cli", "gallery", "--out", str(tmp_path)]
    start = time.perf_counter()
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
    taken = time.perf_counter() - start
    print(f"\n{len(list(tmp_path.glob('*/*.html')))} pages with their tables and figures: {taken:.1f} s")
    assert taken < 60


@pytest.mark.timing
def test_ten_thousand_records_are_seen_within_a_second(visit: Callable[..., Any]) -> None:
    html = sweep_of(records(10_000)).html()
    times = []
    for _ in range(5):
        tab = visit(html)
        tab.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        times.append(tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    print(f"\nfirst paint: median {median(times):.0f} ms, {min(times):.0f} to {max(times):.0f}")
    assert median(times) < 1000
