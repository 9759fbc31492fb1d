"""Who is the best of a column and who the second: marked only where noise can tell them from the others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from reports.paired import FEWEST_IMAGES, intervals

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, kw_only=True)
class Value:
    """A number read off a result. `low` and `high` are its noise, where repetition showed it."""

    value: float
    low: float | None = None
    high: float | None = None
    detail: str = ""
    images: Mapping[str, tuple[float, ...]] | None = None
    """For each image its number with each seed, where the value is the mean of them all."""


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
    the 95 % interval of their differences image by image, and seed by seed, holds zero. Fewer than five images tell
    nothing apart, as they give no verdict (`reports.paired`).
    """
    best: set[int] = set()
    second: set[int] = set()
    if better != "neither":
        for places in rivals:
            group = [i for i in places if not math.isnan(numbers[i].value)]
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
    if not group:
        return set()
    pick = max if better == "higher" else min
    top = pick(group, key=lambda i: numbers[i].value)
    even = {i for i in group if texts[i] == texts[top] or _overlap(numbers[i], numbers[top])}
    others = [i for i in group if i not in even]
    return even | _even_by_images(top, others, numbers)


def _even_by_images(top: int, others: Iterable[int], numbers: Mapping[int, Value]) -> set[int]:
    """Return who cannot be told from the best image by image; whoever saw other images or seeds cannot."""
    if numbers[top].images is None:
        return set()
    reference = differences_of(numbers[top], numbers[top])
    even, comparable, found = set(), [], []
    for i in others:
        if numbers[i].images is None:
            continue
        difference = differences_of(numbers[i], numbers[top])
        if reference is None or difference is None or len(difference) < FEWEST_IMAGES:
            even.add(i)
        else:
            comparable.append(i)
            found.append(difference)
    if not comparable:
        return even
    means, halves = intervals(np.array(found))
    return even | {i for i, mean, half in zip(comparable, means, halves, strict=True) if abs(mean) <= half}


def differences_of(one: Value, other: Value) -> Float64[np.ndarray, "images seeds"] | None:
    """Return the differences image by image and seed by seed; None for other images or seeds, and where one is not
    finite."""
    if one.images is None or other.images is None or one.images.keys() != other.images.keys():
        return None
    if any(len(values) != len(other.images[name]) for name, values in one.images.items()):
        return None
    first, second = (np.array([each[name] for name in one.images]) for each in (one.images, other.images))
    return first - second if np.isfinite(first).all() and np.isfinite(second).all() else None


def _overlap(one: Value, other: Value) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high
