"""Null data with the faults of real machines, and how often each rule raises a false alarm on them.

A draw is one cell of one gate: the same program twice, ABBA or BAAB blocks over launches. What disturbs both sides
alike moves with time; what disturbs one interpreter stays with it for its launch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from harness.gate.rivals import RULES
from harness.gate.statistics import Rule, combined_p, sign_flip_p

SAMPLE_SD = 0.03
"""Of a sample's logarithm, with one neighbour in forty samples that doubles it: what is left after all trends."""
LAUNCH_SD = 0.012
"""Of the difference that two fresh interpreters of one program keep for a launch (measured on a shared machine)."""
CHUNK = 1000
"""Draws in memory at a time."""

Times = Float[np.ndarray, "draws launches blocks four"]
"""Logarithms of the times of the four samples of each block, in the order in which they were taken."""


@dataclass(frozen=True)
class Drawn:
    """Samples of many gates; times are logarithms, sides are 0 for base and 1 for head."""

    times: Times
    sides: Int[np.ndarray, "draws launches blocks four"]

    @property
    def values(self) -> Float[np.ndarray, "draws launches"]:
        """The launch values: medians over blocks of ln(mean head / mean base)."""
        raw, is_head = np.exp(self.times), self.sides == 1
        ratio = np.where(is_head, raw, 0.0).sum(-1) / np.where(is_head, 0.0, raw).sum(-1)
        return np.asarray(np.median(np.log(ratio), axis=-1))

    def side(self, side: int, launch: int) -> Float[np.ndarray, "draws n"]:
        """Return all times of one side in one launch, in the order of blocks."""
        chosen = np.argsort(self.sides[:, launch] != side, axis=-1, kind="stable")[..., :2]
        found = np.take_along_axis(self.times[:, launch], chosen, axis=-1)
        return np.asarray(np.exp(found.reshape(len(found), -1)))


def white(random: np.random.Generator, shape: tuple[int, ...]) -> Times:
    """No disturbance in time at all."""
    return np.zeros(shape)


def drift(random: np.random.Generator, shape: tuple[int, ...]) -> Times:
    """The machine warms up or cools down: up to 30 % in a launch, its own in each."""
    draws, launches, blocks, four = shape
    slope = random.uniform(-0.3, 0.3, (draws, launches, 1))
    return (slope * np.linspace(0, 1, blocks * four)).reshape(shape)


def steps(random: np.random.Generator, shape: tuple[int, ...]) -> Times:
    """A neighbour comes or goes: two jumps of up to 40 % at any place of the whole run."""
    draws, launches, blocks, four = shape
    count = launches * blocks * four
    level = np.zeros((draws, count))
    for _ in range(2):
        at, height = random.integers(0, count, (draws, 1)), random.uniform(-0.4, 0.4, (draws, 1))
        level += np.where(np.arange(count) >= at, height, 0.0)
    return level.reshape(shape)


def autocorrelated(random: np.random.Generator, shape: tuple[int, ...]) -> Times:
    """A load that changes slowly: AR(1) with 0.95 from sample to sample, standard deviation 10 %."""
    draws, launches, blocks, four = shape
    kept = 0.95
    level = np.empty((launches * blocks * four, draws))
    level[0] = random.normal(0, 0.1, draws)
    pushes = random.normal(0, 0.1 * (1 - kept**2) ** 0.5, level.shape)
    for place in range(1, len(level)):
        level[place] = kept * level[place - 1] + pushes[place]
    return np.ascontiguousarray(level.T).reshape(shape)


def everything(random: np.random.Generator, shape: tuple[int, ...]) -> Times:
    """Drift, steps and slow load together."""
    return drift(random, shape) + steps(random, shape) + autocorrelated(random, shape)


DISTURBANCES: Mapping[str, Callable[[np.random.Generator, tuple[int, ...]], Times]] = {
    "white": white,
    "drift": drift,
    "steps": steps,
    "autocorrelated": autocorrelated,
    "everything": everything,
}


def draw(disturbance: str, draws: int, *, seed: int, launches: int, blocks: int = 12, effect: float = 0.0) -> Drawn:
    """Return samples of gates in which head takes `1 + effect` times as long as base."""
    random = np.random.default_rng(seed)
    shape = (draws, launches, blocks, 4)
    times = DISTURBANCES[disturbance](random, shape)
    times = times + random.normal(0, SAMPLE_SD, shape) + np.log1p(random.random(shape) < 1 / 40)
    swapped = random.integers(0, 2, (draws, launches, blocks, 1))
    sides = np.array([0, 1, 1, 0]) ^ swapped
    kept = random.normal(0, LAUNCH_SD / 2**0.5, (draws, launches, 1, 2)) + np.array([0.0, np.log1p(effect)])
    return Drawn(times + np.take_along_axis(np.broadcast_to(kept, (*shape[:3], 2)), sides, axis=-1), sides)


@dataclass(frozen=True)
class Rate:
    """How often one rule called head slower."""

    disturbance: str
    rule: str
    alarms: int
    draws: int

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.alarms / self.draws


def rates(draws: int, rule: Rule, *, seed: int = 0, effect: float = 0.0) -> Iterator[Rate]:
    """Yield the alarms of this gate and of the usual rules on the same samples, for each disturbance.

    The sign-flip test alone is counted at zero margin and 5 %, where its nominal level is known; the gate is counted
    with both of its stages, its margin and Holm's strictest level for 20 cells. The usual rules see the samples twice:
    as they are used, base in one launch and head in the next, and side by side in one launch.
    """
    for disturbance in DISTURBANCES:
        counts: dict[str, int] = {}
        for number, start in enumerate(range(0, draws, CHUNK)):
            size = min(CHUNK, draws - start)
            found = draw(disturbance, size, seed=seed + number, launches=2 * rule.launches, effect=effect)
            for name, alarms in _alarms(found, rule).items():
                counts[name] = counts.get(name, 0) + int(alarms.sum())
        yield from (Rate(disturbance, name, count, draws) for name, count in counts.items())


def as_markdown(found: list[Rate]) -> str:
    """Return a table with a row for each rule and a column for each disturbance."""
    columns = list(dict.fromkeys(rate.disturbance for rate in found))
    shares = {(rate.rule, rate.disturbance): rate.share for rate in found}
    lines = [f"| rule | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    rules = dict.fromkeys(rate.rule for rate in found)
    lines += [f"| {rule} | {' | '.join(f'{shares[rule, column]:.2%}' for column in columns)} |" for rule in rules]
    return "\n".join(lines)


def _alarms(found: Drawn, rule: Rule) -> dict[str, np.ndarray]:
    values, k = found.values, rule.launches
    two_stages = combined_p(values[:, :k], values[:, k:], rule, null=rule.bound)
    alarms = {
        "this gate, of 20 cells": two_stages <= rule.family / 20,
        "sign-flip test alone, no margin, 5 %": sign_flip_p(values[:, :k]) <= 0.05,
        "sign-flip test alone, no margin, 1 %": sign_flip_p(values[:, :k]) <= 0.01,
        "both stages, no margin, 0.1 %": combined_p(values[:, :k], values[:, k:], rule, null=0.0) <= 0.001,
    }
    for name, usual in RULES.items():
        alarms[f"{name}, one run after the other"] = usual(found.side(0, 0), found.side(1, 1))
        alarms[f"{name}, side by side"] = usual(found.side(0, 0), found.side(1, 0))
    return alarms
