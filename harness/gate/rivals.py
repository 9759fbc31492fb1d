"""The usual rules on the samples of this gate, so that their false alarms stand beside its own.

Samples have their places on the last axis and draws before it. Each rule returns whether head is called slower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Float

Samples = Float[np.ndarray, "*draws n"]
Alarms = Bool[np.ndarray, "*draws"]

ASV_LEVEL = 0.002
ASV_FACTOR = 1.1
LEAST_GROWTH = 0.05
"""By which the smallest sample may grow: the value in common use, for no tool fixes one."""


def mean_10(base: Samples, head: Samples) -> Alarms:
    """pytest-benchmark's `--benchmark-compare-fail=mean:10%`: the mean grew by more than 10 %."""
    return np.asarray(head.mean(-1) / base.mean(-1) * 100 - 100 > 10)


def asv(base: Samples, head: Samples) -> Alarms:
    """Asv's `continuous` with its defaults: Mann-Whitney p < 0.002, two-sided, and medians apart by a factor of 1.1.

    Where the samples are so few that no p could be that small, asv compares intervals; that is refused here.
    """
    from scipy.stats import mannwhitneyu

    count = base.shape[-1], head.shape[-1]
    if 1 / math.comb(sum(count), min(count)) >= ASV_LEVEL:
        raise ValueError(f"{count[0]} and {count[1]} samples: Mann-Whitney cannot reach p < {ASV_LEVEL}; take 8 each")
    p = mannwhitneyu(base, head, axis=-1, method="asymptotic" if min(count) > 20 else "auto").pvalue
    return np.asarray((p < ASV_LEVEL) & (np.median(head, -1) > ASV_FACTOR * np.median(base, -1)))


def minimum(base: Samples, head: Samples) -> Alarms:
    """The minimum of N: the smallest sample grew by more than 5 %."""
    return np.asarray(head.min(-1) > (1 + LEAST_GROWTH) * base.min(-1))


RULES: Mapping[str, Callable[[Samples, Samples], Alarms]] = {
    "pytest-benchmark, mean:10%": mean_10,
    "asv, Mann-Whitney p < .002 and 10 %": asv,
    "minimum of N, 5 %": minimum,
}
