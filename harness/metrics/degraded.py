"""PSNR and SSIM of the degraded images themselves: what a restoration has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.metric import Metric, Reading
from harness.record import Measurement

if TYPE_CHECKING:
    from harness.trial import Trial


def _measure(trial: Trial) -> Reading:
    """Read both values an image; an input of super-resolution is enlarged by MATLAB's bicubic first.

    Where a task judges its input otherwise than its output (noise is not clipped), a note names the protocol.
    """
    from harness import fidelity

    task, setting = trial.task, trial.setting
    protocol = task.input_protocol(setting) if task.input_protocol else trial.protocol
    psnr, ssim = {}, {}
    for pair in trial.pairs:
        image = protocol.prepare(task.upscale(pair.degraded, setting), bits=pair.bits)
        target = protocol.prepare(pair.target, bits=pair.bits)
        psnr[pair.name] = fidelity.psnr(image, target)
        ssim[pair.name] = fidelity.ssim(image, target)
    names = tuple(psnr)
    notes = (f"the degraded input is judged by {protocol.id}",) if protocol != trial.protocol else ()
    return Reading(
        measurements=(
            Measurement(name="degraded.psnr", unit="dB", samples=tuple(psnr.values()), labels=names),
            Measurement(name="degraded.ssim", unit="1", samples=tuple(ssim.values()), labels=names),
        ),
        notes=(*notes, *fidelity.cap_notes(psnr), *fidelity.depth_notes(trial)),
    )


METRIC = Metric(
    summary="PSNR and SSIM of the degraded input, under the task's protocol",
    unit="dB",
    better="neither",
    measure=_measure,
    judged=True,
)
