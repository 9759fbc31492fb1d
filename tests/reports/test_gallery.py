"""The gallery links what was made of every experiment with committed records."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness import cli

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SHOWN = ("rain", "similarity", "topk")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery of three kinds of pages; `nox -s report` makes that of all."""
    out = tmp_path_factory.mktemp("gallery")
    files = [str(EXPERIMENTS / name / "records.jsonl") for name in SHOWN]
    result = CliRunner().invoke(cli.app, ["gallery", *files, "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert Path(result.output.strip()) == out / "index.html"
    return out


def test_every_experiment_with_records_has_its_page_tables_and_figures(folder: Path) -> None:
    for name in SHOWN:
        assert {"page.html", "tables.tex", "tables.md"} <= {path.name for path in (folder / name).iterdir()}
    assert list(folder.glob("topk/figures/*.pdf"))


def test_every_link_leads_to_a_file_or_a_place_on_the_page(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    links = set(re.findall(r'href="([^"]+)"', page)) - {"data:,"}
    assert links
    for link in links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in page
        else:
            assert (folder / link).is_file()


def test_the_same_records_give_the_same_files(folder: Path, tmp_path: Path) -> None:
    records = str(EXPERIMENTS / "similarity" / "records.jsonl")
    assert CliRunner().invoke(cli.app, ["gallery", records, "-o", str(tmp_path)]).exit_code == 0
    for path in (tmp_path / "similarity").rglob("*.*"):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes()


def test_an_experiment_tells_its_answer_and_what_is_missing(folder: Path) -> None:
    page = (folder / "index.html").read_text()
    section = page[page.index('id="topk"') :]
    assert "Yes, and it costs what the fixed k gains at its own place." in section[: section.index("</section>")]
    assert re.search(r"[0-9]+ measured", page[: page.index('id="topk"')])


def test_pages_name_their_records_as_this_folder_sees_them(folder: Path) -> None:
    page = (folder / "topk" / "page.html").read_text()
    assert f"--store {os.path.relpath(EXPERIMENTS)}/topk/records.jsonl" in page


def test_two_files_of_one_experiment_are_refused(tmp_path: Path) -> None:
    records = EXPERIMENTS / "similarity" / "records.jsonl"
    copy = Path(shutil.copy(records, tmp_path / "copy.jsonl"))
    result = CliRunner().invoke(cli.app, ["gallery", str(records), str(copy), "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "copy.jsonl holds similarity once more" in " ".join(result.stderr.split())


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_its_page(visit: Callable[..., Any], folder: Path, width: int) -> None:
    tab = visit((folder / "index.html").read_text(), width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
