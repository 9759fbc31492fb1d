"""The page of restored pictures: each before and after, and the network that made the difference."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO

import numpy as np
from jaxtyping import UInt
from PIL import Image

from harness.channels import to_8_bits
from harness.datasets.pictures import profile_of, read_image
from harness.restoration import Restoration, Restored, Unrestored
from reports.crops import busiest_box
from reports.document import Badge, Block, Box, Document, Facts, Picture, Section, Slider, Sliders, Text
from reports.results import counted

_WHOLE = 640
"""Pixels: the longer side at which a whole picture is shown at most."""
_DETAIL = 192
"""Pixels of the restored picture: the side of a detail."""
_STEP = 12
"""Details begin at multiples of this and their side is one: whole pixels also of inputs 2, 3 or 4 times smaller."""

_TIMES = "Seconds are those of restoring alone, with whatever else this machine had to do: no benchmark."


def build(
    restoration: Restoration, restored: Sequence[Restored], unrestored: Sequence[Unrestored]
) -> tuple[Document, Mapping[str, bytes]]:
    """Return the page and its pictures by name, on 8 bits: wholes reduced, one detail of each at full size.

    Sources and restored files are read again, one pair at a time. Raises `DatasetError` where one is gone or damaged.
    """
    pictures: dict[str, bytes] = {}
    card = restoration.weights.card
    shown = tuple(_scene(restoration, picture, f"{number}", pictures) for number, picture in enumerate(restored))
    sections = [Section(title="Pictures", anchor="pictures", blocks=(*shown, Text(text=_TIMES, tone="note")))]
    if unrestored:
        reasons = tuple(Text(text=_without_folder(picture), tone="warning") for picture in unrestored)
        sections.append(Section(title="Not restored", anchor="failures", blocks=reasons))
    sections.append(Section(title="Network", anchor="network", blocks=tuple(_network(restoration))))
    badges = [Badge(text=f"{len(restored)} restored", state="measured", anchor="pictures")]
    if unrestored:
        badges.append(Badge(text=f"{len(unrestored)} failed", state="failed", anchor="failures"))
    said = Text(text="Pictures were taken as they are: nothing was added to them. Drag across one to compare.")
    document = Document(
        title=f"{counted(len(restored), 'picture')} restored: {card.task} {card.setting}",
        kicker="restored pictures",
        badges=tuple(badges),
        lead=(said,),
        sections=tuple(sections),
    )
    return document, pictures


def _scene(restoration: Restoration, picture: Restored, name: str, pictures: dict[str, bytes]) -> Sliders:
    """Put the views of one picture beside the others', and return where they stand."""
    before, after = (_image(read_image(file)) for file in (picture.source, picture.file))
    profile = profile_of(picture.source)
    whole = tuple(_png(_reduced(image), profile) for image in (before, after))
    detail = _detail(after, whole[1])
    views = [("whole", whole, "", detail)]
    if detail is not None:
        cut = tuple(_png(_cut(image, detail), profile) for image in (before, after))
        views.append(("detail", cut, "The framed detail, pixel by pixel.", None))
    sliders = []
    for view, contents, caption, frame in views:
        roles = []
        for role, content in zip(("before", "restored"), contents, strict=True):
            artifact = f"{name}:{view}:{role}"
            pictures[artifact] = content
            roles.append(Picture(role=role, artifact=artifact, caption=caption))
        sliders.append(Slider(before=roles[0], after=roles[1], frame=frame))
    return Sliders(title=picture.source.name, sliders=tuple(sliders), caption=_caption(restoration, picture))


def _caption(restoration: Restoration, picture: Restored) -> str:
    scale = restoration.weights.card.scale
    size = f"{picture.width} × {picture.height} pixels"
    size += f", restored to {scale * picture.width} × {scale * picture.height}" if scale > 1 else ""
    colour = "gray" if picture.channels == 1 else "colour"
    note = restoration.channels_note(picture.channels)
    parts = (size, colour, f"{picture.bits} bits", f"{picture.seconds:.1f} s", note)
    return f"{' · '.join(part for part in parts if part)} → {picture.file.name}"


def _without_folder(picture: Unrestored) -> str:
    """Return the reason; a page may be handed on, and folders would name a person or a machine."""
    return picture.reason.replace(f"{picture.source.parent}{os.sep}", "")


def _image(pixels: UInt[np.ndarray, "H W C"]) -> Image.Image:
    shown = to_8_bits(pixels)
    return Image.fromarray(shown[..., 0] if shown.shape[-1] == 1 else np.ascontiguousarray(shown))


def _reduced(image: Image.Image) -> Image.Image:
    small = image.copy()
    small.thumbnail((_WHOLE, _WHOLE), Image.Resampling.LANCZOS)
    return small


def _detail(image: Image.Image, whole: bytes) -> Box | None:
    """Return the detail around the middle of where a picture varies most; None of one that is not much larger."""
    width, height = image.size
    if min(width, height) < 2 * _DETAIL or (busiest := busiest_box(whole)) is None:
        return None
    centre = ((busiest.left + busiest.right) * width / 2, (busiest.top + busiest.bottom) * height / 2)
    left, top = (
        int(min(max(middle - _DETAIL / 2, 0), side - _DETAIL)) // _STEP * _STEP
        for middle, side in zip(centre, (width, height), strict=True)
    )
    return Box(left=left / width, top=top / height, right=(left + _DETAIL) / width, bottom=(top + _DETAIL) / height)


def _cut(image: Image.Image, box: Box) -> Image.Image:
    width, height = image.size
    left, top, right, bottom = (
        round(edge) for edge in (box.left * width, box.top * height, box.right * width, box.bottom * height)
    )
    return image.crop((left, top, right, bottom))


def _png(image: Image.Image, profile: bytes) -> bytes:
    file = BytesIO()
    image.save(file, "PNG", optimize=True, icc_profile=profile or None)
    return file.getvalue()


def _network(restoration: Restoration) -> Iterator[Block]:
    """Yield what was applied, and what its card says of where it comes from."""
    card = restoration.weights.card
    applied = [
        ("weights", f"{card.name}, sha256 {card.sha256[:12]}"),
        ("network", f"{card.model}, for {'gray' if card.channels == 1 else 'colour'}"),
        ("task", f"{card.task} {card.setting}"),
        ("window", f"{restoration.window} tokens a side" if restoration.window else "its own"),
        ("k", f"{restoration.top_k} keys a query" if restoration.top_k else "every key"),
        ("attention", restoration.backend),
    ]
    yield Facts(items=tuple(applied))
    told = [
        ("trained on", _data(card.training.get("data"))),
        ("licence", card.training.get("licence")),
        ("judged", _judged(card.training.get("validation"))),
        ("machine", card.training.get("machine")),
        ("commit", card.training.get("commit")),
    ]
    known = tuple((name, str(value)) for name, value in told if value)
    if known:
        yield Facts(items=known)
    else:
        yield Text(text="The card says nothing of how these weights were trained.", tone="warning")


def _data(data: object) -> str:
    """Put a card's training data in words: a sentence, or an entry for each source."""
    return "; ".join(map(_source, data)) if isinstance(data, list) else str(data or "")


def _source(source: object) -> str:
    match source:
        case {"name": name, "images": images, "source": origin}:
            return f"{name}, {images} images, {origin}"
        case _:
            return str(source)


def _judged(validation: object) -> str:
    match validation:
        case {"psnr_db": psnr_db, "set": name, "images": images, "window": window, "top_k": top_k}:
            with_what = f", window {window}, k {top_k}" if window else ""
            return f"{psnr_db} dB, mean of {images} images: {name}{with_what}"
        case _:
            return str(validation or "")
