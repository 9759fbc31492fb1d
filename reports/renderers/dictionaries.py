"""What a page needs to draw a dictionary: the first view as paths of SVG, and all views as numbers for the script.

Both draw alike: what the script draws of the first view are the same paths, letter for letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reports.document import Area, Dictionary, Look, Stage, View

TIERS = 4
"""Strengths of colour: the kept patches, ranked by similarity, in as many equal parts."""


@dataclass(frozen=True)
class Drawn:
    """A look as paths, and the words that go with it."""

    shade: str
    """All but the part of the window, to be filled by the even-odd rule."""
    tiers: tuple[str, ...]
    part: str
    patch: str
    words: str
    short: str


NOTHING = Drawn(shade="", tiers=("",) * TIERS, part="", patch="", words="", short="")


@dataclass(frozen=True)
class Mark:
    """A chosen patch: where its centre lies, in percent of what is shown, and what is to be said of it."""

    left: str
    top: str
    name: str


@dataclass(frozen=True)
class Drawing:
    """A dictionary, laid out."""

    block: Dictionary

    @cached_property
    def extent(self) -> tuple[int, int]:
        """Width and height of what is shown: the picture and, where patches lie in it, the padding beyond it."""
        areas = [look.part for look in _looks(self.block.views)]
        width = max((area.left + area.width for area in areas), default=0)
        height = max((area.top + area.height for area in areas), default=0)
        return max(width, self.block.width), max(height, self.block.height)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of the view that is shown to begin with."""
        return self.block.views[self.block.first].stages

    @property
    def spare(self) -> int:
        """How many stages another view has beyond these."""
        return max(len(view.stages) for view in self.block.views) - len(self.stages)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The chosen patches, as the finest map has them."""
        width, height = self.extent
        looks = min(self.stages, key=lambda stage: stage.looks[0].patch.width).looks
        return tuple(
            Mark(
                left=f"{100 * (look.patch.left + look.patch.width / 2) / width:.2f}",
                top=f"{100 * (look.patch.top + look.patch.height / 2) / height:.2f}",
                name=name,
            )
            for look, name in zip(looks, self.block.patches, strict=True)
        )

    @property
    def frame(self) -> str:
        """The view box of the details of the first patch."""
        left, top, side = _frame(self.block.views[self.block.first], 0, self.extent)
        return f"{left} {top} {side} {side}"

    def drawn(self, stage: Stage | None) -> Drawn:
        """Return what the first patch keeps at a stage, or nothing in the place of one that another view has."""
        return NOTHING if stage is None else _drawn(stage.looks[0], self.extent)

    def numbers(self) -> dict[str, Any]:
        """Return all views for the script; kept patches are numbered row by row within their part of a window."""
        return {
            "extent": self.extent,
            "views": [
                {
                    "at": view.at,
                    "title": view.title,
                    "frames": [_frame(view, i, self.extent) for i in range(len(self.block.patches))],
                    "stages": [
                        {
                            "title": stage.title,
                            "note": stage.note,
                            "words": stage.words,
                            "side": stage.looks[0].patch.width,
                            "looks": [
                                {
                                    "patch": (look.patch.left, look.patch.top),
                                    "part": (look.part.left, look.part.top, look.part.width, look.part.height),
                                    "kept": _numbered(look),
                                    "words": look.words,
                                    "short": look.short,
                                }
                                for look in stage.looks
                            ],
                        }
                        for stage in view.stages
                    ],
                }
                for view in self.block.views
            ],
        }


def _drawn(look: Look, extent: tuple[int, int]) -> Drawn:
    whole = Area(left=0, top=0, width=extent[0], height=extent[1])
    bounds = [-(-len(look.kept) * tier // TIERS) for tier in range(TIERS + 1)]
    return Drawn(
        shade=_path([whole, look.part]),
        tiers=tuple(_path(look.kept[bounds[tier] : bounds[tier + 1]]) for tier in range(TIERS)),
        part=_path([look.part]),
        patch=_path([look.patch]),
        words=look.words,
        short=look.short,
    )


def _path(areas: Iterable[Area]) -> str:
    return "".join(f"M{area.left} {area.top}h{area.width}v{area.height}h-{area.width}z" for area in areas)


def _numbered(look: Look) -> list[int]:
    side = look.patch.width
    columns = look.part.width // side
    return [(area.top - look.part.top) // side * columns + (area.left - look.part.left) // side for area in look.kept]


def _frame(view: View, patch: int, extent: tuple[int, int]) -> tuple[int, int, int]:
    """Return left, top and side of the square that shows a patch's windows of all stages, with a margin.

    It stays within what is shown, where that is large enough.
    """
    parts = [stage.looks[patch].part for stage in view.stages]
    margin = max(stage.looks[patch].patch.width for stage in view.stages)
    starts, side = [], 0
    for begins, ends in (
        ([part.left for part in parts], [part.left + part.width for part in parts]),
        ([part.top for part in parts], [part.top + part.height for part in parts]),
    ):
        starts.append((min(begins), max(ends)))
        side = max(side, max(ends) - min(begins) + 2 * margin)
    left, top = (
        max(0, min((begin + end - side) // 2, length - side))
        for (begin, end), length in zip(starts, extent, strict=True)
    )
    return left, top, side


def _looks(views: Sequence[View]) -> Iterable[Look]:
    return (look for view in views for stage in view.stages for look in stage.looks)
