"""Every printed number has its line: reproduced, differing by so much, or not run here and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness import cli, datasets
from harness.record import Cell, Measured, Measurement, Skipped
from reports.ledger import PRINTED, build, claims, lines
from reports.results import Result

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
CELL = Cell(model="identity", task="jpeg", dataset="Classic5", setting="quality=10")
Make = Callable[..., Any]


def judged(make_record: Make, value: float | None, **changes: Any) -> Counter[str]:
    outcome = Skipped(reason="no folder Classic5")
    if value is not None:
        outcome = Measured(measurements=(Measurement(name="psnr", unit="dB", samples=(value,), labels=("a",)),))
    cell = CELL.model_copy(update=changes)
    result = Result(cell, {"psnr": make_record(cell, "psnr", outcome)})
    found = list(lines([result]))
    assert len(found) == len(claims())
    (line,) = (line for line in found if line.verdict is not None)
    return Counter({line.state: 1, line.reason: 1})


@pytest.mark.parametrize(("value", "state"), [(27.8204, "reproduced"), (27.83, "differs")])
def test_a_measured_number_is_held_to_the_printed_digits(make_record: Make, value: float, state: str) -> None:
    assert state in judged(make_record, value)


def test_what_was_skipped_or_measured_otherwise_says_so(make_record: Make) -> None:
    assert "no folder Classic5" in judged(make_record, None)
    assert "not comparable: measured with images 2" in judged(make_record, 27.82, images=2)


def test_without_records_every_number_has_a_reason() -> None:
    found = list(lines([]))
    assert len(found) == 990 == len(PRINTED.read_text().splitlines()) - 1
    assert {line.state for line in found} == {"not run here"}
    assert all(line.reason for line in found)


def test_the_page_counts_what_it_shows(make_record: Make) -> None:
    outcome = Measured(measurements=(Measurement(name="psnr", unit="dB", samples=(27.82,), labels=("a",)),))
    document = build([Result(CELL, {"psnr": make_record(CELL, "psnr", outcome)})])
    assert [badge.text for badge in document.badges] == ["1 reproduced", "0 differ", "989 not run here"]
    assert "Of 990 printed numbers 1 are reproduced" in document.lead[0].text
    notes = [block.text for block in document.lead[1:]]
    assert sum(int(note.partition(":")[0].replace(",", "")) for note in notes) == 989


def test_every_claim_names_an_experiment_and_a_set_that_exist() -> None:
    for claim in claims():
        assert (EXPERIMENTS / claim.spec / "spec.yaml").is_file(), claim.spec
        if claim.printed.model:
            assert claim.printed.dataset in datasets.known(), claim.printed.dataset


def test_the_command_writes_the_page_of_the_records_at_hand(tmp_path: Path) -> None:
    out = tmp_path / "ledger.md"
    result = CliRunner().invoke(cli.app, ["ledger", "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert Path(result.output.strip()) == out
    assert "Table 8, super-resolution" in out.read_text()


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_its_page(visit: Callable[..., Any], tmp_path: Path, width: int) -> None:
    out = tmp_path / "ledger.html"
    assert CliRunner().invoke(cli.app, ["ledger", "-o", str(out)]).exit_code == 0
    tab = visit(out.read_text(), width)
    tab.locator("details summary").first.click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
