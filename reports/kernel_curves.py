"""Figures of one attention layer: time and memory of every contender against k and against N, caches hot and cold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Literal

from harness.contest.interval import median_interval
from harness.contest.names import Kind
from reports.contests import Contest
from reports.document import Axis, Figure, Panel, Point, Series

SHARE = 1 / 4
"""Of the keys of a window: against N, each N stands with the k that is nearest to it."""
_WIDE = 30
"""From this ratio of the largest to the smallest on, an axis is logarithmic."""

_KINDS: Mapping[Literal["time", "memory"], tuple[str, tuple[Kind, ...]]] = {
    "time": ("ms", ("hot", "cold")),
    "memory": ("MiB", ("memory",)),
}
_CACHES: Mapping[Kind, str] = {"hot": "caches hot", "cold": "caches cold"}


def against_k(contests: Sequence[Contest], quantity: str, title: str, names: Sequence[str]) -> Iterator[Figure]:
    """Yield time and memory against k, of contests in windows of one size; nothing where k does not vary.

    `quantity` is one of the kernels page, `title` what it is called there. `names` are all contenders of the page;
    their places choose the colours.
    """
    yield from _figures(contests, quantity, title, names, along="k", place=lambda contest: contest.result.cell.top_k)


def against_tokens(contests: Sequence[Contest], quantity: str, title: str, names: Sequence[str]) -> Iterator[Figure]:
    """Yield time and memory against the tokens of a window, with the k nearest to a quarter of them at each."""
    nearest: dict[tuple[int, str], Contest] = {}
    for contest in contests:
        key = contest.tokens, contest.result.cell.dtype
        if key not in nearest or _off(contest) < _off(nearest[key]):
            nearest[key] = contest
    chosen = list(nearest.values())
    ks = ", ".join(f"{k} at {n}" for n, k in sorted({(each.tokens, each.result.cell.top_k or 0) for each in chosen}))
    yield from _figures(
        chosen, quantity, title, names, along="N", place=lambda contest: contest.tokens, note=f"k is {ks}"
    )


def _off(contest: Contest) -> float:
    return abs((contest.result.cell.top_k or 0) / contest.tokens - SHARE)


def _figures(
    contests: Sequence[Contest],
    quantity: str,
    title: str,
    names: Sequence[str],
    *,
    along: str,
    place: Callable[[Contest], int | None],
    note: str = "",
) -> Iterator[Figure]:
    for what, (unit, kinds) in _KINDS.items():
        panels = []
        for dtype in dict.fromkeys(contest.result.cell.dtype for contest in contests):
            of_dtype = [contest for contest in contests if contest.result.cell.dtype == dtype]
            for kind in kinds:
                series = tuple(_series(of_dtype, quantity, kind, names, place))
                if len({point.x for each in series for point in each.points}) > 1:
                    panels.append(Panel(title=" · ".join(filter(None, (dtype, _CACHES.get(kind)))), series=series))
        if not panels:
            continue
        points = [point for panel in panels for each in panel.series for point in each.points]
        xs, heights = sorted({point.x for point in points}), [point.y for point in points]
        low, high = min(heights), max(heights)
        yield Figure(
            title=f"{title}: {what} against {along}",
            summary=f"{what} of a call against {along}: {low:.4g} to {high:.4g} {unit}",
            kind="lines",
            x=Axis(label=along, log=xs[0] > 0 and xs[-1] / xs[0] >= 4, ticks=tuple((x, f"{x:g}") for x in xs)),
            y=Axis(label=what, unit=unit, zero=True, log=low > 0 and high / low > _WIDE),
            panels=tuple(panels),
            note="; ".join(filter(None, (note, "whisker: 99 % interval of the median" if what == "time" else ""))),
        )


def _series(
    contests: Sequence[Contest],
    quantity: str,
    kind: Kind,
    names: Sequence[str],
    place: Callable[[Contest], int | None],
) -> Iterator[Series]:
    for style, name in enumerate(names):
        points = []
        for contest in contests:
            found, x = contest.of(quantity, kind, name), place(contest)
            if found is None or x is None:
                continue
            low, high = median_interval(found.samples) if len(found.samples) > 1 else (None, None)
            cell = (contest.result.cell.id,)
            points.append(Point(x=float(x), y=median(found.samples), low=low, high=high, cells=cell))
        if points:
            yield Series(label=name, style=style, points=tuple(sorted(points, key=lambda point: point.x)))
