"""The guard: what a network will be judged on is not trained on, and asking again costs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from harness import datasets
from harness.datasets import DatasetError, Image
from harness.leaks import LeakError
from harness.training import data
from harness.training.guard import CACHE, comparison, refuse_leaks
from harness.training.spec import TrainingSpec

Load = Callable[..., TrainingSpec]


def images_of(spec: TrainingSpec) -> list[tuple[Image, ...]]:
    return [data.read(source, pairs=False) for source in spec.data]


def test_a_validation_image_among_the_training_images_is_refused_by_name(tiny: Load, tmp_path: Path) -> None:
    spec = tiny("data.1.exclude=[coffee.png]")
    with pytest.raises(LeakError, match=r"bundled/camera is bundled/camera of a test set \(the same pixels\)"):
        refuse_leaks(spec, images_of(spec), tmp_path)


def test_a_changed_copy_in_a_test_set_is_refused_until_it_is_excluded(
    tiny: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path))
    coffee = next(image for image in datasets.load("bundled") if image.name == "coffee")
    (tmp_path / "test" / "Cups").mkdir(parents=True)
    PIL.Image.fromarray(np.ascontiguousarray(coffee.pixels[:, ::-1])).save(tmp_path / "test" / "Cups" / "cup.png")
    spec = tiny("tests=[Cups]")
    with pytest.raises(LeakError, match=r"bundled/coffee is Cups/cup of a test set \(a copy, mirrored\)"):
        refuse_leaks(spec, images_of(spec), tmp_path / "out")
    spec = tiny("tests=[Cups]", "data.1.exclude=[camera.png, coffee.png]")
    assert refuse_leaks(spec, images_of(spec), tmp_path / "out").compared == ("bundled", "Cups")


def test_leaks_that_are_known_count_though_the_test_set_is_elsewhere(
    tiny: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path))
    (tmp_path / "train" / "BSDS500-train").mkdir(parents=True)
    for name in ("12003", "100075"):
        PIL.Image.new("RGB", (40, 40)).save(tmp_path / "train" / "BSDS500-train" / f"{name}.jpg")
    spec = tiny("data.1={dataset: BSDS500-train}", "tests=[Set12]")
    with pytest.raises(LeakError, match=r"BSDS500-train: 12003\.jpg are known to be in one of Set12: .* `exclude`"):
        refuse_leaks(spec, images_of(spec), tmp_path / "out")
    spec = tiny("data.1={dataset: BSDS500-train, exclude: [12003.jpg]}", "tests=[Set12]")
    assert refuse_leaks(spec, images_of(spec), tmp_path / "out").absent == ("Set12",)


def test_what_was_found_clean_is_not_compared_again(tiny: Load, tmp_path: Path) -> None:
    """Shown by a forged memory, which a true comparison would contradict."""
    spec = tiny("data.1.exclude=[coffee.png]")
    training, tests = (
        [Image(f"bundled/{image.name}", image.pixels) for image in found]
        for found in (images_of(spec)[0], [image for image in datasets.load("bundled") if image.name == "camera"])
    )
    (tmp_path / CACHE).write_text(json.dumps([comparison(training, tests)]))
    refuse_leaks(spec, images_of(spec), tmp_path)
    (tmp_path / CACHE).unlink()
    with pytest.raises(LeakError):
        refuse_leaks(spec, images_of(spec), tmp_path)


def test_clean_comparisons_are_remembered_once(tiny: Load, tmp_path: Path) -> None:
    for _ in range(2):
        refuse_leaks(tiny(), images_of(tiny()), tmp_path)
        assert len(json.loads((tmp_path / CACHE).read_text())) == 1
    other = tiny("data.1.exclude=[camera.png, rocket.jpg]")
    refuse_leaks(other, images_of(other), tmp_path)
    assert len(json.loads((tmp_path / CACHE).read_text())) == 2


def test_a_validation_image_that_is_not_there_is_named(tiny: Load, tmp_path: Path) -> None:
    spec = tiny("validation.images=[camra]")
    with pytest.raises(DatasetError, match=r"bundled holds no image 'camra'\. Did you mean 'camera'\?"):
        refuse_leaks(spec, images_of(spec), tmp_path)
