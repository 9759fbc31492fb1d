"""A contender against the float64 reference on the cell's own inputs, before anything of it is timed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.trial import Trial
from semanir.attention import reference
from semanir.attention.dictionary import KeyDictionary
from semanir.attention.problem import DtypeName
from semanir.attention.signature import Attend

TOLERANCE: Mapping[DtypeName, float] = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-3, "bfloat16": 8e-3}
"""Largest accepted ||out - reference|| / ||reference|| of one attention call."""

CORNER_WINDOWS = 4
"""Side of the checked corner in pixels, over the side of a window in tokens: four windows at half resolution."""


@dataclass
class Recorder:
    """An attention that lets another one work and keeps the relative error of the calls it was told to check."""

    attend: Attend
    checked: frozenset[int]
    seed: int
    errors: dict[int, float] = field(default_factory=dict)
    calls: int = 0

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, kept: KeyDictionary | None, **options: Any) -> Tensor:
        """Attend, and compare on a few windows: the first, the last (a shifted corner) and a seeded one."""
        out = self.attend(q, k, v, kept, **options)
        if self.calls in self.checked:
            windows = q.shape[0]
            drawn = int(np.random.default_rng([self.seed, self.calls]).integers(windows))
            some = torch.tensor(sorted({0, windows - 1, drawn}), device=q.device)
            expected = reference.attend(q[some], k[some], v[some], _of_windows(kept, some), **options)
            error = (out[some].double() - expected).norm() / expected.norm()
            self.errors[self.calls] = float(error)
        self.calls += 1
        return out


def relative_errors(trial: Trial) -> Mapping[str, float]:
    """Return call name (`call 0`) to relative error for the first call of each kind, and the last of all.

    Calls are of one kind when their problems are equal; a shifted window keeps other pairs, so it is another kind.
    The input is a corner of the cell's first image that fills a few windows: the reference is slow, and
    interpreted contenders are. Empty for a model without attention.
    """
    if trial.backend is None:
        return {}
    problems = trial.problems
    checked = frozenset({*(problems.index(problem) for problem in set(problems)), len(problems) - 1})
    recorder = Recorder(trial.backend.load(), checked, trial.cell.seed)
    network = trial.build(attend=recorder, forms=trial.backend.needs | {"boolean"})
    side = CORNER_WINDOWS * math.isqrt(max(problem.tokens for problem in problems))
    with torch.inference_mode():
        network(trial.input[..., :side, :side])
    return {f"call {index}": error for index, error in sorted(recorder.errors.items())}


def disagreement(trial: Trial) -> str | None:
    """Return in words how a contender misses the reference, or None when it agrees."""
    limit = TOLERANCE[trial.cell.dtype]
    for call, error in relative_errors(trial).items():
        if not error <= limit:  # NaN disagrees as well
            return f"{call} is off by {error:.1e} relative to float64; {trial.cell.dtype} allows {limit:.0e}"
    return None


def _of_windows(kept: KeyDictionary | None, some: Tensor) -> KeyDictionary | None:
    if kept is None:
        return None
    return replace(
        kept,
        counts=kept.counts[some],
        boolean=kept.form("boolean")[some],
        additive=None,
        indices=None,
        bits=None,
    )
