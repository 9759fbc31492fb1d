from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from harness import cli, datasets, png
from harness.channels import to_gray

SIDE = 64


def call(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, ["restore", *(str(argument) for argument in arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((one / np.iinfo(one.dtype).max - other / np.iinfo(other.dtype).max) ** 2)))


@pytest.fixture
def clean() -> np.ndarray:
    return datasets.load("bundled", images=1, image_size=SIDE)[0].pixels


@pytest.fixture
def folder(tmp_path: Path, clean: np.ndarray) -> Path:
    """Return a folder of one photograph under noise of sigma 25: gray, colour, and gray of 16 bits."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, target in (("gray", to_gray(clean)), ("colour", clean), ("deep", to_gray(clean).astype(np.uint16) * 257)):
        peak = np.iinfo(target.dtype).max
        noise = 25 / 255 * peak * np.random.default_rng(0).standard_normal(target.shape)
        pixels = np.clip(np.round(target + noise), 0, peak).astype(target.dtype)
        (folder / f"{name}.png").write_bytes(png.encode(pixels))
    return folder


def test_pictures_of_ones_own_get_better_and_a_page_shows_them(folder: Path, clean: np.ndarray, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sources = [folder / f"{name}.png" for name in ("gray", "colour", "deep")]
    code, said, complaints = call(*sources, "--task", "denoise", "--sigma", "25", "-o", out)
    assert (code, complaints) == (0, "")
    lines = said.splitlines()
    assert lines[0] == "denoise-gray-25: semanir/small for denoise sigma=25, window 8, k 16, attention by sdpa"
    assert lines[1].startswith(f"[1/3] {sources[0]}: {SIDE}x{SIDE} pixels, ")
    assert lines[2].endswith("(a network for gray: red, green and blue each restored by themselves)")
    assert lines[-1] == str(out / "restored.html")
    for source, target in zip(sources, (to_gray(clean), clean, to_gray(clean).astype(np.uint16) * 257), strict=True):
        before, after = datasets.read_image(source), datasets.read_image(out / source.name)
        assert (after.dtype, after.shape) == (target.dtype, target.shape)
        assert psnr(after, target) > psnr(before, target) + 5
    page = (out / "restored.html").read_text(encoding="utf-8")
    assert page.count('class="slider"') == 3
    assert "BSDS500" in page
    assert str(tmp_path) not in page


def test_a_picture_that_fails_leaves_the_others_restored(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes((folder / "gray.png").read_bytes()[:200])
    see_through = Image.new("RGBA", (16, 16), (9, 9, 9, 100))
    see_through.save(folder / "glass.png")
    sources = [folder / f"{name}.png" for name in ("broken", "glass", "gray")]
    code, said, complaints = call(*sources, "--task", "denoise", "-o", tmp_path / "out")
    assert code == 1
    assert "[1/3]" in complaints
    assert "broken.png: cannot be decoded" in complaints
    assert "glass.png: has transparent pixels" in complaints
    assert "[3/3]" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["gray.png", "restored.html"]
    assert "glass.png: has transparent pixels" in (tmp_path / "out" / "restored.html").read_text(encoding="utf-8")


def test_nothing_restored_is_wrong_input_and_makes_no_page(folder: Path, tmp_path: Path) -> None:
    code, _, complaints = call(folder / "none.png", folder, "--task", "denoise", "-o", tmp_path / "out")
    assert code == 2
    assert "none.png: there is no such file" in complaints
    assert "is a folder; name its pictures" in complaints
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--task", "denoise", "--sigma", "40"], "no network ships for denoise sigma=40; shipped are: "),
        (["--task", "denoise", "--setting", "sigma=25", "--sigma", "25"], "sigma is given twice"),
        (["--task", "denoise", "--top-k", "65"], "k 65 exceeds the 64 tokens of window 8; write --top-k 64 or less"),
        (["--task", "denoise", "--backend", "sdpaa"], "no backend 'sdpaa'. Did you mean 'sdpa'?"),
        (["--task", "denoize"], "no task 'denoize'. Did you mean 'denoise'?"),
        (["--weights", "nobody"], "no weights of this name"),
        ([], "name a task with --task"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    code, _, complaints = call(folder / "gray.png", *options, "-o", tmp_path / "out")
    assert code == 2
    assert said in complaints
    assert not (tmp_path / "out").exists()


def test_a_second_call_replaces_nothing_without_force(folder: Path, tmp_path: Path) -> None:
    arguments = (folder / "gray.png", "--weights", "denoise-gray-25", "-o", tmp_path / "out")
    assert call(*arguments)[0] == 0
    (tmp_path / "out" / "gray.png").write_text("kept")
    code, _, complaints = call(*arguments)
    assert code == 2
    assert "gray.png and 1 more would be replaced; choose another folder with -o, or add --force" in complaints
    assert (tmp_path / "out" / "gray.png").read_text() == "kept"
    assert call(*arguments, "--force")[0] == 0
    assert datasets.read_image(tmp_path / "out" / "gray.png").shape == (SIDE, SIDE, 1)


def test_a_folder_that_cannot_be_written_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, complaints = call(folder / "gray.png", "--task", "denoise", "-o", tmp_path / "file")
    assert code == 2
    assert f"-o {tmp_path / 'file'}: cannot be written to" in complaints
