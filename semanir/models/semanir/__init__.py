"""SemanIR (NeurIPS 2024; first called KGT): its configurations, attention problems and counts, without torch.

What the paper leaves open is a named switch of `Configuration`; the defaults are the readings that its published
parameter counts support.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from semanir.attention.problem import Problem, Similarity
from semanir.attention.regions import kept_pairs
from semanir.model import Model, Request, Score, Shift


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One network. Sides are in tokens of its finest feature map."""

    architecture: Literal["columnar", "unet"]
    """Columnar (the paper's V1) keeps one resolution; `unet` (V2) goes down and up again by twos."""
    width: int
    """Channels of the finest feature map; a U-shaped network doubles them at each level."""
    heads: int
    stages: tuple[int, ...]
    """Layers of each stage, in order. U-shaped: down stages, latent, up stages, final stage (an even number)."""
    window: int = 8
    top_k: int | None = None
    """k that the paper or the training used; None where it is left to the experiment."""
    score: Score = "cosine_cpb"
    """`cosine_cpb`: cosine times a learned temperature, bias from an MLP over offsets, so that parameters do not
    depend on the window (supported by 6 of 6 published counts); `dot_rpb`: scaled dot product with a table."""
    bias_hidden: int = 512
    similarity: Similarity = "dot"
    """How the dictionary compares tokens; the paper names no normalisation."""
    exclude_self: bool = False
    norm: Literal["pre", "post"] = "pre"
    """LayerNorm before each sub-block (as SwinIR) or after it (as GRL); the paper does not say."""
    shift: Shift = "stage"
    """Which windows are shifted by half: every second stage (one dictionary a stage), every second layer (two
    dictionaries a stage), or none; the paper does not say."""
    mlp_ratio: int = 2
    body_norm: bool = False
    """LayerNorm at the entry and the exit of the body, as the published columnar counts need."""
    unshuffle: int = 1
    """A stem that folds `n x n` pixels into channels; super-resolution networks never fold."""
    upsampler: Literal["direct", "conv"] = "direct"
    """`direct`: one convolution and a pixel shuffle; `conv`: 64 channels, shuffles by 2 or 3, last convolution."""
    image_residual: bool = True
    """Add the input (bicubic at scale > 1) to the output."""
    scales: tuple[int, ...] = (1, 2, 3, 4)
    """Super-resolution factors that the network has a head for; 1 is restoration at equal size."""

    @property
    def levels(self) -> int:
        """Resolutions of the feature map."""
        return len(self.stages) // 2 if self.architecture == "unet" else 1


CONFIGURATIONS = {
    # Ours: small enough to train on two CPU cores, and for tests.
    "small": Configuration(
        architecture="columnar", width=64, heads=4, stages=(2, 2, 2), bias_hidden=64, unshuffle=2, top_k=16
    ),
    "nano": Configuration(
        architecture="columnar", width=16, heads=2, stages=(1, 1), bias_hidden=16, unshuffle=2, top_k=16
    ),
    # Published sizes, super-resolution: 11.87 / 12.05 / 12.02 M and 19.90 / 20.08 / 20.04 M for x2 / x3 / x4.
    "S": Configuration(
        architecture="columnar",
        width=180,
        heads=6,
        stages=(6,) * 6,
        body_norm=True,
        upsampler="conv",
        image_residual=False,
        scales=(2, 3, 4),
    ),
    "B": Configuration(
        architecture="columnar",
        width=180,
        heads=6,
        stages=(8,) * 8,
        body_norm=True,
        upsampler="conv",
        image_residual=False,
        scales=(2, 3, 4),
    ),
    # Published size 25.82 M for all other tasks; levels, widths and depths are ours (many designs fit the count).
    "U": Configuration(architecture="unet", width=120, heads=6, stages=(4,) * 6, scales=(1,)),
}


def configuration_of(request: Request) -> Configuration:
    """Return the named configuration with the request's ablated choices in it."""
    own = CONFIGURATIONS[request.configuration]
    return replace(
        own,
        similarity=request.similarity or own.similarity,
        shift=request.shift or own.shift,
        score=request.score or own.score,
    )


@dataclass(frozen=True)
class StageShape:
    """One stage of one forward pass."""

    layers: int
    width: int
    height_tokens: int
    width_tokens: int
    shifts: tuple[int, ...]
    """Window shift of each layer, in tokens."""


def stem(configuration: Configuration, scale: int) -> int:
    """Pixels per token side at the finest level."""
    return configuration.unshuffle if scale == 1 else 1


def padded_side(configuration: Configuration, side: int, window: int, scale: int) -> int:
    """Side in pixels after padding: a multiple of the window at the coarsest level."""
    multiple = stem(configuration, scale) * window * 2 ** (configuration.levels - 1)
    return -(-side // multiple) * multiple


def stage_shifts(configuration: Configuration, stage: int, *, height: int, width: int, window: int) -> tuple[int, ...]:
    """Window shift of each layer of a stage on a map of `height x width` tokens.

    A map of a single window is not shifted: that would only separate what the window already holds (as Swin).
    """
    layers = configuration.stages[stage]
    if max(height, width) <= window:
        return (0,) * layers
    match configuration.shift:
        case "stage":
            return (window // 2 * (stage % 2),) * layers
        case "layer":
            return tuple(window // 2 * (layer % 2) for layer in range(layers))
        case "none":
            return (0,) * layers


def stage_widths(configuration: Configuration) -> tuple[int, ...]:
    """Channels of each stage; U-shaped, the last up stage and the final one keep the concatenated 2 x width."""
    if configuration.architecture == "columnar":
        return (configuration.width,) * len(configuration.stages)
    down = [configuration.width * 2**level for level in range(configuration.levels)]
    up = [2 * down[0] if level == 0 else down[level] for level in reversed(range(configuration.levels - 1))]
    return (*down, *up, 2 * down[0])


def stage_levels(configuration: Configuration) -> tuple[int, ...]:
    """Resolution level of each stage; 0 is the finest."""
    if configuration.architecture == "columnar":
        return (0,) * len(configuration.stages)
    down = range(configuration.levels)
    return (*down, *reversed(range(configuration.levels - 1)), 0)


def _window(request: Request) -> int:
    return request.window or configuration_of(request).window


def _shapes(request: Request) -> Iterator[StageShape]:
    configuration = configuration_of(request)
    window, fold = _window(request), stem(configuration, request.scale)
    height, width = (
        padded_side(configuration, side, window, request.scale) // fold for side in (request.height, request.width)
    )
    plan = zip(configuration.stages, stage_widths(configuration), stage_levels(configuration), strict=True)
    for index, (layers, channels, level) in enumerate(plan):
        tall, wide = height >> level, width >> level
        shifts = stage_shifts(configuration, index, height=tall, width=wide, window=window)
        yield StageShape(layers, channels, tall, wide, shifts)


def _unsupported(request: Request) -> str | None:
    configuration = configuration_of(request)
    tokens = _window(request) ** 2
    if request.top_k is not None and request.top_k > tokens:
        return f"top_k {request.top_k} exceeds the {tokens} tokens of window {_window(request)}"
    if request.scale not in configuration.scales:
        fitting = [name for name, other in CONFIGURATIONS.items() if request.scale in other.scales]
        return (
            f"semanir/{request.configuration} has no head for scale {request.scale}; "
            f"semanir/{' or semanir/'.join(fitting)} has"
        )
    return None


def _problems(request: Request) -> tuple[Problem, ...]:
    configuration = configuration_of(request)
    window = _window(request)
    tokens = window**2
    top_k = request.top_k or tokens
    return tuple(
        Problem(
            device=request.device,
            dtype=request.dtype,
            windows=request.batch * shape.height_tokens * shape.width_tokens // tokens,
            heads=configuration.heads,
            tokens=tokens,
            top_k=top_k,
            kept_pairs=request.batch
            * kept_pairs(shape.height_tokens, shape.width_tokens, window, shift, top_k, configuration.exclude_self),
            head_dim=shape.width // configuration.heads,
            has_bias=configuration.score != "dot_none",
            needs_grad=request.needs_grad,
        )
        for shape in _shapes(request)
        for shift in shape.shifts
    )


def _flops(request: Request) -> dict[str, int]:
    """Convolutions and linear layers two a multiply-add; norms, softmax and element-wise work are left out."""
    configuration = configuration_of(request)
    window, tokens = _window(request), _window(request) ** 2
    offsets = (2 * window - 1) ** 2
    projections = mlp = dictionary = position = 0
    convolutions = sum(2 * weights * height * width for weights, height, width in _convolution_positions(request))
    for shape in _shapes(request):
        area = shape.height_tokens * shape.width_tokens
        square = 2 * shape.layers * area * shape.width**2
        projections += 4 * square
        mlp += 2 * configuration.mlp_ratio * square
        if request.top_k is not None and request.top_k < tokens:
            built = shape.layers if request.sharing == "layer" else len(set(shape.shifts))
            dictionary += 2 * built * area * tokens * shape.width
        if configuration.score == "cosine_cpb":
            position += 2 * shape.layers * offsets * configuration.bias_hidden * (2 + configuration.heads)
    batch = request.batch
    return {
        "convolutions": batch * convolutions,
        "projections": batch * projections,
        "mlp": batch * mlp,
        "dictionary": batch * dictionary,
        "position": position,
    }


def _convolution_positions(request: Request) -> Iterator[tuple[int, int, int]]:
    """Yield weights, output height and output width of every convolution of one forward pass."""
    configuration = configuration_of(request)
    shapes = list(_shapes(request))
    finest = shapes[0].height_tokens, shapes[0].width_tokens
    for shape in shapes:
        yield 9 * shape.width**2, shape.height_tokens, shape.width_tokens
    fold = stem(configuration, request.scale)
    yield 9 * request.channels * fold**2 * configuration.width, *finest
    body = shapes[-1].width
    yield 9 * body**2, *finest
    if configuration.architecture == "unet":
        for level in range(configuration.levels - 1):
            width, fine, coarse = configuration.width << level, shapes[level], shapes[level + 1]
            yield 9 * width * (width // 2), fine.height_tokens, fine.width_tokens
            yield 9 * (2 * width) * (4 * width), coarse.height_tokens, coarse.width_tokens
            if level:
                yield 2 * width * width, fine.height_tokens, fine.width_tokens
    if configuration.upsampler == "direct":
        yield 9 * body * request.channels * (fold * request.scale) ** 2, *finest
        return
    height, width = finest
    yield 9 * body * 64, height, width
    for factor in (2, 2) if request.scale == 4 else (request.scale,):
        yield 9 * 64 * 64 * factor**2, height, width
        height, width = height * factor, width * factor
    yield 9 * 64 * request.channels, height, width


def _parameters(request: Request) -> int:
    configuration = configuration_of(request)
    heads, ratio = configuration.heads, configuration.mlp_ratio
    position = {
        "cosine_cpb": configuration.bias_hidden * (2 + 1 + heads) + heads,
        "dot_rpb": (2 * _window(request) - 1) ** 2 * heads,
        "dot_none": 0,
    }[configuration.score]
    total = 0
    widths = stage_widths(configuration)
    for layers, width in zip(configuration.stages, widths, strict=True):
        norms = 4 * width
        attention = 4 * width**2 + 4 * width
        mlp = 2 * ratio * width**2 + (ratio + 1) * width
        total += layers * (norms + attention + mlp + position)
    total += sum(weights for weights, _, _ in _convolution_positions(request)) + sum(widths)
    total += configuration.width + widths[-1]  # biases of the first and the body's convolution
    total += 4 * configuration.width if configuration.body_norm else 0
    if configuration.architecture == "unet":
        total += sum(configuration.width << level for level in range(1, configuration.levels - 1))
    if configuration.upsampler == "direct":
        return total + request.channels * (stem(configuration, request.scale) * request.scale) ** 2
    steps = (2, 2) if request.scale == 4 else (request.scale,)
    return total + 64 + sum(64 * factor**2 for factor in steps) + request.channels


MODEL = Model(
    summary="key-semantic attention with one dictionary a stage (SemanIR / KGT, NeurIPS 2024)",
    module="semanir.models.semanir.network",
    configurations=tuple(CONFIGURATIONS),
    uses=frozenset({"backend", "window", "top_k", "sharing", "similarity", "shift", "score", "weights"}),
    unsupported=_unsupported,
    problems=_problems,
    flops=_flops,
    parameters=_parameters,
)
