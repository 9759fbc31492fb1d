"""The leak guard: finds what was planted, whatever was done to it, and nothing where nothing is."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from harness import datasets, leaks
from harness.datasets import Image
from harness.leaks import LeakError, find, refuse_leaks

CHELSEA, MOTORCYCLE, CAMERA, ASTRONAUT, COFFEE, ROCKET = datasets.load("bundled", image_size=256)
TESTS = (CHELSEA, CAMERA, COFFEE)

Pixels = np.ndarray


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels.squeeze()).save(stream, "JPEG", quality=quality)
    decoded = np.asarray(PIL.Image.open(stream))
    return decoded[..., None] if decoded.ndim == 2 else decoded


def resized(pixels: Pixels, factor: float) -> Pixels:
    picture = PIL.Image.fromarray(pixels.squeeze())
    size = (round(picture.width * factor), round(picture.height * factor))
    result = np.asarray(picture.resize(size, PIL.Image.Resampling.BICUBIC))
    return result[..., None] if result.ndim == 2 else result


def noisy(pixels: Pixels) -> Pixels:
    noise = np.random.default_rng(0).normal(0, 15, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


PLANTED: dict[str, tuple[Callable[[Pixels], Pixels], str]] = {
    "itself": (lambda pixels: pixels, "the same pixels"),
    "a mirror": (lambda pixels: pixels[:, ::-1], "a copy, mirrored"),
    "upside down": (lambda pixels: pixels[::-1], "a copy, turned by 180 degrees, mirrored"),
    "a quarter turn": (np.rot90, "a copy, turned by 270 degrees"),
    "three quarter turns": (lambda pixels: np.rot90(pixels, 3), "a copy, turned by 90 degrees"),
    "a transpose": (lambda pixels: np.swapaxes(pixels, 0, 1), "turned by"),
    "half the size": (lambda pixels: resized(pixels, 0.5), "a copy, 0.50 times as large"),
    "0.7 of the size": (lambda pixels: resized(pixels, 0.7), "a copy, 0.70 times as large"),
    "twice the size": (lambda pixels: resized(pixels, 2.0), "a copy, 2.00 times as large"),
    "a coarse JPEG copy": (lambda pixels: jpeg(pixels, 10), "a copy"),
    "a fine JPEG copy": (lambda pixels: jpeg(pixels, 90), "a copy"),
    "a noisy copy": (noisy, "a copy"),
    "a gray copy": (lambda pixels: (0.9 * pixels.mean(axis=-1, keepdims=True)).astype(np.uint8), "a copy"),
    "a darker copy": (lambda pixels: (pixels * 0.6).astype(np.uint8), "a copy"),
    "a crop": (lambda pixels: pixels[31:159, 77:205], "25 % of it"),
    "a small crop": (lambda pixels: pixels[90:170, 90:170], "10 % of it"),
    "a mirrored crop in JPEG": (lambda pixels: jpeg(pixels[31:159, 77:205][:, ::-1], 40), "25 % of it, mirrored"),
    "a crop, turned and shrunk": (
        lambda pixels: np.rot90(resized(pixels[31:191, 47:207], 0.6)),
        "turned by 270 degrees, 0.60 times as large",
    ),
    "a crop, enlarged": (lambda pixels: resized(pixels[31:159, 77:205], 1.6), "1.60 times as large"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_was_planted_is_found_and_said_how(what: str) -> None:
    change, how = PLANTED[what]
    training = [MOTORCYCLE, *(Image(image.name, np.ascontiguousarray(change(image.pixels))) for image in TESTS)]
    found = find(training, TESTS)
    assert [(leak.training, leak.test) for leak in found] == [(image.name, image.name) for image in TESTS]
    words = {leak.how.replace("0.71", "0.70").replace("1.59", "1.60").replace("1.61", "1.60") for leak in found}
    assert all(how in said or how.replace("25", "24") in said for said in words), words


def test_a_test_image_that_is_a_crop_of_a_training_image_is_found_too() -> None:
    crop = Image("crop", np.ascontiguousarray(COFFEE.pixels[40:200, 60:220]))
    assert [(leak.training, leak.test) for leak in find([ROCKET, COFFEE], [crop])] == [("coffee", "crop")]


def test_different_photographs_do_not_leak() -> None:
    assert find([MOTORCYCLE, ASTRONAUT, ROCKET], TESTS) == []


def test_smooth_and_empty_pictures_prove_nothing() -> None:
    ramp = np.linspace(0, 255, 128, dtype=np.uint8)
    flat = Image("flat", np.full((64, 64, 1), 128, np.uint8))
    across = Image("across", np.repeat(ramp[None, :, None], 128, axis=0))
    other = Image("other", np.full((96, 64, 1), 200, np.uint8))
    assert find([flat, across, ROCKET], [other, COFFEE]) == []
    assert [leak.how for leak in find([flat], [flat])] == ["the same pixels"]
    assert find([], [COFFEE]) == find([COFFEE], []) == []


def test_tiny_images_are_looked_at_without_complaint() -> None:
    tiny = Image("tiny", np.ascontiguousarray(COFFEE.pixels[:8, :8]))
    assert [leak.how for leak in find([tiny], [tiny, COFFEE])] == ["the same pixels"]


def test_training_with_a_test_image_is_refused_with_the_pair_named() -> None:
    refuse_leaks([MOTORCYCLE], TESTS)
    mirrored = Image("holiday_7", np.ascontiguousarray(COFFEE.pixels[:, ::-1]))
    with pytest.raises(
        LeakError, match=r"holiday_7 is coffee of a test set \(a copy, mirrored\): take these images out"
    ):
        refuse_leaks([MOTORCYCLE, mirrored], TESTS)


def test_known_backgrounds_of_rain_sets_are_named_by_the_registry() -> None:
    rain = leaks.known("bsds500-train", ["rain100h-SUB"])
    assert len(rain) == 19
    assert "100075.jpg" in rain
    assert leaks.known("BSDS500-train", ["Set12"]) == ("12003.jpg",)
    assert leaks.known("BSDS500-train", ["Set5"]) == leaks.known("DIV2K", ["Rain100H"]) == leaks.known("mine", []) == ()


def test_sets_are_compared_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path))
    for folder, image, pixels in (
        ("train/Mine", ROCKET, ROCKET.pixels),
        ("train/Mine", COFFEE, COFFEE.pixels[:, ::-1]),
        ("test/Set5", COFFEE, COFFEE.pixels),
        ("test/Other", CHELSEA, CHELSEA.pixels),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).save(tmp_path / folder / f"{image.name}.png")
    assert [(leak.training, leak.test) for leak in leaks.find_in_sets("mine")] == [("coffee", "Set5/coffee")]
    assert leaks.find_in_sets("mine", ["other"]) == []


def here(*names: str) -> bool:
    return "SEMANIR_DATA" in os.environ and set(names) <= set(datasets.names())


@pytest.mark.slow
@pytest.mark.skipif(not here("BSDS500-train", "Set5", "Set12"), reason="BSDS500-train, Set5 and Set12 are not here")
def test_crops_of_set5_are_found_among_the_photographs_of_bsds_and_nothing_else_is() -> None:
    """One true leak lies in the sets themselves: Set12's starfish is a photograph of BSDS500-train."""
    photographs, set5 = list(datasets.load("BSDS500-train")), datasets.load("Set5")
    training = [image for number, image in enumerate(photographs) if number % 4 == 0 or image.name == "12003"]
    tests = [Image(f"{name}/{image.name}", image.pixels) for name in ("Set5", "Set12") for image in datasets.load(name)]
    changes = (
        lambda pixels: pixels[60:156, 70:166],
        lambda pixels: pixels[:, ::-1],
        lambda pixels: resized(pixels, 0.5),
        lambda pixels: jpeg(resized(pixels[40:200, 50:210], 1.5), 50),
        lambda pixels: np.rot90(jpeg(pixels, 20)),
    )
    planted = [
        Image(f"planted {image.name}", np.ascontiguousarray(change(image.pixels)))
        for image, change in zip(set5, changes, strict=True)
    ]
    found = {(leak.training, leak.test) for leak in find([*training, *planted], tests)}
    expected = {(f"planted {image.name}", f"Set5/{image.name}") for image in set5}
    in_set12 = {pair for pair in found if pair[1] == "Set12/05" and pair[0].startswith("planted butterfly")}
    assert found - in_set12 == expected | {("12003", "Set12/04")}


@pytest.mark.slow
@pytest.mark.skipif(not here("BSDS500-train", "Rain100H-sub"), reason="BSDS500-train or Rain100H-sub is not here")
def test_the_backgrounds_of_rain_that_the_registry_lists_are_those_that_are_found() -> None:
    found = leaks.find_in_sets("BSDS500-train", ["Rain100H-sub"])
    assert sorted(f"{leak.training}.jpg" for leak in found) == sorted(leaks.known("BSDS500-train", ["Rain100H-sub"]))
