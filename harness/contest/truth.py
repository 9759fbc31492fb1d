"""What is right, for all windows: dense float64 in plain torch, whose gradients are torch's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from harness.contest.workload import Workload
from semanir.attention.signature import Weighting

ELEMENTS = 2**27
"""Pairs of queries and keys, over all heads, that are computed at a time: eight tensors of 1 GiB."""


def attend(
    workload: Workload,
    q: Float64[Tensor, "W H N D"],
    k: Float64[Tensor, "W H N D"],
    v: Float64[Tensor, "W H N D"],
    table: Float64[Tensor, "R H"] | None,
) -> Float64[Tensor, "W H N D"]:
    """Compute what `semanir.attention.reference` defines, all queries at once: it would take hours for a map."""
    scores_WHNN = workload.scale * (q @ k.mT)
    if table is not None and workload.bias is not None:
        scores_WHNN = scores_WHNN + table[workload.bias.index].permute(2, 0, 1)
    dropped_W1NN = ~workload.kept.form("boolean").unsqueeze(1)
    return _weights(scores_WHNN, dropped_W1NN, workload.weighting) @ v


def _weights(scores: Tensor, dropped: Tensor, weighting: Weighting) -> Tensor:
    weights = scores.masked_fill(dropped, float("-inf")).softmax(-1)
    if weighting.relu_squared is None:
        return weights
    squares = torch.relu(scores).square().masked_fill(dropped, 0.0)
    return weighting.softmax * weights + weighting.relu_squared * squares


def expected(workload: Workload) -> Mapping[str, Tensor]:
    """Return the output `out`, and the gradients of `q`, `k`, `v` and, where there is one, of the bias `table`."""
    _, heads, tokens, _ = workload.shape
    at_once = max(1, ELEMENTS // (heads * tokens**2))
    of_parts = [_of_part(part) for part in workload.parts(at_once)]
    return {name: joined(name, [part[name] for part in of_parts]) for name in of_parts[0]}


def _of_part(part: Workload) -> dict[str, Tensor]:
    leaves = {name: getattr(part, name).double().requires_grad_() for name in ("q", "k", "v")}
    table = None if part.bias is None else part.bias.table.double().requires_grad_()
    learned = leaves if table is None else leaves | {"table": table}
    out = attend(part, **leaves, table=table)
    gradients = torch.autograd.grad(out, list(learned.values()), part.grad_out.double())
    return {"out": out.detach(), **dict(zip(learned, gradients, strict=True))}


def joined(name: str, parts: Sequence[Tensor]) -> Tensor:
    """Windows have outputs of their own, and share the table."""
    return torch.stack(list(parts)).sum(0) if name == "table" else torch.cat(list(parts))


def error(found: Tensor, true: Tensor, *, shared: bool) -> float:
    """Return ||found - true|| / ||true||, of the worst window where the tensor is not shared by all; NaN for any."""
    difference, size = (found.double() - true), true
    if not shared:
        difference, size = difference.flatten(1), size.flatten(1)
        return float((difference.norm(dim=1) / size.norm(dim=1)).max())
    return float(difference.norm() / size.norm())
