"""The torch-free words in which an attention call is judged, forecast and counted before it runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from semanir.attention.signature import Attend

DeviceKind = Literal["cpu", "cuda"]
DtypeName = Literal["float64", "float32", "float16", "bfloat16"]
WeightingKind = Literal["softmax", "sparse"]
"""`softmax` is SemanIR's rule; `sparse` is AST's `a * softmax(s) + b * relu(s)**2` (METHODS of ASSA)."""
Similarity = Literal["dot", "cosine", "scaled_dot"]
"""How the dictionary compares the tokens of a window."""
Packing = Literal["boolean", "additive", "indices", "bits", "column_bits"]
"""One tensor that holds all kept pairs of a dictionary; see `semanir.attention.dictionary`."""
Form = Packing | Literal["union"]
"""What a backend can ask of a dictionary: packings, and the union lists of `semanir.attention.union`."""

SCORE_ELEMENTS = 2**25
"""Scores that a dictionary has in memory at a time while it is built (128 MiB); a window is the least."""

PATCH = 8
UNION_TILE = PATCH**2
"""Queries that share a union list: a square of the window where its side allows that."""

ITEM_BYTES: Mapping[DtypeName, int] = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One attention call, without its tensors."""

    device: DeviceKind
    dtype: DtypeName
    windows: int
    """Windows in the call: images in the batch times windows in an image."""
    heads: int
    tokens: int
    """N, the tokens of a window: window side squared."""
    top_k: int
    """k asked of every row; rows keep fewer where the shifted window's region is smaller."""
    kept_pairs: int
    """Query-key pairs that are kept, summed over all rows of all windows (one head)."""
    head_dim: int
    has_bias: bool
    weighting: WeightingKind = "softmax"
    needs_grad: bool = False


@dataclass(frozen=True, kw_only=True)
class Flops:
    """Floating-point operations of one attention call; a multiply-add counts as two."""

    spent: int
    """What the backend computes, pairs that the dictionary drops included."""
    useful: int
    """What the kept pairs alone need: `4 * heads * kept_pairs * head_dim`."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A contender: what it needs, where it refuses, what it costs. Loads its torch code only when asked."""

    summary: str
    """One line for `semanir-bench list backends`."""
    module: str
    """Dotted name of the module whose `attend` follows `semanir.attention.signature.Attend`."""
    needs: frozenset[Form]
    """The packings of the dictionary it reads."""
    backward_needs: frozenset[Form] = frozenset()
    """Packings that its gradients read beside those."""
    unsupported: Callable[[Problem], str | None]
    """The reason why it cannot run this problem, or None."""
    flops: Callable[[Problem], Flops]
    extra_bytes: Callable[[Problem], int]
    """Forecast of the memory one call takes above its inputs and its output."""
    speed_on: frozenset[DeviceKind] = frozenset({"cpu", "cuda"})
    """Devices on which its time says something; the Triton interpreter's does not."""
    worker_env: Callable[[DeviceKind], Mapping[str, str]] = lambda device: {}
    """Environment variables that must stand before its worker starts."""
    differentiable: bool = True

    def forms(self, *, needs_grad: bool) -> frozenset[Form]:
        """Return the packings to ask of a dictionary, in inference or in training."""
        return self.needs | self.backward_needs if needs_grad else self.needs

    def load(self) -> Attend:
        """Import the module and return its `attend`."""
        attend: Attend = importlib.import_module(self.module).attend
        return attend

    def kernel(self, problem: Problem) -> str:
        """Name the kernel that a library chooses for this problem here; empty where there is no choice.

        Asks `kernel(problem)` of the module, where it has one.
        """
        choose = getattr(importlib.import_module(self.module), "kernel", None)
        return "" if choose is None else str(choose(problem))


def dense_flops(problem: Problem) -> Flops:
    """Count a backend that computes every pair and masks: two products of `N x N x D` a head."""
    pairs = problem.windows * problem.tokens**2
    return Flops(
        spent=4 * problem.heads * pairs * problem.head_dim,
        useful=4 * problem.heads * problem.kept_pairs * problem.head_dim,
    )


def dictionary_bytes(problem: Problem, forms: frozenset[Form]) -> int:
    """Forecast the memory that building the dictionary takes: scores of some windows, and the packings of all.

    Nothing is scored where every key is kept and the windows are not shifted; the forecast does not look that close.
    """
    pairs = problem.windows * problem.tokens**2
    at_once = min(pairs, max(problem.tokens**2, SCORE_ELEMENTS))
    per_score = 4 + 4 + 4 + 3  # scores, masked scores, ranks among ties, three masks
    while_packing = {"boolean": 0, "additive": 0, "indices": 4 + 24, "bits": 8, "column_bits": 8, "union": 12}
    packed = {
        "boolean": 1.0,
        "additive": ITEM_BYTES[problem.dtype],
        "indices": 2 * problem.top_k / problem.tokens,
        "bits": 1 / 8,
        "column_bits": 1 / 8,
        "union": 1 / 8 + 2 / UNION_TILE,
    }
    peak = at_once * (per_score + max((while_packing[form] for form in forms), default=0))
    return peak + round(pairs * 2 * sum(packed[form] for form in forms))  # twice: the parts are joined
