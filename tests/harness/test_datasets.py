"""Datasets: the bundled photographs, and folders below the data root with whatever people put there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import datasets
from harness.channels import to_gray
from harness.datasets import DatasetError, registry

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


def test_opaque_alpha_is_dropped_and_a_palette_expanded(put: Callable[..., Path]) -> None:
    alpha = np.dstack([CAT, np.full(CAT.shape[:2], 255, np.uint8)])
    assert np.array_equal(datasets.read_image(put("x/alpha.png", Image.fromarray(alpha))), CAT)
    palette = Image.fromarray(CAT).quantize(16)
    expanded = datasets.read_image(put("x/palette.png", palette))
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
        ("float.tif", Image.fromarray(np.zeros((16, 16), np.float32)), "32 bits a channel"),
        ("print.jpg", Image.fromarray(CAT).convert("CMYK"), "colour mode CMYK"),
        ("dot.png", Image.fromarray(CAT[:1, :1]), "1x1 pixels; every side needs at least 8, remove or replace it"),
        (
            "glass.png",
            Image.fromarray(np.dstack([CAT, np.full(CAT.shape[:2], 7, np.uint8)])),
            "has transparent pixels (alpha down to 7); flatten it first",
        ),
        ("lab.tif", Image.fromarray(CAT).convert("LAB"), "colour mode LAB is not read; convert it"),
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


def test_a_palette_with_transparent_colours_is_refused(put: Callable[..., Path]) -> None:
    file = put("x/palette.png", Image.fromarray(CAT).quantize(16), transparency=bytes(range(16)))
    with pytest.raises(DatasetError, match=r"palette\.png: has transparent pixels \(alpha down to 0\)"):
        datasets.read_image(file)


def test_a_file_of_several_pictures_is_refused(put: Callable[..., Path]) -> None:
    pages = [Image.fromarray(CAT), Image.fromarray(CAT[::-1].copy())]
    file = put("x/pages.tif", pages[0], save_all=True, append_images=pages[1:])
    with pytest.raises(DatasetError, match=r"pages\.tif: holds 2 pictures; save the one that is meant"):
        datasets.read_image(file)


def test_a_bomb_is_refused_before_its_pixels_are_made(put: Callable[..., Path]) -> None:
    file = put("x/bomb.png", Image.new("1", (12_000, 12_000)))
    assert file.stat().st_size < 100_000
    with pytest.raises(DatasetError, match=r"bomb\.png: too many pixels .*12000x12000.*; cut it first"):
        datasets.read_image(file)


# layouts of pairs

LAYOUTS = {
    "folders of BasicSR": (["gt/a.png", "gt/b.png"], ["lq/a.png", "lq/b.png"], ["a", "b"]),
    "folders of GoPro, a sequence each": (
        ["s1/sharp/1.png", "s2/sharp/1.png"],
        ["s1/blur/1.png", "s2/blur/1.png"],
        ["s1_1", "s2_1"],
    ),
    "folders of REDS": (
        ["sharp/000/1.png", "sharp/001/1.png"],
        ["blur/000/1.png", "blur/001/1.png"],
        ["000_1", "001_1"],
    ),
    "folders and names of RainDrop": (
        ["gt/0_clean.png", "gt/10_clean.png"],
        ["data/0_rain.png", "data/10_rain.png"],
        ["0_rain", "10_rain"],
    ),
    "folders and names of Dense-Haze": (
        ["GT/01_GT.png", "GT/02_GT.png"],
        ["hazy/01_hazy.png", "hazy/02_hazy.png"],
        ["01_hazy", "02_hazy"],
    ),
    "names that go on": (
        ["gt/im_1.png", "gt/im_10.png"],
        ["in/im_1_s80.png", "in/im_10_s80.png"],
        ["im_1_s80", "im_10_s80"],
    ),
    "names with a scale": (["gt/a.png", "gt/b.png"], ["lq/ax4.png", "lq/bx4.png"], ["ax4", "bx4"]),
    "words before names": (
        ["norain/norain-1.png", "norain/norain-2.png"],
        ["rain/rain-1.png", "rain/rain-2.png"],
        ["rain-1", "rain-2"],
    ),
    "ends of names alone": (["A_sharp1.png", "B_sharp1.png"], ["A_blur1.png", "B_blur1.png"], ["A_blur1", "B_blur1"]),
}


def gray(value: int, side: int = 16) -> Image.Image:
    return Image.fromarray(np.full((side, side), value, np.uint8))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pairs_are_found_in_every_usual_layout(put: Callable[..., Path], layout: str) -> None:
    clean, degraded, wanted = LAYOUTS[layout]
    for value, (one, other) in enumerate(zip(clean, degraded, strict=True)):
        put(f"Own/{one}", gray(10 + value))
        put(f"Own/{other}", gray(110 + value))
    images = datasets.load("own", pairs=True)
    assert [image.name for image in images] == wanted
    for value, image in enumerate(images):
        assert image.degraded is not None
        assert (image.pixels[0, 0, 0], image.degraded[0, 0, 0]) == (10 + value, 110 + value)
    assert [image.pixels[0, 0, 0] for image in datasets.load("own")] == [10, 11]
    assert all(image.degraded is None for image in datasets.load("own"))


def test_one_clean_image_may_come_in_several_pairs(put: Callable[..., Path]) -> None:
    put("Own/gt/im1.png", gray(1))
    for number in (1, 2):
        put(f"Own/lq/im1_kernel{number}.png", gray(100 + number))
    assert [image.name for image in datasets.load("Own", pairs=True)] == ["im1_kernel1", "im1_kernel2"]
    assert [image.name for image in datasets.load("Own")] == ["im1"]


def test_both_images_of_a_pair_are_cut_alike(put: Callable[..., Path]) -> None:
    put("Own/gt/a.png", Image.fromarray(CAT))
    put("Own/lq/a.png", Image.fromarray(255 - CAT))
    (image,) = datasets.load("Own", pairs=True, image_size=12)
    assert image.degraded is not None
    assert np.array_equal(image.degraded, 255 - image.pixels)
    assert image.pixels.shape == (12, 12, 3)


@pytest.mark.parametrize(
    ("files", "named", "message"),
    [
        (["gt/a.png", "lq/a.png", "lq/b.png"], "lq/b.png", "has no clean partner; put one of the same name into"),
        (["gt/a.png", "gt/b.png", "lq/a.png"], "gt/b.png", "has no degraded partner; put it into"),
        (["gt/a.png", "lq/a.png", "lq/a.bmp"], "lq/a.png", "a.bmp has the same name; rename one of them"),
    ],
)
def test_a_missing_partner_is_named_with_the_remedy(
    put: Callable[..., Path], root: Path, files: list[str], named: str, message: str
) -> None:
    for file in files:
        put(f"Own/{file}")
    with pytest.raises(DatasetError) as error:
        datasets.load("Own", pairs=True)
    assert str(error.value).startswith(str(root / "test" / "Own" / named))
    assert message in str(error.value)


def test_partners_of_different_sizes_are_named_with_both(put: Callable[..., Path]) -> None:
    put("Own/gt/a.png", gray(1, 16))
    put("Own/lq/a.png", gray(1, 12))
    with pytest.raises(DatasetError, match=r"lq/a\.png: 12x12 pixels, but its clean image .*gt/a\.png has 16x16; cut"):
        datasets.load("Own", pairs=True)


def test_a_partner_that_exif_turns_on_its_side_no_longer_fits(put: Callable[..., Path]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    put("Own/gt/a.png", Image.fromarray(CAT[:, :16]))
    put("Own/lq/a.png", Image.fromarray(CAT[:, :16]), exif=exif)
    with pytest.raises(DatasetError, match=r"16x24 pixels, but its clean image .* has 24x16"):
        datasets.load("Own", pairs=True)


def test_pairs_of_a_set_of_clean_images_are_refused(put: Callable[..., Path]) -> None:
    put("Own/a.png")
    for name in ("Own", "bundled"):
        with pytest.raises(DatasetError, match=f"{name} holds no pairs; lay them out as gt/ and lq/"):
            datasets.load(name, pairs=True)


# the registry


def test_every_set_of_the_six_tasks_is_registered_under_any_spelling() -> None:
    wanted = (
        "Set5 Set14 BSD100 Urban100 Manga109 Classic5 LIVE1 BSDS500 Set12 BSD68 CBSD68 Kodak24 Kodak24-500 McMaster "
        "GoPro HIDE REDS OutdoorRain-Test1 Snow100K-L RainDrop Rain100H Rain200L Rain200H SPAD Dense-Haze "
        "BSDS500-train DIV2K"
    )
    for name in wanted.split():
        entry = registry.find(name.upper())
        assert entry is not None
        assert datasets.resolve(name.lower()) == name == entry.name
        assert entry.licence
        assert entry.files or (entry.where and entry.layout)
    assert datasets.resolve("bsds500-TEST") == "BSDS500"


def test_a_set_that_is_not_here_says_which_command_or_page_gives_it(root: Path) -> None:
    assert datasets.absent("Set14", task="sr", pairs=False) == "Set14 is not here: semanir-bench data fetch Set14"
    words = datasets.absent("GoPro", task="deblur", pairs=True)
    assert words is not None
    assert words.startswith(
        "GoPro is not here: get it from https://seungjunnah.github.io/Datasets/gopro and lay it out as"
    )
    assert str(root / "test" / "GoPro") in words
    with pytest.raises(DatasetError, match="Set14 is not here: semanir-bench data fetch Set14"):
        datasets.load("set14")


def test_pairs_and_synthetic_degradations_need_sets_of_their_kind(put: Callable[..., Path]) -> None:
    put("Mine/a.png")
    put("Both/gt/a.png")
    put("Both/lq/a.png")
    assert "holds no pairs" in str(datasets.absent("Set5", task="deblur", pairs=True))
    assert "holds no pairs" in str(datasets.absent("bundled", task="deblur", pairs=True))
    assert "holds no pairs" in str(datasets.absent("Mine", task="deblur", pairs=True))
    assert datasets.absent("Both", task="deblur", pairs=True) is None
    assert datasets.absent("Mine", task="deblur", pairs=False) is None
    assert "are for weather, not for deblur" in str(datasets.absent("Rain100H", task="deblur", pairs=True))
    assert "ask for setting kernel=pairs" in str(datasets.absent("GoPro", task="deblur", pairs=False))
    assert "ask for setting kind=pairs" in str(datasets.absent("SPAD", task="weather", pairs=False))
    assert "is not here" in str(datasets.absent("GoPro", task="denoise", pairs=False))


def test_half_of_a_test_set_is_not_averaged_under_its_name(put: Callable[..., Path]) -> None:
    for name in ("a", "b", "c"):
        put(f"Set5/{name}.png")
    assert "holds 3 of the 5 images of Set5: semanir-bench data fetch Set5" in str(
        datasets.absent("Set5", task="sr", pairs=False)
    )
    with pytest.raises(DatasetError, match="holds 3 of the 5 images of Set5"):
        datasets.load("Set5")
    assert datasets.absent("Set5", task="sr", pairs=False, images=3) is None
    assert len(datasets.load("Set5", images=3)) == len(datasets.load_what_is_here("Set5")) == 3


def test_a_registered_folder_is_found_in_any_case_and_under_an_alias(put: Callable[..., Path], root: Path) -> None:
    put("classic5/a.png")
    put("BSDS500-test/a.png")
    (root / "train" / "REDS").mkdir(parents=True)
    Image.fromarray(CAT).save(root / "train" / "REDS" / "a.png")
    assert datasets.names() == ["bundled", "BSDS500", "Classic5", "REDS-train"]
    assert datasets.folder_of("CLASSIC5") == root / "test" / "classic5"
    assert datasets.folder_of("reds-train") == root / "train" / "REDS"


def test_a_training_folder_does_not_hide_a_test_folder_of_its_name(put: Callable[..., Path], root: Path) -> None:
    put("Mine/a.png")
    (root / "train" / "Mine").mkdir(parents=True)
    Image.fromarray(CAT).save(root / "train" / "Mine" / "b.png")
    assert datasets.names() == ["bundled", "Mine", "Mine-train"]
    assert [image.name for image in datasets.load("Mine-train")] == ["b"]


def test_sets_made_of_others_have_the_recorded_names_and_pixels(put: Callable[..., Path]) -> None:
    entry = registry.find("CBSD68")
    assert entry is not None
    stems = [Path(file.name).stem for file in entry.files]
    for number, stem in enumerate([*stems, "1", "2"]):
        put(f"BSD100/{stem}.png", Image.fromarray(np.roll(CAT, number, 0)))
    assert {"BSD68", "CBSD68"} <= set(datasets.names())
    colour, gray_ones = datasets.load("CBSD68", images=3), datasets.load("BSD68")
    assert sorted(image.name for image in gray_ones) == sorted(stems)
    assert [image.name for image in colour] == [image.name for image in gray_ones[:3]]
    assert np.array_equal(gray_ones[0].pixels, to_gray(colour[0].pixels))
    assert datasets.absent("BSD68", task="denoise", pairs=False) is None


def test_a_set_made_of_another_that_lacks_an_image_says_so(put: Callable[..., Path]) -> None:
    put("BSD100/101085.jpg")
    with pytest.raises(DatasetError, match=r"CBSD68 is made of BSD100, which lacks \d+ here: semanir-bench data fetch"):
        datasets.load("CBSD68")


def test_kodak_in_its_second_form_is_a_crop_of_the_first(put: Callable[..., Path]) -> None:
    whole = np.random.default_rng(0).integers(0, 256, (512, 768, 3), np.uint8)
    put("Kodak24/kodim01.png", Image.fromarray(whole))
    (image,) = datasets.load("kodak24-500", images=1)
    assert np.array_equal(image.pixels, whole[6:506, 134:634])


# a person's own folders


def test_own_folders_become_a_dataset_without_a_copy(put: Callable[..., Path], root: Path, tmp_path: Path) -> None:
    clean, degraded = tmp_path / "elsewhere" / "good", tmp_path / "elsewhere" / "bad"
    for folder, value in ((clean, 1), (degraded, 2)):
        folder.mkdir(parents=True)
        gray(value).save(folder / "a.png")
    assert datasets.add("Mine", clean, degraded) == 1
    assert datasets.add("Clean-only", clean) == 1
    assert datasets.names() == ["bundled", "Clean-only", "Mine"]
    (image,) = datasets.load("mine", pairs=True)
    assert image.degraded is not None
    assert (image.pixels[0, 0, 0], image.degraded[0, 0, 0]) == (1, 2)
    assert datasets.absent("mine", task="weather", pairs=True) is None
    assert "holds no pairs" in str(datasets.absent("clean-only", task="weather", pairs=True))
    assert {path.name for path in root.iterdir()} == {"added.json", "elsewhere", "test"}


def test_what_cannot_be_added_is_refused_with_a_reason(put: Callable[..., Path], root: Path) -> None:
    good = put("Here/a.png").parent
    (root / "empty").mkdir()
    small = root / "small"
    small.mkdir()
    gray(0, 12).save(small / "a.png")
    for name, clean, degraded, message in (
        ("../up", good, None, "is no name for a dataset; use letters"),
        ("set5", good, None, "there is a dataset 'set5' already"),
        ("here", good, None, "there is a dataset 'here' already"),
        ("bundled", good, None, "there is a dataset 'bundled' already"),
        ("Mine", root / "empty", None, "empty: no folder with images"),
        ("Mine", root / "absent", None, "absent: no folder with images"),
        ("Mine", good, small, "12x12 pixels, but its clean image"),
    ):
        with pytest.raises(DatasetError, match=re.escape(message)):
            datasets.add(name, clean, degraded)
    assert not (root / "added.json").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"Mine": 1}', '{"Mine": {}}'])
def test_a_broken_list_of_own_folders_is_named(root: Path, content: str) -> None:
    (root / "added.json").write_text(content)
    with pytest.raises(DatasetError, match=r"added\.json: no list of added datasets .*; mend or remove it"):
        datasets.names()


@pytest.mark.skipif("SEMANIR_DATA" not in os.environ, reason="real sets are looked at where SEMANIR_DATA is set")
@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("GoPro-pairs", 2),
        ("Levin09", 32),
        ("OutdoorRain-Test1-sub", 4),
        ("RainDrop-AGAN-sub", 4),
        ("REDS-180p", 8),
        ("Rain100H-sub", 25),
    ],
)
def test_the_real_sets_that_are_here_pair_up(name: str, pairs: int) -> None:
    if name not in datasets.names():
        pytest.skip(f"{name} is not here")
    assert len(datasets.load(name, pairs=True)) == pairs
