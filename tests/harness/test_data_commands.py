"""`semanir-bench data`, and how sets that are not here or hold pairs show in specs, plans and trials."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from harness import datasets
from harness.catalogs import TASKS
from harness.cli import app
from harness.datasets import DatasetError, registry
from harness.plan import expand
from harness.record import Cell, Timing
from harness.spec import SpecError, json_schema, load
from harness.task import InvalidSetting
from harness.trial import Trial

CAT = datasets.load("bundled", images=1, image_size=64)[0].pixels

SPEC = """
question: Which sets are here?
axes:
  model: semanir/nano
  backend: sdpa
  window: 8
  top_k: 16
  image_size: 32
  images: 1
  task: [denoise, deblur]
  dataset: [{datasets}]
  setting: {{deblur: [kernel=motion, kernel=pairs]}}
metrics: [flops]
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path))
    (tmp_path / "test").mkdir()
    return tmp_path


@pytest.fixture
def put(root: Path) -> Callable[[str, np.ndarray], Path]:
    def save(name: str, pixels: np.ndarray) -> Path:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
        return file

    return save


def data(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", *arguments])


def test_list_shows_what_is_here_and_how_to_get_the_others(put: Callable[..., Path]) -> None:
    put("test/bsd100/1.png", CAT)
    put("test/Mine/1.png", CAT)
    lines = data("list").stdout.splitlines()
    found = {line.split()[0]: re.sub(r"\s+", " ", line).strip() for line in lines if line[:1].strip()}
    assert "yes" in found["BSD100"]
    assert "made of BSD100" in found["CBSD68"]
    assert "made of CBSD68" in found["BSD68"]
    assert found["Set14"].endswith("14 no semanir-bench data fetch Set14")
    assert "https://seungjunnah.github.io/Datasets/gopro" in found["GoPro"]
    assert found["Mine"].startswith("Mine own any")
    assert set(registry.entries()) <= set(found)


def test_names_are_listed_with_the_folder_that_each_set_has(put: Callable[..., Path], root: Path) -> None:
    put("test/bsd100/1.png", CAT)
    put("train/Own/1.png", CAT)
    lines = CliRunner().invoke(app, ["list", "datasets"]).stdout.splitlines()
    found = dict(line.split(maxsplit=1) for line in lines)
    assert found["bundled"].strip() == "scikit-image's photographs"
    assert found["BSD100"].strip() == str(root / "test" / "bsd100")
    assert found["Own"].strip() == str(root / "train" / "Own")
    assert found["CBSD68"].strip() == "made of BSD100"
    assert found["BSD68"].strip() == "made of CBSD68"


def test_verify_counts_and_exits_with_1_when_a_file_changed(put: Callable[..., Path]) -> None:
    file = put("test/Set5/baby_GT.bmp", CAT)
    result = data("verify")
    assert result.exit_code == 1
    assert f"Set5: 0 ok, 4 missing, 1 changed  ({file.parent})" in result.stdout
    assert f"changed: {file}" in result.stdout
    file.unlink()
    put("test/Set5/other.png", CAT)
    result = data("verify", "set5")
    assert (result.exit_code, result.stdout.split("  ")[0]) == (0, "Set5: 0 ok, 5 missing, 0 changed")


def test_verify_of_a_set_that_is_not_here_says_how_to_get_it(root: Path) -> None:
    result = data("verify", "Set14")
    assert result.exit_code == 2
    assert result.stderr == "Set14 is not here: semanir-bench data fetch Set14\n"
    result = data("verify", "st14")
    assert (result.exit_code, "Did you mean 'Set14'?" in result.stderr) == (2, True)


def test_fetch_of_a_set_without_a_source_says_where_a_person_gets_it(root: Path) -> None:
    result = data("fetch", "hide")
    assert result.exit_code == 2
    assert (
        "HIDE has no recorded source: get it from https://github.com/joanshen0508/HA_deblur and lay it" in result.stderr
    )
    assert str(root / "test" / "HIDE") in result.stderr


def test_fetch_without_a_server_names_the_address(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMANIR_MIRROR", "http://127.0.0.1:9")
    result = data("fetch", "Set5")
    assert result.exit_code == 2
    assert re.match(r"http://127\.0\.0\.1:9/cszn/DnCNN/[0-9a-f]{40}/testsets/Set5/\S+: no connection", result.stderr)


def test_add_makes_own_folders_a_dataset_under_any_root(put: Callable[..., Path], root: Path) -> None:
    clean, degraded = put("a/gt/1.png", CAT).parent, put("a/lq/1.png", 255 - CAT).parent
    other = root / "other"
    result = data("add", "Mine", "--gt", str(clean), "--lq", str(degraded), "--data", str(other))
    assert (result.exit_code, result.stdout) == (0, "Mine: 1 pairs; name it on the axis dataset of a spec\n")
    assert json.loads((other / "added.json").read_text())["Mine"] == {"gt": str(clean), "lq": str(degraded)}
    again = data("add", "mine", "--gt", str(clean), "--data", str(other))
    assert (again.exit_code, "there is a dataset 'mine' already" in again.stderr) == (2, True)


def test_leaks_names_the_pair_and_exits_with_1(put: Callable[..., Path]) -> None:
    photograph = datasets.load("bundled", images=5, image_size=200)[4].pixels
    put("train/Own/holiday.png", np.ascontiguousarray(photograph[:, ::-1]))
    put("test/Set14/coffee.png", photograph)
    put("test/Clean/cat.png", CAT)
    result = data("leaks", "own")
    assert result.exit_code == 1
    assert "holiday is Set14/coffee: a copy, mirrored" in result.stdout
    assert data("leaks", "own", "clean").exit_code == 0


# specs, plans and trials


def spec_file(folder: Path, names: str) -> Path:
    file = folder / "which.yaml"
    file.write_text(SPEC.format(datasets=names))
    return file


def test_a_spec_may_name_sets_that_are_not_here_in_any_spelling(root: Path) -> None:
    assert load(spec_file(root, "set14, GOPRO, bundled")).values("dataset") == ("Set14", "GoPro", "bundled")
    with pytest.raises(SpecError, match="no dataset 'Set15'"):
        load(spec_file(root, "Set15"))
    with pytest.raises(SpecError, match="two of these are one dataset: set14, Set14; keep one"):
        load(spec_file(root, "set14, Set14"))
    values = json_schema()["properties"]["axes"]["properties"]["dataset"]["anyOf"][0]["enum"]
    assert {"bundled", "Set14", "GoPro"} <= set(values)


def test_a_plan_skips_what_its_sets_cannot_give_with_the_remedy(put: Callable[..., Path], root: Path) -> None:
    put("test/Mine/gt/1.png", CAT)
    put("test/Mine/lq/1.png", 255 - CAT)
    plan = expand(load(spec_file(root, "Set14, GoPro, bundled, Mine")), cuda=False)
    planned = {(planned.cell.dataset, planned.cell.setting) for planned in plan.cells}
    denoise = TASKS["denoise"].canonical(TASKS["denoise"].defaults)
    motion, pairs = "kernel=motion", "kernel=pairs"
    assert planned == {("bundled", denoise), ("bundled", motion), ("Mine", denoise), ("Mine", motion), ("Mine", pairs)}
    reasons = {(skip.cell.dataset, skip.cell.setting): skip.reason for skip in plan.skipped}
    assert reasons["Set14", denoise] == reasons["Set14", motion] == "Set14 is not here: semanir-bench data fetch Set14"
    assert reasons["GoPro", denoise].startswith("GoPro is not here: get it from https://")
    assert reasons["GoPro", pairs] == reasons["GoPro", denoise]
    assert "GoPro holds real pairs for deblur: ask for setting kernel=pairs" in reasons["GoPro", motion]
    assert "Set14 holds no pairs" in reasons["Set14", pairs]
    assert "bundled holds no pairs" in reasons["bundled", pairs]


@pytest.mark.parametrize(("task", "setting"), [("deblur", "kernel=pairs"), ("weather", "kind=pairs")])
def test_a_trial_takes_real_pairs_as_they_are(put: Callable[..., Path], task: str, setting: str) -> None:
    put("test/Mine/gt/1.png", CAT)
    put("test/Mine/lq/1.png", 255 - CAT)
    cell = Cell(model="semanir/nano", task=task, dataset="Mine", setting=setting, backend="sdpa", image_size=32)
    (pair,) = Trial(cell, Timing()).pairs
    assert np.array_equal(pair.target, CAT[16:48, 16:48].astype(np.float32) / np.float32(255))
    assert np.array_equal(pair.degraded, (255 - CAT[16:48, 16:48]).astype(np.float32) / np.float32(255))


@pytest.mark.parametrize(("task", "setting"), [("deblur", "kernel=pairs"), ("weather", "kind=pairs")])
def test_pairs_are_never_made_up(task: str, setting: str) -> None:
    parsed = TASKS[task].parse(setting)
    with pytest.raises(InvalidSetting, match="pairs degrades nothing: its images are pairs already"):
        TASKS[task].degrade(CAT, parsed, np.random.default_rng(0))
    cell = Cell(model="semanir/nano", task=task, dataset="bundled", setting=setting, backend="sdpa")
    with pytest.raises(DatasetError, match="bundled holds no pairs; lay them out as gt/ and lq/"):
        Trial(cell, Timing()).pairs  # noqa: B018
    with pytest.raises(InvalidSetting, match="means nothing with"):
        TASKS[task].parse(f"{setting},{'length' if task == 'deblur' else 'amount'}=9")
