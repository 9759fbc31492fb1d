"""Figures for print: SVG and PDF at a venue's column width, with embedded fonts, and the data of each as CSV.

Equal figures give equal bytes with one version of matplotlib: no date, no random names.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import LogLocator

from reports.crops import decoded
from reports.document import Axis, Box, Comparison, Figure, Panel, Point, Series
from reports.renderers.figures import in_full, legend

Format = Literal["pdf", "svg"]


@dataclass(frozen=True, kw_only=True)
class Venue:
    """Widths of a paper, in inches."""

    column: float
    text: float
    """Both columns with what lies between them; the column's own where there is one."""


VENUES = {
    "neurips": Venue(column=5.5, text=5.5),
    "cvpr": Venue(column=3.25, text=6.875),
    "ieee": Venue(column=3.5, text=7.16),
}
"""From the instructions to authors: NeurIPS has one column, CVPR two of 3 1/4 in, IEEE two of 3.5 in."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9", "#000000", "#7F7F7F")
"""Told apart with the common kinds of colour blindness (M. Okabe and K. Ito, 2002; a darker yellow, for paper)."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "o")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-", "--")
HATCHES = ("", "////", "....", "xxxx", "----", "||||", "", "++++")
"""Shape, line and filling by `Series.style`, so that colour never stands alone, and a copy in gray can be read."""
_HOLLOW = 7

_RULES: dict[str, Any] = {
    "font.family": "STIXGeneral",
    "text.parse_math": False,
    "font.size": 8,
    "hatch.linewidth": 0.4,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.1,
    "lines.markersize": 4,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "semanir-bench",
}
"""The font comes with matplotlib, so that no machine's own shows; Type 42 embeds it, SVG holds its outlines."""

_NOBODY = {"pdf": {"Creator": None, "Producer": None, "CreationDate": None}, "svg": {"Date": None}}
"""Neither a date nor a program's version."""
_DETAIL, _CAPTION = 0.8, 0.28
"""Inches that a detail needs, and the lines below it."""
_NARROWEST = 1.55
"""Inches that a panel needs; those that do not fit beside each other go below."""
_LARGEST_AREA = 60.0
"""Square points of the largest mark whose area tells a number."""
_ROW = 0.15
"""Inches of a bar."""


def draw(figure: Figure, *, form: Format, venue: Venue, wide: bool = False) -> bytes:
    """Return the figure as a file, as wide as a column, or with `wide` as the text."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RULES)  # type: ignore[arg-type]
        canvas = _drawn(figure, venue.text if wide else venue.column)
        file = BytesIO()
        canvas.savefig(file, format=form, metadata=_NOBODY[form])
    return file.getvalue()


def draw_grid(
    scene: Comparison, read: Callable[[str], bytes], *, form: Format, venue: Venue, wide: bool = False
) -> bytes:
    """Return a qualitative comparison: the scene with a frame, and beside it the framed detail of every picture.

    Under each stands its role and caption. Pixels are enlarged as squares. What is lost or damaged is called so in its
    place. Raises `ValueError` for a scene without a picture of its first role.
    """
    contents = [read(picture.artifact) if picture.artifact else b"" for picture in scene.pictures]
    loaded = [(picture, _pixels(content)) for picture, content in zip(scene.pictures, contents, strict=True)]
    lost = ["damaged" if content else "missing" for content in contents]
    whole = loaded[0][1]
    if whole is None:
        why = "cannot be read, for it is damaged" if contents[0] else "is missing from the store"
        raise ValueError(f"{scene.title}: the picture '{scene.pictures[0].role}' {why}")
    width = venue.text if wide else venue.column
    # The scene takes two cells by two of a grid, the details all others, in as few rows as their width allows.
    cells = len(loaded) + 4
    down = max(2, math.ceil(cells / max(4, int(width // _DETAIL))))
    across = max(4, math.ceil(cells / down))
    places = [(row, column) for row in range(down) for column in range(across) if row > 1 or column > 1]
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RULES)  # type: ignore[arg-type]
        side = width / across
        close = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
        canvas = Canvas(figsize=(width, down * (side + _CAPTION)), layout=close)
        spots = canvas.add_gridspec(down, across)
        scene_axes = canvas.add_subplot(spots[:2, :2])
        scene_axes.imshow(whole, cmap="gray", vmin=0, vmax=255)
        box = scene.crop or Box(left=0.0, top=0.0, right=1.0, bottom=1.0)
        rows, columns = whole.shape[:2]
        frame = Rectangle(
            (box.left * columns - 0.5, box.top * rows - 0.5),
            (box.right - box.left) * columns,
            (box.bottom - box.top) * rows,
            fill=False,
            edgecolor="#ffd400",
            linewidth=1.2,
        )
        scene_axes.add_patch(frame)
        fits = len(scene.title) <= 22 * 2 * side
        _bare(scene_axes, scene.title if fits else scene.title.replace(" (", "\n(", 1))
        for (row, column), (picture, pixels), word in zip(places, loaded, lost, strict=False):
            axes = canvas.add_subplot(spots[row, column])
            if pixels is None:
                axes.text(0.5, 0.5, word, ha="center", va="center", fontsize=6)
            else:
                high, broad = pixels.shape[:2]
                top, bottom = round(box.top * high), round(box.bottom * high)
                left, right = round(box.left * broad), round(box.right * broad)
                axes.imshow(pixels[top:bottom, left:right], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            _bare(axes, f"{_folded(picture.role, side)}\n{picture.caption or ' '}")
        file = BytesIO()
        canvas.savefig(file, format=form, metadata=_NOBODY[form], dpi=300)
    return file.getvalue()


def grid_csv(scene: Comparison) -> str:
    """Return the pictures of a grid, a row each: what stands below it, its cell and file, and the detail.

    The detail's edges are shares of the picture's width and height; it is all of it where no other was chosen.
    """
    file = StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(("picture", "PSNR", "cell", "file", "left", "top", "right", "bottom"))
    box = scene.crop or Box(left=0.0, top=0.0, right=1.0, bottom=1.0)
    where = (repr(box.left), repr(box.top), repr(box.right), repr(box.bottom))
    for each in scene.pictures:
        rows.writerow((each.role, each.caption, each.cell, each.artifact, *where))
    return file.getvalue()


def _folded(name: str, inches: float) -> str:
    """Return a name that is too long for its place in two lines, if it has parts."""
    head, slash, tail = name.partition("/" if "/" in name else ", ")
    return f"{head}{slash.rstrip()}\n{tail}" if tail and len(name) > 22 * inches else name


def _bare(axes: Axes, words: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(words, fontsize=6, labelpad=2)


def _pixels(content: bytes) -> np.ndarray | None:
    """Return what is shown of a picture; None of one that is lost or damaged."""
    image = decoded(content)
    return None if image is None else np.asarray(image)


def as_csv(figure: Figure) -> str:
    """Return the points of a figure, a row each, with both whiskers; empty where a point has none, or no name.

    `area` is a mark's share of the largest one's, where areas mean something.
    """
    file = StringIO()
    rows = csv.writer(file, lineterminator="\n")
    x, y = _named(figure.x), _named(figure.y)
    rows.writerow(("panel", "series", x, "name of it", "left", "right", y, "low", "high", "area", "from", "cells"))
    names = dict(figure.x.ticks)
    for panel in figure.panels:
        for series in panel.series:
            for point in series.points:
                along = (point.x, names.get(point.x, ""), point.x_low, point.x_high)
                numbers = (*along, point.y, point.low, point.high, point.size)
                texts = ("" if each is None else each if isinstance(each, str) else repr(each) for each in numbers)
                rows.writerow((panel.title, series.label, *texts, point.detail, " ".join(point.cells)))
    return file.getvalue()


def caption(figure: Figure) -> str:
    """Return what stands around a figure on the page: its title, and what its marks and whiskers mean."""
    return f"{figure.title}. {figure.note[:1].upper()}{figure.note[1:]}." if figure.note else f"{figure.title}."


def _drawn(figure: Figure, width: float) -> Canvas:
    count = len(figure.panels)
    across = min(count, max(1, int(width // _NARROWEST)))
    down = math.ceil(count / across)
    heads = 0.2 * math.ceil(len(legend(figure)) / max(1, int(width // 1.2)))
    height = _height(figure, width / across)
    canvas = Canvas(figsize=(width, down * height + heads), layout="constrained")
    axes = canvas.subplots(down, across, squeeze=False, sharey=figure.kind == "lines").flatten()
    for one, panel in zip(axes, figure.panels, strict=False):
        _PAINTERS[figure.kind](one, figure, panel)
        one.set_title(panel.title, loc="left")
    for one in axes[count:]:
        one.set_visible(False)
    if keys := [_key(label, style, figure.kind) for label, style in legend(figure)]:
        columns = min(len(keys), max(1, int(width // 1.2)))
        canvas.legend(handles=keys, loc="outside upper center", ncols=columns, frameon=False, handlelength=2.2)
    return canvas


def _height(figure: Figure, width: float) -> float:
    match figure.kind:
        case "lines":
            return min(2.3, 0.72 * width)
        case "stacked":
            rows = [float(len({p.x for s in panel.series for p in s.points})) for panel in figure.panels]
        case _:
            rows = [
                sum(len(lanes) + 0.7 for _, lanes in _lanes(figure, panel, one_each=figure.kind == "strips"))
                for panel in figure.panels
            ]
    return 0.6 + _ROW * max(rows, default=1.0)


def _lines(axes: Axes, figure: Figure, panel: Panel) -> None:
    for series in panel.series:
        x, y = [point.x for point in series.points], [point.y for point in series.points]
        line = "none" if series.line == "none" else DASHES[series.style % len(DASHES)]
        marker = "none" if series.line == "alone" else MARKERS[series.style % len(MARKERS)]
        sizes = [point.size for point in series.points if point.size is not None]
        if len(sizes) == len(series.points):
            areas, colour = [_LARGEST_AREA * size for size in sizes], COLOURS[series.style % len(COLOURS)]
            axes.scatter(x, y, s=areas, color=colour, alpha=0.6, linewidths=0, zorder=2)
            marker = "none"
        axes.plot(x, y, linestyle=line, marker=marker, **_paint(series.style))
        _whiskers(axes, series, [(p.x, p) for p in series.points], upright=True)
        for point in series.points:
            if point.x_low is not None and point.x_high is not None:
                colour = COLOURS[series.style % len(COLOURS)]
                axes.hlines(point.y, point.x_low, point.x_high, color=colour, linewidth=0.8)
    if figure.x.log:
        axes.set_xscale("log")
    if figure.y.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: in_full(value))
    elif figure.y.zero:
        axes.set_ylim(bottom=0)
    if figure.x.ticks:
        axes.set_xticks([x for x, _ in figure.x.ticks], [text for _, text in figure.x.ticks])
    elif figure.x.log:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: in_full(value))
    axes.minorticks_off()
    if not figure.y.log:
        axes.locator_params(axis="y", nbins=6)
    axes.grid(axis="y")
    axes.set_xlabel(_named(figure.x))
    axes.set_ylabel(_named(figure.y))
    axes.label_outer(remove_inner_ticks=False)


def _bars(axes: Axes, figure: Figure, panel: Panel) -> None:
    middles, y = [], 0.0
    for name, lanes in _lanes(figure, panel, one_each=False):
        middles.append((y + (len(lanes) - 1) / 2, name))
        for series, points in lanes:
            axes.barh(y, points[0].y, height=0.85, **_filling(series.style))
            _whiskers(axes, series, [(y, points[0])], upright=False)
            y += 1
        y += 0.7
    _lying(axes, figure, middles)


def _stacked(axes: Axes, figure: Figure, panel: Panel) -> None:
    middles = []
    present = {point.x for series in panel.series for point in series.points}
    for row, (x, name) in enumerate((x, name) for x, name in figure.x.ticks if x in present):
        middles.append((float(row), name))
        left = 0.0
        for series in panel.series:
            for point in series.points:
                if point.x == x:
                    axes.barh(row, point.y, left=left, height=0.7, **_filling(series.style))
                    left += point.y
    _lying(axes, figure, middles)


def _strips(axes: Axes, figure: Figure, panel: Panel) -> None:
    middles, y = [], 0.0
    for name, lanes in _lanes(figure, panel, one_each=True):
        middles.append((y + (len(lanes) - 1) / 2, name))
        for lane in lanes:
            series, points = lane
            for each in (s for s in panel.series if s.label == series.label):
                own = [p for p in each.points if p.x == points[0].x]
                marker = "|" if each.faint else MARKERS[each.style % len(MARKERS)]
                paint = _paint(each.style) | ({"alpha": 0.35, "markeredgewidth": 0.5} if each.faint else {})
                axes.plot([p.y for p in own], [y] * len(own), linestyle="none", marker=marker, **paint)
                _whiskers(axes, each, [(y, p) for p in own], upright=False)
            y += 1
        y += 0.7
    if figure.y.band is not None:
        axes.axvspan(*figure.y.band, color="#eeeeee", zorder=0)
    if figure.y.origin is not None:
        axes.axvline(figure.y.origin, color="#555555", linewidth=0.6)
    _lying(axes, figure, middles)


_PAINTERS = {"lines": _lines, "bars": _bars, "stacked": _stacked, "strips": _strips}


def _lanes(figure: Figure, panel: Panel, *, one_each: bool) -> Iterator[tuple[str, list[tuple[Series, list[Point]]]]]:
    """Yield the name of each category that the panel has, with its rows: a series each, or with `one_each` a label."""
    for x, name in figure.x.ticks:
        found = [(series, [point for point in series.points if point.x == x]) for series in panel.series]
        lanes = [(series, points) for series, points in found if points]
        if one_each:
            lanes = list({series.label: (series, points) for series, points in reversed(lanes)}.values())[::-1]
        if lanes:
            yield name, lanes


def _lying(axes: Axes, figure: Figure, rows: Sequence[tuple[float, str]]) -> None:
    axes.set_yticks([y for y, _ in rows], [name for _, name in rows])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.set_xlabel(_named(figure.y))


def _whiskers(axes: Axes, series: Series, points: Sequence[tuple[float, Point]], *, upright: bool) -> None:
    for place, point in points:
        if point.low is not None and point.high is not None:
            drawn = axes.vlines if upright else axes.hlines
            colour = COLOURS[series.style % len(COLOURS)] if upright or series.line != "joined" else "#333333"
            drawn(place, point.low, point.high, color=colour, linewidth=0.8)


def _paint(style: int) -> dict[str, Any]:
    colour = COLOURS[style % len(COLOURS)]
    hollow = style % len(MARKERS) == _HOLLOW
    return {
        "color": colour,
        "markerfacecolor": "white" if hollow else colour,
        "markeredgewidth": 0.8 if hollow else 0.0,
    }


def _key(label: str, style: int, kind: str) -> Line2D | Patch:
    if kind in ("bars", "stacked"):
        return Patch(label=label, **_filling(style))
    line: Any = DASHES[style % len(DASHES)] if kind == "lines" else "none"
    return Line2D([], [], linestyle=line, marker=MARKERS[style % len(MARKERS)], label=label, **_paint(style))


def _filling(style: int) -> dict[str, Any]:
    colour, hatch = (each[style % len(each)] for each in (COLOURS, HATCHES))
    return {"facecolor": colour, "edgecolor": "white", "linewidth": 0.4, "hatch": hatch}


def _named(axis: Axis) -> str:
    return f"{axis.label} ({axis.unit})" if axis.unit else axis.label
