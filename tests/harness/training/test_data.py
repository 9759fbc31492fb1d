"""Patches: a pure function of seed, step and place, cut and degraded as whole images are."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from harness.catalogs import TASKS
from harness.datasets import DatasetError, Image
from harness.training import data
from harness.training.data import Patches, loader
from harness.training.spec import Source, TrainingSpec

Load = Callable[..., TrainingSpec]


def texture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """An image of which every cut is different."""
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def test_a_batch_is_the_same_whoever_makes_it_and_in_whatever_order(tiny: Load) -> None:
    spec = tiny()
    images = [data.read(source, pairs=False) for source in spec.data]
    patches, again = Patches(spec, images), Patches(spec, images)
    whole = patches.batch(7, range(4))
    again.batch(3, range(4))
    halves = [again.batch(7, places) for places in (range(2, 4), range(2))]
    for side in (0, 1):
        assert torch.equal(whole[side], torch.cat([halves[1][side], halves[0][side]]))
    assert not torch.equal(whole[1], patches.batch(8, range(4))[1])
    assert len({tuple(patch.flatten()[:50].tolist()) for patch in whole[1]}) == 4


def test_threads_that_work_ahead_give_the_same_batches(tiny: Load) -> None:
    spec = tiny("workers=2", "steps=9")
    patches = Patches(spec, [data.read(source, pairs=False) for source in spec.data])
    with loader(patches, range(1, 3)) as load:
        for step in range(4, 9):
            for made, expected in zip(load(step), patches.batch(step, range(1, 3)), strict=True):
                assert torch.equal(made, expected)


def test_each_step_draws_one_window_with_one_of_its_k(tiny: Load) -> None:
    spec = tiny("windows.1.odds=3")
    drawn = Counter((found.window, found.top_k) for found in (data.draws(spec, step) for step in range(2000)))
    assert drawn.keys() == {(4, 2), (4, 8), (8, 4)}
    assert drawn[8, 4] == pytest.approx(500, abs=90)
    assert drawn[4, 2] == pytest.approx(750, abs=90)


def found_in(whole: np.ndarray, patch: np.ndarray) -> tuple[int, int, int, bool]:
    """Return where a patch was cut, and how it was turned."""
    side = patch.shape[0]
    for turns, mirrored in itertools.product(range(4), (False, True)):
        turned = np.rot90(patch[:, ::-1] if mirrored else patch, -turns)
        for top, left in itertools.product(*(range(length - side + 1) for length in whole.shape[:2])):
            if np.array_equal(whole[top : top + side, left : left + side], turned):
                return top, left, turns, mirrored
    raise AssertionError("the patch is nowhere in the image")


def test_a_margin_makes_a_patch_what_a_cut_from_the_whole_degraded_image_is(tiny: Load) -> None:
    spec = tiny("task=sr", "setting=scale=2", "patch=8", "margin=8")
    task, setting = TASKS["sr"], spec.shipped_setting
    image = texture(64, 72)
    patches = Patches(spec, [(Image("texture", image),)])
    reduced = task.degrade(image, setting, np.random.default_rng())
    even = 0
    for place in range(24):
        degraded, target = patches.patch(0, place)
        top, left, turns, mirrored = found_in(image, np.round(target * 255).astype(np.uint8))
        if top % 2 or left % 2:
            continue
        even += 1
        cut = reduced[top // 2 : top // 2 + 8, left // 2 : left // 2 + 8]
        turned = np.rot90(cut, turns)
        np.testing.assert_array_equal(degraded, turned[:, ::-1] if mirrored else turned)
    assert even >= 3


def test_the_blocks_of_jpeg_and_the_mosaic_begin_at_the_corner_of_a_patch(tiny: Load) -> None:
    image = (Image("texture", texture(80, 80)),)
    mosaic = tiny("task=demosaic", "setting=interpolation=none", "patch=16", "margin=4")
    for place in range(8):
        degraded, _ = Patches(mosaic, [image]).patch(0, place)
        assert (degraded[0::2, 0::2, 1:] == 0).all()
        assert (degraded[1::2, 1::2, :2] == 0).all()
    jpeg = tiny("task=jpeg", "setting=quality=10", "patch=32", "margin=8")
    degraded, target = Patches(jpeg, [image]).patch(0, 0)
    alone = np.round(target * 255).astype(np.uint8)
    again = TASKS["jpeg"].degrade(alone, jpeg.shipped_setting, np.random.default_rng())
    np.testing.assert_array_equal(degraded, again)


def test_pairs_stay_together_and_are_not_degraded_again(tiny: Load) -> None:
    spec = tiny("task=deblur", "setting=kernel=pairs", "margin=4")
    clean = texture(40, 60)
    patches = Patches(spec, [(Image("frame", clean, 255 - clean),)])
    for place in range(8):
        degraded, target = patches.patch(0, place)
        np.testing.assert_allclose(degraded, 1 - target, atol=1e-6)


def test_ranges_give_each_patch_a_setting_of_its_own(tiny: Load) -> None:
    spec = tiny("setting=sigma=5..50", "patch=64")
    patches = Patches(spec, [(Image("flat", np.full((64, 64, 1), 128, np.uint8)),)])
    deviations = [float(np.std(np.subtract(*patches.patch(0, place)))) * 255 for place in range(40)]
    assert 5 * 0.9 < min(deviations) < 15
    assert 40 < max(deviations) < 50 * 1.1


def test_colours_are_varied_before_the_degradation(tiny: Load) -> None:
    image = (Image("texture", texture(32, 32) // 3 + 80),)
    still, varied = (
        Patches(tiny("task=demosaic", "setting=pattern=rggb", *more), [image])
        for more in ([], ["colour={saturation: [0.5, 0.5], gain: [1, 1]}"])
    )
    (_, plain), (degraded, paler) = still.patch(0, 0), varied.patch(0, 0)
    np.testing.assert_allclose(
        paler - paler.mean(-1, keepdims=True), (plain - plain.mean(-1, keepdims=True)) / 2, atol=4e-3
    )
    assert degraded[0, 0, 0] == pytest.approx(paler[0, 0, 0])


def test_reduced_copies_are_drawn_too(tiny: Load) -> None:
    spec = tiny("data.1.scales=[1, 0.5]")
    patches = Patches(spec, [(Image("texture", texture(64, 64, 1)),)])
    assert {target.shape[0] for target, _ in patches.pools[0].images} == {64, 32}


def test_sources_are_drawn_by_their_odds(tiny: Load) -> None:
    spec = tiny("data=[{dataset: bundled, odds: 3}, {dataset: bundled, odds: 1}]", "setting=sigma=0")
    dark, light = (Image(name, np.full((16, 16, 1), value, np.uint8)) for name, value in (("dark", 0), ("light", 255)))
    patches = Patches(spec, [(dark,), (light,)])
    assert np.mean([patches.patch(0, place)[1].mean() for place in range(1000)]) == pytest.approx(0.25, abs=0.05)


def test_what_is_excluded_is_not_read_and_has_to_be_there() -> None:
    kept = data.read(Source(dataset="bundled", exclude=("camera.png", "coffee")), pairs=False)
    assert not {"camera", "coffee"} & {image.name for image in kept}
    with pytest.raises(DatasetError, match=r"bundled holds no image camra\.png, which is excluded"):
        data.read(Source(dataset="bundled", exclude=("camra.png",)), pairs=False)


def test_a_folder_is_read_and_a_broken_one_is_named(tmp_path: Path) -> None:
    source = Source(folder=tmp_path / "mine")
    with pytest.raises(DatasetError, match="mine: there is no such folder"):
        data.read(source, pairs=False)
    (tmp_path / "mine").mkdir()
    with pytest.raises(DatasetError, match="mine: holds no images to train on"):
        data.read(source, pairs=False)
    PIL.Image.fromarray(texture(32, 32)).save(tmp_path / "mine" / "a.png")
    before = data.fingerprint(source)
    assert [image.name for image in data.read(source, pairs=False)] == ["a"]
    (tmp_path / "mine" / "b.png").write_bytes((tmp_path / "mine" / "a.png").read_bytes()[:200])
    assert data.fingerprint(source) != before
    with pytest.raises(DatasetError, match=r"b\.png: cannot be decoded"):
        data.read(source, pairs=False)


def test_an_image_under_a_patch_is_named(tiny: Load) -> None:
    with pytest.raises(DatasetError, match="bundled/small: 15x40 pixels, and a patch with its margin takes 16"):
        Patches(tiny(), [(Image("small", texture(15, 40, 1)),)])
