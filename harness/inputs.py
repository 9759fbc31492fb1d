"""Whether records that claim one degradation were measured on one input: their digests of it, compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.record import Cell, Record

DECIDING = ("task", "setting", "dataset", "image_size", "seed")
"""Axes that decide, with an image's name, every bit of its degraded pixels. The scale is part of the setting, and
how many images a cell takes changes none of them."""
SHOWN_DIGITS = 8
SHOWN_CELLS = 4


@dataclass(frozen=True)
class Variant:
    """One of the different inputs, and who was given it."""

    digest: str
    """sha256 of the degraded pixels."""
    cells: tuple[str, ...]
    """Ids, in the order of the records."""
    software: Mapping[str, tuple[str, ...]]
    """Of all its records: distribution name to versions in order, `python` and `commit` among them."""


@dataclass(frozen=True)
class Mismatch:
    """An image that was degraded in several ways where there is one."""

    image: str
    degradation: Mapping[str, object]
    """The axes in `DECIDING`."""
    variants: tuple[Variant, ...]
    """Two or more, the one that most cells were given first."""

    @property
    def differing(self) -> tuple[str, ...]:
        """Names of the software whose version is not the same for all variants."""
        names = dict.fromkeys(name for variant in self.variants for name in variant.software)
        return tuple(name for name in names if len({variant.software.get(name) for variant in self.variants}) > 1)

    @property
    def words(self) -> str:
        """The mismatch in a sentence: the image, each digest with its cells, and the versions that differ."""
        asked = ", ".join(
            f"{axis} {value}" for axis, value in self.degradation.items() if axis != "task" and value is not None
        )
        said = "; ".join(self._said(variant) for variant in self.variants)
        same = "" if self.differing else "; versions and commit are the same"
        return f"{self.image} of {self.degradation['task']} ({asked}) differs between records: {said}{same}"

    def _said(self, variant: Variant) -> str:
        more = len(variant.cells) - SHOWN_CELLS
        cells = ", ".join(cell[:SHOWN_DIGITS] for cell in variant.cells[:SHOWN_CELLS])
        cells += f" and {more} more" if more > 0 else ""
        versions = [f"{name} {' or '.join(variant.software.get(name, ('unknown',)))}" for name in self.differing]
        under = f", {', '.join(versions)}" if versions else ""
        return f"{variant.digest[:SHOWN_DIGITS]} in cell{'s' if len(variant.cells) > 1 else ''} {cells}{under}"


def mismatches(records: Iterable[Record], *, touching: Iterable[Cell] | None = None) -> tuple[Mismatch, ...]:
    """Return every image of which records that claim the same degradation hold different digests.

    With `touching`, only those that one of these cells was measured on.
    """
    claims: dict[tuple[tuple[object, ...], str], dict[str, list[Record]]] = {}
    for record in records:
        asked = tuple(getattr(record.cell, axis) for axis in DECIDING)
        for image, digest in record.degraded.items():
            claims.setdefault((asked, image), {}).setdefault(digest, []).append(record)
    looked_at = None if touching is None else {cell.id for cell in touching}
    found = []
    for (asked, image), by_digest in claims.items():
        if len(by_digest) < 2:
            continue
        variants = sorted(
            (_variant(digest, members) for digest, members in by_digest.items()),
            key=lambda variant: (-len(variant.cells), variant.digest),
        )
        if looked_at is None or any(looked_at.intersection(variant.cells) for variant in variants):
            found.append(Mismatch(image, dict(zip(DECIDING, asked, strict=True)), tuple(variants)))
    return tuple(found)


def _variant(digest: str, records: list[Record]) -> Variant:
    software: dict[str, set[str]] = {}
    for record in records:
        state = f"{record.commit[:10]}{' (dirty)' if record.dirty else ''}"
        versions = {"python": record.environment.python, **record.environment.versions, "commit": state}
        for name, version in versions.items():
            software.setdefault(name, set()).add(version)
    return Variant(
        digest=digest,
        cells=tuple(dict.fromkeys(record.cell.id for record in records)),
        software={name: tuple(sorted(versions)) for name, versions in software.items()},
    )
