"""The page of imported benchmarks: whose times they are, a row for each, and every name as plain text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from harness.pytest_benchmark import METRIC
from harness.record import Cell, Environment, Imported, Measured, Measurement, Record
from reports.document import Code, Details, Document, Entry, Facts, Table
from reports.pages.benchmarks import build
from reports.renderers.html import render
from reports.renderers.markdown import render as markdown

THEIRS = Environment(
    machine_class="1111222233334444",
    cpu="Their CPU 9000",
    cores=64,
    memory_gib=None,
    system="Linux 5.15",
    device="unknown",
    python="3.12.1",
    versions={"pytest-benchmark": "5.3.1"},
)
WILD = "<script>alert('1')</script> \"100 %\" {{x}} [b] \\ `c` *d* &amp;"

Make = Callable[..., Any]


def about(group: str = "sums", **changes: Any) -> Imported:
    common = {"program": "pytest-benchmark 5.3.1", "project": "theirs", "branch": "feature", "clock": "perf_counter"}
    return Imported.model_validate({**common, "group": group, "params": {}, "extra_info": {}, **changes})


def times(*, seconds: float = 0.002, rounds: int = 4, data: Sequence[float] = (), stddev: float = 0.0001) -> Measured:
    statistics = {"min": 0.9, "max": 1.2, "mean": 1.05, "median": 1.0, "q1": 0.95, "q3": 1.1, "iqr": 0.15}
    found = [Measurement(name="time", unit="s", samples=tuple(data))] if data else []
    found += [Measurement(name=f"time.{name}", unit="s", samples=(seconds * x,)) for name, x in statistics.items()]
    found += [Measurement(name="time.stddev", unit="s", samples=(stddev,))]
    counts = {"rounds": rounds, "iterations": 5}
    return Measured(measurements=(*found, *(Measurement(name=k, unit="1", samples=(n,)) for k, n in counts.items())))


def page(
    make_record: Make, make_sweep: Make, *cases: tuple[str, Measured, Imported]
) -> tuple[Document, Sequence[Record]]:
    records = [
        make_record(
            Cell(model="none", task="none", dataset="none", setting="none", benchmark=name),
            METRIC,
            outcome,
            imported=imported,
            environment=THEIRS,
            commit="deadbeef" * 5,
            dirty=True,
        )
        for name, outcome, imported in cases
    ]
    sweep = make_sweep(records, question="How long do the benchmarks of sums.json take?", name="sums")
    return build(sweep.records, sweep.plan), records


def table_of(document: Document, section: int = 0) -> Table:
    found = document.sections[section].blocks[0]
    assert isinstance(found, Table)
    return found


def facts_of(document: Document) -> dict[str, str]:
    found = document.lead[0]
    assert isinstance(found, Facts)
    return dict(found.items)


def row(table: Table, place: int = 0) -> dict[str, Entry]:
    rows = [row for group in table.groups for row in group.rows]
    return dict(zip([column.label for column in table.columns], rows[place].entries, strict=True))


def test_a_row_holds_the_statistics_of_the_file_in_a_unit_that_fits(make_record: Make, make_sweep: Make) -> None:
    params = about(params={"count": 10, "how": "fast", "flags": [True, None]})
    document, _ = page(make_record, make_sweep, ("tests/test_sums.py::test_sum[10]", times(), params))
    table = table_of(document)
    assert table.groups[0].title == "tests/test_sums.py"
    found = row(table)
    shown = {name: entry.text for name, entry in found.items()}
    assert shown == {
        "benchmark": "test_sum[10]",
        "params": "count=10, how=fast, flags=[true, null]",
        "rounds": "4",
        "min": "1.800",
        "mean": "2.100",
        "median": "2.000",
        "stddev": "0.100",
        "iqr": "0.300",
        "samples": "statistics only",
    }
    assert {column.unit for column in table.columns} == {"", "ms"}
    assert found["mean"].detail == "4 rounds of 5 calls"
    assert "--benchmark-json" in found["samples"].reason


def test_rounds_that_the_file_holds_are_shown_with_their_shares(make_record: Make, make_sweep: Make) -> None:
    data = [1e-6 * (1 + i % 7) for i in range(150)]
    document, _ = page(make_record, make_sweep, ("a.py::test_a", times(seconds=4e-6, rounds=150, data=data), about()))
    assert row(table_of(document))["samples"].text == "150"
    folded = document.sections[0].blocks[1]
    assert isinstance(folded, Details)
    shares, _, listed = folded.blocks
    assert isinstance(shares, Table)
    assert isinstance(listed, Code)
    assert [entry.text for entry in row(shares).values()][1:] == ["1.000", "2.000", "4.000", "6.000", "7.000"]
    assert listed.text.startswith("test_a:  1.000  2.000  3.000")
    assert listed.text.endswith("  … 50 more")
    assert len(re.findall(r"\d\.\d{3}", listed.text)) == 100


def test_a_group_is_a_section_with_its_own_unit(make_record: Make, make_sweep: Make) -> None:
    cases = [
        ("a.py::test_ns", times(seconds=3e-9), about("tiny")),
        ("a.py::test_s", times(seconds=3.0), about("")),
        ("b.py::test_us", times(seconds=3e-6), about("tiny")),
        ("test_without_a_file", times(seconds=0.0), about("zero")),
    ]
    document, _ = page(make_record, make_sweep, *cases)
    assert [section.title for section in document.sections] == ["tiny", "Without a group", "zero", "Cells"]
    assert [group.title for group in table_of(document).groups] == ["a.py", "b.py"]
    assert [table_of(document, i).columns[3].unit for i in range(3)] == ["ns", "s", "s"]
    assert row(table_of(document), 1)["median"].text == "3,000.000"
    assert row(table_of(document, 2))["benchmark"].text == "test_without_a_file"


def test_one_round_has_no_spread(make_record: Make, make_sweep: Make) -> None:
    document, _ = page(make_record, make_sweep, ("a.py::test_a", times(rounds=1, stddev=0.0), about()))
    found = row(table_of(document))
    assert {found[name].reason for name in ("stddev", "iqr")} == {"one round: it shows no spread"}
    assert found["mean"].value == 2.1


def test_machine_and_commit_are_said_to_be_theirs(make_record: Make, make_sweep: Make) -> None:
    document, (record,) = page(make_record, make_sweep, ("a.py::test_a", times(), about(clock="gate_clock")))
    said = facts_of(document)
    assert said["machine"] == "Their CPU 9000, 64 cores"
    assert said["commit"] == "deadbeefde (dirty) of theirs, branch feature"
    assert said["timed by"] == "pytest-benchmark 5.3.1, gate_clock"
    html = render(document, artifact=lambda name: b"")
    assert "another program took these times" in html
    assert f'id="cell-{record.cell.id}"' in html
    assert f'href="#cell-{record.cell.id}"' in html
    unversioned = record.model_copy(update={"commit": "unknown"})
    document = build({record.key: unversioned}, make_sweep([record]).plan)
    assert facts_of(document)["commit"] == "unknown of theirs"


def test_every_name_is_plain_text(make_record: Make, make_sweep: Make) -> None:
    wild = about(WILD, params={WILD: WILD}, extra_info={"why": {WILD: 1}}, project=WILD, branch=WILD, clock=WILD)
    document, _ = page(make_record, make_sweep, (f"a.py::test[{WILD}]", times(data=[0.002] * 4), wild))
    html = render(document, artifact=lambda name: b"")
    plain = render(
        page(make_record, make_sweep, ("a.py::test", times(data=[0.002] * 4), about()))[0], artifact=lambda name: b""
    )
    assert html.count("<script") == plain.count("<script")
    assert html.count("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;") > 8
    assert "{{x}}" in html
    text = markdown(document)
    outside = re.sub(r"^```\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert len(outside) < len(text)
    assert "<script" not in outside.replace("\\<script", "")
    assert text.count("\\[b]") > 3
    assert row(table_of(document))["benchmark"].text == f"test[{WILD}]"


def test_a_long_value_is_cut_and_a_missing_record_is_said_to_be(make_record: Make, make_sweep: Make) -> None:
    cases = [("a.py::test_a", times(), about(params={"x": "y" * 500})), ("a.py::test_b", times(), about())]
    document, (first, second) = page(make_record, make_sweep, *cases)
    assert row(table_of(document))["params"].text == f"x={'y' * 79}…"
    sweep = make_sweep([first, second])
    document = build({first.key: first}, sweep.plan)
    assert [section.title for section in document.sections] == ["sums", "Without a group", "Cells"]
    assert row(table_of(document, 1))["median"].reason == "not run yet"


def test_records_of_this_program_have_no_row_of_numbers_here(make_record: Make, make_sweep: Make) -> None:
    cell = Cell(model="semanir/small", task="denoise", dataset="bundled", setting="sigma=25")
    latency = Measured(measurements=(Measurement(name="latency", unit="ms", samples=(7.0,)),))
    sweep = make_sweep([make_record(cell, "latency", latency)])
    document = build(sweep.records, sweep.plan)
    assert row(table_of(document))["median"].reason == "not asked for"
