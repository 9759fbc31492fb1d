"""The clock of whole passes: warm-up, synchronise, repeat. Contenders side by side have `harness.contest.clock`."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from harness.record import Timing
from semanir.attention.problem import DeviceKind


def latencies_ms(call: Callable[[], Any], timing: Timing, device: DeviceKind) -> list[float]:
    """Return `timing.samples` times of one call in milliseconds, each the mean over a run of about `sample_ms`.

    The garbage collector is off and torch has `timing.threads` threads while samples are taken. On a CUDA
    device the queue is drained before and after each sample.
    """
    with undisturbed(timing):
        once_ms = _warm_up(call, timing, device)
        repeats = max(1, math.ceil(timing.sample_ms / once_ms))
        return [_elapsed_ms(call, repeats, device) for _ in range(timing.samples)]


@contextmanager
def undisturbed(timing: Timing) -> Iterator[None]:
    """Keep the garbage collector off and torch at `timing.threads` threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(timing.threads)
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
        torch.set_num_threads(threads)


def _warm_up(call: Callable[[], Any], timing: Timing, device: DeviceKind) -> float:
    """Run until the load lasted `warmup_ms`, twice at least; return the last time of one call."""
    spent, once, calls = 0.0, math.inf, 0
    while calls < 2 or spent < timing.warmup_ms:
        once = _elapsed_ms(call, 1, device)
        spent += once
        calls += 1
    return max(once, 1e-3)


def _elapsed_ms(call: Callable[[], Any], repeats: int, device: DeviceKind) -> float:
    _drain(device)
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    _drain(device)
    return (time.perf_counter() - start) * 1e3 / repeats


def _drain(device: DeviceKind) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
