"""The images of a trial as PNG files: degraded, target and, with weights, restored."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from harness.metric import Metric, Reading
from harness.record import Measurement

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32

    from harness.trial import Trial


def _measure(trial: Trial) -> Reading:
    """Keep `degraded:<name>`, `target:<name>` and `restored:<name>`, all at the target's size, on 8 bits."""
    scale = trial.task.scale(trial.setting)
    artifacts = {}
    for pair in trial.pairs:
        enlarged = pair.degraded.repeat(scale, axis=0).repeat(scale, axis=1)
        artifacts[f"degraded:{pair.name}"] = png(enlarged)
        artifacts[f"target:{pair.name}"] = png(pair.target)
        if trial.has_weights:
            artifacts[f"restored:{pair.name}"] = png(trial.restored[pair.name])
    count = Measurement(name="pictures", unit="pictures", samples=(float(len(artifacts)),))
    return Reading(measurements=(count,), artifacts=artifacts)


def png(image: Float32[np.ndarray, "H W C"]) -> bytes:
    """Encode an image in units of one: clipped to 0..1, rounded to 8 bits, gray or colour."""
    import numpy as np
    from PIL import Image

    from harness.channels import round_uint8

    pixels = round_uint8(255.0 * image.astype(np.float64))  # as Protocol.prepare rounds
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else np.ascontiguousarray(pixels)).save(file, "PNG")
    return file.getvalue()


METRIC = Metric(
    summary="degraded, target and restored images as PNG files",
    unit="pictures",
    better="neither",
    measure=_measure,
    restores=True,
)
