from __future__ import annotations

import math

import numpy as np
import pytest

from reports.exponents import LEAST_POINTS, Cost, Interval, crossover, growth, power_law

SIZES = (16.0, 36.0, 64.0, 144.0, 256.0, 1024.0)
RUNS = 250


def noisy(rng: np.random.Generator, size: float, cost: float, off: float, within: float) -> Cost:
    samples = cost * np.exp(rng.normal(0, off) + rng.normal(0, within, 6))
    return Cost(size=size, samples=tuple(float(each) for each in samples))


def exact(sizes: tuple[float, ...], exponent: float, constant: float = 0.0) -> list[Cost]:
    return [Cost(size=size, samples=(constant + 3 * size**exponent,)) for size in sizes]


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 1.0, 2.0])
def test_an_exact_power_law_has_its_exponent_and_no_spread(exponent: float) -> None:
    law = power_law(exact(SIZES, exponent))
    assert law.exponent.value == pytest.approx(exponent)
    assert law.exponent.high - law.exponent.low < 1e-9
    assert law.at(100) == pytest.approx(3 * 100**exponent)


def test_a_point_is_the_median_of_its_samples() -> None:
    costs = [Cost(size=size, samples=(size * 0.9, size, size * 50)) for size in SIZES]
    assert power_law(costs).exponent.value == pytest.approx(1)


def test_the_unit_of_the_cost_does_not_change_the_exponent() -> None:
    rng = np.random.default_rng(3)
    costs = [noisy(rng, size, size**0.7, 0.1, 0.1) for size in SIZES]
    scaled = [Cost(size=cost.size, samples=tuple(1e6 * each for each in cost.samples)) for cost in costs]
    one, other = power_law(costs).exponent, power_law(scaled).exponent
    assert (other.value, other.low, other.high) == pytest.approx((one.value, one.low, one.high))


@pytest.mark.parametrize(("off", "within"), [(0.1, 0.02), (0.02, 0.1), (0.1, 0.1)])
@pytest.mark.parametrize("points", [LEAST_POINTS, 7])
def test_the_interval_covers_the_true_exponent_as_often_as_it_says(points: int, off: float, within: float) -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(RUNS):
        costs = [noisy(rng, float(size), size**0.7, off, within) for size in np.geomspace(16, 1024, points)]
        found = power_law(costs, draws=800).exponent
        hits += found.low <= 0.7 <= found.high
    # 0.95, give or take three standard deviations of 250 runs, and 0.02 for what a bootstrap misses with few points
    assert 0.89 <= hits / RUNS <= 0.992


def test_fewer_points_give_a_wider_interval() -> None:
    rng = np.random.default_rng(2)

    def width(points: int) -> float:
        sizes = np.geomspace(16, 1024, points)
        laws = [power_law([noisy(rng, float(n), n, 0.1, 0.02) for n in sizes], draws=400) for _ in range(40)]
        return float(np.median([law.exponent.high - law.exponent.low for law in laws]))

    assert width(5) > 1.2 * width(12)


def test_the_growing_part_overtakes_the_constant_where_both_are_equal() -> None:
    found = crossover(exact(SIZES, 1.0, constant=300.0))
    assert (found.value, found.low, found.high) == pytest.approx((100, 100, 100))


def test_the_interval_covers_the_true_crossover_most_of_the_time() -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(RUNS):
        found = crossover([noisy(rng, size, 100 + size, 0.1, 0.1) for size in SIZES], draws=500)
        hits += found.low <= 100 <= found.high
    assert hits / RUNS >= 0.88


def test_what_does_not_grow_crosses_nowhere_and_what_has_no_constant_at_once() -> None:
    rng = np.random.default_rng(5)
    flat = crossover([noisy(rng, size, 7.0, 0.05, 0.02) for size in SIZES])
    assert math.isinf(flat.high)
    steep = crossover([noisy(rng, size, size, 0.05, 0.02) for size in SIZES])
    assert steep.low == 0
    assert steep.high < 16


def test_a_fit_of_too_few_sizes_is_refused_with_the_number_that_it_needs() -> None:
    for fit in (power_law, crossover):
        with pytest.raises(ValueError, match=r"needs 5 sizes or more, each once; there are: 16, 36, 64, 144"):
            fit(exact(SIZES[:4], 1))
        with pytest.raises(ValueError, match="each once"):
            fit(exact((*SIZES, 16.0), 1))


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf, math.nan])
def test_a_cost_without_a_logarithm_is_refused_with_its_size(wrong: float) -> None:
    with pytest.raises(ValueError, match="size 64: "):
        power_law([*exact((16, 36, 144, 256), 1), Cost(size=64, samples=(1.0, wrong))])


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.4, -0.2, "falling"),
        (-0.05, 0.05, "constant"),
        (0.2, 0.8, "sub-linear"),
        (0.93, 1.07, "linear"),
        (1.2, 1.8, "super-linear"),
        (1.95, 2.05, "quadratic"),
        (2.2, 2.9, "more than quadratic"),
        (0.95, 1.3, "linear to super-linear"),
        (-0.2, 0.05, "falling to constant"),
        (0.8, 1.2, "about linear"),
        (1.6, 2.5, "about quadratic"),
        (0.8, 1.6, "undecided: sub-linear to super-linear"),
        (0.95, 2.05, "undecided: linear to quadratic"),
        (-1.0, 3.0, "undecided: falling to more than quadratic"),
    ],
)
def test_growth_is_named_by_the_whole_interval(low: float, high: float, word: str) -> None:
    assert growth(Interval(value=(low + high) / 2, low=low, high=high)) == word
