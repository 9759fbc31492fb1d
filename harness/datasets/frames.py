"""Blur as a moving scene makes it: the mean of consecutive sharp frames, which is how GoPro's pairs were made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from jaxtyping import UInt

from harness.channels import peak_of, rounded
from harness.datasets.layout import Shot


@dataclass(frozen=True)
class Average:
    """How many frames make a blurred one, and what a camera's curve is taken to be."""

    frames: int
    """Odd; the sharp image is the middle one."""
    gamma: float
    """Values are taken as light to the power of 1/gamma. Nah et al. 2017 average light with 2.2; 1 averages values."""


def windows(shots: Iterable[Shot], frames: int) -> list[tuple[Shot, ...]]:
    """Return each run of so many neighbours, in order, of shots that lie in one folder: a sequence.

    Frames nearer to an end of their sequence than half a run are the middle of none, so they are no targets.
    """
    sequences = [tuple(group) for _, group in groupby(shots, key=lambda shot: shot.clean.parent)]
    return [sequence[begin : begin + frames] for sequence in sequences for begin in range(len(sequence) - frames + 1)]


def mean_of(frames: Sequence[UInt[np.ndarray, "H W C"]], gamma: float) -> UInt[np.ndarray, "H W C"]:
    """Return the mean light of frames of one size and depth, as values of that depth again (halves rounded up)."""
    peak = peak_of(frames[0])
    light = np.zeros(frames[0].shape)
    for frame in frames:
        light += (frame / peak) ** gamma
    return rounded(peak * (light / len(frames)) ** (1.0 / gamma), like=frames[0])
