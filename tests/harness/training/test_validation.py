from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from harness.training.spec import TrainingSpec
from harness.training.validation import Validator


class Nudge(torch.nn.Module):
    """Gives the target back, off by a number of 16-bit steps."""

    def __init__(self, target: np.ndarray, steps: float) -> None:
        super().__init__()
        self.offset = torch.nn.Parameter(torch.tensor(steps / 65535))
        self.target = torch.from_numpy(target)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.target[None, None] + self.offset


def test_a_16_bit_image_is_judged_by_its_own_steps(
    tiny: Callable[..., TrainingSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of 40 of its steps is 40 / 257 of an 8-bit one: rounded to 8 bits it would be none, or a whole step."""
    values = np.random.default_rng(0).integers(8, 248, (32, 32), dtype=np.uint16) * 257
    folder = tmp_path / "test" / "Deep"
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / "one.tif", values, photometric="minisblack")
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path))
    validator = Validator(tiny("validation={dataset: Deep, every: 5}"))
    judged = validator.judge(Nudge((values / 65535).astype(np.float32), 40).eval())
    assert judged.mean_db == pytest.approx(20 * np.log10(65535 / 40), abs=0.05)
