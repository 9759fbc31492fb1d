"""PSNR and SSIM of images that a protocol has prepared, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

if TYPE_CHECKING:
    from harness.trial import Trial

Score = Callable[[Float64[np.ndarray, "H W C"], Float64[np.ndarray, "H W C"]], float]
"""An image and its target, both as a protocol prepared them -> one number."""

PSNR_CAP_DB = 100.0
"""What equal images get: records are JSON, which has no infinity."""

SSIM_WINDOW = 11
"""Pixels: a Gaussian of sigma 1.5 that skimage cuts at 3.5 sigma."""


def psnr(image: Float64[np.ndarray, "H W C"], target: Float64[np.ndarray, "H W C"]) -> float:
    """Return the peak signal-to-noise ratio over all values, in dB, for a peak of 255; at most the cap."""
    mean_squared_error = float(np.mean((image - target) ** 2))
    if mean_squared_error == 0.0:
        return PSNR_CAP_DB
    return min(PSNR_CAP_DB, 10.0 * float(np.log10(255.0**2 / mean_squared_error)))


def ssim(image: Float64[np.ndarray, "H W C"], target: Float64[np.ndarray, "H W C"]) -> float:
    """Return the structural similarity (Wang et al. 2004), K1 = .01, K2 = .03, range 255, mean over channels.

    The mean takes only pixels whose whole window lies in the image. Raises `ValueError` below 11x11 pixels.
    """
    from skimage.metrics import structural_similarity

    height, width = image.shape[:2]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(
            f"SSIM's window needs {SSIM_WINDOW}x{SSIM_WINDOW} pixels; the protocol leaves {height}x{width}"
        )
    mean: float = structural_similarity(  # type: ignore[no-untyped-call, unused-ignore]
        image,
        target,
        data_range=255.0,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(mean)


def restored(trial: Trial, score: Score) -> dict[str, float]:
    """Score every restoration of a trial under its protocol: image name to value."""
    prepare = trial.protocol.prepare
    return {
        pair.name: score(prepare(trial.restored[pair.name], bits=pair.bits), prepare(pair.target, bits=pair.bits))
        for pair in trial.pairs
    }


def depth_notes(trial: Trial) -> tuple[str, ...]:
    """Say which images were rounded to 16 bits by a protocol whose id says 8, for a metric's notes."""
    deep = [pair.name for pair in trial.pairs if pair.bits == 16]
    return (f"16-bit targets, judged on 16 bits where the protocol rounds: {', '.join(deep)}",) if deep else ()


def cap_notes(psnr_by_image: Mapping[str, float]) -> tuple[str, ...]:
    """Say which images got the cap instead of infinity, for a metric's notes."""
    capped = [name for name, value in psnr_by_image.items() if value == PSNR_CAP_DB]
    return (f"equal to its target, PSNR capped at {PSNR_CAP_DB:g} dB: {', '.join(capped)}",) if capped else ()
