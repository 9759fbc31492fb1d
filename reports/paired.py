"""Differences that are paired by image and by seed: how large, how sure, and how large they would have to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64
from scipy.special import nctdtrinc, stdtr, stdtrit

LEVEL = 0.05
"""Two-sided: an interval covers with 95 %."""
POWER = 0.8
FEWEST_IMAGES = 5
"""Fewer give an interval and no verdict: it would rest on what is supposed of their distribution alone."""
_DIGITS = 9
"""Decimals that are looked at: what differs further behind does so by rounding."""

Verdict = Literal["higher", "lower", "cannot be told apart"]
Array = Float64[np.ndarray, "..."]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A mean difference with its 95 % interval, in the unit of what was compared."""

    mean: float
    low: float
    high: float
    p: float
    """Two-sided; below 0.05 just where the interval leaves out zero."""
    detectable: float
    """The true difference that this comparison would have told from zero with a probability of 80 %."""
    images: int
    seeds: int

    @property
    def verdict(self) -> Verdict:
        """Where the interval lies."""
        if self.low <= 0 <= self.high:
            return "cannot be told apart"
        return "higher" if self.mean > 0 else "lower"


def compare(differences: Float64[np.ndarray, "images seeds"]) -> Difference:
    """Judge the differences of two arms, measured on the same images by networks of the same seeds.

    Images and seeds are both drawn from many: `d[i, s] = mean + image[i] + seed[s] + rest[i, s]`, all random. The
    interval is the widest of three by Student's t, whose squared errors are, over the number of differences,

    - the mean square of images, with one degree of freedom less than there are images: other images, these seeds;
    - the mean square of seeds, likewise: other seeds, these images;
    - the sum of both less that of the rest, which estimates the error when both are drawn anew, with Satterthwaite's
      degrees of freedom (Biometrics Bulletin 2, 1946; Searle, Casella and McCulloch, Variance Components, 1992).

    Asking for all three goes back to Clark (J. Verbal Learning and Verbal Behavior 12, 1973). The third alone is too
    narrow for few seeds, as its degrees of freedom are themselves estimated: in simulations it covered with 88 % at
    two seeds and 92 % at three. The widest covers with 94 to 98 % from three seeds on and 95 to 99.5 % at two; where
    neither images nor seeds but only the rest matters, with 99 %.

    One seed leaves the first alone, Student's paired test: it says nothing about other trainings. Raises `ValueError`
    for fewer than two images and for numbers that are not finite.
    """
    images, seeds = differences.shape
    if images < 2:
        raise ValueError("one image shows no spread between images; compare on two or more")
    if not np.isfinite(differences).all():
        raise ValueError("a difference is not finite; leave such images out, or compare something else")
    mean, errors, freedoms = _ways(np.round(differences, _DIGITS))
    halves = _half_widths(errors, freedoms)
    widest = int(np.argmax(halves))
    value, half = float(mean), float(halves[widest])
    return Difference(
        mean=value,
        low=value - half,
        high=value + half,
        p=_p(value, errors, freedoms),
        detectable=_detectable(float(errors[widest]), float(freedoms[widest])),
        images=images,
        seeds=seeds,
    )


def intervals(differences: Float64[np.ndarray, "*sets images seeds"]) -> tuple[Array, Array]:
    """Return mean and half width of the interval of `compare` for many sets of differences at once."""
    mean, errors, freedoms = _ways(differences)
    return mean, _half_widths(errors, freedoms).max(axis=-1)


def holm(ps: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Say which of several comparisons stand when the chance of a single false one is to stay below `level`.

    S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    stand = [False] * len(ps)
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        if ps[place] > level / (len(ps) - rank):
            break
        stand[place] = True
    return stand


def verdicts(differences: Sequence[Difference]) -> list[str]:
    """Return what follows from several comparisons together: `perhaps` before what Holm's correction does not leave."""
    stand = holm([each.p for each in differences])
    return [
        each.verdict if sure or each.verdict == "cannot be told apart" else f"perhaps {each.verdict}"
        for each, sure in zip(differences, stand, strict=True)
    ]


def _ways(differences: Array) -> tuple[Array, Array, Array]:
    """Return the mean, and for each way of judging it (last axis) the standard error and its degrees of freedom."""
    images, seeds = differences.shape[-2:]
    mean = differences.mean(axis=(-2, -1))
    of_images = differences.mean(axis=-1) - mean[..., None]
    by_image = seeds * (of_images**2).sum(axis=-1) / (images - 1)
    free = np.full(mean.shape, float(images - 1))
    if seeds == 1:
        squares, freedoms = by_image[..., None], free[..., None]
    else:
        of_seeds = differences.mean(axis=-2) - mean[..., None]
        rest = differences - mean[..., None, None] - of_images[..., :, None] - of_seeds[..., None, :]
        by_seed = images * (of_seeds**2).sum(axis=-1) / (seeds - 1)
        among, fewest = (images - 1) * (seeds - 1), min(images, seeds) - 1.0
        by_rest = (rest**2).sum(axis=(-2, -1)) / among
        # The sum is an estimate and may come out below its parts, which are then the wider ways.
        both = np.maximum(by_image + by_seed - by_rest, 0.0)
        spread = by_image**2 / (images - 1) + by_seed**2 / (seeds - 1) + by_rest**2 / among
        free_both = np.divide(both**2, spread, out=free.copy(), where=both > 0)
        squares = np.stack([by_image, by_seed, both], axis=-1)
        freedoms = np.stack([free, np.full(mean.shape, seeds - 1.0), np.maximum(free_both, fewest)], axis=-1)
    return mean, np.sqrt(squares / (images * seeds)), freedoms


def _half_widths(errors: Array, freedoms: Array) -> Array:
    return stdtrit(freedoms, 1 - LEVEL / 2) * errors


def _p(mean: float, errors: Array, freedoms: Array) -> float:
    """Return the largest p of all ways, as the interval is the widest."""
    if mean == 0:
        return 1.0
    with np.errstate(divide="ignore"):
        return float((2 * stdtr(freedoms, -abs(mean) / errors)).max())


def _detectable(error: float, freedom: float) -> float:
    """Return how many errors from zero a mean is told from it with `POWER`, times the error: by the noncentral t."""
    threshold = float(stdtrit(freedom, 1 - LEVEL / 2))
    return error * float(nctdtrinc(freedom, 1 - POWER, threshold)) if error > 0 and math.isfinite(error) else 0.0
