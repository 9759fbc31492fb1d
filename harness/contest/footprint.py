"""What a call takes of a device's memory while it runs."""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile

from harness.contest.clock import Call
from semanir.attention.problem import DeviceKind


def peak_mib(call: Call, device: DeviceKind) -> float:
    """Return the most that tensors take at a time, above what was there before and what the call returns.

    Torch's allocator is asked; what a library keeps for itself (a workspace of a matrix product) is not in it.
    """
    peak = _cuda_peak_bytes(call) if device == "cuda" else _cpu_peak_bytes(call)
    return peak / 2**20


def _cuda_peak_bytes(call: Call) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    result = call()
    torch.cuda.synchronize()
    peak, after = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
    del result
    return peak - after


def _cpu_peak_bytes(call: Call) -> int:
    """Add up what the allocator gave and took back, in order: it keeps no high-water mark of its own."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        result = call()
    del result
    live = peak = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak - live
