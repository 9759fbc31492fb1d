"""SemanIR's modules. Each stage builds its dictionary once and hands it to all of its layers.

Shapes: B images, C channels, H x W tokens of the map; W windows of N tokens after partition.
"""

from __future__ import annotations

import math
from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from semanir.attention import windows
from semanir.attention.dictionary import KeyDictionary
from semanir.attention.position import ContinuousBias, TableBias
from semanir.attention.problem import Form
from semanir.attention.signature import Attend
from semanir.layers import Tail, initialise, keys_of_map
from semanir.model import Request
from semanir.models.semanir import (
    Configuration,
    configuration_of,
    padded_side,
    stage_levels,
    stage_shifts,
    stage_widths,
    stem,
)


def build(request: Request, attend: Attend | None, forms: frozenset[Form]) -> SemanIR:
    """Build the network of a request, with the attention it is given. Raises `ValueError` without one."""
    if attend is None:
        raise ValueError("SemanIR cannot run without attention; name a backend")
    return SemanIR(configuration_of(request), request, attend=attend, forms=forms)


class SemanIR(nn.Module):
    """The whole network: `B x channels x h x w` in units of one -> the restored image, not clipped.

    `window` and `top_k` may be changed between calls: with the continuous bias no parameter depends on them.
    """

    def __init__(
        self, configuration: Configuration, request: Request, *, attend: Attend, forms: frozenset[Form]
    ) -> None:
        super().__init__()
        self.configuration = configuration
        self.scale = request.scale
        self.window = request.window or configuration.window
        self.top_k = request.top_k
        self.fold = stem(configuration, request.scale)
        widths = stage_widths(configuration)
        self.first = nn.Conv2d(request.channels * self.fold**2, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(
            Stage(
                configuration,
                index,
                width,
                window=self.window,
                per_layer=request.sharing == "layer",
                attend=attend,
                forms=forms,
            )
            for index, width in enumerate(widths)
        )
        self.levels = LevelChanges(configuration) if configuration.architecture == "unet" else None
        norm = nn.LayerNorm if configuration.body_norm else nn.Identity
        self.entry, self.exit = norm(widths[0]), norm(widths[-1])
        self.body = nn.Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.tail = Tail(
            widths[-1],
            request.channels,
            scale=request.scale,
            fold=self.fold,
            upsampler=configuration.upsampler,
            residual=configuration.image_residual,
        )

    def forward(self, image: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C H W"]:
        """Restore."""
        height, width = image.shape[-2:]
        multiple = padded_side(self.configuration, 1, self.window, self.scale)
        padded = windows.pad_to_multiple(image, multiple)
        shallow = self.first(functional.pixel_unshuffle(padded - 0.5, self.fold))
        deep = self.exit(self._stages(self.entry(shallow.permute(0, 2, 3, 1))))
        deep = self.body(deep.permute(0, 3, 1, 2))
        residual = shallow if self.levels is None else 0
        restored = self.tail(deep + residual)[..., : height * self.scale, : width * self.scale]
        if not self.configuration.image_residual:
            return restored + 0.5
        if self.scale > 1:
            image = functional.interpolate(image, scale_factor=self.scale, mode="bicubic", align_corners=False)
        return image + restored

    def _stages(self, features: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H W D"]:
        if self.levels is None:
            for stage in self.stages:
                features = stage(features, self.window, self.top_k)
            return features
        skips: list[Tensor] = []
        for stage, level, after in zip(self.stages, self.levels.order, (*self.levels.order[1:], None), strict=True):
            features = stage(features, self.window, self.top_k)
            if after is None or after == level:
                continue
            if after > level:
                skips.append(features)
                features = self.levels.down(features, level)
            else:
                features = self.levels.up(features, skips.pop(), after)
        return features


class Stage(nn.Module):
    """Dictionary once, then layers that all attend by it, then a 3x3 convolution, then the stage input added."""

    def __init__(
        self,
        configuration: Configuration,
        index: int,
        width: int,
        *,
        window: int,
        per_layer: bool,
        attend: Attend,
        forms: frozenset[Form],
    ) -> None:
        super().__init__()
        self.configuration = configuration
        self.index = index
        self.per_layer = per_layer
        self.forms = forms
        self.layers = nn.ModuleList(
            Layer(configuration, width, window=window, attend=attend) for _ in range(configuration.stages[index])
        )
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Float[Tensor, "B H W C"], window: int, top_k: int | None) -> Float[Tensor, "B H W C"]:
        """Run the stage on windows of side `window`, each query keeping `top_k` keys (None: all)."""
        _, height, width, _ = features.shape
        shifts = stage_shifts(self.configuration, self.index, height=height, width=width, window=window)
        dictionaries = {
            shift: self._dictionary(windows.partition(features, window, shift), height, width, window, shift, top_k)
            for shift in (() if self.per_layer else sorted(set(shifts)))
        }
        current = features
        for shift, run in groupby(zip(shifts, self.layers, strict=True), key=lambda pair: pair[0]):
            tokens = windows.partition(current, window, shift)
            for _, layer in run:
                kept = dictionaries.get(shift)
                if self.per_layer:
                    kept = self._dictionary(tokens, height, width, window, shift, top_k)
                tokens = layer(tokens, kept, window)
            current = windows.merge(tokens, height, width, window, shift)
        return self.conv(current.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) + features

    def _dictionary(
        self,
        tokens: Float[Tensor, "W N C"],
        height: int,
        width: int,
        window: int,
        shift: int,
        top_k: int | None,
    ) -> KeyDictionary | None:
        return keys_of_map(
            tokens,
            top_k,
            height=height,
            width=width,
            window=window,
            shift=shift,
            forms=self.forms,
            similarity=self.configuration.similarity,
            exclude_self=self.configuration.exclude_self,
        )


class Layer(nn.Module):
    """Key-semantic attention and a two-layer perceptron, each with LayerNorm and a residual."""

    def __init__(self, configuration: Configuration, width: int, *, window: int, attend: Attend) -> None:
        super().__init__()
        self.pre_norm = configuration.norm == "pre"
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = KeySemanticAttention(configuration, width, window=window, attend=attend)
        hidden = configuration.mlp_ratio * width
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                initialise(module)

    def forward(self, x: Float[Tensor, "W N C"], kept: KeyDictionary | None, window: int) -> Float[Tensor, "W N C"]:
        """Run the layer on the tokens of all windows."""
        if self.pre_norm:
            x = x + self.attention(self.norm1(x), kept, window)
            return x + self.mlp(self.norm2(x))
        x = x + self.norm1(self.attention(x, kept, window))
        return x + self.norm2(self.mlp(x))


class KeySemanticAttention(nn.Module):
    """Projections around the attention that the network was given."""

    def __init__(self, configuration: Configuration, width: int, *, window: int, attend: Attend) -> None:
        super().__init__()
        self.heads = configuration.heads
        self.attend = attend
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.bias: nn.Module | None
        self.log_temperature: nn.Parameter | None = None
        match configuration.score:
            case "cosine_cpb":
                self.bias = ContinuousBias(self.heads, configuration.bias_hidden)
                self.log_temperature = nn.Parameter(torch.full((self.heads,), math.log(10.0)))
            case "dot_rpb":
                self.bias = TableBias(self.heads, window)
            case "dot_none":
                self.bias = None
        initialise(self.qkv)
        initialise(self.project)

    def forward(self, x: Float[Tensor, "W N C"], kept: KeyDictionary | None, window: int) -> Float[Tensor, "W N C"]:
        """Attend within windows; every query sees its kept keys alone."""
        # One copy here instead of strided passes by everything that follows.
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).contiguous()
        scale: float | Tensor = q.shape[-1] ** -0.5
        if self.log_temperature is not None:
            q, k = functional.normalize(q, dim=-1), functional.normalize(k, dim=-1)
            scale = self.log_temperature.clamp(max=math.log(100.0)).exp()
        bias = None if self.bias is None else self.bias(window)
        out = self.attend(q, k, v, kept, bias=bias, scale=scale)
        return self.project(out.transpose(1, 2).flatten(2))


class LevelChanges(nn.Module):
    """What joins the levels of the U: folding down, unfolding up, and skips by concatenation."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        self.order = stage_levels(configuration)
        fine = [configuration.width << level for level in range(configuration.levels - 1)]
        self.downs = nn.ModuleList(nn.Conv2d(width, width // 2, 3, padding=1, bias=False) for width in fine)
        self.ups = nn.ModuleList(nn.Conv2d(2 * width, 4 * width, 3, padding=1, bias=False) for width in fine)
        # The finest level keeps both halves (METHODS: no reduction at full resolution).
        self.joins = nn.ModuleList(
            nn.Conv2d(2 * width, width, 1) if level else nn.Identity() for level, width in enumerate(fine)
        )

    def down(self, features: Float[Tensor, "B H W C"], level: int) -> Float[Tensor, "B h w c"]:
        """Go from `level` to the next coarser one: half the side, twice the channels."""
        folded = functional.pixel_unshuffle(self.downs[level](features.permute(0, 3, 1, 2)), 2)
        return folded.permute(0, 2, 3, 1)

    def up(
        self, features: Float[Tensor, "B h w c"], skip: Float[Tensor, "B H W C"], level: int
    ) -> Float[Tensor, "B H W D"]:
        """Come back to `level`, beside what the way down left there."""
        unfolded = functional.pixel_shuffle(self.ups[level](features.permute(0, 3, 1, 2)), 2)
        joined = self.joins[level](torch.cat([unfolded, skip.permute(0, 3, 1, 2)], dim=1))
        return joined.permute(0, 2, 3, 1)
