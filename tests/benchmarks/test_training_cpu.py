"""Which attention backend trains fastest on one CPU thread: what the specs of experiments/train go by."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest
import torch

from harness.training import devices
from harness.training.loop import Training
from harness.training.spec import load

pytestmark = pytest.mark.slow
SPEC = Path(__file__).parents[2] / "experiments" / "train" / "denoise.yaml"
ROUNDS = 5


@pytest.mark.timing
@pytest.mark.parametrize(("window", "top_k"), [(8, 16), (16, 32)])
def test_mask_trains_faster_than_gather_and_at_window_8_than_sdpa(
    window: int, top_k: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole optimiser steps on eight patches of 64 x 64, each backend once a round."""
    sharp = torch.rand(8, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    batch = sharp + 0.1 * torch.randn(sharp.shape, generator=torch.Generator().manual_seed(1)), sharp
    trainings = {}
    for backend in ("mask", "sdpa", "gather"):
        spec = load(SPEC, [f"backend={backend}", f"windows=[{{window: {window}, top_k: {top_k}}}]"])
        trainings[backend] = Training(spec, devices.connect("32-true"))
        trainings[backend].advance(lambda step: batch)
    ratios: dict[str, list[float]] = {name: [] for name in trainings}
    for _ in range(ROUNDS):
        taken = {name: training.advance(lambda step: batch).seconds for name, training in trainings.items()}
        for name, seconds in taken.items():
            ratios[name].append(seconds / taken["mask"])
    found = {name: median(times) for name, times in ratios.items()}
    with capsys.disabled():
        print(f"\na training step at window {window}, k {top_k}, over mask's: {found}")
    assert found["gather"] > 1
    if window == 8:
        assert found["sdpa"] > 1
