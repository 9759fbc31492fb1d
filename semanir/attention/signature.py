"""The one signature of attention: what every backend, the reference and every network agree on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from semanir.attention.dictionary import KeyDictionary
from semanir.attention.problem import WeightingKind


@dataclass(frozen=True)
class Bias:
    """A relative position bias: one row of the table for each offset between two tokens of a window."""

    table: Float[Tensor, "R H"]
    """R = (2w - 1)^2 offsets, H heads."""
    index: Int[Tensor, "N N"]
    """Row of the table for a (query, key) pair: `(dy + w - 1) * (2w - 1) + dx + w - 1`, query minus key."""

    @property
    def window(self) -> int:
        """Side of the window in tokens."""
        return math.isqrt(self.index.shape[0])

    def dense(self) -> Float[Tensor, "H N N"]:
        """Look up every pair."""
        return self.table[self.index].permute(2, 0, 1)


@dataclass(frozen=True)
class Weighting:
    """How scores become weights: `softmax * softmax(s) + relu_squared * relu(s)**2` (ASSA, AST eq. 5-7).

    SemanIR is the plain softmax. Both factors are numbers or learned scalars. Dropped pairs weigh exactly zero
    in both branches, and the second is not normalised.
    """

    softmax: float | Float[Tensor, ""] = 1.0
    relu_squared: float | Float[Tensor, ""] | None = None
    """None leaves the second branch out altogether; then the first factor is 1."""

    def __post_init__(self) -> None:
        if self.relu_squared is None and self.softmax is not Weighting.softmax:
            raise ValueError("a softmax factor goes with a relu_squared factor; alone it belongs into the values")

    @property
    def kind(self) -> WeightingKind:
        """The name by which `Problem` and `Backend.unsupported` know it."""
        return "softmax" if self.relu_squared is None else "sparse"


SOFTMAX = Weighting()

Scale: TypeAlias = float | Tensor
"""Factor on the scores: one number, or a tensor with one value a head (`[H]`)."""


@runtime_checkable
class Attend(Protocol):
    """Attention inside windows, each query to its kept keys alone.

    W windows, H heads, N tokens in a window, D head dimension. With `s[i, j] = scale * <q[i], k[j]> + bias[i, j]`
    over the kept j of row i, the output is `weighting(s) @ v`. The softmax runs over the kept keys only: zeroing
    after a dense softmax is a different operator. `kept = None` keeps every key (dense window attention).
    q, k and v may be strided views; the output has their dtype.
    """

    def __call__(
        self,
        q: Float[Tensor, "W H N D"],
        k: Float[Tensor, "W H N D"],
        v: Float[Tensor, "W H N D"],
        kept: KeyDictionary | None,
        *,
        bias: Bias | None = None,
        scale: Scale = 1.0,
        weighting: Weighting = SOFTMAX,
    ) -> Float[Tensor, "W H N D"]:
        """Attend."""
        ...


def per_head(scale: Scale, like: Float[Tensor, "W H N D"]) -> Scale:
    """Shape a per-head scale so that it multiplies `[W, H, N, D]` tensors; a number stays a number."""
    return scale.view(1, -1, 1, 1).to(like.dtype) if isinstance(scale, Tensor) and scale.ndim else scale
