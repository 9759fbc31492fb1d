"""The eight blur kernels of Levin et al. 2009, "Understanding and evaluating blind deconvolution algorithms".

They do not come with the project: `semanir-bench data fetch kernels` gets them as DPIR (Zhang et al. 2021) has them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from harness.datasets import DatasetError
from harness.material import Material

FILE = Material(path="kernels/Levin09.mat", entry="kernels")

COUNT = 8


def kernel(number: int) -> Float64[np.ndarray, "k k"]:
    """Return kernel 1..8 as MATLAB shows it: odd side, weights >= 0 that sum to 1. Raises `DatasetError`.

    The cameras' own pairs (the set Levin09) fit these kernels turned by half a turn better; convolving with them as
    they are stored is what DPIR does.
    """
    if (reason := FILE.missing()) is not None:
        raise DatasetError(reason)
    return _all(FILE.file, FILE.file.stat().st_mtime_ns)[number - 1]


@cache
def _all(file: Path, modified_ns: int) -> tuple[Float64[np.ndarray, "_ _"], ...]:
    import h5py

    try:
        with h5py.File(file, "r") as opened:
            found = [opened[reference][()].T for reference in opened["kernels"][()].ravel()]  # HDF5 reverses the axes
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DatasetError(_damaged(file, f"cannot be read ({error})")) from None
    if len(found) != COUNT or not all(map(_is_kernel, found)):
        raise DatasetError(_damaged(file, f"holds no {COUNT} blur kernels"))
    return tuple(found)


def _is_kernel(weights: np.ndarray) -> bool:
    if weights.dtype != np.float64 or weights.ndim != 2 or len(set(weights.shape)) != 1 or len(weights) % 2 == 0:
        return False
    return bool(weights.min() >= 0.0 and abs(weights.sum() - 1.0) < 1e-6)


def _damaged(file: Path, words: str) -> str:
    return f"{file}: {words}; remove it and get it again: semanir-bench data fetch {FILE.entry}"
