"""One scene as several methods restore it: the pictures of a qualitative comparison, from the cells that kept them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from harness.record import Measurement
from reports.crops import busiest_box
from reports.document import Comparison, Picture
from reports.names import Names
from reports.results import JUDGED, Result, in_words, judged_on, number_text, value_text, varying

_METHOD = ("model", "weights")
"""What makes two cells two methods; of one method's cells the one with the highest mean PSNR stands for it."""
_NAMED = ("task", "setting", "dataset")
"""Of the axes that cells are judged on those that name every scene."""


def images(results: Sequence[Result]) -> list[str]:
    """Return the names of the images of which a restored picture was kept."""
    roles = (role for result in results for role in result.artifacts())
    return list(dict.fromkeys(role.partition(":")[2] for role in roles if role.startswith("restored:")))


def scenes(
    results: Sequence[Result], image: str, *, names: Names, artifact: Callable[[str], bytes]
) -> dict[str, Comparison]:
    """Return the scenes of an image, one for each set of images that cells are judged on: target, input, methods.

    A scene is called by its task, setting and dataset, and by what else tells it from others of these. A method is
    called by its model, and its weights where one model has several; `names` may call it otherwise. The detail is where
    the target varies most. Methods follow each other from the lowest PSNR of this image to the highest.
    """
    found: dict[str, Comparison] = {}
    named: dict[tuple[str, ...], list[Result]] = {}
    for each in results:
        named.setdefault(tuple(getattr(each.cell, axis) for axis in _NAMED), []).append(each)
    for name, members in named.items():
        where = [axis for axis in JUDGED if axis in varying(members)]
        judged: dict[object, list[Result]] = {}
        for each in members:
            if f"restored:{image}" in each.artifacts():
                judged.setdefault(judged_on(each), []).append(each)
        for own in judged.values():
            title = " ".join(name)
            if where:
                title += f" ({in_words(own[0].cell, where)})"
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
