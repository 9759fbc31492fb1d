"""Profiles on a page: tables of operators, the timeline, and what is said where a trace cannot be read."""

from __future__ import annotations

import gzip
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import pytest

from harness.record import Cell, Measured, Measurement, Record
from harness.traces import Lane, Pass, Span, quickest, read
from reports.document import Block, Details, Document, Table, Text, Timeline
from reports.renderers import timelines
from reports.renderers.timelines import WIDTH
from reports.traces import timeline

MEASURED = Measured(
    measurements=tuple(
        Measurement(name=f"profile.cpu.{name}", unit="1", samples=samples, labels=("aten::bmm", "outside operators"))
        for name, samples in {"time": (60.0, 40.0), "share": (0.6, 0.4), "calls": (3.0, 0.0)}.items()
    )
)


def event(name: str, start: float, length: float, category: str = "cpu_op", **more: Any) -> Any:
    return {"ph": "X", "cat": category, "name": name, "pid": 1, "tid": 7, "ts": start, "dur": length, **more}


def packed(*events: Any) -> bytes:
    step = event("ProfilerStep#2", 0, 1000, "user_annotation")
    return gzip.compress(json.dumps({"traceEvents": [step, *events]}).encode(), mtime=0)


TRACE = packed(
    event("stages.0", 50, 900, "user_annotation"),
    event("aten::linear", 100, 400),
    event("aten::addmm", 110, 380),
    event("aten::bmm", 600, 300),
)


@pytest.fixture
def page(make_record: Callable[..., Record], make_sweep: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes a sweep of profiled cells, of whose traces some may be gone."""

    def make(*contents: bytes | None) -> Any:
        sweep = make_sweep(())
        records = []
        for top_k, content in enumerate(contents, start=1):
            cell = Cell(
                model="semanir/small",
                task="denoise",
                dataset="bundled",
                setting="sigma=25",
                top_k=top_k,
                backend="mask",
            )
            artifacts = {} if content is None else {"trace": sweep.keep(content)}
            records.append(make_record(cell, "profile", MEASURED, artifacts=artifacts))
        whole = make_sweep(records)
        whole.files = sweep.files
        return whole

    return make


def profile_of(document: Document) -> Details:
    blocks = next(section for section in document.sections if section.title == "denoise").blocks
    return next(each for each in blocks if isinstance(each, Details) and each.title.startswith("Where the time"))


def inside(block: Block) -> list[Block]:
    return [each for part in block.blocks for each in inside(part)] if isinstance(block, Details) else [block]


def rows(table: Table) -> list[list[str]]:
    return [[entry.text for entry in row.entries] for group in table.groups for row in group.rows]


def test_a_profiled_cell_shows_its_operators_and_its_pass(page: Callable[..., Any]) -> None:
    folded = profile_of(page(TRACE).document())
    assert folded.count == "1 cell"
    assert not folded.open
    words, table, drawn = inside(folded)
    assert isinstance(words, Text)
    assert "Times on a CPU are informative" in words.text
    assert isinstance(table, Table)
    assert rows(table) == [
        ["aten::addmm", "38.0", "1"],
        ["aten::bmm", "30.0", "1"],
        ["outside operators", "30.0", ""],
        ["aten::linear", "2.0", "1"],
    ]
    assert isinstance(drawn, Timeline)
    assert drawn.keys == (("addmm", 0), ("bmm", 1), ("linear", 2), ("other operators", 7))


def test_no_column_and_no_block_where_nothing_was_profiled(whole: Any, page: Callable[..., Any]) -> None:
    assert "Where the time of a pass goes" not in whole.html()
    section = next(each for each in page(TRACE).document().sections if each.title == "denoise")
    table = next(each for each in section.blocks if isinstance(each, Table))
    assert [column.label for column in table.columns] == ["backend", "cell"]


def test_several_cells_are_folded_one_by_one_and_the_first_are_drawn(page: Callable[..., Any]) -> None:
    cells = [each for each in profile_of(page(*[TRACE] * 8).document()).blocks if isinstance(each, Details)]
    assert [each.title for each in cells] == [f"k {top_k}" for top_k in range(1, 9)]
    assert {each.count for each in cells} == {"bmm 60 %, outside operators 40 %"}
    drawn = [any(isinstance(block, Timeline) for block in each.blocks) for each in cells]
    assert drawn == [True] * 6 + [False] * 2
    assert all(any(isinstance(block, Table) for block in each.blocks) for each in cells)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "its trace was too large to be kept"),
        (TRACE[:-9], "cannot be read, for it is damaged"),
        (b'{"traceEvents": []}', "cannot be read, for it holds no pass"),
        (b"", "is missing from the store"),
    ],
)
def test_a_trace_that_cannot_be_read_leaves_the_numbers_of_the_record(
    page: Callable[..., Any], content: bytes | None, message: str
) -> None:
    _, said, table = inside(profile_of(page(content).document()))
    assert isinstance(said, Text)
    assert said.tone == "warning"
    assert message in said.text
    assert isinstance(table, Table)
    assert rows(table) == [["aten::bmm", "60.0", "3"], ["outside operators", "40.0", ""]]


def test_kernels_of_a_device_have_a_table_of_their_own(page: Callable[..., Any]) -> None:
    kernel = (
        "void at::native::(anonymous namespace)::softmax_warp_forward<float, float, float, 6, false, false>(float*)"
    )
    content = packed(event("aten::softmax", 0, 9), event(kernel, 20, 50, "kernel", pid=0))
    _, cpu, device, drawn = inside(profile_of(page(content).document()))
    assert isinstance(cpu, Table)
    assert isinstance(device, Table)
    ((name, share, calls),) = rows(device)
    assert (len(name), share, calls) == (90, "100.0", "1")
    assert isinstance(drawn, Timeline)
    assert [lane.title for lane in drawn.lanes] == ["main thread", "device 0, stream 7"]
    assert drawn.keys[0] == ("softmax_warp_forward", 0)


def test_names_from_a_trace_are_escaped(page: Callable[..., Any]) -> None:
    html = page(packed(event('<script>"&', 0, 900), event("m", 0, 950, "user_annotation"))).html()
    assert "<script>&#34;" not in html
    assert '<script>"&amp;' not in html
    assert html.count("<script>") == 1, "the page's own"


# The timeline


def drawn(*spans: Span, length: float = 1000.0) -> tuple[Timeline, ElementTree.Element]:
    made = timeline(Pass(length_us=length, lanes=(Lane(title="main thread", side="cpu", spans=spans),)))
    return made, ElementTree.fromstring(timelines.draw(made))


def span(name: str, start: float, length: float, **more: Any) -> Span:
    times = {"start_us": float(start), "length_us": float(length), "own_us": float(length)}
    return Span(name=name, **{**times, "depth": 0, **more})


def boxes(svg: ElementTree.Element) -> list[dict[str, str]]:
    return [each.attrib for each in svg.iter("rect")]


def test_a_span_stands_where_it_was_and_says_what_it_is() -> None:
    made, svg = drawn(span("aten::bmm", 250, 500))
    (box,) = boxes(svg)
    assert float(box["x"]) + float(box["width"]) / 2 == pytest.approx(WIDTH / 2, abs=0.2)
    assert "aten::bmm: 50 % of the pass, 50 % by itself" in [title.text for title in svg.iter("title")]
    assert [text.text for text in svg.iter("text") if text.attrib["class"] == "label on-s0"] == ["bmm"]
    assert made.axis.unit == "%"


def test_what_only_holds_others_has_no_colour_of_its_own() -> None:
    module = span("stages.0", 0, 1000, own_us=10.0, module=True)
    holder, inner = span("aten::linear", 0, 900, own_us=9.0, depth=1), span("aten::addmm", 5, 891, depth=2)
    made, svg = drawn(module, holder, inner)
    assert [each.style for each in made.lanes[0].spans] == [None, None, 0]
    assert len({box["y"] for box in boxes(svg)}) == 3


def test_short_neighbours_are_joined_and_named_by_number() -> None:
    short = [span("aten::view" if i % 3 else "aten::t", 100 + 0.1 * i, 0.1) for i in range(9)]
    made, _ = drawn(*short, span("aten::bmm", 101, 100), span("aten::t", 300, 0.1))
    joined, whole, alone = made.lanes[0].spans
    assert (joined.label, whole.label, alone.label) == ("", "bmm", "t")
    assert joined.detail == "9 short ones, 0.09 % of the pass: view ×6, t ×3"
    assert (joined.start, joined.length) == pytest.approx((10.0, 0.09))
    assert joined.style == dict(made.keys)["view"], "the colour of what takes most of it"


def test_a_short_one_alone_keeps_its_name_and_can_be_seen() -> None:
    made, svg = drawn(span("aten::view", 100, 0.01))
    assert made.lanes[0].spans[0].label == "view"
    assert float(boxes(svg)[0]["width"]) == 0.5


def test_however_many_spans_there_are_few_are_drawn_and_the_note_says_so() -> None:
    busy = [
        span(f"aten::op{i % 40}", i + 0.2, 0.6, own_us=0.6 * depth, depth=depth)
        for i in range(1000)
        for depth in (0, 1)
    ]
    made, svg = drawn(*busy, length=1000.0)
    assert 250 < len(boxes(svg)) <= 500
    assert "Neighbours below 0.4 % are joined" in made.note
    assert sum(each.length for each in made.lanes[0].spans if each.depth == 0) == pytest.approx(100, rel=0.1)


def test_rows_below_the_deepest_that_is_drawn_are_counted() -> None:
    deep = [span(f"op{depth}", 0, 1000, depth=depth) for depth in range(20)]
    made, svg = drawn(*deep)
    assert len(boxes(svg)) == 12
    assert "8 more rows below left out" in made.note


@pytest.mark.parametrize(
    ("label", "width", "shown"),
    [
        ("stages.0.layers.1.attention", 400, "stages.0.layers.1.attention"),
        ("stages.0.layers.1.attention", 120, "layers.1.attention"),
        ("stages.0.layers.1", 60, "layers.1"),
        ("stages.0.layers.1", 40, "laye…"),
        ("stages.0.layers.1", 20, None),
    ],
)
def test_a_name_is_shortened_to_its_box(label: str, width: int, shown: str | None) -> None:
    _, svg = drawn(span(label, 0, width, module=True), length=WIDTH - 24.0)
    assert next((text.text for text in svg.iter("text") if text.attrib["class"] == "label on-holder"), None) == shown


def test_nothing_lies_outside_of_the_drawing() -> None:
    _, svg = drawn(span("early", -5, 10), span("late", 990, 500))
    for box in boxes(svg):
        assert float(box["x"]) >= 0
        assert float(box["x"]) + float(box["width"]) <= WIDTH


def test_a_pass_of_no_length_is_drawn() -> None:
    one = quickest(read(packed(event("a", 1, 0))))
    assert ElementTree.fromstring(timelines.draw(timeline(Pass(length_us=0.0, lanes=one.lanes)))) is not None


def test_a_timeline_of_a_cell_adds_little_to_a_page(page: Callable[..., Any]) -> None:
    busy = [event(f"aten::op{i % 30}", i / 2.5, 0.3) for i in range(2500)]
    assert len(page(packed(*busy)).html()) - len(page(None).html()) < 120_000


@pytest.mark.parametrize("count", [float("nan"), float("inf"), float("-inf")])
def test_a_number_of_a_record_that_is_none_leaves_its_place_empty(page: Callable[..., Any], count: float) -> None:
    made = page(None)
    ((key, record),) = made.records.items()
    counts, shares = (3.0, count, 0.0), (0.6, 0.3, count)
    labels = ("aten::bmm", "aten::add", "outside operators")
    measured = Measured(
        measurements=tuple(
            Measurement(name=f"profile.cpu.{name}", unit="1", samples=samples, labels=labels)
            for name, samples in {"time": (60.0, 30.0, count), "share": shares, "calls": counts}.items()
        )
    )
    made.records = {key: record.model_copy(update={"outcome": measured})}
    *_, table = inside(profile_of(made.document()))
    assert isinstance(table, Table)
    assert rows(table) == [["aten::bmm", "60.0", "3"], ["aten::add", "30.0", ""], ["outside operators", "–", ""]]
    assert [row.entries[1].reason for row in table.groups[0].rows] == ["", "", "the record holds no number"]
    html = made.html()
    assert "nan" not in re.findall(r"<table.*?</table>", html, re.DOTALL)[0]


def test_a_headline_names_operators_with_a_share_alone(page: Callable[..., Any]) -> None:
    made = page(None, None)
    shares = Measurement(
        name="profile.cpu.share", unit="1", samples=(float("nan"), 0.4), labels=("aten::bmm", "outside operators")
    )
    measured = Measured(measurements=(MEASURED.measurements[0], shares))
    made.records = {key: each.model_copy(update={"outcome": measured}) for key, each in made.records.items()}
    cells = [each for each in profile_of(made.document()).blocks if isinstance(each, Details)]
    assert [each.count for each in cells] == ["outside operators 40 %"] * 2


def test_a_measurement_without_names_gives_no_table(page: Callable[..., Any]) -> None:
    made = page(None)
    ((key, record),) = made.records.items()
    bare = Measured(measurements=(Measurement(name="profile.cpu.time", unit="us", samples=(60.0, 40.0)),))
    made.records = {key: record.model_copy(update={"outcome": bare})}
    assert not [each for each in inside(profile_of(made.document())) if isinstance(each, Table)]
