from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semanir.attention.regions import region_ids
from semanir.attention.windows import merge, pad_to_multiple, partition


@given(rows=st.integers(1, 3), columns=st.integers(1, 3), window=st.integers(2, 5), shift=st.integers(0, 4))
def test_merge_undoes_partition(rows: int, columns: int, window: int, shift: int) -> None:
    features = torch.randn(2, rows * window, columns * window, 3)
    cut = partition(features, window, shift % window)
    assert cut.shape == (2 * rows * columns, window**2, 3)
    assert torch.equal(merge(cut, rows * window, columns * window, window, shift % window), features)


@given(height=st.integers(1, 40), width=st.integers(1, 40), multiple=st.integers(1, 32))
def test_padding_is_numpys_reflection_for_any_size(height: int, width: int, multiple: int) -> None:
    image = torch.arange(height * width, dtype=torch.float32).view(1, 1, height, width)
    padded = pad_to_multiple(image, multiple)
    margins = [(0, -side % multiple) for side in (height, width)]
    np.testing.assert_array_equal(padded[0, 0].numpy(), np.pad(image[0, 0].numpy(), margins, mode="reflect"))


def test_tokens_share_a_region_exactly_when_the_roll_left_their_neighbourhood_whole() -> None:
    height, width, window, shift = 16, 24, 8, 4
    places = torch.arange(height * width).view(1, height, width, 1)
    cut = partition(places, window, shift)[..., 0]
    ids = torch.from_numpy(region_ids(height, width, window, shift).copy())
    for tokens, regions in zip(cut, ids, strict=True):
        y, x = tokens // width, tokens % width
        near = ((y[:, None] - y).abs() < window) & ((x[:, None] - x).abs() < window)
        assert torch.equal(near, regions[:, None] == regions)


def test_a_map_that_does_not_fit_its_windows_is_refused() -> None:
    with pytest.raises(ValueError, match="10x16 map cannot be cut into 8x8 windows"):
        region_ids(10, 16, 8, 0)
