from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import datasets, png
from harness.datasets.pictures import profile_of

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_is_read_again_exactly(tmp_path: Path, dtype: type, channels: int) -> None:
    pixels = RANDOM.integers(0, np.iinfo(dtype).max, (21, 34, channels), dtype=dtype, endpoint=True)
    file = tmp_path / "a.png"
    file.write_bytes(png.encode(pixels))
    found = datasets.read_image(file)
    assert found.dtype == dtype
    assert np.array_equal(found, pixels)


def test_pillow_reads_the_same_pixels_and_no_profile_where_there_is_none(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    file = tmp_path / "a.png"
    file.write_bytes(png.encode(pixels))
    assert np.array_equal(np.asarray(Image.open(file)), pixels)
    assert profile_of(file) == b""


def test_a_colour_profile_comes_along(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png.encode(np.zeros((8, 8, 3), np.uint8), profile=b"a profile"))
    assert profile_of(file) == b"a profile"


def test_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="one channel or three, not 4"):
        png.encode(np.zeros((8, 8, 4), np.uint8))
