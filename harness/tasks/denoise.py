"""Remove additive white Gaussian noise."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8

from harness.channels import gray_uint8, three_channels
from harness.protocol import Protocol
from harness.task import Setting, Task


def _protocol(setting: Setting) -> Protocol:
    return Protocol(channel="gray" if setting["color"] == "gray" else "rgb")


def _input_protocol(setting: Setting) -> Protocol:
    return Protocol(channel="gray" if setting["color"] == "gray" else "rgb", rounding="none")


def _target(image: UInt8[np.ndarray, "H W c"], setting: Setting) -> UInt8[np.ndarray, "H W C"]:
    return gray_uint8(image) if setting["color"] == "gray" else three_channels(image)


def _degrade(
    target: UInt8[np.ndarray, "H W C"], setting: Setting, randomness: np.random.Generator
) -> Float32[np.ndarray, "H W C"]:
    """Add noise and leave it unclipped, as published networks receive it."""
    noise = float(setting["sigma"]) * randomness.standard_normal(target.shape)
    return ((target + noise) / 255.0).astype(np.float32)


TASK = Task(
    summary="additive white Gaussian noise of standard deviation sigma, in 8-bit units, unclipped",
    defaults={"sigma": 25.0, "color": "gray"},
    rules={"sigma": (0.0, 100.0), "color": ("gray", "rgb")},
    channels=lambda setting: 1 if setting["color"] == "gray" else 3,
    scale=lambda setting: 1,
    protocol=_protocol,
    prepare_target=_target,
    degrade=_degrade,
    input_protocol=_input_protocol,
)
