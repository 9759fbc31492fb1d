"""The page of unions: which share of a window's keys a tile of queries needs, and whether visiting those alone pays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING

from harness.record import Measurement, Record
from harness.unions.names import (
    ACCESSES,
    LOCAL,
    QUERIES,
    RANDOM,
    SHIFTED,
    TOKENS,
    Access,
    Name,
    Order,
    Statistic,
    parse,
)
from reports.document import (
    Axis,
    Block,
    Column,
    Document,
    Entry,
    Facts,
    Figure,
    Figures,
    Group,
    Panel,
    Point,
    Row,
    Section,
    Series,
    Table,
    Text,
)
from reports.origin import again, provenance
from reports.quantities import mean_psnr
from reports.results import (
    Result,
    arrange,
    axis_values,
    counted,
    gather,
    in_words,
    label,
    listed,
    number_text,
    value_text,
    varying,
)

if TYPE_CHECKING:
    from harness.store import StoredPlan

METRIC = "unions"
LIMIT = 0.75
"""The rule of the study: below it, a kernel that visits unions is to be built."""
USEFUL_DB = 0.1
"""A k is useful where it restores at most this much worse than the best measured k of its window."""
TILE = 64
"""Queries of a tile of our forward."""
_INNER = ("window", "top_k")
_FAMILIES: Mapping[Access, str] = {"list": "list in steps of", "blocks": "blocks of"}
_NAMED: tuple[tuple[Access, int], ...] = (("list", 1), ("list", 32), ("list", 128), ("blocks", 32))
"""What is said of a window in words."""
_BLOCKS: tuple[tuple[Order, int], ...] = (("rows", 32), ("patches", 16), ("patches", 32), ("patches", 64))
_SHAPES: Mapping[Order, str] = {"rows": "in rows", "patches": "in patches"}


@dataclass(frozen=True)
class _Tile:
    """Queries that are looked at together."""

    queries: int
    order: Order = "rows"

    @property
    def label(self) -> str:
        """Its name for reading."""
        height = 1 << (self.queries.bit_length() - 1) // 2
        return (
            f"{self.queries} {_SHAPES[self.order]}" if self.order == "rows" else f"{height} x {self.queries // height}"
        )


_NAMED_TILES = (_Tile(16), _Tile(TILE), _Tile(TILE, "patches"))
"""Those drawn, and told of in words: the least, that of our forward, and a patch of as many queries."""


@dataclass(frozen=True, eq=False)
class _Cell:
    """What the record of one cell says."""

    result: Result

    @cached_property
    def shares(self) -> Mapping[Name, Measurement]:
        """Every share by name."""
        found = ((parse(each.name), each) for each in self.result.measurements(METRIC))
        return {name: each for name, each in found if name is not None}

    @property
    def tokens(self) -> int:
        """N."""
        found = self.result.measurement(METRIC, TOKENS)
        return int(found.samples[0]) if found else 0

    @property
    def window(self) -> int | None:
        """Side of its windows."""
        return self.result.cell.window

    @property
    def top_k(self) -> int | None:
        """Its k."""
        return self.result.cell.top_k

    @property
    def dictionaries(self) -> list[str]:
        """The sources that are dictionaries, in the order of use."""
        return [name for name in dict.fromkeys(each.source for each in self.shares) if name not in (LOCAL, RANDOM)]

    def has(self, tile: _Tile) -> bool:
        """Tell whether the windows hold such a tile, and its order makes a difference."""
        return tile.queries < self.tokens or (tile.queries == self.tokens and tile.order == "rows")

    def share(
        self, source: str, tile: _Tile, access: Access = "list", keys: int = 1, statistic: Statistic = "mean"
    ) -> float | None:
        """Return the mean over images."""
        order: Order = "rows" if tile.queries == self.tokens else tile.order
        found = self.shares.get(Name(source, order, tile.queries, access, keys, statistic))
        return fmean(found.samples) if found else None

    def of_dictionaries(self, tile: _Tile, access: Access = "list", keys: int = 1) -> list[float]:
        """Return the share of each dictionary."""
        found = (self.share(source, tile, access, keys) for source in self.dictionaries)
        return [share for share in found if share is not None]

    def mean(self, tile: _Tile, access: Access = "list", keys: int = 1) -> float | None:
        """Return the mean over dictionaries."""
        found = self.of_dictionaries(tile, access, keys)
        return fmean(found) if found else None


def build(
    records: Mapping[str, Record],
    plan: StoredPlan,
    *,
    artifact: Callable[[str], bytes] | None = None,
    store_name: str = "STORE",
    baseline: str | None = None,
) -> Document:
    """Show the shares of every network over window and k, and where they fall below the limit.

    `store_name` is how commands name the store. Pictures and baselines, of which `artifact` and `baseline` tell
    other pages, are not looked at.
    """
    results = gather(records, plan)
    measured = [result for result in results if result.measurements(METRIC)]
    outer = tuple(axis for axis in ("task", *varying(measured)) if axis not in (*_INNER, "backend"))
    networks: dict[str, list[Result]] = {}
    for result in arrange(results, (*outer, *_INNER)):
        networks.setdefault(in_words(result.cell, outer), []).append(result)
    sections = [
        _section(title, number, members)
        for number, (title, members) in enumerate(networks.items(), start=1)
        if any(result in measured for result in members)
    ]
    return Document(
        title=plan.question,
        kicker="Unions",
        lead=tuple(_lead(plan, results, measured)),
        sections=(*sections, again(results, store_name)) if results else (),
    )


def _lead(plan: StoredPlan, results: Sequence[Result], measured: Sequence[Result]) -> Iterator[Block]:
    found = [record for result in results for record in result.records.values() if record]
    yield Facts(items=tuple(provenance(plan, found)))
    if not measured:
        yield Text(text="No unions of this plan have been measured.", tone="warning")
    yield Text(
        text="A share is what the tiles of a window visit over what they visit now, which is every key. A list gathers"
        " the keys that at least one query of the tile keeps, so many at a time; lists of single keys are the bound of"
        " all lists. Blocks are consecutive keys, skipped where no query keeps one of them. Tiles are consecutive"
        " tokens, in rows as our kernels take them, or in patches such as 8 x 8, where blocks of keys are patches too."
        " Tiles of fewer queries need fewer keys, and load each of them for fewer queries. Dictionaries are numbered in"
        " the order in which the network uses them, one a stage unless the spec says otherwise; of shifted ones only"
        " windows are counted that the shift does not cut. Shares are means over tiles, windows and images, 10 % and"
        " 90 % quantiles over the windows of an image. Beside them: k random keys for each query (the expectation), and"
        " the k nearest keys in space."
    )
    yield Text(
        text=f"The rule: below {LIMIT} at a useful k, a kernel that visits unions is to be built. Useful is a k that"
        f" restores at most {USEFUL_DB} dB worse than the best one measured in its window; where nothing was restored,"
        " every k counts. One minus the share is the most that such a kernel can save, and only of what is done for a"
        " key: loading it and its value, two products, the exponential. What is done once a query stays, so does a"
        " running maximum and sum for each step, and the lists have to be found and the bits of their keys picked out"
        " once a dictionary. No time was measured here."
    )
    why = Counter(result.why_not(METRIC) for result in results if result not in measured)
    if why:
        yield Text(text=f"Not measured ({counted(why.total(), 'cell')}): {listed(why, 'cell')}", tone="note")


def _section(title: str, number: int, results: Sequence[Result]) -> Section:
    cells = [_Cell(result) for result in results if result.measurements(METRIC)]
    useful = _useful(results)
    blocks: tuple[Block, ...] = (
        *_verdicts(cells, useful),
        Figures(figures=(_figure(cells),)),
        _decisions(cells, useful),
        _stages(cells),
        _shapes(cells),
    )
    return Section(title=title, anchor=f"network-{number}", blocks=blocks)


def _useful(results: Sequence[Result]) -> Callable[[_Cell], bool | None]:
    """Return what says whether the k of a cell is useful; None where its images were not restored."""
    quality: dict[int | None, list[float]] = {}
    for result in results:
        if (psnr := mean_psnr(result)) is not None:
            quality.setdefault(result.cell.window, []).append(psnr)

    def judge(cell: _Cell) -> bool | None:
        psnr = mean_psnr(cell.result)
        return None if psnr is None else psnr >= max(quality[cell.window]) - USEFUL_DB

    return judge


def _verdicts(cells: Sequence[_Cell], useful: Callable[[_Cell], bool | None]) -> Iterator[Text]:
    """Say for each window at which useful k which way to visit keys is below the limit."""
    for window in axis_values([cell.result for cell in cells], "window"):
        members = [cell for cell in cells if cell.window == window and useful(cell) is not False]
        if not members:
            yield Text(text=f"Windows of {value_text('window', window)}: no measured k is useful.")
            continue
        tokens = members[0].tokens
        said = [
            f"tiles of {tile.label}: {'; '.join(_below(members, tile))}"
            for tile in _NAMED_TILES
            if members[0].has(tile)
        ]
        ks = _listed(cell.top_k for cell in members)
        yield Text(text=f"Windows of {tokens} tokens, useful k {ks}, below {LIMIT}. {'. '.join(map(_capital, said))}.")


def _below(cells: Sequence[_Cell], tile: _Tile) -> Iterator[str]:
    """Yield for each way the k whose mean over dictionaries is below the limit, and how many of these are."""
    for access, keys in _NAMED:
        found = [(cell.top_k, cell.of_dictionaries(tile, access, keys)) for cell in cells]
        under = [(top_k, shares) for top_k, shares in found if shares and fmean(shares) < LIMIT]
        said = [
            f"k = {top_k} ({_few(shares)} dictionaries, saves at most {100 * (1 - fmean(shares)):.0f} %)"
            for top_k, shares in under
        ]
        yield f"{_way(access, keys)} at {_listed(said) or 'no k'}"


def _few(shares: Sequence[float]) -> str:
    return f"{sum(share < LIMIT for share in shares)} of {len(shares)}"


def _way(access: Access, keys: int) -> str:
    return "lists of single keys" if keys == 1 else f"{_FAMILIES[access]} {keys}".replace("list ", "lists ")


def _decisions(cells: Sequence[_Cell], useful: Callable[[_Cell], bool | None]) -> Table:
    tiles = [_Tile(queries, order) for queries in (16, TILE, 128) for order in _SHAPES]
    hint = "mean over dictionaries, and how many of them are below the limit"
    columns = (
        *(Column(label=label(axis)) for axis in _INNER),
        Column(label="tile", hint="queries that are looked at together"),
        Column(label="PSNR", unit="dB", kind="number", hint="mean over images, whatever the tile"),
        Column(label="useful", hint=f"at most {USEFUL_DB} dB under the best k of the window"),
        *(Column(label=_keys(keys), family=_FAMILIES[access], hint=hint) for access, keys in ACCESSES),
        Column(
            label="saves at most", unit="%", kind="number", hint="of the work for each key, by a list of single keys"
        ),
    )
    rows = tuple(
        Row(entries=(*_stubs(cell), Entry(text=tile.label), *_quality(cell, useful), *_judged(cell, tile)))
        for cell in cells
        for tile in tiles
        if cell.has(tile)
    )
    return Table(
        caption=f"Shares by tile, and how many dictionaries are below {LIMIT}",
        columns=columns,
        groups=(Group(rows=rows),),
        stubs=3,
    )


def _quality(cell: _Cell, useful: Callable[[_Cell], bool | None]) -> tuple[Entry, Entry]:
    psnr, answer = mean_psnr(cell.result), useful(cell)
    if psnr is None or answer is None:
        absent = Entry(text="not restored", reason=cell.result.why_not("psnr"))
        return absent, absent
    number = Entry(text=f"{psnr:.2f}", value=psnr, cell=cell.result.cell.id)
    return number, Entry(text="yes" if answer else "no")


def _judged(cell: _Cell, tile: _Tile) -> Iterator[Entry]:
    for access, keys in ACCESSES:
        shares = cell.of_dictionaries(tile, access, keys)
        detail = ", ".join(f"{share:.3f}" for share in shares)
        text = f"{fmean(shares):.2f} ({_few(shares)})"
        yield Entry(text=text, value=fmean(shares), detail=detail, cell=cell.result.cell.id)
    bound = cell.mean(tile)
    yield _number(cell, None if bound is None else 100 * (1 - bound), form="{:.0f}")


def _stages(cells: Sequence[_Cell]) -> Table:
    single = "list in steps of 1"
    columns = (
        *(Column(label=label(axis)) for axis in _INNER),
        Column(label="dictionary", hint="in the order of use"),
        Column(label="mean", family=single, kind="number"),
        Column(label="10 %", family=single, kind="number", hint="of the windows are below it"),
        Column(label="90 %", family=single, kind="number", hint="of the windows are below it"),
        *(Column(label=f"{keys} keys", family=_FAMILIES[a], kind="number") for a, keys in ACCESSES if keys > 1),
    )
    tile = _Tile(TILE)
    rows = []
    for cell in cells:
        for source in (*cell.dictionaries, RANDOM, LOCAL):
            numbers = [cell.share(source, tile, "list", 1, statistic) for statistic in ("mean", "q10", "q90")]
            numbers += [cell.share(source, tile, access, keys) for access, keys in ACCESSES if keys > 1]
            entries = (*_stubs(cell), Entry(text=_source(source)), *(_number(cell, each) for each in numbers))
            rows.append(Row(entries=entries))
    caption = f"Tiles of {TILE} queries in rows, by dictionary, beside random and nearest keys"
    return Table(caption=caption, columns=columns, groups=(Group(rows=tuple(rows)),), stubs=3)


def _shapes(cells: Sequence[_Cell]) -> Table:
    tiles = [_Tile(queries, order) for order in _SHAPES for queries in QUERIES]
    columns = (
        *(Column(label=label(axis)) for axis in _INNER),
        *(Column(label=tile.label, family="lists, tile of", kind="number") for tile in tiles),
        Column(label="the whole window", family="lists, tile of", kind="number", hint="one list for all tiles"),
        *(
            Column(label=f"of {keys} keys", family=f"tile of {_Tile(TILE, order).label}, blocks", kind="number")
            for order, keys in _BLOCKS
        ),
    )
    rows = []
    for cell in cells:
        numbers = [cell.mean(tile) for tile in (*tiles, _Tile(cell.tokens))]
        numbers += [cell.mean(_Tile(TILE, order), "blocks", keys) for order, keys in _BLOCKS]
        rows.append(Row(entries=(*_stubs(cell), *(_number(cell, each) for each in numbers))))
    caption = "Other tiles: lists of single keys, and blocks of patches; means over dictionaries"
    return Table(caption=caption, columns=columns, groups=(Group(rows=tuple(rows)),), stubs=2)


def _figure(cells: Sequence[_Cell]) -> Figure:
    """Draw the share against k, a panel for each window."""
    ticks = sorted({float(cell.top_k) for cell in cells if cell.top_k is not None})
    panels = []
    for window in axis_values([cell.result for cell in cells], "window"):
        members = [cell for cell in cells if cell.window == window]
        limit = tuple(Point(x=k, y=LIMIT) for k in (ticks[0], ticks[-1]))
        series = (*_curves(members), Series(label=f"limit {LIMIT}", style=7, points=limit, line="alone"))
        panels.append(Panel(series=series, title=f"window {value_text('window', window)}"))
    return Figure(
        title="Keys that a tile needs, against k",
        summary="share of a window's keys that a tile of queries keeps between them, against k, mean over dictionaries",
        kind="lines",
        x=Axis(label="k", log=True, ticks=tuple((tick, f"{tick:g}") for tick in ticks)),
        y=Axis(label="share of the keys", zero=True),
        panels=tuple(panels),
        note="Whiskers run from the lowest dictionary to the highest.",
    )


def _curves(cells: Sequence[_Cell]) -> Iterator[Series]:
    for style, tile in enumerate(_NAMED_TILES):
        points = tuple(
            Point(
                x=float(cell.top_k or 0),
                y=fmean(shares),
                low=min(shares),
                high=max(shares),
                cells=(cell.result.cell.id,),
                detail=f"{min(shares):.3f} to {max(shares):.3f} over dictionaries",
            )
            for cell in cells
            if cell.has(tile) and (shares := cell.of_dictionaries(tile))
        )
        if points:
            yield Series(label=f"tile of {tile.label}", style=style, points=points)
    for style, (source, name) in enumerate(((RANDOM, "random keys"), (LOCAL, "nearest keys")), start=len(_NAMED_TILES)):
        found = [(cell, cell.share(source, _Tile(TILE))) for cell in cells]
        points = tuple(Point(x=float(cell.top_k or 0), y=y) for cell, y in found if y is not None)
        yield Series(label=f"{name}, {TILE} in rows", style=style, points=points)


def _stubs(cell: _Cell) -> Iterator[Entry]:
    return (Entry(text=value_text(axis, getattr(cell.result.cell, axis))) for axis in _INNER)


def _number(cell: _Cell, value: float | None, form: str = "{:.2f}") -> Entry:
    if value is None:
        return Entry(text="none", reason="not defined, or the window has fewer tokens")
    return Entry(text=number_text(value, form), value=value, cell=cell.result.cell.id)


def _source(source: str) -> str:
    named = {RANDOM: "random keys", LOCAL: "nearest keys"}
    shifted = source.removesuffix(SHIFTED)
    return named.get(source, f"{shifted}, shifted" if shifted != source else source)


def _keys(keys: int) -> str:
    return "1 key" if keys == 1 else f"{keys} keys"


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
