"""Judges a network on whole images the way cells are judged: the same degradation, the same protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float32
from torch import nn

from harness import datasets, fidelity
from harness.channels import Bits, bits_of, units
from harness.datasets import DatasetError
from harness.task import generator
from harness.training.data import selected
from harness.training.loop import set_window
from harness.training.spec import TrainingSpec

VALIDATION_SEED = 0
"""As the first seed of a cell, so that a cell of the shipped weights gives the same number."""


@dataclass(frozen=True)
class Pair:
    """One image to be judged on, in units of one."""

    name: str
    degraded: Float32[np.ndarray, "h w C"]
    target: Float32[np.ndarray, "H W C"]
    bits: Bits
    """Of the target, as the image was read."""


@dataclass(frozen=True)
class Judgement:
    """What a network scored."""

    psnr_db: dict[str, float]
    """By image."""
    pictures: dict[str, Float32[np.ndarray, "H W C"]]
    """The first image: degraded (at the target's size), restored, target, clipped to 0..1."""

    @property
    def mean_db(self) -> float:
        """Mean over the images."""
        return float(np.mean(list(self.psnr_db.values())))


class Validator:
    """The validation images of a spec, degraded once."""

    def __init__(self, spec: TrainingSpec) -> None:
        """Read and degrade them. Raises `DatasetError`."""
        self.spec = spec
        self.pairs = tuple(_pairs(spec))

    @torch.inference_mode()
    def judge(self, network: nn.Module, *, images: int | None = None) -> Judgement:
        """Restore the first images (None: all) in float32 with the spec's window and k.

        The network has to be in evaluation mode.
        """
        task, setting = self.spec.task_itself, self.spec.validation_setting
        protocol = task.protocol(setting)
        window, top_k = self.spec.validation_window
        if window is not None:
            set_window(network, window, top_k)
        device = next(network.parameters()).device
        scores: dict[str, float] = {}
        pictures: dict[str, Float32[np.ndarray, "H W C"]] = {}
        for pair in self.pairs[:images]:
            image = torch.from_numpy(pair.degraded).permute(2, 0, 1)[None].to(device)
            restored = network(image)[0].permute(1, 2, 0).float().cpu().numpy()
            prepare = partial(protocol.prepare, bits=pair.bits)
            scores[pair.name] = fidelity.psnr(prepare(restored), prepare(pair.target))
            if not pictures:
                shown = {"degraded": task.upscale(pair.degraded, setting), "restored": restored, "target": pair.target}
                pictures = {role: np.clip(picture, 0.0, 1.0) for role, picture in shown.items()}
        return Judgement(scores, pictures)


def _pairs(spec: TrainingSpec) -> Iterator[Pair]:
    task, setting, validation = spec.task_itself, spec.validation_setting, spec.validation
    name = datasets.resolve(validation.dataset)
    pairs = datasets.wants_pairs(setting)
    if (reason := datasets.absent(name, task=spec.task, pairs=pairs)) is not None:
        raise DatasetError(reason)
    for image in selected(validation, datasets.load(name, image_size=validation.image_size, pairs=pairs)):
        target = task.prepare_target(image.pixels, setting)
        if image.degraded is not None:
            degraded = units(task.prepare_target(image.degraded, setting))
        else:
            randomness = generator(VALIDATION_SEED, image.name)
            degraded = task.degrade(target, task.draw(setting, randomness), randomness)
        yield Pair(image.name, np.ascontiguousarray(degraded), units(target), bits_of(target))
