"""Folders of restored images of any method, scored."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from harness import cli, datasets
from harness.catalogs import METRICS, TASKS
from harness.channels import round_uint8
from harness.evaluate import EvaluationError, evaluate, judgement, judgements, match
from harness.record import Cell, Timing
from harness.trial import prepare

NAMES = ("chelsea", "motorcycle_left", "camera", "astronaut", "coffee", "rocket")


def call(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, ["eval", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `Small` a dataset of three photographs of odd sizes, one of them gray; returns its folder."""
    root = tmp_path / "root"
    monkeypatch.setenv("SEMANIR_DATA", str(root))
    folder = root / "test" / "Small"
    folder.mkdir(parents=True)
    for name, height, width in (("cat", 50, 61), ("cat_2", 43, 40), ("man", 47, 52)):
        source = {"cat": "chelsea", "cat_2": "coffee", "man": "camera"}[name]
        pixels = next(image for image in datasets.load("bundled") if image.name == source).pixels
        save(folder / f"{name}.png", pixels[100 : 100 + height, 100 : 100 + width])
    return folder


@pytest.fixture
def restored(tmp_path: Path) -> Path:
    folder = tmp_path / "restored"
    folder.mkdir()
    return folder


def save(file: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else np.ascontiguousarray(pixels)).save(file)


def targets(protocol: str) -> dict[str, np.ndarray]:
    judged = judgement(protocol)
    task = TASKS[judged.task]
    return {image.name: task.prepare_target(image.pixels, judged.setting) for image in datasets.load("Small")}


def fill(folder: Path, protocol: str, *, suffix: str = "") -> None:
    """Write every target, a little darker."""
    for name, target in targets(protocol).items():
        save(folder / f"{name}{suffix}.png", target - np.minimum(target, 3))


def test_every_published_convention_has_a_name() -> None:
    assert {
        *("sr-y-x2", "sr-y-x3", "sr-y-x4", "denoise-gray", "denoise-rgb", "jpeg-gray", "jpeg-rgb"),
        *("demosaic-rgb", "deblur-rgb", "weather-rgb", "weather-y"),
    } <= set(judgements())
    assert judgement("sr-y-x3").protocol.id == "y-crop3-uint8"
    assert judgement("demosaic-rgb").protocol.id == "rgb-crop10-uint8"
    assert judgement("demosaic-rgb", crop=4).protocol.id == "rgb-crop4-uint8"
    assert judgement("weather-y").protocol.id == "y-crop0-uint8"


@pytest.mark.parametrize("name", judgements())
def test_every_protocol_is_its_tasks_own_and_judges_a_folder(name: str, restored: Path) -> None:
    judged = judgement(name)
    own = TASKS[judged.task].protocol(judged.setting)
    assert replace(own, channel=judged.protocol.channel) == judged.protocol
    fill(restored, name)
    found = evaluate(restored, "small", judged)
    assert [score.name for score in found.scores] == ["cat", "cat_2", "man"]
    assert all(20 < score.psnr_db < 60 and 0.5 < score.ssim < 1 for score in found.scores)
    assert found.dataset == "Small"


@pytest.mark.parametrize(
    ("protocol", "model", "setting"),
    [
        ("sr-y-x4", "bicubic", "scale=4"),
        ("sr-gray-x2", "bicubic", "scale=2,color=gray,lr=exact"),
        ("jpeg-gray", "identity", "quality=10"),
        ("denoise-rgb", "identity", "sigma=25,color=rgb"),
        ("demosaic-rgb", "malvar", "interpolation=none"),
    ],
)
def test_a_folder_scores_what_the_trial_that_wrote_it_scores(
    protocol: str, model: str, setting: str, restored: Path
) -> None:
    task = judgement(protocol).task
    trial = prepare(Cell(model=model, task=task, dataset="bundled", setting=setting), Timing())
    for name, image in trial.restored.items():
        save(restored / f"{name}_x4.png", round_uint8(255.0 * image.astype(np.float64)))
    found = evaluate(restored, "bundled", judgement(protocol))
    assert tuple(score.name for score in found.scores) == NAMES
    for metric, values in (
        ("psnr", tuple(score.psnr_db for score in found.scores)),
        ("ssim", tuple(score.ssim for score in found.scores)),
    ):
        assert METRICS[metric].measure(trial).measurements[0].samples == values


def test_files_are_matched_by_the_longest_name_that_theirs_goes_on_from() -> None:
    matched, extra = match(
        ["img_1", "img_10", "baby", "Bird"],
        ["img_10", "img_1x4_SR", "babyx4", "bird-EDSR", "img_100", "babyface", "notes"],
    )
    assert matched == {"img_10": "img_10", "img_1": "img_1x4_SR", "baby": "babyx4", "Bird": "bird-EDSR"}
    assert extra == ["img_100", "babyface", "notes"]
    assert match(["a", "A"], ["A_x2", "a_x2"])[0] == {"A": "A_x2", "a": "a_x2"}


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("baby_GT", "baby"),
        ("baby_GT", "babyx4_SR"),
        ("baby_GT", "baby_GT_x4"),
        ("img_001_SRF_4_HR", "img_001_SRF_4_EDSR"),
        ("img_001_SRF_4_HR", "img_001x4"),
        ("rain-001", "norain-001"),
        ("0_rain", "0_clean_ours"),
    ],
)
def test_marks_of_a_datasets_own_names_may_be_left_out(target: str, name: str) -> None:
    assert match([target, "img_010_SRF_4_HR"], [name]) == ({target: name}, [])


def test_a_mark_that_tells_two_targets_apart_may_not_be_left_out() -> None:
    assert match(["0_rain", "0_snow"], ["0", "0_snow_x"]) == ({"0_snow": "0_snow_x"}, ["0"])


def test_two_files_of_one_target_are_refused() -> None:
    with pytest.raises(EvaluationError, match="'baby' and 'baby_x4' are both named for 'baby'"):
        match(["baby"], ["baby", "baby_x4"])


def test_two_files_of_one_name_are_refused(restored: Path) -> None:
    fill(restored, "sr-y-x2")
    Image.open(restored / "cat.png").save(restored / "cat.bmp")
    code, _, err = call(restored, "--dataset", "Small", "--protocol", "sr-y-x2")
    assert code == 2
    assert "cat.bmp is named for the same image" in err


def test_a_table_is_printed_and_exported(restored: Path, tmp_path: Path) -> None:
    fill(restored, "sr-y-x4", suffix="_x4_SR")
    exports = ["--json", tmp_path / "all.json", "--csv", tmp_path / "all.csv"]
    code, out, err = call(restored, "--dataset", "small", "--protocol", "sr-y-x4", *exports)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "Small under sr-y-x4 (y-crop4-uint8)"
    assert out.splitlines()[-1].startswith("mean of 3 images")
    content = json.loads((tmp_path / "all.json").read_text())
    found = evaluate(restored, "Small", judgement("sr-y-x4"))
    assert content["mean"] == {"psnr": found.mean_psnr_db, "ssim": found.mean_ssim}
    assert content["images"][1]["file"] == "cat_2_x4_SR.png"
    assert str(tmp_path) not in (tmp_path / "all.json").read_text()
    rows = list(csv.DictReader((tmp_path / "all.csv").read_text().splitlines()))
    assert [float(row["psnr"]) for row in rows] == [score.psnr_db for score in found.scores]


def test_missing_and_extra_files_are_named_and_the_mean_says_what_it_is_over(restored: Path, tmp_path: Path) -> None:
    fill(restored, "sr-y-x2")
    (restored / "cat_2.png").rename(restored / "dog.png")
    code, out, err = call(restored, "--dataset", "Small", "--protocol", "sr-y-x2", "--csv", tmp_path / "all.csv")
    assert code == 1
    assert "mean of 2 of 3 images" in out
    assert "missing: no file is named for cat_2" in err
    assert "extra, not scored: dog.png" in err
    assert (tmp_path / "all.csv").read_text().splitlines()[-1] == "Small,sr-y-x2,y-crop2-uint8,cat_2,,,"


def test_equal_images_get_the_cap_and_a_note(restored: Path) -> None:
    for name, target in targets("jpeg-rgb").items():
        save(restored / f"{name}.png", target)
    code, out, _ = call(restored, "--dataset", "Small", "--protocol", "jpeg-rgb")
    assert code == 0
    assert "PSNR capped at 100 dB: cat, cat_2, man" in out


def test_another_border_can_be_cut(restored: Path) -> None:
    fill(restored, "sr-y-x2")
    code, out, _ = call(restored, "--dataset", "Small", "--protocol", "sr-y-x2", "--crop", "0")
    assert code == 0
    assert "y-crop0-uint8" in out
    code, _, err = call(restored, "--dataset", "Small", "--protocol", "sr-y-x2", "--crop", "16")
    assert code == 2
    assert "cat_2.png: SSIM's window needs 11x11 pixels; the protocol leaves 10x8" in err


def test_protocols_are_listed_without_a_folder() -> None:
    code, out, _ = call("--protocol", "list")
    assert code == 0
    assert "sr-y-x4       y-crop4-uint8" in out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "semanir-bench eval DIR --dataset NAME --protocol NAME"),
        (["DIR", "--dataset", "Small", "--protocol", "sr-y-x5"], "Did you mean 'sr-y-x"),
        (["DIR", "--dataset", "Smal", "--protocol", "sr-y-x4"], "Did you mean 'Small'"),
        (["DIR", "--dataset", "Small", "--protocol", "sr-y-x4"], "holds no images"),
        (["nowhere", "--dataset", "Small", "--protocol", "sr-y-x4"], "nowhere: there is no such folder"),
        (["DIR", "--dataset", "Set5", "--protocol", "sr-y-x4"], "semanir-bench data fetch Set5"),
    ],
)
def test_wrong_input_is_said_with_a_remedy(arguments: list[str], words: str, restored: Path) -> None:
    (restored / "cat.txt").write_text("no image")
    if "Set5" in arguments:
        save(restored / "baby.png", np.zeros((16, 16, 1), np.uint8))
    code, _, err = call(*(restored if argument == "DIR" else argument for argument in arguments))
    assert code == 2
    assert words in err


def test_a_folder_of_another_dataset_is_refused_with_the_names_of_both(restored: Path) -> None:
    save(restored / "dog.png", np.zeros((16, 16, 1), np.uint8))
    with pytest.raises(EvaluationError, match=r"It holds dog; Small has cat, cat_2, man"):
        evaluate(restored, "Small", judgement("sr-y-x4"))


def test_an_image_of_another_size_is_named_with_both_sizes(restored: Path) -> None:
    fill(restored, "jpeg-rgb")
    code, _, err = call(restored, "--dataset", "Small", "--protocol", "sr-y-x4")
    assert code == 2
    assert "cat.png: 50x61 pixels; the target of cat under sr-y-x4 has 48x60, cut from 50x61" in err


@pytest.mark.parametrize("content", [b"", b"half"])
def test_an_unreadable_image_is_named(content: bytes, restored: Path) -> None:
    fill(restored, "sr-y-x2")
    file = restored / "cat_2.png"
    file.write_bytes(file.read_bytes()[:900] if content else b"")
    code, out, err = call(restored, "--dataset", "Small", "--protocol", "sr-y-x2")
    assert (code, out) == (2, "")
    assert str(file) in err
    assert "copy it again" in err


def test_an_image_without_colours_is_no_restoration_of_one_that_has_them(restored: Path) -> None:
    fill(restored, "sr-gray-x2")
    with pytest.raises(EvaluationError, match=r"cat\.png: gray, and its target has colours"):
        evaluate(restored, "Small", judgement("sr-y-x2"))


def test_colours_are_not_judged_as_gray(restored: Path) -> None:
    fill(restored, "jpeg-rgb")
    with pytest.raises(EvaluationError, match=r"cat\.png: in colour, and jpeg-gray judges gray"):
        evaluate(restored, "Small", judgement("jpeg-gray"))


def test_gray_values_in_three_channels_are_the_gray_image(restored: Path, tmp_path: Path) -> None:
    fill(restored, "jpeg-gray")
    repeated = tmp_path / "repeated"
    repeated.mkdir()
    for file in restored.iterdir():
        Image.open(file).convert("RGB").save(repeated / file.name)
    judged = judgement("jpeg-gray")
    assert evaluate(repeated, "Small", judged) == evaluate(restored, "Small", judged)


def test_restorations_of_pairs_are_named_for_the_degraded_images(restored: Path, small: Path) -> None:
    for part in ("gt", "lq"):
        (small.parent / "Rainy" / part).mkdir(parents=True)
    cat = np.asarray(Image.open(small / "cat.png"))
    save(small.parent / "Rainy" / "gt" / "0.png", cat)
    for name in ("0_s80", "0_s90"):
        save(small.parent / "Rainy" / "lq" / f"{name}.png", cat // 2)
        save(restored / f"{name}_ours.png", cat - np.minimum(cat, 2))
    found = evaluate(restored, "Rainy", judgement("weather-y"))
    assert [(score.name, score.file) for score in found.scores] == [
        ("0_s80", "0_s80_ours.png"),
        ("0_s90", "0_s90_ours.png"),
    ]


def test_a_file_that_cannot_be_written_is_named(restored: Path, tmp_path: Path) -> None:
    fill(restored, "sr-y-x2")
    code, _, err = call(restored, "--dataset", "Small", "--protocol", "sr-y-x2", "--json", tmp_path / "no" / "a.json")
    assert code == 2
    assert "a.json: cannot be written" in err
