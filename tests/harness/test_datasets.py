"""Datasets: the bundled photographs, and folders below the data root with whatever people put there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import datasets
from harness.datasets import DatasetError

CAT = datasets.load("bundled", images=1, image_size=24)[0].pixels


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "test").mkdir()
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def put(root: Path) -> Callable[..., Path]:
    """Save a picture as `test/<name>`."""

    def save(name: str, image: Image.Image | None = None, **options: object) -> Path:
        file = root / "test" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        (image or Image.fromarray(CAT)).save(file, **options)
        return file

    return save


def test_the_bundled_photographs_are_there_without_any_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path / "absent"))
    assert datasets.names() == ["bundled"]
    images = datasets.load("bundled")
    assert [image.name for image in images][:3] == ["chelsea", "motorcycle_left", "camera"]
    assert [image.pixels.shape[-1] for image in images] == [3, 3, 1, 3, 3, 3]
    assert all(image.pixels.dtype == np.uint8 for image in images)


def test_reading_the_bundled_photographs_does_not_run_scikit_image() -> None:
    code = "import sys; from harness import datasets; datasets.load('bundled'); print('skimage' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_a_number_and_a_size_choose_the_first_images_and_their_centre() -> None:
    whole = datasets.load("bundled", images=2)
    cut = datasets.load("bundled", images=2, image_size=64)
    for image, square in zip(whole, cut, strict=True):
        top, left = ((side - 64) // 2 for side in image.pixels.shape[:2])
        assert np.array_equal(square.pixels, image.pixels[top : top + 64, left : left + 64])


def test_an_image_smaller_than_asked_is_named_with_its_size() -> None:
    with pytest.raises(DatasetError, match=r"chelsea has 300x451 pixels: image_size 301 .* at most 300"):
        datasets.load("bundled", image_size=301)


def test_more_images_than_there_are_is_an_error() -> None:
    with pytest.raises(DatasetError, match="bundled holds 6 images and 7 were asked for"):
        datasets.load("bundled", images=7)


def test_a_folder_is_a_dataset_in_natural_order_and_any_case(put: Callable[..., Path]) -> None:
    for name in ("10.PNG", "2.png", "1.bmp"):
        put(f"Mine/{name}")
    put("._hidden.png").rename(put("Mine/1.bmp").parent / "._1.png")
    (put("Mine/1.bmp").parent / "notes.txt").write_text("no image")
    assert datasets.names() == ["bundled", "Mine"]
    assert datasets.resolve("mINE") == "Mine"
    assert [image.name for image in datasets.load("mine")] == ["1", "2", "10"]


def test_the_clean_images_of_a_pair_lie_in_gt(put: Callable[..., Path]) -> None:
    put("Pairs/gt/a.png")
    put("Pairs/in/b.png")
    assert [image.name for image in datasets.load("Pairs")] == ["a"]


def test_a_folder_without_images_is_no_dataset(root: Path) -> None:
    (root / "test" / "empty").mkdir()
    assert datasets.names() == ["bundled"]


def test_an_unknown_name_offers_the_nearest_and_the_place_to_look(put: Callable[..., Path], root: Path) -> None:
    put("Set5/a.png")
    with pytest.raises(DatasetError) as error:
        datasets.load("st5")
    assert "no dataset 'st5'. Did you mean 'Set5'? It has: bundled, Set5." in str(error.value)
    assert str(root / "test") in str(error.value)


def test_without_a_data_root_the_message_says_how_to_set_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEMANIR_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert "set SEMANIR_DATA to a folder that holds images in test/<Name>" in datasets.unknown("Set5")
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path))
    assert "which has no folder 'test'" in datasets.unknown("Set5")


@pytest.mark.skipif(os.name != "posix", reason="XDG folders are those of POSIX systems")
def test_the_users_data_directory_is_the_root_when_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEMANIR_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert datasets.data_root().name == "semanir-bench"
    assert tmp_path in datasets.data_root().parents


def test_two_files_of_one_name_are_refused(put: Callable[..., Path]) -> None:
    put("Mine/a.png")
    put("Mine/a.jpg")
    with pytest.raises(DatasetError, match=r"a\.png: a\.jpg has the same name"):
        datasets.load("Mine")


def test_alpha_is_dropped_and_a_palette_expanded(put: Callable[..., Path]) -> None:
    alpha = np.dstack([CAT, np.full(CAT.shape[:2], 7, np.uint8)])
    assert np.array_equal(datasets.read_image(put("x/alpha.png", Image.fromarray(alpha))), CAT)
    palette = Image.fromarray(CAT).quantize(16)
    expanded = datasets.read_image(put("x/palette.png", palette, transparency=bytes(range(16))))
    assert np.array_equal(expanded, np.asarray(palette.convert("RGB")))
    gray_alpha = Image.fromarray(CAT[..., 0]).convert("LA")
    assert np.array_equal(datasets.read_image(put("x/la.png", gray_alpha)), CAT[..., :1])
    black_white = Image.fromarray(CAT[..., 0] > 128)
    assert set(np.unique(datasets.read_image(put("x/bw.png", black_white)))) == {0, 255}


def test_an_image_is_turned_as_its_exif_says(put: Callable[..., Path]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the picture is its right side: turn clockwise
    file = put("x/turned.png", Image.fromarray(CAT[:, :16]), exif=exif)
    assert np.array_equal(datasets.read_image(file), np.rot90(CAT[:, :16], -1))


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("gray16.png", Image.fromarray(np.full((16, 16), 40_000, np.uint16)), "16 bits a channel"),
        ("float.tif", Image.fromarray(np.zeros((16, 16), np.float32)), "32 bits a channel"),
        ("print.jpg", Image.fromarray(CAT).convert("CMYK"), "colour mode CMYK"),
        ("dot.png", Image.fromarray(CAT[:1, :1]), "1x1 pixels; every side needs at least 8"),
    ],
)
def test_an_image_of_another_kind_is_refused_with_a_remedy(
    put: Callable[..., Path], name: str, image: Image.Image, message: str
) -> None:
    file = put(f"x/{name}", image)
    with pytest.raises(DatasetError) as error:
        datasets.read_image(file)
    assert str(error.value).startswith(str(file))
    assert message in str(error.value)


def test_a_16_bit_colour_png_is_refused_though_pillow_would_shrink_it() -> None:
    folder = datasets.bundled_folder()
    with pytest.raises(DatasetError, match=r"chessboard_RGB\.png: holds 16 bits"):
        datasets.read_image(folder / "chessboard_RGB.png")


@pytest.mark.parametrize(("keep", "message"), [(0, "empty or no image"), (0.5, "cannot be decoded")])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_a_truncated_or_empty_file_is_named_with_the_remedy(
    put: Callable[..., Path], suffix: str, keep: float, message: str
) -> None:
    file = put(f"x/cut.{suffix}")
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(DatasetError, match=message) as error:
        datasets.load("x")
    assert str(file) in str(error.value)


def test_a_missing_file_and_a_bomb_are_named(put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match="there is no such file"):
        datasets.read_image(Path("absent.png"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DatasetError, match="too many pixels"):
        datasets.read_image(put("x/bomb.png"))
