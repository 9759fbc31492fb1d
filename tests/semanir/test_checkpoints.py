from __future__ import annotations

import argparse
import io
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from semanir.checkpoints import WRAPPERS, CheckpointError, read_state, restore, save
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


def test_a_network_that_cannot_be_written_says_where_and_why(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone/weights\.safetensors: cannot be written"):
        save(small(), tmp_path / "gone" / "weights.safetensors")


def pickled(content: object, **options: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    network = small()
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.rand(1, 2)).sum().backward()
    optimizer.step()
    return network, optimizer


@pytest.mark.parametrize("wrapper", [*WRAPPERS, None])
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_training_checkpoint_gives_its_networks_tensors(
    wrapper: str | None, prefix: str, zipped: bool, tmp_path: Path
) -> None:
    network, optimizer = trained()
    state: dict = {f"{prefix}{name}": value for name, value in network.state_dict().items()}
    if wrapper is not None:
        state = {"epoch": 7, "lr": 1e-4, "optimizer": optimizer.state_dict(), wrapper: state, "best": [1, "x", None]}
    (tmp_path / "last.pth").write_bytes(pickled(state, _use_new_zipfile_serialization=zipped))
    read = read_state(tmp_path / "last.pth")
    assert read.keys() == network.state_dict().keys()
    assert all(torch.equal(read[name], value) for name, value in network.state_dict().items())


def test_nested_wrappers_are_opened_and_averaged_weights_come_first(tmp_path: Path) -> None:
    plain, averaged = {"a": torch.zeros(2)}, {"a": torch.ones(2)}
    torch.save({"model": {"params": plain, "params_ema": averaged}, "epoch": 1}, tmp_path / "last.pth")
    assert read_state(tmp_path / "last.pth")["a"].tolist() == [1, 1]


def test_a_prefix_that_not_every_name_has_belongs_to_the_names(tmp_path: Path) -> None:
    torch.save({"module.a": torch.zeros(2), "b": torch.zeros(2)}, tmp_path / "last.pth")
    assert read_state(tmp_path / "last.pth").keys() == {"module.a", "b"}


def test_safetensors_are_read_by_the_same_call(tmp_path: Path) -> None:
    save(small(), tmp_path / "weights.safetensors")
    assert read_state(tmp_path / "weights.safetensors").keys() == small().state_dict().keys()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickled({"state_dict": Bomb()}), "could run code, so it was not read"),
        (pickled({"state_dict": Bomb()}, _use_new_zipfile_serialization=False), "could run code, so it was not read"),
        (pickle.dumps(Bomb()), "could run code, so it was not read"),
        (pickle.dumps(Bomb(), protocol=2), "could run code, so it was not read"),
        (pickled({"state_dict": {}, "args": argparse.Namespace(x=1)}), r"asks for argparse\.Namespace; .* by itself"),
        (b"", "is damaged or no torch checkpoint"),
        (b"no tensors", "is no pickle"),
        (pickled({"a": torch.rand(100)})[:500], "is damaged or no torch checkpoint"),
        (pickled([torch.rand(2)]), "holds no tensors by name but a list"),
        (pickled({}), "holds no tensors by name but 0 entries"),
        (pickled({"weights": {"a": torch.rand(2)}, "epoch": 2}), "weights, epoch of its 2 entries are no tensors"),
    ],
    ids=[
        "bomb",
        "bomb-legacy",
        "pickle",
        "pickle-2",
        "options",
        "empty",
        "text",
        "cut",
        "list",
        "nothing",
        "unwrapped",
    ],
)
def test_a_checkpoint_that_is_unsafe_damaged_or_none_is_refused_and_runs_nothing(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "found.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_state(tmp_path / "found.pth")
    assert "found.pth: " in str(caught.value)
    assert "weights_only" not in str(caught.value), "torch's advice to load it all the same is not passed on"
    assert not Path("ran").exists()


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.pth: cannot be read \(No such file"):
        read_state(tmp_path / "gone.pth")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_state(tmp_path)
