"""What a report says, as plain values: pages round and fill them, renderers only escape and draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

State = Literal["measured", "skipped", "failed", "missing"]
"""How a result stands; `missing` is planned and not run."""


@dataclass(frozen=True, kw_only=True)
class Badge:
    """A short word with a state, as in `4 failed`."""

    text: str
    state: State
    anchor: str = ""
    """Section that says more."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph."""

    text: str
    tone: Literal["plain", "note", "warning"] = "plain"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names with values, in reading order."""

    items: tuple[tuple[str, str], ...]
    inline: bool = False
    """A run of words rather than a table, for a few short facts."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """Text to be read letter for letter."""

    text: str
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Column:
    """The head of a table's column."""

    label: str
    unit: str = ""
    family: str = ""
    """Columns in a row that share a family stand under one common head."""
    kind: Literal["text", "number", "code", "cell"] = "text"
    """`number` lines up at the decimal, `code` can be copied, `cell` holds a cell's id and leads to it."""
    hint: str = ""
    """What the column means, in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One value of a table, or the reason why there is none."""

    text: str = ""
    """Rounded for reading, without its unit; a column's entries have the same decimals."""
    value: float | None = None
    """The number behind the text, in the column's unit."""
    detail: str = ""
    """What lies behind the number: samples, spread, how it was formed."""
    cell: str = ""
    """Id of the cell that it comes from."""
    best: bool = False
    second: bool = False
    """The best of the others; pages decide when `best` and `second` are sure enough to be marked."""
    reason: str = ""
    """Why there is no value; `text` then holds it in few words."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A table's row; `anchor` is the name by which the rest of the document finds it."""

    entries: tuple[Entry, ...]
    anchor: str = ""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows under one title."""

    rows: tuple[Row, ...]
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Numbers or words in columns."""

    caption: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    stubs: int = 1
    """Leading columns that name the row; equal neighbours in them are drawn as one."""
    parts: tuple[str, ...] = ()
    """What the groups' titles are made of, by name, for whoever filters by it."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Point:
    """A measured point; the whisker runs from `low` to `high`."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    x_low: float | None = None
    x_high: float | None = None
    """From where to where a second whisker runs, along x."""
    size: float | None = None
    """Area of its mark as a share of the figure's largest, for a third quantity; None is the usual mark."""
    cells: tuple[str, ...] = ()
    """Ids of the cells that it is made of."""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points that belong together."""

    label: str
    style: int
    """Index of colour and marker, the same for the same label throughout a document."""
    points: tuple[Point, ...]
    line: Literal["joined", "none", "alone"] = "joined"
    """Points joined by a line, points alone, or the line alone, as of a model; for figures of `lines`."""
    faint: bool = False
    """Too many points for words of their own: small and light, behind those of the same label; for `strips`."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What is plotted along a direction."""

    label: str
    unit: str = ""
    log: bool = False
    zero: bool = False
    """The axis starts at zero: lengths can be compared."""
    ticks: tuple[tuple[float, str], ...] = ()
    """Positions with labels; empty lets the renderer choose round ones."""
    origin: float | None = None
    """A value to compare with, drawn as a line; for `strips`."""
    band: tuple[float, float] | None = None
    """From and to: a range that matters, shaded; for `strips`."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes; panels of a figure share the scale of y."""

    series: tuple[Series, ...]
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Series to be drawn: the data, never a picture of it."""

    title: str
    summary: str
    """What it shows, for someone who cannot see it."""
    kind: Literal["lines", "bars", "stacked", "strips"]
    """`lines` over a numeric x; `bars` lie on their side, `x` being the tick of their category; those of a category
    lie behind one another when `stacked`, parts of a whole; `strips` are samples on their side: many points of a
    category in one row, those of each label in a lane of their own."""
    x: Axis
    y: Axis
    panels: tuple[Panel, ...]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle in fractions of a picture's width and height."""

    left: float
    top: float
    right: float
    bottom: float


ERROR_GAIN = 8
"""What errors are multiplied by to be seen: 32 levels of 255, an eighth of the range, are white."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture in the store, or the reason why there is none."""

    role: str
    """As in `degraded`."""
    artifact: str = ""
    """Name in the store's artifacts; empty where there is none."""
    target: str = ""
    """Name of a picture of the same size: how far each pixel is from it, times `ERROR_GAIN`, is shown."""
    caption: str = ""
    cell: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One scene in several pictures, with the same detail cut from each."""

    title: str
    pictures: tuple[Picture, ...]
    crop: Box | None = None


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures to be compared by eye."""

    caption: str
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, kw_only=True)
class Slider:
    """One view of a scene before and after, laid over each other with a handle between them."""

    before: Picture
    after: Picture
    frame: Box | None = None
    """The detail that another slider shows."""


@dataclass(frozen=True, kw_only=True)
class Sliders:
    """A scene before and after: the whole, and perhaps a detail of it."""

    title: str
    sliders: tuple[Slider, ...]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Area:
    """A rectangle of a picture, in its pixels; it may reach beyond the right and lower border, into padding."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Look:
    """A patch of a picture with the patches that a dictionary keeps for it; all patches of a stage are alike."""

    patch: Area
    part: Area
    """Where it may keep patches: its window, or its part of a window that is cut."""
    kept: tuple[Area, ...]
    """The most similar first."""
    words: str
    """What is seen, in a sentence."""
    short: str = ""
    """The same in few words."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A network's stage: the chosen patches with what they keep there."""

    title: str
    looks: tuple[Look, ...]
    note: str = ""
    words: str = ""
    """What holds of all patches of the picture."""


@dataclass(frozen=True, kw_only=True)
class View:
    """The stages of one network, which stands at one value of each axis."""

    at: tuple[int, ...]
    """Index of the value, axis by axis."""
    title: str
    """The same in words."""
    stages: tuple[Stage, ...]


@dataclass(frozen=True, kw_only=True)
class Dictionary:
    """Which patches some chosen ones keep, over the picture, to be looked at stage by stage and from view to view."""

    title: str
    anchor: str
    """Its name, which no other block of the document has."""
    pictures: tuple[Picture, ...]
    """One scene in several pictures; the first is shown to begin with."""
    width: int
    """Of the pictures, in pixels, as all areas are."""
    height: int
    patches: tuple[str, ...]
    """What is to be said of each chosen patch, in the order of a stage's looks."""
    axes: tuple[tuple[str, tuple[str, ...]], ...]
    """Name and values of what the views differ in."""
    views: tuple[View, ...]
    first: int = 0
    """The view that is shown to begin with."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Card:
    """A section in a nutshell."""

    title: str
    anchor: str
    lines: tuple[str, ...]
    badges: tuple[Badge, ...] = ()
    picture: Picture | None = None


@dataclass(frozen=True, kw_only=True)
class Cards:
    """Nutshells side by side."""

    cards: tuple[Card, ...]


@dataclass(frozen=True, kw_only=True)
class Link:
    """A way to a file that lies beside the document."""

    text: str
    href: str
    """Relative, as in `topk/table.tex`."""


@dataclass(frozen=True, kw_only=True)
class Links:
    """Files side by side."""

    links: tuple[Link, ...]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Figures side by side."""

    figures: tuple[Figure, ...]


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of a timeline."""

    start: float
    length: float
    label: str = ""
    """Written into the span where there is room; of a dotted or scoped name perhaps the last part alone."""
    detail: str = ""
    """What it says in full."""
    depth: int = 0
    """Its row below the lane's title."""
    style: int | None = None
    """Index of its colour, the same for the same name throughout a timeline; None for what only holds others."""


@dataclass(frozen=True, kw_only=True)
class Lane:
    """Spans that follow each other or lie inside one another."""

    title: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """What happened when, in lanes one below the other."""

    title: str
    summary: str
    """What it shows, for someone who cannot see it."""
    axis: Axis
    """Its `ticks` reach from the first moment to the last."""
    lanes: tuple[Lane, ...]
    keys: tuple[tuple[str, int], ...] = ()
    """Names with their styles, for the legend."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Details:
    """Blocks that stay folded until someone asks."""

    title: str
    blocks: tuple[Block, ...]
    count: str = ""
    """How much there is inside, as in `24 cells`."""
    state: State | None = None
    open: bool = False


Block = Text | Facts | Code | Table | Figures | Timeline | Gallery | Sliders | Dictionary | Cards | Links | Details


@dataclass(frozen=True, kw_only=True)
class Section:
    """Blocks under a heading."""

    title: str
    anchor: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Document:
    """A whole report."""

    title: str
    sections: tuple[Section, ...]
    kicker: str = ""
    """What kind of document this is, above the title."""
    badges: tuple[Badge, ...] = ()
    lead: tuple[Block, ...] = ()


def blocks_of(document: Document) -> Iterator[tuple[Section, Block]]:
    """Yield every block of the sections, folded ones too, with the section that it stands in."""

    def inside(blocks: tuple[Block, ...]) -> Iterator[Block]:
        for block in blocks:
            yield block
            if isinstance(block, Details):
                yield from inside(block.blocks)

    for section in document.sections:
        for block in inside(section.blocks):
            yield section, block
