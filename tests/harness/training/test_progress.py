"""What a person sees of a training."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from harness.training.guard import Guarded
from harness.training.loop import Step
from harness.training.progress import Board, NoTensorBoard, TrainingLine
from harness.training.run import Begun, Event, Judged, Shipped
from harness.training.spec import TrainingSpec
from harness.training.validation import Judgement

Load = Callable[..., TrainingSpec]


def events(folder: Path) -> list[Event]:
    picture = np.zeros((8, 8, 1), np.float32)
    judgement = Judgement({"camera": 27.25}, {"restored": picture})
    step = Step(12, loss=0.5, gradient=1.0, learning_rate=1e-3, seconds=0.5, data_seconds=0.05)
    begun = Begun(12, 11, (5,), 12_744, 1, Guarded(("bundled",), ("Set12",)))
    return [begun, step, Judged(12, judgement), Shipped(folder / "tiny.json", seconds=90.0, data_seconds=4.5)]


def test_plain_lines_say_what_was_compared_how_fast_it_goes_and_what_data_cost(tiny: Load, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=140)
    with TrainingLine(console, tiny()) as line:
        for event in events(tmp_path):
            line(event)
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "tiny: 12,744 parameters, 5 images, 11 of 12 steps done before",
        "no training image is in bundled",
        "not here, so not compared: Set12",
        "step 12/12, loss 0.50000, 8.0 images/s, data 10%, about 0.0 min left",
        "step 12: 27.250 dB on bundled (1 images)",
        "trained for 1.5 min, 5.0% of it waiting for data",
        str(tmp_path / "tiny.json"),
    ]


def test_a_bar_shows_loss_psnr_and_speed_in_a_terminal(tiny: Load, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=140, force_terminal=True)
    with TrainingLine(console, tiny()) as line:
        begun, step, judged, _ = events(tmp_path)
        for event in (begun, judged, step):
            line(event)
        line.bar.refresh()
    assert "loss 0.50000, 27.25 dB, 8.0 images/s, data 10%" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is not None, reason="tensorboard is installed")
def test_tensorboard_that_is_missing_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(NoTensorBoard, match="pip install 'tensorboard<3'"):
        Board(tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_gets_scalars_and_pictures(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = Board(tmp_path / "board")
    for event in events(tmp_path):
        board(event)
    read = EventAccumulator(str(tmp_path / "board"))
    read.Reload()
    assert {"train/loss", "validation/psnr_db"} <= set(read.Tags()["scalars"])
    assert read.Tags()["images"] == ["validation/restored"]
