from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from harness.catalogs import TASKS
from harness.record import Cell, Failed, Measured, Measurement, Outcome, Skipped
from harness.store import ResultStore
from reports.document import Document, Table, Text
from reports.pages.protocols import build
from reports.printed import judge, published
from reports.publish import publish
from reports.renderers import html, markdown
from reports.results import Result

CLASSIC = Cell(model="identity", task="jpeg", dataset="Classic5", setting="quality=10")
NOISY = Cell(model="dncnn/S", weights="DnCNN-S/sigma=25.mat", task="denoise", dataset="Set12", setting="sigma=25")


def measured(*samples: float, name: str = "psnr") -> Measured:
    return Measured(measurements=(Measurement(name=name, unit="dB", samples=samples),))


@pytest.fixture
def document(make_record: Callable[..., Any], make_sweep: Callable[..., Any]) -> Callable[..., Document]:
    def make(*outcomes: tuple[Cell, str, Outcome]) -> Document:
        sweep = make_sweep([make_record(*each) for each in outcomes], name="protocols")
        return build(sweep.records, sweep.plan, store_name="runs/a")

    return make


def rows(document: Document) -> list[dict[str, str]]:
    found = []
    for section in document.sections[:-1]:
        (table,) = section.blocks
        assert isinstance(table, Table)
        labels = [column.label for column in table.columns]
        found += [
            dict(zip(labels, (entry.text for entry in row.entries), strict=True)) | {"group": group.title}
            for group in table.groups
            for row in group.rows
        ]
    return found


def test_a_number_is_compared_in_the_printed_digits(document: Callable[..., Document]) -> None:
    made = document((CLASSIC, "psnr", measured(27.0, 28.648)), (CLASSIC, "ssim", measured(0.7595, name="ssim")))
    psnr, ssim = rows(made)
    assert (psnr["printed"], psnr["measured"], psnr["difference"]) == ("27.82", "27.82", "0")
    assert (ssim["printed"], ssim["measured"], ssim["verdict"]) == ("0.760", "0.760", "equal in printed digits")
    assert (psnr["group"], ssim["group"]) == ("PSNR, dB", "SSIM")
    assert [badge.text for badge in made.badges] == ["2 equal"]


@pytest.mark.parametrize(
    ("value", "kind", "difference"),
    [
        (30.4449, "equal", "0.00"),
        (30.4351, "equal", "0.00"),
        (30.4240, "within", "-0.02"),
        (30.4649, "within", "0.02"),
        (30.4140, "differs", "-0.03"),
    ],
)
def test_a_random_input_may_differ_by_what_chance_explains(
    make_record: Callable[..., Any], value: float, kind: str, difference: str
) -> None:
    printed = next(row for row in published() if row.weights == NOISY.weights and row.dataset == "Set12")
    verdict = judge(printed, Result(NOISY, {"psnr": make_record(NOISY, "psnr", measured(value))}))
    assert (verdict.kind, verdict.difference) == (kind, Decimal(difference))


def test_a_difference_is_shown_with_its_sign(document: Callable[..., Document]) -> None:
    made = document((CLASSIC, "psnr", measured(27.7)))
    (row,) = rows(made)
    assert (row["measured"], row["difference"], row["verdict"]) == ("27.70", "−0.12", "differs by −0.12")
    assert [(badge.text, badge.state) for badge in made.badges] == [("1 differ", "failed")]


def test_what_was_not_measured_says_why(document: Callable[..., Document]) -> None:
    reason = "Classic5 is not here: semanir-bench data fetch Classic5"
    failed = Failed(failure="timeout", error="took more than 120 s")
    made = document((CLASSIC, "psnr", Skipped(reason=reason)), (NOISY, "psnr", failed))
    assert [row["verdict"] for row in rows(made)] == ["not measured", "not measured"]
    assert {(badge.text, badge.state) for badge in made.badges} == {("1 skipped", "skipped"), ("1 failed", "failed")}
    said = "\n".join(block.text for block in made.lead if isinstance(block, Text))
    assert reason in said
    assert "timeout: took more than 120 s" in said


def test_a_part_of_a_set_is_not_compared(document: Callable[..., Document]) -> None:
    part = CLASSIC.model_copy(update={"images": 2})
    (row,) = rows(document((part, "psnr", measured(27.82))))
    assert (row["measured"], row["model"]) == ("not comparable", "identity, images 2")


def test_every_cell_that_gives_a_printed_number_is_shown(document: Callable[..., Document]) -> None:
    again = CLASSIC.model_copy(update={"seed": 1})
    made = rows(document((CLASSIC, "psnr", measured(27.82)), (again, "psnr", measured(27.82))))
    assert [(row["model"], row["verdict"]) for row in made] == [
        ("identity", "equal in printed digits"),
        ("identity, seed 1", "equal in printed digits"),
    ]


def test_a_plan_without_printed_numbers_says_so(document: Callable[..., Document]) -> None:
    made = document((CLASSIC.model_copy(update={"dataset": "bundled"}), "psnr", measured(30.0)))
    assert rows(made) == []
    assert "No cell of this plan gives a number that a table prints." in str(made.lead)


def test_every_number_leads_to_the_command_that_measures_it_again(document: Callable[..., Document]) -> None:
    page = html.render(document((CLASSIC, "psnr", measured(27.82))), artifact=lambda name: b"")
    assert f'href="#cell-{CLASSIC.id}"' in page
    assert f'id="cell-{CLASSIC.id}"' in page
    assert f"semanir-bench cell {CLASSIC.id} --rerun --diff --store runs/a" in page


def test_markdown_holds_the_table_and_escapes_what_it_would_read(document: Callable[..., Document]) -> None:
    found = document((NOISY, "psnr", measured(30.44)), (CLASSIC, "psnr", Skipped(reason="a|b <c>")))
    text = markdown.render(found, folded=False)
    assert "| Set12 | sigma=25 | DnCNN | dncnn/S, DnCNN-S/sigma=25.mat | 30.44 | 30.44 | 0 | equal in " in text
    assert "a\\|b \\<c>" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {10}


def test_an_experiment_gets_the_page_that_it_asks_for_whatever_its_name(
    make_record: Callable[..., Any], make_sweep: Callable[..., Any], tmp_path: Path
) -> None:
    sweep = make_sweep([make_record(CLASSIC, "psnr", measured(27.82))], name="protocols")
    with ResultStore.open(tmp_path / "named") as store:
        store.remember(sweep.plan)
        store.append(sweep.records.values())
        assert "Ablation" in publish(store, tmp_path / "named.html").read_text(encoding="utf-8")
    with ResultStore.open(tmp_path / "store") as store:
        store.remember(sweep.plan.model_copy(update={"page": "protocols"}))
        store.append(sweep.records.values())
        assert "equal in printed digits" in publish(store, tmp_path / "report.html").read_text(encoding="utf-8")
        assert "Ablation" in publish(store, tmp_path / "other.html", page="ablation").read_text(encoding="utf-8")
        assert publish(store, tmp_path / "report.md").read_text(encoding="utf-8").count("| 27.82 | 27.82 | 0 |") == 1


def test_printed_numbers_are_written_as_the_harness_writes_them() -> None:
    keys = [(row.task, row.dataset, row.setting, row.model, row.weights, row.metric) for row in published()]
    assert len(keys) == len(set(keys)) > 90
    for row in published():
        task = TASKS[row.task]
        assert task.canonical(task.parse(row.setting)) == row.setting
        assert row.metric in ("psnr", "ssim", "degraded.psnr")
        assert Decimal(row.printed) > 0
        assert row.source
        assert bool(row.within) == (row.model == "dncnn/S")
