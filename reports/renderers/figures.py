"""Figures as hand-drawn SVG: crisp, small, the same on every machine, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise

from reports.document import Axis, Figure, Panel, Point, Series

WIDTH, HEIGHT = 270, 216
STRIP_WIDTH = 430
"""Strips are wider: their samples lie beside each other."""
_RIGHT, _TOP, _BOTTOM = 8.0, 28.0, 38.0
_ROW, _GAP = 13.0, 9.0
"""Height of a bar with its gap, and the gap between two categories."""
_DIGIT = 6.8
"""Width of a digit of the labels, in the units of the drawing."""

MARKERS = ("circle", "square", "up", "diamond", "down", "plus", "cross", "ring")
"""Shape of the points by `Series.style`, so that their colour never stands alone; bars stand in the legend's order."""

_LARGEST_DISC = 8.0
"""Radius of the largest mark whose area tells a number."""

_NOTHING = 1e-9
"""Bars below it are as good as empty; scaling them up to the full width would say otherwise."""

_VANISHING = 1e-300
"""Smaller spans are no spans: their logarithms and inverses leave the floating-point numbers."""


def draw(figure: Figure) -> list[tuple[str, str]]:
    """Return the title and the SVG of each panel. Every string is escaped; legends are the page's."""
    match figure.kind:
        case "bars":
            return [(panel.title, _bars(figure, panel)) for panel in figure.panels]
        case "stacked":
            return [(panel.title, _stacked(figure, panel)) for panel in figure.panels]
        case "strips":
            low, high = _reach(figure)
            return [(panel.title, _strips(figure, panel, low, high)) for panel in figure.panels]
        case "lines":
            low, high = _range(figure)
            return [(panel.title, _lines(figure, panel, low, high)) for panel in figure.panels]


def swatch(style: int, kind: str) -> str:
    """Return a legend's key as SVG: a marker, of lines on its line, or a bar."""
    colour = f"s{style % len(MARKERS)}"
    match kind:
        case "lines":
            inside = f'<path class="curve {colour}" d="M1 6.5H21"/>{_marker(style, 11, 6.5)}'
        case "strips":
            inside = _marker(style, 11, 6.5)
        case _:
            inside = f'<rect class="bar {colour}" x="4" y="2" width="14" height="9" rx="1.5"/>'
    return f'<svg class="swatch" viewBox="0 0 22 13" width="22" height="13" aria-hidden="true">{inside}</svg>'


def legend(figure: Figure) -> list[tuple[str, int]]:
    """Return label and style of every series, each once; nothing where one needs no name."""
    found = {series.label: series.style for panel in figure.panels for series in panel.series}
    return [] if len(found) < 2 else sorted(found.items(), key=lambda item: item[1])


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers that cover low to high: steps of 1, 2 or 5 times a power of ten."""
    span = high - low if high - low > _VANISHING else abs(high) if abs(high) > _VANISHING else 1.0
    raw = span / (most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def _lines(figure: Figure, panel: Panel, low: float, high: float) -> str:
    ticks = _log_ticks(low, high) if figure.y.log else round_ticks(low, high)
    low, high = ticks[0], ticks[-1]
    texts = [in_full(tick) for tick in ticks] if figure.y.log else _labels(ticks)
    left = 8 + _DIGIT * max(map(len, texts))
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT

    def to_y(value: float) -> float:
        return bottom - _share(value, low, high, figure.y.log) * (bottom - _TOP)

    x_ticks = figure.x.ticks or _chosen_ticks(figure)
    first, last = x_ticks[0][0], x_ticks[-1][0]

    def to_x(value: float) -> float:
        inset = 14.0
        return left + inset + _share(value, first, last, figure.x.log) * (right - left - 2 * inset)

    parts = []
    for tick, text in zip(ticks, texts, strict=True):
        parts.append(f'<path class="grid" d="M{left:.1f} {to_y(tick):.1f}H{right:.1f}"/>')
        parts.append(_words("tick", left - 6, to_y(tick) + 3.6, text, "end"))
    parts.append(f'<path class="axis" d="M{left:.1f} {bottom:.1f}H{right:.1f}"/>')
    for tick, text in _roomy([(to_x(x), text) for x, text in x_ticks]):
        parts.append(f'<path class="axis" d="M{tick:.1f} {bottom:.1f}v4"/>')
        parts.append(_words("tick", tick, bottom + 16, text, "middle"))
    middle = (left + right) / 2
    parts.append(_words("name", middle, HEIGHT - 6, _named(figure.x), "middle"))
    parts.append(_words("name", 0, 11, _named(figure.y)))
    parts += [_curve(series, figure, to_x, to_y) for series in panel.series]
    return _frame(figure, panel, parts, HEIGHT)


def _chosen_ticks(figure: Figure) -> list[tuple[float, str]]:
    """Return round numbers that cover all points along x, with their whiskers."""
    points = [point for panel in figure.panels for series in panel.series for point in series.points]
    values = [value for point in points for value in (point.x, point.x_low, point.x_high) if value is not None]
    low, high = min(values), max(values)
    if not figure.x.log:
        ticks = round_ticks(low, high)
        return list(zip(ticks, _labels(ticks), strict=True))
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    steps = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    start = max(i for i, step in enumerate(steps) if step <= low * (1 + 1e-9))
    end = min(i for i, step in enumerate(steps) if step >= high * (1 - 1e-9))
    return [(step, in_full(step)) for step in steps[start : max(end, start + 1) + 1]]


def _curve(series: Series, figure: Figure, to_x: Callable[[float], float], to_y: Callable[[float], float]) -> str:
    colour = f"s{series.style % len(MARKERS)}"
    path = "L".join(f"{to_x(point.x):.1f} {to_y(point.y):.1f}" for point in series.points)
    parts = [f'<path class="curve {colour}" d="M{path}"/>' if len(series.points) > 1 and series.line != "none" else ""]
    for point in series.points if series.line != "alone" else ():
        x, y = to_x(point.x), to_y(point.y)
        whisker = ""
        if point.low is not None and point.high is not None:
            whisker = f'<path class="whisker {colour}" d="M{x:.1f} {to_y(point.low):.1f}V{to_y(point.high):.1f}"/>'
        if point.x_low is not None and point.x_high is not None:
            along = f"M{to_x(point.x_low):.1f} {y:.1f}H{to_x(point.x_high):.1f}"
            whisker += f'<path class="whisker {colour}" d="{along}"/>'
        drawn = (
            f"{whisker}{_marker(series.style, x, y) if point.size is None else _disc(series.style, x, y, point.size)}"
        )
        parts.append(_linked(drawn, series, point, figure, _tick_text(figure.x, point.x)))
    return "".join(parts)


def _bars(figure: Figure, panel: Panel) -> str:
    high = max((max(point.y, point.high or 0.0) for series in panel.series for point in series.points), default=0.0)
    ticks = round_ticks(0.0, high if high > _NOTHING else 1.0, 5)
    names = [text if len(text) <= 20 else f"{text[:19]}…" for _, text in figure.x.ticks]
    left = min(130.0, 10 + 6.4 * max(map(len, names)))
    right = WIDTH - 34.0
    scale = (right - left) / ticks[-1]
    at = {
        position: [s for s in panel.series if any(p.x == position for p in s.points)] for position, _ in figure.x.ticks
    }
    y, parts = 8.0, []
    digits = _decimals(high)
    for (position, _), name in zip(figure.x.ticks, names, strict=True):
        middle = y + _ROW * len(at[position]) / 2
        parts.append(_words("tick", left - 7, middle + 3.8, name, "end"))
        for series in at[position]:
            point = next(point for point in series.points if point.x == position)
            colour, width = f"s{series.style % len(MARKERS)}", max(0.5, point.y * scale)
            bar = _box(colour, left, y + 1, width)
            if point.low is not None and point.low < point.y:
                start, middle_y = left + point.low * scale, y + _ROW / 2
                bar += f'<path class="range" d="M{start:.1f} {middle_y:.1f}H{left + width:.1f}"/>'
            value = _words("value", left + width + 5, y + _ROW - 3, f"{point.y:.{digits}f}")
            parts.append(_linked(bar + value, series, point, figure, name))
            y += _ROW
        y += _GAP
    bottom = y - _GAP / 2
    return _frame(figure, panel, [*_below(figure, ticks, left, right, bottom), *parts], bottom + 38)


def _stacked(figure: Figure, panel: Panel) -> str:
    """Draw a bar for each category that the panel has, the parts of the whole one behind the other."""
    whole: dict[float, float] = {}
    for point in (point for series in panel.series for point in series.points):
        whole[point.x] = whole.get(point.x, 0.0) + point.y
    # Parts of 100 may add up to a little more, which is no reason for a longer axis.
    ticks = round_ticks(0.0, high if (high := max(whole.values(), default=0.0) * (1 - 1e-9)) > _NOTHING else 1.0, 5)
    names = [(x, text if len(text) <= 20 else f"{text[:19]}…") for x, text in figure.x.ticks if x in whole]
    left = min(130.0, 10 + 6.4 * max((len(name) for _, name in names), default=0))
    right = WIDTH - _RIGHT - _DIGIT
    scale = (right - left) / ticks[-1]
    y, parts = 8.0, []
    for position, name in names:
        parts.append(_words("tick", left - 7, y + _ROW / 2 + 3.8, name, "end"))
        x = left
        for series in panel.series:
            for point in series.points:
                if point.x == position and point.y > 0:
                    colour, width = f"s{series.style % len(MARKERS)}", point.y * scale
                    parts.append(_linked(_box(colour, x, y + 1, width, round_by=0), series, point, figure, name))
                    x += width
        y += _ROW + _GAP / 2
    return _frame(figure, panel, [*_below(figure, ticks, left, right, y), *parts], y + 38)


def _strips(figure: Figure, panel: Panel, low: float, high: float) -> str:
    """Draw a row for each category that the panel has, and in it a lane for each label."""
    lanes = {
        x: list(dict.fromkeys(series.label for series in panel.series if any(p.x == x for p in series.points)))
        for x, _ in figure.x.ticks
    }
    names = [(x, text if len(text) <= 28 else f"{text[:27]}…") for x, text in figure.x.ticks if lanes[x]]
    left = 10 + 6.4 * max((len(name) for _, name in names), default=0)
    right = STRIP_WIDTH - _RIGHT - _DIGIT

    def to_x(value: float) -> float:
        return left + min(max(_share(value, low, high, log=False), 0.0), 1.0) * (right - left)

    y, rows = 8.0, []
    for place, name in names:
        middle = y + _ROW * len(lanes[place]) / 2
        rows.append(_words("tick", left - 7, middle + 3.8, name, "end"))
        for label in lanes[place]:
            own = [series for series in panel.series if series.label == label]
            for series in sorted(own, key=lambda series: not series.faint):
                points = [point for point in series.points if point.x == place]
                rows.append(_lane(figure, series, points, name, to_x, y + _ROW / 2))
            y += _ROW
        y += _GAP
        rows.append(f'<path class="grid" d="M{left:.1f} {y - _GAP / 2:.1f}H{right:.1f}"/>')
    behind = []
    if figure.y.band is not None:
        start, end = map(to_x, figure.y.band)
        behind.append(f'<rect class="band" x="{start:.1f}" y="4" width="{end - start:.1f}" height="{y - 4:.1f}"/>')
    ticks = round_ticks(low, high)
    for tick, text in zip(ticks, _labels(ticks), strict=True):
        if low <= tick <= high:
            behind.append(f'<path class="grid" d="M{to_x(tick):.1f} 4V{y:.1f}"/>')
            behind.append(_words("tick", to_x(tick), y + 14, text, "middle"))
    if figure.y.origin is not None:
        behind.append(f'<path class="axis" d="M{to_x(figure.y.origin):.1f} 4V{y:.1f}"/>')
    behind.append(_words("name", (left + right) / 2, y + 31, _named(figure.y), "middle"))
    return _frame(figure, panel, [*behind, *rows], y + 38, width=STRIP_WIDTH)


def _lane(
    figure: Figure, series: Series, points: Sequence[Point], name: str, to_x: Callable[[float], float], y: float
) -> str:
    colour = f"s{series.style % len(MARKERS)}"
    if series.faint:
        path = "".join(f"M{to_x(point.y):.1f} {y - 4:.1f}v8" for point in points)
        return f'<path class="faint {colour}" d="{path}"/>' if path else ""
    parts = []
    for point in points:
        whisker = ""
        if point.low is not None and point.high is not None:
            whisker = f'<path class="whisker {colour}" d="M{to_x(point.low):.1f} {y:.1f}H{to_x(point.high):.1f}"/>'
        parts.append(_linked(f"{whisker}{_marker(series.style, to_x(point.y), y)}", series, point, figure, name))
    return "".join(parts)


def _reach(figure: Figure) -> tuple[float, float]:
    """Return from where to where strips reach: what is to be told apart; faint points beyond lie at the edge.

    That is all points with their whiskers, the line and the band, and of the faint points the middle nine tenths:
    one sample that a neighbour has stretched to five times its length must not squeeze all others.
    """
    series = [each for panel in figure.panels for each in panel.series]
    points = [point for each in series if not each.faint for point in each.points]
    faint = sorted(point.y for each in series if each.faint for point in each.points)
    values = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    values += [value for value in (figure.y.origin, *(figure.y.band or ())) if value is not None]
    values += faint[len(faint) // 20 : len(faint) - len(faint) // 20]
    return min(values), max(values)


def _below(figure: Figure, ticks: Sequence[float], left: float, right: float, bottom: float) -> list[str]:
    """Return the grid behind bars that begin at `left`, and under them the numbers and the name of their lengths."""
    grid = []
    for tick, text in zip(ticks, _labels(ticks), strict=True):
        x = left + tick * (right - left) / ticks[-1]
        grid.append(f'<path class="grid" d="M{x:.1f} 4V{bottom:.1f}"/>')
        grid.append(_words("tick", x, bottom + 14, text, "middle"))
    return [*grid, _words("name", (left + right) / 2, bottom + 31, _named(figure.y), "middle")]


def _frame(figure: Figure, panel: Panel, parts: Sequence[str], height: float, *, width: int = WIDTH) -> str:
    title = f"{figure.title}: {panel.title}" if panel.title else figure.title
    names = ", ".join(dict.fromkeys(series.label for series in panel.series if series.label))
    summary = f"{figure.summary}. Series: {names}." if names else f"{figure.summary}."
    return (
        f'<svg class="plot" viewBox="0 0 {width} {height:.0f}" role="group" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title><desc>{escape(summary)}</desc>{''.join(parts)}</svg>"
    )


def _linked(drawn: str, series: Series, point: Point, figure: Figure, x_text: str) -> str:
    """Wrap a point in a link to its cell, with a title that says it in words."""
    words = [
        series.label,
        f"{figure.x.label} {x_text}".strip(),
        f"{point.y:.5g} {figure.y.unit}".strip(),
        point.detail,
    ]
    shown = escape(" · ".join(word for word in words if word))
    link = f'<a href="#cell-{escape(point.cells[0])}" data-detail="{shown}" tabindex="-1">' if point.cells else "<g>"
    more = f" · cells {' '.join(cell[:7] for cell in point.cells[:4])}" if point.cells else ""
    return f"{link}<title>{shown}{escape(more)}</title>{drawn}{'</a>' if point.cells else '</g>'}"


def _marker(style: int, x: float, y: float) -> str:
    colour = f"s{style % len(MARKERS)}"
    shapes = {
        "square": f"M{x - 3.2:.1f} {y - 3.2:.1f}h6.4v6.4h-6.4z",
        "up": f"M{x:.1f} {y - 4.4:.1f}l4.3 7.4h-8.6z",
        "diamond": f"M{x:.1f} {y - 4.6:.1f}l4.6 4.6l-4.6 4.6l-4.6 -4.6z",
        "down": f"M{x:.1f} {y + 4.4:.1f}l4.3 -7.4h-8.6z",
        "plus": f"M{x - 1.4:.1f} {y - 4.4:.1f}h2.8v3h3v2.8h-3v3h-2.8v-3h-3v-2.8h3z",
        "cross": f"M{x - 4:.1f} {y - 2.4:.1f}l1.6 -1.6l2.4 2.4l2.4 -2.4l1.6 1.6l-2.4 2.4l2.4 2.4l-1.6 1.6"
        "l-2.4 -2.4l-2.4 2.4l-1.6 -1.6l2.4 -2.4z",
    }
    match MARKERS[style % len(MARKERS)]:
        case "circle":
            return f'<circle class="mark {colour}" cx="{x:.1f}" cy="{y:.1f}" r="3.7"/>'
        case "ring":
            return f'<circle class="mark hollow {colour}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
        case shape:
            return f'<path class="mark {colour}" d="{shapes[shape]}"/>'


def _disc(style: int, x: float, y: float, size: float) -> str:
    """Draw a mark whose area is a share of the largest; what lies behind it shows through."""
    radius = _LARGEST_DISC * math.sqrt(size)
    return f'<circle class="mark disc s{style % len(MARKERS)}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'


def _range(figure: Figure) -> tuple[float, float]:
    points = [point for panel in figure.panels for series in panel.series for point in series.points]
    lows = [point.y if point.low is None else min(point.low, point.y) for point in points]
    highs = [point.y if point.high is None else max(point.high, point.y) for point in points]
    low, high = min(lows), max(highs)
    return (0.0, high) if figure.y.zero and not figure.y.log else (low, high)


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _labels(ticks: Sequence[float]) -> list[str]:
    step = min((abs(b - a) for a, b in pairwise(ticks)), default=1.0)
    if max(map(abs, ticks)) >= 1e5 or step < 1e-4:
        return [f"{tick:.3g}" for tick in ticks]
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{tick:.{digits}f}".replace("-", "−") for tick in ticks]


def in_full(tick: float) -> str:
    """Return the label of a tick on a logarithmic axis: written out up to a million, as 10,000."""
    return f"{tick:,.0f}" if 1 <= tick < 1e6 else f"{tick:g}"


def _decimals(largest: float) -> int:
    return 0 if largest >= 100 else 1 if largest >= 10 else 2


def _share(value: float, low: float, high: float, log: bool) -> float:
    if high == low:
        return 0.5
    if log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)


def _roomy(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Leave out ticks whose labels would touch the one before."""
    kept: list[tuple[float, str]] = []
    for x, text in ticks:
        if not kept or x - kept[-1][0] >= _DIGIT * (len(text) + len(kept[-1][1])) / 2 + 5:
            kept.append((x, text))
    return kept


def _tick_text(axis: Axis, position: float) -> str:
    return next((text for x, text in axis.ticks if x == position), f"{position:g}")


def _named(axis: Axis) -> str:
    return f"{axis.label}, {axis.unit}" if axis.unit else axis.label


def _box(colour: str, x: float, y: float, width: float, *, round_by: float = 1.5) -> str:
    size = f'width="{width:.1f}" height="{_ROW - 2:.1f}"'
    return f'<rect class="bar {colour}" x="{x:.1f}" y="{y:.1f}" {size} rx="{round_by:g}"/>'


def _words(kind: str, x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
