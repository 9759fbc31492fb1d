"""One attention layer to be computed by everybody: fresh queries, keys and values, and a real dictionary.

Shapes: W windows, H heads, N tokens in a window, D head dimension, C channels of the features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness.contest.names import Variant
from harness.trial import Trial
from semanir.attention import dictionary, windows
from semanir.attention.dictionary import KeyDictionary
from semanir.attention.position import relative_index
from semanir.attention.problem import Form, Problem
from semanir.attention.signature import SOFTMAX, Bias, Weighting
from semanir.attention.union import KeyUnion

HEADS = 6
HEAD_DIM = 32
"""SemanIR's published networks have 6 heads of 30 channels; kernels pad 30 to 32, for which nobody pays here."""
SPARSE = Weighting(softmax=0.5, relu_squared=0.5)


@dataclass(frozen=True)
class Workload:
    """The arguments of one attention call, and the gradient that comes back to it.

    q, k and v are views of one packed `[W, N, 3, H, D]` and the gradient one of `[W, N, H, D]`, as in networks.
    """

    q: Float[Tensor, "W H N D"]
    k: Float[Tensor, "W H N D"]
    v: Float[Tensor, "W H N D"]
    grad_out: Float[Tensor, "W H N D"]
    kept: KeyDictionary
    bias: Bias | None
    scale: float
    weighting: Weighting

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """W, H, N, D."""
        return tuple(self.q.shape)  # type: ignore[return-value]

    def part(self, begin: int, end: int) -> Workload:
        """Return some of the windows, as views."""
        some = slice(begin, end)
        sliced = {field.name: _of_windows(getattr(self.kept, field.name), some) for field in fields(self.kept)}
        return replace(
            self,
            q=self.q[some],
            k=self.k[some],
            v=self.v[some],
            grad_out=self.grad_out[some],
            kept=KeyDictionary(**sliced),
        )

    def parts(self, at_once: int) -> Iterator[Workload]:
        """Cut into parts of at most so many windows."""
        for begin in range(0, self.shape[0], at_once):
            yield self.part(begin, begin + at_once)

    def problem(self, trial: Trial, *, needs_grad: bool) -> Problem:
        """Describe it to a backend that has to judge it."""
        count, heads, tokens, head_dim = self.shape
        return Problem(
            device=trial.cell.device,
            dtype=trial.cell.dtype,
            windows=count,
            heads=heads,
            tokens=tokens,
            top_k=self.kept.top_k,
            kept_pairs=int(self.kept.counts.sum()),
            head_dim=head_dim,
            has_bias=self.bias is not None,
            weighting=self.weighting.kind,
            needs_grad=needs_grad,
        )


def draw(trial: Trial, variant: Variant, forms: frozenset[Form]) -> Workload:
    """Make the workload of a cell, seeded by it. The dictionary has the packings that were asked for."""
    features = stage_input(trial)
    count, tokens, _ = features.shape
    # By torch, which defines what is kept, whichever way is faster here.
    keys = dictionary.build(
        features, top_k_of(trial), forms=forms, similarity=trial.cell.similarity or "dot", selector="torch"
    )
    device, dtype = features.device, features.dtype
    generator = torch.Generator(device).manual_seed(trial.cell.seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device, dtype=torch.float32).to(dtype)

    q, k, v = normal(count, tokens, 3, HEADS, HEAD_DIM).permute(2, 0, 3, 1, 4)
    side = math.isqrt(tokens)
    # Learned tables are float32 also where networks compute in less; these values are exact in either.
    table = (normal((2 * side - 1) ** 2, HEADS) / 2).float() if variant == "bias" else None
    return Workload(
        q=q,
        k=k,
        v=v,
        grad_out=normal(count, tokens, HEADS, HEAD_DIM).transpose(1, 2),
        kept=keys,
        bias=None if table is None else Bias(table, relative_index(side, device)),
        scale=HEAD_DIM**-0.5,
        weighting=SPARSE if variant == "sparse" else SOFTMAX,
    )


@torch.no_grad()
def stage_input(trial: Trial) -> Float[Tensor, "W N C"]:
    """Return the windows that the network's first stage makes its dictionary from, for the cell's images in turn."""
    cell = trial.cell
    chosen = [trial.pairs[i % len(trial.pairs)].degraded for i in range(cell.batch)]
    images = torch.from_numpy(np.stack(chosen)).permute(0, 3, 1, 2).to(cell.device, getattr(torch, cell.dtype))
    features, window = _at_the_first_stage(trial.network, images)
    return windows.partition(features, window).contiguous()


class _Reached(Exception):
    """The pass has come to where it was to end."""


def _at_the_first_stage(network: nn.Module, images: Float[Tensor, "B c h w"]) -> tuple[Float[Tensor, "B H W C"], int]:
    found: list[Any] = []

    def stop(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        found.extend(arguments[:2])
        raise _Reached

    handle = network.get_submodule("stages.0").register_forward_pre_hook(stop)
    with suppress(_Reached):
        network(images)
    handle.remove()
    features, window = found
    return features, window


def top_k_of(trial: Trial) -> int:
    """Return the keys that each row keeps."""
    assert trial.cell.top_k is not None, "a metric of this package refuses cells without a k"
    return trial.cell.top_k


def _of_windows(value: Any, some: slice) -> Any:
    if isinstance(value, KeyUnion):
        return KeyUnion(value.keys[some], value.counts[some], value.bits[some])
    return value[some] if isinstance(value, Tensor) else value
