"""One scene as several methods restore it: the pictures of a qualitative comparison, from the cells that kept them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from harness.record import Measurement
from reports.crops import busiest_box
from reports.document import Comparison, Picture
from reports.names import Names
from reports.results import Result, number_text, value_text

_METHOD = ("model", "weights")
"""What makes two cells two methods; of one method's cells the one with the highest mean PSNR stands for it."""


def images(results: Sequence[Result]) -> list[str]:
    """Return the names of the images of which a restored picture was kept."""
    roles = (role for result in results for role in result.artifacts())
    return list(dict.fromkeys(role.partition(":")[2] for role in roles if role.startswith("restored:")))


def scenes(
    results: Sequence[Result], image: str, *, names: Names, artifact: Callable[[str], bytes]
) -> dict[str, Comparison]:
    """Return the scene of an image for each task and setting that has it: target, input, then the methods.

    A method is called by its model, and its weights where one model has several; `names` may call it otherwise. The
    detail is where the target varies most. Methods follow each other from the lowest PSNR of this image to the highest.
    """
    found: dict[str, Comparison] = {}
    asked = {(each.cell.task, each.cell.setting, each.cell.dataset): None for each in results}
    for task, setting, dataset in asked:
        own = [
            each
            for each in results
            if (each.cell.task, each.cell.setting, each.cell.dataset) == (task, setting, dataset)
            and f"restored:{image}" in each.artifacts()
        ]
        if own:
            title = " ".join((task, setting, dataset))
            found[title] = _scene(title, own, image, names, artifact)
    return found


def _scene(
    title: str, results: Sequence[Result], image: str, names: Names, artifact: Callable[[str], bytes]
) -> Comparison:
    best: dict[tuple[str, ...], Result] = {}
    for result in results:
        method = tuple(getattr(result.cell, axis) for axis in _METHOD)
        if method not in best or _mean(result) > _mean(best[method]):
            best[method] = result
    several = {model for model, _ in best if sum(other == model for other, _ in best) > 1}
    chosen = sorted(best.values(), key=lambda each: _of(each.measurement("psnr", "psnr"), image) or 0.0)
    files = chosen[0].artifacts()
    pictures = [
        _picture("ground truth", chosen[0], files.get(f"target:{image}", ""), None),
        _picture(
            "input",
            chosen[0],
            files.get(f"degraded:{image}", ""),
            _of(chosen[0].measurement("degraded", "degraded.psnr"), image),
        ),
    ]
    pictures += [
        _picture(
            _called(each, names, with_weights=each.cell.model in several),
            each,
            each.artifacts()[f"restored:{image}"],
            _of(each.measurement("psnr", "psnr"), image),
        )
        for each in chosen
    ]
    content = artifact(pictures[0].artifact) if pictures[0].artifact else b""
    return Comparison(title=title, pictures=tuple(pictures), crop=busiest_box(content) if content else None)


def _picture(role: str, result: Result, file: str, psnr: float | None) -> Picture:
    caption = "" if psnr is None else f"{number_text(psnr)} dB"
    return Picture(role=role, artifact=file, caption=caption, cell=result.cell.id)


def _called(result: Result, names: Names, *, with_weights: bool) -> str:
    said = [names.get(axis, {}).get(getattr(result.cell, axis)) for axis in ("weights", "model")]
    if name := next(filter(None, said), None):
        return name
    return f"{result.cell.model}, {value_text('weights', result.cell.weights)}" if with_weights else result.cell.model


def _mean(result: Result) -> float:
    found = result.measurement("psnr", "psnr")
    return fmean(found.samples) if found else 0.0


def _of(found: Measurement | None, image: str) -> float | None:
    return dict(zip(found.labels, found.samples, strict=False)).get(image) if found else None
