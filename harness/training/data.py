"""Images in memory -> batches. A patch is a pure function of seed, step and place in the batch: nothing to store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float32, UInt
from torch import Tensor

from harness import datasets
from harness.catalog import suggest
from harness.channels import rounded, units
from harness.datasets import SUFFIXES, DatasetError, Image, read_image
from harness.imresize import imresize
from harness.task import Setting
from harness.training.spec import Source, TrainingSpec, Validation

Patch = UInt[np.ndarray, "_ _ _"]
Batch = tuple[Tensor, Tensor]
"""Degraded `B C h w` and target `B C H W`, in units of one."""


@dataclass(frozen=True)
class Draws:
    """What a step draws for all processes alike."""

    window: int | None
    top_k: int | None


@dataclass(frozen=True)
class Pool:
    """The images of one source, ready to be cut."""

    images: tuple[tuple[Patch, Patch | None], ...]
    """Targets, each with its degraded partner where the source holds pairs."""
    settings: tuple[Setting, ...]


def generator(seed: int, step: int, index: int) -> np.random.Generator:
    """Return the randomness of one patch, or with `index` -1 of what a step draws for all patches."""
    return np.random.default_rng([seed, step, index + 1])


def draws(spec: TrainingSpec, step: int) -> Draws:
    """Draw window and k of a step, counted from 0."""
    if not spec.windows:
        return Draws(None, None)
    randomness = generator(spec.seed, step, -1)
    chosen = spec.windows[_weighed([window.odds for window in spec.windows], randomness)]
    return Draws(chosen.window, int(randomness.choice(chosen.top_k)))


def read(source: Source, *, pairs: bool) -> tuple[Image, ...]:
    """Read the images of a source without the excluded ones.

    Raises `DatasetError` when there are none, when one cannot be read, and when an exclusion names none.
    """
    images = _all_images(source, pairs=pairs)
    excluded = {name: {image.name for image in images if _is_named(image, name)} for name in source.exclude}
    if lost := [name for name, found in excluded.items() if not found]:
        raise DatasetError(f"{source.name} holds no image {lost[0]}, which is excluded; remove it from `exclude`")
    gone = set().union(*excluded.values())
    kept = tuple(image for image in images if image.name not in gone)
    if not kept:
        raise DatasetError(f"{source.name}: every image is excluded; leave some to train on")
    return kept


def selected(validation: Validation, images: Sequence[Image]) -> tuple[Image, ...]:
    """Return those of a validation set's images that the spec asks for. Raises `DatasetError` for a name it lacks."""
    known = [image.name for image in images]
    if lost := [name for name in (*(validation.images or ()), *validation.exclude) if name not in known]:
        raise DatasetError(f"{validation.dataset} holds no image '{lost[0]}'.{suggest(lost[0], known)}")
    wanted = set(validation.images or known) - set(validation.exclude)
    return tuple(image for image in images if image.name in wanted)


def fingerprint(source: Source) -> str:
    """Return digits that change with the clean files of a source; empty where they cannot."""
    if source.dataset is not None:
        return datasets.fingerprint(datasets.resolve(source.dataset))
    found = hashlib.sha256()
    for file in _files(source):
        found.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


class Patches:
    """All sources of a spec in memory, in the depth of their files, and the batches that are cut from them."""

    def __init__(self, spec: TrainingSpec, images: Sequence[tuple[Image, ...]]) -> None:
        """Take the images of each source. Raises `DatasetError` for one that is smaller than a patch."""
        self.spec = spec
        self.pools = tuple(_pool(spec, source, found) for source, found in zip(spec.data, images, strict=True))
        self._odds = [source.odds for source in spec.data]

    def batch(self, step: int, indices: range) -> Batch:
        """Return those patches of a step's batch, channels last."""
        made = [self.patch(step, index) for index in indices]
        degraded, target = (torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2) for side in zip(*made, strict=True))
        return degraded.contiguous(memory_format=torch.channels_last), target

    def patch(self, step: int, index: int) -> tuple[Float32[np.ndarray, "h w C"], Float32[np.ndarray, "H W C"]]:
        """Cut, turn and degrade one patch.

        It is degraded last, so the grid of a mosaic or of JPEG's blocks begins at its corner whichever way it was
        turned, as it does in the images that are restored later.
        """
        spec = self.spec
        randomness = generator(spec.seed, step, index)
        pool = self.pools[_weighed(self._odds, randomness)]
        target, partner = pool.images[int(randomness.integers(len(pool.images)))]
        margin = 0 if partner is not None else spec.margin
        side = spec.target_side + 2 * margin
        top, left = (int(randomness.integers(length - side + 1)) for length in target.shape[:2])
        turns, mirrored = int(randomness.integers(4)), bool(randomness.random() < 0.5)

        def cut(image: Patch) -> Patch:
            turned = np.rot90(image[top : top + side, left : left + side], turns)
            return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)

        clean = cut(target)
        if partner is not None:
            return units(cut(partner)), units(clean)
        clean = _coloured(clean, spec, randomness)
        task = spec.task_itself
        setting = task.draw(pool.settings[int(randomness.integers(len(pool.settings)))], randomness)
        degraded = task.degrade(clean, setting, randomness)
        inner = margin * spec.patch // spec.target_side
        return _inside(degraded, inner), units(_inside(clean, margin))


class Loader(Protocol):
    """Answers with the batch of a step; steps are asked for in order."""

    def __call__(self, step: int) -> Batch: ...


@contextmanager
def loader(patches: Patches, indices: range) -> Iterator[Loader]:
    """Return a loader of those places of each batch, which works ahead where the spec grants it threads."""
    spec = patches.spec
    if not spec.workers:
        yield lambda step: patches.batch(step, indices)
        return
    waiting: dict[int, Future[Batch]] = {}
    with ThreadPoolExecutor(spec.workers, thread_name_prefix="patches") as pool:

        def ahead(step: int) -> Batch:
            for near in range(step, min(step + 2 * spec.workers, spec.steps)):
                if near not in waiting:
                    waiting[near] = pool.submit(patches.batch, near, indices)
            return waiting.pop(step).result()

        try:
            yield ahead
        finally:
            pool.shutdown(cancel_futures=True)


def _all_images(source: Source, *, pairs: bool) -> tuple[Image, ...]:
    if source.dataset is not None:
        return datasets.load(datasets.resolve(source.dataset), pairs=pairs)
    return tuple(Image(file.stem, read_image(file)) for file in _files(source))


def _files(source: Source) -> list[Path]:
    folder = source.folder
    if folder is None or not folder.is_dir():
        raise DatasetError(f"{folder}: there is no such folder; name one with images")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise DatasetError(f"{folder}: holds no images to train on ({', '.join(sorted(SUFFIXES))})")
    return files


def _is_named(image: Image, name: str) -> bool:
    stem, dot, suffix = name.rpartition(".")
    return image.name in (name, stem if f"{dot}{suffix}".lower() in SUFFIXES else name)


def _pool(spec: TrainingSpec, source: Source, images: tuple[Image, ...]) -> Pool:
    task, setting = spec.task_itself, spec.shipped_setting
    found: list[tuple[Patch, Patch | None]] = []
    for image in images:
        partner = None if image.degraded is None else task.prepare_target(image.degraded, setting)
        for scale in source.scales:
            pixels = image.pixels if scale == 1 else _reduced(image.pixels, scale)
            target = task.prepare_target(pixels, setting)
            side = spec.target_side + (2 * spec.margin if partner is None else 0)
            if min(target.shape[:2]) < side:
                shown = "x".join(map(str, target.shape[:2]))
                raise DatasetError(
                    f"{source.name}/{image.name}: {shown} pixels{'' if scale == 1 else f' at scale {scale}'}, and a "
                    f"patch with its margin takes {side}; exclude it, or write a smaller patch"
                )
            found.append((target, partner))
    return Pool(tuple(found), spec.settings(source))


def _reduced(pixels: Patch, scale: float) -> Patch:
    return rounded(imresize(pixels.astype(np.float64), scale), like=pixels)


def _coloured(patch: Patch, spec: TrainingSpec, randomness: np.random.Generator) -> Patch:
    """Vary saturation and the gain of each channel."""
    saturation, gain = spec.colour.saturation, spec.colour.gain
    if saturation == gain == (1.0, 1.0):
        return patch
    gray = patch.mean(axis=-1, keepdims=True)
    varied = gray + randomness.uniform(*saturation) * (patch - gray)
    return rounded(varied * randomness.uniform(*gain, patch.shape[-1]), like=patch)


def _inside(image: np.ndarray, margin: int) -> np.ndarray:
    return image[margin:-margin, margin:-margin] if margin else image


def _weighed(odds: Sequence[float], randomness: np.random.Generator) -> int:
    """Draw an index, each as likely as its odds say."""
    shares = np.cumsum(odds) / np.sum(odds)
    return min(int(np.searchsorted(shares, randomness.random(), side="right")), len(odds) - 1)
