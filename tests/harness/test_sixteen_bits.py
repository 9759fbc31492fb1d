"""16-bit images, from the file to the number."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from harness import datasets
from harness.channels import bits_of, to_8_bits, to_gray, to_luma, units
from harness.datasets import DatasetError
from harness.datasets.pictures import size_of
from harness.evaluate import evaluate, judgement
from harness.metrics.degraded import METRIC
from harness.protocol import Protocol
from harness.record import Cell, Timing
from harness.trial import Trial

RANDOM = np.random.default_rng(0)
GRAY, RGB = (RANDOM.integers(0, 65536, (20, 24, channels), dtype=np.uint16) for channels in (1, 3))
COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
"""Of PNG, by channels."""
TURNED = 6
"""The EXIF orientation of what is seen after a quarter turn clockwise."""


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def save_png(file: Path, pixels: np.ndarray, *, turned: bool = False) -> Path:
    """Write 16-bit values, which Pillow cannot; rows are filtered by turns with none, sub and up."""
    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    left = np.pad(rows, ((0, 0), (2 * channels, 0)))[:, : rows.shape[1]]
    above = np.pad(rows, ((1, 0), (0, 0)))[:height]
    kinds = (rows, rows - left, rows - above)
    lines = b"".join(bytes([y % 3]) + kinds[y % 3][y].tobytes() for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPE[channels], 0, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = TURNED
    parts = [chunk(b"IHDR", head), chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) if turned else b""]
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )
    return file


def save_tiff(file: Path, pixels: np.ndarray, **options: Any) -> Path:
    gray = pixels.shape[-1] == 1
    content = pixels[..., 0] if gray else pixels
    tifffile.imwrite(file, content, **{"photometric": "minisblack" if gray else "rgb"} | options)
    return file


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path))
    (tmp_path / "test" / "Own").mkdir(parents=True)
    return tmp_path


# reading


@pytest.mark.parametrize("pixels", [GRAY, RGB], ids=["gray", "rgb"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_png_is_read_exactly(tmp_path: Path, pixels: np.ndarray, turned: bool) -> None:
    file = save_png(tmp_path / "a.png", pixels, turned=turned)
    read = datasets.read_image(file)
    assert read.dtype == np.uint16
    assert np.array_equal(read, np.rot90(pixels, -1) if turned else pixels)
    assert size_of(file) == read.shape[:2]


@pytest.mark.parametrize("pixels", [GRAY, RGB], ids=["gray", "rgb"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"compression": "zlib"},
        {"compression": "zlib", "byteorder": ">"},
        {"rowsperstrip": 3},
        {"tile": (16, 16)},
        {"extratags": [(274, "H", 1, TURNED, True)]},
    ],
    ids=["plain", "big-endian", "zlib", "zlib-big-endian", "strips", "tiles", "turned"],
)
def test_a_tiff_is_read_exactly(tmp_path: Path, pixels: np.ndarray, options: dict[str, Any]) -> None:
    read = datasets.read_image(save_tiff(tmp_path / "a.tif", pixels, **options))
    assert read.dtype == np.uint16
    assert np.array_equal(read, np.rot90(pixels, -1) if "extratags" in options else pixels)


def test_a_turned_8_bit_tiff_is_read_exactly_too(tmp_path: Path) -> None:
    """Pillow alone scrambles it, as it does one of 16 bits."""
    file = save_tiff(tmp_path / "a.tif", to_8_bits(GRAY), extratags=[(274, "H", 1, TURNED, True)])
    assert np.array_equal(datasets.read_image(file), np.rot90(to_8_bits(GRAY), -1))


def test_opaque_alpha_is_dropped_and_no_other(tmp_path: Path) -> None:
    alpha = np.full((20, 24, 1), 65535, np.uint16)
    assert np.array_equal(datasets.read_image(save_png(tmp_path / "a.png", np.dstack([RGB, alpha]))), RGB)
    alpha[3, 4] -= 1
    with pytest.raises(DatasetError, match=r"b\.png: has transparent pixels \(alpha down to 65534\); flatten it"):
        datasets.read_image(save_png(tmp_path / "b.png", np.dstack([RGB, alpha])))


def test_a_picture_of_another_programs_making_is_read() -> None:
    pixels = datasets.read_image(datasets.bundled_folder() / "chessboard_RGB.png")
    assert (pixels.dtype, pixels.shape[-1]) == (np.uint16, 3)
    shrunk = np.asarray(Image.open(datasets.bundled_folder() / "chessboard_RGB.png"))
    assert np.array_equal(pixels >> 8, shrunk)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gray-alpha.png", "16 bits stored as 'LA;16B' are not read; save it as gray or RGB"),
        ("planes.tif", "16 bits stored as 'B' are not read; save it as gray or RGB"),
        ("negative.tif", "stores white as 0, which is not read at 16 bits; save it with black as 0"),
        ("deeper.tif", "holds 32 bits a channel; 8 and 16 are read, convert it first"),
        ("cut.png", "cannot be decoded"),
    ],
)
def test_what_is_not_read_is_refused_with_a_remedy(tmp_path: Path, name: str, message: str) -> None:
    file = tmp_path / name
    match name:
        case "gray-alpha.png":
            save_png(file, np.dstack([GRAY, GRAY]))
        case "planes.tif":
            save_tiff(file, np.moveaxis(RGB, -1, 0), planarconfig="separate")
        case "negative.tif":
            save_tiff(file, GRAY, photometric="miniswhite")
        case "deeper.tif":
            save_tiff(file, GRAY.astype(np.uint32))
        case _:
            save_png(file, RGB)
            file.write_bytes(file.read_bytes()[:600])
    with pytest.raises(DatasetError) as error:
        datasets.read_image(file)
    assert str(error.value).startswith(f"{file}: {message}")


# conversions


def test_8_bit_values_have_an_exact_place_among_16_bit_ones() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    stored = every.astype(np.uint16) * 257
    assert np.array_equal(units(stored), units(every))
    assert np.array_equal(to_8_bits(stored), every)
    assert (bits_of(every), bits_of(stored)) == (8, 16)


def test_rounding_to_8_bits_takes_the_nearest() -> None:
    assert to_8_bits(np.array([[[0, 128, 129, 65406, 65407, 65535]]], np.uint16)).tolist() == [
        [[0, 0, 1, 254, 255, 255]]
    ]


def test_all_16_bit_values_survive_units_of_one() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    prepared = Protocol(channel="gray").prepare(units(every), bits=16)
    assert np.array_equal(np.round(prepared * 257.0), every)


def test_gray_and_luma_are_matlabs_to_the_nearest_16_bit_value() -> None:
    red, green, blue = np.moveaxis(RGB.astype(np.float64), -1, 0)
    gray = 0.298936021293775 * red + 0.587043074451121 * green + 0.114020904255103 * blue
    luma = 16 * 257 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255
    assert np.abs(to_gray(RGB)[..., 0] - gray).max() <= 0.5
    assert np.abs(to_luma(RGB)[..., 0] - luma).max() <= 0.5


# numbers


def psnr_16(first: np.ndarray, second: np.ndarray) -> float:
    """PSNR by its formula, on whole 16-bit numbers."""
    error = np.mean((first.astype(np.int64) - second.astype(np.int64)) ** 2.0)
    return float(10 * np.log10(65535**2 / error))


def pair_of(root: Path, clean: np.ndarray, degraded: np.ndarray) -> Trial:
    for part, pixels in (("gt", clean), ("lq", degraded)):
        folder = root / "test" / "Own" / part
        folder.mkdir(exist_ok=True)
        if pixels.dtype == np.uint16:
            save_png(folder / "a.png", pixels)
        else:
            Image.fromarray(pixels).save(folder / "a.png")
    return Trial(Cell(model="identity", task="deblur", setting="kernel=pairs", dataset="Own"), Timing())


NEAR = np.clip(RGB.astype(np.int64) + RANDOM.integers(-900, 900, RGB.shape), 0, 65535).astype(np.uint16)


@pytest.mark.parametrize(
    ("clean", "degraded", "wanted"),
    [
        (RGB, NEAR, psnr_16(RGB, NEAR)),
        (RGB, to_8_bits(NEAR), psnr_16(RGB, to_8_bits(NEAR) * np.uint16(257))),
        (to_8_bits(RGB), NEAR, psnr_16(to_8_bits(RGB) * np.uint16(257), to_8_bits(NEAR) * np.uint16(257))),
    ],
    ids=["both deep", "degraded is shallower", "target is shallower"],
)
def test_a_pair_is_judged_on_the_depth_of_its_target(
    root: Path, clean: np.ndarray, degraded: np.ndarray, wanted: float
) -> None:
    trial = pair_of(root, clean, degraded)
    reading = METRIC.measure(trial)
    assert reading.measurements[0].samples[0] == pytest.approx(wanted, abs=1e-9)
    assert trial.pairs[0].bits == bits_of(clean)
    said = ("16-bit targets, judged on 16 bits where the protocol rounds: a",)
    assert reading.notes == (said if clean.dtype == np.uint16 else ())


@pytest.mark.parametrize("metric", ["psnr", "ssim"])
def test_a_restoration_of_a_16_bit_image_is_judged_on_16_bits(root: Path, metric: str) -> None:
    from harness.catalogs import METRICS

    trial = pair_of(root, RGB, NEAR)  # the identity restores what it is given
    reading = METRICS[metric].measure(trial)
    expected = METRIC.measure(trial).measurements[("psnr", "ssim").index(metric)]
    assert reading.measurements[0].samples == expected.samples
    assert reading.notes == ("16-bit targets, judged on 16 bits where the protocol rounds: a",)


@pytest.mark.parametrize("task", ["jpeg", "denoise", "demosaic", "sr", "deblur", "weather"])
def test_every_task_takes_a_dataset_of_16_bit_images(root: Path, task: str) -> None:
    large = np.tile(RGB, (2, 2, 1))
    save_png(root / "test" / "Own" / "a.png", large)
    Image.fromarray(to_8_bits(large)).save(root / "test" / "Own" / "b.png")
    trial = Trial(Cell(model="identity", task=task, setting="default", dataset="Own"), Timing())
    reading = METRIC.measure(trial)
    assert [pair.bits for pair in trial.pairs] == [8 if task == "jpeg" else 16, 8]
    deep, plain = reading.measurements[0].samples
    assert abs(deep - plain) < 1.0  # other noise, other rounding, the same picture


@pytest.mark.parametrize("deep", [False, True])
def test_a_folder_of_8_or_16_bit_restorations_is_scored_against_16_bit_targets(root: Path, deep: bool) -> None:
    save_png(root / "test" / "Own" / "a.png", RGB)
    restored = root / "restored"
    restored.mkdir()
    if deep:
        save_png(restored / "a.png", NEAR)
    else:
        Image.fromarray(to_8_bits(NEAR)).save(restored / "a.png")
    (score,) = evaluate(restored, "Own", judgement("deblur-rgb")).scores
    wanted = NEAR if deep else to_8_bits(NEAR) * np.uint16(257)
    assert score.psnr_db == pytest.approx(psnr_16(RGB, wanted), abs=1e-9)
