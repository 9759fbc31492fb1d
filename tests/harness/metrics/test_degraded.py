"""The quality of the degraded inputs, which reproduces printed rows without any network."""

from __future__ import annotations

import os
from collections.abc import Callable
from statistics import mean

import pytest

from harness import datasets
from harness.metrics.degraded import METRIC
from harness.trial import Trial

TrialOf = Callable[..., Trial]


def quality(trial: Trial) -> tuple[float, float]:
    psnr, ssim = METRIC.measure(trial).measurements
    return mean(psnr.samples), mean(ssim.samples)


@pytest.mark.parametrize("task", ["jpeg", "denoise", "demosaic", "sr", "deblur", "weather"])
def test_every_task_has_both_values_an_image_without_weights(trial_of: TrialOf, task: str) -> None:
    assert METRIC.unsupported(trial_of(task).cell) is None
    psnr, ssim = METRIC.measure(trial_of(task)).measurements
    assert (psnr.name, ssim.name) == ("degraded.psnr", "degraded.ssim")
    assert psnr.labels == ssim.labels == ("chelsea", "motorcycle_left")
    assert all(8 < value < 45 for value in psnr.samples)
    assert all(0 < value < 1 for value in ssim.samples)


def test_noise_is_judged_unclipped_and_a_note_says_so(trial_of: TrialOf) -> None:
    reading = METRIC.measure(trial_of("denoise", "sigma=50", image_size=256))
    assert mean(reading.measurements[0].samples) == pytest.approx(14.15, abs=0.02)
    assert reading.notes == ("the degraded input is judged by gray-crop0-none",)


def test_an_unharmed_image_gets_the_cap(trial_of: TrialOf) -> None:
    reading = METRIC.measure(trial_of("weather", "kind=rain,amount=0"))
    assert reading.measurements[0].samples == (100.0, 100.0)
    assert reading.notes[-1].startswith("equal to its target, PSNR capped at 100 dB")


@pytest.mark.parametrize(
    ("task", "setting", "dataset", "psnr_db", "ssim"),
    [
        ("sr", "scale=2,color=gray,lr=exact", "Set5", 33.66, "0.9299"),
        ("sr", "scale=3,color=gray,lr=exact", "Set5", 30.39, "0.8682"),
        ("sr", "scale=4,color=gray,lr=exact", "Set5", 28.42, "0.8104"),
        ("jpeg", "quality=10", "Classic5", 27.82, "0.760"),
        ("jpeg", "quality=40", "Classic5", 32.43, "0.885"),
        ("demosaic", "pattern=rggb", "McMaster", 34.43, None),
        ("denoise", "sigma=25", "Set12", 20.17, None),
    ],
)
def test_a_printed_row_is_reproduced(
    trial_of: TrialOf, task: str, setting: str, dataset: str, psnr_db: float, ssim: str | None
) -> None:
    if not os.environ.get("SEMANIR_DATA") or dataset.casefold() not in map(str.casefold, datasets.names()):
        pytest.skip(f"{dataset} is not here; set SEMANIR_DATA")
    psnr_here, ssim_here = quality(trial_of(task, setting, dataset=dataset, images=None, image_size=None))
    assert round(psnr_here, 2) == psnr_db
    if ssim is not None:
        assert f"{ssim_here:.{len(ssim) - 2}f}" == ssim  # in all printed digits
