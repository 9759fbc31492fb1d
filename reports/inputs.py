"""Puts into any page what a reader has to know first: images that its cells saw degraded in different ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.inputs import SHOWN_DIGITS, Mismatch, Variant
from reports.document import Badge, Block, Column, Document, Entry, Group, Row, Section, Table, Text
from reports.results import counted

_ANCHOR = "inputs"
_COLUMNS = (
    Column(label="image"),
    Column(label="degradation"),
    Column(label="degraded pixels", hint="the first digits of their sha256"),
    Column(label="cells"),
    Column(label="what differs", hint="versions of software and commits that are not the same for all of these"),
)


def with_mismatches(document: Document, mismatches: Sequence[Mismatch]) -> Document:
    """Return the document with a warning, a badge and a section that names each image; itself where there are none."""
    if not mismatches:
        return document
    images = counted(len(mismatches), "image")
    warning = Text(
        text=f"{images} that records claim to have degraded alike differ between them: compare no quality across"
        " these cells before they are measured again with the same software.",
        tone="warning",
    )
    groups = tuple(Group(rows=tuple(_row(each, variant) for variant in each.variants)) for each in mismatches)
    table = Table(caption="Inputs that should be one", columns=_COLUMNS, groups=groups, stubs=2)
    blocks: tuple[Block, ...] = (warning, table)
    return replace(
        document,
        badges=(*document.badges, Badge(text=f"{len(mismatches)} unlike inputs", state="failed", anchor=_ANCHOR)),
        lead=(*document.lead, warning),
        sections=(*document.sections, Section(title="Unlike inputs", anchor=_ANCHOR, blocks=blocks)),
    )


def _row(mismatch: Mismatch, variant: Variant) -> Row:
    asked = ", ".join(f"{axis} {value}" for axis, value in mismatch.degradation.items() if value is not None)
    versions = [f"{name} {' or '.join(variant.software.get(name, ('unknown',)))}" for name in mismatch.differing]
    return Row(
        entries=(
            Entry(text=mismatch.image),
            Entry(text=asked),
            Entry(text=variant.digest[:SHOWN_DIGITS], detail=variant.digest),
            Entry(text=", ".join(cell[:SHOWN_DIGITS] for cell in variant.cells)),
            Entry(text=", ".join(versions) or "nothing that a record holds"),
        )
    )
