"""SwinIR (ICCVW 2021), the baseline with dense windows: configurations, attention problems, counts, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from semanir.attention.problem import Problem
from semanir.attention.regions import kept_pairs
from semanir.model import Model, Request


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One network at one resolution. Sides are in tokens."""

    width: int
    heads: int
    stages: tuple[int, ...]
    """Layers of each stage, in order; every second layer of a stage has its windows shifted by half."""
    window: int = 8
    mlp_ratio: int = 2
    body_norm: bool = False
    """LayerNorm at the entry and the exit of the body."""
    unshuffle: int = 1
    """A stem that folds `n x n` pixels into channels; super-resolution networks never fold."""
    upsampler: Literal["direct", "conv"] = "direct"
    """`direct`: one convolution and a pixel shuffle; `conv`: 64 channels, shuffles by 2 or 3, last convolution."""
    image_residual: bool = True
    """Add the input (bicubic at scale > 1) to the output."""
    scales: tuple[int, ...] = (1, 2, 3, 4)
    """Super-resolution factors that the network has a head for; 1 is restoration at equal size."""


CONFIGURATIONS = {
    # Ours. "small" has the shape of semanir/small: what differs is the attention. "nano" is for tests.
    "small": Configuration(width=64, heads=4, stages=(2, 2, 2), unshuffle=2),
    "nano": Configuration(width=16, heads=2, stages=(2, 2), unshuffle=2),
    # Published, classical super-resolution: 11,752,487 / 11,937,127 / 11,900,199 parameters for x2 / x3 / x4.
    "classical": Configuration(
        width=180,
        heads=6,
        stages=(6,) * 6,
        body_norm=True,
        upsampler="conv",
        image_residual=False,
        scales=(2, 3, 4),
    ),
}


def stem(configuration: Configuration, scale: int) -> int:
    """Pixels per token side."""
    return configuration.unshuffle if scale == 1 else 1


def padded_side(configuration: Configuration, side: int, window: int, scale: int) -> int:
    """Side in pixels after padding to whole windows."""
    multiple = stem(configuration, scale) * window
    return -(-side // multiple) * multiple


def stage_shifts(layers: int, *, height: int, width: int, window: int) -> tuple[int, ...]:
    """Window shift of each layer of a stage on a map of `height x width` tokens; a single window is not shifted."""
    shift = 0 if max(height, width) <= window else window // 2
    return tuple(shift * (layer % 2) for layer in range(layers))


def _window(request: Request) -> int:
    return request.window or CONFIGURATIONS[request.configuration].window


def _map(request: Request) -> tuple[int, int]:
    """Height and width of the feature map in tokens."""
    configuration = CONFIGURATIONS[request.configuration]
    fold = stem(configuration, request.scale)
    height, width = (
        padded_side(configuration, side, _window(request), request.scale) // fold
        for side in (request.height, request.width)
    )
    return height, width


def _unsupported(request: Request) -> str | None:
    configuration = CONFIGURATIONS[request.configuration]
    if request.top_k not in (None, _window(request) ** 2):
        return f"swinir attends to every key of a window, not to {request.top_k}; leave top_k out, or use semanir"
    if request.scale not in configuration.scales:
        fitting = [name for name, other in CONFIGURATIONS.items() if request.scale in other.scales]
        works = f"; swinir/{' or swinir/'.join(fitting)} has" if fitting else ""
        return f"swinir/{request.configuration} has no head for scale {request.scale}{works}"
    return None


def _problems(request: Request) -> tuple[Problem, ...]:
    configuration = CONFIGURATIONS[request.configuration]
    window = _window(request)
    tokens = window**2
    height, width = _map(request)
    return tuple(
        Problem(
            device=request.device,
            dtype=request.dtype,
            windows=request.batch * height * width // tokens,
            heads=configuration.heads,
            tokens=tokens,
            top_k=tokens,
            kept_pairs=request.batch * kept_pairs(height, width, window, shift, tokens),
            head_dim=configuration.width // configuration.heads,
            has_bias=True,
            needs_grad=request.needs_grad,
        )
        for layers in configuration.stages
        for shift in stage_shifts(layers, height=height, width=width, window=window)
    )


def _flops(request: Request) -> dict[str, int]:
    """Convolutions and linear layers two a multiply-add; norms, softmax and element-wise work are left out."""
    configuration = CONFIGURATIONS[request.configuration]
    height, width = _map(request)
    square = 2 * sum(configuration.stages) * height * width * configuration.width**2
    convolutions = sum(2 * weights * area for weights, area in _convolutions(request))
    return {
        "convolutions": request.batch * convolutions,
        "projections": request.batch * 4 * square,
        "mlp": request.batch * 2 * configuration.mlp_ratio * square,
    }


def _convolutions(request: Request) -> Iterator[tuple[int, int]]:
    """Yield weights and output area of every convolution of one forward pass."""
    configuration = CONFIGURATIONS[request.configuration]
    channels, width = request.channels, configuration.width
    fold = stem(configuration, request.scale)
    height, breadth = _map(request)
    area = height * breadth
    yield 9 * channels * fold**2 * width, area
    for _ in range(len(configuration.stages) + 1):
        yield 9 * width**2, area
    if configuration.upsampler == "direct":
        yield 9 * width * channels * (fold * request.scale) ** 2, area
        return
    yield 9 * width * 64, area
    for factor in _steps(request.scale):
        yield 9 * 64 * 64 * factor**2, area
        area *= factor**2
    yield 9 * 64 * channels, area


def _steps(scale: int) -> tuple[int, ...]:
    return (2, 2) if scale == 4 else (scale,)


def _parameters(request: Request) -> int:
    configuration = CONFIGURATIONS[request.configuration]
    width, ratio = configuration.width, configuration.mlp_ratio
    table = (2 * _window(request) - 1) ** 2 * configuration.heads
    layer = (4 + 2 * ratio) * width**2 + (4 + 4 + ratio + 1) * width + table
    total = sum(configuration.stages) * layer + sum(weights for weights, _ in _convolutions(request))
    total += (len(configuration.stages) + 2) * width  # biases of the first, the stages' and the body's convolution
    total += 4 * width if configuration.body_norm else 0
    if configuration.upsampler == "direct":
        return total + request.channels * (stem(configuration, request.scale) * request.scale) ** 2
    return total + 64 + sum(64 * factor**2 for factor in _steps(request.scale)) + request.channels


MODEL = Model(
    summary="dense attention in shifted windows, the baseline of the columnar networks (SwinIR, ICCVW 2021)",
    module="semanir.models.swinir.network",
    configurations=tuple(CONFIGURATIONS),
    uses=frozenset({"backend", "window", "weights"}),
    unsupported=_unsupported,
    problems=_problems,
    flops=_flops,
    parameters=_parameters,
)
