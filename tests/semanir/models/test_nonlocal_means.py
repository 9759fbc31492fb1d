from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import datasets
from semanir.model import Request
from semanir.models.nonlocal_means import MODEL
from semanir.models.nonlocal_means.network import noise_level

REQUEST = Request(configuration="", channels=1, scale=1, height=96, width=96)


@pytest.mark.parametrize("sigma", [5.0, 25.0, 50.0])
def test_the_noise_level_is_found_within_a_tenth(sigma: float) -> None:
    clean = datasets.load("bundled", images=4, image_size=256)[3].pixels[..., :1] / 255
    noisy = clean + np.random.default_rng(0).normal(0, sigma / 255, clean.shape)
    assert noise_level(noisy) * 255 == pytest.approx(sigma, rel=0.1, abs=1.0)


def test_noise_is_reduced_and_an_image_without_noise_stays() -> None:
    clean = torch.linspace(0, 1, 96).expand(1, 1, 96, 96)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    network = MODEL.build(REQUEST, attend=None, forms=frozenset())
    assert (network(noisy) - clean).square().mean() < 0.1 * (noisy - clean).square().mean()
    torch.testing.assert_close(network(clean), clean, atol=1e-3, rtol=0)


def test_it_refuses_super_resolution() -> None:
    reason = MODEL.unsupported(Request(configuration="", channels=3, scale=2, height=8, width=8))
    assert reason is not None
    assert "super-resolution" in reason
