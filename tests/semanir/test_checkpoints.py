from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from semanir.checkpoints import CheckpointError, restore, save
from semanir.weights import FOLDER, cards


def small(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(2, width), nn.Linear(width, 1))


def test_weights_come_back_within_half_precision(tmp_path: Path) -> None:
    network, other = small(), small()
    sha256 = save(network, tmp_path / "weights.safetensors")
    restore(other, tmp_path / "weights.safetensors", sha256=sha256)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, atol=1e-3, rtol=1e-3)
        assert other.state_dict()[name].dtype == torch.float32


def test_a_changed_file_is_refused_and_the_network_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    sha256 = save(small(), file)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    network = small()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match="its sha256 is"):
        restore(network, file, sha256=sha256)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


class Bomb:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("content", [b"", b"no tensors", pickle.dumps(Bomb())], ids=["empty", "text", "pickle"])
def test_a_file_that_is_no_safetensors_is_refused_and_runs_nothing(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "weights.safetensors"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: is no safetensors file"):
        restore(small(), file)
    assert not Path("ran").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.safetensors: cannot be read"):
        restore(small(), tmp_path / "gone.safetensors")


def test_weights_of_another_network_are_refused_by_name_and_by_shape(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save(nn.Sequential(nn.Linear(2, 3)), file)
    with pytest.raises(CheckpointError, match=r"lacks 2 of its tensors \(1\.bias, 1\.weight\)"):
        restore(small(), file)
    save(small(width=4), file)
    with pytest.raises(CheckpointError, match=r"0\.weight has shape \(4, 2\), the network wants \(3, 2\)"):
        restore(small(), file)


def test_every_shipped_file_has_a_card_and_stays_small() -> None:
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(cards())
    for card in cards().values():
        assert card.file.stat().st_size <= 1.5 * 2**20
        assert {"recipe", "data", "licence", "minutes", "machine", "commit"} <= set(card.training)
