from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from semanir.checkpoints import CheckpointError
from semanir.model import Request
from semanir.models.demosaicnet import MODEL
from semanir.models.demosaicnet.network import red_site


def request(**fields: object) -> Request:
    return Request(**({"configuration": "", "channels": 3, "scale": 1, "height": 8, "width": 8} | fields))


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return MODEL.build(request(holds="mosaic"), attend=None, forms=frozenset()).eval()


def mosaic(height: int, width: int, red: tuple[int, int]) -> Tensor:
    """Return a random mosaic whose red lies at a place of the 2 x 2 tile, cut from one and the same scene."""
    scene = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))[..., :height, :width] + 0.1
    row = (torch.arange(height) % 2 == red[0])[:, None]
    column = (torch.arange(width) % 2 == red[1])[None]
    return scene * torch.stack([row & column, row ^ column, ~row & ~column])


def test_parameters_are_those_of_the_published_state(network: torch.nn.Module) -> None:
    assert MODEL.parameters(request()) == sum(value.numel() for value in network.parameters()) == 560_886


@pytest.mark.parametrize(("height", "width"), [(8, 10), (9, 13)])
@pytest.mark.parametrize("red", [(0, 0), (0, 1)])
def test_operations_by_formula_are_those_of_the_dispatcher(
    network: torch.nn.Module, height: int, width: int, red: tuple[int, int]
) -> None:
    with FlopCounterMode(display=False) as counter:
        network(mosaic(height, width, red).expand(2, -1, -1, -1))
    counted = MODEL.flops(request(height=height, width=width, batch=2))["convolutions"]
    assert counted == counter.get_total_flops()


@pytest.mark.parametrize("red", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_the_phase_is_read_off_the_mosaic(red: tuple[int, int]) -> None:
    assert red_site(mosaic(8, 9, red)) == red


@torch.inference_mode()
@pytest.mark.parametrize(("dy", "dx"), [(0, 1), (1, 0), (1, 1)])
def test_a_mosaic_of_another_phase_is_completed_like_the_trained_one(
    network: torch.nn.Module, dy: int, dx: int
) -> None:
    whole = mosaic(64, 64, (0, 1))
    shifted = whole[..., dy:, dx:]
    far = slice(31, 32)  # what no mirrored border reaches
    expected = network(whole)[..., dy:, dx:][..., far, far]
    torch.testing.assert_close(network(shifted)[..., far, far], expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize(("height", "width"), [(8, 8), (2, 3), (33, 40)])
def test_every_size_keeps_its_size(network: torch.nn.Module, height: int, width: int) -> None:
    restored = network(mosaic(height, width, (0, 0)))
    assert restored.shape == (1, 3, height, width)
    assert torch.isfinite(restored).all()


def test_it_refuses_an_image_that_is_interpolated_already() -> None:
    assert "interpolation=none" in str(MODEL.unsupported(request()))
    assert MODEL.unsupported(request(holds="mosaic")) is None


@torch.inference_mode()
def test_a_published_state_is_read_and_another_one_refused(network: torch.nn.Module, tmp_path: Path) -> None:
    other = MODEL.build(request(holds="mosaic"), attend=None, forms=frozenset())
    state = network.state_dict()
    torch.save(state, tmp_path / "bayer.pth")
    MODEL.read(other, tmp_path / "bayer.pth")
    image = mosaic(8, 8, (0, 0))
    assert torch.equal(other(image), network(image))
    torch.save(dict(list(state.items())[:-1]), tmp_path / "less.pth")
    with pytest.raises(CheckpointError, match=r"less\.pth: made for another network"):
        MODEL.read(other, tmp_path / "less.pth")
