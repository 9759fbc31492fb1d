"""Figures for print: what a paper takes, byte for byte the same from the same records."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness import cli
from reports.document import Axis, Figure, Panel, Point, Series
from reports.publish import ReportError, publish_figures
from reports.renderers import plots
from reports.renderers.plots import VENUES

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "experiments" / "topk" / "records.jsonl"


def figure(kind: str, **changes: Any) -> Figure:
    ticks = ((8.0, "8"), (64.0, "64"))
    series = tuple(
        Series(
            label=label,
            style=style,
            points=tuple(
                Point(x=x, y=y + style, low=y + style - 0.2, high=y + style + 0.1, cells=("abc",))
                for x, y in ((8.0, 1.5), (64.0, 2.25))
            ),
        )
        for style, label in enumerate(("mask", "a_b $x$ <script>"))
    )
    given: dict[str, Any] = {
        "title": "Latency",
        "summary": "s",
        "kind": kind,
        "x": Axis(label="k", log=True, ticks=ticks),
        "y": Axis(label="latency", unit="ms", zero=True),
        "panels": (Panel(series=series),),
    }
    return Figure(**given | changes)


KINDS = ["lines", "bars", "stacked", "strips"]


@pytest.mark.parametrize("form", ["pdf", "svg"])
@pytest.mark.parametrize("kind", KINDS)
def test_equal_figures_give_equal_bytes_without_a_date(kind: str, form: Any) -> None:
    drawn = plots.draw(figure(kind), form=form, venue=VENUES["cvpr"])
    assert drawn == plots.draw(figure(kind), form=form, venue=VENUES["cvpr"])
    assert not re.search(rb"CreationDate|<dc:date>|20[0-9][0-9]-", drawn)


@pytest.mark.parametrize(
    ("venue", "wide", "inches"),
    [
        ("neurips", False, 5.5),
        ("cvpr", False, 3.25),
        ("cvpr", True, 6.875),
        ("ieee", False, 3.5),
        ("ieee", True, 7.16),
    ],
)
def test_a_figure_is_as_wide_as_the_column_and_its_fonts_are_inside(venue: str, wide: bool, inches: float) -> None:
    drawn = plots.draw(figure("lines"), form="pdf", venue=VENUES[venue], wide=wide)
    width = float(re.search(rb"/MediaBox \[ 0 0 ([0-9.]+) ", drawn)[1])
    assert width == pytest.approx(72 * inches, abs=0.01)
    assert b"/FontFile2" in drawn
    assert b"STIXGeneral" in drawn


def test_panels_that_do_not_fit_beside_each_other_go_below() -> None:
    panels = tuple(Panel(title=str(n), series=figure("lines").panels[0].series) for n in range(4))
    column, text = (
        plots.draw(figure("lines", panels=panels), form="svg", venue=VENUES["cvpr"], wide=wide).decode()
        for wide in (False, True)
    )
    heights = [float(re.search(r'height="([0-9.]+)pt"', each)[1]) for each in (column, text)]
    assert heights[0] > 1.5 * heights[1]


def test_the_data_lie_beside_a_figure_in_full() -> None:
    rows = list(csv.DictReader(io.StringIO(plots.as_csv(figure("lines")))))
    assert rows[0] == {
        "panel": "",
        "series": "mask",
        "k": "8.0",
        "name of it": "8",
        "left": "",
        "right": "",
        "latency (ms)": "1.5",
        "low": "1.3",
        "high": "1.6",
        "area": "",
        "from": "",
        "cells": "abc",
    }
    assert [row["series"] for row in rows] == ["mask", "mask", "a_b $x$ <script>", "a_b $x$ <script>"]


def test_the_command_draws_what_is_asked_for_with_the_names_of_the_paper(tmp_path: Path) -> None:
    spec = tmp_path / "paper.yaml"
    text = (ROOT / "experiments" / "topk" / "spec.yaml").read_text()
    spec.write_text(f"{text}\npaper:\n  names: {{weights: {{ablation-w16-random: Ours}}}}\n")
    arguments = ["figure", str(RECORDS), "--only", "set12-psnr-against-k", "-o", str(tmp_path), "--paper", str(spec)]
    result = CliRunner().invoke(cli.app, [*arguments, "--format", "svg"])
    assert result.exit_code == 0, result.output
    paths = [Path(line) for line in result.output.split()]
    assert [path.suffix for path in paths] == [".svg", ".csv", ".txt"]
    assert "Ours" in {row["series"] for row in csv.DictReader(io.StringIO(paths[1].read_text()))}
    assert paths[0].read_bytes().startswith(b"<?xml")
    assert paths[2].read_text().startswith("PSNR against k. ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--venue", "nature"], "no venue 'nature'; there are: neurips, cvpr, ieee"),
        (["--only", "memory"], "has 'memory' in its name; there are: topk-"),
        (["-o", str(ROOT / "README.md")], "README.md is a file; name a folder"),
    ],
)
def test_what_cannot_be_drawn_is_said_with_what_can(tmp_path: Path, options: list[str], words: str) -> None:
    result = CliRunner().invoke(cli.app, ["figure", str(RECORDS), "-o", str(tmp_path / "new"), *options])
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert not (tmp_path / "new").exists()


def test_a_page_of_tables_alone_says_so(tmp_path: Path) -> None:
    records = ROOT / "experiments" / "shipped" / "records.jsonl"
    result = CliRunner().invoke(cli.app, ["figure", str(records), "-o", str(tmp_path)])
    assert result.exit_code == 2
    assert "the page of shipped has no figures: it tells its numbers in tables" in " ".join(result.stderr.split())


def test_a_plan_without_numbers_says_what_makes_them(make_sweep: Any, tmp_path: Path) -> None:
    class Empty:
        folder = artifacts = tmp_path

        def plans(self) -> list[Any]:
            return [make_sweep(()).plan]

        def latest(self, keys: object = None) -> dict[str, Any]:
            return {}

        def inputs(self) -> list[Any]:
            return []

    with pytest.raises(ReportError, match="no figure of example yet; `semanir-bench run` measures"):
        publish_figures(Empty(), tmp_path, form="pdf", venue="cvpr")
