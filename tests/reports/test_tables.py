"""Tables of the page in a browser: sorted by their heads, filtered by their names, and put back as they were."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from reports.document import Column, Document, Entry, Group, Row, Section, Table
from reports.renderers import html

TABLE = "#numbers table"


def row(k: str, backend: str, psnr: str, cell: str) -> Row:
    reason = "out of memory: 4 GiB" if psnr == "out of memory" else ""
    number = Entry(text=psnr, reason=reason, cell=cell, value=None if reason else float(psnr.replace("−", "-")))
    entries = (Entry(text=k), Entry(text=backend), number, Entry(text=cell, cell=cell))
    return Row(entries=entries, anchor=cell)


@pytest.fixture(scope="module")
def page() -> str:
    columns = (
        Column(label="k"),
        Column(label="backend"),
        Column(label="PSNR", unit="dB", kind="number", hint="mean over images"),
        Column(label="cell", kind="cell"),
    )
    groups = (
        Group(
            title="window 8 · denoise",
            rows=(
                row("4", "mask", "9.50", "a1"),
                row("4", "sdpa", "−1.25", "a2"),
                row("16", "mask", "out of memory", "a3"),
                row("16", "sdpa", "30.10", "a4"),
            ),
        ),
        Group(
            title="window 16 · denoise",
            rows=(row("4", "mask", "28.00", "b1"), row("4", "sdpa", "31.00", "b2"), row("128", "sdpa", "29.00", "b3")),
        ),
    )
    numbers = Table(caption="Numbers", columns=columns, groups=groups, stubs=2)
    short = Table(caption="Short", columns=columns[1:2], groups=(Group(rows=(Row(entries=(Entry(text="one"),)),)),))
    sections = (
        Section(title="Numbers", anchor="numbers", blocks=(numbers,)),
        Section(title="Short", anchor="short", blocks=(short,)),
    )
    return html.render(Document(title="Tables", sections=sections), artifact=lambda name: b"")


def cells(tab: Any) -> list[str]:
    """Return the ids of the rows that are seen, from top to bottom."""
    return [
        each.removeprefix("cell-")
        for each in tab.eval_on_selector_all(
            f"{TABLE} tr[id]", "rows => rows.filter((row) => row.checkVisibility()).map((row) => row.id)"
        )
    ]


def head(tab: Any, name: str) -> Any:
    return tab.locator(f"{TABLE} thead th", has_text=name)


ORDER = ["a1", "a2", "a3", "a4", "b1", "b2", "b3"]


def test_a_head_sorts_down_then_up_then_not_and_what_has_no_value_comes_last(
    visit: Callable[..., Any], page: str
) -> None:
    tab = visit(page)
    before = tab.locator(TABLE).inner_html()
    psnr = head(tab, "PSNR")
    psnr.locator("button").click()
    assert cells(tab) == ["a4", "a1", "a2", "a3", "b2", "b3", "b1"]
    assert psnr.get_attribute("aria-sort") == "descending"
    psnr.locator("button").click()
    assert cells(tab) == ["a2", "a1", "a4", "a3", "b1", "b3", "b2"]
    assert psnr.get_attribute("aria-sort") == "ascending"
    psnr.locator("button").click()
    assert cells(tab) == ORDER
    assert tab.locator(TABLE).inner_html() == before


def test_names_are_sorted_as_numbers_where_they_are_and_every_row_keeps_its_own(
    visit: Callable[..., Any], page: str
) -> None:
    tab = visit(page)
    head(tab, "backend").locator("button").click()
    assert cells(tab) == ["a1", "a3", "a2", "a4", "b1", "b2", "b3"]
    names = tab.eval_on_selector_all(f"{TABLE} tr[id]", "rows => rows.map((row) => row.cells[0].textContent.trim())")
    assert names == ["4", "16", "4", "16", "4", "4", "128"]
    head(tab, "k").first.locator("button").click()
    assert cells(tab) == ["a1", "a2", "a3", "a4", "b1", "b2", "b3"]


@pytest.mark.parametrize("width", [390, 1280])
def test_rows_are_kept_by_what_names_them_and_by_their_group(visit: Callable[..., Any], page: str, width: int) -> None:
    tab = visit(page, width)
    tab.get_by_label("backend").select_option(label="sdpa")
    assert cells(tab) == ["a2", "a4", "b2", "b3"]
    assert tab.locator(".tools output").inner_text() == "4 of 7 rows"
    stop = tab.locator(f"{TABLE} td a[tabindex='0']")
    assert stop.count() == 1
    assert stop.is_visible(), "a filter leaves a stop for the Tab key"
    tab.get_by_label("window").select_option(label="16")
    assert cells(tab) == ["b2", "b3"]
    assert not tab.locator(f"{TABLE} .group", has_text="window 8").is_visible()
    head(tab, "PSNR").locator("button").click()
    assert cells(tab) == ["b2", "b3"]
    tab.get_by_label("window").select_option(label="all")
    tab.get_by_label("backend").select_option(label="all")
    assert cells(tab) == ["a4", "a1", "a2", "a3", "b2", "b3", "b1"]


def test_a_part_of_a_group_s_title_is_asked_for_by_its_axis(visit: Callable[..., Any]) -> None:
    """A setting and a set speak for themselves in a title; a filter has to say what they are."""
    groups = tuple(
        Group(
            title=f"sigma={sigma} · {dataset}", rows=tuple(row(k, "mask", "9.5", f"{sigma}{dataset}{k}") for k in "48")
        )
        for sigma in (15, 50)
        for dataset in ("Set12", "BSD68")
    )
    kinds = {"k": "text", "backend": "text", "PSNR": "number", "cell": "cell"}
    columns = tuple(Column(label=label, kind=kind) for label, kind in kinds.items())
    table = Table(caption="Numbers", columns=columns, groups=groups, stubs=2, parts=("setting", "dataset"))
    section = Section(title="Numbers", anchor="numbers", blocks=(table,))
    tab = visit(html.render(Document(title="Tables", sections=(section,)), artifact=lambda name: b""))
    tab.get_by_label("setting").select_option(label="sigma=50")
    tab.get_by_label("dataset").select_option(label="Set12")
    assert cells(tab) == ["50Set124", "50Set128"]


def test_what_all_rows_share_or_none_do_is_no_filter(visit: Callable[..., Any], page: str) -> None:
    tab = visit(page)
    assert tab.locator(".tools label").all_inner_texts() == [
        text for text in tab.locator(".tools label").all_inner_texts() if "denoise" not in text
    ]
    assert tab.locator(".tools label").count() == 3
    assert tab.locator("#short .tools, #short .sort").count() == 0


def test_the_keyboard_sorts_and_filters(visit: Callable[..., Any], page: str) -> None:
    tab = visit(page)
    head(tab, "PSNR").locator("button").focus()
    tab.keyboard.press("Enter")
    assert cells(tab)[0] == "a4"
    tab.get_by_label("backend").focus()
    tab.keyboard.press("m")
    assert set(cells(tab)) == {"a1", "a3", "b1"}


def test_a_link_to_a_row_that_is_filtered_out_shows_it(visit: Callable[..., Any], page: str) -> None:
    tab = visit(page)
    tab.get_by_label("backend").select_option(label="mask")
    tab.evaluate("location.hash = '#cell-b3'")
    tab.wait_for_function("document.getElementById('cell-b3')?.checkVisibility()")
    assert cells(tab) == ORDER


def wide(*names: tuple[str, str]) -> str:
    columns = (
        Column(label="task"),
        Column(label="set"),
        *(Column(label=f"a number {n}", unit="dB", kind="number") for n in range(12)),
        Column(label="because"),
    )
    because = Entry(text="a reason that is long enough to need a second line in any column of a table of this page")
    rows = tuple(
        Row(
            entries=(Entry(text=task), Entry(text=name), *(Entry(text="30.10", value=30.1) for _ in range(12)), because)
        )
        for task, name in names
    )
    table = Table(caption="Wide", columns=columns, groups=(Group(rows=rows),), stubs=2)
    section = Section(title="Numbers", anchor="numbers", blocks=(table,))
    return html.render(Document(title="Tables", sections=(section,)), artifact=lambda name: b"")


TEXTS = """(cells) => cells.map((cell) => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return range.getClientRects()[0].top;
})"""
"""Where the first line of each cell's text begins, in pixels."""


@pytest.mark.parametrize("width", [390, 1280])
def test_what_stands_in_a_row_begins_at_one_height_where_a_cell_wraps(visit: Callable[..., Any], width: int) -> None:
    tab = visit(wide(("denoise", "Set12"), ("jpeg", "Classic5")), width)
    tops = tab.eval_on_selector_all(f"{TABLE} tbody tr:first-child > *", TEXTS)
    assert max(tops) - min(tops) <= 2


@pytest.mark.parametrize("task", ["demosaic", "a task with a long name"])
def test_words_of_names_stay_whole_on_a_phone_and_the_last_name_stays_in_sight(
    visit: Callable[..., Any], task: str
) -> None:
    tab = visit(wide((task, "motorcycle_left_and_right"), (task, "Set12")), 390)
    heights = tab.eval_on_selector_all(f"{TABLE} tbody .last > span", "all => all.map((each) => each.offsetHeight)")
    assert max(heights) < 30
    first = tab.locator(f"{TABLE} tbody th").first
    words = first.evaluate("cell => cell.innerText.split(' ').length")
    assert first.locator("span").evaluate("span => span.offsetHeight") <= 22 * words
    assert first.evaluate("cell => cell.scrollWidth <= cell.offsetWidth")
    tab.evaluate("document.querySelector('#numbers .scroll').scrollLeft = 400")
    left = tab.locator(f"{TABLE} tbody .last").first.bounding_box()["x"]
    assert 0 <= left < 120


@pytest.mark.parametrize("wider", [True, False])
def test_a_table_that_is_wider_than_the_page_is_shaded_at_its_edge(
    visit: Callable[..., Any], page: str, wider: bool
) -> None:
    tab = visit(wide(("denoise", "Set12")) if wider else page, 1280)
    scroll = tab.locator("#numbers .scroll")
    assert scroll.evaluate("each => each.scrollWidth > each.clientWidth") == wider
    box = scroll.bounding_box()
    clip = {"x": min(box["x"] + box["width"], 1280) - 2, "y": box["y"] + 2, "width": 1, "height": 1}
    with Image.open(io.BytesIO(tab.screenshot(clip=clip))) as edge:
        seen = edge.convert("RGB").getpixel((0, 0))
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground != f"rgb({', '.join(map(str, seen))})") == wider


@pytest.mark.parametrize("width", [390, 1280])
def test_the_tools_of_a_real_report_fit_its_page(visit: Callable[..., Any], whole: Any, width: int) -> None:
    tab = visit(whole.html(), width)
    assert tab.locator(".tools").count() > 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.locator("thead .sort").first.click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
