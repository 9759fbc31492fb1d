"""From what a network's dictionaries keep, to a block: the cells of one picture together, k by k, stage by stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.dictionaries.scene import ROLE, Locality, Scene, SceneError, Seen, decode
from harness.dictionaries.scene import Look as Kept
from harness.record import Measured
from reports.crops import decoded
from reports.document import Area, Block, Dictionary, Look, Picture, Stage, Text, View
from reports.results import Result, arrange, axis_values, in_words, label, value_text, varying

METRIC = "dictionary"
MOST_DRAWN = 128
"""Kept patches of a look that are drawn: those of wider dictionaries are too small to be told apart."""
MOST_KEYS = 6_000
"""Kept patches that a block holds over all of its views: each takes about four bytes of the page."""
_ROLES = ("degraded", "target")
"""Of the pictures that the patches are shown on: what the network was given, and what it was to find."""


@dataclass(frozen=True)
class _Member:
    """A cell with its scene."""

    result: Result
    scene: Scene

    @property
    def picture(self) -> tuple[object, ...]:
        """What cells agree in that show one picture and the same patches."""
        record = self.result.records[METRIC]
        assert record is not None
        scene = self.scene
        return scene.image, record.degraded.get(scene.image, ""), scene.height, scene.width, scene.choices

    @property
    def keys(self) -> int:
        """What its scene adds to a block."""
        return sum(min(len(look.kept), MOST_DRAWN) for seen in self.scene.dictionaries for look in seen.looks)


def dictionaries(results: Sequence[Result], artifact: Callable[[str], bytes] | None, *, anchor: str) -> Iterator[Block]:
    """Yield a block for each picture whose dictionaries were looked at, and words for what cannot be read.

    Cells whose dictionaries are the same to the last patch, as those of several backends, are shown once. Without
    `artifact`, which reads a file of the store, there is nothing to show.
    """
    if artifact is None:
        return
    members: dict[tuple[object, ...], list[_Member]] = {}
    seen: set[str] = set()
    for result in results:
        record = result.records.get(METRIC)
        file = record.artifacts.get(ROLE, "") if record and isinstance(record.outcome, Measured) else ""
        if not file or file in seen:
            continue
        seen.add(file)
        try:
            member = _Member(result, _read(file, artifact))
        except SceneError as error:
            yield Text(text=f"What cell {result.cell.id[:7]} keeps cannot be shown: {error}.", tone="warning")
            continue
        members.setdefault(member.picture, []).append(member)
    for number, group in enumerate(members.values(), 1):
        pictures = _pictures(group[0], results, artifact)
        yield _block(group, results, pictures, f"{anchor}-{METRIC}-{number}")


def _read(file: str, artifact: Callable[[str], bytes]) -> Scene:
    """Return a scene of the store. Raises `SceneError`, which tells a lost and a damaged file from another version."""
    content = artifact(file)
    if not content:
        raise SceneError(f"the file {file[:12]}… is missing from the store")
    try:
        return decode(content)
    except SceneError:
        try:
            json.loads(content)
        except (ValueError, RecursionError):
            raise SceneError(f"the file {file[:12]}… cannot be read, for it is damaged") from None
        raise


def _block(
    members: Sequence[_Member], results: Sequence[Result], pictures: tuple[Picture, ...], anchor: str
) -> Dictionary:
    scenes = {member.result.cell.id: member.scene for member in members}
    shown, left_out = _within_bounds(members)
    axes = varying(member.result for member in shown)
    arranged = arrange([member.result for member in shown], axes)
    values = {axis: axis_values(arranged, axis) for axis in axes}
    views = tuple(
        View(
            at=tuple(values[axis].index(getattr(result.cell, axis)) for axis in axes),
            title=in_words(result.cell, axes),
            stages=tuple(_stage(scenes[result.cell.id], each) for each in scenes[result.cell.id].dictionaries),
        )
        for result in arranged
    )
    scene = members[0].scene
    ks = sorted({scenes[result.cell.id].top_k for result in arranged})
    middle = next(i for i, result in enumerate(arranged) if scenes[result.cell.id].top_k == ks[len(ks) // 2])
    return Dictionary(
        title=f"Which patches are kept: {scene.image}",
        anchor=anchor,
        pictures=pictures,
        width=scene.width,
        height=scene.height,
        patches=tuple("much detail" if choice.kind == "detailed" else "flat" for choice in scene.choices),
        axes=tuple((label(axis), tuple(value_text(axis, value) for value in values[axis])) for axis in axes),
        views=views,
        first=middle,
        notes=(_how_to_read(scene), *_missing(results, left_out)),
    )


def _within_bounds(members: Sequence[_Member]) -> tuple[list[_Member], list[_Member]]:
    """Return the cells that a block can hold, those of the smallest k first and one at least, and the others."""
    ranked = sorted(members, key=lambda member: member.scene.top_k)
    total, bound = 0, 0
    for member in ranked:
        total += member.keys
        if total > MOST_KEYS and bound:
            break
        bound += 1
    kept = {id(member) for member in ranked[:bound]}
    return [m for m in members if id(m) in kept], [m for m in members if id(m) not in kept]


def _pictures(member: _Member, results: Sequence[Result], artifact: Callable[[str], bytes]) -> tuple[Picture, ...]:
    """Find the pictures, of those that are neither lost nor damaged, of any cell that was given the same input."""
    image, of_scene = member.scene.image, member.picture[1]
    found: dict[str, Picture] = {}
    useless: dict[str, str] = {}
    for result in results:
        for record in result.records.values():
            for role in _ROLES:
                file = record.artifacts.get(f"{role}:{image}") if record else None
                if not record or not file or record.degraded.get(image, "") != of_scene:
                    continue
                if role in found or file in useless:
                    continue
                content = artifact(file)
                if decoded(content) is not None:
                    found[role] = Picture(role=role, artifact=file, cell=result.cell.id)
                else:
                    damaged = "the picture cannot be read, for it is damaged"
                    useless[file] = damaged if content else "the picture is missing from the store"
    reason = next(iter(useless.values()), "no picture was kept: the metric pictures keeps them")
    return tuple(found[role] for role in _ROLES if role in found) or (Picture(role=_ROLES[0], reason=reason),)


def _stage(scene: Scene, seen: Seen) -> Stage:
    layers = f"layer{'s' if len(seen.layers) > 1 else ''} {', '.join(map(str, seen.layers))}"
    title = f"stage {seen.stage}" if len(seen.layers) == seen.stage_layers else f"stage {seen.stage} ({layers})"
    near, chance = 100 * seen.locality.nearest, 100 * seen.locality.random_nearest
    return Stage(
        title=title,
        note=f"shifted by {seen.shift}" if seen.shift else "",
        looks=tuple(_look(scene, seen, title, kept) for kept in seen.looks),
        words=f"Over all patches of the picture: {_apart(seen.locality)}; {near:.0f} % of the kept ones are among"
        f" the nearest, {chance:.0f} % of random ones would be.",
    )


def _look(scene: Scene, seen: Seen, title: str, kept: Kept) -> Look:
    side, part = seen.side, kept.part
    possible, count = part.height * part.width, len(kept.kept)
    of = f"k = {scene.top_k} of {possible}" if count == scene.top_k else f"all {count} of its part of a cut window"
    near, chance = count * kept.locality.nearest, count * kept.locality.random_nearest
    outside = sum(row * side >= scene.height or column * side >= scene.width for row, column in kept.kept)
    words = f"{title}, {of}: {_apart(kept.locality)}; {near:.0f} are among the {count} nearest, {chance:.0f} by chance."
    if outside:
        words += f" {outside} lie in the mirrored border."
    if count > MOST_DRAWN:
        words += f" The {MOST_DRAWN} most similar are drawn."
    return Look(
        patch=_area(kept.row, kept.column, 1, 1, side),
        part=_area(part.top, part.left, part.height, part.width, side),
        kept=tuple(_area(row, column, 1, 1, side) for row, column in kept.kept[:MOST_DRAWN]),
        words=words[0].upper() + words[1:],
        short=f"{kept.locality.distance:.1f} patches",
    )


def _apart(locality: Locality) -> str:
    return f"mean distance {locality.distance:.1f} patches, {locality.random_distance:.1f} for random ones"


def _area(top: int, left: int, height: int, width: int, side: int) -> Area:
    return Area(left=left * side, top=top * side, width=width * side, height=height * side)


def _how_to_read(scene: Scene) -> str:
    sides = sorted({seen.side for seen in scene.dictionaries})
    sizes = " or ".join(f"{side} × {side}" if side > 1 else "one" for side in sides)
    pixels = "pixel" if sides == [1] else "pixels"
    return (
        f"A patch is a token of the network, {sizes} {pixels} of the picture; numbers mark those to choose from."
        " Coloured are the patches whose keys the chosen one attends to, as the dictionary of each stage says: the"
        " stronger, the more similar. They are taken from its window, which is framed."
    )


def _missing(results: Sequence[Result], left_out: Sequence[_Member]) -> Iterator[str]:
    """Say which cells show nothing, and why."""
    asked = [result for result in results if METRIC in result.records]
    axes = varying(asked)
    reasons: dict[str, list[str]] = {}
    for result in asked:
        if not result.measurements(METRIC):
            reasons.setdefault(result.why_not(METRIC), []).append(in_words(result.cell, axes))
    for member in left_out:
        reasons.setdefault("the page would grow too large", []).append(in_words(member.result.cell, axes))
    for reason, cells in reasons.items():
        yield f"Not shown: {'; '.join(cells)}, because {reason}."
