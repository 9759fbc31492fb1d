"""Remove additive white Gaussian noise."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt

from harness.channels import peak_of, three_channels, to_gray
from harness.protocol import Protocol
from harness.task import Setting, Task


def _protocol(setting: Setting) -> Protocol:
    return Protocol(channel="gray" if setting["color"] == "gray" else "rgb")


def _input_protocol(setting: Setting) -> Protocol:
    return Protocol(channel="gray" if setting["color"] == "gray" else "rgb", rounding="none")


def _target(image: UInt[np.ndarray, "H W c"], setting: Setting) -> UInt[np.ndarray, "H W C"]:
    return to_gray(image) if setting["color"] == "gray" else three_channels(image)


def _degrade(
    target: UInt[np.ndarray, "H W C"], setting: Setting, randomness: np.random.Generator
) -> Float32[np.ndarray, "H W C"]:
    """Add noise and leave it unclipped, as published networks receive it; sigma counts 8-bit steps at any depth."""
    peak = peak_of(target)
    noise = float(setting["sigma"]) * (peak / 255.0) * randomness.standard_normal(target.shape)
    return ((target + noise) / peak).astype(np.float32)


TASK = Task(
    summary="additive white Gaussian noise of standard deviation sigma, in 8-bit units, unclipped",
    defaults={"sigma": 25.0, "color": "gray"},
    rules={"sigma": (0.0, 100.0), "color": ("gray", "rgb")},
    ranged=("sigma",),
    channels=lambda setting: 1 if setting["color"] == "gray" else 3,
    scale=lambda setting: 1,
    protocol=_protocol,
    prepare_target=_target,
    degrade=_degrade,
    input_protocol=_input_protocol,
)
