from __future__ import annotations

import pytest
import torch

from semanir.attention.position import ContinuousBias, TableBias, log_offsets, relative_index

CPU = torch.device("cpu")


@pytest.mark.parametrize("window", [1, 2, 5, 8])
def test_the_index_names_one_row_of_the_table_for_each_offset(window: int) -> None:
    index = relative_index(window, CPU)
    assert index.shape == (window**2, window**2)
    for query in range(window**2):
        for key in range(window**2):
            dy, dx = query // window - key // window, query % window - key % window
            assert index[query, key] == (dy + window - 1) * (2 * window - 1) + dx + window - 1


@pytest.mark.parametrize("window", [2, 8, 16])
def test_offsets_of_any_window_span_the_same_range(window: int) -> None:
    offsets = log_offsets(window, CPU)
    assert offsets.shape == ((2 * window - 1) ** 2, 2)
    limit = torch.log2(torch.tensor(9.0)) / 3
    torch.testing.assert_close(offsets.amax(0), limit.expand(2))
    torch.testing.assert_close(offsets.amin(0), -limit.expand(2))
    assert not offsets[len(offsets) // 2].any()


def test_a_continuous_bias_stays_between_0_and_16_and_has_no_parameter_of_the_window() -> None:
    bias = ContinuousBias(heads=3, hidden=8)
    parameters = sum(parameter.numel() for parameter in bias.parameters())
    assert parameters == 8 * (2 + 1 + 3)
    for window in (4, 9):
        dense = bias(window).dense()
        assert dense.shape == (3, window**2, window**2)
        assert dense.min() > 0
        assert dense.max() < 16


def test_a_table_serves_its_own_window_alone() -> None:
    bias = TableBias(heads=2, window=4)
    assert bias(4).window == 4
    with pytest.raises(ValueError, match="made for window 4 and cannot serve window 8"):
        bias(8)


def test_what_inference_asked_for_first_serves_training_afterwards() -> None:
    relative_index.cache_clear()
    log_offsets.cache_clear()
    with torch.inference_mode():
        ContinuousBias(heads=2, hidden=4)(6)
    bias = ContinuousBias(heads=2, hidden=4)
    bias(6).dense().sum().backward()
    assert bias.mlp[0].weight.grad is not None
