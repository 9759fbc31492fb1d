"""The page of a gate's verdict: what it shows with and without samples, and what it does with strings of others."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import cli
from harness.gate import document, samples
from harness.gate.cells import SENTINEL
from harness.gate.document import CertificateShown, ExactVerdict, GateDocument, WaiverShown
from harness.gate.launch import Block
from reports.document import Figure, Figures, Section, Table
from reports.gate import build
from reports.publish import ReportError, publish_gate, publish_gate_summary
from reports.renderers import figures, html, markdown
from tests.harness.gate.simulated import SPEC, simulated, write

ROOT = Path(__file__).parents[2]
EVIL = "<script>alert('x')</script>|&\"<img src=x onerror=alert(1)>"
WORSE = ExactVerdict(
    cell="psnr-x",
    quantity="psnr",
    unit="dB",
    status="worse",
    base=30.12,
    head=29.0,
    tolerance="at most 0.01 dB less",
    reason="30.120 -> 29.000 dB",
)
WAIVER = WaiverShown(
    cell="mask-forward", limit="1.1", reason="it was | worth it", expires="2026-11-01", state="expired", used=False
)
HELD = CertificateShown(
    date="2026-11-20",
    comparisons=100,
    false_alarms=0,
    false_alarm_at_most=0.0296,
    power={"+10% in sdpa": "38 of 40 (at least 85.2%)"},
    launch_sd=0.012,
)

Run = tuple[GateDocument, list[Block]]


@pytest.fixture(scope="module")
def slow() -> Run:
    """A slower sdpa, a worse figure and an expired waiver."""
    verdict, blocks = simulated(effects={"sdpa-forward": 0.2})
    return verdict.model_copy(update={"exact": (WORSE,), "waivers": (WAIVER,)}), blocks


def section(verdict: GateDocument, anchor: str, blocks: list[Block] | None = None) -> Section:
    return next(each for each in build(verdict, blocks or ()).sections if each.anchor == anchor)


def drawn(found: Section) -> list[Figure]:
    return [figure for block in found.blocks if isinstance(block, Figures) for figure in block.figures]


def rows(found: Section) -> list[list[str]]:
    (table,) = [block for block in found.blocks if isinstance(block, Table)]
    return [[entry.text for entry in row.entries] for group in table.groups for row in group.rows]


def page(verdict: GateDocument, blocks: list[Block] | None = None) -> str:
    return html.render(build(verdict, blocks or ()), artifact=lambda name: b"")


def test_a_page_shows_what_must_not_be_overlooked(slow: Run) -> None:
    text = page(*slow)
    for words in ("Regression gate: fail", "slower: sdpa-forward", "SLOWER", "WORSE", "EXPIRED on 2026-11-01"):
        assert words in text, words
    assert '<a class="badge failed" href="#timed">1 slower</a>' in text
    assert '<a class="badge failed" href="#exact">1 figure worse</a>' in text
    assert re.search(r'<td class="text best">\s*<span>SLOWER</span>', text)
    assert "psnr-x: 30.120 -&gt; 29.000 dB" in text


def test_timed_cells_have_their_ratio_interval_and_launches(slow: Run) -> None:
    verdict, _ = slow
    found = rows(section(verdict, "timed"))
    cell = verdict.cells[2]
    assert cell.ratio is not None
    assert cell.low is not None
    assert cell.high is not None
    assert found[2][:4] == ["sdpa-forward", "SLOWER", f"{cell.ratio:.3f}", f"{cell.low:.3f} to {cell.high:.3f}"]
    assert [row[-1] for row in found] == ["8", "8", "8 + 8"]


def test_strips_hold_every_launch_value_of_both_stages_and_the_margin(slow: Run) -> None:
    verdict, blocks = slow
    for given in ([], blocks):
        (figure,) = drawn(section(verdict, "timed", given))
        assert figure.y.origin == 0.0
        assert figure.y.band == (-verdict.rule.bound, verdict.rule.bound)
        series = [each for panel in figure.panels for each in panel.series]
        for stage in ("first", "second"):
            told = [value for cell in verdict.cells for value in getattr(cell, stage)]
            points = [p.y for each in series if each.label == f"{stage} stage" and not each.faint for p in each.points]
            assert points == told
        behind = sum(len(each.points) for each in series if each.faint)
        assert behind == (len([block for block in blocks if block.cell != SENTINEL]) if given else 0)


def test_a_launch_value_is_the_median_of_the_blocks_behind_it(slow: Run) -> None:
    verdict, blocks = slow
    own = sorted(block.value for block in blocks if (block.cell, block.launch) == ("mask-forward", 0))
    assert (own[3] + own[4]) / 2 == pytest.approx(verdict.cells[0].first[0])


def test_throttled_blocks_are_not_drawn_for_they_make_no_launch_value(slow: Run) -> None:
    verdict, blocks = slow
    hot = [blocks[0].load[0].model_copy(update={"throttle": 0x40})] * 4
    spoilt = [block.model_copy(update={"load": tuple(hot)}) for block in blocks]
    (figure,) = drawn(section(verdict, "timed", spoilt))
    assert not [series for panel in figure.panels for series in panel.series if series.faint]


def test_many_cells_stand_in_two_columns_each_once() -> None:
    names = [f"cell-{number}" for number in range(21)]
    cells = tuple(SPEC.cells[0].model_copy(update={"name": name}) for name in names)
    verdict, _ = simulated(SPEC.model_copy(update={"cells": cells}))
    (figure,) = drawn(section(verdict, "timed"))
    shown = [{figure.x.ticks[int(p.x)][1] for series in panel.series for p in series.points} for panel in figure.panels]
    assert [len(names) for names in shown] == [11, 10]
    assert shown[0] | shown[1] == set(names)


def test_base_and_head_stand_apart_with_every_sample(slow: Run) -> None:
    verdict, blocks = slow
    folded = next(b for b in section(verdict, "timed", blocks).blocks if hasattr(b, "count"))
    assert folded.count == f"{4 * len([b for b in blocks if b.cell != SENTINEL]):,} samples"
    (held,) = folded.blocks
    assert [figure.title for figure in held.figures] == [cell.cell for cell in verdict.cells]
    base, head = (
        next(each for each in held.figures[2].panels[0].series if each.label == side and not each.faint)
        for side in ("base", "head")
    )
    assert len(base.points) == len(head.points) == 16
    slower = [h.y / b.y for b, h in zip(base.points, head.points, strict=True)]
    assert sorted(slower)[8] == pytest.approx(1.2, abs=0.05)


def test_the_sentinel_is_drawn_against_half_of_the_margin(slow: Run) -> None:
    verdict, blocks = slow
    (figure,) = drawn(section(verdict, "sentinel", blocks))
    assert "quiet" in figure.title
    assert figure.y.band is not None
    assert figure.y.band[1] == pytest.approx(0.01489, abs=1e-5)
    void, _ = simulated(effects={SENTINEL: 0.1})
    (figure,) = drawn(section(void, "sentinel"))
    assert "ALARM" in figure.title
    assert '<span class="badge failed">void</span>' in page(void)


def test_neighbours_are_drawn_launch_by_launch_and_what_nobody_tells_is_left_out(slow: Run) -> None:
    verdict, blocks = slow
    found = drawn(section(verdict, "neighbours", blocks))
    assert [figure.title for figure in found] == [
        "Somebody waited for a processor", "Load", "Interruptions of the workers",
    ]  # fmt: skip
    for figure in found:
        (panel,) = figure.panels
        assert [point.x for point in panel.series[0].points] == list(range(1, 17))
    pressure = found[0].panels[0].series[0].points[0]
    assert pressure.low is not None
    assert pressure.high is not None
    assert 0 <= pressure.low < pressure.y < pressure.high <= 100
    assert "neighbours" not in {each.anchor for each in build(verdict).sections}


def test_a_certificate_is_shown_or_why_there_is_none(slow: Run) -> None:
    verdict, _ = slow
    without = page(verdict)
    assert "no certificate for this class of machine" in without
    assert "semanir-bench gate --self-test DIR" in without
    text = page(verdict.model_copy(update={"certificate": HELD, "certificate_note": ""}))
    assert "0 in 100 comparisons: at most 3.0%" in text
    assert "<dt>+10% in sdpa found</dt><dd>38 of 40 (at least 85.2%)</dd>" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "refused", "refusal": "dirty_tree", "exit_code": 2, "message": "HEAD is not what lies there"},
        {"outcome": "nothing_to_compare", "message": "A/A, nothing to compare"},
    ],
)
def test_a_verdict_without_measurements_has_a_page(slow: Run, changes: dict[str, object]) -> None:
    nothing = {"cells": (), "exact": (), "waivers": (), "sentinel": None, "neighbours": None, "certificate_note": ""}
    verdict = slow[0].model_copy(update=nothing | changes)
    found = build(verdict)
    assert [each.anchor for each in found.sections] == ["provenance"]
    assert [badge.text for badge in found.badges] == [str(changes["outcome"]).replace("_", " ")]
    assert str(changes["message"]) in page(verdict)


def test_a_cell_that_was_not_measured_has_its_reason_and_no_strip(slow: Run) -> None:
    verdict, blocks = slow
    gone = verdict.cells[0].model_copy(
        update={"status": "not_measured", "ratio": None, "low": None, "high": None, "first": (), "reason": "base: none"}
    )
    lost = verdict.model_copy(update={"cells": (gone, *verdict.cells[1:])})
    found = section(lost, "timed", [block for block in blocks if block.cell != "mask-forward"])
    assert rows(found)[0][:3] == ["mask-forward", "NOT MEASURED", ""]
    assert "mask-forward" not in dict(drawn(found)[0].x.ticks).values()
    assert "mask-forward: base: none" in page(lost)
    nobody = verdict.model_copy(update={"cells": (gone,)})
    assert drawn(section(nobody, "timed")) == []


def evil() -> Run:
    verdict, blocks = simulated()
    cells = tuple(cell.model_copy(update={"cell": EVIL, "reason": EVIL}) for cell in verdict.cells[:1])
    renamed = [b.model_copy(update={"cell": EVIL}) for b in blocks if b.cell == verdict.cells[0].cell]
    side = verdict.base.model_copy(update={"revision": EVIL, "commit": EVIL}) if verdict.base else None
    changes = {
        "cells": cells,
        "exact": (WORSE.model_copy(update={"cell": EVIL, "unit": EVIL, "tolerance": EVIL, "reason": EVIL}),),
        "waivers": (WAIVER.model_copy(update={"cell": EVIL, "reason": EVIL, "expires": EVIL}),),
        "base": side,
        "message": EVIL,
        "certificate_note": EVIL,
        "certificate": HELD.model_copy(update={"power": {EVIL: EVIL}}),
        "started_at": EVIL,
    }
    return verdict.model_copy(update=changes), renamed


class Tags(HTMLParser):
    """Names of all tags and of all attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


def test_no_string_of_a_verdict_breaks_out_of_the_page() -> None:
    verdict, blocks = evil()
    found = Tags(page(verdict, blocks))
    honest = Tags(page(*simulated()))
    assert found.tags.count("script") == honest.tags.count("script") == 1
    assert found.tags.count("img") == honest.tags.count("img")
    assert not [name for name in found.attributes if name.startswith("on")]
    for figure in (*drawn(section(verdict, "timed", blocks)), *drawn(section(verdict, "sentinel", blocks))):
        for _, svg in figures.draw(figure):
            assert not {"script", "img"} & {each.tag for each in ElementTree.fromstring(svg).iter()}


def test_no_string_of_a_verdict_breaks_a_table_of_the_summary() -> None:
    verdict, _ = evil()
    text = markdown.render(build(verdict), titled=True)
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert tables
    for line in tables:
        assert len(re.findall(r"(?<!\\)\|", line)) in (8, 7, 5), line
    assert not re.search(r"(?<!\\)<", text)


# Files


def test_a_page_is_written_beside_its_verdict_and_again_the_same(slow: Run, tmp_path: Path) -> None:
    write(*slow, tmp_path)
    out = publish_gate(tmp_path / document.NAME)
    assert out == tmp_path / "gate.html"
    first = out.read_bytes()
    assert b"Every sample, base and head apart" in first
    result = CliRunner().invoke(cli.app, ["gate", "--page", str(tmp_path / document.NAME), "-o", str(tmp_path / "b")])
    assert (result.exit_code, result.stdout.strip()) == (0, str((tmp_path / "b" / "gate.html").resolve()))
    assert (tmp_path / "b" / "gate.html").read_bytes() == first


def test_without_its_samples_a_page_says_so_and_with_others_there_is_none(slow: Run, tmp_path: Path) -> None:
    write(*slow, tmp_path)
    file = tmp_path / samples.NAME
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(ReportError, match=r"samples\.jsonl\.gz is not the file that .*gate\.json names; put that back"):
        publish_gate(tmp_path / document.NAME)
    file.unlink()
    text = publish_gate(tmp_path / document.NAME).read_text()
    assert "samples.jsonl.gz is not beside the verdict" in text
    assert "Launch values" in text


def test_what_is_no_verdict_has_no_page(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}")
    for name, words in (("notes.json", "schema version None is unknown"), ("none.json", "name a gate.json")):
        result = CliRunner().invoke(cli.app, ["gate", "--page", str(tmp_path / name)])
        assert (result.exit_code, result.stdout) == (2, "")
        assert words in result.stderr
    assert list(tmp_path.glob("*.html")) == []


def test_a_job_summary_begins_with_the_outcome_and_keeps_what_others_wrote(slow: Run, tmp_path: Path) -> None:
    verdict, _ = slow
    summary = tmp_path / "summary.md"
    summary.write_text("# Another step\n\n")
    text = publish_gate_summary(verdict, summary).read_text()
    assert text.startswith("# Another step\n\n# Regression gate: fail\n\nslower: sdpa-forward\n\n- base: ")
    assert "| sdpa-forward | **SLOWER** | " in text
    assert "| mask-forward | 1.1 | EXPIRED on 2026-11-01 | it was \\| worth it |" in text
    assert "\n\n\n" not in text


def test_the_page_is_built_without_torch() -> None:
    code = "import sys, reports.gate, reports.publish; print({'torch', 'triton', 'skimage'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    chromium = next((p for p in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if p.exists()), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways_and_its_strips_keep_inside(
    browser: object, slow: Run, tmp_path: Path, width: int
) -> None:
    (tmp_path / "gate.html").write_text(page(*slow), encoding="utf-8")
    tab = browser.new_page(viewport={"width": width, "height": 844}, offline=True)  # type: ignore[attr-defined]
    tab.goto((tmp_path / "gate.html").as_uri())
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator(".strips svg.plot").count() == 1 + 3 + 1
    widths = tab.evaluate("[...document.querySelectorAll('.strips svg.plot')].map((e) => e.clientWidth)")
    assert all(300 < each <= 430 for each in widths)
    tab.close()
