from __future__ import annotations

import io
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.record import Cell, Failed, Measured, Measurement, Skipped
from reports.document import Column, Document, Entry, Facts, Gallery, Group, Row, Section, Table, blocks_of
from reports.renderers.html import render

EVIL = "<script>alert('x')</script>&\"<img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """Every tag with its attributes, and whether tags that need an end have one."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input", "path", "rect", "circle"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(whole: Any) -> str:
    return str(whole.html(store_name="runs/quickstart"))


@pytest.fixture(scope="module")
def evil(make_record: Callable[..., Any], make_sweep: Callable[..., Any], small: Any) -> Any:
    """Strings that would break out of a page, wherever a string can stand."""
    name = next(iter(small.files))
    files = {"degraded": name, "restored": name, "target": name}
    records = []
    for top_k in (8, 16):
        for backend in (f"a{EVIL}", f"b{EVIL}"):
            cell = Cell(model=EVIL, task=EVIL, dataset=EVIL, setting=EVIL, weights=EVIL, backend=backend, top_k=top_k)
            samples = {"samples": (30.0, 31.0), "labels": (EVIL, "b")}
            outcomes = {
                "psnr": Measured(measurements=(Measurement(name="psnr", unit="dB", **samples),), notes=(EVIL,)),
                "latency": Measured(measurements=(Measurement(name="latency", unit=EVIL, samples=(3.0,)),)),
                "memory": Skipped(reason=EVIL),
                EVIL: Failed(failure="error", error=f"{EVIL}\n{EVIL}"),
                "other": Measured(measurements=(Measurement(name=EVIL, unit=EVIL, samples=(1.0,)),)),
            }
            for metric, outcome in outcomes.items():
                artifacts = {f"{role}:{EVIL}": file for role, file in files.items()} if metric == "psnr" else {}
                records.append(make_record(cell, metric, outcome, artifacts=artifacts, protocol=EVIL))
    sweep = make_sweep(records, question=EVIL, name=EVIL)
    sweep.files.update(small.files)
    return sweep


def test_no_string_of_a_record_breaks_out_of_the_page(evil: Any) -> None:
    html = evil.html(store_name=EVIL)
    tags = Tags(html)
    assert not tags.open
    assert sum(tag == "script" for tag, _ in tags.found) == 1
    assert not [name for _, attributes in tags.found for name in attributes if name.startswith("on")]
    assert {attributes["src"][:22] for tag, attributes in tags.found if tag == "img" and "src" in attributes} == {
        "data:image/png;base64,"
    }
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in html


def test_the_page_asks_for_nothing_outside_itself(page: str) -> None:
    for tag, attributes in Tags(page).found:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert attributes.get(name, "#")[:1] == "#" or attributes[name].startswith("data:"), (tag, name)
    assert "@import" not in page
    assert not re.search(r"url\(", page)
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page


def test_every_link_leads_to_a_place_that_exists_once(page: str) -> None:
    tags = Tags(page).found
    anchors = [attributes["id"] for _, attributes in tags if "id" in attributes]
    links = {attributes["href"][1:] for tag, attributes in tags if tag == "a"}
    assert len(anchors) == len(set(anchors))
    assert links <= set(anchors)


def test_equal_records_give_equal_pages_whatever_their_order(whole: Any, page: str) -> None:
    turned = replace(whole, records=dict(reversed(list(whole.records.items()))))
    assert turned.html(store_name="runs/quickstart") == page


def test_reasons_stand_in_the_page(page: str) -> None:
    for reason in ("no weights", "interpreter: not a speed", "out of memory: MemoryError: 4.1 GiB"):
        assert reason in page


def test_the_spec_is_shown_in_full_with_its_digest(whole: Any, page: str) -> None:
    assert whole.plan.text in page
    assert whole.plan.digest in page


def test_every_task_shows_its_pictures(page: str) -> None:
    for task in ("jpeg", "denoise", "demosaic", "sr", "deblur", "weather"):
        start = page.index("<h2 id=", page.index(f">{task}</h2>") - 60)
        assert page.index('class="picture"', start) < page.find("</section>", start)


def test_figures_say_in_words_what_they_show(page: str) -> None:
    plots = re.findall(r'<svg class="plot".*?</svg>', page, flags=re.S)
    assert plots
    assert all("<title>" in plot and "<desc>" in plot for plot in plots)
    assert all(attributes["alt"] for tag, attributes in Tags(page).found if tag == "img" and "src" in attributes)


def test_a_picture_that_is_lost_is_named_and_no_crash(small: Any) -> None:
    assert "the picture is missing from the store" in replace(small, files={}).html()


def _shown(html: str, role: str) -> list[np.ndarray]:
    """Return the pixels of the pictures in one role."""
    uris = [each["src"] for tag, each in Tags(html).found if tag == "img" and each.get("data-role") == role]
    return [np.asarray(Image.open(io.BytesIO(b64decode(uri.partition(",")[2])))).astype(int) for uri in uris]


def test_errors_are_seen_where_a_restored_picture_is_off(small: Any) -> None:
    (restored,), targets, (error,) = (_shown(small.html(), role) for role in ("restored", "target", "error"))
    assert len(targets) == 2  # the other task has no weights: nothing is restored, nothing is off
    off = abs(restored - targets[0])
    assert off.max() > 10
    assert np.array_equal(error, np.minimum(255, 8 * off))


def test_an_error_of_colours_is_that_of_the_farthest(small: Any) -> None:
    (name,) = {
        picture.artifact
        for _, block in blocks_of(small.document())
        if isinstance(block, Gallery)
        for picture in block.comparisons[0].pictures
        if picture.target
    }
    file = io.BytesIO()
    Image.new("RGB", (144, 144), (10, 20, 30)).save(file, "PNG")
    other = io.BytesIO()
    Image.new("RGB", (144, 144), (12, 15, 31)).save(other, "PNG")
    files = dict.fromkeys(small.files, other.getvalue()) | {name: file.getvalue()}
    (error,) = _shown(replace(small, files=files).html(), "error")
    assert set(error.ravel()) == {8 * 5}


def test_large_pictures_are_reduced(small: Any) -> None:
    noise = Image.effect_noise((1500, 900), 60)
    file = io.BytesIO()
    noise.save(file, "PNG")
    large = replace(small, files=dict.fromkeys(small.files, file.getvalue()))
    assert 'width="1500" height="900"' in large.html()
    assert len(large.html()) < 9 * len(file.getvalue())


def test_a_report_is_built_without_torch() -> None:
    script = (
        "import sys\n"
        "import reports.publish, reports.pages.ablation, reports.renderers.html\n"
        "from harness.store import StoredPlan\n"
        "plan = StoredPlan(digest='d', name='n', question='q', text='t', created_at='', entries=())\n"
        "document = reports.publish.PAGES['ablation']({}, plan)\n"
        "reports.renderers.html.render(document, artifact=lambda name: b'')\n"
        "print(sorted({'torch', 'triton'} & set(sys.modules)))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# In a browser


WIDTHS = [390, 1280]
"""Of a phone and of a desk, in pixels."""


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_never_scrolls_sideways(visit: Callable[..., Any], page: str, evil: Any, width: int) -> None:
    for html in (page, evil.html()):
        tab = visit(html, width)
        tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_a_long_name_of_a_fact_breaks_between_words_alone(visit: Callable[..., Any], width: int) -> None:
    items = (("machine", "one"), ("characteristics", "two"), ("a name of many words for one fact", "three"))
    html = render(Document(title="Facts", sections=(), lead=(Facts(items=items),)), artifact=lambda name: b"")
    terms = visit(html, width).locator(".facts dt")
    lines = terms.evaluate_all(
        """all => all.map((dt) => {
            const range = document.createRange();
            range.selectNodeContents(dt);
            return new Set([...range.getClientRects()].map((each) => each.top)).size;
        })"""
    )
    assert lines[:2] == [1, 1]
    assert lines[2] <= 3
    assert terms.evaluate_all("all => all.every((dt) => dt.scrollWidth <= dt.clientWidth)")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_number_tells_its_cell_and_the_command_when_it_is_tapped(
    visit: Callable[..., Any], page: str, whole: Any, width: int
) -> None:
    tab = visit(page, width)
    number = tab.locator("td.number a").first
    cell = number.get_attribute("href").removeprefix("#cell-")
    number.click()
    assert cell in {entry.cell.id for entry in whole.plan.entries}
    expected = f"semanir-bench cell {cell} --rerun --diff --store runs/quickstart"
    assert tab.locator("#sheet .command").inner_text() == expected
    (record, *_) = [each for each in whole.records.values() if each.cell.id == cell and each.protocol]
    origin = tab.locator("#sheet .origin").inner_text()
    for said in (record.started_at[:10], f"commit {record.commit[:10]}", f"spec {record.spec}", record.environment.cpu):
        assert said in origin
    assert f"protocol {record.protocol}" in origin
    tab.keyboard.press("Escape")
    assert tab.locator("#sheet").is_hidden()


def test_numbers_are_reached_and_told_by_keys_alone(visit: Callable[..., Any], page: str) -> None:
    """Tab stops once at a table; arrows go from number to number, past what has none."""
    tab = visit(page)
    stops = tab.locator("td a:not(.id)[tabindex='0']")
    tables = tab.locator("table:has(td a:not(.id))")
    assert stops.count() == tables.count() > 0
    stops.first.focus()
    seen = []
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"):
        tab.keyboard.press(key)
        seen.append(tab.evaluate("[document.activeElement.closest('tr').rowIndex, document.activeElement.tabIndex]"))
    assert [index for _, index in seen] == [0] * 4
    assert seen[1][0] > seen[0][0] == seen[3][0]
    assert stops.count() == tables.count()
    tab.keyboard.press("Enter")
    assert tab.locator("#sheet .command").inner_text().startswith("semanir-bench cell ")


def test_what_lies_behind_an_entry_without_a_cell_is_said_too() -> None:
    row = Row(entries=(Entry(text="–", reason="no figure is set"), Entry(text="1", detail="two <images>")))
    table = Table(caption="t", columns=(Column(label="a"), Column(label="b")), groups=(Group(rows=(row,)),))
    document = Document(title="x", sections=(Section(title="s", anchor="s", blocks=(table,)),))
    text = render(document, artifact=lambda name: b"")
    assert '<span title="no figure is set">–</span>' in text
    assert '<span title="two &lt;images&gt;">1</span>' in text


def test_pictures_of_one_scene_take_each_others_place_when_enlarged(visit: Callable[..., Any], page: str) -> None:
    tab = visit(page)
    tab.locator("button.pair").first.click()
    shown = tab.locator("#viewer img").first
    before = shown.get_attribute("src")
    tab.locator("#viewer .choices button", has_text="restored").click()
    assert shown.get_attribute("src") != before
    assert "restored" in shown.get_attribute("alt")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_picture_slides_over_the_first_of_its_scene(visit: Callable[..., Any], page: str, width: int) -> None:
    tab = visit(page, width)
    tab.locator("button.pair", has=tab.locator("[data-role=restored]")).first.click()
    slider, line = tab.locator("#viewer .slider"), tab.locator("#viewer input[type=range]")
    assert line.is_hidden()
    tab.get_by_role("button", name="Slide over degraded").click()
    assert slider.locator("b").all_inner_texts() == ["degraded", "restored"]
    box = slider.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert box["width"] / box["height"] == pytest.approx(1, abs=0.01)
    at = "() => getComputedStyle(document.querySelector('#viewer .slider')).getPropertyValue('--at')"
    tab.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    assert 20 <= int(tab.evaluate(at).rstrip("%")) <= 30
    shown = slider.locator("img").first.get_attribute("src")
    for _ in range(5):
        tab.keyboard.press("ArrowRight")
    assert 25 <= int(tab.evaluate(at).rstrip("%")) <= 35
    assert slider.locator("img").first.get_attribute("src") == shown
    tab.get_by_role("button", name="Slide over degraded").click()
    assert line.is_hidden()


FAINT = """
() => {
    const channel = (x) => (x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
    const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
    const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = parts(getComputedStyle(at).backgroundColor);
            if (colour.length < 4 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const found = {};
    for (const each of document.querySelectorAll("body *")) {
        const own = [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || !each.checkVisibility({ checkOpacity: true }) || each.closest("svg, script, style")) continue;
        const [one, other] = [light(parts(getComputedStyle(each).color)), light(ground(each))].sort((a, b) => b - a);
        const ratio = (one + 0.05) / (other + 0.05);
        if (ratio < 4.5) found[each.tagName + "." + each.className] = ratio.toFixed(2);
    }
    return found;
}
"""
"""Words whose contrast to what is behind them is below 4.5, which WCAG 2.2 asks of text (success criterion 1.4.3)."""


@pytest.mark.parametrize(
    ("media", "scheme"), [("screen", "light"), ("screen", "dark"), ("print", "light"), ("print", "dark")]
)
def test_every_word_stands_out_from_its_ground(visit: Callable[..., Any], page: str, media: str, scheme: str) -> None:
    tab = visit(page)
    tab.emulate_media(media=media, color_scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert tab.evaluate(FAINT) == {}
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(20, 23, 26)") == ((media, scheme) == ("screen", "dark"))


def test_faint_words_are_found(visit: Callable[..., Any], page: str) -> None:
    tab = visit(page.replace("</head>", "<style>.kicker { color: #aaa; }</style></head>"))
    assert tab.evaluate(FAINT).keys() == {"P.kicker"}


def test_on_paper_the_whole_page_stands_and_nothing_to_press(visit: Callable[..., Any], page: str) -> None:
    """A sheet of A4 within its margins is 718 pixels wide."""
    tab = visit(page, 718)
    folded = tab.locator("details:not([open])").count()
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert folded > 0
    assert tab.locator("details:not([open])").count() == 0
    assert tab.locator("nav:visible, .copy:visible, select:visible, input:visible, #sheet:visible").count() == 0
    assert tab.locator("table:visible").count() == tab.locator("table").count() > 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= 718


@pytest.mark.parametrize("damage", [lambda content: content[:60], lambda content: b"hello"])
def test_a_picture_that_is_damaged_is_named_and_no_crash(small: Any, damage: Callable[[bytes], bytes]) -> None:
    whole = small.html()
    html = replace(small, files={name: damage(content) for name, content in small.files.items()}).html()
    assert whole.count('class="pair none"') < html.count('class="pair none"')
    assert html.count("<span>the picture cannot be read, for it is damaged</span>") == _shown_of(whole)
    assert _shown_of(html) == 0
    assert "the picture is missing from the store" not in html


def test_an_error_of_a_damaged_target_is_not_shown_and_the_restored_picture_is(small: Any) -> None:
    (target,) = {
        picture.target
        for _, block in blocks_of(small.document())
        if isinstance(block, Gallery)
        for picture in block.comparisons[0].pictures
        if picture.target
    }
    html = replace(small, files=small.files | {target: small.files[target][:60]}).html()
    assert len(_shown(html, "restored")) == 1
    assert _shown(html, "error") == []


def _shown_of(html: str) -> int:
    """Count the pictures of galleries."""
    return sum(tag == "img" and "data-role" in each and "src" in each for tag, each in Tags(html).found)
