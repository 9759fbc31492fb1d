"""Two stores side by side: what follows is said, and what does not follow is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from harness import cli
from harness.record import Cell, Measured, Measurement, Skipped
from harness.store import ResultStore
from reports.comparison import Side, build
from reports.document import Document, Table, Text, blocks_of
from reports.renderers import html
from tests.reports.conftest import MACHINE

CELL = Cell(model="semanir/small", task="denoise", dataset="Set12", setting="sigma=25", backend="sdpa", top_k=16)
OTHER = CELL.model_copy(update={"top_k": 32})
IMAGES = tuple(f"{n:02}" for n in range(12))
ELSEWHERE = MACHINE.model_copy(update={"machine_class": "another", "cpu": "Other CPU"})
Make = Callable[..., Any]


def psnr(gain: float = 0.0, images: tuple[str, ...] = IMAGES, seed: int = 0) -> Measured:
    noise = np.random.default_rng(seed).normal(0, 0.02, len(images))
    samples = tuple(28.0 + n + gain + float(noise[n]) for n in range(len(images)))
    return Measured(measurements=(Measurement(name="psnr", unit="dB", samples=samples, labels=images),))


def number(name: str, unit: str, *samples: float) -> Measured:
    return Measured(measurements=(Measurement(name=name, unit=unit, samples=samples),))


def said(document: Document) -> list[str]:
    return [block.text for block in document.lead if isinstance(block, Text)]


def table(document: Document, caption: str) -> list[list[str]]:
    found = next(b for _, b in blocks_of(document) if isinstance(b, Table) and b.caption == caption)
    return [[entry.text for entry in row.entries] for group in found.groups for row in group.rows]


def test_quality_is_compared_image_by_image(make_record: Make) -> None:
    before = Side.of("a", [make_record(CELL, "psnr", psnr(seed=1)), make_record(OTHER, "psnr", psnr(seed=2))])
    after = Side.of("b", [make_record(CELL, "psnr", psnr(-0.5, seed=3)), make_record(OTHER, "psnr", psnr(seed=4))])
    document = build(before, after)
    assert said(document) == ["Quality, b against a, image by image: 1 lower, 1 cannot be told apart."]
    rows = table(document, "Quality")
    assert [row[0] for row in rows] == ["k 16", "k 32"]
    assert [row[-1] for row in rows] == ["lower", "cannot be told apart"]
    assert rows[0][4].startswith("−0.5")


def test_the_same_numbers_are_equal(make_record: Make) -> None:
    side = [make_record(CELL, "psnr", psnr(seed=1)), make_record(OTHER, "psnr", psnr(seed=2))]
    assert said(build(Side.of("a", side), Side.of("b", side))) == ["Quality, b against a, image by image: 2 equal."]


@pytest.mark.parametrize(
    ("fields", "outcome", "words"),
    [
        ({"protocol": "y-crop4"}, psnr(), "other protocols"),
        ({"degraded": {"00": "f" * 64}}, psnr(), "unlike inputs"),
        ({}, psnr(images=IMAGES[:5]), "other images"),
    ],
)
def test_quality_on_another_ground_is_not_compared(
    make_record: Make, fields: dict[str, Any], outcome: Measured, words: str
) -> None:
    one = Side.of("a", [make_record(CELL, "psnr", psnr(), degraded={"00": "0" * 64})])
    other = Side.of("b", [make_record(CELL, "psnr", outcome, **({"degraded": {"00": "0" * 64}} | fields))])
    document = build(one, other)
    assert table(document, "Quality")[0][4:] == [words] * 3
    assert said(document) == ["Quality, b against a, image by image: 1 not comparable."]


def test_times_of_two_machines_are_never_side_by_side(make_record: Make) -> None:
    mine = make_record(CELL, "latency", number("latency", "ms", 10.0, 11.0, 12.0))
    theirs = make_record(CELL, "latency", number("latency", "ms", 1.0, 1.1, 1.2), environment=ELSEWHERE)
    document = build(Side.of("a", [mine]), Side.of("b", [theirs]))
    (words,) = said(document)
    assert words.startswith("Time and memory: nothing follows, measured on two machines: Example CPU")
    assert "semanir-bench gate" in words
    assert not [block for _, block in blocks_of(document) if isinstance(block, Table)]


@pytest.mark.parametrize("words", ["faster", "slower", "lower", "higher"])
def test_times_of_one_machine_are_side_by_side_without_a_verdict(make_record: Make, words: str) -> None:
    mine = make_record(CELL, "latency", number("latency", "ms", 10.0, 11.0, 12.0))
    theirs = make_record(CELL, "latency", number("latency", "ms", 1.0, 1.1, 1.2))
    document = build(Side.of("a", [mine]), Side.of("b", [theirs]))
    assert table(document, "Time and memory") == [["denoise", "latency, ms", "11", "1.1", "0.10"]]
    assert words not in str(document)


def test_operations_are_equal_or_shown(make_record: Make) -> None:
    same = make_record(CELL, "flops", number("flops.spent", "FLOP", 1000.0))
    more = make_record(OTHER, "flops", number("flops.spent", "FLOP", 2000.0))
    fewer = make_record(OTHER, "flops", number("flops.spent", "FLOP", 1500.0))
    assert said(build(Side.of("a", [same]), Side.of("b", [same]))) == ["Operations: equal in all 1 count."]
    document = build(Side.of("a", [same, more]), Side.of("b", [same, fewer]))
    assert said(document) == ["Operations: 1 of 2 counts differ."]
    assert table(document, "Operations that differ") == [["k 32", "flops.spent", "2,000", "1,500"]]


def test_what_one_of_them_lacks_is_named_with_the_reason(make_record: Make) -> None:
    one = Side.of(
        "a", [make_record(CELL, "psnr", psnr()), make_record(CELL, "flops", number("flops.spent", "FLOP", 1.0))]
    )
    other = Side.of("b", [make_record(CELL, "psnr", Skipped(reason="no weights"))])
    document = build(one, other)
    assert said(document) == ["Nothing can be compared: no result is measured in both a and b."]
    assert table(document, "Measured in one of them") == [["denoise", "psnr", "measured", "no weights"]]
    assert "In a alone: 1 flops." in str(document)


def three(make_record: Make, gain: float) -> list[Any]:
    return [
        make_record(CELL, "psnr", psnr(gain, seed=1)),
        make_record(OTHER, "flops", number("flops.spent", "FLOP", 1000.0 + gain)),
        make_record(OTHER, "latency", number("latency", "ms", 10.0, 11.0, 12.0)),
    ]


def test_the_numbers_of_each_side_lead_to_the_command_that_measures_them_again(make_record: Make) -> None:
    one, other = (Side.of(n, three(make_record, gain), f"runs/{n}") for n, gain in (("a", 0.0), ("b", 1.0)))
    page = html.render(build(one, other), artifact=lambda _: b"")
    rows = {
        found[1]: found[2]
        for found in re.finditer(r'<tr id="cell-([^"]+)".*?(semanir-bench cell [^<]+)<', page, re.DOTALL)
    }
    assert rows == {
        f"{cell.id}{end}": f"semanir-bench cell {cell.id} --rerun --diff --store runs/{store}"
        for store, end in (("a", ""), ("b", "-second"))
        for cell in (CELL, OTHER)
    }
    links = re.findall(r'<a href="#cell-([^"]+)"[^>]*>([^<]+)</a>', page)
    quality, operations, milliseconds = links[:2], links[2:4], links[4:]
    assert [lead for lead, _ in quality] == [CELL.id, f"{CELL.id}-second"]
    assert float(quality[1][1]) - float(quality[0][1]) == pytest.approx(1.0)
    assert operations == [(OTHER.id, "1,000"), (f"{OTHER.id}-second", "1,001")]
    assert milliseconds == [(OTHER.id, "11"), (f"{OTHER.id}-second", "11")]


@pytest.mark.parametrize(("stores", "leads"), [(("", ""), 0), (("", "runs/b"), 3), (("runs/a", ""), 3)])
def test_a_side_without_a_store_leads_nowhere(make_record: Make, stores: tuple[str, str], leads: int) -> None:
    one, other = (Side.of("s", three(make_record, gain), store) for gain, store in zip((0.0, 1.0), stores, strict=True))
    page = html.render(build(one, other), artifact=lambda _: b"")
    links = re.findall(r'<a href="#(cell-[^"]+)"', page)
    assert len(links) == leads
    assert all(f'id="{link}"' in page for link in links)
    assert ("Measure again" in page) == (leads > 0)


def test_two_stores_without_a_common_cell_say_so_and_empty_ones_too(make_record: Make) -> None:
    one, other = Side.of("a", [make_record(CELL, "psnr", psnr())]), Side.of("b", [make_record(OTHER, "psnr", psnr())])
    assert said(build(one, other)) == ["Nothing can be compared: a and b have no cell and metric in common."]
    assert said(build(Side.of("a", []), Side.of("b", []))) == [
        "Nothing can be compared: a and b have no cell and metric in common."
    ]


def test_the_newest_record_counts(make_record: Make) -> None:
    old = make_record(CELL, "psnr", psnr(), started_at="2026-01-01T00:00:00+00:00")
    new = make_record(CELL, "psnr", psnr(1.0), started_at="2026-02-01T00:00:00+00:00")
    assert Side.of("a", [new, old]).records[CELL.id, "psnr"] is new


@pytest.mark.parametrize("name", ["page.html", "page.md"])
def test_the_command_prints_what_is_concluded_and_the_path_last(make_record: Make, tmp_path: Path, name: str) -> None:
    for store, gain in (("a", 0.0), ("b", 1.0)):
        with ResultStore.open(tmp_path / store) as opened:
            opened.append([make_record(CELL, "psnr", psnr(gain))])
    out = tmp_path / name
    result = CliRunner().invoke(cli.app, ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(out)])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "Quality, b against a, image by image: 1 higher."
    assert Path(lines[-1]) == out
    assert "semanir" in out.read_text() or "psnr" in out.read_text()
