"""Trials for metrics: real cells, whose restorations are given instead of computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from harness.record import Cell, Timing
from harness.trial import Pair, Trial

Restore = Callable[[Pair], np.ndarray]


class RestoredTrial(Trial):
    """A trial whose restorations come from a function of the pair, not from a network."""

    def __init__(self, cell: Cell, restore: Restore) -> None:
        super().__init__(cell, Timing())
        self._restore = restore

    @property
    def has_weights(self) -> bool:
        return True

    @property
    def restored(self) -> Mapping[str, np.ndarray]:
        return {pair.name: self._restore(pair) for pair in self.pairs}


@pytest.fixture
def trial_of() -> Callable[..., Trial]:
    """Return `trial_of(task, setting, restore=None, **axes)` on two bundled photographs of 48 pixels."""

    def make(task: str, setting: str = "default", *, restore: Restore | None = None, **axes: object) -> Trial:
        chosen = {"dataset": "bundled", "images": 2, "image_size": 48, **axes}
        cell = Cell(model="semanir/small", task=task, setting=setting, backend="gather", **chosen)
        return RestoredTrial(cell, restore) if restore else Trial(cell, Timing())

    return make
