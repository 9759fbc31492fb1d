"""AST (Adaptive Sparse Transformer, CVPR 2024): its configurations, attention problems and counts, without torch.

A U of five levels: the encoder has no attention, bottleneck and decoder have it in windows of 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from semanir.attention.problem import Problem
from semanir.attention.regions import kept_pairs
from semanir.model import Model, Request

AttentionKind = Literal["assa", "dense", "sparse"]
FeedForward = Literal["frfn", "mlp"]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One network. A level has half the side and twice the channels of the one before it."""

    width: int
    """Channels at full resolution, a multiple of 4; decoder stages hold twice their level's, for the skip."""
    head_dim: int
    """Both published networks have heads as wide as `width`: 16, 16, 8, 4, 2 of them from the bottleneck on."""
    blocks: tuple[int, ...]
    """Blocks of each stage, in order: encoder stages, bottleneck, decoder stages (an odd number)."""
    window: int = 8
    train_size: int = 128
    """Side in pixels that the official constructor is told (`train_ps`), whatever size is restored later. A stage
    whose map is a single window at this size never shifts its windows: at 128 the bottleneck does not, from 256
    on it does. Weights fit either way and the outputs differ; the official test scripts say 128."""
    attention: AttentionKind = "assa"
    """`assa`: `a1 softmax(Z) + a2 relu(Z)^2` with learned factors (eq. 5-7); or one of its branches alone."""
    feed_forward: FeedForward = "frfn"
    """`frfn`: the feature refinement network (eq. 8-10); `mlp`: two linear layers of the same hidden width."""
    expansion: int = 4
    """Hidden channels of the feed-forward part over its channels."""
    drop_path: float = 0.0
    """Highest rate of stochastic depth, in training alone."""

    def __post_init__(self) -> None:
        if len(self.blocks) % 2 == 0:
            raise ValueError(f"blocks {self.blocks}: as many decoder as encoder stages around one bottleneck")
        if self.train_size < self.multiple:
            raise ValueError(
                f"train_size {self.train_size}: the coarsest map would be smaller than a window of {self.window}; "
                f"{self.multiple} or more would do"
            )

    @property
    def levels(self) -> int:
        """Resolutions of the feature map; the coarsest is the bottleneck's."""
        return len(self.blocks) // 2 + 1

    @property
    def multiple(self) -> int:
        """The image is padded to a multiple of this side in pixels: whole windows at the coarsest level."""
        return self.window * 2 ** (self.levels - 1)


def _variants(name: str, base: Configuration) -> dict[str, Configuration]:
    """Return a configuration and its ablations: one thing changed each."""
    return {
        name: base,
        f"{name}-dense": replace(base, attention="dense"),
        f"{name}-sparse": replace(base, attention="sparse"),
        f"{name}-mlp": replace(base, feed_forward="mlp"),
    }


_PEER = Configuration(width=16, head_dim=16, blocks=(2, 2, 1, 2, 2))
_B = Configuration(width=32, head_dim=32, blocks=(1, 2, 8, 8, 2, 8, 8, 2, 1), drop_path=0.1)
_T = Configuration(width=16, head_dim=16, blocks=(2,) * 9, drop_path=0.1)

CONFIGURATIONS = {
    # Ours: small enough to train on two CPU cores, and for tests.
    **_variants("small", Configuration(width=16, head_dim=16, blocks=(1, 2, 2, 2, 1))),
    **_variants("nano", Configuration(width=8, head_dim=8, blocks=(1, 2, 2), train_size=32)),
    # As large as semanir/small, to compare their attention: 346,539 parameters for gray images.
    "peer": _PEER,
    "peer-dense": replace(_PEER, attention="dense"),
    # Published: 65,362,455 and 6,645,347 parameters.
    **_variants("B", _B),
    **_variants("T", _T),
    # The same weights, built as for patches of 256 and more: the bottleneck shifts its windows as well.
    "B-256": replace(_B, train_size=256),
    "T-256": replace(_T, train_size=256),
}


@dataclass(frozen=True)
class StageShape:
    """One stage of the U. Without attention it has no shifts."""

    level: int
    """0 is full resolution."""
    width: int
    blocks: int
    attends: bool
    shifts: tuple[int, ...]
    """Window shift of each block, in tokens."""


def stage_shapes(configuration: Configuration) -> tuple[StageShape, ...]:
    """Return all stages in the order in which they run."""
    coarsest = configuration.levels - 1
    shapes = []
    for index, blocks in enumerate(configuration.blocks):
        level = coarsest - abs(index - coarsest)
        decodes = index > coarsest
        # Shifting the only window of a map would cut apart what it already holds (as Swin) - judged at train_size.
        single = configuration.train_size >> level <= configuration.window
        shift = 0 if single else configuration.window // 2
        shapes.append(
            StageShape(
                level=level,
                width=(configuration.width << level) * (2 if decodes else 1),
                blocks=blocks,
                attends=index >= coarsest,
                shifts=tuple(shift * (block % 2) for block in range(blocks)),
            )
        )
    return tuple(shapes)


def padded_side(configuration: Configuration, side: int) -> int:
    """Side in pixels after padding."""
    return -(-side // configuration.multiple) * configuration.multiple


def drop_path_rates(configuration: Configuration) -> tuple[tuple[float, ...], ...]:
    """Return the rate of each block of each stage.

    It rises evenly over the encoder to its highest value, which the bottleneck keeps, and falls over the decoder:
    the source says "up to 0.1" and no more.
    """
    coarsest = configuration.levels - 1
    outside = sum(configuration.blocks[:coarsest]), sum(configuration.blocks[coarsest + 1 :])
    rising, falling = ([configuration.drop_path * i / max(n - 1, 1) for i in range(n)] for n in outside)
    every = iter([*rising, *[configuration.drop_path] * configuration.blocks[coarsest], *falling[::-1]])
    return tuple(tuple(next(every) for _ in range(blocks)) for blocks in configuration.blocks)


def _unsupported(request: Request) -> str | None:
    window = CONFIGURATIONS[request.configuration].window
    if request.scale != 1:
        return f"ast keeps the size of its input and has no head for scale {request.scale}; semanir and swinir have"
    if request.window not in (None, window):
        return f"ast's position tables are made for window {window}, not {request.window}; leave the window out"
    if request.top_k not in (None, window**2):
        return f"ast attends to every key of a window, not to {request.top_k}; leave top_k out, or use semanir"
    return None


def _problems(request: Request) -> tuple[Problem, ...]:
    configuration = CONFIGURATIONS[request.configuration]
    window, tokens = configuration.window, configuration.window**2
    height, width = (padded_side(configuration, side) for side in (request.height, request.width))
    return tuple(
        Problem(
            device=request.device,
            dtype=request.dtype,
            windows=request.batch * (height >> shape.level) * (width >> shape.level) // tokens,
            heads=shape.width // configuration.head_dim,
            tokens=tokens,
            top_k=tokens,
            kept_pairs=request.batch * kept_pairs(height >> shape.level, width >> shape.level, window, shift, tokens),
            head_dim=configuration.head_dim,
            has_bias=True,
            weighting="softmax" if configuration.attention == "dense" else "sparse",
            needs_grad=request.needs_grad,
        )
        for shape in stage_shapes(configuration)
        if shape.attends
        for shift in shape.shifts
    )


def _flops(request: Request) -> dict[str, int]:
    """Convolutions and linear layers two a multiply-add; norms, bias, softmax and element-wise work are left out.

    The published 109.83 GMAC of AST-B at 256 x 256 are half of these (107.11) plus half of what a backend that
    computes every pair spends on the two attention products, `2 N^2 C` multiply-adds a window (2.72).
    """
    configuration = CONFIGURATIONS[request.configuration]
    area = padded_side(configuration, request.height) * padded_side(configuration, request.width)
    convolutions = sum(2 * weights * area >> 2 * level for weights, level in _convolutions(configuration, request))
    projections = mlp = 0
    for shape in stage_shapes(configuration):
        square = 2 * shape.blocks * (area >> 2 * shape.level) * shape.width**2
        attending, feeding = _squares(configuration, shape)
        projections += attending * square
        mlp += feeding * square
    return {
        "convolutions": request.batch * convolutions,
        "projections": request.batch * projections,
        "mlp": request.batch * mlp,
    }


def _squares(configuration: Configuration, shape: StageShape) -> tuple[int, int]:
    """Weights of a block's projections, and of its feed-forward's linear layers, over the square of its width."""
    gated = configuration.feed_forward == "frfn"
    return 4 if shape.attends else 0, configuration.expansion * (3 if gated else 2)


def _convolutions(configuration: Configuration, request: Request) -> Iterator[tuple[int, int]]:
    """Yield weights and resolution level of every convolution; a transposed one counts where its input lies."""
    shapes = stage_shapes(configuration)
    width, coarsest = configuration.width, configuration.levels - 1
    yield 9 * request.channels * width, 0
    yield 9 * shapes[-1].width * request.channels, 0
    for level in range(coarsest):
        yield 16 * (width << level) * (width << level + 1), level + 1
        yield 4 * shapes[-2 - level].width * (width << level), level + 1
    if configuration.feed_forward == "frfn":
        for shape in shapes:
            yield shape.blocks * 9 * ((shape.width // 4) ** 2 + configuration.expansion * shape.width), shape.level


def _parameters(request: Request) -> int:
    configuration = CONFIGURATIONS[request.configuration]
    width, coarsest, expansion = configuration.width, configuration.levels - 1, configuration.expansion
    total = sum(weights for weights, _ in _convolutions(configuration, request))
    total += width + request.channels  # biases of the first and the last convolution
    total += sum((width << level) + (width << level + 1) for level in range(coarsest))
    gated = configuration.feed_forward == "frfn"
    for shape in stage_shapes(configuration):
        biases = shape.width * (expansion * (3 if gated else 1) + 1)
        norms = 2 * shape.width
        if shape.attends:
            biases += 4 * shape.width
            norms += 2 * shape.width
            biases += (2 * configuration.window - 1) ** 2 * (shape.width // configuration.head_dim)
            biases += 2 if configuration.attention == "assa" else 0
        total += shape.blocks * (shape.width**2 * sum(_squares(configuration, shape)) + biases + norms)
    return total


MODEL = Model(
    summary="adaptive sparse attention a1 softmax + a2 relu^2 and feature refinement in a U (AST, CVPR 2024)",
    module="semanir.models.ast.network",
    configurations=tuple(CONFIGURATIONS),
    uses=frozenset({"backend", "weights"}),
    unsupported=_unsupported,
    problems=_problems,
    flops=_flops,
    parameters=_parameters,
    formats=(".pth", ".pt"),
)
