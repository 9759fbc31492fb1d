from __future__ import annotations

import pytest
import torch

from semanir.model import Request
from semanir.models.total_variation import MODEL, WEIGHTS


def restore(weight: str, image: torch.Tensor) -> torch.Tensor:
    _, channels, height, width = image.shape
    request = Request(configuration=weight, channels=channels, scale=1, height=height, width=width)
    return MODEL.build(request, attend=None, forms=frozenset())(image)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_larger_weight_leaves_less_variation_and_keeps_the_mean(channels: int) -> None:
    image = torch.rand(2, channels, 40, 48, generator=torch.Generator().manual_seed(0))
    found = [restore(weight, image) for weight in WEIGHTS]
    variations = [each.diff(dim=-1).abs().sum() + each.diff(dim=-2).abs().sum() for each in found]
    assert variations == sorted(variations, reverse=True)
    for each in found:
        assert each.shape == image.shape
        torch.testing.assert_close(each.mean((1, 2, 3)), image.mean((1, 2, 3)), atol=1e-3, rtol=0)


def test_noise_of_sigma_25_is_reduced_on_a_ramp() -> None:
    clean = torch.linspace(0, 1, 96).expand(1, 1, 96, 96)
    noisy = clean + 25 / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    assert (restore("0.12", noisy) - clean).square().mean() < 0.1 * (noisy - clean).square().mean()


def test_it_refuses_super_resolution() -> None:
    reason = MODEL.unsupported(Request(configuration="0.1", channels=3, scale=2, height=8, width=8))
    assert reason is not None
    assert "super-resolution" in reason
