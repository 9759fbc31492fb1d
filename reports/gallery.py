"""The gallery: every experiment with committed records on one page, its figures, and the files made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.document import (
    Block,
    Card,
    Cards,
    Details,
    Document,
    Facts,
    Figure,
    Figures,
    Links,
    Section,
    Text,
    blocks_of,
)
from reports.results import counted

_MOST_FIGURES = 3


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """An experiment's page and the files that were written beside it."""

    name: str
    document: Document
    answer: str
    """What was found, in words; empty where nobody wrote it yet."""
    files: Links
    """The page and its tables, relative to the gallery."""
    figures: tuple[Links, ...]
    """For each figure its drawing, data and caption."""


def build(exhibits: Sequence[Exhibit]) -> Document:
    """Return the page; links lead to the files beside it."""
    if not exhibits:
        nothing = Text(text="No experiment holds records yet: `semanir-bench export --to records` writes them.")
        return Document(title="Experiments", kicker="Gallery", sections=(), lead=(nothing,))
    cards = Cards(
        cards=tuple(
            Card(title=each.name, anchor=each.name, lines=(each.document.title,), badges=each.document.badges)
            for each in exhibits
        )
    )
    return Document(
        title="Experiments",
        kicker="Gallery",
        lead=(Text(text="Made of the records that lie beside each experiment; every page leads to the cells."),),
        sections=(
            Section(title="All", anchor="all", blocks=(cards,)),
            *(Section(title=each.name, anchor=each.name, blocks=tuple(_blocks(each))) for each in exhibits),
        ),
    )


def _blocks(exhibit: Exhibit) -> list[Block]:
    blocks: list[Block] = [Text(text=text) for text in (exhibit.document.title, exhibit.answer) if text]
    blocks += [block for block in exhibit.document.lead if isinstance(block, Facts)][:1]
    blocks.append(exhibit.files)
    if exhibit.figures:
        count = counted(len(exhibit.figures), "figure")
        blocks.append(Details(title="For a paper, with data and caption", count=count, blocks=exhibit.figures))
    found = [block.figures for _, block in blocks_of(exhibit.document) if isinstance(block, Figures)]
    if figures := [_without_links(figure) for each in found for figure in each]:
        blocks.append(Figures(figures=tuple(figures[:_MOST_FIGURES])))
    return blocks


def _without_links(figure: Figure) -> Figure:
    """Return the figure with points that lead nowhere: their cells are on the experiment's own page."""
    panels = []
    for panel in figure.panels:
        series = [
            replace(each, points=tuple(replace(point, cells=()) for point in each.points)) for each in panel.series
        ]
        panels.append(replace(panel, series=tuple(series)))
    return replace(figure, panels=tuple(panels))
