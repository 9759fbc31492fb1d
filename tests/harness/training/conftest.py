from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.training.spec import TrainingSpec, load

TINY = """\
name: tiny
model: semanir/nano
backend: mask
task: denoise
setting: sigma=25
data:
  - {dataset: bundled, exclude: [camera.png]}
windows:
  - {window: 4, top_k: [2, 8], odds: 1}
  - {window: 8, top_k: 4, odds: 1}
patch: 16
batch: 4
steps: 12
optimiser: {learning_rate: 3e-3}
precision: 32-true
validation: {dataset: bundled, images: camera, image_size: 32, every: 5}
checkpoint_every: 3
"""

Load = Callable[..., TrainingSpec]


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    """A spec whose training takes a second."""
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    return file


@pytest.fixture
def tiny(tiny_file: Path) -> Load:
    """Load that spec with overrides."""
    return lambda *overrides: load(tiny_file, overrides)
