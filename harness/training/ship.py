"""The averaged weights in half precision, and the card that says what they are and how they came about."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as tensors_as_bytes
from torch import nn

from harness import datasets
from harness.datasets import registry
from harness.environment import TREE, machine, revision
from harness.training.checkpoints import CheckpointFailed, Validated, replace
from harness.training.guard import Guarded
from harness.training.spec import UNDECIDING, Source, TrainingSpec
from harness.training.validation import Judgement
from semanir.attention.problem import DeviceKind

UNKNOWN_LICENCE = "not recorded: images of one's own"


def ship(
    spec: TrainingSpec,
    average: nn.Module,
    folder: Path,
    *,
    minutes: float,
    device: DeviceKind,
    processes: int,
    images: tuple[int, ...],
    guarded: Guarded,
    history: tuple[Validated, ...],
    final: Judgement,
) -> Path:
    """Write `<name>.safetensors` and then its card `<name>.json`, whose path is returned. Raises `CheckpointFailed`.

    The card names no folder of this machine. `images` counts those of each source.
    """
    state = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in average.state_dict().items()}
    content = tensors_as_bytes(state)
    task, setting = spec.task_itself, spec.shipped_setting
    environment = machine(device)
    commit, dirty = revision(TREE)
    window, top_k = spec.validation_window
    card = {
        "name": spec.name,
        "model": spec.model,
        "task": spec.task,
        "setting": task.canonical(setting),
        "channels": task.channels(setting),
        "scale": task.scale(setting),
        "sha256": hashlib.sha256(content).hexdigest(),
        "training": {
            "recipe": _recipe(spec),
            "steps": spec.steps,
            "data": [_described(source, count) for source, count in zip(spec.data, images, strict=True)],
            "licence": "; ".join(dict.fromkeys(_licence(source) for source in spec.data)),
            "leaks": {"none_in": guarded.compared, "not_compared": guarded.absent},
            "minutes": round(minutes, 1),
            "machine": environment.device if device == "cuda" else f"{environment.cpu}, {environment.cores} cores",
            "processes": processes,
            "threads": torch.get_num_threads(),
            "versions": {name: environment.versions[name] for name in ("torch", "numpy", "pillow")},
            "commit": commit + (" with changes" if dirty else ""),
            "validation": {
                "set": spec.validation.dataset,
                "setting": task.canonical(spec.validation_setting),
                "protocol": task.protocol(spec.validation_setting).id,
                "window": window,
                "top_k": top_k,
                "images": len(final.psnr_db),
                "psnr_db": round(final.mean_db, 3),
                "history": [[found.step, round(found.psnr_db, 3)] for found in history],
            },
        },
    }
    path = folder / f"{spec.name}.json"
    try:
        replace(path.with_suffix(".safetensors"), content)
        replace(path, (json.dumps(card, indent=1) + "\n").encode())
    except OSError as error:
        raise CheckpointFailed(
            f"{path}: cannot be written ({error.strerror}); make room and repeat with --resume"
        ) from error
    return path


def without_places(spec: TrainingSpec) -> TrainingSpec:
    """Return the spec with the places of folders cut off, as a card tells it."""
    sources = (
        source if source.folder is None else source.model_copy(update={"folder": Path(source.folder.name)})
        for source in spec.data
    )
    return spec.model_copy(update={"data": tuple(sources)})


def _recipe(spec: TrainingSpec) -> dict[str, Any]:
    return without_places(spec).model_dump(mode="json", exclude={"name", *UNDECIDING})


def _described(source: Source, images: int) -> dict[str, Any]:
    entry = _entry(source)
    origin = f"github.com/{entry.repository} at {entry.commit}" if entry and entry.repository else ""
    if not origin and source.dataset is not None and datasets.resolve(source.dataset) == datasets.BUNDLED:
        origin = "photographs of scikit-image's wheel"
    return {
        "name": source.name,
        "images": images,
        "excluded": source.exclude,
        "source": origin or (entry.where if entry else "images of one's own"),
    }


def _licence(source: Source) -> str:
    if source.dataset is not None and datasets.resolve(source.dataset) == datasets.BUNDLED:
        return f"{source.name}: as the documentation of skimage.data states it for each photograph"
    entry = _entry(source)
    return f"{source.name}: {entry.licence if entry else UNKNOWN_LICENCE}"


def _entry(source: Source) -> registry.Entry | None:
    return registry.find(datasets.resolve(source.dataset)) if source.dataset is not None else None
