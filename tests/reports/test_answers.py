"""From a committed file of records to a page and to the tables of a README."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness import archive, cli
from harness.store import ResultStore
from reports.publish import MARKER, ReportError, publish, publish_below_marker

ROOT = Path(__file__).resolve().parents[2]
README = "# example\n\n**Answer.** Yes.\n\n<!-- Everything below is written by `nox -s answers`. -->\n"


def call(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="session")
def few(small: Any, make_sweep: Callable[..., Any]) -> Any:
    """All metrics of four backends at one k and window, some skipped, with the pictures that they name."""
    records = [each for each in small.records.values() if (each.cell.top_k, each.cell.window) == (8, 8)]
    sweep = make_sweep(records, name="quickstart", question="How much attention does restoration need?")
    sweep.files = small.files
    return sweep


@pytest.fixture
def store(tmp_path: Path, few: Any) -> Path:
    """A store without the pictures that its records name."""
    with ResultStore.open(tmp_path / "store") as opened:
        opened.remember(few.plan)
        opened.append(few.records.values())
    return tmp_path / "store"


@pytest.fixture
def file(store: Path, tmp_path: Path) -> Path:
    code, out, _ = call("export", store, "--to", "records", "--out", tmp_path / "example" / "records.jsonl")
    assert code == 0
    assert out.strip() == str((tmp_path / "example" / "records.jsonl").resolve())
    return tmp_path / "example" / "records.jsonl"


@pytest.mark.parametrize("suffix", ["html", "md"])
def test_a_file_of_records_reports_what_its_store_does(store: Path, file: Path, tmp_path: Path, suffix: str) -> None:
    one, other = tmp_path / f"one.{suffix}", tmp_path / f"other.{suffix}"
    with ResultStore.open(store) as opened:
        publish(opened, one, store_name="there")
    publish(archive.read(file), other, store_name="there")
    assert other.read_text() == one.read_text()


def test_pictures_beside_the_file_are_shown(file: Path, few: Any, tmp_path: Path) -> None:
    assert "the picture is missing" in publish(archive.read(file), tmp_path / "bare.html").read_text()
    for name, content in few.files.items():
        (file.parent / "artifacts").mkdir(exist_ok=True)
        (file.parent / "artifacts" / name).write_bytes(content)
    shown = publish(archive.read(file), tmp_path / "whole.html", store_name="runs/a").read_text()
    assert shown == few.html(store_name="runs/a")


def test_the_file_names_no_folder_of_this_machine(file: Path, tmp_path: Path) -> None:
    text = file.read_text()
    assert str(tmp_path) not in text
    assert str(Path.home()) not in text
    assert str(ROOT) not in text


def test_a_report_of_a_file_needs_no_store_and_lands_outside_the_checkout_s_experiments(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("report", file.relative_to(tmp_path))
    assert code == 0
    page = Path(out.strip())
    assert page == tmp_path / "results" / "quickstart" / "records.html"
    assert "semanir-bench cell" in page.read_text()
    assert "--store example/records.jsonl" in page.read_text()
    assert [path.name for path in file.parent.iterdir()] == ["records.jsonl"]


def test_the_commands_of_such_a_report_find_the_cell(file: Path, few: Any) -> None:
    cell = few.plan.entries[0].cell
    before = file.read_bytes()
    code, out, _ = call("cell", cell.id[:8], "--store", file)
    assert code == 0
    assert cell.id in out
    assert "degraded.psnr" in out
    code, _, err = call("cell", "ffff", "--store", file)
    assert code == 2
    assert err.startswith(f"{file}: no cell's id starts with 'ffff'")
    assert file.read_bytes() == before


@pytest.mark.slow
def test_a_cell_of_a_file_is_measured_again_and_compared_with_it(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(
        "question: does it run?\naxes: {model: semanir/nano, task: denoise, dataset: bundled, backend: mask,"
        " top_k: 4, window: 4, image_size: 32, images: 1}\nmetrics: [operations, degraded]\n"
    )
    assert call("run", tmp_path / "spec.yaml", "--out", tmp_path / "run")[0] == 0
    file = tmp_path / "records.jsonl"
    assert call("export", tmp_path / "run", "--to", "records", "--out", file)[0] == 0
    (entry, *_) = archive.read(file).plan.entries
    before = file.read_bytes()
    code, out, err = call("cell", entry.cell.id, "--rerun", "--diff", "--store", file)
    assert code == 0, err
    lines = [line for line in out.splitlines() if line.startswith("degraded.psnr")]
    assert len(lines) == 1
    assert "none" in lines[0].split()
    assert file.read_bytes() == before


def test_a_foreign_file_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello\n")
    for command in (("report", tmp_path / "notes.txt"), ("cell", "abcd", "--store", tmp_path / "notes.txt")):
        code, out, err = call(*command)
        assert (code, out) == (2, "")
        assert err.startswith(f"{tmp_path / 'notes.txt'}:1: ")


def test_one_plan_of_several_is_exported_by_name(store: Path, few: Any, tmp_path: Path) -> None:
    with ResultStore.open(store) as opened:
        opened.remember(few.plan.model_copy(update={"digest": "ab12", "name": "later", "entries": ()}))
    call("export", store, "--to", "records", "--out", tmp_path / "newest")
    assert archive.read(tmp_path / "newest").plan.name == "later"
    call("export", store, "--to", "records", "--out", tmp_path / "named", "--plan", "quickstart")
    assert archive.read(tmp_path / "named").plan == few.plan
    code, _, err = call("export", store, "--to", "records", "--out", tmp_path / "none", "--plan", "nosuch")
    assert code == 2
    assert "it has: later (ab12), quickstart (5eed5ee)" in err
    code, _, err = call("export", store, "--to", "csv", "--out", tmp_path / "none", "--plan", "later")
    assert code == 2
    assert "--to records" in err
    assert not (tmp_path / "none").exists()


def test_a_plan_names_its_page_and_the_command_line_another(store: Path, few: Any, tmp_path: Path) -> None:
    plan = few.plan.model_copy(update={"digest": "ab12", "page": "arms"})
    with ResultStore.open(store) as opened:
        opened.remember(plan)
        assert opened.plans()[0].page == "arms"
        assert "Training arms" in publish(opened, tmp_path / "a.html").read_text()
        assert "Ablation" in publish(opened, tmp_path / "b.html", page="ablation").read_text()
    code, _, err = call("report", store, "--page", "armz", "--out", tmp_path / "c.html")
    assert code == 2
    assert "no page 'armz'. Did you mean 'arms'?" in err


def test_a_spec_that_names_a_page_which_is_not_there_is_refused(tmp_path: Path) -> None:
    text = (ROOT / "experiments" / "quickstart" / "spec.yaml").read_text()
    (tmp_path / "spec.yaml").write_text(f"{text}\npage: armz\n")
    code, _, err = call("plan", tmp_path / "spec.yaml")
    assert code == 2
    assert err.startswith(f"{tmp_path / 'spec.yaml'}: page: no page 'armz'. Did you mean 'arms'?")


def test_tables_below_a_marker_are_written_anew(file: Path, tmp_path: Path) -> None:
    readme = file.with_name("README.md")
    readme.write_text(f"{README}\nold tables\n")
    code, out, _ = call("report", file, "--into", readme)
    assert (code, out.strip()) == (0, str(readme.resolve()))
    text = readme.read_text()
    assert text.startswith(f"{README}\n- experiment: quickstart\n")
    assert "old tables" not in text
    below, whole = text.removeprefix(README), publish(archive.read(file), tmp_path / "table.md").read_text()
    assert set(below.splitlines()) < set(whole.splitlines())
    assert "### " in whole
    assert "### " not in below
    call("report", file, "--into", readme)
    assert readme.read_text() == text


def test_a_readme_without_a_marker_is_left_as_it_is(file: Path) -> None:
    readme = file.with_name("README.md")
    readme.write_text("# example\n")
    with pytest.raises(ReportError, match="has no marker; write this line where its tables are to begin: <!-- Every"):
        publish_below_marker(archive.read(file), readme)
    assert readme.read_text() == "# example\n"
    code, _, err = call("report", file, "--into", file.with_name("none.md"))
    assert code == 2
    assert "none.md cannot be read" in err
    code, _, err = call("report", file, "--into", readme, "--out", file.with_name("a.html"))
    assert code == 2
    assert "choose one" in err


def stale(records: Path, scratch: Path) -> str:
    """Return what is wrong with the README beside committed records, or nothing."""
    readme = records.with_name("README.md")
    if not MARKER.search(readme.read_text()):
        return f"{readme}: no marker"
    copy = scratch / "README.md"
    shutil.copy(readme, copy)
    publish_below_marker(archive.read(records), copy)
    return "" if copy.read_text() == readme.read_text() else f"{readme}: run `nox -s answers` and commit what it writes"


def test_committed_answers_are_what_their_records_say(tmp_path: Path) -> None:
    found = sorted((ROOT / "experiments").rglob("records.jsonl"))
    assert [wrong for records in found if (wrong := stale(records, tmp_path))] == []


def test_an_answer_that_was_edited_by_hand_is_found(file: Path, tmp_path: Path) -> None:
    readme = file.with_name("README.md")
    readme.write_text(README)
    publish_below_marker(archive.read(file), readme)
    assert stale(file, tmp_path) == ""
    readme.write_text(readme.read_text().replace("quickstart", "slowstart"))
    assert "run `nox -s answers`" in stale(file, tmp_path)
    readme.write_text(readme.read_text().replace("Everything", "Nothing"))
    assert "no marker" in stale(file, tmp_path)


def test_records_become_an_answer_without_torch(file: Path) -> None:
    readme = file.with_name("README.md")
    readme.write_text(README)
    # What an environment for reports lacks: importing any of it fails.
    code = (
        "import sys\n"
        "for name in ('torch', 'triton', 'safetensors', 'skimage', 'matplotlib', 'pooch', 'requests'):\n"
        "    sys.modules[name] = None\n"
        f"sys.argv = ['semanir-bench', 'report', {str(file)!r}, '--page', 'arms', '--into', {str(readme)!r}]\n"
        "from harness.cli import main; main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert "| backend | arm | seeds |" in readme.read_text()
