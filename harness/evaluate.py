"""Scores a folder of restored images of any method against a dataset's targets, as a trial's own are scored."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from harness import datasets
from harness.catalog import suggest
from harness.catalogs import TASKS
from harness.datasets.layout import SUFFIX_WORDS, no_pairs
from harness.protocol import Protocol
from harness.task import Setting, Task

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt

ALSO_IN_LUMA = ("weather",)
"""Tasks whose published rows are judged in RGB or in Y: AST (CVPR 2024) prints those of SPAD and raindrops in Y."""

SUFFIX_BEGINS = re.compile(r"[ _.-]|x\d", re.IGNORECASE)
"""What may follow a target's name in a file's: `baby_x4`, `babyx4_SR`. Without it, `img_10` would belong to `img_1`."""

SCALE_MARK = re.compile(r"_SRF_\d+", re.IGNORECASE)
"""Urban100's usual mirror names its images so: `img_001_SRF_4_HR`."""

SHOWN = 20
"""Names that an error lists before it counts the rest."""


class EvaluationError(Exception):
    """A folder that cannot be scored; the message says what would work."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A protocol by name, with the task whose convention it is."""

    name: str
    task: str
    setting: Setting
    """The first of the task's settings with this protocol: what prepares the targets."""
    protocol: Protocol


@dataclass(frozen=True)
class Score:
    """One restored image."""

    name: str
    """Of the target in its dataset."""
    file: str
    """Below the folder, with forward slashes."""
    psnr_db: float
    ssim: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a folder scored."""

    dataset: str
    judgement: Judgement
    scores: tuple[Score, ...]
    """In the order of the dataset; never empty."""
    missing: tuple[str, ...]
    """Targets without a file."""
    extra: tuple[str, ...]
    """Files without a target."""
    notes: tuple[str, ...] = ()

    @property
    def mean_psnr_db(self) -> float:
        """Over the images that are there."""
        return fmean(score.psnr_db for score in self.scores)

    @property
    def mean_ssim(self) -> float:
        """Over the images that are there."""
        return fmean(score.ssim for score in self.scores)

    @property
    def coverage(self) -> str:
        """As in `5 images`, or `4 of 5 images`: a mean over a part must not pass for one over all."""
        count, whole = len(self.scores), len(self.scores) + len(self.missing)
        return f"{count} images" if count == whole else f"{count} of {whole} images"


@cache
def judgements() -> Mapping[str, Judgement]:
    """Return every protocol that a task has in any of its settings, as `<task>-<channel>` or `<task>-<channel>-xN`."""
    found: dict[str, Judgement] = {}
    for name in TASKS.names():
        task = TASKS[name]
        for setting in _settings(task):
            protocol = task.protocol(setting)
            for each in (protocol, *([replace(protocol, channel="y")] if name in ALSO_IN_LUMA else [])):
                scale = task.scale(setting)
                called = f"{name}-{each.channel}" + (f"-x{scale}" if scale > 1 else "")
                found.setdefault(called, Judgement(name=called, task=name, setting=setting, protocol=each))
    return found


def judgement(name: str, *, crop: int | None = None) -> Judgement:
    """Return a protocol by its name, with another border cut off where `crop` says so. Raises `EvaluationError`."""
    known = judgements()
    if name not in known:
        hint = suggest(name, list(known))
        raise EvaluationError(f"no protocol '{name}'.{hint} It has: {', '.join(known)}")
    chosen = known[name]
    return chosen if crop is None else replace(chosen, protocol=replace(chosen.protocol, crop=crop))


def evaluate(folder: Path, dataset: str, judged: Judgement) -> Evaluation:
    """Score the images in and below a folder, each against the target whose name its own begins with.

    Targets are prepared as for a trial: channels and cuts are the task's. Raises `DatasetError` for a dataset that
    is not here and for images that cannot be read; `EvaluationError` for a folder without any of the images, two
    files of one target, and an image of another size or other channels than its target.
    """
    from harness import fidelity

    name = datasets.resolve(dataset)
    files = _files(folder)
    images = _targets(name, TASKS[judged.task])
    matched, extra = match([image.name for image in images], list(files))
    if not matched:
        raise EvaluationError(
            f"{folder}: no file is named for an image of {name}. It holds {_listed(list(files))}; "
            f"{name} has {_listed([image.name for image in images])}"
        )
    scores = []
    for image in images:
        if image.name not in matched:
            continue
        file = files[matched[image.name]]
        restored, target = _comparable(file, image, judged)
        try:
            psnr_db, ssim = fidelity.psnr(restored, target), fidelity.ssim(restored, target)
        except ValueError as error:
            raise EvaluationError(f"{file}: {error}") from None
        scores.append(Score(image.name, file.relative_to(folder).as_posix(), psnr_db, ssim))
    return Evaluation(
        dataset=name,
        judgement=judged,
        scores=tuple(scores),
        missing=tuple(image.name for image in images if image.name not in matched),
        extra=tuple(files[one].relative_to(folder).as_posix() for one in extra),
        notes=fidelity.cap_notes({score.name: score.psnr_db for score in scores}),
    )


def match(targets: Sequence[str], names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return which name belongs to each target, and the names that belong to none.

    A name belongs to the longest target that it equals, or goes on from as in `baby_x4`; marks such as the `_GT` of
    Set5's `baby_GT` may be left out, and case counts only between targets that nothing else tells apart. Raises
    `EvaluationError` where two names belong to one target.
    """
    forms = _forms(targets)
    matched: dict[str, str] = {}
    extra = []
    for name in names:
        target = _longest(forms, name)
        if target is None:
            extra.append(name)
        elif target in matched:
            both = f"'{matched[target]}' and '{name}'"
            raise EvaluationError(f"{both} are both named for '{target}'; leave one of them in the folder")
        else:
            matched[target] = name
    return matched, extra


def as_table(evaluation: Evaluation) -> str:
    """Return a line for each image and one for their mean, as text."""
    judged = evaluation.judgement
    mean = f"mean of {evaluation.coverage}"
    width = max(len(mean), *(len(score.name) for score in evaluation.scores))
    rows = [(score.name, score.psnr_db, score.ssim) for score in evaluation.scores]
    rows.append((mean, evaluation.mean_psnr_db, evaluation.mean_ssim))
    lines = [
        f"{evaluation.dataset} under {judged.name} ({judged.protocol.id})",
        f"{'image':<{width}}  PSNR dB    SSIM",
        *(f"{name:<{width}}  {psnr_db:7.2f}  {ssim:6.4f}" for name, psnr_db, ssim in rows),
        *evaluation.notes,
    ]
    return "\n".join(lines)


def as_json(evaluation: Evaluation) -> str:
    """Return everything as one JSON object, values unrounded."""
    judged = evaluation.judgement
    content = {
        "dataset": evaluation.dataset,
        "protocol": judged.name,
        "protocol_id": judged.protocol.id,
        "task": judged.task,
        "mean": {"psnr": evaluation.mean_psnr_db, "ssim": evaluation.mean_ssim},
        "images": [
            {"name": score.name, "file": score.file, "psnr": score.psnr_db, "ssim": score.ssim}
            for score in evaluation.scores
        ],
        "missing": list(evaluation.missing),
        "extra": list(evaluation.extra),
        "notes": list(evaluation.notes),
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def as_csv(evaluation: Evaluation) -> str:
    """Return a row for each image of the dataset, values unrounded; those of a missing image are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("dataset", "protocol", "protocol_id", "image", "file", "psnr", "ssim"))
    same = (evaluation.dataset, evaluation.judgement.name, evaluation.judgement.protocol.id)
    for score in evaluation.scores:
        writer.writerow((*same, score.name, score.file, score.psnr_db, score.ssim))
    for name in evaluation.missing:
        writer.writerow((*same, name, "", "", ""))
    return text.getvalue()


def _settings(task: Task) -> Iterator[Setting]:
    """Yield the settings that differ in a choice between words or whole numbers: what may decide a protocol."""
    choices = {
        key: (task.defaults[key], *(value for value in rule if value != task.defaults[key]))
        for key, rule in task.rules.items()
        if isinstance(rule, tuple) and not any(isinstance(value, float) for value in rule)
    }
    for values in itertools.product(*choices.values()):
        yield {**task.defaults, **dict(zip(choices, values, strict=True))}


def _files(folder: Path) -> dict[str, Path]:
    """Return the images in and below a folder by name, with `_` between the parts of a path as in datasets."""
    if not folder.is_dir():
        raise EvaluationError(f"{folder}: {'is no folder' if folder.exists() else 'there is no such folder'}")
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        if file.suffix.lower() not in datasets.SUFFIXES or any(part.startswith(".") for part in parts):
            continue
        name = "_".join((*parts[:-1], file.stem))
        if (other := found.setdefault(name, file)) != file:
            raise EvaluationError(f"{file}: {other.name} is named for the same image; leave one of them in the folder")
    if not found:
        raise EvaluationError(f"{folder}: holds no images ({', '.join(sorted(datasets.SUFFIXES))})")
    return found


def _targets(dataset: str, task: Task) -> tuple[datasets.Image, ...]:
    """Return the images, named for the degraded ones where the task takes pairs and the dataset holds them."""
    if any(datasets.PAIRS in rule for rule in task.rules.values()):
        try:
            return datasets.load(dataset, pairs=True)
        except datasets.DatasetError as error:
            if str(error) != no_pairs(dataset):
                raise
    return datasets.load(dataset)


def _forms(targets: Sequence[str]) -> dict[str, str]:
    """Return every name that a target goes by: its own, and that without marks where this is its alone."""
    forms = {target: target for target in targets}
    bare = [_bare(target) for target in targets]
    for target, form in zip(targets, bare, strict=True):
        if form and bare.count(form) == 1:
            forms.setdefault(form, target)
    return forms


def _bare(name: str) -> str:
    """Return `baby` of `baby_GT`, `img_001` of `img_001_SRF_4_HR`, and `001` of both `rain-001` and `norain-001`."""
    return SCALE_MARK.sub("", SUFFIX_WORDS.sub("", name)).strip("_-")


def _longest(forms: Mapping[str, str], name: str) -> str | None:
    """Return the target whose longest form this name equals or goes on from, in its own case if possible."""
    best = (-1, False)
    found = None
    for form, target in forms.items():
        for given in dict.fromkeys((name, _bare(name))):
            rest = given[len(form) :]
            goes_on = given.casefold().startswith(form.casefold()) and (not rest or SUFFIX_BEGINS.match(rest))
            rank = (len(form), given.startswith(form))
            if goes_on and rank > best:
                best, found = rank, target
    return found


def _comparable(file: Path, image: datasets.Image, judged: Judgement) -> tuple[np.ndarray, np.ndarray]:
    """Return a restored image and its target as the protocol prepares them, both on the target's depth."""
    from harness.channels import bits_of, units

    target = TASKS[judged.task].prepare_target(image.pixels, judged.setting)
    restored = _with_channels(datasets.read_image(file), target, file, judged)
    if restored.shape != target.shape:
        found, wanted = (f"{height}x{width}" for height, width, _ in (restored.shape, target.shape))
        whole = "x".join(map(str, image.pixels.shape[:2]))
        cut = f", cut from {whole}" if whole != wanted else ""
        raise EvaluationError(
            f"{file}: {found} pixels; the target of {image.name} under {judged.name} has {wanted}{cut}. "
            f"Score restorations at the target's size"
        )
    try:
        prepare = partial(judged.protocol.prepare, bits=bits_of(target))
        return prepare(units(restored)), prepare(units(target))
    except ValueError as error:
        raise EvaluationError(f"{file}: {error}") from None


def _with_channels(
    pixels: UInt[np.ndarray, "H W c"], target: UInt[np.ndarray, "H W C"], file: Path, judged: Judgement
) -> UInt[np.ndarray, "H W C"]:
    """Return a restored image with the target's channels, if nothing is lost or made up thereby."""
    from harness.channels import three_channels

    if pixels.shape[-1] == target.shape[-1]:
        return pixels
    if _is_gray(pixels) and _is_gray(target):
        return pixels[..., :1] if target.shape[-1] == 1 else three_channels(pixels)
    if target.shape[-1] == 1:
        raise EvaluationError(f"{file}: in colour, and {judged.name} judges gray; save the restored gray image")
    raise EvaluationError(f"{file}: gray, and its target has colours; save the restored colour image")


def _is_gray(pixels: UInt[np.ndarray, "H W c"]) -> bool:
    return bool((pixels == pixels[..., :1]).all())


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
