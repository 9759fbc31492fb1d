"""Traces read without torch: from events of the profiler's form, whole, nested, foreign and damaged."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import traces
from harness.traces import OUTSIDE, Operator, TraceError, operators, quickest, read


def event(name: str, start: float, length: float, category: str = "cpu_op", thread: int = 7, **more: Any) -> Any:
    return {"ph": "X", "cat": category, "name": name, "pid": 1, "tid": thread, "ts": start, "dur": length, **more}


def step(number: int, start: float, length: float) -> Any:
    return event(f"ProfilerStep#{number}", start, length, "user_annotation")


def packed(*events: Any) -> bytes:
    return gzip.compress(json.dumps({"schemaVersion": 1, "traceEvents": list(events)}).encode(), mtime=0)


def by_name(found: list[Operator]) -> dict[str, Operator]:
    return {operator.name: operator for operator in found}


def test_what_an_operator_takes_by_itself_leaves_out_what_lies_inside_it() -> None:
    content = packed(
        step(2, 100, 100),
        event("stages.0", 105, 80, "user_annotation"),
        event("aten::linear", 110, 50),
        event("aten::addmm", 120, 30),
        event("aten::addmm", 165, 10),
    )
    (one,) = read(content)
    (lane,) = one.lanes
    assert [(span.name, span.depth, span.own_us, span.module) for span in lane.spans] == [
        ("stages.0", 0, 20, True),
        ("aten::linear", 1, 20, False),
        ("aten::addmm", 2, 30, False),
        ("aten::addmm", 1, 10, False),
    ]
    found = by_name(operators(one, "cpu"))
    assert (found["aten::addmm"].own_us, found["aten::addmm"].calls) == (40, 2)
    assert found[OUTSIDE] == Operator(name=OUTSIDE, own_us=40.0, share=0.4, calls=0)
    assert operators(one, "device") == []


def test_passes_keep_their_own_events_and_the_shortest_is_the_quickest() -> None:
    passes = read(packed(step(2, 0, 30), event("a", 1, 9), step(3, 40, 20), event("b", 41, 2), event("late", 60, 5)))
    assert [[span.name for lane in each.lanes for span in lane.spans] for each in passes] == [["a"], ["b"]]
    assert quickest(passes) is passes[1]


def test_kernels_lie_in_lanes_of_their_device_with_shares_of_their_own() -> None:
    (one,) = read(
        packed(
            step(2, 0, 100),
            event("cudaLaunchKernel", 10, 5, "cuda_runtime"),
            event("softmax", 20, 30, "kernel", thread=20, pid=0),
            event("Memcpy HtoD", 60, 10, "gpu_memcpy", thread=21, pid=0),
            event("stages.0", 20, 50, "gpu_user_annotation", thread=20, pid=0),
            event("aten::add", 30, 10, thread=8),
        )
    )
    titles = ["main thread", "thread 8", "device 0, stream 20", "device 0, stream 21"]
    assert [lane.title for lane in one.lanes] == titles
    assert [(each.name, each.share) for each in operators(one, "device")] == [("softmax", 0.75), ("Memcpy HtoD", 0.25)]
    assert by_name(operators(one, "cpu"))[OUTSIDE].own_us == 95, "another thread is not the one that ran the pass"


def test_a_span_that_rounding_lets_outlast_its_holder_is_cut() -> None:
    (one,) = read(packed(step(2, 0, 10), event("outer", 1, 5), event("inner", 3, 3.001)))
    outer, inner = one.lanes[0].spans
    assert (outer.own_us, inner.length_us) == (2, 3)


INTERVALS = st.tuples(st.integers(0, 999), st.integers(0, 500), st.sampled_from("abc"), st.sampled_from([7, 8]))


@given(st.lists(INTERVALS, min_size=1, max_size=30))
def test_shares_add_up_to_one_and_nothing_takes_longer_than_it_lasts(intervals: list[Any]) -> None:
    events = [event(name, start, length, thread=thread) for start, length, name, thread in intervals]
    (one,) = read(packed(step(1, 0, 2000), *events))
    assert sum(each.share for each in operators(one, "cpu")) == pytest.approx(1)
    for lane in one.lanes:
        assert sum(span.own_us for span in lane.spans) <= 2000
        assert all(0 <= span.own_us <= span.length_us for span in lane.spans)


WHOLE = packed(step(2, 0, 10), event("a", 1, 5))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no JSON"),
        (b"\x89PNG", "no JSON"),
        (WHOLE[:-12], "cannot be unpacked"),
        (WHOLE[:20] + b"\0" * 9 + WHOLE[29:], "cannot be unpacked"),
        (b"[" * 100_000, "no JSON"),
        (b'{"traceEvents": 7}', "lists no traceEvents"),
        (b"[]", "lists no traceEvents"),
        (packed(), "no pass"),
        (packed(event("a", 0, 5)), "no pass"),
        (packed(step(2, 0, 10)), "no pass"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value,
)
def test_a_damaged_or_foreign_file_is_refused_with_the_reason(content: bytes, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        read(content)


@pytest.mark.parametrize("strange", [{"ts": None}, {"dur": "3"}, {"ts": float("nan")}, {"dur": -1}, {"ts": 10**400}])
def test_events_that_say_no_time_are_passed_by(strange: dict[str, Any]) -> None:
    (one,) = read(packed(step(2, 0, 10), event("a", 1, 5), event("b", 2, 2) | strange, 7, None, {"ph": "X"}))
    assert [span.name for span in one.lanes[0].spans] == ["a"]


def test_a_trace_that_unpacks_to_too_much_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "LARGEST_BYTES", 2**20)
    with pytest.raises(TraceError, match="more than 1 MiB"):
        read(gzip.compress(b" " * 2**24))


def test_a_pass_without_operators_is_all_outside() -> None:
    (one,) = read(packed(step(2, 0, 3), event("a", 9, 1)))
    assert operators(one, "cpu") == [Operator(name=OUTSIDE, own_us=3.0, share=1.0, calls=0)]


def test_reading_traces_needs_no_torch() -> None:
    code = "import sys, harness.traces, harness.tensorboard, reports.traces; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
