"""Laws that every degradation of every task obeys, found by listing the tasks."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import datasets
from harness.catalogs import TASKS
from harness.channels import units
from harness.task import SMALLEST_SIDE, Setting, Task, generator

SETTINGS = [
    (name, text)
    for name, texts in {
        "denoise": ["sigma=25", "sigma=50,color=rgb", "sigma=5..50"],
        "jpeg": ["quality=10", "quality=40,color=rgb", "quality=10..40"],
        "demosaic": ["pattern=rggb", "pattern=gbrg,interpolation=bilinear"],
        "sr": ["scale=2", "scale=3,color=gray", "scale=4,lr=exact"],
        "deblur": ["kernel=motion", "kernel=linear,length=33", "kernel=linear,length=5..33,angle=0..180"],
        "weather": ["kind=rain", "kind=snow", "kind=haze", "kind=raindrop", "kind=snow,amount=5..40"],
    }.items()
    for text in texts
]
every_setting = pytest.mark.parametrize(("name", "text"), SETTINGS, ids=[f"{n}:{t}" for n, t in SETTINGS])

PHOTOGRAPHS = datasets.load("bundled", images=3, image_size=48)
sizes = st.integers(SMALLEST_SIDE, 33)


def make(task: Task, setting: Setting, name: str, pixels: np.ndarray, seed: int = 0) -> np.ndarray:
    randomness = generator(seed, name)
    return task.degrade(task.prepare_target(pixels, setting), task.draw(setting, randomness), randomness)


def deep(pixels: np.ndarray) -> np.ndarray:
    """Return a photograph with 16 bits of its own: no value of it has an exact place among 8-bit ones."""
    below = np.random.default_rng(0).integers(1, 257, pixels.shape)
    return (np.maximum(pixels.astype(np.int64) * 257 - below, 1)).astype(np.uint16)


def test_every_task_is_tried() -> None:
    assert {name for name, _ in SETTINGS} >= set(TASKS.names())


@every_setting
@given(height=sizes, width=sizes, gray=st.booleans(), dtype=st.sampled_from([np.uint8, np.uint16]))
def test_any_size_depth_and_kind_of_image_is_degraded(
    name: str, text: str, height: int, width: int, gray: bool, dtype: type
) -> None:
    task = TASKS[name]
    setting = task.parse(text)
    pixels = (PHOTOGRAPHS[2] if gray else PHOTOGRAPHS[0]).pixels[:height, :width]
    pixels = deep(pixels) if dtype == np.uint16 else pixels
    target = task.prepare_target(pixels, setting)
    degraded = make(task, setting, "x", pixels)
    assert target.dtype == (np.uint8 if name == "jpeg" else dtype)
    assert degraded.dtype == np.float32
    assert np.isfinite(degraded).all()
    assert target.shape[-1] == degraded.shape[-1] == task.channels(setting)
    assert tuple(side * task.scale(setting) for side in degraded.shape[:2]) == target.shape[:2]
    assert height - 4 < target.shape[0] <= height
    assert task.upscale(degraded, setting).shape == target.shape


@every_setting
def test_the_bytes_depend_on_seed_and_name_but_not_on_the_order(name: str, text: str) -> None:
    task = TASKS[name]
    setting = task.parse(text)
    forward = [make(task, setting, image.name, image.pixels).tobytes() for image in PHOTOGRAPHS]
    backward = [make(task, setting, image.name, image.pixels).tobytes() for image in reversed(PHOTOGRAPHS)]
    assert forward == backward[::-1]


def test_another_process_makes_the_same_bytes_of_8_and_of_16_bits() -> None:
    """A pattern stands for a photograph, so that the other process needs nothing of this one."""
    script = """
import hashlib, sys
import numpy as np
from harness.catalogs import TASKS
from harness.task import generator

for line in sys.stdin.read().splitlines():
    name, text, dtype = line.split()
    task, randomness = TASKS[name], generator(3, "pattern")
    setting = task.parse(text)
    target = task.prepare_target((np.arange(24 * 24 * 3).reshape(24, 24, 3) * 37).astype(dtype), setting)
    print(hashlib.sha256(task.degrade(target, task.draw(setting, randomness), randomness).tobytes()).hexdigest())
"""
    asked = [(name, text, dtype) for name, text in SETTINGS for dtype in ("uint8", "uint16")]
    lines = "\n".join(" ".join(one) for one in asked)
    there = subprocess.run([sys.executable, "-c", script], input=lines, capture_output=True, text=True, check=True)
    pattern = np.arange(24 * 24 * 3).reshape(24, 24, 3) * 37
    here = [
        make(TASKS[name], TASKS[name].parse(text), "pattern", pattern.astype(dtype), seed=3)
        for name, text, dtype in asked
    ]
    assert there.stdout.split() == [hashlib.sha256(degraded.tobytes()).hexdigest() for degraded in here]


@pytest.mark.parametrize(
    "text",
    ["denoise:sigma=25", "denoise:sigma=5..50", "deblur:kernel=motion", "weather:kind=rain", "weather:kind=haze"],
)
def test_another_seed_or_name_gives_other_bytes(text: str) -> None:
    name, _, text = text.partition(":")
    task = TASKS[name]
    setting = task.parse(text)
    pixels = PHOTOGRAPHS[0].pixels
    made = {make(task, setting, who, pixels, seed).tobytes() for who, seed in [("a", 0), ("a", 1), ("b", 0)]}
    assert len(made) == 3


@pytest.mark.parametrize(("name", "text"), [s for s in SETTINGS if s[0] != "denoise" and "exact" not in s[1]])
def test_all_but_noise_and_exact_reductions_are_8_bit_pictures(name: str, text: str) -> None:
    task = TASKS[name]
    degraded = make(task, task.parse(text), "x", PHOTOGRAPHS[1].pixels)
    assert np.array_equal(units(np.round(degraded * 255).astype(np.uint8)), degraded)


@pytest.mark.parametrize(("name", "text"), [s for s in SETTINGS if s[0] in ("demosaic", "deblur", "weather")])
def test_16_bit_pictures_stay_16_bit_pictures(name: str, text: str) -> None:
    task = TASKS[name]
    degraded = make(task, task.parse(text), "x", deep(PHOTOGRAPHS[1].pixels))
    assert np.array_equal(units(np.round(degraded * np.float64(65535)).astype(np.uint16)), degraded)
    assert not np.array_equal(units(np.round(degraded * 255).astype(np.uint8)), degraded)


@pytest.mark.parametrize(("name", "text"), [("jpeg", "quality=10"), ("sr", "scale=2")])
def test_what_is_8_bits_by_nature_or_by_name_stays_so(name: str, text: str) -> None:
    task = TASKS[name]
    degraded = make(task, task.parse(text), "x", deep(PHOTOGRAPHS[1].pixels))
    assert np.array_equal(units(np.round(degraded * 255).astype(np.uint8)), degraded)


@every_setting
def test_8_bit_values_stored_on_16_bits_are_degraded_alike(name: str, text: str) -> None:
    """257 times a value is the same light: results differ by the last rounding alone."""
    task = TASKS[name]
    setting = task.parse(text)
    pixels = PHOTOGRAPHS[2].pixels  # gray: making luma or gray of colour would round as well
    plain, stored = (make(task, setting, "x", version) for version in (pixels, pixels.astype(np.uint16) * 257))
    assert np.abs(plain - stored).max() <= 0.51 / 255


@every_setting
def test_the_target_is_left_alone_and_prepared_once_for_all(name: str, text: str) -> None:
    task = TASKS[name]
    setting = task.parse(text)
    target = task.prepare_target(PHOTOGRAPHS[0].pixels, setting)
    before = target.copy()
    make(task, setting, "x", target)
    assert np.array_equal(target, before)
    assert np.array_equal(task.prepare_target(target, setting), target)
