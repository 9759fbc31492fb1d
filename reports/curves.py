"""Results as figures: which axis runs along x, which tells series apart, and which gets panels of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from reports.document import Axis, Figure, Panel, Point, Series
from reports.machines import by_machine
from reports.marks import Value
from reports.quantities import Read, finite, latency_ms, peak_mib, unplaced
from reports.results import (
    AXES,
    Result,
    axis_values,
    but_seed,
    counted,
    in_words,
    label,
    listed,
    phrase,
    value_text,
    varying,
)

_ALONG = ("top_k", "window", "image_size", "batch", "images")
"""Axes that can run along x, in this order of choice."""
_POOLED = ("seed",)
"""Axes that are repetitions: averaged, with their range as the whisker."""
_MOST_PANELS, _MOST_SERIES = 12, 8
_OTHER_STYLES = 4
"""Styles from here on belong to axes other than the backend: one colour never means two things."""


def lines(
    results: Sequence[Result],
    read: Read,
    *,
    title: str,
    y: Axis,
    pool: tuple[str, ...] = (),
    within: float = 0.0,
    size: tuple[Read, str] | None = None,
    said: str = "",
) -> Figure | None:
    """Draw a number along the first numeric axis that varies; None where none does, or nothing was measured.

    Axes in `pool` are those along which numbers are alike `within` so much: their mean is drawn, whiskers and all.
    Seeds are averaged with their range as the whisker; cells that lack one are left out. Backends are told apart by
    series, all else by panels. `size` is another number with its unit, which the areas of the marks show, where every
    point has one, and the cells behind it the same. `said` stands in the note where a point has a whisker that is no
    range of seeds.
    """
    left_out, read = unplaced(results, read), finite(read)
    measured = [result for result in results if isinstance(read(result), Value)]
    known = _with_all_seeds(measured)
    if len(known) < len(measured):
        fewer = f"{counted(len(measured) - len(known), 'cell')} without every seed left out"
        left_out = "; ".join(filter(None, (left_out, fewer)))
    axes = varying(known)
    along = next((axis for axis in _ALONG if axis in axes and len(_positions(known, axis)) > 1), None)
    if along is None:
        return None
    pooled = (*pool, *_POOLED)
    free = [axis for axis in axes if axis != along and axis not in pooled]
    tied = [axis for axis in free if axis in _ALONG and _follows(known, axis, along)]
    rest = [axis for axis in free if axis not in tied]
    by = "backend" if "backend" in rest else next((a for a in reversed(rest) if len(axis_values(known, a)) <= 8), None)
    panel_axes = tuple(axis for axis in rest if axis != by)
    groups: dict[str, list[Result]] = {}
    for result in known:
        groups.setdefault(in_words(result.cell, panel_axes), []).append(result)
    styles = axis_values(results, by) if by else [None]
    panels = tuple(
        Panel(title=name, series=series)
        for name, members in groups.items()
        if (series := _series(members, along, by, styles, read))
    )
    if repeated := [axis for axis in _POOLED if axis in axes]:
        panels = tuple(_without_single_whiskers(panel) for panel in panels)
    ticks = sorted(_positions(known, along).items())
    spread = ticks[-1][0] / ticks[0][0] if ticks[0][0] > 0 else 1
    notes = [
        f"{label(axis)}s agree within {within:g} {y.unit}".rstrip() + "; their mean" for axis in pool if axis in axes
    ]
    notes += [f"mean over {label(axis)}, whisker: their range" for axis in repeated]
    notes += [f"{label(axis)} changes with {label(along)}" for axis in tied]
    notes += [*_absent(results, known, by, read), _shortened(panels, styles), left_out]
    if not repeated and any(p.low is not None for panel in panels for each in panel.series for p in each.points):
        notes.append(said)
    low, high = _extent(panels)
    if size is not None:
        panels, words = _sized(panels, {result.cell.id: size[0](result) for result in known}, size[1])
        notes.append(words)
    return Figure(
        title=f"{title} against {label(along)}",
        summary=f"{y.label} against {label(along)}: {low:.4g} to {high:.4g} {y.unit}".rstrip(),
        kind="lines",
        x=Axis(label=label(along), log=spread >= 4, ticks=tuple(ticks)),
        y=Axis(label=y.label, unit=y.unit, zero=y.zero, log=y.zero and low > 0 and high / low > 30),
        panels=panels[:_MOST_PANELS],
        note="; ".join(note for note in notes if note),
    )


def _sized(panels: tuple[Panel, ...], sizes: Mapping[str, Value | str], unit: str) -> tuple[tuple[Panel, ...], str]:
    """Return the panels with marks of as large an area as their points' numbers, and what that means."""

    def number(point: Point) -> float | None:
        found = [value.value for cell in point.cells if isinstance(value := sizes[cell], Value)]
        return found[0] if len(found) == len(point.cells) and len(set(found)) == 1 else None

    numbers = [number(point) for panel in panels for series in panel.series for point in series.points]
    known = [each for each in numbers if each is not None]
    if len(known) < len(numbers) or min(known, default=0.0) <= 0 or max(known) == min(known):
        return panels, ""
    sized = []
    for panel in panels:
        series = []
        for each in panel.series:
            points = []
            for point in each.points:
                value = number(point) or 0.0
                detail = " · ".join(filter(None, (point.detail, f"{value:.4g} {unit}")))
                points.append(replace(point, size=value / max(known), detail=detail))
            series.append(replace(each, points=tuple(points)))
        sized.append(replace(panel, series=tuple(series)))
    return tuple(sized), f"area of a mark: {min(known):.3g} to {max(known):.3g} {unit}"


def bars(results: Sequence[Result], read: Read, *, title: str, y: Axis) -> Figure | None:
    """Draw the largest number of each backend (or along the innermost axis), its range as the whisker."""
    left_out, read = unplaced(results, read), finite(read)
    known = [result for result in results if isinstance(read(result), Value)]
    axes = varying(known)
    if not known:
        return None
    by = "backend" if "backend" in axes or not axes else axes[-1]
    inner = next(
        (a for a in ("window", *reversed(axes)) if a in axes and a != by and len(axis_values(known, a)) <= 4),
        None,
    )
    categories = axis_values(known, by)[:16]
    found = []
    for style, value in enumerate(axis_values(known, inner) if inner else [None], first_style(inner)):
        members = [result for result in known if inner is None or getattr(result.cell, inner) == value]
        points = []
        for x, category in enumerate(categories):
            here = [result for result in members if getattr(result.cell, by) == category]
            if here:
                points.append(_largest(float(x), here, read))
        found.append(Series(label=phrase(inner, value) if inner else "", style=style, points=tuple(points)))
    low, high = _extent([Panel(series=tuple(found))])
    others = [label(axis) for axis in axes if axis not in (by, inner)]
    notes = [f"bar: the largest over {' and '.join(others)}; line: its range"] if others else []
    return Figure(
        title=f"{title} per {label(by)}",
        summary=f"{y.label} per {label(by)}: {low:.4g} to {high:.4g} {y.unit}".rstrip(),
        kind="bars",
        x=Axis(label=label(by), ticks=tuple((float(x), value_text(by, c)) for x, c in enumerate(categories))),
        y=Axis(label=y.label, unit=y.unit, zero=True),
        panels=(Panel(series=tuple(found)),),
        note="; ".join(filter(None, (*notes, left_out))),
    )


def cost_figures(results: Sequence[Result]) -> Iterator[Figure]:
    """Yield latency and peak memory along an axis, memory per backend where none varies, of each machine by itself."""
    for name, members in by_machine(results, "latency"):
        y = Axis(label="latency", unit="ms", zero=True)
        title = named("Latency", name and _whose(name, members, results, latency_ms))
        if figure := lines(members, latency_ms, title=title, y=y):
            yield figure
    for name, members in by_machine(results, "memory"):
        y = Axis(label="peak memory", unit="MiB", zero=True)
        title = named("Memory", name and _whose(name, members, results, peak_mib))
        if figure := lines(members, peak_mib, title=title, y=y) or bars(members, peak_mib, title=title, y=y):
            yield figure


def _whose(machine: str, members: Sequence[Result], results: Sequence[Result], read: Read) -> str:
    """Return a machine with what all that it measured has in common and other machines' cells have not."""
    known = [result for result in members if isinstance(read(result), Value)]
    here = varying(known)
    common = [axis for axis in varying(results) if axis not in here]
    return ", ".join(filter(None, (machine, in_words(known[0].cell, common) if known else "")))


def _with_all_seeds(results: Sequence[Result]) -> list[Result]:
    """Leave out cells of which not every seed is there: a mean over fewer would be of other repetitions."""
    found: dict[tuple[object, ...], set[int]] = {}
    for result in results:
        found.setdefault(but_seed(result), set()).add(result.cell.seed)
    most = max(map(len, found.values()), default=0)
    return [result for result in results if len(found[but_seed(result)]) == most]


def named(what: str, machine: str) -> str:
    """Return what is measured, with the machine where there is more than one."""
    return f"{what} ({machine})" if machine else what


def alike(results: Sequence[Result], read: Read, axis: str, *, within: float) -> bool:
    """Say whether results that differ in this axis alone are that close to each other."""
    found: dict[tuple[object, ...], list[float]] = {}
    for result in results:
        value = read(result)
        if isinstance(value, Value):
            found.setdefault(tuple(getattr(result.cell, name) for name in ("task", *AXES) if name != axis), []).append(
                value.value
            )
    return all(max(values) - min(values) <= within for values in found.values())


def _follows(results: Sequence[Result], axis: str, other: str) -> bool:
    """Say whether an axis has one value at each value of another, and so no panel of its own."""
    pairs = {(getattr(result.cell, other), getattr(result.cell, axis)) for result in results}
    return len(pairs) == len({value for value, _ in pairs})


def _positions(results: Sequence[Result], axis: str) -> dict[float, str]:
    """Return where values stand; keeping every key of a window stands at the number of its tokens."""
    found = {}
    for result in results:
        position = position_of(result, axis)
        if position is not None:
            found[position] = value_text(axis, getattr(result.cell, axis))
    return found


def position_of(result: Result, axis: str) -> float | None:
    """Return where a result stands along a numeric axis; None where its value has no place."""
    value, window = getattr(result.cell, axis), result.cell.window
    if value is None:
        return float(window**2) if axis == "top_k" and window else None
    return float(value)


def _series(
    results: Sequence[Result], along: str, by: str | None, styles: Sequence[object], read: Read
) -> tuple[Series, ...]:
    found = []
    for style, value in enumerate(styles[:_MOST_SERIES], first_style(by)):
        members: dict[float, list[Result]] = {}
        for result in results:
            position = position_of(result, along)
            if position is not None and (by is None or getattr(result.cell, by) == value):
                members.setdefault(position, []).append(result)
        points = tuple(_mean(x, members[x], read) for x in sorted(members))
        if points:
            found.append(Series(label=phrase(by, value) if by else "", style=style, points=points))
    return tuple(found)


def first_style(axis: str | None) -> int:
    return 0 if axis == "backend" else _OTHER_STYLES


def _mean(x: float, results: Sequence[Result], read: Read) -> Point:
    values = [value for result in results if isinstance(value := read(result), Value)]
    cells = tuple(result.cell.id for result in results)
    if len(values) == 1:
        only = values[0]
        return Point(x=x, y=only.value, low=only.low, high=only.high, cells=cells, detail=only.detail)
    numbers = [value.value for value in values]
    ends: tuple[float, float] | None = (min(numbers), max(numbers))
    if len({result.cell.seed for result in results}) == 1:  # alike: how sure each is, and not how they differ
        sure = [(each.low, each.high) for each in values if each.low is not None and each.high is not None]
        whole = len(sure) == len(values)
        ends = (fmean(low for low, _ in sure), fmean(high for _, high in sure)) if whole else None
    low, high = ends or (None, None)
    return Point(x=x, y=fmean(numbers), low=low, high=high, cells=cells, detail=f"mean of {len(cells)} cells")


def _without_single_whiskers(panel: Panel) -> Panel:
    """Take away whiskers of one repetition: beside ranges of several they would be read as such."""
    return replace(
        panel,
        series=tuple(
            replace(
                each,
                points=tuple(p if len(p.cells) > 1 else replace(p, low=None, high=None) for p in each.points),
            )
            for each in panel.series
        ),
    )


def _largest(x: float, results: Sequence[Result], read: Read) -> Point:
    numbers = [value.value for result in results if isinstance(value := read(result), Value)]
    cells = tuple(result.cell.id for result in results)
    return Point(x=x, y=max(numbers), low=min(numbers), high=max(numbers), cells=cells)


def _extent(panels: Sequence[Panel]) -> tuple[float, float]:
    heights = [point.y for panel in panels for series in panel.series for point in series.points]
    return min(heights), max(heights)


def _absent(results: Sequence[Result], known: Sequence[Result], by: str | None, read: Read) -> Iterator[str]:
    """Say which series are wholly missing, and why."""
    for value in axis_values(results, by) if by else ():
        if all(getattr(result.cell, by or "") != value for result in known):
            reasons = Counter(str(read(each)) for each in results if getattr(each.cell, by or "") == value)
            yield f"no {value_text(by or '', value)} ({listed(reasons, 'cell', 1)})"


def _shortened(panels: Sequence[Panel], styles: Sequence[object]) -> str:
    left = [
        f"{len(panels) - _MOST_PANELS} more panels" if len(panels) > _MOST_PANELS else "",
        f"{len(styles) - _MOST_SERIES} more series" if len(styles) > _MOST_SERIES else "",
    ]
    return " and ".join(each for each in left if each) + " in the table alone" if any(left) else ""
