"""Who is the best of a column and who the second: marked only where noise can tell them from the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reports.paired import FEWEST_IMAGES, intervals

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, kw_only=True)
class Value:
    """A number read off a result. `low` and `high` are its noise, where repetition showed it."""

    value: float
    low: float | None = None
    high: float | None = None
    detail: str = ""
    images: Mapping[str, float] | None = None
    """One number an image, where the value is their mean."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Places of a column that stand out."""

    best: frozenset[int]
    """The best, and whoever cannot be told from it; empty where that is everybody."""
    second: frozenset[int]
    """The same among the others; empty where that is all of them."""


def marks(
    better: Better, rivals: Iterable[Sequence[int]], numbers: Mapping[int, Value], texts: Mapping[int, str]
) -> Marks:
    """Mark a column; each of `rivals` names the places among whom there is one best.

    Two cannot be told apart where they read the same, where their spreads overlap, or, for means over images, where
    the 95 % interval of their differences image by image holds zero. Fewer than five images tell nothing apart, as they
    give no verdict (`reports.paired`).
    """
    best: set[int] = set()
    second: set[int] = set()
    if better != "neither":
        for group in rivals:
            first = _leaders(better, group, numbers, texts)
            if len(first) == len(group):
                continue
            best |= first
            rest = [i for i in group if i not in first]
            following = _leaders(better, rest, numbers, texts)
            if len(following) < len(rest):
                second |= following
    return Marks(best=frozenset(best), second=frozenset(second))


def _leaders(better: Better, group: Sequence[int], numbers: Mapping[int, Value], texts: Mapping[int, str]) -> set[int]:
    """Return the best of a group and whoever cannot be told from it."""
    pick = max if better == "higher" else min
    top = pick(group, key=lambda i: numbers[i].value)
    even = {i for i in group if texts[i] == texts[top] or _overlap(numbers[i], numbers[top])}
    others = [i for i in group if i not in even]
    return even | _even_by_images(top, others, numbers)


def _even_by_images(top: int, others: Iterable[int], numbers: Mapping[int, Value]) -> set[int]:
    reference = numbers[top].images
    if reference is None:
        return set()
    comparable, even = [], set()
    for i in others:
        images = numbers[i].images
        if images is None:
            continue
        if (
            images.keys() == reference.keys()
            and len(images) >= FEWEST_IMAGES
            and all(map(math.isfinite, images.values()))
        ):
            comparable.append(i)
        else:
            even.add(i)
    names = list(reference)
    if not comparable or not all(map(math.isfinite, reference.values())):
        return even | set(comparable)
    found = np.array([[(numbers[i].images or {})[name] - reference[name] for name in names] for i in comparable])
    means, halves = intervals(found[..., None])
    return even | {i for i, mean, half in zip(comparable, means, halves, strict=True) if abs(mean) <= half}


def _overlap(one: Value, other: Value) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high
