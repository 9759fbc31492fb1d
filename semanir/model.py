"""What every network of the project answers without torch: what it refuses, which attention it runs, what it costs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from semanir.attention.problem import DeviceKind, DtypeName, Form, Problem, Similarity

if TYPE_CHECKING:
    from torch import nn

    from semanir.attention.signature import Attend


Shift = Literal["stage", "layer", "none"]
Score = Literal["cosine_cpb", "dot_rpb", "dot_none"]
Holds = Literal["image", "mosaic"]
"""What an input is: an image that knows every channel, or a Bayer mosaic with zeros where nothing was sampled."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A network as it is asked for: its configuration, what it maps to what, and the ablated choices."""

    configuration: str
    channels: int
    """Channels of the input and of the output image."""
    scale: int
    """Output side over input side."""
    height: int
    """Input height in pixels."""
    width: int
    batch: int = 1
    window: int | None = None
    """Side of the attention window in tokens; None takes the configuration's."""
    top_k: int | None = None
    """Keys kept per query; None keeps every key of the window."""
    sharing: Literal["stage", "layer"] = "stage"
    similarity: Similarity | None = None
    """How the dictionary compares tokens; None takes the configuration's rule, as the two below."""
    shift: Shift | None = None
    """Which windows are shifted."""
    score: Score | None = None
    """How queries and keys are compared, and which position bias is added."""
    holds: Holds = "image"
    dtype: DtypeName = "float32"
    device: DeviceKind = "cpu"
    needs_grad: bool = False


@dataclass(frozen=True, kw_only=True)
class Model:
    """A family of networks. Loads its torch code only when a network is built."""

    summary: str
    module: str
    """Dotted name of the module whose `build(request, attend, forms)` returns the network."""
    configurations: tuple[str, ...]
    uses: frozenset[str]
    """The axes that change this model: of `harness.plan.COLLAPSING`; others collapse."""
    unsupported: Callable[[Request], str | None]
    """The reason why a request cannot be built, or None."""
    problems: Callable[[Request], tuple[Problem, ...]]
    """Every attention call of one forward pass, in order; empty without attention."""
    flops: Callable[[Request], dict[str, int]]
    """Operations of one forward pass by part, the products of attention left out: `convolutions`, `projections` (to
    queries, keys and values, and back), `mlp`, and where there is one `dictionary` and `position` (the bias)."""
    parameters: Callable[[Request], int]
    formats: tuple[str, ...] = ()
    """Suffixes of files as other people published them that the module's `read(network, file)` understands."""

    def build(self, request: Request, *, attend: Attend | None, forms: frozenset[Form]) -> nn.Module:
        """Return the network: `B x channels x h x w` in units of one -> `B x channels x scale*h x scale*w`.

        `attend` is the attention it is given and `forms` the packings of the dictionary that it reads.
        """
        network: nn.Module = importlib.import_module(self.module).build(request, attend, forms)
        return network

    def read(self, network: nn.Module, file: Path) -> None:
        """Fill a network with weights that other people published, a file of one of `formats`.

        Raises `CheckpointError`, and then changes nothing.
        """
        importlib.import_module(self.module).read(network, file)
