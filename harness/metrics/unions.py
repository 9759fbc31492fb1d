"""What a kernel that visits only the keys that the queries of a tile keep between them would visit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.catalogs import MODELS
from harness.metric import Metric, Reading
from harness.record import Cell
from harness.weights import missing

if TYPE_CHECKING:
    from harness.trial import Trial


def _unsupported(cell: Cell) -> str | None:
    if "top_k" not in MODELS[cell.model.partition("/")[0]].uses:
        return "no dictionary"
    if cell.top_k is None or (cell.window is not None and cell.top_k == cell.window**2):
        return "every key is kept, so every union is whole"
    return missing(cell)


def _measure(trial: Trial) -> Reading:
    """Read one share an image for each dictionary, order of the tokens, tile and way to visit keys."""
    from harness.unions.measure import measurements

    return Reading(measurements=measurements(trial))


METRIC = Metric(
    summary="share of a window's keys that a tile of queries visits, by lists of kept keys or by blocks",
    unit="1",
    better="lower",
    measure=_measure,
    unsupported=_unsupported,
    restores=True,
)
