from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import UInt
from PIL import Image

from harness import datasets, png
from harness.catalogs import BACKENDS, MODELS, TASKS
from harness.datasets import DatasetError
from harness.restoration import RestorationError, set_up, weights_for
from harness.restoring import Restorer
from semanir.checkpoints import save
from semanir.model import Request
from semanir.weights import cards

RANDOM = np.random.default_rng(0)


def photograph(side: int = 72) -> UInt[np.ndarray, "H W C"]:
    return datasets.load("bundled", image_size=side)[0].pixels


def noisy(clean: UInt[np.ndarray, "H W C"]) -> UInt[np.ndarray, "H W C"]:
    peak = np.iinfo(clean.dtype).max
    noise = 25 / 255 * peak * np.random.default_rng(0).standard_normal(clean.shape)
    return np.clip(np.round(clean + noise), 0, peak).astype(clean.dtype)


def psnr(one: UInt[np.ndarray, "H W C"], other: UInt[np.ndarray, "H W C"]) -> float:
    peak = np.iinfo(one.dtype).max
    return float(-10 * np.log10(np.mean(((one.astype(float) - other) / peak) ** 2)))


@pytest.fixture(scope="module")
def shipped() -> Restorer:
    return Restorer(set_up(weights_for("denoise"), backend="sdpa"))


@pytest.fixture
def own(tmp_path: Path) -> Callable[[str, str], Restorer]:
    """Return a way to make untrained weights with a card, as the trainer writes them, and read them by their file."""

    def make(task: str, setting: str) -> Restorer:
        parsed = TASKS[task].parse(setting)
        channels, scale = TASKS[task].channels(parsed), TASKS[task].scale(parsed)
        request = Request(configuration="nano", channels=channels, scale=scale, height=32, width=32, window=4, top_k=4)
        backend = BACKENDS["mask"]
        torch.manual_seed(0)
        network = MODELS["semanir"].build(request, attend=backend.load(), forms=backend.needs)
        file = tmp_path / "mine.safetensors"
        card = {"name": "mine", "model": "semanir/nano", "task": task, "setting": TASKS[task].canonical(parsed)}
        card |= {"channels": channels, "scale": scale, "sha256": save(network, file)}
        card["training"] = {"validation": {"window": 4, "top_k": 4}}
        file.with_suffix(".json").write_text(json.dumps(card))
        return Restorer(set_up(weights_for(name=str(file)), backend="mask"))

    return make


@pytest.mark.parametrize("sixteen", [False, True])
def test_gray_of_both_depths_gets_better_and_stays_what_it_is(shipped: Restorer, sixteen: bool) -> None:
    clean = photograph().mean(-1, keepdims=True).astype(np.uint8)
    clean = clean.astype(np.uint16) * 257 if sixteen else clean
    restored = shipped.restore(noisy(clean))
    assert restored.dtype == clean.dtype
    assert restored.shape == clean.shape
    assert psnr(restored, clean) > psnr(noisy(clean), clean) + 5


def test_sixteen_bits_are_used(shipped: Restorer) -> None:
    restored = shipped.restore(noisy(photograph(32)[..., :1].astype(np.uint16) * 257))
    assert (restored % 257 != 0).mean() > 0.9


def test_a_network_for_gray_restores_each_channel_of_colour_by_itself(shipped: Restorer) -> None:
    clean = photograph()
    restored = shipped.restore(noisy(clean))
    planes = [shipped.restore(noisy(clean)[..., [channel]]) for channel in range(3)]
    # A batch of three may round another way than three calls.
    assert np.abs(restored.astype(int) - np.concatenate(planes, axis=-1)).max() <= 1
    assert psnr(restored, clean) > psnr(noisy(clean), clean) + 5
    assert shipped.restoration.channels_note(3) == "a network for gray: red, green and blue each restored by themselves"


def test_a_network_for_colour_answers_gray_with_gray(own: Callable[[str, str], Restorer]) -> None:
    restorer = own("denoise", "sigma=25,color=rgb")
    gray = photograph(32)[..., :1]
    colour = restorer.restore(np.repeat(gray, 3, axis=-1))
    restored = restorer.restore(gray)
    assert restored.shape == gray.shape
    assert np.abs(restored - colour.mean(-1, keepdims=True)).max() <= 1.5  # both were rounded
    assert "gray repeated" in restorer.restoration.channels_note(1)


def test_super_resolution_answers_at_its_scale(own: Callable[[str, str], Restorer]) -> None:
    assert own("sr", "scale=2").restore(photograph(32)[:25, :31]).shape == (50, 62, 3)


@pytest.mark.parametrize("size", [(8, 8), (8, 37), (33, 9)])
def test_any_size_is_restored(shipped: Restorer, size: tuple[int, int]) -> None:
    assert shipped.restore(photograph()[: size[0], : size[1], :1]).shape == (*size, 1)


def test_a_large_picture_is_restored_in_tiles_as_it_is_whole(own: Callable[[str, str], Restorer]) -> None:
    restorer = own("denoise", "sigma=25")
    sides: list[tuple[int, ...]] = []
    network = restorer.network

    def watched(image: torch.Tensor) -> torch.Tensor:
        sides.append(tuple(image.shape[-2:]))
        return network(image)

    wide = RANDOM.integers(0, 256, (24, 700, 1), dtype=np.uint8)
    restorer.network = watched
    tiled = restorer.restore(wide)
    assert sides == [(24, 512), (24, 508)]
    with torch.inference_mode():
        whole = network(torch.from_numpy(wide[..., 0] / np.float32(255))[None, None])[0, 0].numpy()
    assert np.abs(tiled[..., 0] - np.clip(whole, 0, 1) * 255).max() < 1


def test_a_raw_mosaic_is_refused(own: Callable[[str, str], Restorer]) -> None:
    with pytest.raises(RestorationError, match="demosaic completes colours; interpolate the mosaic first"):
        own("demosaic", "pattern=rggb").restore(photograph(16)[..., :1])


def test_a_file_becomes_a_png_of_its_depth_with_its_profile(shipped: Restorer, tmp_path: Path) -> None:
    source, file = tmp_path / "deep.png", tmp_path / "out.png"
    source.write_bytes(png.encode(photograph(24).astype(np.uint16) * 257, profile=b"wide"))
    found = shipped.restore_file(source, file)
    assert (found.height, found.width, found.channels, found.bits) == (24, 24, 3, 16)
    assert found.seconds > 0
    assert datasets.read_image(file).dtype == np.uint16
    with Image.open(file) as opened:
        assert opened.info["icc_profile"] == b"wide"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep.png", "out.png"]


def test_what_is_no_picture_or_cannot_be_written_is_named(shipped: Restorer, tmp_path: Path) -> None:
    with pytest.raises(RestorationError, match=r"is a folder; name its pictures, as in .*\*\.png"):
        shipped.restore_file(tmp_path, tmp_path / "out.png")
    with pytest.raises(DatasetError, match="there is no such file"):
        shipped.restore_file(tmp_path / "none.png", tmp_path / "out.png")
    Image.fromarray(photograph(16)).save(tmp_path / "a.png")
    with pytest.raises(RestorationError, match="cannot be written"):
        shipped.restore_file(tmp_path / "a.png", tmp_path / "no" / "out.png")


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    card = cards()["denoise-gray-25"]
    (tmp_path / "mine.json").write_text(card.file.with_suffix(".json").read_text())
    (tmp_path / "mine.safetensors").write_bytes(card.file.read_bytes()[:-1])
    setup = set_up(weights_for(name=str(tmp_path / "mine.safetensors")), backend="mask")
    with pytest.raises(RestorationError, match="its sha256 is"):
        Restorer(setup)
