from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.record import Cell, Measured, Measurement, Record
from harness.store import ResultStore
from reports.publish import ReportError, publish, publish_comparison, publish_ledger

DENOISE = {"model": "semanir/small", "task": "denoise", "dataset": "bundled", "setting": "sigma=25"}


@pytest.fixture
def store(tmp_path: Path, small: Any) -> ResultStore:
    store = ResultStore.open(tmp_path / "store")
    store.remember(small.plan)
    store.append(small.records.values())
    for content in small.files.values():
        store.write_artifact(content, ".png")
    return store


def test_a_report_of_a_store_says_what_its_records_say(store: ResultStore, small: Any, tmp_path: Path) -> None:
    out = publish(store, tmp_path / "new" / "report.html", store_name="runs/a")
    assert out.read_text(encoding="utf-8") == small.html(store_name="runs/a")


def test_the_same_store_gives_the_same_bytes(store: ResultStore, tmp_path: Path) -> None:
    one, other = (publish(store, tmp_path / name, store_name="s") for name in ("one.html", "other.html"))
    assert one.read_bytes() == other.read_bytes()


def test_a_plan_is_chosen_by_name_or_digest_and_is_the_newest_by_default(
    store: ResultStore, small: Any, tmp_path: Path
) -> None:
    store.remember(small.plan.model_copy(update={"digest": "ab12", "name": "later", "question": "And now?"}))
    out = tmp_path / "report.html"
    assert "<h1>And now?</h1>" in publish(store, out).read_text(encoding="utf-8")
    for wanted in (small.plan.name, small.plan.digest[:6]):
        assert f"<h1>{small.plan.question}</h1>" in publish(store, out, plan=wanted).read_text(encoding="utf-8")


def test_a_plan_that_is_not_there_is_refused_with_those_that_are(store: ResultStore, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"no plan 'topk'; it has: quickstart \(5eed5ee\)"):
        publish(store, tmp_path / "report.html", plan="topk")


@pytest.mark.parametrize("end", [".docx", ".pdf", ""])
def test_a_file_of_a_kind_that_is_not_written_is_refused(store: ResultStore, tmp_path: Path, end: str) -> None:
    with pytest.raises(ReportError, match=r"told by its end, one of \.html, \.md, \.tex"):
        publish(store, tmp_path / f"report{end}")
    with pytest.raises(ReportError, match=r"one of \.html, \.md$"):
        publish_ledger([store], tmp_path / f"ledger{end}")
    with pytest.raises(ReportError, match=r"one of \.html, \.md$"):
        publish_comparison(store, store, tmp_path / f"two{end}", names=("a", "b"))
    assert not list(tmp_path.glob("report*")) + list(tmp_path.glob("ledger*")) + list(tmp_path.glob("two*"))


def test_a_store_without_plans_says_how_to_get_one(tmp_path: Path) -> None:
    store = ResultStore.open(tmp_path / "empty")
    with pytest.raises(ReportError, match="semanir-bench run SPEC"):
        publish(store, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_store_copied_without_its_pictures_still_reports(tmp_path: Path, small: Any) -> None:
    store = ResultStore.open(tmp_path / "bare")
    store.remember(small.plan)
    store.append(small.records.values())
    text = publish(store, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "the picture is missing from the store" in text


def test_a_forged_input_is_named_with_its_cell_and_the_version_that_differs(
    tmp_path: Path, make_record: Callable[..., Record], make_sweep: Callable[..., Any]
) -> None:
    outcome = Measured(measurements=(Measurement(name="psnr", unit="dB", samples=(30.0,), labels=("cat",)),))
    cells = [Cell(**DENOISE, backend=backend) for backend in ("gather", "mask", "sdpa")]
    records = [make_record(cell, "psnr", outcome, degraded={"cat": "a" * 64}) for cell in cells]
    versions = records[2].environment.versions | {"numpy": "1.26.4"}
    environment = records[2].environment.model_copy(update={"versions": versions})
    forged = records[2].model_copy(update={"degraded": {"cat": "b" * 64}, "environment": environment})
    sweep = make_sweep(records)
    with ResultStore.open(tmp_path / "store") as store:
        store.remember(sweep.plan)
        store.append(records[:2])
        honest = publish(store, tmp_path / "report.md").read_text(encoding="utf-8")
        store.append([forged])
        text = publish(store, tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Unlike inputs" not in honest
    _, _, named = text.partition("## Unlike inputs")
    row = next(line for line in named.splitlines() if "b" * 8 in line)
    assert "cat" in row
    assert cells[2].id[:8] in row
    assert "numpy 1.26.4" in row
    assert "torch" not in named


def test_a_place_that_cannot_be_written_is_named_and_nothing_is_left_behind(store: ResultStore, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(ReportError, match="taken cannot be written"):
        publish(store, tmp_path / "taken")
    assert list(tmp_path.glob(".taken*")) == []


def test_a_baseline_that_was_not_run_is_refused_with_those_that_were(store: ResultStore, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no backend 'flash' in this plan to compare with; it has: "):
        publish(store, tmp_path / "report.html", baseline="flash")
