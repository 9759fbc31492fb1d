"""Before anything is trained: no training image may be an image that the network will be judged on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness import datasets, leaks
from harness.datasets import Image
from harness.leaks import LeakError
from harness.training.data import selected
from harness.training.spec import TrainingSpec

CACHE = "leaks.json"
"""The file of a training's folder that remembers which comparisons found nothing."""


@dataclass(frozen=True)
class Guarded:
    """What was compared, for the card."""

    compared: tuple[str, ...]
    absent: tuple[str, ...]
    """Test sets that are not here: of these only the leaks that the registry knows were looked for."""


def refuse_leaks(
    spec: TrainingSpec, images: Sequence[tuple[Image, ...]], folder: Path, *, remember: bool = True
) -> Guarded:
    """Compare the images of each source with the test sets of the spec.

    What was found clean is remembered in `folder`, so that a resumed training does not wait again.
    Raises `LeakError`, with the pairs named, for an image that is in both and not excluded.
    """
    wanted = dict.fromkeys([datasets.resolve(spec.validation.dataset), *map(datasets.resolve, spec.tests)])
    here = [name for name in wanted if name in datasets.names()]
    absent = tuple(name for name in wanted if name not in here)
    _refuse_known(spec, images, absent)
    training = [
        Image(f"{source.name}/{image.name}", image.pixels)
        for source, found in zip(spec.data, images, strict=True)
        for image in found
    ]
    clean = _Cache(folder / CACHE)
    for name in here:
        tests = [Image(f"{name}/{image.name}", image.pixels) for image in _test_images(spec, name)]
        made = comparison(training, tests)
        if made not in clean:
            leaks.refuse_leaks(training, tests)
            if remember:
                clean.add(made)
    return Guarded(tuple(here), absent)


def comparison(training: Sequence[Image], tests: Sequence[Image]) -> str:
    """Name a comparison by the names and pixels of all its images, and by the code that compares."""
    return f"{_digest(training)} {_digest(tests)} {_method()}"


def _test_images(spec: TrainingSpec, name: str) -> tuple[Image, ...]:
    """Return the images of a test set that count: of a validation set without pairs those that are validated on."""
    images = datasets.load_what_is_here(name)
    judged_whole = name != datasets.resolve(spec.validation.dataset) or datasets.wants_pairs(spec.validation_setting)
    return images if judged_whole else selected(spec.validation, images)


def _refuse_known(spec: TrainingSpec, images: Sequence[tuple[Image, ...]], absent: Sequence[str]) -> None:
    """Look for the leaks that the registry records into test sets that are not here."""
    for source, found in zip(spec.data, images, strict=True):
        known = leaks.known(source.dataset, absent) if source.dataset else ()
        names = {image.name for image in found}
        if held := [file for file in known if file.rpartition(".")[0] in names]:
            shown = ", ".join(held[:5]) + (f" and {len(held) - 5} more" if len(held) > 5 else "")
            raise LeakError(
                f"{source.name}: {shown} are known to be in one of {', '.join(absent)}: take them out of the "
                "training set, in the spec under `exclude`"
            )


class _Cache:
    """Comparisons that found nothing; a file that cannot be read or written only costs time."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self.known: list[str] = list(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            self.known = []

    def __contains__(self, key: str) -> bool:
        return key in self.known

    def add(self, key: str) -> None:
        self.known.append(key)
        with suppress(OSError):
            self.file.write_text(json.dumps(self.known, indent=1) + "\n", encoding="utf-8")


def _digest(images: Sequence[Image]) -> str:
    found = hashlib.sha256()
    for image in images:
        found.update(f"{image.name} {image.pixels.shape}".encode() + image.pixels.tobytes())
    return found.hexdigest()[:16]


def _method() -> str:
    """Return digits that change with the code that compares."""
    return hashlib.sha256(Path(leaks.__file__).read_bytes()).hexdigest()[:16]
