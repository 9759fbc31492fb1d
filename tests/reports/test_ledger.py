"""Every printed number has its line: reproduced, differing by so much, or not run here and why."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness import cli, datasets
from harness.catalogs import MODELS
from harness.plan import expand
from harness.record import Cell, Measured, Measurement, Skipped
from harness.spec import load
from harness.store import ResultStore
from reports.document import Document, Entry, Table, blocks_of
from reports.ledger import PRINTED, Line, build, claims, lines
from reports.printed import judge_input
from reports.results import Result

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
CELL = Cell(model="identity", task="jpeg", dataset="Classic5", setting="quality=10")
SAME = {"task", "dataset", "setting"}
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


NETWORK = Cell(
    model="semanir/small", weights="jpeg-gray-10", backend="sdpa", top_k=16, window=8, **CELL.model_dump(include=SAME)
)


def of_input(make_record: Make, cell: Cell, psnr: float = 27.8211, protocol: str = "gray-crop0-uint8") -> Result:
    scored = (("degraded.psnr", "dB", psnr), ("degraded.ssim", "1", 0.7595))
    outcome = Measured(
        measurements=tuple(Measurement(name=name, unit=unit, samples=(value,)) for name, unit, value in scored)
    )
    return Result(cell, {"degraded": make_record(cell, "degraded", outcome, protocol=protocol)})


def answered(results: list[Result]) -> dict[str, Line]:
    return {line.claim.printed.metric: line for line in lines(results) if line.verdict is not None}


def test_a_printed_input_is_answered_by_what_any_cell_was_given(make_record: Make) -> None:
    found = answered([of_input(make_record, NETWORK)])
    assert {metric: line.state for metric, line in found.items()} == {"psnr": "reproduced", "ssim": "reproduced"}
    assert {line.claim.printed.method for line in found.values()} == {"JPEG"}
    assert {line.reason for line in found.values()} == {f"measured as the input of semanir/small, cell {NETWORK.id}"}


@pytest.mark.parametrize(
    "changes",
    [
        {"images": 2},
        {"image_size": 256},
        {"seed": 1},
        {"dataset": "bundled"},
        {"setting": "quality=20,color=rgb"},
        {"task": "denoise", "setting": "sigma=25"},
    ],
)
def test_another_input_or_a_part_of_it_answers_nothing(make_record: Make, changes: dict[str, Any]) -> None:
    assert not answered([of_input(make_record, NETWORK.model_copy(update=changes))])


def test_an_input_under_another_protocol_answers_nothing(make_record: Make) -> None:
    assert not answered([of_input(make_record, NETWORK, protocol="gray-crop0-none")])


def test_an_input_that_its_task_judges_otherwise_answers_nothing(make_record: Make) -> None:
    printed = replace(claims()[0].printed, task="denoise", dataset="Set12", setting="sigma=25", printed="20.17")
    noisy = NETWORK.model_copy(update={"task": "denoise", "dataset": "Set12", "setting": "sigma=25"})
    assert judge_input(printed, of_input(make_record, noisy, 20.17)) is None


def test_only_a_row_of_the_input_itself_is_answered_by_an_input(make_record: Make) -> None:
    printed = claims()[0].printed
    assert judge_input(printed, of_input(make_record, NETWORK)) is not None
    assert judge_input(replace(printed, model="dncnn/3"), of_input(make_record, NETWORK)) is None
    assert judge_input(replace(printed, weights="dncnn-3"), of_input(make_record, NETWORK)) is None


def test_the_method_itself_is_asked_before_any_input(make_record: Make) -> None:
    outcome = Measured(measurements=(Measurement(name="psnr", unit="dB", samples=(27.82,), labels=("a",)),))
    direct = Result(CELL, {"psnr": make_record(CELL, "psnr", outcome)})
    assert answered([of_input(make_record, NETWORK, 27.5), direct])["psnr"].reason == ""
    skipped = Result(CELL, {"psnr": make_record(CELL, "psnr", Skipped(reason="no folder Classic5"))})
    assert answered([skipped, of_input(make_record, NETWORK)])["psnr"].state == "reproduced"


@pytest.mark.parametrize(("value", "why"), [(math.inf, "∞: an image is restored perfectly"), (math.nan, "undefined")])
def test_a_mean_that_is_no_number_answers_nothing(make_record: Make, value: float, why: str) -> None:
    found = judge_input(claims()[0].printed, of_input(make_record, NETWORK, value))
    assert found is not None
    assert (found.kind, found.measured) == ("absent", None)
    assert why in found.reason


def test_without_records_every_number_has_a_reason() -> None:
    found = list(lines([]))
    assert len(found) == 990 == len(PRINTED.read_text().splitlines()) - 1
    assert {line.state for line in found} == {"not run here"}
    assert all(line.reason for line in found)


def unmeasured(method: str, dataset: str, setting: str, kind: str = "") -> str:
    (found,) = {
        line.reason
        for line in lines([])
        if (line.claim.printed.method, line.claim.printed.dataset) == (method, dataset)
        and (line.claim.printed.setting, line.claim.kind) == (setting, kind)
    }
    return found


BLIND = "several degradations by one network"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("ART", "Set5", "scale=2"), "the method is not part of this project"),
        (("SwinIR", "Set5", "scale=2"), "swinir is a model of this project, but it reads no weights of third parties"),
        (
            ("DnCNN", "CBSD68", "sigma=25,color=rgb"),
            "dncnn is a model of this project, but DnCNN-S is a gray network",
        ),
        (
            ("DnCNN", "Set12", "sigma=25", BLIND),
            "dncnn is a model of this project, but no weights in the registry are known as those of this row",
        ),
        (
            ("DnCNN", "Urban100", "sigma=25"),
            "dncnn is a model of this project, but no experiment runs dncnn/S on Urban100",
        ),
        (
            ("DnCNN3", "Urban100", "quality=10", BLIND),
            "dncnn is a model of this project, but no experiment runs dncnn/3 on Urban100",
        ),
        (
            ("Bicubic", "Manga109", "scale=2,color=gray,lr=exact"),
            "Manga109 is not here: get it from http://www.manga109.org, on request",
        ),
        (("Bicubic", "Set5", "scale=2,color=gray,lr=exact"), "Set5 is not here: semanir-bench data fetch Set5"),
        (
            ("KGT-S", "Set5", "scale=2"),
            "the network's weights were never published, and none of its size was trained here",
        ),
    ],
)
def test_why_a_number_was_not_run(
    row: tuple[str, ...], reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path))
    assert unmeasured(*row) == reason


def test_a_dataset_that_is_here_is_no_reason_and_weights_that_are_not_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "names", lambda: ["Manga109", "Set12"])
    monkeypatch.setattr(datasets, "data_root", lambda: Path("nowhere"))
    bicubic = unmeasured("Bicubic", "Manga109", "scale=2,color=gray,lr=exact")
    assert bicubic == "none of the records at hand measured it"
    assert unmeasured("DnCNN", "Set12", "sigma=25").startswith("no file 'DnCNN-S/sigma=25.mat'")


def test_a_model_of_the_project_is_never_called_foreign() -> None:
    ours = {claim.printed.method for claim in claims() if claim.printed.model}
    foreign = {line.claim.printed.method for line in lines([]) if "not part of this project" in line.reason}
    assert len(foreign) == 45
    assert not foreign & ours
    assert not {method.casefold() for method in foreign} & set(MODELS.names())


@cache
def asked() -> dict[str, set[tuple[str, ...]]]:
    """Return by experiment what its cells have in common with a printed number."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for file in EXPERIMENTS.rglob("spec.yaml"):
        plan = expand(load(file), cuda=False)
        cells = [each.cell for each in plan.cells] + [each.cell for each in plan.skipped]
        name = file.parent.relative_to(EXPERIMENTS).as_posix()
        found[name] = {(each.task, each.dataset, each.setting, each.model, each.weights) for each in cells}
    return found


def test_the_experiment_of_a_claim_asks_for_its_cell() -> None:
    planned = [(each.spec, each.printed) for each in claims() if each.printed.model]
    for spec, it in planned:
        assert (it.task, it.dataset, it.setting, it.model, it.weights) in asked()[spec], it


def test_what_no_experiment_is_said_to_run_none_does() -> None:
    said = [line for line in lines([]) if "no experiment runs" in line.reason]
    assert len(said) == 11
    cells = set().union(*asked().values())
    for line in said:
        it, model = line.claim.printed, line.reason.partition("no experiment runs ")[2].partition(" on ")[0]
        assert model in {cell[3] for cell in cells}
        assert (it.task, it.dataset, it.setting, model) not in {cell[:4] for cell in cells}


def restored(make_record: Make, metric: str, value: float) -> Result:
    outcome = Measured(measurements=(Measurement(name=metric, unit="1", samples=(value,), labels=("a",)),))
    return Result(CELL, {metric: make_record(CELL, metric, outcome)})


def linked(document: Document) -> list[Entry]:
    """Return the entries that lead to a cell, those of the commands left out."""
    tables = [b for section, b in blocks_of(document) if isinstance(b, Table) and section.anchor != "cells"]
    entries = (entry for each in tables for group in each.groups for row in group.rows for entry in row.entries)
    return [entry for entry in entries if entry.cell]


def commands(document: Document) -> dict[str, list[str]]:
    """Return the commands by the name of their row."""
    tables = [b for section, b in blocks_of(document) if isinstance(b, Table) and section.anchor == "cells"]
    found: dict[str, list[str]] = {}
    for row in (row for each in tables for group in each.groups for row in group.rows):
        found.setdefault(row.anchor, []).append(row.entries[-1].text)
    return found


def test_a_measured_number_leads_to_the_command_that_measures_it_again(make_record: Make, tmp_path: Path) -> None:
    direct, given = restored(make_record, "psnr", 27.82), of_input(make_record, NETWORK)
    with ResultStore.open(tmp_path / "first") as store:
        store.append(each for each in direct.records.values() if each)
    document = build([direct, given], {direct: str(tmp_path / "first"), given: "the second"})
    assert [(entry.text, entry.cell) for entry in linked(document)] == [("27.82", CELL.id), ("0.760", NETWORK.id)]
    found = commands(document)
    assert found[NETWORK.id] == [f"semanir-bench cell {NETWORK.id} --rerun --diff --store 'the second'"]
    (command,) = found[CELL.id]
    name, *words = shlex.split(command)
    assert (name, words[2:4]) == ("semanir-bench", ["--rerun", "--diff"])
    shown = CliRunner().invoke(cli.app, [word for word in words if word != "--rerun"])
    assert shown.exit_code == 0, shown.output
    assert "27.82" in shown.output


def test_two_plans_of_a_store_share_the_row_of_a_cell(make_record: Make) -> None:
    psnr, ssim = restored(make_record, "psnr", 27.82), restored(make_record, "ssim", 0.76)
    document = build([psnr, ssim], {psnr: "one", ssim: "one"})
    assert [entry.text for entry in linked(document)] == ["27.82", "0.760"]
    assert [len(each) for each in commands(document).values()] == [1]


def test_a_cell_of_two_stores_stands_once_and_only_its_own_numbers_lead_there(make_record: Make) -> None:
    psnr, ssim = restored(make_record, "psnr", 27.82), restored(make_record, "ssim", 0.76)
    document = build([psnr, ssim], {psnr: "one", ssim: "other"})
    assert [entry.text for entry in linked(document)] == ["27.82"]
    assert [each[0].rpartition(" ")[2] for each in commands(document).values()] == ["one"]


def test_without_stores_no_number_leads_anywhere(make_record: Make) -> None:
    document = build([restored(make_record, "psnr", 27.82)])
    assert (linked(document), commands(document)) == ([], {})


def test_the_page_counts_what_it_shows(make_record: Make) -> None:
    outcome = Measured(measurements=(Measurement(name="psnr", unit="dB", samples=(27.82,), labels=("a",)),))
    document = build([Result(CELL, {"psnr": make_record(CELL, "psnr", outcome)})])
    assert [badge.text for badge in document.badges] == ["1 reproduced", "989 not run here"]
    said = "Of 990 printed numbers: 1 reproduced in all printed digits, 0 differ, 989 not run here:"
    assert document.lead[0].text == said
    notes = [block.text for block in document.lead[1:]]
    assert sum(int(note.partition(":")[0].replace(",", "")) for note in notes) == 989


def test_the_page_speaks_of_one_that_differs(make_record: Make) -> None:
    document = build([of_input(make_record, NETWORK, psnr=27.83)])
    assert [badge.text for badge in document.badges] == ["1 reproduced", "1 differs", "988 not run here"]


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


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "ledger.html"
    assert CliRunner().invoke(cli.app, ["ledger", "-o", str(out)]).exit_code == 0
    return out.read_text()


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_its_page(visit: Callable[..., Any], page: str, width: int) -> None:
    tab = visit(page, width)
    tab.locator("details summary").first.click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_zeros_that_fill_a_column_are_not_compared() -> None:
    found = {
        (each.printed.source, each.printed.dataset, each.printed.setting, each.printed.method): each
        for each in claims()
        if each.printed.metric == "ssim"
    }
    padded = found["KGT-draft-table-1", "Classic5", "quality=10", "JPEG"]
    assert (padded.printed.printed, padded.note) == ("0.760", "printed as 0.7600, padded")
    assert found["KGT-draft-table-1", "Urban100", "quality=10", "JPEG"].printed.printed == "0.7816"
    assert found["KGT-draft-table-8", "Set5", "scale=2", "SAN"].printed.printed == "0.9620"


def test_a_network_of_one_level_is_no_blind_one() -> None:
    """Two rows of Table 5 are called DnCNN: one network for all levels of noise, and one for each."""
    rows = [each for each in claims() if each.printed.method == "DnCNN" and each.printed.dataset == "Set12"]
    assert {(each.kind != "", each.printed.model, each.printed.within) for each in rows} == {
        (True, "", ""),
        (False, "dncnn/S", "0.02"),
    }
