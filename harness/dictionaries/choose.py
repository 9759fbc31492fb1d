"""Chooses the tokens of a picture whose kept keys are worth a look. No torch."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64

from harness.dictionaries.scene import Choice

DETAILED = 3
"""Tokens with much detail that are chosen beside a flat one."""


def choose(target: Float[np.ndarray, "H W C"], side: int) -> tuple[Choice, ...]:
    """Return the most detailed tokens of `side` pixels, then the flattest, all of them apart from each other.

    Detail is the standard deviation of the mean of the channels over a token and its eight neighbours. Two tokens are
    a third of the picture's shorter side apart, along one of its axes: in windows of their own, where a window is no
    wider than that. An eighth of that side along the border, where shifts cut windows, is left out. Ties go to the
    first in raster order. Tokens lie in the picture whole; a small picture may have room for fewer.
    """
    detail = _detail(target, side)
    shorter = min(detail.shape)
    apart, border = max(1, shorter // 3), shorter // 8
    row, column = np.indices(detail.shape)
    free = np.pad(np.ones([length - 2 * border for length in detail.shape], dtype=bool), border)
    chosen: list[Choice] = []
    for kind in ("detailed",) * DETAILED + ("flat",):
        if not free.any():
            break
        value = detail if kind == "detailed" else -detail
        best = int(np.where(free, value, -np.inf).argmax())
        r, c = divmod(best, detail.shape[1])
        chosen.append(Choice(row=r, column=c, kind=kind))  # type: ignore[arg-type]
        free &= np.maximum(abs(row - r), abs(column - c)) >= apart
    return tuple(chosen)


def _detail(target: Float[np.ndarray, "H W C"], side: int) -> Float64[np.ndarray, "rows columns"]:
    rows, columns = target.shape[0] // side, target.shape[1] // side
    gray = target[: rows * side, : columns * side].astype(np.float64).mean(-1)
    tokens = gray.reshape(rows, side, columns, side)
    mean, square = (_of_neighbours(values.mean((1, 3))) for values in (tokens, tokens**2))
    # Rounded, so that the order of summation does not decide between equals.
    return np.round(np.sqrt(np.maximum(square - mean**2, 0)), 6)


def _of_neighbours(values: Float64[np.ndarray, "rows columns"]) -> Float64[np.ndarray, "rows columns"]:
    """Return the mean over each value and its eight neighbours; the border is repeated."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(values, 1, mode="edge"), (3, 3))
    means: Float64[np.ndarray, "rows columns"] = around.mean((-2, -1))
    return means
