"""Motion of a camera as a path in the image plane, and the blur kernel that it draws."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

STEPS_PER_PIXEL = 8
"""Points drawn per pixel of path; more change no weight of a kernel by 1 %."""

Path = Float64[np.ndarray, "T 2"]
"""Points (y down, x right) in pixels, passed through at constant speed."""


def line(length: float, angle: float) -> Path:
    """Return a straight path of `length` pixels, `angle` degrees counter-clockwise from the x axis."""
    along = np.linspace(-0.5, 0.5, _points(length)) * length
    radians = np.deg2rad(angle)
    return np.stack([-along * np.sin(radians), along * np.cos(radians)], axis=1)


def walk(length: float, randomness: np.random.Generator) -> Path:
    """Return a smooth random path of `length` pixels: a shaken hand, whose heading drifts and is pulled back.

    The turning rate is a first-order autoregression that forgets itself over a third of the path; after
    Boracchi and Foi 2012, "Modeling the performance of image restoration from motion blur", simplified.
    """
    points = _points(length)
    memory = 1.0 - 3.0 / points
    shocks = randomness.standard_normal(points) * np.sqrt(1.0 - memory**2)
    turns = np.empty(points)
    state = 0.0
    for step, shock in enumerate(shocks):
        state = memory * state + shock
        turns[step] = state
    heading = randomness.uniform(0.0, 2.0 * np.pi) + np.cumsum(turns) * (2.0 * np.pi / points)
    step_px = length / (points - 1)
    return np.cumsum(np.stack([np.sin(heading), np.cos(heading)], axis=1) * step_px, axis=0)


def kernel(path: Path) -> Float64[np.ndarray, "k k"]:
    """Draw a path into a square kernel of odd side: weights >= 0 that sum to 1, centre of mass at the middle.

    Each point is shared by its four nearest pixels with bilinear weights, so halves of a pixel are kept.
    """
    centred = path - path.mean(axis=0)
    radius = int(np.ceil(np.abs(centred).max())) if centred.size else 0
    weights = np.zeros((2 * radius + 3, 2 * radius + 3))
    corner = np.floor(centred).astype(np.int64)
    fraction = centred - corner
    for dy in (0, 1):
        for dx in (0, 1):
            share = np.abs(1 - dy - fraction[:, 0]) * np.abs(1 - dx - fraction[:, 1])
            np.add.at(weights, (corner[:, 0] + dy + radius + 1, corner[:, 1] + dx + radius + 1), share)
    normalised: Float64[np.ndarray, "k k"] = weights / weights.sum()
    return normalised


def _points(length: float) -> int:
    return max(2, round(length * STEPS_PER_PIXEL) + 1)
