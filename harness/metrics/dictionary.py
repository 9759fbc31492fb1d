"""Which patches the network's dictionaries keep: a few chosen ones as a picture, the average as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.catalogs import MODELS
from harness.metric import Metric, Reading
from harness.record import Cell, Measurement
from harness.weights import missing

if TYPE_CHECKING:
    from harness.trial import Trial


def _unsupported(cell: Cell) -> str | None:
    if "top_k" not in MODELS[cell.model.partition("/")[0]].uses:
        return "no dictionary"
    if cell.top_k is None or (cell.window is not None and cell.top_k == cell.window**2):
        return "every key is kept, so nothing is chosen"
    return missing(cell)


def _measure(trial: Trial) -> Reading:
    """Look at the first image, in one forward pass on the whole of it.

    For each dictionary, named by its stage, over all tokens of the map, in tokens or as a share:
    `dictionary.2.distance`, the mean distance of kept keys from their query, and `.random_distance`, its expectation
    for random keys; `dictionary.2.nearest`, the share of kept keys among the k nearest in space, and
    `.random_nearest`. `harness.dictionaries.scene.Locality` defines them. The artifact `dictionary` holds the scene:
    which keys some chosen tokens keep, and where they lie.
    """
    from harness.dictionaries.observe import observe
    from harness.dictionaries.scene import ROLE, encode

    scene = observe(trial)
    measurements = tuple(
        Measurement(
            name=f"dictionary.{seen.source}.{name}",
            unit="tokens" if name.endswith("distance") else "1",
            samples=(value,),
            labels=(scene.image,),
        )
        for seen in scene.dictionaries
        for name, value in seen.locality.model_dump().items()
    )
    return Reading(measurements=measurements, artifacts={ROLE: encode(scene)})


METRIC = Metric(
    summary="which patches a few chosen ones keep at each stage, and how near kept keys lie",
    unit="tokens",
    better="neither",
    measure=_measure,
    unsupported=_unsupported,
    whole=True,
)
