"""What two or more networks share: keys of a map's windows, the reconstruction head, how linear layers start."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from semanir.attention import dictionary
from semanir.attention.dictionary import KeyDictionary
from semanir.attention.problem import Form, Similarity
from semanir.attention.regions import region_ids


def keys_of_map(
    tokens: Float[Tensor, "W N C"],
    top_k: int | None,
    *,
    height: int,
    width: int,
    window: int,
    shift: int,
    forms: frozenset[Form],
    similarity: Similarity = "dot",
    exclude_self: bool = False,
) -> KeyDictionary | None:
    """Find the keys that each token of a partitioned `height x width` map keeps: `top_k`, or all (None).

    In shifted windows only pairs of one region are admissible. None is returned where every pair is kept: whole
    windows without a shift. With `top_k = None` nothing is chosen, and any features of that shape will do.
    """
    count = window**2
    if not shift and (top_k is None or top_k == count):
        return None
    regions = None
    if shift:
        ids = region_ids(height, width, window, shift)
        regions = torch.from_numpy(ids.copy()).to(tokens.device)
    low_precision = torch.is_autocast_enabled(tokens.device.type)
    return dictionary.build(
        tokens,
        top_k or count,
        forms=forms,
        similarity=similarity,
        exclude_self=exclude_self,
        regions=regions,
        dtype=torch.get_autocast_dtype(tokens.device.type) if low_precision else None,
    )


class Tail(nn.Module):
    """Features -> image, at the target's size. The last convolution starts at zero where a residual is added."""

    def __init__(
        self,
        width: int,
        channels: int,
        *,
        scale: int,
        fold: int,
        upsampler: Literal["direct", "conv"],
        residual: bool,
    ) -> None:
        """Make a head for `width` features.

        `direct`: one convolution and a pixel shuffle by `fold * scale`; `conv`: 64 channels, shuffles by 2 or 3,
        last convolution (SwinIR's classical super-resolution).
        """
        super().__init__()
        self.shuffle = 1
        if upsampler == "direct":
            self.shuffle = fold * scale
            self.before = nn.Sequential()
            self.last = nn.Conv2d(width, channels * self.shuffle**2, 3, padding=1)
        else:
            steps: list[nn.Module] = [nn.Conv2d(width, 64, 3, padding=1), nn.LeakyReLU()]
            for factor in (2, 2) if scale == 4 else (scale,):
                steps += [nn.Conv2d(64, 64 * factor**2, 3, padding=1), nn.PixelShuffle(factor)]
            self.before = nn.Sequential(*steps)
            self.last = nn.Conv2d(64, channels, 3, padding=1)
        if residual:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias) if self.last.bias is not None else None

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B c H W"]:
        """Reconstruct."""
        return functional.pixel_shuffle(self.last(self.before(features)), self.shuffle)


def initialise(linear: nn.Linear) -> None:
    """Start a linear layer as the transformers of this field do: normal of deviation 0.02, cut at two, zero bias."""
    nn.init.trunc_normal_(linear.weight, std=0.02)
    nn.init.zeros_(linear.bias)
