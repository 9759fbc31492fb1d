"""The relative position bias: a learned table, or a small network that produces one for any window."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from semanir.attention.signature import Bias


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)  # a cached tensor must serve training too, whoever asks for it first
def relative_index(window: int, device: torch.device) -> Int[Tensor, "N N"]:
    """Row of the table for each (query, key) pair: `(dy + w - 1) * (2w - 1) + dx + w - 1`, query minus key."""
    axis = torch.arange(window, device=device)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    dy = y.flatten()[:, None] - y.flatten()[None, :]
    dx = x.flatten()[:, None] - x.flatten()[None, :]
    return (dy + window - 1) * (2 * window - 1) + dx + window - 1


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def log_offsets(window: int, device: torch.device) -> Float[Tensor, "R 2"]:
    """Offsets of the table's rows, scaled to -8..8 and log-spaced: `sign(x) log2(|x| + 1) / log2(8)` (Swin V2, eq. 4).

    The scaling makes a bias that was learned in one window usable in another.
    """
    axis = torch.arange(1 - window, window, device=device, dtype=torch.float32) * (8 / max(window - 1, 1))
    axis = axis.sign() * torch.log2(axis.abs() + 1) / 3
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).view(-1, 2)


class ContinuousBias(nn.Module):
    """The table from a two-layer network over log-spaced offsets: `16 sigmoid(MLP(dy, dx))` (Swin V2, eq. 3).

    2 -> hidden -> heads without an output bias: its parameters do not depend on the window (METHODS of
    SemanIR's published counts).
    """

    def __init__(self, heads: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, heads, bias=False))

    def forward(self, window: int) -> Bias:
        """Evaluate the table for a window of any side."""
        like = next(self.mlp.parameters())
        table = 16 * torch.sigmoid(self.mlp(log_offsets(window, like.device).to(like.dtype)))
        return Bias(table, relative_index(window, like.device))


class TableBias(nn.Module):
    """A learned table of `(2w - 1)^2` offsets for one window side (Swin)."""

    def __init__(self, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, window: int) -> Bias:
        """Return the table. Raises `ValueError` for a window that it was not made for."""
        if window != self.window:
            raise ValueError(f"the bias table was made for window {self.window} and cannot serve window {window}")
        return Bias(self.table, relative_index(window, self.table.device))
