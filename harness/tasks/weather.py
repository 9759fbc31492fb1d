"""Remove rain, snow, haze, or drops on the lens: seeded synthetic weather over a clean photograph."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64, UInt

from harness.channels import peak_of, rounded, three_channels, units
from harness.convolution import convolve
from harness.protocol import Protocol
from harness.task import InvalidSetting, Setting, Task

Scene = Float64[np.ndarray, "H W 3"]
"""Light in units of one."""
Layer = Float64[np.ndarray, "H W 1"]
"""Cover in 0..1."""


def _degrade(
    target: UInt[np.ndarray, "H W 3"], setting: Setting, randomness: np.random.Generator
) -> Float32[np.ndarray, "H W 3"]:
    """Put the weather over the scene and round to the target's depth; `amount=0` changes nothing."""
    scene = target / peak_of(target)
    amount = float(setting["amount"]) / 100.0
    angle = float(setting["angle"])
    match setting["kind"]:
        case "pairs":
            raise InvalidSetting("kind=pairs degrades nothing: its images are pairs already, as a dataset holds them")
        case "rain":
            scene = rain(
                scene,
                amount,
                float(setting["length"]),
                angle,
                randomness,
                width=float(setting["width"]),
                opacity=float(setting["opacity"]) / 100.0,
            )
        case "snow":
            scene = snow(scene, amount, angle, randomness)
        case "haze":
            scene = haze(scene, amount, randomness)
        case _:
            scene = raindrops(scene, amount, randomness)
    return units(rounded(peak_of(target) * scene, like=target))


def rain(
    scene: Scene,
    amount: float,
    length: float,
    angle: float,
    randomness: np.random.Generator,
    *,
    width: float = 1.0,
    opacity: float = 0.6,
) -> Scene:
    """Add streaks (O = B + S, as in Rain100), `opacity` being the light of the brightest.

    Their areas, length by width, sum to `amount` of the pixels.
    """
    drops = _scattered(scene, amount / (length * width), randomness)
    streaks: Layer = np.minimum(convolve(drops, _streak(length, width / 2.0, angle)), 1.0)
    return scene + opacity * streaks


def snow(scene: Scene, amount: float, angle: float, randomness: np.random.Generator) -> Scene:
    """Cover `amount` of the scene with white flakes of three sizes, each streaked by its fall."""
    for radius in (1.0, 1.75, 2.5):
        flake = _streak(radius, radius, angle)
        cover = np.minimum(convolve(_scattered(scene, amount / 3.0 / flake.sum(), randomness), flake), 1.0)
        scene = scene * (1.0 - cover) + cover
    return scene


def haze(scene: Scene, amount: float, randomness: np.random.Generator) -> Scene:
    """Scatter light (Koschmieder): O = B t + A (1 - t) with t = exp(-3 amount depth).

    The depth grows towards the top and drifts at random; the airlight A is one gray of 0.8..1 an image.
    """
    height, width = scene.shape[:2]
    grid = randomness.random((4, 4))
    rows, columns = (_interpolation(side, 4) for side in (height, width))
    depth = 0.6 * np.linspace(1.0, 0.2, height)[:, None] + 0.4 * (rows @ grid @ columns.T)
    transmission: Layer = np.exp(-3.0 * amount * depth)[..., None]
    airlight = float(randomness.uniform(0.8, 1.0))
    hazy: Scene = scene * transmission + airlight * (1.0 - transmission)
    return hazy


def raindrops(scene: Scene, amount: float, randomness: np.random.Generator) -> Scene:
    """Look through drops on the lens (O = (1 - M) B + M R, Qian et al. 2018): R is bright and out of focus.

    Drops have a radius of 2 to 5 % of the shorter side and together `amount` of the area, overlaps included.
    """
    height, width = scene.shape[:2]
    shorter = min(height, width)
    clear = np.ones((height, width))
    area_left = amount * height * width
    while area_left > 0.0:
        radius = max(1.0, shorter * randomness.uniform(0.02, 0.05))
        centre_y, centre_x = randomness.uniform(0.0, height), randomness.uniform(0.0, width)
        top, left = (max(0, int(centre - radius - 1.0)) for centre in (centre_y, centre_x))
        around = clear[top : int(centre_y + radius + 2.0), left : int(centre_x + radius + 2.0)]
        y, x = np.ogrid[top : top + around.shape[0], left : left + around.shape[1]]
        around *= 1.0 - np.clip(radius + 0.5 - np.hypot(y - centre_y, x - centre_x), 0.0, 1.0)
        area_left -= np.pi * radius**2
    blur = _streak(0.0, max(2.0, 0.02 * shorter), 0.0)
    refracted = 0.85 * convolve(scene, blur / blur.sum()) + 0.15
    mask = 1.0 - clear[..., None]
    return scene * (1.0 - mask) + refracted * mask


def _scattered(scene: Scene, density: float, randomness: np.random.Generator) -> Layer:
    """Return single pixels of opacity 0.4..1 at a chance of `density` each, zeros elsewhere."""
    shape = (*scene.shape[:2], 1)
    present = randomness.random(shape) < density
    return present * randomness.uniform(0.4, 1.0, shape)


def _streak(length: float, radius: float, angle: float) -> Float64[np.ndarray, "k k"]:
    """Draw a falling drop: pixels within `radius` of a segment, soft by a pixel at the edge, all in 0..1.

    The segment leans by `angle` degrees from straight down, to the right.
    """
    reach = int(np.ceil(length / 2.0 + radius + 0.5))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    down, right = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    along = np.clip(y * down + x * right, -length / 2.0, length / 2.0)
    distance: Float64[np.ndarray, "k k"] = np.hypot(y - along * down, x - along * right)
    return np.clip(radius + 0.5 - distance, 0.0, 1.0)


def _interpolation(side: int, knots: int) -> Float64[np.ndarray, "side knots"]:
    """Return the weights of evenly spread knots at each pixel: linear between neighbours."""
    positions = np.linspace(0.0, knots - 1.0, side)[:, None]
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(positions - np.arange(knots))))


TASK = Task(
    summary="seeded synthetic rain, snow, haze, or raindrops on the lens, or real pairs",
    # amount: percent of the area covered (haze: of a thickness that leaves 5 % of the light at the far end).
    # length, width: of a rain streak, in pixels; opacity: the light of the brightest one, in percent of white.
    # angle: of the fall, in degrees from straight down to the right.
    defaults={"kind": "rain", "amount": 20, "length": 15, "angle": 10.0, "width": 1.0, "opacity": 60},
    rules={
        "kind": ("rain", "snow", "haze", "raindrop", "pairs"),
        "amount": range(101),
        "length": range(3, 61),
        "angle": (-60.0, 60.0),
        "width": (1.0, 6.0),
        "opacity": range(1, 101),
    },
    ranged=("amount", "length", "angle", "width", "opacity"),
    only={
        "amount": ("kind", ("rain", "snow", "haze", "raindrop")),
        "length": ("kind", ("rain",)),
        "width": ("kind", ("rain",)),
        "opacity": ("kind", ("rain",)),
        "angle": ("kind", ("rain", "snow")),
    },
    channels=lambda setting: 3,
    scale=lambda setting: 1,
    protocol=lambda setting: Protocol(channel="rgb"),
    prepare_target=lambda image, setting: three_channels(image),
    degrade=_degrade,
)
