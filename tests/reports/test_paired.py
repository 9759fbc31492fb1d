from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nct, ttest_1samp, ttest_rel

from reports.paired import Difference, compare, holm, intervals, verdicts

SETS = 4000


def crossed(images: int, seeds: int, of_images: float, of_seeds: float, rest: float, sets: int = SETS) -> np.ndarray:
    """Differences whose true mean is zero; the deviations of their three parts are given."""
    rng = np.random.default_rng([images, seeds, int(1000 * of_images), int(1000 * of_seeds)])
    return (
        of_images * rng.standard_normal((sets, images, 1))
        + of_seeds * rng.standard_normal((sets, 1, seeds))
        + rest * rng.standard_normal((sets, images, seeds))
    )


@pytest.mark.parametrize("parts", [(0.2, 0.05, 0.1), (0.2, 0.2, 0.1), (0.05, 0.1, 0.05), (0.1, 0.04, 0.14)])
@pytest.mark.parametrize(("images", "seeds"), [(12, 5), (24, 3), (68, 3), (68, 5)])
def test_an_interval_covers_the_true_difference_with_95_percent(
    images: int, seeds: int, parts: tuple[float, float, float]
) -> None:
    mean, half = intervals(crossed(images, seeds, *parts))
    assert 0.93 <= (abs(mean) <= half).mean() <= 0.975


@pytest.mark.parametrize("parts", [(0.2, 0.05, 0.1), (0.2, 0.03, 0.14), (0.1, 0.05, 0.05), (0.0, 0.1, 0.1)])
@pytest.mark.parametrize("images", [12, 68])
def test_two_seeds_cover_no_less(images: int, parts: tuple[float, float, float]) -> None:
    """Satterthwaite's interval alone covers some of these with 88 to 91 %."""
    mean, half = intervals(crossed(images, 2, *parts))
    assert (abs(mean) <= half).mean() >= 0.94


def test_a_small_case_computed_by_hand() -> None:
    """Rows 1 3, 2 4, 3 8: mean 3.5, of images 2, 3, 5.5, of seeds 2, 5."""
    found = compare(np.array([[1.0, 3.0], [2.0, 4.0], [3.0, 8.0]]))
    by_image, by_seed, rest = 2 * 6.5 / 2, 3 * 4.5, 1.5
    assert found.mean == 3.5
    # Seeds: t of one degree of freedom, 12.706; images: 4.303 of two; both: about 1.9 degrees of freedom.
    half = 12.7062047 * math.sqrt(by_seed / 6)
    freedom = (by_image + by_seed - rest) ** 2 / (by_image**2 / 2 + by_seed**2 / 1 + rest**2 / 2)
    assert freedom == pytest.approx(342.25 / 204.5)
    assert (found.low, found.high) == (pytest.approx(3.5 - half), pytest.approx(3.5 + half))
    assert found.verdict == "cannot be told apart"
    assert (found.images, found.seeds) == (3, 2)


def test_where_both_matter_the_error_is_that_of_satterthwaite() -> None:
    """Mean squares by hand: 4 images and 4 seeds, effects -3 -1 1 3 of both, rest +-0.1 in a checkerboard."""
    effects, board = np.array([-3.0, -1.0, 1.0, 3.0]), np.indices((4, 4)).sum(axis=0) % 2 * 0.2 - 0.1
    found = compare(1 + effects[:, None] + effects[None, :] + board)
    square, rest = 4 * 20 / 3, 16 * 0.01 / 9
    error = math.sqrt((2 * square - rest) / 16)
    freedom = (2 * square - rest) ** 2 / (2 * square**2 / 3 + rest**2 / 9)
    from scipy.stats import t

    assert found.high - found.mean == pytest.approx(t.ppf(0.975, freedom) * error)


def test_one_seed_is_students_paired_test() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(30, 2, 12), rng.normal(29.8, 2, 12)
    found, expected = compare((ours - theirs)[:, None]), ttest_rel(ours, theirs)
    interval = expected.confidence_interval()
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert found.p == pytest.approx(expected.pvalue)


@given(st.integers(2, 9), st.integers(1, 5), st.integers(0, 10**6), st.floats(-2, 2))
def test_an_interval_is_never_narrower_than_by_images_or_by_seeds_alone(
    images: int, seeds: int, seed: int, shift: float
) -> None:
    differences = np.random.default_rng(seed).normal(shift, 1, (images, seeds))
    found = compare(differences)
    ways = [differences.mean(axis=1), *([differences.mean(axis=0)] if seeds > 1 else [])]
    for way in ways:
        expected = ttest_1samp(way, 0.0)
        assert found.high - found.low >= np.diff(expected.confidence_interval())[0] - 1e-7
        assert found.p >= expected.pvalue - 1e-7
    assert (found.p < 0.05) == (found.verdict != "cannot be told apart")


@given(st.integers(0, 10**6))
def test_an_arm_against_another_is_the_other_against_it_turned(seed: int) -> None:
    differences = np.random.default_rng(seed).normal(0.3, 1, (6, 3))
    one, other = compare(differences), compare(-differences)
    assert (one.low, one.high) == (pytest.approx(-other.high), pytest.approx(-other.low))
    assert one.p == pytest.approx(other.p)
    assert {one.verdict, other.verdict} in ({"higher", "lower"}, {"cannot be told apart"})


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_the_detectable_difference_is_found_four_times_out_of_five(seeds: int) -> None:
    """Where images alone differ the errors are those of Student's t over images, whatever the seeds."""
    rng = np.random.default_rng(seeds)
    noise = np.repeat(rng.standard_normal((SETS, 10, 1)), seeds, axis=2)
    threshold = compare(noise[0]).detectable / noise[0].mean(axis=1).std(ddof=1)
    assert nct.sf(2.262157, 9, threshold * math.sqrt(10)) == pytest.approx(0.8, abs=1e-3)
    mean, half = intervals(noise + threshold)  # images deviate by one
    assert (mean - half > 0).mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("seeds", [1, 3])
def test_equal_arms_cannot_be_told_apart_and_a_constant_gain_can(seeds: int) -> None:
    same = compare(np.zeros((5, seeds)))
    assert (same.low, same.high, same.p, same.verdict) == (0, 0, 1, "cannot be told apart")
    assert compare(np.full((5, seeds), 1e-12)).verdict == "cannot be told apart", "the last bits are no gain"
    better = compare(np.full((5, seeds), 0.25))
    assert (better.low, better.high, better.verdict) == (0.25, 0.25, "higher")
    assert better.detectable == 0


@pytest.mark.parametrize("differences", [np.ones((1, 3)), np.array([[1.0], [math.inf]]), np.array([[1.0], [math.nan]])])
def test_what_has_no_interval_is_refused(differences: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"one image|not finite"):
        compare(differences)


def test_a_verdict_among_others_stands_with_holms_correction_or_perhaps() -> None:
    def difference(mean: float, half: float, p: float) -> Difference:
        return Difference(mean=mean, low=mean - half, high=mean + half, p=p, detectable=half, images=9, seeds=3)

    surely, barely = difference(1.0, 0.1, 0.001), difference(-1.0, 0.9, 0.04)
    alike = difference(0.1, 0.5, 0.6)
    assert verdicts([barely]) == ["lower"]
    assert verdicts([barely, surely, alike]) == ["perhaps lower", "higher", "cannot be told apart"]
    assert verdicts([]) == []


def test_holm_steps_down_from_the_smallest_and_stops() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert holm([0.04]) == [True]
    assert holm([0.03, 0.04]) == [False, False]
    assert holm([]) == []
