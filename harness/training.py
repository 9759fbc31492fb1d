"""Fit a small network for a task on a folder of clean images, by a fixed recipe, and ship it with a card.

A first, short trainer: one process, no resume. The recipe is the one that TRAINING's figures come from: AdamW,
warm-up and cosine, Charbonnier loss, gradient clipping, EMA of the weights, bf16 autocast, random k and window.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from harness.catalogs import BACKENDS, MODELS, TASKS
from harness.datasets import SUFFIXES, DatasetError, read_image
from harness.environment import machine, revision
from semanir import checkpoints
from semanir.model import Request


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights, beside the images and the order of floating-point sums."""

    model: str = "semanir/small"
    backend: str = "mask"
    """The attention that trains; the dense mask is the fastest one at 64 tokens in bf16 on a CPU."""
    task: str = "denoise"
    setting: str = "sigma=25"
    steps: int = 8000
    batch: int = 8
    crop: int = 64
    """Side of a degraded training patch in pixels."""
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    top_k: Mapping[int, tuple[int, ...]] = field(
        default_factory=lambda: {8: (4, 8, 16, 32, 64), 16: (8, 16, 32, 64, 128)}
    )
    """Window -> the k of which each step draws one (the paper's random k)."""
    window_odds: Mapping[int, float] = field(default_factory=lambda: {8: 0.75, 16: 0.25})
    """Chance of each window at a step; the continuous bias lets one network serve both."""
    ema: float = 0.999
    seed: int = 0


@dataclass(frozen=True)
class Step:
    """Progress, for whoever shows it."""

    number: int
    loss: float
    seconds: float


def fit(recipe: Recipe, images: list[UInt8[np.ndarray, "H W C"]], *, report: Callable[[Step], None]) -> torch.nn.Module:
    """Train and return the averaged network, in evaluation mode. Raises `FloatingPointError` on a NaN loss."""
    torch.manual_seed(recipe.seed)
    randomness = np.random.default_rng(recipe.seed)
    network = _network(recipe).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval()
    optimiser = torch.optim.AdamW(
        network.parameters(),
        lr=recipe.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _learning_rate(step, recipe.steps))
    start = time.perf_counter()
    for number, (degraded, target) in zip(range(1, recipe.steps + 1), _batches(recipe, images), strict=False):
        network.window = int(randomness.choice(list(recipe.window_odds), p=list(recipe.window_odds.values())))
        network.top_k = int(randomness.choice(recipe.top_k[network.window]))
        with torch.autocast("cpu", torch.bfloat16):
            restored = network(degraded)
        loss = ((restored.float() - target).square() + 1e-6).sqrt().mean()
        if not torch.isfinite(loss):
            raise FloatingPointError(f"step {number}: the loss is {loss.item()}; lower the learning rate")
        loss.backward()
        # Isolated gradient spikes of a hundred times the median occur early.
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0 if number <= 200 else 0.5)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
        decay = min(recipe.ema, number / (number + 9))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
        report(Step(number, loss.item(), time.perf_counter() - start))
    return average


def ship(
    recipe: Recipe,
    network: torch.nn.Module,
    *,
    name: str,
    folder: Path,
    minutes: float,
    data: str,
    licence: str,
) -> Path:
    """Write `<name>.safetensors` (half precision) and its card `<name>.json`; return the card's path."""
    task = TASKS[recipe.task]
    setting = task.parse(recipe.setting)
    sha256 = checkpoints.save(network, folder / f"{name}.safetensors")
    environment = machine("cpu")
    commit, dirty = revision(Path(__file__).parent)
    card = {
        "name": name,
        "model": recipe.model,
        "task": recipe.task,
        "setting": task.canonical(setting),
        "channels": task.channels(setting),
        "scale": task.scale(setting),
        "sha256": sha256,
        "training": {
            "recipe": asdict(recipe),
            "data": data,
            "licence": licence,
            "minutes": round(minutes, 1),
            "machine": f"{environment.cpu}, {environment.cores} cores",
            "versions": {name: environment.versions[name] for name in ("torch", "numpy")},
            "commit": commit + (" with changes" if dirty else ""),
        },
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(card, indent=2) + "\n")
    return path


def read_folder(folder: Path) -> list[UInt8[np.ndarray, "H W C"]]:
    """Read every image of a folder. Raises `DatasetError` when there is no folder, no image, or a damaged one."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: there is no such folder")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise DatasetError(f"{folder}: holds no images to train on")
    return [read_image(file) for file in files]


def _network(recipe: Recipe) -> torch.nn.Module:
    family, _, configuration = recipe.model.partition("/")
    task = TASKS[recipe.task]
    setting = task.parse(recipe.setting)
    backend = BACKENDS[recipe.backend]
    request = Request(
        configuration=configuration,
        channels=task.channels(setting),
        scale=task.scale(setting),
        height=recipe.crop,
        width=recipe.crop,
        needs_grad=True,
    )
    return MODELS[family].build(request, attend=backend.load(), forms=backend.needs)


def _learning_rate(step: int, steps: int) -> float:
    """Share of the peak: 5 % linear warm-up, then a cosine down to a thousandth."""
    progress, warm = step / steps, 0.05
    if progress < warm:
        return (step + 1) / (warm * steps + 1)
    return 1e-3 + (1 - 1e-3) * 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))


def _batches(recipe: Recipe, images: list[UInt8[np.ndarray, "H W C"]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield degraded and target batches without end: a random patch, one of its 8 turns, then the degradation."""
    randomness = np.random.default_rng([recipe.seed, 1])
    task = TASKS[recipe.task]
    setting = task.parse(recipe.setting)
    side = recipe.crop * task.scale(setting)
    targets = [task.prepare_target(image, setting) for image in images if min(image.shape[:2]) >= side]
    while True:
        pairs = []
        for _ in range(recipe.batch):
            image = targets[randomness.integers(len(targets))]
            top, left = (int(randomness.integers(length - side + 1)) for length in image.shape[:2])
            patch = np.rot90(image[top : top + side, left : left + side], int(randomness.integers(4)))
            if randomness.random() < 0.5:
                patch = patch[:, ::-1]
            patch = np.ascontiguousarray(patch)
            degraded = task.degrade(patch, setting, randomness)
            pairs.append((degraded, patch.astype(np.float32) / np.float32(255)))
        inputs, truths = (torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2) for side in zip(*pairs, strict=True))
        yield inputs.contiguous(memory_format=torch.channels_last), truths
