from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.document import Axis, Figure, Panel, Point, Series
from reports.renderers.figures import HEIGHT, MARKERS, STRIP_WIDTH, WIDTH, draw, in_full, legend, round_ticks, swatch

FINITE = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False)


def figure(kind: str, *series: Series, log: bool = False, title: str = "") -> Figure:
    places = sorted({point.x for each in series for point in each.points})
    return Figure(
        title="Latency",
        summary="a summary",
        kind=kind,  # type: ignore[arg-type]
        x=Axis(label="k", ticks=tuple((x, f"{x:g}") for x in places)),
        y=Axis(label="latency", unit="ms", zero=True, log=log),
        panels=(Panel(series=series, title=title),),
    )


def numbers(svg: str, attribute: str) -> list[float]:
    root = ElementTree.fromstring(svg)
    return [float(each.attrib[attribute]) for each in root.iter() if attribute in each.attrib]


@given(FINITE, FINITE)
def test_round_ticks_cover_their_range_with_few_steps(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    ticks = round_ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), 1.0)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))


@pytest.mark.parametrize("kind", ["lines", "bars", "stacked"])
@given(values=st.lists(st.floats(min_value=0, max_value=1e7), min_size=1, max_size=6))
def test_every_drawing_is_xml_and_keeps_its_points_inside(kind: str, values: list[float]) -> None:
    points = tuple(Point(x=float(i), y=y, low=y / 2, high=y, cells=("c",)) for i, y in enumerate(values))
    ((_, svg),) = draw(figure(kind, Series(label="a", style=0, points=points)))
    xs = numbers(svg, "cx") + numbers(svg, "x")
    assert all(0 <= x <= WIDTH for x in xs)
    assert all(0 <= y <= HEIGHT for y in numbers(svg, "cy"))


@given(parts=st.lists(st.floats(min_value=0, max_value=50), min_size=1, max_size=6))
def test_the_parts_of_a_stacked_bar_lie_behind_one_another_in_one_row(parts: list[float]) -> None:
    series = [Series(label=str(i), style=i, points=(Point(x=0, y=part),)) for i, part in enumerate(parts)]
    ((_, svg),) = draw(figure("stacked", *series))
    bars = [
        each.attrib for each in ElementTree.fromstring(svg).iter() if each.attrib.get("class", "").startswith("bar")
    ]
    assert len(bars) == sum(part > 0 for part in parts)
    assert len({bar["y"] for bar in bars}) <= 1
    for one, other in pairwise(bars):
        assert float(one["x"]) + float(one["width"]) == pytest.approx(float(other["x"]), abs=0.11)
    assert all(float(bar["x"]) + float(bar["width"]) <= WIDTH for bar in bars)


def test_a_stacked_bar_of_a_hundred_percent_fills_its_axis() -> None:
    series = [Series(label=str(i), style=i, points=(Point(x=0, y=100 / 3),)) for i in range(3)]
    ((_, svg),) = draw(figure("stacked", *series))
    assert ">100</text>" in svg
    assert ">120</text>" not in svg


def test_a_category_that_a_panel_lacks_takes_no_place_in_it() -> None:
    here = figure("stacked", Series(label="a", style=0, points=(Point(x=1, y=1), Point(x=2, y=1))))
    ((_, svg),) = draw(replace(here, panels=(Panel(series=(Series(label="a", style=0, points=(Point(x=2, y=1),)),)),)))
    assert svg.count('class="tick"') == svg.count('class="grid"') + 1


def test_labels_are_escaped() -> None:
    series = Series(label="<b>&", style=0, points=(Point(x=1, y=1, cells=('"><x>',), detail="<i>"),))
    for kind in ("lines", "bars", "stacked", "strips"):
        ((_, svg),) = draw(figure(kind, series, title="<u>"))
        assert not {"b", "i", "u", "x"} & {each.tag for each in ElementTree.fromstring(svg).iter()}


def test_a_log_axis_labels_powers_of_ten() -> None:
    points = (Point(x=1, y=2), Point(x=2, y=3000))
    ((_, svg),) = draw(figure("lines", Series(label="a", style=0, points=points), log=True))
    assert all(f">{10**power:,}</text>" in svg for power in range(5))


def test_a_point_says_its_series_its_place_and_its_value() -> None:
    series = Series(label="mask", style=2, points=(Point(x=16, y=12.5, cells=("abcdef0123",)),))
    ((_, svg),) = draw(figure("lines", series))
    assert "<title>mask · k 16 · 12.5 ms · cells abcdef0</title>" in svg
    assert 'href="#cell-abcdef0123"' in svg


def test_ticks_whose_labels_would_touch_are_left_out() -> None:
    points = tuple(Point(x=float(i), y=1) for i in range(1, 200))
    ((_, svg),) = draw(figure("lines", Series(label="a", style=0, points=points)))
    assert svg.count('class="tick"') < 30


def test_every_style_has_a_shape_of_its_own() -> None:
    shapes = {swatch(style, "lines").replace(f"s{style}", "") for style in range(len(MARKERS))}
    assert len(shapes) == len(MARKERS)
    assert "rect" in swatch(0, "bars")
    assert "curve" not in swatch(0, "strips")


def test_one_series_needs_no_legend() -> None:
    one = Series(label="a", style=0, points=(Point(x=1, y=math.e),))
    assert legend(figure("lines", one)) == []
    assert legend(figure("lines", Series(label="b", style=1, points=one.points), one)) == [("a", 0), ("b", 1)]


def test_a_fitted_line_stands_without_points_and_its_points_without_a_line() -> None:
    points = (Point(x=1, y=1), Point(x=2, y=2))
    ((_, measured),) = draw(figure("lines", Series(label="a", style=0, points=points, line="none")))
    ((_, fitted),) = draw(figure("lines", Series(label="a", style=0, points=points, line="alone")))
    assert (measured.count("<circle"), measured.count('class="curve')) == (2, 0)
    assert (fitted.count("<circle"), fitted.count('class="curve')) == (0, 1)


def strips(*series: Series, **axis: object) -> str:
    """Draw samples of two categories, called a and b."""
    whole = figure("strips", *series)
    drawn = replace(whole, x=Axis(label="", ticks=((0.0, "a"), (1.0, "b"))), y=replace(whole.y, **axis))
    ((_, svg),) = draw(drawn)
    return svg


@given(
    values=st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=1, max_size=30),
    faint=st.booleans(),
    band=st.none() | st.tuples(st.floats(-1e6, 0), st.floats(0, 1e6)),
)
def test_strips_are_xml_and_keep_their_points_inside(
    values: list[float], faint: bool, band: tuple[float, float] | None
) -> None:
    points = tuple(Point(x=float(i % 2), y=y, low=y - 1, high=y + 1) for i, y in enumerate(values))
    svg = strips(Series(label="one", style=0, points=points, faint=faint), origin=0.0, band=band)
    assert all(0 <= x <= STRIP_WIDTH for x in numbers(svg, "cx") + numbers(svg, "x"))
    assert len(numbers(svg, "cx")) == (0 if faint else len(values))
    path = next((each.attrib["d"] for each in ElementTree.fromstring(svg).iter() if "faint" in str(each.attrib)), "")
    assert all(0 <= float(start.partition(" ")[0]) <= STRIP_WIDTH for start in path.split("M")[1:])


def test_labels_have_lanes_of_their_own_and_faint_points_lie_behind_those_of_their_label() -> None:
    many = tuple(Point(x=0, y=y / 10) for y in range(11))
    svg = strips(
        Series(label="one", style=0, points=(Point(x=0, y=0.5), Point(x=1, y=0.2))),
        Series(label="one", style=0, points=many, faint=True),
        Series(label="two", style=1, points=(Point(x=0, y=0.7),)),
    )
    assert svg.index('class="faint s0"') < svg.index("<circle")
    parts = [each for each in ElementTree.fromstring(svg).iter() if "mark" in each.attrib.get("class", "")]
    heights = [float(each.attrib.get("cy") or each.attrib["d"].split()[1].split("h")[0]) for each in parts]
    assert len(heights) == 3
    first, second, other = heights
    assert first < second < other, "category a has two lanes, the second of label two; b comes after"
    assert svg.count("M", svg.index('class="faint s0"'), svg.index("<circle")) == len(many)


def test_a_strip_says_what_its_point_is_and_faint_points_have_no_words() -> None:
    points = (Point(x=0, y=0.25, detail="launch 3"),)
    svg = strips(Series(label="one", style=0, points=points), Series(label="one", style=0, points=points, faint=True))
    assert svg.count("<title>one · a · 0.25 ms · launch 3</title>") == 1


def test_the_band_and_the_origin_are_part_of_the_scale_and_drawn_where_they_lie() -> None:
    one = Series(label="one", style=0, points=(Point(x=0, y=5.0),))
    svg = strips(one, origin=0.0, band=(-1.0, 1.0))
    (band,) = [each.attrib for each in ElementTree.fromstring(svg).iter() if each.attrib.get("class") == "band"]
    (line,) = [each.attrib["d"] for each in ElementTree.fromstring(svg).iter() if each.attrib.get("class") == "axis"]
    middle = float(band["x"]) + float(band["width"]) / 2
    assert float(line.split()[0][1:]) == pytest.approx(middle, abs=0.11)
    (point,) = numbers(svg, "cx")
    assert (point - middle) / (float(band["width"]) / 2) == pytest.approx(5, abs=0.02)
    assert "band" not in strips(one)


def test_one_stretched_sample_does_not_squeeze_the_others() -> None:
    many = tuple(Point(x=0, y=y) for y in (*(i / 100 for i in range(100)), 1e6))
    svg = strips(
        Series(label="one", style=0, points=many, faint=True),
        Series(label="one", style=0, points=(Point(x=0, y=0.0), Point(x=0, y=1.0))),
    )
    first, last = numbers(svg, "cx")
    assert last - first > STRIP_WIDTH / 2
    assert ">1.0</text>" in svg


@pytest.mark.parametrize(
    ("tick", "text"), [(0.01, "0.01"), (1, "1"), (200, "200"), (1e4, "10,000"), (5e5, "500,000"), (1e6, "1e+06")]
)
def test_ticks_of_a_logarithmic_axis_are_written_out(tick: float, text: str) -> None:
    assert in_full(tick) == text
