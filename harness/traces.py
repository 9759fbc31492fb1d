"""Traces of torch's profiler, read without torch: how long each operator took by itself, pass by pass."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

ROLE = "trace"
"""Of the artifact."""
SUFFIX = ".pt.trace.json.gz"
"""What names of trace files end with, so that TensorBoard's profiler plugin lists them."""
OUTSIDE = "outside operators"
"""Stands for the time of a pass in which its thread ran no operator: Python, mostly."""
LARGEST_BYTES = 2**28
"""A trace that unpacks to more is not read."""

Side = Literal["cpu", "device"]
SIDES: tuple[Side, ...] = ("cpu", "device")

_PASS = "ProfilerStep#"
_OPERATOR, _MODULE, _ON_DEVICE = "operator", "module", "on device"
_KINDS = {
    "cpu_op": _OPERATOR,
    "cuda_runtime": _OPERATOR,
    "cuda_driver": _OPERATOR,
    "user_annotation": _MODULE,
    "kernel": _ON_DEVICE,
    "gpu_memcpy": _ON_DEVICE,
    "gpu_memset": _ON_DEVICE,
}
"""The profiler's categories of what is read; all others tell the same once more, or are marks without a length."""
_LATEST_US = 1e18
"""Any time of a trace lies before it, and keeps its microseconds as a floating-point number."""


class TraceError(ValueError):
    """A file cannot be read as a trace of passes; the message says what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """An operator, a kernel, or a module that holds operators, while it ran."""

    name: str
    start_us: float
    """From the start of its pass, in microseconds."""
    length_us: float
    own_us: float
    """Its length without the spans inside it."""
    depth: int
    """How many spans of its lane it lies in."""
    module: bool = False
    """True for a part of the network, whose own time belongs to no operator."""


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A thread, or a stream of a device."""

    title: str
    side: Side
    spans: tuple[Span, ...]
    """By start; of those that start together the outer one first."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One forward pass."""

    length_us: float
    lanes: tuple[Lane, ...]
    """First the thread that ran the pass, then other threads, then streams."""


@dataclass(frozen=True, kw_only=True)
class Operator:
    """What an operator, or a kernel, took by itself in a pass."""

    name: str
    own_us: float
    """Its time without that of the operators inside it, in microseconds."""
    share: float
    """Of the time of its side, 0..1: the pass, or all threads together, or all that ran on the device."""
    calls: int


def read(content: bytes) -> tuple[Pass, ...]:
    """Return the passes of a trace: its JSON, packed with gzip or not. Raises `TraceError`."""
    events = list(_events(content))
    steps = [event for event in events if event.name.startswith(_PASS)]
    threads: dict[tuple[str, str], list[_Event]] = defaultdict(list)
    for event in events:
        if not event.name.startswith(_PASS):
            threads[event.thread].append(event)
    if not steps or not threads:
        raise TraceError("it holds no pass of a network")
    return tuple(_pass(step, threads) for step in sorted(steps, key=lambda step: step.start_us))


def quickest(passes: Sequence[Pass]) -> Pass:
    """Return the pass that other work on the machine disturbed least."""
    return min(passes, key=lambda each: each.length_us)


def operators(of: Pass, side: Side) -> list[Operator]:
    """Return what ran on a side, the longest first; the shares add up to 1. Empty where nothing ran."""
    own_us: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    lanes = [lane for lane in of.lanes if lane.side == side]
    for span in (span for lane in lanes for span in lane.spans if not span.module):
        own_us[span.name] += span.own_us
        calls[span.name] += 1
    if side == "cpu":
        inside = sum(span.own_us for span in lanes[0].spans if not span.module)
        own_us[OUTSIDE] = max(of.length_us - inside, 0.0)
    total = sum(own_us.values()) or 1.0
    found = (Operator(name=name, own_us=time, share=time / total, calls=calls[name]) for name, time in own_us.items())
    return sorted(found, key=lambda operator: (-operator.own_us, operator.name))


@dataclass(frozen=True, kw_only=True)
class _Event:
    """What the trace says of a span."""

    name: str
    kind: str
    thread: tuple[str, str]
    """Process and thread, or device and stream."""
    start_us: float
    length_us: float

    @property
    def end_us(self) -> float:
        return self.start_us + self.length_us


def _events(content: bytes) -> Iterator[_Event]:
    """Yield the events that have a length and a kind. Raises `TraceError`."""
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(LARGEST_BYTES + 1)
        listed = json.loads(content) if len(content) <= LARGEST_BYTES else None
    except (OSError, EOFError, zlib.error):
        raise TraceError("it is damaged and cannot be unpacked") from None
    except (ValueError, RecursionError):
        raise TraceError("it is damaged, for it is no JSON") from None
    if len(content) > LARGEST_BYTES:
        raise TraceError(f"it unpacks to more than {LARGEST_BYTES // 2**20} MiB")
    match listed:
        case {"traceEvents": [*raw]}:
            pass
        case _:
            raise TraceError("it is none of torch's profiler, for it lists no traceEvents")
    for each in raw:
        match each:
            case {
                "ph": "X",
                "name": str() as name,
                "cat": str() as category,
                "ts": int() | float() as start,
                "dur": int() | float() as length,
                "pid": pid,
                "tid": tid,
            } if category in _KINDS and 0 <= start < _LATEST_US and 0 <= length < _LATEST_US:
                yield _Event(
                    name=name,
                    kind=_KINDS[category],
                    thread=(str(pid), str(tid)),
                    start_us=float(start),
                    length_us=float(length),
                )


def _pass(step: _Event, threads: Mapping[tuple[str, str], Sequence[_Event]]) -> Pass:
    lanes = {("cpu", step.thread): Lane(title="main thread", side="cpu", spans=())}
    for thread, events in sorted(threads.items()):
        here = [event for event in events if step.start_us <= event.start_us < step.end_us]
        on_device = [event for event in here if event.kind == _ON_DEVICE]
        on_cpu = [event for event in here if event.kind != _ON_DEVICE]
        if on_cpu:
            title = "main thread" if thread == step.thread else f"thread {thread[1]}"
            lanes["cpu", thread] = Lane(title=title, side="cpu", spans=tuple(_nested(on_cpu, step.start_us)))
        if on_device:
            title = f"device {thread[0]}, stream {thread[1]}"
            lanes["device", thread] = Lane(title=title, side="device", spans=tuple(_nested(on_device, step.start_us)))
    return Pass(length_us=step.length_us, lanes=tuple(sorted(lanes.values(), key=lambda lane: lane.side == "device")))


def _nested(events: Iterable[_Event], begin_us: float) -> list[Span]:
    """Return events of one thread as spans inside spans; one that ends after what holds it ends with that instead."""
    ordered = sorted(events, key=lambda event: (event.start_us, -event.length_us))
    ends_us: list[float] = []
    inside_us = [0.0] * len(ordered)
    depths = []
    holding: list[int] = []
    for index, event in enumerate(ordered):
        while holding and ends_us[holding[-1]] <= event.start_us:
            holding.pop()
        depths.append(len(holding))
        ends_us.append(min(event.end_us, ends_us[holding[-1]]) if holding else event.end_us)
        if holding:
            inside_us[holding[-1]] += ends_us[index] - event.start_us
        holding.append(index)
    return [
        Span(
            name=event.name,
            start_us=event.start_us - begin_us,
            length_us=end - event.start_us,
            own_us=max(end - event.start_us - inside, 0.0),
            depth=depth,
            module=event.kind == _MODULE,
        )
        for event, end, inside, depth in zip(ordered, ends_us, inside_us, depths, strict=True)
    ]
