"""Remove the blur of a camera that moved during the exposure."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt

from harness import levin, motion
from harness.channels import rounded, three_channels, units
from harness.convolution import convolve
from harness.protocol import Protocol
from harness.task import InvalidSetting, Setting, Task


def _degrade(
    target: UInt[np.ndarray, "H W 3"], setting: Setting, randomness: np.random.Generator
) -> Float32[np.ndarray, "H W 3"]:
    """Blur every pixel alike, with mirrored borders, and round to the target's depth.

    Real pairs and averaged frames come from the dataset. `kernel=levin,number=0` draws one of the eight an image.
    """
    length = float(setting["length"])
    match setting["kernel"]:
        case "pairs":
            raise InvalidSetting("kernel=pairs degrades nothing: its images are pairs already, as a dataset holds them")
        case "frames":
            raise InvalidSetting("kernel=frames blurs no single image: a dataset averages its consecutive frames")
        case "levin":
            weights = levin.kernel(int(setting["number"]) or int(randomness.integers(1, levin.COUNT + 1)))
        case "motion":
            weights = motion.kernel(motion.walk(length, randomness))
        case _:
            weights = motion.kernel(motion.line(length, float(setting["angle"])))
    return units(rounded(convolve(target.astype(np.float64), weights), like=target))


TASK = Task(
    summary="uniform blur (a seeded random path, a line, Levin's kernels), averaged frames, or real pairs",
    # length: of the path, in pixels. angle: of the line, in degrees counter-clockwise from the x axis.
    # number: of Levin's kernel; 0 draws one. frames: averaged, the target in their middle. gamma: of the camera,
    # undone before averaging (2.2 as for GoPro; 1 averages the values as stored).
    defaults={"kernel": "motion", "length": 15, "angle": 45.0, "number": 0, "frames": 7, "gamma": 2.2},
    rules={
        "kernel": ("motion", "linear", "levin", "frames", "pairs"),
        "length": range(1, 66),
        "angle": (0.0, 180.0),
        "number": range(levin.COUNT + 1),
        "frames": range(3, 64, 2),
        "gamma": (1.0, 4.0),
    },
    ranged=("length", "angle"),
    only={
        "length": ("kernel", ("motion", "linear")),
        "angle": ("kernel", ("linear",)),
        "number": ("kernel", ("levin",)),
        "frames": ("kernel", ("frames",)),
        "gamma": ("kernel", ("frames",)),
    },
    material=lambda setting: levin.FILE if setting["kernel"] == "levin" else None,
    channels=lambda setting: 3,
    scale=lambda setting: 1,
    protocol=lambda setting: Protocol(channel="rgb"),
    prepare_target=lambda image, setting: three_channels(image),
    degrade=_degrade,
)
