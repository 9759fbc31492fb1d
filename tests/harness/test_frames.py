"""Averaged frames: pairs made of a folder of consecutive sharp images, as GoPro's were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import datasets, sources
from harness.datasets import Average, DatasetError
from harness.datasets.frames import mean_of
from harness.plan import expand
from harness.record import Cell, Timing
from harness.spec import load
from harness.task import InvalidSetting, generator
from harness.tasks.deblur import TASK
from harness.trial import Trial

RANDOM = np.random.default_rng(0)
FRAMES = [RANDOM.integers(0, 256, (24, 20, 3), dtype=np.uint8) for _ in range(12)]

SPEC = """
question: How much does a longer exposure cost?
axes:
  model: identity
  task: deblur
  dataset: [bundled, Set5, Video]
  images: 2
  image_size: 16
  setting: {deblur: ["kernel=frames,frames=3", "kernel=frames,frames=5,gamma=1", "kernel=frames,frames=31"]}
metrics: [degraded]
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path))
    (tmp_path / "test").mkdir()
    return tmp_path


@pytest.fixture
def put(root: Path) -> Callable[[str, np.ndarray], Path]:
    def save(name: str, pixels: np.ndarray) -> Path:
        file = root / "test" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
        return file

    return save


@pytest.fixture
def video(root: Path, put: Callable[..., Path]) -> str:
    """Save the frames as `Video/1.png` to `12.png`: natural order is not that of letters."""
    for number, frame in enumerate(FRAMES, start=1):
        put(f"Video/{number}.png", frame)
    return "Video"


@pytest.mark.parametrize("frames", [3, 7])
@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_the_mean_of_the_neighbours_in_natural_order_is_the_partner(video: str, frames: int, gamma: float) -> None:
    images = datasets.load(video, average=Average(frames, gamma))
    reach = frames // 2
    assert [image.name for image in images] == [str(number) for number in range(1 + reach, 13 - reach)]
    for index, image in enumerate(images):
        stack = np.stack(FRAMES[index : index + frames]).astype(np.float64) / 255
        expected = np.floor(255 * (stack**gamma).mean(axis=0) ** (1 / gamma) + 0.5)
        assert np.array_equal(image.pixels, FRAMES[index + reach])
        assert np.array_equal(image.degraded, expected)


def test_a_gamma_of_one_is_the_plain_mean_and_a_larger_one_is_brighter(video: str) -> None:
    plain, linear = (datasets.load(video, images=1, average=Average(5, gamma))[0] for gamma in (1.0, 2.2))
    whole = np.sum([frame.astype(np.int64) for frame in FRAMES[:5]], axis=0)
    assert np.array_equal(plain.degraded, (2 * whole + 5) // 10)
    assert (linear.degraded >= plain.degraded).all()
    assert linear.degraded.mean() > plain.degraded.mean() + 5


def test_equal_frames_stay_what_they_are_at_both_depths() -> None:
    for dtype in (np.uint8, np.uint16):
        every = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(-1, 16, 1)
        for gamma in (1.0, 2.2):
            mean = mean_of([every] * 7, gamma)
            assert mean.dtype == dtype
            assert np.array_equal(mean, every)


def test_frames_are_averaged_within_their_folder_alone(root: Path, put: Callable[..., Path]) -> None:
    for number, frame in enumerate(FRAMES):
        put(f"Two/{'ab'[number // 6]}/{number:02}.png", frame)
    images = datasets.load("Two", average=Average(5, 1.0))
    assert [image.name for image in images] == ["a_02", "a_03", "b_08", "b_09"]
    assert np.array_equal(images[2].degraded, mean_of(FRAMES[6:11], 1.0))


def test_a_cut_is_the_cut_of_the_average(video: str) -> None:
    whole, cut = (datasets.load(video, average=Average(3, 2.2), image_size=side)[4] for side in (None, 12))
    assert np.array_equal(cut.degraded, whole.degraded[6:18, 4:16])
    assert np.array_equal(cut.pixels, whole.pixels[6:18, 4:16])


def test_a_folder_made_known_by_add_is_averaged_too(root: Path, put: Callable[..., Path]) -> None:
    for number, frame in enumerate(FRAMES[:4]):
        put(f"../elsewhere/{number}.png", frame)
    datasets.add("Clip", root / "elsewhere")
    assert [image.name for image in datasets.load("Clip", average=Average(3, 1.0))] == ["1", "2"]


def test_a_spec_measures_what_can_be_averaged_and_says_of_the_rest_why_not(video: str, root: Path) -> None:
    (root / "spec.yaml").write_text(SPEC)
    plan = expand(load(root / "spec.yaml"), cuda=False)
    settings = ["kernel=frames,frames=3", "kernel=frames,frames=5,gamma=1"]
    assert [(planned.cell.dataset, planned.cell.setting) for planned in plan.cells] == [
        ("Video", setting) for setting in settings
    ]
    remedy = "name a folder of your own below test/, or one made known by 'semanir-bench data add'"
    assert {skip.reason for skip in plan.skipped} == {
        f"bundled is a standard set, and those are not averaged; {remedy}",
        f"Set5 is a standard set, and those are not averaged; {remedy}",
        "Video holds no 31 consecutive frames in one folder; ask for fewer, or add more",
    }
    for planned in plan.cells:
        trial = Trial(planned.cell, Timing())
        average = datasets.wants_average(trial.setting)
        expected = datasets.load("Video", images=2, image_size=16, average=average)
        for pair, image in zip(trial.pairs, expected, strict=True):
            assert np.array_equal(np.round(pair.degraded * 255), image.degraded)
            assert np.array_equal(np.round(pair.target * 255), image.pixels)
        assert trial.degraded_digests == Trial(planned.cell, Timing()).degraded_digests


def test_an_average_of_what_is_no_sequence_is_refused(root: Path, put: Callable[..., Path]) -> None:
    for number, side in enumerate((16, 16, 12)):
        put(f"Mixed/{number}.png", FRAMES[0][:side, :side])
    with pytest.raises(DatasetError, match=r"2\.png: \(12, 12, 3\) uint8, but 1 has \(16, 16, 3\) uint8; a sequence"):
        datasets.load("Mixed", average=Average(3, 1.0))
    with pytest.raises(DatasetError, match="Mixed holds no 5 consecutive frames in one folder"):
        datasets.load("Mixed", average=Average(5, 1.0))
    with pytest.raises(DatasetError, match="Mixed holds 1 images and 2 were asked for; ask for fewer"):
        datasets.load("Mixed", images=2, average=Average(3, 1.0))
    with pytest.raises(DatasetError, match="bundled is a standard set"):
        datasets.load("bundled", average=Average(3, 1.0))


def test_no_single_image_is_blurred_by_averaging() -> None:
    with pytest.raises(InvalidSetting, match="kernel=frames blurs no single image"):
        TASK.degrade(FRAMES[0], TASK.parse("kernel=frames"), generator(0, "x"))


def test_a_neighbour_that_changed_is_measured_again(video: str, put: Callable[..., Path]) -> None:
    def digests() -> list[str]:
        sources._fingerprint.cache_clear()
        cells = [
            Cell(model="identity", task="deblur", dataset="Video", images=2, setting=setting)
            for setting in ("kernel=frames,frames=5", "kernel=motion")
        ]
        return [sources.source_digest(cell, "psnr") for cell in cells]

    before = digests()
    put("Video/6.png", FRAMES[0])  # a neighbour of the second target alone
    after = digests()
    assert (after[0] != before[0], after[1] == before[1]) == (True, True)
