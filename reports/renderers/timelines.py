"""Timelines as hand-drawn SVG: a row a depth, a lane a thread, names where there is room for them."""

from __future__ import annotations

import re
from html import escape

from reports.document import Lane, Span, Timeline

WIDTH = 1080
_ROW = 17.0
_TITLE, _GAP, _BOTTOM = 20.0, 12.0, 40.0
"""Heights of a lane's title, of the space between lanes, and of the axis with its name."""
_EDGE = 12.0
"""Left and right of the spans, so that the numbers of the axis have room."""
_LETTER = 6.1
"""Width of a letter of the labels, in the units of the drawing."""
_FEWEST = 4
"""Letters below which a name that was cut says nothing."""
_PART = re.compile(r"(?:::|\.)(?=[A-Za-z_])")
"""Where the last parts of a name may begin: behind a dot or a scope, but at no number alone."""
_THINNEST = 0.5
_STYLES = 8


def draw(timeline: Timeline) -> str:
    """Return the SVG. Every string is escaped; the legend is the page's."""
    begin, end = timeline.axis.ticks[0][0], timeline.axis.ticks[-1][0]
    scale = (WIDTH - 2 * _EDGE) / (end - begin)

    def to_x(value: float) -> float:
        return _EDGE + (min(max(value, begin), end) - begin) * scale

    drawn, y = [], 0.0
    for lane in timeline.lanes:
        drawn.append(_words("name", _EDGE, y + _TITLE - 6, lane.title))
        y += _TITLE
        drawn += [_span(span, to_x(span.start), to_x(span.start + span.length), y) for span in lane.spans]
        y += _ROW * _rows(lane) + _GAP
    below = []
    for value, text in timeline.axis.ticks:
        below.append(f'<path class="grid" d="M{to_x(value):.1f} {_TITLE:.0f}V{y:.1f}"/>')
        below.append(_words("tick", to_x(value), y + 14, text, "middle"))
    name = f"{timeline.axis.label}, {timeline.axis.unit}" if timeline.axis.unit else timeline.axis.label
    below.append(_words("name", WIDTH / 2, y + 32, name, "middle"))
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {y + _BOTTOM:.0f}" role="img" aria-label="{escape(timeline.title)}">'
        f"<title>{escape(timeline.title)}</title><desc>{escape(timeline.summary)}</desc>"
        f"{''.join(below)}{''.join(drawn)}</svg>"
    )


def _span(span: Span, left: float, right: float, top: float) -> str:
    y = top + _ROW * span.depth
    width = max(right - left, _THINNEST)
    kind = "holder" if span.style is None else f"s{span.style % _STYLES}"
    box = f'<rect class="bar {kind}" x="{left:.1f}" y="{y:.0f}" width="{width:.1f}" height="{_ROW - 1:.0f}"/>'
    text = _fitting(span.label, int((width - 6) / _LETTER))
    label = _words(f"label on-{kind}", left + 4, y + 12, text) if text else ""
    return f"<g><title>{escape(span.detail or span.label)}</title>{box}{label}</g>"


def _fitting(label: str, letters: int) -> str:
    """Return the name, else its last parts, else the beginning of those; nothing where too little of it fits."""
    parts = [label, *(label[part.end() :] for part in _PART.finditer(label))]
    fitting = next((part for part in parts if len(part) <= letters), "")
    return fitting or (f"{parts[-1][: letters - 1]}…" if letters >= _FEWEST else "")


def _rows(lane: Lane) -> int:
    return 1 + max((span.depth for span in lane.spans), default=0)


def _words(kind: str, x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
