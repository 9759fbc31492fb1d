"""A document as one HTML file that needs nothing else: styles, pictures and figures lie inside it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, reduce
from importlib.resources import files
from io import BytesIO

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image, ImageChops

from reports.crops import decoded
from reports.document import ERROR_GAIN, Box, Column, Document, Entry, Group, Picture, Table
from reports.renderers import dictionaries, figures, timelines

_LARGEST_SIDE = 640
"""Pictures with a longer side, in pixels, are shown reduced; details are always cut at full size."""


def render(document: Document, *, artifact: Callable[[str], bytes]) -> str:
    """Return the page. `artifact` gives the bytes of a picture by its name; empty bytes mean that it is lost.

    The page says where a picture is lost, or damaged so that it cannot be read.
    Equal documents with equal pictures give equal pages, byte for byte.
    """
    environment = Environment(
        loader=PackageLoader("reports.renderers"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    pictures = cache(lambda name, target: _Loaded.read(artifact(name), artifact(target) if target else None))
    environment.globals.update(
        kind_of=lambda block: type(block).__name__,
        families_of=_families,
        starts_of=_starts,
        laid_out=_laid_out,
        look=lambda picture, crop: _look(picture, crop, pictures),
        lay_out=dictionaries.Drawing,
        draw=lambda figure: [(title, Markup(svg)) for title, svg in figures.draw(figure)],
        drawn=lambda timeline: Markup(timelines.draw(timeline)),
        legend=figures.legend,
        swatch=lambda style, kind: Markup(figures.swatch(style, kind)),
    )
    return environment.get_template("document.html.j2").render(
        document=document, style=_asset("page.css"), script=_asset("page.js") + _asset("tables.js")
    )


@dataclass(frozen=True, kw_only=True)
class _Slot:
    """A place in a table, perhaps over several rows or columns."""

    entry: Entry
    column: Column
    index: int
    stub: bool
    first: bool
    anchors: bool
    rows: int = 1
    columns: int = 1


@dataclass(frozen=True, kw_only=True)
class _LaidOut:
    """A table's row with what is left to draw once equal neighbours are one."""

    slots: tuple[_Slot, ...]
    anchor: str
    starts: bool


@dataclass(frozen=True)
class _Loaded:
    """A picture of the store, decoded once, or the reason why there is none."""

    image: Image.Image | None
    whole: str = ""
    reason: str = "the picture is missing from the store"

    @classmethod
    def read(cls, content: bytes, target: bytes | None) -> _Loaded:
        if not content or target == b"":
            return cls(None)
        image = decoded(content)
        if image is not None and target is not None:
            image = _errors(image, other) if (other := decoded(target)) else None
            content = _png(image) if image else b""
        if image is None:
            return cls(None, reason="the picture cannot be read, for it is damaged")
        if max(image.size) <= _LARGEST_SIDE:
            return cls(image, _uri(content))
        small = image.copy()
        small.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.LANCZOS)
        return cls(image, _uri(_png(small)))


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What the page needs to show a picture: data URIs, and the crop's frame in percent."""

    whole: str = ""
    detail: str = ""
    width: int = 0
    height: int = 0
    left: str = "0"
    top: str = "0"
    wide: str = "0"
    high: str = "0"
    reason: str = ""
    """Why there is no picture."""


def _errors(image: Image.Image, target: Image.Image) -> Image.Image:
    """Return how far each pixel is from its target, times `ERROR_GAIN`: of a colour's channels the farthest."""
    channels = ImageChops.difference(image, target.convert(image.mode)).split()
    return reduce(ImageChops.lighter, channels).point(lambda level: min(255, ERROR_GAIN * level))


def _look(picture: Picture, crop: Box | None, pictures: Callable[[str, str], _Loaded]) -> _Look:
    loaded = pictures(picture.artifact, picture.target) if picture.artifact else _Loaded(None)
    if loaded.image is None:
        return _Look(reason=picture.reason or loaded.reason)
    width, height = loaded.image.size
    if crop is None:
        return _Look(whole=loaded.whole, width=width, height=height)
    box = (crop.left * width, crop.top * height, crop.right * width, crop.bottom * height)
    detail = loaded.image.crop(tuple(round(edge) for edge in box))  # type: ignore[arg-type]
    return _Look(
        whole=loaded.whole,
        detail=_uri(_png(detail)),
        width=width,
        height=height,
        left=f"{100 * crop.left:.2f}",
        top=f"{100 * crop.top:.2f}",
        wide=f"{100 * (crop.right - crop.left):.2f}",
        high=f"{100 * (crop.bottom - crop.top):.2f}",
    )


def _families(table: Table) -> list[tuple[str, int]]:
    """Return runs of columns under a common head, with their length; one run where no column has a family."""
    runs: list[tuple[str, int]] = []
    for column in table.columns:
        if runs and runs[-1][0] == column.family:
            runs[-1] = (column.family, runs[-1][1] + 1)
        else:
            runs.append((column.family, 1))
    return runs


def _starts(table: Table) -> set[int]:
    """Return the columns that open a family, the leading ones left out."""
    families = [column.family for column in table.columns]
    return {i for i in range(table.stubs, len(families)) if families[i] and families[i] != families[i - 1]}


def _laid_out(table: Table, group: Group) -> Iterator[_LaidOut]:
    """Merge equal names downwards, but for the last that names the row, and equal reasons sideways."""
    starts, rows = _starts(table), group.rows
    for i, row in enumerate(rows):
        slots: list[_Slot] = []
        opened = False
        j = 0
        while j < len(table.columns):
            entry, column, down, across = row.entries[j], table.columns[j], 1, 1
            if j < table.stubs - 1:
                above = _names(rows[i - 1].entries, j) if i else None
                if above == _names(row.entries, j):
                    j += 1
                    continue
                down = next(
                    (n for n in range(1, len(rows) - i) if _names(rows[i + n].entries, j) != _names(row.entries, j)),
                    len(rows) - i,
                )
                opened = opened or down > 1
            elif entry.reason:
                same = (n for n in range(j, len(row.entries)) if row.entries[n].reason != entry.reason)
                across = next(same, len(row.entries)) - j
            slots.append(
                _Slot(
                    entry=entry,
                    column=column,
                    index=j,
                    stub=j < table.stubs,
                    first=j in starts,
                    anchors=bool(row.anchor),
                    rows=down,
                    columns=across,
                )
            )
            j += across
        yield _LaidOut(slots=tuple(slots), anchor=row.anchor, starts=opened)


def _names(entries: tuple[Entry, ...], upto: int) -> tuple[str, ...]:
    return tuple(entry.text for entry in entries[: upto + 1])


def _asset(name: str) -> Markup:
    return Markup(files("reports.renderers").joinpath("templates", name).read_text(encoding="utf-8"))


def _png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _uri(content: bytes) -> str:
    return f"data:image/png;base64,{b64encode(content).decode()}"
