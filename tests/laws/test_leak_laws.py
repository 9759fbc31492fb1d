"""Laws of the leak guard: where a crop was cut and how it was laid does not decide whether it is found."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import datasets
from harness.datasets import Image
from harness.leaks import find

CHELSEA, MOTORCYCLE, _, ASTRONAUT, COFFEE, _ = datasets.load("bundled", image_size=240)
LIMIT = 240 - 112


@settings(max_examples=12)
@given(
    source=st.sampled_from([MOTORCYCLE, COFFEE, ASTRONAUT]),
    top=st.integers(0, LIMIT),
    left=st.integers(0, LIMIT),
    turns=st.integers(0, 3),
    mirrored=st.booleans(),
)
def test_a_crop_is_found_wherever_it_was_cut_and_however_it_lies(
    source: Image, top: int, left: int, turns: int, mirrored: bool
) -> None:
    cut = np.rot90(source.pixels[top : top + 112, left : left + 112], turns)
    crop = Image("crop", np.ascontiguousarray(cut[:, ::-1] if mirrored else cut))
    (leak,) = find([crop], [CHELSEA, source])
    assert leak.test == source.name
    assert ("mirrored" in leak.how) == mirrored


@settings(max_examples=6)
@given(st.permutations([CHELSEA, MOTORCYCLE, ASTRONAUT]))
def test_the_order_of_images_decides_only_the_order_of_leaks(training: list[Image]) -> None:
    found = find(training, [MOTORCYCLE, CHELSEA])
    assert {(leak.training, leak.test) for leak in found} == {
        ("chelsea", "chelsea"),
        ("motorcycle_left", "motorcycle_left"),
    }
    assert [leak.training for leak in found] == [image.name for image in training if image.name != "astronaut"]
