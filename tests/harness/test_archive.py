from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import archive
from harness.archive import ArchiveError
from harness.record import Cell, Environment, Failed, Measured, Measurement, Outcome, Record, Skipped
from harness.store import PlanEntry, ResultStore, StoredPlan

CELL = Cell(model="semanir/nano", task="denoise", dataset="bundled", setting="sigma=25", weights="topk-fixed-s0")
NAMES = tuple(f"image-{number:03}" for number in range(40))
DIGESTS = {name: f"{number:064x}" for number, name in enumerate(NAMES)}
ENVIRONMENT = Environment(
    machine_class="m", cpu="a processor", cores=2, memory_gib=4.0, system="Linux 6.1", device="cpu",
    python="3.11.7", versions={"torch": "2.13.0", "numpy": "2.4.6"},
)  # fmt: skip


def a_record(k: int, metric: str = "psnr", outcome: Outcome | None = None, **fields: Any) -> Record:
    numbers = Measurement(
        name=metric, unit="dB", samples=tuple(30 + i / 7 for i in range(k, k + len(NAMES))), labels=NAMES
    )
    return Record.model_validate(
        {
            "cell": CELL.model_copy(update={"top_k": k}),
            "metric": metric,
            "source": "s",
            "environment": ENVIRONMENT.model_copy(update={"load_average": k / 10}),
            "spec": "spec",
            "commit": "c",
            "dirty": False,
            "outcome": outcome or Measured(measurements=(numbers,)),
            "degraded": DIGESTS,
            "started_at": f"2026-01-01T00:00:{k:02}",
            "duration_s": 0.5,
            **fields,
        }
    )


RECORDS = (
    a_record(1),
    a_record(1, "ssim", artifacts={"target:image-000": "ab.png"}),
    a_record(2),
    a_record(3, outcome=Skipped(reason="no weights")),
    a_record(4, outcome=Failed(failure="timeout", error="took 600 s")),
    a_record(5, outcome=Measured(measurements=(Measurement(name="psnr", unit="dB", samples=(math.inf, -math.inf)),))),
)


def plan_of(*records: Record, **fields: Any) -> StoredPlan:
    entries = tuple(PlanEntry(cell=each.cell, metric=each.metric, key=each.key) for each in records)
    head = {"digest": "d", "name": "topk", "question": "Why µ?", "text": "a: 1\n", "created_at": "2026", "page": "arms"}
    return StoredPlan.model_validate({**head, "entries": entries, **fields})


PLAN = plan_of(*RECORDS, a_record(9))
"""The last one was not run."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "topk" / "records.jsonl"
    archive.write(path, PLAN, {record.key: record for record in RECORDS})
    return path


def test_what_is_written_is_read(file: Path) -> None:
    found = archive.read(file)
    assert found.plan == PLAN
    assert list(found.records.values()) == list(RECORDS)
    assert [list(record.degraded) for record in found.records.values()] == [list(NAMES)] * len(RECORDS)
    assert found.plans() == [PLAN]
    assert found.latest({RECORDS[0].key, "none"}) == {RECORDS[0].key: RECORDS[0]}
    assert found.latest() == found.records


def test_inputs_are_those_of_a_store(file: Path, tmp_path: Path) -> None:
    with ResultStore.open(tmp_path / "store") as store:
        store.append(RECORDS)
        assert archive.read(file).inputs() == store.inputs()


def test_a_number_that_is_none_survives(tmp_path: Path) -> None:
    odd = a_record(1, outcome=Measured(measurements=(Measurement(name="psnr", unit="dB", samples=(math.nan,)),)))
    archive.write(tmp_path / "a", plan_of(odd), {odd.key: odd})
    (found,) = archive.read(tmp_path / "a").records.values()
    assert isinstance(found.outcome, Measured)
    assert math.isnan(found.outcome.measurements[0].samples[0])


def test_equal_content_gives_equal_bytes_whatever_came_first(file: Path) -> None:
    again = file.with_name("again.jsonl")
    archive.write(again, PLAN, {record.key: record for record in reversed(RECORDS)})
    assert again.read_bytes() == file.read_bytes()
    found = archive.read(file)
    archive.write(again, found.plan, found.records)
    assert again.read_bytes() == file.read_bytes()


def test_every_line_is_json_and_the_first_one_is_the_plan(file: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    lines = [json.loads(line, parse_constant=refuse) for line in file.read_text().splitlines()]
    assert lines[0]["format"] == "semanir-bench records"
    assert lines[0]["plan"]["question"] == "Why µ?"
    assert sum("record" in line for line in lines) == lines[0]["records"] == len(RECORDS)


def test_what_records_share_is_written_once(file: Path) -> None:
    text = file.read_text()
    assert text.count(DIGESTS["image-007"]) == 1
    assert text.count('"image-008"') == 2, "once as a label, once with its digest"
    assert text.count("topk-fixed-s0") == len({record.cell.id for record in (*RECORDS, a_record(9))})


def test_records_of_other_plans_are_left_out(file: Path, tmp_path: Path) -> None:
    other = a_record(7)
    archive.write(tmp_path / "b", PLAN, {record.key: record for record in (*RECORDS, other)})
    assert (tmp_path / "b").read_bytes() == file.read_bytes()


def test_a_value_that_looks_like_a_reference_is_no_reference(tmp_path: Path) -> None:
    odd = a_record(1, degraded={"$": "abc"})
    archive.write(tmp_path / "a", plan_of(odd), {odd.key: odd})
    assert archive.read(tmp_path / "a").records == {odd.key: odd}


def test_a_plan_that_was_stored_before_pages_were_named_has_none() -> None:
    old = PLAN.model_dump(exclude={"page"})
    assert StoredPlan.model_validate(old).page == ""


def refused(path: Path) -> str:
    with pytest.raises(ArchiveError) as caught:
        archive.read(path)
    return str(caught.value).removeprefix(str(path))


def test_a_file_that_was_cut_is_refused_at_its_last_line(file: Path) -> None:
    lines = file.read_text().splitlines(keepends=True)
    anew = f"semanir-bench export STORE --to records --out {file}"
    remedy = f"take the file from version control again, or write it anew: {anew}"
    file.write_text("".join(lines[:-1]))
    assert refused(file) == f":{len(lines) - 1}: this line is the last one after 5 of 6 records; {remedy}"
    file.write_text("".join(lines)[:-40])
    assert refused(file).startswith(f":{len(lines)}: this line breaks off; take")


Edit = Callable[[str], str]


@pytest.mark.parametrize(
    ("find", "edit", "message"),
    [
        ('"samples":[30.28', lambda line: line.replace("[30.28", "[30.29"), "does not say what was written"),
        ('"reason":"no weights"', lambda line: line.replace("no weights", "lazy"), "does not say what was written"),
        (f'"image-000":"{0:064x}"', lambda line: line.replace("0" * 64, "f" * 64), "does not say what was written"),
        ('"question"', lambda line: line.replace("Why", "How"), "does not say what was written"),
        ('"took 600 s"', lambda line: re.sub(r'"\$":"\w', '"$":"g', line), "refers to part 'g"),
        ('"took 600 s"', lambda line: "and so on", "is no JSON"),
        ('"took 600 s"', lambda line: '{"digest": "0", "remark": 1}', "is neither a part nor a record"),
        ('"took 600 s"', lambda line: "7", "is neither a part nor a record"),
    ],
)
def test_an_edited_file_is_refused_at_the_line(file: Path, find: str, edit: Edit, message: str) -> None:
    lines = file.read_text().splitlines()
    ((number, line),) = [(i, line) for i, line in enumerate(lines) if find in line]
    assert edit(line) != line
    lines[number] = edit(line)
    file.write_text("\n".join(lines) + "\n")
    assert refused(file).startswith(f":{number + 1}: this line {message}")


def test_a_record_that_comes_twice_or_of_another_plan_is_refused(file: Path, tmp_path: Path) -> None:
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines, lines[-1]]))
    assert re.match(rf":{len(lines) + 1}: this line holds psnr of cell \w+ once more", refused(file))
    foreign = a_record(7)
    archive.write(tmp_path / "other", plan_of(foreign), {foreign.key: foreign})
    more = (tmp_path / "other").read_text().splitlines(keepends=True)[1:]
    file.write_text("".join([*lines, *more]))
    assert re.match(
        rf":{len(lines) + len(more)}: this line holds psnr of cell \w+, which the plan does not ask", refused(file)
    )


def test_a_record_of_another_version_is_refused_with_the_field(file: Path) -> None:
    content = {"unheard": 1}
    text = json.dumps(content, separators=(",", ":"))
    line = json.dumps({"digest": archive._digest(text), "record": content})
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, line]))
    assert f":{len(lines) + 1}: this line cannot be read by this version, at cell" in refused(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ":1: this line does not begin a file of semanir-bench records"),
        (b"question: what?\naxes: {}\n", ":1: this line does not begin a file of semanir-bench records"),
        (b"[1]\n", ":1: this line does not begin a file of semanir-bench records"),
        (
            b'{"cell": "a", "metric": "psnr", "status": "measured"}\n',
            ":1: this line holds the rows of `export --to jsonl`",
        ),
        (
            b'{"format": "semanir-bench records", "version": 2}\n',
            ":1: this file is of version 2 and this program reads 1",
        ),
        (b"\x89PNG\r\n\xff", " is no text"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    assert refused(tmp_path / "file").startswith(message)


def test_a_place_that_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(ArchiveError, match="taken cannot be written"):
        archive.write(tmp_path / "taken", PLAN, {})
    assert list(tmp_path.glob(".taken*")) == []
    with pytest.raises(ArchiveError, match="nothing cannot be read"):
        archive.read(tmp_path / "nothing")


def test_a_store_is_no_file_of_records_and_gets_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=rf"is a folder.* semanir-bench export {tmp_path} --to records --out"):
        archive.read(tmp_path)


def test_reading_and_writing_needs_no_torch() -> None:
    code = "import sys, harness.archive; print({'torch', 'triton', 'scipy'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
