"""How a cost grows with a size: the exponent of a power law and the size at which growth overtakes a constant term.

Both models are two-parameter fits to few points, so intervals are wide and say so. What is random is how far points lie
off the model, and the samples within a point; a curve that is no power law shows up as points that lie off it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

LEAST_POINTS = 5
"""Three more than a fit has parameters: with less, intervals are useless, and that of a crossover is too narrow."""
DRAWS = 4000
"""Resampled fits behind an interval."""
NEAR = 0.1
"""How far from a whole number an exponent may be to be called by its name."""
ABOUT = 0.5
_ROUNDING = 1e-9
"""Logarithms that differ by less do so by rounding."""
_CLASSES = ("falling", "constant", "sub-linear", "linear", "super-linear", "quadratic", "more than quadratic")

Array = Float64[np.ndarray, "..."]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A cost at one size; several samples where it was sampled."""

    size: float
    samples: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate, and where the true value lies with 95 %."""

    value: float
    low: float
    high: float

    def plus(self, shift: float) -> Interval:
        """Return it moved."""
        return Interval(value=self.value + shift, low=self.low + shift, high=self.high + shift)


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """`cost = factor * size ** exponent`."""

    factor: float
    exponent: Interval

    def at(self, size: float) -> float:
        """Return the cost at a size."""
        return float(self.factor * size**self.exponent.value)


def power_law(costs: Sequence[Cost], *, draws: int = DRAWS, seed: int = 0) -> PowerLaw:
    """Fit by least squares of logarithms, each point being the median of its samples.

    The interval is a studentised bootstrap: residuals (over the root of one minus leverage) are drawn anew for all
    points, and samples within each. Raises `ValueError` for less than `LEAST_POINTS` sizes, and for what has no
    logarithm.
    """
    sizes, logs = _logarithms(costs)
    n, x = len(sizes), np.log(sizes) - np.log(sizes).mean()
    y = np.array([np.median(each) for each in logs])

    def slopes(heights: Array) -> tuple[Array, Array]:
        found = heights @ x / (x @ x)
        off = heights - heights.mean(-1, keepdims=True) - found[..., None] * x
        return found, np.sqrt((off**2).sum(-1) / (n - 2) / (x @ x))

    slope, error = (float(each) for each in slopes(y))
    fitted = y.mean() + slope * x
    exponent = Interval(value=slope, low=slope, high=slope)
    if np.abs(y - fitted).max() > _ROUNDING:
        residuals = (y - fitted) / np.sqrt(1 - 1 / n - x**2 / (x @ x))
        rng = np.random.default_rng(seed)
        drawn = rng.choice(residuals - residuals.mean(), size=(draws, n)) + _resampled(logs, y, draws, rng)
        found, errors = slopes(fitted + drawn)
        low, high = np.quantile((found - slope) / errors, (0.025, 0.975))
        exponent = Interval(value=slope, low=float(slope - high * error), high=float(slope - low * error))
    return PowerLaw(factor=math.exp(float(y.mean() - slope * np.log(sizes).mean())), exponent=exponent)


def crossover(costs: Sequence[Cost], *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Return the size at which `cost = constant + slope * size` has grown to twice its constant term.

    Fitted by least squares of relative deviations; the interval is a percentile bootstrap over the same two sources.
    It reaches down to 0 where there may be no constant term, and up to infinity where there may be no growth. Raises
    `ValueError` as `power_law` does.
    """
    sizes, logs = _logarithms(costs)
    n, y = len(sizes), np.exp([np.median(each) for each in logs])
    constant, slope = _line(sizes, y)
    fitted, value = constant + slope * sizes, float(_ratio(constant, slope))
    if not (fitted > 0).all():
        return Interval(value=value, low=0.0, high=math.inf)
    rows = np.stack([1 / y, sizes / y], axis=1)
    leverage = np.einsum("ij,jk,ik->i", rows, np.linalg.inv(rows.T @ rows), rows)
    residuals = (y / fitted - 1) / np.sqrt(1 - leverage)
    rng = np.random.default_rng(seed)
    factors = 1 + rng.choice(residuals - residuals.mean(), size=(draws, n))
    samples = _resampled(logs, np.log(y), draws, rng)
    lines = _line(sizes, fitted * np.maximum(factors, _ROUNDING) * np.exp(samples))
    low, high = np.quantile(_ratio(*lines), (0.025, 0.975), method="nearest")
    return Interval(value=value, low=float(low), high=float(high))


def growth(exponent: Interval) -> str:
    """Name the growth that an interval allows: one word, two neighbouring ones, or that it is undecided.

    An interval around a single whole number that strays further than `NEAR` from it, but no further than `ABOUT`, is
    about what that number is called.
    """
    low, high = (_class_of(each) for each in (exponent.low, exponent.high))
    if low == high:
        return _CLASSES[low]
    span = f"{_CLASSES[low]} to {_CLASSES[high]}"
    if high - low == 1:
        return span
    whole = low // 2  # of the name between the two
    if high - low == 2 and low % 2 == 0 and max(exponent.high - whole, whole - exponent.low) <= ABOUT:
        return f"about {_CLASSES[low + 1]}"
    return f"undecided: {span}"


def _class_of(exponent: float) -> int:
    """Return the place in `_CLASSES`: whole numbers have a neighbourhood, and what lies between a word of its own."""
    for whole in (0, 1, 2):
        if exponent < whole - NEAR:
            return 2 * whole
        if exponent <= whole + NEAR:
            return 2 * whole + 1
    return len(_CLASSES) - 1


def _logarithms(costs: Sequence[Cost]) -> tuple[Array, list[Array]]:
    if len({cost.size for cost in costs}) < LEAST_POINTS or len(costs) != len({cost.size for cost in costs}):
        given = ", ".join(f"{cost.size:g}" for cost in costs) or "none"
        raise ValueError(f"a fit needs {LEAST_POINTS} sizes or more, each once; there are: {given}")
    for cost in costs:
        if not cost.samples or not all(0 < each < math.inf for each in (cost.size, *cost.samples)):
            raise ValueError(f"size {cost.size:g}: costs {cost.samples}: only positive numbers have a logarithm")
    return np.array([float(cost.size) for cost in costs]), [np.log(cost.samples) for cost in costs]


def _resampled(logs: Sequence[Array], medians: Array, draws: int, rng: np.random.Generator) -> Array:
    """Return how far the median of samples drawn anew lies off the median, `draws x points`."""
    columns = [np.median(rng.choice(each, size=(draws, len(each))), axis=1) for each in logs]
    return np.stack(columns, axis=1) - medians


def _line(sizes: Array, heights: Array) -> tuple[Array, Array]:
    """Return constant and slope that fit the heights in the last axis with the least relative deviations."""
    weights = 1 / heights**2
    total, first, second = weights.sum(-1), (weights * sizes).sum(-1), (weights * sizes**2).sum(-1)
    plain, tilted = (weights * heights).sum(-1), (weights * sizes * heights).sum(-1)
    determinant = total * second - first**2
    return (second * plain - first * tilted) / determinant, (total * tilted - first * plain) / determinant


def _ratio(constant: Array, slope: Array) -> Array:
    """Return the size at which both parts are equal: at once without a constant, never without growth."""
    grows = slope > 0
    return np.where(grows, np.maximum(constant, 0.0) / np.where(grows, slope, 1.0), math.inf)
