from __future__ import annotations

import pytest

from harness.catalogs import METRICS
from harness.record import Cell, Timing
from harness.trial import prepare

BUNDLED = Cell(model="nonlocal_means", task="denoise", dataset="bundled", setting="sigma=25", image_size=160)


def psnr_of(cell: Cell) -> dict[str, float]:
    found = METRICS["psnr"].measure(prepare(cell, Timing())).measurements[0]
    return dict(zip(found.labels, found.samples, strict=True))


@pytest.mark.parametrize(("window", "top_k"), [(8, 8), (8, 16), (16, 64)])
def test_the_shipped_network_beats_nonlocal_means_on_every_bundled_photograph(window: int, top_k: int) -> None:
    axes = {"model": "semanir/small", "weights": "shipped", "backend": "sdpa", "window": window, "top_k": top_k}
    restored, classical = psnr_of(BUNDLED.model_copy(update=axes)), psnr_of(BUNDLED)
    assert len(restored) == 6
    gains = {name: restored[name] - classical[name] for name in restored}
    assert min(gains.values()) > 0.5, gains
