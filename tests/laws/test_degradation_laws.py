"""Laws that every degradation of every task obeys, found by listing the tasks."""

from __future__ import annotations

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
        "denoise": ["sigma=25", "sigma=50,color=rgb"],
        "jpeg": ["quality=10", "quality=40,color=rgb"],
        "demosaic": ["pattern=rggb", "pattern=gbrg,interpolation=bilinear"],
        "sr": ["scale=2", "scale=3,color=gray", "scale=4,lr=exact"],
        "deblur": ["kernel=motion", "kernel=linear,length=33"],
        "weather": ["kind=rain", "kind=snow", "kind=haze", "kind=raindrop"],
    }.items()
    for text in texts
]
every_setting = pytest.mark.parametrize(("name", "text"), SETTINGS, ids=[f"{n}:{t}" for n, t in SETTINGS])

PHOTOGRAPHS = datasets.load("bundled", images=3, image_size=48)
sizes = st.integers(SMALLEST_SIDE, 33)


def make(task: Task, setting: Setting, name: str, pixels: np.ndarray, seed: int = 0) -> np.ndarray:
    return task.degrade(task.prepare_target(pixels, setting), setting, generator(seed, name))


def test_every_task_is_tried() -> None:
    assert {name for name, _ in SETTINGS} >= set(TASKS.names())


@every_setting
@given(height=sizes, width=sizes, gray=st.booleans())
def test_any_size_and_both_kinds_of_image_are_degraded(
    name: str, text: str, height: int, width: int, gray: bool
) -> None:
    task = TASKS[name]
    setting = task.parse(text)
    pixels = (PHOTOGRAPHS[2] if gray else PHOTOGRAPHS[0]).pixels[:height, :width]
    target = task.prepare_target(pixels, setting)
    degraded = task.degrade(target, setting, generator(0, "x"))
    assert target.dtype == np.uint8
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


@pytest.mark.parametrize("text", ["denoise:sigma=25", "deblur:kernel=motion", "weather:kind=rain", "weather:kind=haze"])
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


@every_setting
def test_the_target_is_left_alone_and_prepared_once_for_all(name: str, text: str) -> None:
    task = TASKS[name]
    setting = task.parse(text)
    target = task.prepare_target(PHOTOGRAPHS[0].pixels, setting)
    before = target.copy()
    task.degrade(target, setting, generator(0, "x"))
    assert np.array_equal(target, before)
    assert np.array_equal(task.prepare_target(target, setting), target)
