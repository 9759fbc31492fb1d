from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.catalogs import MODELS, TASKS
from harness.imresize import imresize
from harness.task import generator
from harness.tasks import demosaic
from semanir.model import Request

PIXELS = np.random.default_rng(0).integers(0, 256, (18, 14, 3), dtype=np.uint8)


def run(family: str, image: np.ndarray, **fields: object) -> np.ndarray:
    height, width, channels = image.shape
    asked = {"configuration": "", "channels": channels, "scale": 1, "height": height, "width": width} | fields
    request = Request(**asked)
    assert MODELS[family].unsupported(request) is None
    assert MODELS[family].parameters(request) == 0
    network = MODELS[family].build(request, attend=None, forms=frozenset())
    return network(torch.from_numpy(image).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()


def test_the_identity_returns_its_input() -> None:
    np.testing.assert_array_equal(run("identity", PIXELS.astype(np.float32)), PIXELS)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_bicubic_is_matlabs_enlargement(scale: int, channels: int) -> None:
    image = PIXELS[..., :channels] / 255
    enlarged = run("bicubic", image, scale=scale)
    assert enlarged.shape == (18 * scale, 14 * scale, channels)
    np.testing.assert_allclose(enlarged, imresize(image, float(scale)), atol=1e-12)


@pytest.mark.parametrize("pattern", demosaic.TASK.rules["pattern"])
def test_malvar_completes_a_mosaic_of_any_phase_as_the_task_does(pattern: str) -> None:
    task = TASKS["demosaic"]
    mosaic, interpolated = (
        task.degrade(PIXELS, task.parse(f"pattern={pattern},interpolation={how}"), generator(0, "x"))
        for how in ("none", "malvar")
    )
    completed = np.clip(run("malvar", mosaic.astype(np.float64), holds="mosaic"), 0, 1)
    inner = slice(2, -2)
    np.testing.assert_allclose(completed[inner, inner], interpolated[inner, inner], atol=0.5001 / 255)
    np.testing.assert_allclose(completed[mosaic > 0], mosaic[mosaic > 0], atol=1e-7)


@pytest.mark.parametrize("family", ["identity", "bicubic", "malvar"])
def test_a_black_image_stays_black(family: str) -> None:
    fields = {"bicubic": {"scale": 2}, "malvar": {"holds": "mosaic"}}.get(family, {})
    assert not run(family, np.zeros((8, 9, 3)), **fields).any()


@pytest.mark.parametrize(
    ("family", "fields", "remedy"),
    [
        ("identity", {"scale": 2}, "'bicubic' enlarges"),
        ("bicubic", {"scale": 1}, "'identity' is the input"),
        ("malvar", {}, "interpolation=none"),
    ],
)
def test_what_a_classical_method_cannot_do_is_refused_with_the_remedy(
    family: str, fields: dict[str, int], remedy: str
) -> None:
    asked = {"configuration": "", "channels": 3, "scale": 1, "height": 8, "width": 8} | fields
    assert remedy in str(MODELS[family].unsupported(Request(**asked)))
