"""Undo a bicubic reduction: single-image super-resolution."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt

from harness.channels import peak_of, round_uint8, three_channels, to_luma, units
from harness.imresize import imresize
from harness.protocol import Protocol
from harness.task import Setting, Task


def _protocol(setting: Setting) -> Protocol:
    return Protocol(channel="gray" if setting["color"] == "gray" else "y", crop=_scale(setting))


def _target(image: UInt[np.ndarray, "H W c"], setting: Setting) -> UInt[np.ndarray, "h w C"]:
    """Cut to a multiple of the scale."""
    scale = _scale(setting)
    height, width = image.shape[:2]
    cut = image[: height // scale * scale, : width // scale * scale]
    return to_luma(cut) if setting["color"] == "gray" else three_channels(cut)


def _degrade(
    target: UInt[np.ndarray, "H W C"], setting: Setting, randomness: np.random.Generator
) -> Float32[np.ndarray, "h w C"]:
    """Reduce; `lr=uint8` rounds the result to 8 bits whatever the target's depth, as published networks get it."""
    peak = peak_of(target)
    reduced = imresize(target.astype(np.float64), 1.0 / _scale(setting))
    return (
        units(round_uint8(reduced * (255.0 / peak)))
        if setting["lr"] == "uint8"
        else (reduced / peak).astype(np.float32)
    )


def _upscale(degraded: Float32[np.ndarray, "h w C"], setting: Setting) -> Float32[np.ndarray, "H W C"]:
    return imresize(degraded, float(_scale(setting))).astype(np.float32)


def _scale(setting: Setting) -> int:
    return int(setting["scale"])


TASK = Task(
    summary="MATLAB-bicubic reduction by 2, 3 or 4; networks get an 8-bit input and are judged on Y",
    # The printed bicubic rows are `color=gray,lr=exact`: Y is rounded to 8 bits, the reduced image is not.
    defaults={"scale": 2, "color": "rgb", "lr": "uint8"},
    rules={"scale": (2, 3, 4), "color": ("rgb", "gray"), "lr": ("uint8", "exact")},
    channels=lambda setting: 1 if setting["color"] == "gray" else 3,
    scale=_scale,
    protocol=_protocol,
    prepare_target=_target,
    degrade=_degrade,
    upscale=_upscale,
)
