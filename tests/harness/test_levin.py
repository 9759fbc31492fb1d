"""Levin's kernels: read from the data root, drawn by the seed, and missed at plan time."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import convolve

from harness import datasets, levin, sources
from harness.datasets import DatasetError
from harness.plan import expand
from harness.record import Cell, Timing
from harness.spec import load
from harness.task import generator
from harness.tasks.deblur import TASK
from harness.trial import Trial

(CAT,) = datasets.load("bundled", images=1, image_size=48)

SPEC = """
question: What do Levin's kernels cost?
axes:
  model: identity
  task: deblur
  dataset: bundled
  setting: {deblur: [kernel=motion, kernel=levin, "kernel=levin,number=3"]}
metrics: [degraded]
"""


def made(seed: int, count: int = 8) -> list[np.ndarray]:
    """Return kernels of different odd sides without any symmetry."""
    drawn = [np.random.default_rng([seed, side]).random((side, side)) for side in range(5, 5 + 2 * count, 2)]
    return [weights / weights.sum() for weights in drawn]


def save(file: Path, weights: list[np.ndarray]) -> None:
    """Write a cell array as MATLAB 7.3 does: an HDF5 file behind 512 bytes of text, its axes reversed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w", userblock_size=512) as opened:
        refs = [opened.create_dataset(f"#refs#/{number}", data=one.T).ref for number, one in enumerate(weights)]
        opened.create_dataset("kernels", data=np.array(refs, dtype=h5py.ref_dtype).reshape(-1, 1))
    with file.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def file(root: Path) -> Path:
    save(root / "kernels" / "Levin09.mat", made(0))
    return root / "kernels" / "Levin09.mat"


def degrade(text: str, name: str = "cat", seed: int = 0) -> np.ndarray:
    return TASK.degrade(CAT.pixels, TASK.parse(text), generator(seed, name))


@pytest.mark.parametrize("number", range(1, 9))
def test_a_kernel_is_convolved_with_mirrored_borders_and_rounded(file: Path, number: int) -> None:
    weights = made(0)[number - 1]
    assert np.array_equal(levin.kernel(number), weights)
    blurred = convolve(CAT.pixels.astype(np.float64), weights[..., None], mode="mirror")
    assert np.abs(255.0 * degrade(f"kernel=levin,number={number}") - blurred).max() <= 0.5 + 1e-4


def test_without_a_number_seed_and_name_draw_one_of_the_eight(file: Path) -> None:
    eight = [degrade(f"kernel=levin,number={number}").tobytes() for number in range(1, 9)]
    drawn = [degrade("kernel=levin", name=str(name)).tobytes() for name in range(60)]
    assert set(drawn) == set(eight)
    assert drawn == [degrade("kernel=levin", name=str(name)).tobytes() for name in reversed(range(60))][::-1]
    assert TASK.canonical(TASK.parse("kernel=levin,number=0")) == "kernel=levin"


def test_a_plan_without_the_file_skips_with_the_place_and_the_command(root: Path) -> None:
    (root / "spec.yaml").write_text(SPEC)
    plan = expand(load(root / "spec.yaml"), cuda=False)
    assert [planned.cell.setting for planned in plan.cells] == ["kernel=motion"]
    reason = (
        "no file 'kernels/Levin09.mat': it is looked for in $SEMANIR_DATA, else in the user's data directory; "
        "semanir-bench data fetch kernels"
    )
    assert {skip.reason for skip in plan.skipped} == {reason}
    with pytest.raises(DatasetError) as error:
        degrade("kernel=levin")
    assert str(error.value) == reason


def test_a_plan_with_the_file_measures_and_one_without_h5py_says_so(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file.parent / "spec.yaml").write_text(SPEC)
    spec = load(file.parent / "spec.yaml")
    assert len(expand(spec, cuda=False).cells) == 3
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "h5py" else find(name))
    (reason,) = {skip.reason for skip in expand(spec, cuda=False).skipped}
    assert reason == (
        "'kernels/Levin09.mat' is a MATLAB 7.3 file, which needs h5py: pip install 'semanir-bench[foreign]'"
    )


def test_a_cell_is_degraded_from_its_setting_alone(file: Path) -> None:
    cell = Cell(model="identity", task="deblur", setting="kernel=levin", dataset="bundled", images=2, image_size=48)
    trials = [Trial(cell, Timing()) for _ in range(2)]
    assert trials[0].degraded_digests == trials[1].degraded_digests
    assert len(set(trials[0].degraded_digests.values())) == 2


@pytest.mark.parametrize("content", [b"", b"MATLAB 7.3 but nothing else", None], ids=["empty", "no HDF5", "seven"])
def test_a_damaged_file_is_named_with_the_remedy(root: Path, content: bytes | None) -> None:
    place = root / "kernels" / "Levin09.mat"
    save(place, made(0, count=7))
    if content is not None:
        place.write_bytes(content)
    with pytest.raises(DatasetError, match=r"Levin09\.mat: (cannot be read|holds no 8 blur kernels).*; remove it and"):
        degrade("kernel=levin")


def test_weights_that_are_no_kernel_are_refused(root: Path) -> None:
    save(root / "kernels" / "Levin09.mat", [*made(0)[:7], np.full((4, 4), 1 / 16)])
    with pytest.raises(DatasetError, match=r"Levin09\.mat: holds no 8 blur kernels"):
        degrade("kernel=levin")


def test_other_kernels_are_measured_again_and_other_settings_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = {}
    for root, seed in ((tmp_path / "one", 0), (tmp_path / "same", 0), (tmp_path / "other", 1)):
        monkeypatch.setenv("SEMANIR_DATA", str(root))
        save(root / "kernels" / "Levin09.mat", made(seed))
        sources._fingerprint.cache_clear()
        for setting in ("kernel=levin", "kernel=motion"):
            cell = Cell(model="identity", task="deblur", setting=setting, dataset="bundled")
            digests[root.name, setting] = sources.source_digest(cell, "psnr")
    sources._fingerprint.cache_clear()
    assert digests["one", "kernel=levin"] == digests["same", "kernel=levin"] != digests["other", "kernel=levin"]
    assert digests["one", "kernel=motion"] == digests["other", "kernel=motion"] != digests["one", "kernel=levin"]


@pytest.mark.skipif("SEMANIR_DATA" not in os.environ, reason="the real kernels are looked at where SEMANIR_DATA is set")
def test_the_real_kernels_are_the_pictures_of_them_in_levins_set() -> None:
    """Pictures 4 and 8 show theirs turned by half a turn."""
    pictures = datasets.data_root() / "test" / "Levin09" / "gt"
    if levin.FILE.missing() or not pictures.is_dir():
        pytest.skip("the kernels or their pictures are not here")
    for number in range(1, 9):
        weights = levin.kernel(number)
        seen = np.asarray(Image.open(pictures / f"kernel{number}.png")).astype(np.float64)
        seen = np.rot90(seen, 2) if number in (4, 8) else seen
        assert np.corrcoef(weights.ravel(), seen.ravel())[0, 1] > 0.99
