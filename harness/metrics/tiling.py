"""What tiles cost in fidelity: the restoration in overlapping tiles against that of the whole image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.metric import Metric, Reading
from harness.record import Measurement
from harness.weights import missing

if TYPE_CHECKING:
    from harness.trial import Trial

STAND_IN_TILE = 64
"""Input pixels: the tile of a cell that restores its images whole."""


def _measure(trial: Trial) -> Reading:
    """Read the largest and the root-mean-square difference an image, over all channels, before any rounding."""
    import numpy as np

    from harness.trial import prepare

    cell = trial.cell
    tile = cell.tile or STAND_IN_TILE
    whole, tiled = (
        trial if cell.tile == side else prepare(cell.model_copy(update={"tile": side}), trial.timing)
        for side in (None, tile)
    )
    largest, rms = [], []
    names = tuple(pair.name for pair in trial.pairs)
    for name in names:
        difference = 255.0 * (tiled.restored[name].astype(np.float64) - whole.restored[name])
        largest.append(float(np.abs(difference).max()))
        rms.append(float(np.sqrt(np.mean(difference**2))))
    fitting = [pair.name for pair in trial.pairs if max(pair.degraded.shape[:2]) <= tile]
    notes = (f"fits into one tile of {tile} pixels, so there is no difference: {', '.join(fitting)}",)
    return Reading(
        measurements=(
            Measurement(name="tiling.largest", unit="8-bit units", samples=tuple(largest), labels=names),
            Measurement(name="tiling.rms", unit="8-bit units", samples=tuple(rms), labels=names),
        ),
        notes=notes if fitting else (),
    )


METRIC = Metric(
    summary="largest and RMS difference between restoring in overlapping tiles and restoring the whole image",
    unit="8-bit units",
    better="lower",
    measure=_measure,
    unsupported=missing,
    restores=True,
    whole=True,
)
