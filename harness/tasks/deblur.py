"""Remove the blur of a camera that moved during the exposure."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8

from harness import motion
from harness.channels import round_uint8, three_channels, units
from harness.convolution import convolve
from harness.protocol import Protocol
from harness.task import InvalidSetting, Setting, Task


def _degrade(
    target: UInt8[np.ndarray, "H W 3"], setting: Setting, randomness: np.random.Generator
) -> Float32[np.ndarray, "H W 3"]:
    """Blur every pixel alike, with mirrored borders, and round to 8 bits; real pairs come from the dataset."""
    length = float(setting["length"])
    match setting["kernel"]:
        case "pairs":
            raise InvalidSetting("kernel=pairs degrades nothing: its images are pairs already, as a dataset holds them")
        case "motion":
            path = motion.walk(length, randomness)
        case _:
            path = motion.line(length, float(setting["angle"]))
    return units(round_uint8(convolve(target.astype(np.float64), motion.kernel(path))))


TASK = Task(
    summary="uniform motion blur along a seeded random path or a straight line, or real pairs",
    # length: of the path, in pixels. angle: of the line, in degrees counter-clockwise from the x axis.
    defaults={"kernel": "motion", "length": 15, "angle": 45.0},
    rules={"kernel": ("motion", "linear", "pairs"), "length": range(1, 66), "angle": (0.0, 180.0)},
    only={"length": ("kernel", ("motion", "linear")), "angle": ("kernel", ("linear",))},
    channels=lambda setting: 3,
    scale=lambda setting: 1,
    protocol=lambda setting: Protocol(channel="rgb"),
    prepare_target=lambda image, setting: three_channels(image),
    degrade=_degrade,
)
