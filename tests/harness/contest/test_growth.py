from __future__ import annotations

import time

import pytest
import torch

from harness.catalogs import METRICS
from harness.contest.footprint import peak_mib
from harness.contest.growth import ProcessorClock
from harness.metric import Reading
from harness.record import Cell, Measurement, Timing
from harness.trial import Trial

TIMING = Timing(warmup_ms=0, sample_ms=0.5, samples=2, cap_ms=1)


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling FlexAttention takes long. Setting CXX instead would last: torch reads it once in a process."""
    monkeypatch.setattr("semanir.attention.backends.flex.missing_compiler", lambda: "there is no compiler here")


@pytest.fixture
def reading() -> Reading:
    """Read it off 16 windows of 16 tokens."""
    return METRICS["growth"].measure(trial(top_k=8))


def trial(top_k: int) -> Trial:
    axes = {"model": "semanir/nano", "task": "denoise", "dataset": "bundled", "setting": "sigma=25", "backend": "sdpa"}
    cell = Cell.model_validate({**axes, "image_size": 32, "images": 1, "window": 4, "top_k": top_k})
    return Trial(cell, TIMING)


def by_name(reading: Reading) -> dict[str, Measurement]:
    return {each.name: each for each in reading.measurements}


def test_everybody_with_a_speed_here_is_timed_in_blocks_with_the_yardstick(reading: Reading) -> None:
    found = by_name(reading)
    for name in ("forward.hot.gather", "forward.hot.mask", "forward.hot.sdpa"):
        assert set(found[name].labels) <= set(found["forward.hot.yardstick"].labels)
        assert min(found[name].samples) > 0
    assert set(found["selection.hot.torch"].labels) <= set(found["selection.hot.yardstick"].labels)
    assert not any(".cold." in name for name in found)


def test_who_has_no_speed_here_is_counted_and_named(reading: Reading) -> None:
    assert "forward.triton: interpreter: not a speed" in reading.notes
    assert "selection.triton: interpreter: not a speed" in reading.notes
    assert any(note == "forward.flex: there is no compiler here" for note in reading.notes)
    found = by_name(reading)
    assert found["forward.useful.triton"].samples == (4.0 * 6 * 32 * 16 * 16 * 8,)
    assert "forward.hot.triton" not in found


def test_operations_and_memory_are_those_of_all_windows(reading: Reading) -> None:
    found = by_name(reading)
    pairs = 16 * 16**2
    assert found["forward.spent.mask"].samples == (4.0 * 6 * 32 * pairs,)
    assert found["forward.spent.gather"].samples == found["forward.useful.gather"].samples
    channels = found["selection.spent.torch"].samples[0] / (2 * pairs)
    assert channels == int(channels) > 0
    # Scores and weights of all pairs of all heads in float32 are alive together.
    assert found["forward.memory.mask"].samples[0] >= 2 * 6 * pairs * 4 / 2**20


def test_a_dictionary_of_all_keys_is_not_timed() -> None:
    reading = METRICS["growth"].measure(trial(top_k=16))
    assert "selection.torch: every key is kept: nothing to choose" in reading.notes
    assert not any(name.startswith("selection.") for name in by_name(reading))


def test_the_peak_is_above_what_was_there_and_what_is_returned() -> None:
    kept = torch.zeros(2**20)

    def call() -> torch.Tensor:
        for _ in range(3):
            scratch = kept + 1
            scratch = scratch * 2
        return scratch[:1].clone()

    # 4 MiB each: the sum of one turn is alive while its double is made, and the double of the turn before.
    assert peak_mib(call, "cpu") == pytest.approx(8, abs=0.01)
    assert peak_mib(lambda: kept + 1, "cpu") == pytest.approx(0, abs=0.01)


def test_the_processor_clock_does_not_count_waiting() -> None:
    elapsed, host = ProcessorClock().time(lambda: time.sleep(0.05), 2, lambda: None)
    assert elapsed == host < 20
    busy, _ = ProcessorClock().time(lambda: sum(range(300_000)), 1, lambda: None)
    assert busy > 0.5
