from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.catalogs import MODELS
from harness.record import Cell, Timing
from harness.support import as_markdown, supported
from harness.trial import prepare

DOCUMENT = Path(__file__).parents[2] / "docs" / "support.md"
SMALLEST = {
    "semanir": ["nano"],
    "swinir": ["nano"],
    "ast": ["nano", "nano-sparse"],
    "dncnn": ["3"],
    "total_variation": ["0.04"],
}


def test_the_committed_table_is_what_the_models_say() -> None:
    assert DOCUMENT.read_text().endswith(as_markdown() + "\n"), "semanir-bench list support > docs/support.md"


def pairs() -> list[tuple[str, str, str]]:
    """One configuration of each family and every task that it supports."""
    rows = [
        row for row in supported() if row.model.partition("/")[2] in SMALLEST.get(row.model.partition("/")[0], [""])
    ]
    return [(row.model, task, setting) for row in rows for task, setting in row.settings.items()]


@pytest.mark.parametrize(("model", "task", "setting"), pairs())
def test_a_cell_of_every_supported_pair_runs(model: str, task: str, setting: str) -> None:
    family = model.partition("/")[0]
    asked = {"backend": "mask"} if "backend" in MODELS[family].uses else {}
    cell = Cell(model=model, task=task, setting=setting, dataset="bundled", images=1, image_size=48, **asked)
    if "pairs" in setting:
        pytest.skip("real pairs do not come with the project")
    trial = prepare(cell, Timing())
    restored = trial.run()
    height, width, channels = trial.pairs[0].target.shape
    assert restored.shape == (1, channels, height, width)
    assert torch.isfinite(restored).all()


def test_every_task_is_served_by_a_network_and_every_network_serves_a_task() -> None:
    rows = list(supported())
    assert all(row.settings for row in rows)
    assert {task for row in rows for task in row.settings} == {"jpeg", "denoise", "demosaic", "sr", "deblur", "weather"}
