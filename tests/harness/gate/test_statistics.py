from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.gate import rivals
from harness.gate.simulation import draw
from harness.gate.statistics import (
    Rule,
    Stages,
    at_least,
    at_most,
    clopper_pearson,
    cluster_bootstrap,
    combined_p,
    holm,
    interval,
    judge,
    launch_value,
    screened,
    sentinel_alarm,
    sign_flip_p,
)

RULE = Rule()
NEAR_ONE = (0.004, -0.003, 0.001, -0.006, 0.002, 0.005, -0.002, -0.001)
numbers = st.lists(st.floats(-1, 1).map(lambda x: round(x, 6)), min_size=5, max_size=9)


def shifted(by: float) -> tuple[float, ...]:
    return tuple(value + by for value in NEAR_ONE)


def test_a_launch_value_is_the_median_over_blocks_of_the_ratio_of_means() -> None:
    base, head = [[1.0, 3.0], [2.0, 2.0], [1.0, 1.0]], [[2.0, 2.0], [4.0, 4.0], [9.0, 9.0]]
    assert launch_value(base, head) == pytest.approx(math.log(2))
    assert launch_value(head, base) == pytest.approx(-math.log(2))


@given(numbers)
def test_the_p_value_counts_every_pattern_of_signs(values: list[float]) -> None:
    seen = sum(values)
    patterns = [
        sum(sign * value for sign, value in zip(signs, values, strict=True))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    expected = sum(total >= seen - 1e-9 for total in patterns) / len(patterns)
    assert float(sign_flip_p(np.array(values))) == pytest.approx(expected)


@given(numbers, st.floats(-0.5, 0.5))
def test_the_interval_holds_exactly_the_centres_that_are_not_rejected(values: list[float], centre: float) -> None:
    low, high = interval(values, 0.9)
    found = np.array(values)
    p = min(float(sign_flip_p(found, centre)), float(sign_flip_p(-found, -centre)))
    if low + 1e-6 < centre < high - 1e-6:
        assert p > 0.05
    if centre < low - 1e-6 or centre > high + 1e-6:
        assert p <= 0.05


def test_too_few_launches_bound_nothing() -> None:
    assert interval([0.1, 0.2, 0.1], 0.95) == (-math.inf, math.inf)


def test_holm_stops_at_the_first_that_stays() -> None:
    assert holm({"a": 0.001, "b": 0.009, "c": 0.02}, 0.02) == {"a", "b", "c"}
    assert holm({"a": 0.001, "b": 0.011, "c": 0.002}, 0.02) == {"a", "b", "c"}
    assert holm({"a": 0.001, "b": 0.012, "c": 0.019}, 0.02) == {"a"}
    assert holm({"a": 0.007}, 0.005) == frozenset()


def test_each_verdict_is_reached() -> None:
    wide = (0.2, -0.15, 0.1, -0.2, 0.05, -0.1, 0.15, -0.04)
    found = judge(
        {
            "slow": Stages(shifted(0.1), shifted(0.1)),
            "fast": Stages(shifted(-0.1), shifted(-0.1)),
            "same": Stages(NEAR_ONE),
            "noisy": Stages(wide),
        },
        RULE,
        not_measured={"gone": "base has no such backend"},
    )
    assert {name: each.status for name, each in found.items()} == {
        "slow": "slower",
        "fast": "faster",
        "same": "same",
        "noisy": "inconclusive",
        "gone": "not_measured",
    }
    slow = found["slow"]
    assert slow.ratio == pytest.approx(math.exp(0.1))
    assert slow.low is not None
    assert slow.high is not None
    assert 1.03 < slow.low < slow.ratio < slow.high < 1.12
    assert "too noisy" in found["noisy"].reason
    assert found["gone"].reason == "base has no such backend"


@given(st.lists(st.floats(-0.3, 0.3), min_size=8, max_size=8), st.lists(st.floats(-0.3, 0.3), min_size=8, max_size=8))
def test_a_program_judged_with_sides_swapped_gets_the_mirrored_verdict(first: list[float], second: list[float]) -> None:
    mirrored = {"slower": "faster", "faster": "slower"}
    one = judge({"x": Stages(first, second)}, RULE)["x"]
    other = judge({"x": Stages([-v for v in first], [-v for v in second])}, RULE)["x"]
    assert other.status == mirrored.get(one.status, one.status)
    assert one.ratio is not None
    assert other.ratio == pytest.approx(1 / one.ratio)


@given(st.lists(st.floats(-0.02, 0.02), min_size=8, max_size=8))
def test_what_stays_within_the_margin_is_never_called_changed(values: list[float]) -> None:
    assert judge({"x": Stages(values, values)}, RULE)["x"].status in ("same", "inconclusive")


def test_a_speed_up_is_never_called_slower() -> None:
    assert screened(shifted(-0.1), RULE) == "faster"
    found = judge({"x": Stages(shifted(-0.1), shifted(0.1))}, RULE)["x"]
    assert found.status == "inconclusive"


def test_a_suspicion_without_fresh_launches_is_no_verdict() -> None:
    found = judge({"x": Stages(shifted(0.2))}, RULE)["x"]
    assert found.status == "inconclusive"
    assert "budget ended before" in found.reason
    early = judge({"x": Stages((0.3, -0.3, 0.2))}, RULE)["x"]
    assert "after 3 of 8 launches" in early.reason


def test_the_ratio_of_a_chosen_cell_comes_from_the_fresh_launches_alone() -> None:
    found = judge({"x": Stages(shifted(0.3), shifted(0.06))}, RULE)["x"]
    assert found.ratio == pytest.approx(math.exp(0.06))


def test_cells_that_were_not_measured_still_count_in_the_correction() -> None:
    """Leaving a cell out must not make an alarm easier for the others."""
    second = (0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.02)  # 2 patterns of 256 reach it
    stages = {"x": Stages(shifted(0.2), second)}
    assert judge(stages, RULE)["x"].status == "slower"
    many = {f"gone{number}": "dead" for number in range(60)}
    assert judge(stages, RULE, not_measured=many)["x"].status != "slower"


def test_fresh_launches_that_do_not_confirm_are_no_alarm_however_few_cells_are_left() -> None:
    """Holm gives its last cell the whole level, at which a flagged cell alone would be one."""
    loose = Rule(family=0.05)
    assert judge({"x": Stages(shifted(0.2), shifted(0.0))}, loose)["x"].status != "slower"
    assert judge({"x": Stages(shifted(0.2), shifted(0.2))}, loose)["x"].status == "slower"


def test_a_rule_that_cannot_alarm_says_so() -> None:
    assert Rule(launches=8).can_alarm(20)
    assert not Rule(launches=5).can_alarm(20)


def test_the_sentinel_hears_half_of_the_margin() -> None:
    assert not sentinel_alarm(NEAR_ONE, RULE)
    assert sentinel_alarm(shifted(0.03), RULE)
    assert sentinel_alarm(shifted(-0.03), RULE)
    assert sentinel_alarm(shifted(0.03)[:5], RULE), "a run that was cut short is not let off"


def test_exact_bounds_are_those_of_the_books() -> None:
    assert at_most(0, 299) == pytest.approx(0.01, abs=5e-5)
    assert at_least(40, 40) == pytest.approx(0.05 ** (1 / 40))
    low, high = clopper_pearson(5, 10)
    assert (low, high) == (pytest.approx(0.1871, abs=1e-4), pytest.approx(0.8129, abs=1e-4))
    assert clopper_pearson(0, 10)[0] == 0
    assert clopper_pearson(10, 10)[1] == 1


def test_drawing_whole_gates_is_wider_than_drawing_cells_where_alarms_come_together() -> None:
    together = cluster_bootstrap([(10, 20), *[(0, 20)] * 9], seed=0)
    apart = cluster_bootstrap([(1, 20)] * 10, seed=0)
    assert apart == (0.05, 0.05)
    assert together[1] > 0.1


def nominal(level: float, draws: int) -> tuple[float, float]:
    """What a rate of this level may come out as, in 999 of 1,000 simulations."""
    spread = 3.3 * math.sqrt(level * (1 - level) / draws)
    return level - spread, level + spread


def test_null_data_with_drift_steps_and_autocorrelation_alarm_at_the_nominal_level() -> None:
    """10,000 gates: the test alone at what 256 patterns allow below 5 % and 1 %, and both stages together."""
    draws = 10_000
    values = np.concatenate([draw("everything", 1000, seed=s, launches=16).values for s in range(draws // 1000)])
    p = sign_flip_p(values[:, :8])
    for level in (12 / 256, 2 / 256):
        low, high = nominal(level, draws)
        assert low <= float((p <= level).mean()) <= high
    both = combined_p(values[:, :8], values[:, 8:], RULE, null=0.0)
    assert float((both <= 12 / 256 * 12 / 256).mean()) <= nominal(12 / 256 * 0.05, draws)[1]
    assert float((combined_p(values[:, :8], values[:, 8:], RULE, null=RULE.bound) <= RULE.family / 20).mean()) <= 1e-3


@pytest.mark.parametrize("disturbance", ["white", "drift", "steps", "autocorrelated"])
def test_each_disturbance_alone_leaves_the_level_as_it_is(disturbance: str) -> None:
    p = sign_flip_p(draw(disturbance, 2000, seed=7, launches=8).values)
    low, high = nominal(12 / 256, 2000)
    assert low <= float((p <= 0.05).mean()) <= high


def test_ten_percent_are_found_by_two_stages_on_the_worst_data() -> None:
    values = draw("everything", 1000, seed=3, launches=16, effect=0.1).values
    found = combined_p(values[:, :8], values[:, 8:], RULE, null=RULE.bound) <= RULE.family / 20
    assert float(found.mean()) > 0.95


def test_the_usual_rules_cry_wolf_on_the_same_samples_when_one_run_follows_the_other() -> None:
    found = draw("everything", 500, seed=1, launches=2)
    base, later = found.side(0, 0), found.side(1, 1)
    for name, rule in rivals.RULES.items():
        assert float(rule(base, later).mean()) > 0.1, name


def test_the_usual_rules_are_theirs() -> None:
    base = np.tile(np.linspace(1.0, 1.01, 24), (2, 1))
    head = base * np.array([[1.11], [1.04]])
    assert rivals.mean_10(base, head).tolist() == [True, False]
    assert rivals.asv(base, head).tolist() == [True, False]
    assert rivals.minimum(base, head).tolist() == [True, False]
    with pytest.raises(ValueError, match="take 8 each"):
        rivals.asv(base[:, :5], head[:, :5])


def test_more_launches_than_can_be_counted_are_refused() -> None:
    with pytest.raises(ValueError, match="17 launches"):
        sign_flip_p(np.zeros(17))
