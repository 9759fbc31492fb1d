from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.store import ResultStore
from reports.publish import ReportError, publish


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


def test_a_place_that_cannot_be_written_is_named_and_nothing_is_left_behind(store: ResultStore, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(ReportError, match="taken cannot be written"):
        publish(store, tmp_path / "taken")
    assert list(tmp_path.glob(".taken*")) == []


def test_a_baseline_that_was_not_run_is_refused_with_those_that_were(store: ResultStore, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no backend 'flash' in this plan to compare with; it has: "):
        publish(store, tmp_path / "report.html", baseline="flash")
