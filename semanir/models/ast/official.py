"""The state of the authors' released networks, by their names, and ours: the same tensors, renamed by rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from semanir.attention.position import relative_index
from semanir.checkpoints import CheckpointError, check, read_state, save
from semanir.model import Request
from semanir.models.ast import CONFIGURATIONS, MODEL

# "dowsample" is how the released state spells it.
_STAGES = {
    "input_proj.proj.0": "first",
    "output_proj.proj.0": "last",
    "encoderlayer_{}.blocks.{}": "encoders.{}.blocks.{}",
    "dowsample_{}.conv.0": "downs.{}",
    "conv.blocks.{}": "bottleneck.blocks.{}",
    "upsample_{}.deconv.0": "ups.{}",
    "decoderlayer_{}.blocks.{}": "decoders.{}.blocks.{}",
}
"""The official name of a convolution or a block to ours; braces stand for numbers."""

_PARTS = {
    "norm1": "norm1",
    "attn.relative_position_bias_table": "attention.bias.table",
    "attn.w": "attention.branches",
    "attn.qkv.to_q": "attention.query",
    "attn.qkv.to_kv": "attention.key_value",
    "attn.proj": "attention.project",
    "norm2": "norm2",
    "mlp.partial_conv3": "refine.enhance",
    "mlp.linear1.0": "refine.widen",
    "mlp.dwconv.0": "refine.gate",
    "mlp.linear2.0": "refine.narrow",
}
"""Official part of a block to ours."""

_INDEX = "attn.relative_position_index"
"""A buffer that we compute; it is only checked."""


def our_name(official: str) -> str | None:
    """Return our name of an official tensor, or None where the rule knows no such tensor."""
    return _translated(official, _STAGES, _PARTS)


def official_name(ours: str) -> str | None:
    """Return the official name of one of our tensors, or None where the rule knows no such tensor."""
    stages = {ours: official for official, ours in _STAGES.items()}
    return _translated(ours, stages, {ours: official for official, ours in _PARTS.items()})


def _translated(name: str, stages: Mapping[str, str], parts: Mapping[str, str]) -> str | None:
    for template, other in stages.items():
        pattern = re.escape(template).replace(r"\{\}", r"(\d+)")
        if not (found := re.match(rf"{pattern}\.", name)):
            continue
        rest = name[found.end() :]
        part, _, kind = rest.rpartition(".")
        if kind in ("weight", "bias") and (not part or part in parts):
            rest = f"{parts[part]}.{kind}" if part else kind
        elif rest in parts:
            rest = parts[rest]
        else:
            return None
        return f"{other.format(*found.groups())}.{rest}"
    return None


def from_official(state: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Give an official state our names. Raises `CheckpointError`, naming `file`, for one that is not an AST's."""
    ours: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith(_INDEX):
            _check_index(name, value, file)
            continue
        renamed = our_name(name)
        if renamed is None:
            raise CheckpointError(f"{file}: {name} is no tensor of an official AST; is it another network's file?")
        if not torch.isfinite(value).all():
            raise CheckpointError(f"{file}: {name} holds NaN or inf; take a checkpoint from before training diverged")
        ours[renamed] = value
    return ours


def to_official(state: Mapping[str, Tensor], window: int) -> dict[str, Tensor]:
    """Give one of our states the official names, buffers included. Raises `KeyError` for an ablation's state."""
    official: dict[str, Tensor] = {}
    for name, value in state.items():
        renamed = official_name(name)
        if renamed is None:
            raise KeyError(f"{name}: the official networks have no such tensor")
        official[renamed] = value
        if renamed.endswith("attn.w"):
            index = relative_index(window, value.device)
            official[renamed.removesuffix("attn.w") + _INDEX] = index
    return official


def convert(file: Path, out: Path, *, configuration: str | None = None) -> str:
    """Write an official checkpoint as safetensors of our names, in float32; return the configuration's name.

    Without a `configuration` it is the published one of the state's width. Raises `CheckpointError` for a file that
    is unreadable, unsafe or of another network, and then writes nothing.
    """
    state = from_official(read_state(file), file)
    first = state.get("first.weight", torch.empty(0))
    width, channels = first.shape[:2] if first.ndim == 4 else (0, 3)
    chosen = configuration or _of_width(width, file)
    side = CONFIGURATIONS[chosen].multiple
    request = Request(configuration=chosen, channels=channels, scale=1, height=side, width=side)
    network = MODEL.build(request, attend=_never, forms=frozenset())
    check(network.state_dict(), state, file)
    network.load_state_dict(state)
    save(network, out, dtype=torch.float32)
    return chosen


def _never(*arguments: object, **options: object) -> Tensor:
    raise RuntimeError("this network was built to hold a state; build it with a backend to run it")


def _of_width(width: int, file: Path) -> str:
    published = {name: CONFIGURATIONS[name].width for name in ("B", "T")}
    for name, expected in published.items():
        if expected == width:
            return name
    known = " and ".join(f"{expected} ({name})" for name, expected in published.items())
    raise CheckpointError(f"{file}: its network has width {width}, the published ones {known}; name its configuration")


def _check_index(name: str, value: Tensor, file: Path) -> None:
    tokens = value.shape[0] if value.ndim else 0
    window = round(tokens**0.5)
    if value.shape != (window**2, window**2) or not torch.equal(
        value.long(), relative_index(window, value.device).long()
    ):
        raise CheckpointError(f"{file}: {name} is not the relative index of a square window; the file is damaged")
