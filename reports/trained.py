"""Results by training arm and seed: what repeats what, along which axes arms are matched, and how they compare."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from statistics import fmean
from typing import TypeVar

import numpy as np

from harness.record import Cell, Measurement
from harness.spec import arms_named
from harness.weights import arm_and_seed
from reports.paired import FEWEST_IMAGES, Difference, compare
from reports.results import AXES, Result, arrange, label, phrase, value_text

FIXED = ("task", "setting", "dataset")
"""Axes that are never compared across: their images or their noise differ."""
_OF_ARMS = ("weights", *FIXED)
METRIC = "psnr"

Held = TypeVar("Held")
Seed = int | None
Values = tuple[object, ...]
Scores = Mapping[Seed, Mapping[str, float]]
"""Per seed the score of each image."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Place:
    """An arm at one value of each axis that varies within arms."""

    arm: str
    at: Values
    """Of `Comparison.inner`."""
    results: Mapping[Seed, Result]

    def scores(self, metric: str = METRIC) -> Scores:
        """Return what was measured of a metric, by seed and image."""
        found = {seed: result.measurement(metric, metric) for seed, result in self.results.items()}
        return {seed: _by_image(each) for seed, each in found.items() if each}

    def above_input(self) -> Scores:
        """Return by seed and image how far PSNR lies above that of the degraded input, in dB; as `means`."""
        if self._several_protocols():
            return {}
        found = {}
        for seed, scores in self.scores().items():
            measured = self.results[seed].measurement("degraded", "degraded.psnr")
            before = _by_image(measured) if measured else {}
            if gains := {image: score - before[image] for image, score in scores.items() if image in before}:
                found[seed] = gains
        return found

    def means(self, metric: str = METRIC) -> tuple[float, ...]:
        """Return the mean over images of each seed that was measured; none where protocols judged them apart."""
        if self._several_protocols(metric):
            return ()
        return tuple(fmean(scores.values()) for scores in self.scores(metric).values())

    def why_not(self, metric: str = METRIC) -> str:
        """Return why no seed, or the first one without it, has this metric, or why seeds have no mean together."""
        if several := self._several_protocols(metric):
            return several
        return next((each.why_not(metric) for each in self.results.values() if not each.measurements(metric)), "")

    def _several_protocols(self, metric: str = METRIC) -> str:
        found = (result.records.get(metric) for result in self.results.values() if result.measurements(metric))
        protocols = {record.protocol for record in found if record}
        return f"several protocols: {', '.join(sorted(protocols))} have no mean" if len(protocols) > 1 else ""

    @property
    def shown(self) -> Result:
        """The result of the first seed that was measured, else of the first."""
        measured = (result for result in self.results.values() if result.measurements(METRIC))
        return next(measured, next(iter(self.results.values())))


@dataclass(frozen=True, kw_only=True)
class Absence:
    """A seed that one of two arms has and the other has not."""

    seed: Seed
    arm: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Compared:
    """An arm against another at equal values of all axes that vary within arms."""

    mean: float
    """In dB, over images and seeds that both have."""
    difference: Difference | None
    """None for one image, which has no interval."""
    seeds: tuple[Seed, ...]
    images: tuple[str, ...]
    absent: tuple[Absence, ...]
    fewer_images: bool
    """Some images were judged of one arm alone."""

    @property
    def judged(self) -> Difference | None:
        """The difference, where there are images enough for a verdict."""
        return self.difference if len(self.images) >= FEWEST_IMAGES else None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything measured on one task, setting and dataset."""

    results: Sequence[Result]
    names: Mapping[str, str] = field(default_factory=dict)
    """What a paper prints for arms."""
    wanted: Sequence[tuple[str, str]] = ()
    """The spec's `comparisons`."""

    @cached_property
    def by_arm(self) -> Mapping[str, Sequence[Result]]:
        """The results of each arm, in the plan's order."""
        found: dict[str, list[Result]] = {}
        for result in self.results:
            found.setdefault(arm_of(result.cell)[0], []).append(result)
        return found

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """All arms: those of which anything was measured first, so that the first can be a reference."""
        measured = {arm for arm, members in self.by_arm.items() if any(each.measurements(METRIC) for each in members)}
        return tuple(sorted(self.by_arm, key=lambda arm: arm not in measured))

    @cached_property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """References with the arms that are compared with them: those that the spec names, else all with the first."""
        if not self.wanted:
            return tuple((self.arms[0], arm) for arm in self.arms[1:])
        found = (self.meant(pair) for pair in self.wanted)
        return tuple(dict.fromkeys(pair for pair in found if pair))

    @cached_property
    def references(self) -> tuple[str, ...]:
        """The arms that others are compared with."""
        return tuple(dict.fromkeys(reference for reference, _ in self.pairs))

    def meant(self, pair: tuple[str, str]) -> tuple[str, str] | None:
        """Return the two arms here that the spec's names mean; None where one names none, or more than one."""
        named = [arms_named(name, self.by_arm) for name in pair]
        arms = tuple(arm for meant in named for arm in meant)
        return (arms[0], arms[1]) if [len(meant) for meant in named] == [1, 1] and arms[0] != arms[1] else None

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """Names for reading, without the words that all begin with and go on after; a number keeps them.

        What a paper prints goes before.
        """
        words = zip(*(arm.split("-")[:-1] for arm in self.arms), strict=False)
        shared = len(list(takewhile(lambda each: len(set(each)) == 1, words)))
        short = {arm: "-".join(arm.split("-")[shared:]) for arm in self.arms}
        clear = len(short) > 1 and all(each[:1].isalpha() for each in short.values())
        return {arm: self.names.get(arm, short[arm] if clear else arm) for arm in self.arms}

    @cached_property
    def inner(self) -> tuple[str, ...]:
        """Axes that vary within some arm, outermost first: arms are compared at equal values of them."""
        return tuple(axis for axis in AXES if axis not in _OF_ARMS and self._varies_within(axis))

    @cached_property
    def described(self) -> tuple[str, ...]:
        """Axes that differ between arms and in none: part of what an arm is, as its window."""
        rest = (axis for axis in AXES if axis not in (*_OF_ARMS, *self.inner))
        return tuple(axis for axis in rest if len({getattr(each.cell, axis) for each in self.results}) > 1)

    @cached_property
    def common(self) -> tuple[str, ...]:
        """Axes on which all results have one value, which is not the default."""
        rest = (axis for axis in AXES if axis not in (*_OF_ARMS, *self.inner, *self.described))
        cell = self.results[0].cell
        return tuple(axis for axis in rest if getattr(cell, axis) != Cell.model_fields[axis].default)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Every arm at every value of the inner axes: along the axes first, then in the order of the arms."""
        found: dict[Values, dict[str, dict[Seed, Result]]] = {}
        for result in arrange(self.results, self.inner):
            arm, seed = arm_of(result.cell)
            found.setdefault(self.at(result), {}).setdefault(arm, {})[seed] = result
        return tuple(
            Place(arm=arm, at=at, results=_in_order(members[arm]))
            for at, members in found.items()
            for arm in self.arms
            if arm in members
        )

    def at(self, result: Result) -> Values:
        """Return a result's values of the inner axes."""
        return tuple(getattr(result.cell, axis) for axis in self.inner)

    def against(self, reference: str, place: Place) -> Compared | str:
        """Compare a place with a reference's at the same values, or say why it cannot be."""
        base = next((each for each in self.places if (each.arm, each.at) == (reference, place.at)), None)
        if base is None:
            return f"{self.labels[reference]} was not run here"
        for each in (place, base):
            if not each.scores():
                return f"{self.labels[each.arm]}: {each.why_not()}"
        return self._compare(place, base)

    def _compare(self, place: Place, base: Place) -> Compared | str:
        ours, theirs = place.scores(), base.scores()
        seeds = tuple(seed for seed in ours if seed in theirs)
        if not seeds:
            return f"no seed is in both {self.labels[place.arm]} and {self.labels[base.arm]}"
        if len(_protocols((place, base), seeds)) > 1:
            return "judged by different protocols"
        sets = [set(scores[seed]) for scores in (ours, theirs) for seed in seeds]
        images = tuple(image for image in theirs[seeds[0]] if all(image in each for each in sets))
        if not images:
            return "judged on different images"
        table = np.array([[(ours[seed][image], theirs[seed][image]) for seed in seeds] for image in images])
        if not np.isfinite(table).all():
            image = images[int(np.argmin(np.isfinite(table).all(axis=(1, 2))))]
            return f"{image}: restored perfectly" if not np.isnan(table).any() else f"{image}: no number"
        differences = table[..., 0] - table[..., 1]
        return Compared(
            mean=float(differences.mean()),
            difference=compare(differences) if len(images) > 1 else None,
            seeds=seeds,
            images=images,
            absent=tuple(self._absences((place, base), seeds)),
            fewer_images=any(len(each) > len(images) for each in sets),
        )

    def _absences(self, pair: Sequence[Place], seeds: Sequence[Seed]) -> Iterator[Absence]:
        for seed in _in_order({seed: None for place in pair for seed in place.results}):
            for place in pair if seed not in seeds else ():
                result = place.results.get(seed)
                if result is None or not result.measurements(METRIC):
                    reason = result.why_not(METRIC) if result else "not in the plan"
                    yield Absence(seed=seed, arm=place.arm, reason=reason)

    def _varies_within(self, axis: str) -> bool:
        return any(len({getattr(each.cell, axis) for each in members}) > 1 for members in self.by_arm.values())


def arm_of(cell: Cell) -> tuple[str, Seed]:
    """Return arm and seed of a cell's weights; a model without weights is an arm of its own."""
    return (cell.model, None) if cell.weights == "none" else arm_and_seed(cell.weights)


def comparisons(
    results: Sequence[Result], names: Mapping[str, str] | None = None, wanted: Sequence[tuple[str, str]] = ()
) -> list[Comparison]:
    """Return a comparison for each task, setting and dataset, in the plan's order.

    `names` are what arms are called, and `wanted` are the pairs that are compared: all with the first without it.
    """
    found: dict[Values, list[Result]] = {}
    for result in results:
        found.setdefault(tuple(getattr(result.cell, axis) for axis in FIXED), []).append(result)
    return [Comparison(members, names or {}, wanted) for members in found.values()]


def at_words(axes: Sequence[str], at: Values) -> str:
    """Return values for a sentence, as in `k = 8, gather`; nothing where there is no axis."""
    pairs = zip(axes, at, strict=True)
    return ", ".join(phrase(a, v) if isinstance(v, str) else f"{label(a)} = {value_text(a, v)}" for a, v in pairs)


def spread_of(means: Sequence[float]) -> float | None:
    """Return the standard deviation of the means of two or more seeds; None where there is none."""
    return float(np.std(means, ddof=1)) if len(means) > 1 and all(map(math.isfinite, means)) else None


def _by_image(measured: Measurement) -> dict[str, float]:
    return dict(zip(measured.labels or map(str, range(len(measured.samples))), measured.samples, strict=True))


def _in_order(by_seed: Mapping[Seed, Held]) -> dict[Seed, Held]:
    return dict(sorted(by_seed.items(), key=lambda item: (item[0] is None, item[0] or 0)))


def _protocols(places: Sequence[Place], seeds: Sequence[Seed]) -> set[str]:
    records = (place.results[seed].records[METRIC] for place in places for seed in seeds)
    return {record.protocol for record in records if record}
