"""A spec from its first check to shipped weights: guard, data, steps, validation, checkpoints, card."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from harness import datasets
from harness.environment import version_of
from harness.material import sha256_of
from harness.training import checkpoints, data, devices
from harness.training.checkpoints import Progress, Validated
from harness.training.guard import Guarded, refuse_leaks
from harness.training.loop import Step, Training
from harness.training.ship import ship, without_places
from harness.training.spec import TrainingSpec
from harness.training.validation import Judgement, Validator
from harness.weights import CardError, read_card

CHECKPOINTS = "checkpoints"


class WrongFolder(ValueError):
    """A folder that cannot be written, or that holds a training already; the message says which keys differ."""


@dataclass(frozen=True)
class Begun:
    """The first event: what is trained, and from which step on."""

    steps: int
    done: int
    images: tuple[int, ...]
    parameters: int
    processes: int
    guarded: Guarded


@dataclass(frozen=True)
class Judged:
    """The average was validated."""

    step: int
    judgement: Judgement


@dataclass(frozen=True)
class Saved:
    """A checkpoint counts from now on."""

    step: int


@dataclass(frozen=True)
class Shipped:
    """The last event: the card's path, and how the time was spent over all processes that took part in turn."""

    card: Path
    seconds: float
    data_seconds: float


Event = Begun | Step | Judged | Saved | Shipped
Listener = Callable[[Event], None]


def train(
    spec: TrainingSpec, folder: Path, *, resume: bool, listener: Listener, remembering: Path | None = None
) -> None:
    """Train in `folder`, from the newest checkpoint there with `resume`, and write the weights and their card into it.

    Which images were compared with which is remembered in the folder `remembering`, which trainings may share; in
    `folder` by default.
    Under `torchrun` every process calls this; the first one writes, and alone calls the listener.
    Raises `DatasetError` and its `LeakError`, `WrongFolder`, `WrongProcesses`, `Diverged` and `CheckpointFailed`; the
    newest checkpoint stays good whatever happens.
    """
    precision = devices.decided(spec.precision)
    spec = spec.model_copy(update={"precision": precision})
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WrongFolder(f"{folder}: cannot be made ({error.strerror}); choose another --out") from error
    found = checkpoints.newest(folder / CHECKPOINTS)
    fingerprints = tuple(data.fingerprint(source) for source in spec.data)
    if found is not None:
        _refuse_other(found[0], spec, fingerprints, folder, resume=resume)
    images = [data.read(source, pairs=_pairs(spec, number)) for number, source in enumerate(spec.data)]
    fabric = devices.connect(precision)
    places = devices.share(spec.batch, fabric)
    guarded = refuse_leaks(spec, images, remembering or folder, remember=fabric.is_global_zero)
    patches = data.Patches(spec, images)
    validator = Validator(spec)
    training = Training(spec, fabric)
    history: list[Validated] = []
    if found is not None:
        history = _take_up(training, *found)
    tell = listener if fabric.is_global_zero else _nobody
    counts = tuple(map(len, images))
    parameters = sum(parameter.numel() for parameter in training.network.parameters())
    tell(Begun(spec.steps, training.step, counts, parameters, fabric.world_size, guarded))

    def save() -> None:
        if fabric.is_global_zero:
            progress = _progress(training, spec, history, fingerprints)
            states = checkpoints.random_states(fabric.device)
            checkpoints.write(folder / CHECKPOINTS, progress, training.tensors() | states)
        fabric.barrier()
        tell(Saved(training.step))

    with data.loader(patches, places) as load:
        while training.step < spec.steps:
            tell(training.advance(load))
            last = training.step == spec.steps
            if fabric.is_global_zero and not last and training.step % spec.validation.every == 0:
                judgement = validator.judge(training.average, images=spec.validation.on_the_way)
                history.append(Validated(step=training.step, psnr_db=judgement.mean_db))
                tell(Judged(training.step, judgement))
            if last or training.step % spec.checkpoint_every == 0:
                save()
    if fabric.is_global_zero:
        final = validator.judge(training.average)
        tell(Judged(training.step, final))
        card = ship(
            spec,
            training.average,
            folder,
            minutes=training.seconds / 60,
            device="cuda" if fabric.device.type == "cuda" else "cpu",
            processes=fabric.world_size,
            images=counts,
            guarded=guarded,
            history=tuple(history),
            final=final,
        )
        tell(Shipped(card, training.seconds, training.data_seconds))
    devices.disconnect(fabric)


def finished(spec: TrainingSpec, folder: Path) -> Path | None:
    """Return the card of a training that has ended in `folder`; None where it has not, or its weights are not whole.

    Raises `WrongFolder` where they are there and another spec made them.
    """
    path = folder / f"{spec.name}.json"
    weights = path.with_suffix(".safetensors")
    try:
        card = read_card(path)
        content = {"name": spec.name} | dict(card.training["recipe"])  # type: ignore[call-overload]
        made = TrainingSpec.model_validate_json(json.dumps(content), strict=True)
    except (CardError, KeyError, TypeError, ValueError, ValidationError):
        return None
    if not weights.is_file() or sha256_of(weights) != card.sha256:
        return None
    if spec.precision == "auto":  # what it meant where the training ran
        spec = spec.model_copy(update={"precision": made.precision})
    _refuse_differences(without_places(spec).differences(made), folder)
    return path


def _pairs(spec: TrainingSpec, number: int) -> bool:
    return any(datasets.wants_pairs(found) for found in spec.settings(spec.data[number]))


def _refuse_other(
    progress: Progress, spec: TrainingSpec, fingerprints: tuple[str, ...], folder: Path, *, resume: bool
) -> None:
    if not resume:
        done = f"{progress.step} of {progress.spec.steps} steps"
        raise WrongFolder(f"{folder} holds a training of {done}; add --resume to go on, or choose another --out")
    _refuse_differences(spec.differences(progress.spec), folder)
    if changed := [
        source.name
        for source, then, now in zip(spec.data, progress.fingerprints, fingerprints, strict=True)
        if then != now
    ]:
        raise WrongFolder(f"{folder}: the images of {', '.join(changed)} have changed since; choose another --out")


def _refuse_differences(differences: list[str], folder: Path) -> None:
    if differences:
        listed = "\n  ".join(differences)
        raise WrongFolder(f"{folder} holds a training by another spec; choose another --out, or undo:\n  {listed}")


def _take_up(training: Training, progress: Progress, tensors: checkpoints.Tensors) -> list[Validated]:
    training.take_up(tensors, step=progress.step, seconds=progress.seconds, data_seconds=progress.data_seconds)
    checkpoints.set_random_states(tensors, training.fabric.device)
    return list(progress.history)


def _progress(
    training: Training, spec: TrainingSpec, history: list[Validated], fingerprints: tuple[str, ...]
) -> Progress:
    return Progress(
        step=training.step,
        seconds=training.seconds,
        data_seconds=training.data_seconds,
        history=tuple(history),
        spec=spec,
        fingerprints=fingerprints,
        versions={name: version_of(name) for name in ("torch", "lightning-fabric", "numpy", "semanir-bench")},
    )


def _nobody(event: Event) -> None:
    """Listen to nothing."""
