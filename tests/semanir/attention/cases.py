"""Attention problems that break careless code, shared by the tests of every backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semanir.attention import dictionary
from semanir.attention.backends.triton import launch
from semanir.attention.dictionary import KeyDictionary
from semanir.attention.position import relative_index
from semanir.attention.problem import Form
from semanir.attention.regions import region_ids
from semanir.attention.signature import SOFTMAX, Bias, Weighting

DEVICE = torch.device("cuda" if torch.cuda.is_available() and not launch.interpreted() else "cpu")
"""Where the kernels run: on a GPU, or in the interpreter."""
FORMS: frozenset[Form] = frozenset({"boolean", "additive", "indices", "bits", "column_bits"})


@dataclass(frozen=True)
class Case:
    """One attention call, named by what is awkward about it."""

    name: str
    window: int = 8
    top_k: int | None = 16
    windows: int = 3
    heads: int = 2
    head_dim: int = 16
    shifted: bool = False
    ties: bool = False
    exclude_self: bool = False
    bias: bool = True
    packed: bool = False
    weighting: Weighting = SOFTMAX

    def kept(self) -> KeyDictionary | None:
        """Build the dictionary, or None for every key."""
        if self.top_k is None:
            return None
        regions = None
        if self.shifted:
            regions = torch.from_numpy(
                region_ids(2 * self.window, 2 * self.window, self.window, self.window // 2).copy()
            ).to(DEVICE)
        features = torch.randn(self.windows, self.window**2, 12, generator=torch.Generator().manual_seed(1))
        return dictionary.build(
            (features.round() if self.ties else features).to(DEVICE),
            self.top_k,
            forms=FORMS,
            regions=regions,
            exclude_self=self.exclude_self,
        )

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Draw q, k and v."""
        generator = torch.Generator().manual_seed(2)
        shape = (self.windows, self.window**2, 3, self.heads, self.head_dim)
        q, k, v = torch.randn(shape, generator=generator).to(DEVICE).permute(2, 0, 3, 1, 4)
        return (q, k, v) if self.packed else (q.contiguous(), k.contiguous(), v.contiguous())

    def options(self) -> dict[str, Any]:
        """Return bias, per-head scale and weighting."""
        generator = torch.Generator().manual_seed(3)
        table = torch.randn((2 * self.window - 1) ** 2, self.heads, generator=generator)
        bias = Bias(table.to(DEVICE), relative_index(self.window, DEVICE)) if self.bias else None
        scale = 0.1 + 0.2 * torch.rand(self.heads, generator=generator).to(DEVICE)
        return {"bias": bias, "scale": scale, "weighting": self.weighting}


CASES = [
    Case("plain"),
    Case("without_bias", bias=False),
    Case("one_key", top_k=1),
    Case("every_key_by_dictionary", top_k=64),
    Case("every_key_without_dictionary", top_k=None),
    Case("head_width_30", head_dim=30),
    Case("packed_qkv", packed=True, head_dim=30),
    Case("tokens_no_power_of_two", window=7, top_k=10),
    Case("tokens_below_a_tile", window=3, top_k=4),
    Case("shifted_rows_admit_fewer_than_k", windows=4, shifted=True, top_k=40),
    Case("ties", ties=True, top_k=9),
    Case("without_itself", exclude_self=True, top_k=5),
    Case("window_16", window=16, top_k=50, windows=1, heads=1),
    Case("one_window_one_head", windows=1, heads=1),
    Case("sparse_weighting", weighting=Weighting(0.6, 0.4)),
    Case("sparse_weighting_shifted", weighting=Weighting(0.3, 0.7), windows=4, shifted=True, top_k=40),
]
