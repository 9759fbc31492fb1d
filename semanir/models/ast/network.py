"""AST's modules: a U whose encoder refines features and whose bottleneck and decoder attend as well.

Shapes: B images, C channels, H x W tokens of the map; W windows of N tokens after partition.
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from semanir.attention import windows
from semanir.attention.dictionary import KeyDictionary
from semanir.attention.position import TableBias
from semanir.attention.problem import Form
from semanir.attention.signature import SOFTMAX, Attend, Weighting
from semanir.checkpoints import check, read_state
from semanir.layers import initialise, keys_of_map
from semanir.model import Request
from semanir.models.ast import CONFIGURATIONS, Configuration, StageShape, drop_path_rates, stage_shapes
from semanir.models.ast.official import from_official


def build(request: Request, attend: Attend | None, forms: frozenset[Form]) -> AST:
    """Build the network of a request, with the attention it is given. Raises `ValueError` without one."""
    if attend is None:
        raise ValueError("AST cannot run without attention; name a backend")
    return AST(CONFIGURATIONS[request.configuration], request.channels, attend=attend, forms=forms)


def read(network: nn.Module, file: Path) -> None:
    """Load a checkpoint as the authors released it. Raises `CheckpointError`, and then changes nothing."""
    state = from_official(read_state(file), file)
    check(network.state_dict(), state, file)
    network.load_state_dict(state)


class AST(nn.Module):
    """The whole network: `B x channels x h x w` in units of one -> the restored image, not clipped.

    Any size: it is reflected up to whole windows of the coarsest level, and the result is cropped back.
    """

    def __init__(self, configuration: Configuration, channels: int, *, attend: Attend, forms: frozenset[Form]) -> None:
        super().__init__()
        self.configuration = configuration
        shapes, rates = stage_shapes(configuration), drop_path_rates(configuration)
        stages = [
            Stage(configuration, shape, rate, attend=attend, forms=forms)
            for shape, rate in zip(shapes, rates, strict=True)
        ]
        coarsest = configuration.levels - 1
        fine = [configuration.width << level for level in range(coarsest)]
        self.first = nn.Conv2d(channels, configuration.width, 3, padding=1)
        self.encoders = nn.ModuleList(stages[:coarsest])
        self.downs = nn.ModuleList(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1) for width in fine)
        self.bottleneck = stages[coarsest]
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(coarse.width, width, 2, stride=2)
            for coarse, width in zip(shapes[coarsest:-1], reversed(fine), strict=True)
        )
        self.decoders = nn.ModuleList(stages[coarsest + 1 :])
        self.last = nn.Conv2d(shapes[-1].width, channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)  # an untrained restoration is its input
        nn.init.zeros_(self.last.bias) if self.last.bias is not None else None

    def forward(self, image: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Restore."""
        height, width = image.shape[-2:]
        padded = windows.pad_to_multiple(image, self.configuration.multiple)
        features = functional.leaky_relu(self.first(padded), 0.01).permute(0, 2, 3, 1)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            skips.append(encoder(features))
            features = _convolve(down, skips[-1])
        features = self.bottleneck(features)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            features = decoder(torch.cat([_convolve(up, features), skips.pop()], dim=-1))
        return image + self.last(features.permute(0, 3, 1, 2))[..., :height, :width]


class Stage(nn.Module):
    """Blocks at one resolution; every second one has its windows shifted by half."""

    def __init__(
        self,
        configuration: Configuration,
        shape: StageShape,
        drop_paths: tuple[float, ...],
        *,
        attend: Attend,
        forms: frozenset[Form],
    ) -> None:
        super().__init__()
        self.shifts = shape.shifts if shape.attends else (0,) * shape.blocks
        self.window = configuration.window
        self.forms = forms
        self.blocks = nn.ModuleList(Block(configuration, shape, rate, attend=attend) for rate in drop_paths)

    def forward(self, features: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H W C"]:
        """Run the stage. Pairs across the borders of a shifted window's regions are no keys, in neither branch."""
        height, width = features.shape[1:3]
        one_channel = windows.partition(features[..., :1], self.window)  # nothing is chosen by content
        kept = {
            shift: keys_of_map(
                one_channel, None, height=height, width=width, window=self.window, shift=shift, forms=self.forms
            )
            for shift in sorted(set(self.shifts))
        }
        for shift, block in zip(self.shifts, self.blocks, strict=True):
            features = block(features, kept[shift], shift)
        return features


class Block(nn.Module):
    """`u = x + ASSA(LN(x))`, left out where the stage does not attend; then `u + FRFN(LN(u))`."""

    def __init__(self, configuration: Configuration, shape: StageShape, drop_path: float, *, attend: Attend) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(shape.width) if shape.attends else None
        self.attention = AdaptiveSparseAttention(configuration, shape.width, attend=attend) if shape.attends else None
        self.norm2 = nn.LayerNorm(shape.width)
        hidden = configuration.expansion * shape.width
        self.refine: nn.Module
        match configuration.feed_forward:
            case "frfn":
                self.refine = FeatureRefinement(shape.width, hidden)
            case "mlp":
                self.refine = nn.Sequential(nn.Linear(shape.width, hidden), nn.GELU(), nn.Linear(hidden, shape.width))
        for module in self.refine.modules():
            if isinstance(module, nn.Linear):
                initialise(module)

    def forward(self, x: Float[Tensor, "B H W C"], kept: KeyDictionary | None, shift: int) -> Float[Tensor, "B H W C"]:
        """Run the block on a map."""
        if self.attention is not None and self.norm1 is not None:
            x = x + self._dropped(self.attention(self.norm1(x), kept, shift))
        return x + self._dropped(self.refine(self.norm2(x)))

    def _dropped(self, branch: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H W C"]:
        """Leave the branch out for whole images at random, in training; the others are scaled up in return."""
        if not self.training or not self.drop_path:
            return branch
        keep = 1 - self.drop_path
        drawn = branch.new_empty(branch.shape[0], 1, 1, 1).bernoulli_(keep)
        return branch * (drawn / keep)


class AdaptiveSparseAttention(nn.Module):
    """Window attention weighted by `a1 softmax(Z) + a2 relu(Z)^2`, `(a1, a2) = softmax(g)` (eq. 5-7)."""

    def __init__(self, configuration: Configuration, width: int, *, attend: Attend) -> None:
        super().__init__()
        self.window = configuration.window
        self.heads = width // configuration.head_dim
        self.attend = attend
        self.kind = configuration.attention
        self.bias = TableBias(self.heads, self.window)
        self.branches = nn.Parameter(torch.ones(2)) if self.kind == "assa" else None
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, width)
        for linear in (self.query, self.key_value, self.project):
            initialise(linear)

    def forward(self, x: Float[Tensor, "B H W C"], kept: KeyDictionary | None, shift: int) -> Float[Tensor, "B H W C"]:
        """Attend within windows, rolled by `shift`."""
        height, width = x.shape[1:3]
        tokens = windows.partition(x, self.window, shift)
        q = self.query(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(tokens).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out = self.attend(
            q, k, v, kept, bias=self.bias(self.window), scale=q.shape[-1] ** -0.5, weighting=self._weighting()
        )
        return windows.merge(self.project(out.transpose(1, 2).flatten(2)), height, width, self.window, shift)

    def _weighting(self) -> Weighting:
        match self.kind:
            case "dense":
                return SOFTMAX
            case "sparse":
                return Weighting(softmax=0.0, relu_squared=1.0)
            case "assa":
                assert self.branches is not None
                a1, a2 = self.branches.softmax(0)
                return Weighting(softmax=a1, relu_squared=a2)


class FeatureRefinement(nn.Module):
    """FRFN: a 3x3 convolution enhances a quarter of the channels, then one half of the hidden ones gates the other."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.touched = width // 4
        self.enhance = nn.Conv2d(self.touched, self.touched, 3, padding=1, bias=False)
        self.widen = nn.Linear(width, 2 * hidden)
        self.gate = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.narrow = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H W C"]:
        """Refine (eq. 8-10)."""
        quarter, rest = x[..., : self.touched], x[..., self.touched :]
        x = torch.cat([_convolve(self.enhance, quarter), rest], dim=-1)
        u, g = functional.gelu(self.widen(x)).chunk(2, dim=-1)
        return self.narrow(functional.gelu(_convolve(self.gate, u)) * g)


def _convolve(convolution: nn.Module, features: Float[Tensor, "B H W C"]) -> Float[Tensor, "B h w c"]:
    """Run a convolution on a map that holds its channels last."""
    return convolution(features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
