from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from semanir.checkpoints import CheckpointError
from semanir.model import Request
from semanir.models.dncnn import MODEL

IMAGE = torch.rand(1, 1, 13, 17, generator=torch.Generator().manual_seed(0))


def request(configuration: str = "S", **fields: object) -> Request:
    return Request(configuration=configuration, **({"channels": 1, "scale": 1, "height": 13, "width": 17} | fields))


def build(configuration: str = "S") -> torch.nn.Module:
    torch.manual_seed(1)
    return MODEL.build(request(configuration), attend=None, forms=frozenset())


def layers_of(state: Mapping[str, Tensor]) -> list[tuple[str, list[np.ndarray]]]:
    """Lay a state out as MatConvNet does: axes H, W, Cin, Cout, the trailing ones of length one dropped."""
    layers: list[tuple[str, list[np.ndarray]]] = []
    for name in (name for name in state if name.endswith("weight")):
        weight = state[name].numpy().transpose(2, 3, 1, 0)
        weight = weight[..., 0] if weight.shape[-1] == 1 else weight
        layers += [("conv", [weight, state[name.replace("weight", "bias")].numpy()[:, None]]), ("relu", [])]
    return layers[:-1]


def write_old(file: Path, layers: list[tuple[str, list[np.ndarray]]]) -> Path:
    cells = np.empty((1, len(layers)), dtype=object)
    for number, (kind, arrays) in enumerate(layers):
        held = np.empty((1, len(arrays)), dtype=object)
        for place, array in enumerate(arrays):
            held[0, place] = array
        cells[0, number] = {"type": kind, "weights": held} if arrays else {"type": kind}
    scipy.io.savemat(file, {"net": {"layers": cells}})
    return file


def write_new(file: Path, layers: list[tuple[str, list[np.ndarray]]]) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(file, "w", userblock_size=512) as opened:
        references = []
        for number, (kind, arrays) in enumerate(layers):
            group = opened.create_group(f"#refs#/layer{number}")
            group["type"] = np.array([[ord(letter)] for letter in kind], dtype=np.uint16)
            held = [opened.create_dataset(f"#refs#/{number}-{i}", data=array.T) for i, array in enumerate(arrays)]
            if held:
                group.create_dataset("weights", data=[[each.ref] for each in held], dtype=h5py.ref_dtype)
            references.append([group.ref])
        opened.create_dataset("net/layers", data=references, dtype=h5py.ref_dtype)
    with file.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: TEST")
    return file


@pytest.mark.parametrize(("configuration", "count"), [("S", 555_137), ("3", 665_921)])
def test_parameters_are_those_of_the_published_networks(configuration: str, count: int) -> None:
    assert MODEL.parameters(request(configuration)) == count
    assert sum(value.numel() for value in build(configuration).parameters()) == count


@pytest.mark.parametrize("configuration", MODEL.configurations)
def test_operations_by_formula_are_those_of_the_dispatcher(configuration: str) -> None:
    with FlopCounterMode(display=False) as counter:
        build(configuration)(IMAGE.expand(2, -1, -1, -1))
    assert MODEL.flops(request(configuration, batch=2)) == {"convolutions": counter.get_total_flops()}


def test_the_network_takes_away_what_it_predicts() -> None:
    network = build()
    for value in network.parameters():
        torch.nn.init.zeros_(value)
    torch.testing.assert_close(network(IMAGE), IMAGE)
    network.model[-1].bias.data.fill_(0.25)
    torch.testing.assert_close(network(IMAGE), IMAGE - 0.25)


def test_it_refuses_colour_and_super_resolution() -> None:
    assert "color=gray" in str(MODEL.unsupported(request(channels=3)))
    assert "super-resolution" in str(MODEL.unsupported(request(scale=2)))
    assert MODEL.unsupported(request()) is None


@pytest.mark.parametrize("form", ["old", "new", "pth"])
def test_weights_are_read_from_either_matlab_format_and_from_torch(form: str, tmp_path: Path) -> None:
    published = build("3")
    file = tmp_path / ("net.pth" if form == "pth" else "net.mat")
    match form:
        case "old":
            write_old(file, layers_of(published.state_dict()))
        case "new":
            write_new(file, layers_of(published.state_dict()))
        case _:
            torch.save(published.state_dict(), file)
    network = MODEL.build(request("3"), attend=None, forms=frozenset())
    assert not torch.equal(network(IMAGE), published(IMAGE))
    MODEL.read(network, file)
    assert torch.equal(network(IMAGE), published(IMAGE))


def test_weights_of_the_other_depth_are_refused_and_change_nothing(tmp_path: Path) -> None:
    file = write_old(tmp_path / "net.mat", layers_of(build("3").state_dict()))
    network = build("S")
    before = network(IMAGE)
    with pytest.raises(CheckpointError, match=r"net\.mat: made for another network"):
        MODEL.read(network, file)
    assert torch.equal(network(IMAGE), before)


def test_a_network_whose_normalisation_is_not_merged_is_refused(tmp_path: Path) -> None:
    layers = [*layers_of(build().state_dict()), ("bnorm", [np.ones((64, 1)), np.ones((64, 1)), np.ones((64, 2))])]
    with pytest.raises(CheckpointError, match=r"layer 34 is 'bnorm' with 3 arrays; .* merge batch normalisation"):
        MODEL.read(build(), write_old(tmp_path / "net.mat", layers))


@pytest.mark.parametrize("content", [b"", b"MATLAB 7.3 MAT-file and nothing else", b"\x00" * 700])
def test_a_damaged_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    file = tmp_path / "net.mat"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"net\.mat: .* get it again"):
        MODEL.read(build(), file)


def test_a_truncated_file_is_refused_by_name(tmp_path: Path) -> None:
    file = write_new(tmp_path / "net.mat", layers_of(build().state_dict()))
    file.write_bytes(file.read_bytes()[:20_000])
    with pytest.raises(CheckpointError, match=r"net\.mat: "):
        MODEL.read(build(), file)


def test_without_h5py_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "net.mat"
    file.write_bytes(b"MATLAB 7.3 MAT-file")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(CheckpointError, match=r"pip install 'semanir-bench\[foreign\]'"):
        MODEL.read(build(), file)
