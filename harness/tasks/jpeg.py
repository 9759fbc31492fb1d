"""Remove the artifacts of JPEG compression."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Float32, UInt, UInt8
from PIL import Image

from harness.channels import three_channels, to_8_bits, to_luma, units
from harness.protocol import Protocol
from harness.task import Setting, Task


def _protocol(setting: Setting) -> Protocol:
    return Protocol(channel="gray" if setting["color"] == "gray" else "rgb")


def _target(image: UInt[np.ndarray, "H W c"], setting: Setting) -> UInt8[np.ndarray, "H W C"]:
    """Round to the 8 bits that JPEG holds; take Y for gray: `rgb2gray` lies 0.75 dB from the printed rows."""
    held = to_8_bits(image)
    return to_luma(held) if setting["color"] == "gray" else three_channels(held)


def _degrade(
    target: UInt8[np.ndarray, "H W C"], setting: Setting, randomness: np.random.Generator
) -> Float32[np.ndarray, "H W C"]:
    """Encode and decode with libjpeg-turbo through Pillow, chroma at half resolution (4:2:0, its default)."""
    file = io.BytesIO()
    pixels = target[..., 0] if target.shape[-1] == 1 else target
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=int(setting["quality"]))
    return units(np.asarray(Image.open(file)).reshape(target.shape))


TASK = Task(
    summary="JPEG compression at a quality; gray works on Y of BT.601, colour with 4:2:0 chroma; 8 bits",
    defaults={"quality": 10, "color": "gray"},
    rules={"quality": range(1, 101), "color": ("gray", "rgb")},
    ranged=("quality",),
    channels=lambda setting: 1 if setting["color"] == "gray" else 3,
    scale=lambda setting: 1,
    protocol=_protocol,
    prepare_target=_target,
    degrade=_degrade,
)
