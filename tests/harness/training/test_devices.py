from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness.training import devices
from harness.training.devices import WrongProcesses
from harness.training.run import train
from harness.training.spec import TrainingSpec


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU decides by its own kind")
@pytest.mark.parametrize(("native", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_cpu_gets_bf16_only_where_it_multiplies_it_natively(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: str
) -> None:
    mkldnn = SimpleNamespace(mkldnn=SimpleNamespace(_is_mkldnn_bf16_supported=lambda: native))
    monkeypatch.setattr(torch, "ops", mkldnn)
    assert devices.decided("auto") == expected
    assert [devices.decided(named) for named in ("32-true", "bf16-mixed")] == ["32-true", "bf16-mixed"]


def test_the_card_tells_the_precision_that_was_decided(tiny: Callable[..., TrainingSpec], tmp_path: Path) -> None:
    train(tiny("precision=auto", "steps=2"), tmp_path, resume=False, listener=lambda event: None)
    card = json.loads((tmp_path / "tiny.json").read_text())
    assert card["training"]["recipe"]["precision"] == devices.decided("auto")


@pytest.mark.parametrize(("rank", "places"), [(0, range(2)), (1, range(2, 4))])
def test_processes_share_a_batch_in_order_and_refuse_one_with_a_rest(
    monkeypatch: pytest.MonkeyPatch, rank: int, places: range
) -> None:
    fabric = devices.connect("32-true")
    monkeypatch.setattr(type(fabric), "world_size", 2)
    monkeypatch.setattr(type(fabric), "global_rank", rank)
    assert devices.share(4, fabric) == places
    with pytest.raises(WrongProcesses, match="a batch of 3 patches cannot be shared by 2 processes; take a multiple"):
        devices.share(3, fabric)
