"""What a run of samples says about its median. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z99 = 2.576
"""Quantile of the normal distribution that leaves 0.5 % on each side."""


def median_interval(samples: Sequence[float]) -> tuple[float, float]:
    """Return two samples between which the median lies with 99 %, whatever the distribution.

    By the ranks of a binomial, in its normal approximation; the whole range below eight samples, which covers less.
    """
    ordered = sorted(samples)
    below = max(0, math.floor((len(ordered) - Z99 * math.sqrt(len(ordered))) / 2))
    return ordered[below], ordered[len(ordered) - 1 - below]
