"""Quality against time: every cell with both, how sure each is, and those that no other beats in both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, count

import numpy as np

from reports.curves import first_style
from reports.document import Axis, Figure, Panel, Point, Series
from reports.marks import Value, differences_of
from reports.paired import FEWEST_IMAGES, intervals
from reports.quantities import Read, finite, positive, unplaced
from reports.results import JUDGED, Result, axis_values, in_words, judged_on, phrase, varying

_FRONT_STYLE = 7
_MOST_CELLS = 120
"""Of more the marks would hide each other: then those alone are drawn that no other beats."""
_MOST_SERIES = 7
_MOST_MARKS = 160
"""Of all fronts together: more make a page large that nobody reads."""
_ROUNDING = 1e-3
"""Less quality than this (in dB) makes no cell better: backends that agree differ by as little."""
_WHISKERS = "whiskers: 95 % interval of the difference to the best, image by image; quartiles of the repetitions"


def fronts(results: Sequence[Result], quality: Read, cost: Read, *, y: Axis, x: Axis) -> Iterator[Figure]:
    """Draw quality over cost, a figure for each set of images that cells are judged on, as far as a page has room.

    None is drawn where fewer than three cells have both. Cells of one backend are a series. The
    whisker of quality is what `against_best` says, that of cost its quartiles. The line joins the cells that no other
    beats in both; it goes by the middle of each, whatever the whiskers say.
    """
    judged: dict[object, list[Result]] = {}
    for each in results:
        judged.setdefault(judged_on(each), []).append(each)
    where = [axis for axis in JUDGED if axis in varying(results)]
    found = []
    for members in judged.values():
        title = f"{y.label} against {x.label}"
        if where:
            title += f" ({in_words(members[0].cell, where)})"
        found.append(_front(members, quality, cost, y=y, x=x, title=title, among=results))
    drawn = [figure for figure in found if figure is not None]
    marks = accumulate(sum(len(each.points) for panel in figure.panels for each in panel.series) for figure in drawn)
    shown = max(1, sum(number <= _MOST_MARKS for number in marks))
    yield from drawn[: shown - 1]
    if drawn:
        last, left = drawn[:shown][-1], len(drawn) - shown
        yield replace(last, note=f"{last.note}; {left} more in the table alone") if left > 0 else last


def _front(
    results: Sequence[Result], quality: Read, cost: Read, *, y: Axis, x: Axis, title: str, among: Sequence[Result]
) -> Figure | None:
    """Draw one front; `among` are all results, of whom a series has the same style in every front."""
    cost = positive(cost) if x.log else cost
    left_out, quality, cost = unplaced(results, quality, cost), finite(quality), finite(cost)
    values = {each.cell.id: (quality(each), cost(each)) for each in results}
    both: dict[str, tuple[Value, Value]] = {
        cell: (high, low) for cell, (high, low) in values.items() if isinstance(high, Value) and isinstance(low, Value)
    }
    known = [each for each in results if each.cell.id in both]
    if len(known) < 3:
        return None
    if len(known) > _MOST_CELLS:
        unbeaten = {point.cells for point in undominated([_point(each, both[each.cell.id], "") for each in known])}
        beaten = f"{len(known) - len(unbeaten)} cells that others beat are in the table alone"
        left_out = "; ".join(filter(None, (left_out, beaten)))
        known = [each for each in known if (each.cell.id,) in unbeaten]
    axes = varying(known)
    few = (axis for axis in reversed(axes) if len(axis_values(known, axis)) <= _MOST_SERIES)
    by = "backend" if "backend" in axes else next(few, "backend")
    points = {each.cell.id: _point(each, both[each.cell.id], in_words(each.cell, axes)) for each in known}
    free = (style for style in count(first_style(by)) if style != _FRONT_STYLE)
    styles = dict(zip(axis_values(among, by), free, strict=False))
    values_here = axis_values(known, by)
    series = [
        Series(
            label=phrase(by, value),
            style=styles[value],
            line="none",
            points=tuple(points[each.cell.id] for each in known if getattr(each.cell, by) == value),
        )
        for value in values_here[:_MOST_SERIES]
    ]
    if (more := len(values_here) - _MOST_SERIES) > 0:
        left_out = "; ".join(filter(None, (left_out, f"{more} more series in the table alone")))
    best = undominated([point for each in series for point in each.points])
    line = Series(label="not beaten in both", style=_FRONT_STYLE, line="alone", points=tuple(best))
    if len(best) == 1:
        (cell,) = best[0].cells
        left_out = "; ".join(filter(None, (f"one beats all others in both: {points[cell].detail}", left_out)))
    drawn = sum(len(each.points) for each in series)
    return Figure(
        title=title,
        summary=f"{title} of {drawn} cells, {len(best)} of them beaten by none in both",
        kind="lines",
        x=x,
        y=y,
        panels=(Panel(series=(line, *series) if len(best) > 1 else tuple(series)),),
        note="; ".join(filter(None, (_WHISKERS, left_out))),
    )


def against_best(results: Sequence[Result], read: Read) -> Read:
    """Return a reading of means over images whose spread is that of the difference to the best on the same images.

    Images differ far more from each other than cells do on one image: what matters is how sure a difference is. The
    best itself, and cells judged on fewer than five images, have no spread.
    """
    read = finite(read)
    judged: dict[object, dict[str, Value]] = {}
    for each in results:
        if isinstance(value := read(each), Value):
            judged.setdefault(judged_on(each), {})[each.cell.id] = value
    halves: dict[str, float] = {}
    for values in judged.values():
        halves |= _halves(values, max(values.values(), key=lambda value: value.value))

    def spread(result: Result) -> Value | str:
        value = read(result)
        half = halves.get(result.cell.id)
        if isinstance(value, str) or half is None:
            return value
        return replace(value, low=value.value - half, high=value.value + half)

    return spread


def _halves(values: Mapping[str, Value], best: Value) -> dict[str, float]:
    found = {cell: differences_of(value, best) for cell, value in values.items() if value is not best}
    known = {cell: each for cell, each in found.items() if each is not None and len(each) >= FEWEST_IMAGES}
    if not known:
        return {}
    _, halves = intervals(np.array(list(known.values())))
    return dict(zip(known, map(float, halves), strict=True))


def _point(result: Result, both: tuple[Value, Value], words: str) -> Point:
    high, low = both
    return Point(
        x=low.value,
        y=high.value,
        low=high.low,
        high=high.high,
        x_low=low.low,
        x_high=low.high,
        cells=(result.cell.id,),
        detail=words,
    )


def undominated(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other is at least as good in both, rounding aside, the cheapest first; no whiskers."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -point.y)):
        if not kept or point.y > kept[-1].y + _ROUNDING:
            kept.append(Point(x=point.x, y=point.y, cells=point.cells))
    return kept
