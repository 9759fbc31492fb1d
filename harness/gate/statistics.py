"""From launch values to verdicts: an exact sign-flip test in two stages, Holm over cells, intervals by inversion.

A launch value is the logarithm of head's time over base's, of one cell in one launch. Launches are the unit: they are
independent of each other, and under equal sources each value is as likely to be +x as -x, whatever its distribution,
since which interpreter, order and place in memory a side gets is drawn alike for both. That symmetry is all that the
test assumes. Arrays have the launches on their last axis, so that a simulation judges all of its draws at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from harness.record import Frozen

Direction = Literal["slower", "faster"]
Status = Literal["slower", "faster", "same", "inconclusive", "not_measured"]

MOST_LAUNCHES = 16
"""Of one stage: 2**16 sign patterns are counted one by one."""


class Rule(Frozen):
    """When a cell is called what. Fixed before anything is measured, and stored with every verdict."""

    margin: float = Field(default=0.03, gt=0, lt=1)
    """A ratio of at most 1 + margin, and at least 1 / (1 + margin), matters to nobody."""
    launches: int = Field(default=8, ge=5, le=MOST_LAUNCHES)
    """Of each stage. With four, no p-value could reach 5 %."""
    screen: float = Field(default=0.05, gt=0, lt=1)
    """Level of the first stage: a cell above it is done, one below it is measured again in fresh launches."""
    family: float = Field(default=0.02, gt=0, lt=1)
    """Probability, at most, that any cell of a run is called slower that is not; and the same for faster."""
    equivalence: float = Field(default=0.05, gt=0, lt=1)
    """Probability, at most, that a cell is called the same whose ratio lies outside the margin."""
    sentinel: float = Field(default=0.01, gt=0, lt=1)
    """Level of the two tests of the A/A sentinel, each against half of the margin."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Of the interval for the ratio."""

    @property
    def bound(self) -> float:
        """The margin as a logarithm."""
        return math.log1p(self.margin)

    def can_alarm(self, cells: int) -> bool:
        """Return whether so few launches can carry an alarm through the correction for so many cells."""
        return self.screen * 2.0**-self.launches <= self.family / cells


@dataclass(frozen=True)
class Stages:
    """The launch values of one cell."""

    first: Sequence[float]
    second: Sequence[float] = ()
    """Empty where the first stage did not ask for more, or where the budget ended before."""


@dataclass(frozen=True)
class Judgement:
    """What the launches say of one cell."""

    status: Status
    ratio: float | None = None
    """Head's time over base's; of the second stage alone where there was one, for the first has chosen the cell."""
    low: float | None = None
    """Lower end of its interval; None where the launches are too few to bound it."""
    high: float | None = None
    p: float | None = None
    """Of both stages together, in the direction that the first stage saw; not yet corrected for the other cells."""
    reason: str = ""
    """Why it is inconclusive or not measured."""


def launch_value(base_ms: Sequence[Sequence[float]], head_ms: Sequence[Sequence[float]]) -> float:
    """Return the median over blocks of ln(mean head / mean base), each block with the samples of either side."""
    ratios = [math.log(math.fsum(head) / math.fsum(base)) for base, head in zip(base_ms, head_ms, strict=True)]
    return float(np.median(ratios))


def sign_flip_p(values: Float[np.ndarray, "*draws k"], null: float = 0.0) -> Float[np.ndarray, "*draws"]:
    """Return the exact p-value of `centre <= null` against `centre > null`.

    The share of all 2**k patterns of signs under which the mean of `values - null` is at least what was seen; the
    smallest possible value is 2**-k. For the other direction, hand over `-values` and `-null`.
    """
    shifted = np.asarray(values, dtype=np.float64) - null
    seen = shifted.sum(-1)
    # A pattern that equals the seen one but for rounding counts as reaching it: a tie must not make p smaller.
    slack = 1e-12 * np.abs(shifted).sum(-1)
    reached = shifted @ _signs(shifted.shape[-1]).T >= (seen - slack)[..., None]
    return np.asarray(reached.mean(-1))


def interval(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """Return the centres that the two one-sided sign-flip tests do not reject; infinite where k is too small.

    Of the 2**k - 1 means over a part of the launches, a centre c with exactly j of them at or below it has
    p = (j + 1) / 2**k, so the ends are order statistics of these means (Hartigan 1969, typical values).
    """
    k = len(values)
    picked = (_signs(k) > 0)[:-1]  # the last pattern picks nothing
    means = np.sort(picked @ np.asarray(values, dtype=np.float64) / picked.sum(-1))
    place = math.floor((1 - confidence) / 2 * 2**k + 1e-9)
    if place < 1:
        return -math.inf, math.inf
    return float(means[place - 1]), float(means[-place])


def holm(p_values: Mapping[str, float], level: float) -> frozenset[str]:
    """Return the names whose hypothesis is rejected, all together at `level` (Holm 1979)."""
    rejected: set[str] = set()
    for left, name in zip(range(len(p_values), 0, -1), sorted(p_values, key=lambda name: p_values[name]), strict=True):
        if p_values[name] > level / left:
            break
        rejected.add(name)
    return frozenset(rejected)


def screened(values: Sequence[float], rule: Rule) -> Direction | None:
    """Return the direction in which the first stage sees more than the margin, if it does."""
    found = np.asarray(values, dtype=np.float64)
    if float(sign_flip_p(found, rule.bound)) <= rule.screen:
        return "slower"
    return "faster" if float(sign_flip_p(-found, rule.bound)) <= rule.screen else None


def combined_p(
    first: Float[np.ndarray, "*draws k"], second: Float[np.ndarray, "*draws m"], rule: Rule, *, null: float
) -> Float[np.ndarray, "*draws"]:
    """Return the p-value of both stages: `screen` times that of the second where both are at most `screen`, else 1.

    The stages share no launch, so P(p <= t) <= P(first passes) * P(second <= t / screen) <= screen * t / screen = t.
    Fresh launches that would not even pass the first stage confirm nothing: Holm's last steps would let them.
    """
    fresh = sign_flip_p(second, null)
    passed = (sign_flip_p(first, null) <= rule.screen) & (fresh <= rule.screen)
    return np.where(passed, rule.screen * fresh, 1.0)


def judge(
    cells: Mapping[str, Stages], rule: Rule, *, not_measured: Mapping[str, str] | None = None
) -> dict[str, Judgement]:
    """Return a verdict for each cell, and for each that was declared and not measured, with its reason.

    A cell is slower (faster) where Holm's procedure over all declared cells rejects "at most the margin" at
    `rule.family`; the same where both of its ends are rejected at `rule.equivalence`; else inconclusive.
    """
    absent = not_measured or {}
    nothing = dict.fromkeys(absent, 1.0)
    p_values = {way: nothing | {name: _p(stages, way, rule) for name, stages in cells.items()} for way in _SIGNS}
    rejected = {way: holm(p_values[way], rule.family) for way in _SIGNS}
    found = {name: Judgement("not_measured", reason=reason) for name, reason in absent.items()}
    for name, stages in cells.items():
        alarm: Direction | None = next((way for way in _SIGNS if name in rejected[way]), None)
        found[name] = _judged(stages, rule, alarm, p=min(p_values[way][name] for way in _SIGNS))
    return found


def sentinel_alarm(values: Sequence[float], rule: Rule) -> bool:
    """Return whether two copies of one thing differ by more than half of the margin: then nothing else is believed.

    At `rule.sentinel`, or at the smallest level that so few launches can reach: a short run is not let off.
    """
    found = np.asarray(values, dtype=np.float64)
    half = math.log1p(rule.margin / 2)
    level = max(rule.sentinel, 2.0 ** -len(found))
    return min(float(sign_flip_p(found, half)), float(sign_flip_p(-found, half))) <= level


def clopper_pearson(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of a rate (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, trials - hits)) if hits < trials else 1.0
    return low, high


def at_most(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Return the one-sided upper bound of a rate: 0 of 299 proves at most 1 %."""
    return clopper_pearson(hits, trials, 2 * confidence - 1)[1]


def at_least(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Return the one-sided lower bound of a rate: 40 of 40 prove at least 92.8 %."""
    return clopper_pearson(hits, trials, 2 * confidence - 1)[0]


def cluster_bootstrap(
    clusters: Sequence[tuple[int, int]], *, seed: int, draws: int = 10_000, confidence: float = 0.95
) -> tuple[float, float]:
    """Return an interval for hits over trials when whole gates are drawn anew: cells of one gate share an hour.

    Each cluster is (hits, trials). Without any hit every draw is without, so the interval is (0, 0) and says nothing
    beside the exact bound.
    """
    counts = np.asarray(clusters, dtype=np.float64)
    picked = np.random.default_rng(seed).integers(len(counts), size=(draws, len(counts)))
    rates = counts[picked].sum(1)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(rates[:, 0] / rates[:, 1], [tail, 100 - tail])
    return float(low), float(high)


_SIGNS: Mapping[Direction, int] = {"slower": 1, "faster": -1}


@cache
def _signs(k: int) -> Float[np.ndarray, "patterns k"]:
    """All patterns of k signs, the first all +1 and the last all -1."""
    if not 1 <= k <= MOST_LAUNCHES:
        raise ValueError(f"{k} launches: the exact test counts 1 to {MOST_LAUNCHES}")
    bits = (np.arange(2**k)[:, None] >> np.arange(k)) & 1
    return (1.0 - 2.0 * bits).astype(np.float64)


def _p(stages: Stages, way: Direction, rule: Rule) -> float:
    if not stages.second or screened(stages.first, rule) != way:
        return 1.0
    sign = _SIGNS[way]
    first, second = (sign * np.asarray(values, dtype=np.float64) for values in (stages.first, stages.second))
    return float(combined_p(first, second, rule, null=rule.bound))


def _judged(stages: Stages, rule: Rule, alarm: Direction | None, *, p: float) -> Judgement:
    used = np.asarray(stages.second or stages.first, dtype=np.float64)
    low, high = (_ratio(end) for end in interval(list(used), rule.confidence))
    status: Status = alarm or ("same" if _equivalent(used, rule) else "inconclusive")
    return Judgement(
        status, ratio=math.exp(used.mean()), low=low, high=high, p=p, reason=_why(stages, rule, status, len(used))
    )


def _equivalent(values: Float[np.ndarray, " k"], rule: Rule) -> bool:
    above, below = sign_flip_p(values, -rule.bound), sign_flip_p(-values, -rule.bound)
    return max(float(above), float(below)) <= rule.equivalence


def _why(stages: Stages, rule: Rule, status: Status, used: int) -> str:
    if status != "inconclusive":
        return ""
    seen = screened(stages.first, rule)
    if seen and not stages.second:
        return f"looks {seen}, but the budget ended before fresh launches could confirm it"
    if used < rule.launches:
        return f"the budget ended after {used} of {rule.launches} launches"
    if seen:
        return f"looked {seen} at first; fresh launches neither confirm it nor show that it is the same"
    return f"too noisy to tell a change from one within the margin of {rule.margin:.0%}"


def _ratio(centre: float) -> float | None:
    return math.exp(centre) if math.isfinite(centre) else None
