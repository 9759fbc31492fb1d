"""A training on disk: tensors, then a JSON file that makes them count. Whatever ends a process, one good one stays."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as tensors_as_bytes
from torch import Tensor

from harness.record import Frozen
from harness.training.spec import TrainingSpec

Tensors = dict[str, Tensor]

KEPT = 2
"""Checkpoints that stay: the newest, and one more in case its file is damaged later."""


class CheckpointFailed(Exception):
    """A checkpoint could not be written; the one before it is untouched."""


class Validated(Frozen):
    """One judgement on the way."""

    step: int
    psnr_db: float
    """Mean over the images."""


class Progress(Frozen):
    """What a checkpoint says beside its tensors."""

    step: int = Field(ge=0)
    """Steps done. It is the position in the data too: patches are a function of seed, step and place."""
    seconds: float
    """Time of all steps, over all processes that went on with each other's checkpoints."""
    data_seconds: float
    """Of these, waiting for batches."""
    history: tuple[Validated, ...]
    spec: TrainingSpec
    fingerprints: tuple[str, ...]
    """Of the images of each source."""
    versions: dict[str, str]
    sha256: str = ""
    """Of the tensors' file; filled in when it is written."""


def write(folder: Path, progress: Progress, tensors: Tensors) -> None:
    """Write a checkpoint and drop the ones that it replaces. Raises `CheckpointFailed` and keeps what was there."""
    content = tensors_as_bytes({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    progress = progress.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    stem = folder / f"step-{progress.step:08d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace(stem.with_suffix(".safetensors"), content)
        replace(stem.with_suffix(".json"), (progress.model_dump_json(indent=1) + "\n").encode())
    except OSError as error:
        for suffix in (".json", ".safetensors"):
            stem.with_suffix(f"{suffix}.tmp").unlink(missing_ok=True)
        raise CheckpointFailed(
            f"{stem}: the checkpoint could not be written ({error.strerror}); make room and go on with --resume"
        ) from error
    _drop_old(folder)


def newest(folder: Path) -> tuple[Progress, Tensors] | None:
    """Return the newest checkpoint that is whole; None where there is none."""
    for file in sorted(folder.glob("step-*.json"), reverse=True):
        try:
            progress = Progress.model_validate_json(file.read_text(encoding="utf-8"))
            content = file.with_suffix(".safetensors").read_bytes()
            if hashlib.sha256(content).hexdigest() == progress.sha256:
                return progress, load_tensors(content)
        except (OSError, ValidationError, ValueError, SafetensorError):
            continue  # a damaged one; the one before it may do
    return None


def replace(file: Path, content: bytes) -> None:
    """Write a file so that at any moment either the old content or the new one is there, whole and on the disk."""
    beside = file.with_name(f"{file.name}.tmp")
    with beside.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(file)
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(file.parent, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def random_states(device: torch.device) -> Tensors:
    """Return the states of torch's generators, for networks that draw while they train."""
    states = {"random.cpu": torch.get_rng_state()}
    return states | ({"random.cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_random_states(states: Tensors, device: torch.device) -> None:
    """Go on with states that `random_states` returned."""
    torch.set_rng_state(states["random.cpu"])
    if device.type == "cuda" and "random.cuda" in states:
        torch.cuda.set_rng_state(states["random.cuda"], device)


def _drop_old(folder: Path) -> None:
    """Remove what newer checkpoints replace, and tensors that no JSON file ever made count."""
    counting = sorted(folder.glob("step-*.json"), reverse=True)
    kept = {file.stem for file in counting[:KEPT]}
    for file in counting[KEPT:]:
        file.unlink(missing_ok=True)
    for file in folder.glob("step-*.safetensors"):
        if file.stem not in kept:
            file.unlink(missing_ok=True)
