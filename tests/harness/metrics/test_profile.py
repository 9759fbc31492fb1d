"""Profiles of a tiny cell: what is kept, what is said, and what is left as it was."""

from __future__ import annotations

import gzip
import json
import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import traces
from harness.metric import Reading
from harness.metrics import profile
from harness.metrics.profile import METRIC, PASSES, TOP
from harness.record import Cell, Timing
from harness.trial import Trial

CELL = Cell(
    model="semanir/nano",
    task="denoise",
    setting="sigma=25",
    dataset="bundled",
    images=1,
    image_size=32,
    backend="sdpa",
    top_k=8,
    window=4,
)


@pytest.fixture(scope="module")
def trial() -> Trial:
    return Trial(CELL, Timing())


@pytest.fixture(scope="module")
def reading(trial: Trial) -> Reading:
    return METRIC.measure(trial)


def samples(reading: Reading, name: str) -> dict[str, float]:
    found = next(each for each in reading.measurements if each.name == name)
    return dict(zip(found.labels, found.samples, strict=True))


def test_the_longest_operators_are_measured_with_time_share_and_calls(reading: Reading) -> None:
    assert [each.name for each in reading.measurements] == [
        "profile.cpu.time",
        "profile.cpu.share",
        "profile.cpu.calls",
    ]
    times, shares, calls = (samples(reading, f"profile.cpu.{name}") for name in ("time", "share", "calls"))
    assert list(times) == list(shares) == list(calls)
    assert len(times) == TOP
    assert list(times.values()) == sorted(times.values(), reverse=True)
    assert 0.5 < sum(shares.values()) <= 1
    assert traces.OUTSIDE in times
    assert "attention by torch's kernel: " in reading.notes[0]


def test_the_trace_holds_the_passes_and_names_the_modules(reading: Reading, trial: Trial) -> None:
    passes = traces.read(reading.artifacts[traces.ROLE])
    assert len(passes) == PASSES
    counts = [{each.name: each.calls for each in traces.operators(one, "cpu")} for one in passes]
    assert counts[0] == counts[1] == counts[2], "every pass computes the same"
    modules = {span.name for span in passes[0].lanes[0].spans if span.module}
    assert "stages.0.layers.0.attention" in modules
    assert modules <= {name for name, _ in trial.network.named_modules()}


def test_the_trace_names_no_machine_and_no_folder(reading: Reading) -> None:
    text = gzip.decompress(reading.artifacts[traces.ROLE]).decode()
    assert not {"host_name", "traceName"} & json.loads(text).keys()
    assert str(Path.home()) not in text
    assert f'"{platform.node()}"' not in text


def test_the_network_is_left_as_it_was(reading: Reading, trial: Trial) -> None:
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in trial.network.modules())


def test_a_trace_above_the_limit_holds_fewer_passes(
    reading: Reading, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "LARGEST_BYTES", len(reading.artifacts[traces.ROLE]) // 2)
    smaller = METRIC.measure(trial)
    assert len(traces.read(smaller.artifacts[traces.ROLE])) == 1
    assert any(note.startswith(f"1 of {PASSES} passes traced") for note in smaller.notes)


def test_a_trace_of_one_pass_above_the_limit_is_not_kept_and_its_numbers_are(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "LARGEST_BYTES", 100)
    bare = METRIC.measure(trial)
    assert bare.artifacts == {}
    assert "the trace was not kept" in bare.notes[-1]
    assert len(samples(bare, "profile.cpu.share")) == TOP


def test_an_interpreter_has_no_profile() -> None:
    assert METRIC.unsupported(CELL.model_copy(update={"backend": "triton"})) == "interpreter: not its profile"
    assert METRIC.unsupported(CELL.model_copy(update={"backend": "triton", "device": "cuda"})) is None
    assert METRIC.unsupported(CELL) is None


def test_no_other_metric_runs_in_a_process_that_has_profiled() -> None:
    assert METRIC.fresh_process


def test_kernels_of_a_device_are_measured_beside_its_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    def event(name: str, category: str, start: float, length: float, thread: int) -> Any:
        where = {"pid": 0, "tid": thread, "ts": start, "dur": length}
        return {"ph": "X", "cat": category, "name": name, **where}

    events = [
        event("ProfilerStep#2", "user_annotation", 0, 100, 1),
        event("cudaLaunchKernel", "cuda_runtime", 10, 10, 1),
        event("softmax", "kernel", 30, 20, 9),
    ]
    content = gzip.compress(json.dumps({"traceEvents": events}).encode())
    monkeypatch.setattr(profile, "_trace", lambda trial, count: content)
    found = METRIC.measure(SimpleNamespace(notes=()))  # type: ignore[arg-type]
    assert samples(found, "profile.device.share") == {"softmax": 1.0}
    assert samples(found, "profile.cpu.share") == {traces.OUTSIDE: 0.9, "cudaLaunchKernel": 0.1}
