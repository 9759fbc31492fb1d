"""A cell brought to life: the network, its degraded inputs and targets. The first module that imports torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True)
class Pair:
    """One image of a trial, in units of one."""

    name: str
    degraded: Float32[np.ndarray, "h w C"]
    target: Float32[np.ndarray, "H W C"]
