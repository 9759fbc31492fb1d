from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from harness.contest import clock
from harness.contest.clock import LEAST, Call, HostClock, Series, Work, side_by_side
from harness.contest.interval import median_interval
from harness.record import Timing

TIMING = Timing(warmup_ms=0, sample_ms=0.5, samples=10, cap_ms=300)


@pytest.fixture(autouse=True)
def _small_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "FLUSH_BYTES", 1024)


def sleeping(name: str, seconds: float) -> Work:
    return Work(name, (lambda: lambda: time.sleep(seconds),))


def of(series: list[Series], name: str, temperature: str) -> Series:
    return next(each for each in series if (each.name, each.temperature) == (name, temperature))


def test_contenders_share_blocks_and_a_slow_one_takes_part_in_fewer() -> None:
    works = [sleeping("quick", 2e-4), sleeping("slow", 2e-2)]
    found, conditions = side_by_side(works, TIMING, HostClock(), seed=3, condition=lambda: {"power": 1.0})
    assert {(each.name, each.temperature) for each in found} == {
        (name, at) for name in ("quick", "slow") for at in ("hot", "cold")
    }
    quick, slow = of(found, "quick", "hot"), of(found, "slow", "hot")
    assert quick.blocks == list(range(len(conditions)))
    assert LEAST <= len(slow.times_ms) < len(quick.times_ms)
    assert set(slow.blocks) <= set(quick.blocks)
    assert min(slow.times_ms) >= 20
    assert 0.2 <= min(quick.times_ms) < 20
    assert conditions[0] == {"power": 1.0}


def test_a_single_part_is_made_ready_once_and_several_for_each_call() -> None:
    def counted(log: list[str]) -> Callable[[], Call]:
        def making_ready() -> Call:
            log.append("ready")
            return lambda: log.append("call")

        return making_ready

    one: list[str] = []
    several: list[str] = []
    works = [Work("one", (counted(one),)), Work("several", (counted(several), counted(several)))]
    side_by_side(works, TIMING.model_copy(update={"cap_ms": 1}), HostClock(), seed=0, condition=dict)
    assert one.count("ready") == 1
    assert several == ["ready", "call"] * (len(several) // 2)
    assert len(several) % 4 == 0


def test_a_series_ends_when_its_median_is_known() -> None:
    steady = Series("a", "hot", times_ms=[1.0] * 30, load_ms=500.0)
    assert steady.settled(Timing(samples=30))
    assert not steady.settled(Timing(samples=31))
    assert not Series("a", "hot", times_ms=[1.0] * 30, load_ms=499.0).settled(Timing(samples=30))
    assert Series("a", "cold", times_ms=[1.0] * 30).settled(Timing(samples=30))
    assert not Series("a", "cold", times_ms=[1.0, 1.1] * 15).settled(Timing(samples=30))


def test_the_interval_of_a_median_is_between_two_samples() -> None:
    assert median_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert median_interval([float(i) for i in range(100)]) == (37.0, 62.0)
    assert median_interval([5.0]) == (5.0, 5.0)
