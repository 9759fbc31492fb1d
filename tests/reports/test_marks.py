"""Best and second are marked where they can be told apart, and nowhere else."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.marks import Marks, Value, marks

IMAGES = [f"{n}.png" for n in range(8)]


def quality(gain: float, spread: float = 0.01, seed: int = 0, of_seeds: tuple[float, ...] = (0.0,)) -> Value:
    """Return a mean over images that differ much from each other, and by `gain` from those of another value.

    Each of `of_seeds` is by how much all images of one seed lie higher.
    """
    noise = np.random.default_rng(seed).normal(0, spread, len(IMAGES))
    images = {name: tuple(25.0 + n + gain + noise[n] + more for more in of_seeds) for n, name in enumerate(IMAGES)}
    return Value(value=float(np.mean(list(images.values()))), images=images)


def marked(*values: Value, better: str = "higher", form: str = "{:.2f}") -> Marks:
    numbers = dict(enumerate(values))
    texts = {i: form.format(value.value) for i, value in numbers.items()}
    return marks(better, [list(numbers)], numbers, texts)


def test_quality_is_told_apart_image_by_image_however_much_images_differ() -> None:
    found = marked(quality(0.0, seed=1), quality(0.2, seed=2), quality(0.5, seed=3))
    assert found == Marks(best=frozenset({2}), second=frozenset({1}))


def test_what_cannot_be_told_from_the_best_is_bold_with_it() -> None:
    found = marked(quality(0.00, 0.3, 1), quality(0.05, 0.3, 2), quality(-2.0, 0.3, 3), quality(-4.0, 0.3, 4))
    assert found == Marks(best=frozenset({0, 1}), second=frozenset({2}))


def test_the_last_of_two_is_no_second() -> None:
    assert marked(quality(0.0), quality(1.0)) == Marks(best=frozenset({1}), second=frozenset())


def test_nothing_stands_out_where_nothing_can_be_told_apart() -> None:
    nothing = Marks(best=frozenset(), second=frozenset())
    assert marked(quality(0.0, 0.5, 1), quality(0.1, 0.5, 2), quality(0.2, 0.5, 3)) == nothing
    one_image = [Value(value=gain, images={"a.png": (gain,)}) for gain in (20.0, 30.0, 40.0)]
    assert marked(*one_image) == nothing
    assert marked(Value(value=1.0), Value(value=2.0), better="neither") == nothing


def test_restorations_that_differ_by_rounding_alone_read_the_same_and_are_the_same() -> None:
    best, twin = quality(1.0), quality(1.0)
    images = {name: (value + 1e-7,) for name, (value,) in (twin.images or {}).items()}
    close = Value(value=twin.value + 1e-7, images=images)
    assert marked(best, close, quality(0.0, seed=2)).best == frozenset({0, 1})


def test_other_images_and_perfect_ones_tell_nothing() -> None:
    best, lower = quality(1.0, seed=1), quality(0.0, seed=2)
    elsewhere = Value(value=10.0, images={f"other{name}": (10.0,) for name in IMAGES})
    assert marked(best, lower, elsewhere).best == frozenset({0, 2})
    perfect = Value(value=math.inf, images=dict.fromkeys(IMAGES, (math.inf,)))
    assert marked(perfect, lower) == Marks(best=frozenset(), second=frozenset())


def test_four_images_tell_nothing_apart_as_they_give_no_verdict() -> None:
    values = [quality(gain, seed=seed) for seed, gain in enumerate((0.0, 1.0))]
    few = [Value(value=each.value, images=dict(list((each.images or {}).items())[:4])) for each in values]
    assert marked(*values).best == frozenset({1})
    assert marked(*few) == Marks(best=frozenset(), second=frozenset())


def test_seeds_that_disagree_tell_nothing_apart_however_sure_images_are() -> None:
    sure = marked(quality(0.0, seed=1, of_seeds=(0.0, 0.0, 0.0)), quality(0.5, seed=2, of_seeds=(0.0, 0.01, -0.01)))
    unsure = marked(quality(0.0, seed=1, of_seeds=(0.0, 0.0, 0.0)), quality(0.5, seed=2, of_seeds=(0.0, 0.9, -0.9)))
    assert sure.best == frozenset({1})
    assert unsure.best == frozenset()
    assert marked(quality(0.0, seed=1), quality(0.5, seed=2, of_seeds=(0.0, 0.0))).best == frozenset()


def test_what_is_no_number_is_neither_best_nor_in_its_way() -> None:
    nothing = Value(value=math.nan, images=dict.fromkeys(IMAGES, (math.nan,)))
    assert marked(nothing, quality(0.0, seed=1), quality(0.5, seed=2)).best == frozenset({2})
    assert marked(nothing, nothing) == Marks(best=frozenset(), second=frozenset())


def test_costs_are_told_apart_by_their_quartiles() -> None:
    times = [Value(value=x, low=x - 0.1, high=x + 0.1) for x in (1.0, 1.15, 2.0, 3.0)]
    assert marked(*times, better="lower") == Marks(best=frozenset({0, 1}), second=frozenset({2}))


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_rivals_are_judged_among_themselves(better: str) -> None:
    numbers = {i: Value(value=float(i)) for i in range(6)}
    texts = {i: str(i) for i in numbers}
    found = marks(better, [[0, 1, 2], [3, 4, 5]], numbers, texts)
    assert found.best == (frozenset({2, 5}) if better == "higher" else frozenset({0, 3}))
    assert found.second == frozenset({1, 4})
