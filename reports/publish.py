"""From records, or from restored pictures, to a file: picks the plan, builds its page and writes it whole."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from harness.catalog import Catalog
from harness.inputs import mismatches
from harness.record import Record
from harness.restoration import Restoration, Restored, Unrestored
from harness.store import StoredPlan, StoreError, choose_plan
from reports import restored as restored_page
from reports.document import Document
from reports.inputs import with_mismatches
from reports.renderers import html, markdown

PAGES: Catalog[Callable[..., Document]] = Catalog("reports.pages", "build", kind="page")

MARKER = re.compile(r"^<!-- Everything below is written by `nox -s \w+`\. -->$", re.MULTILINE)
"""The line of an experiment's README below which no hand writes."""


class Answers(Protocol):
    """What a report is made of: a store, or a file of records."""

    @property
    def folder(self) -> Path:
        """Its place, for messages and commands."""

    @property
    def artifacts(self) -> Path:
        """The folder of the pictures that records name; one that is missing is said to be."""

    def plans(self) -> list[StoredPlan]:
        """Return its plans, the newest first."""

    def latest(self, keys: Iterable[str] | None = None) -> Mapping[str, Record]:
        """Return the record of each key that has one."""

    def inputs(self) -> Sequence[Record]:
        """Return a record of each cell and each set of degraded images."""


class ReportError(Exception):
    """There is nothing to report, or nowhere to write it; the message says which plans or backends there are."""


def publish(
    store: Answers,
    out: Path,
    *,
    store_name: str = "",
    page: str = "",
    plan: str = "",
    baseline: str | None = None,
) -> Path:
    """Write the report of a plan to `out` and return its path; an older report is replaced at once.

    The suffix of `out` chooses the format: Markdown for `.md`, else HTML. `page` is the plan's own by default, else
    the one of the experiment's name, and `ablation` where there is none.
    `plan` is a spec's digest (its first digits) or an experiment's name; the newest plan by default.
    `store_name` is how the report's commands name the store; the folder's path by default.
    """
    document = _document(store, store_name=store_name, page=page, plan=plan, baseline=baseline)
    _write(out, markdown.render(document) if out.suffix == ".md" else html.render(document, artifact=_artifact(store)))
    return out


def publish_below_marker(
    store: Answers, readme: Path, *, page: str = "", plan: str = "", baseline: str | None = None
) -> Path:
    """Put the tables of a plan in the place of whatever stands below the marker of a README, and return its path."""
    try:
        text = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{readme} cannot be read: {error}; name a text file that has the marker") from None
    if (marker := MARKER.search(text)) is None:
        line = "<!-- Everything below is written by `nox -s answers`. -->"
        raise ReportError(f"{readme} has no marker; write this line where its tables are to begin: {line}")
    tables = markdown.render(_document(store, page=page, plan=plan, baseline=baseline))
    _write(readme, f"{text[: marker.end()]}\n\n{tables}")
    return readme


def publish_restored(
    restoration: Restoration, restored: Sequence[Restored], unrestored: Sequence[Unrestored], out: Path
) -> Path:
    """Write the page of restored pictures to `out`, HTML that needs no other file, and return its path."""
    document, pictures = restored_page.build(restoration, restored, unrestored)
    _write(out, html.render(document, artifact=lambda name: pictures[name]))
    return out


def _document(
    store: Answers, *, store_name: str = "", page: str = "", plan: str = "", baseline: str | None = None
) -> Document:
    try:
        chosen = choose_plan(store.plans(), plan, store.folder)
    except StoreError as error:
        raise ReportError(str(error)) from None
    backends = sorted({entry.cell.backend for entry in chosen.entries})
    if baseline is not None and baseline not in backends:
        raise ReportError(f"no backend '{baseline}' in this plan to compare with; it has: {', '.join(backends)}")
    records = store.latest({entry.key for entry in chosen.entries})
    own = chosen.page or (chosen.name if chosen.name in PAGES else "ablation")
    document = PAGES[page or own](
        records, chosen, artifact=_artifact(store), store_name=store_name or str(store.folder), baseline=baseline
    )
    return with_mismatches(document, mismatches(store.inputs(), touching={entry.cell for entry in chosen.entries}))


def _artifact(store: Answers) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        path = store.artifacts / name
        return path.read_bytes() if path.is_file() else b""

    return read


def _write(out: Path, text: str) -> None:
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(out)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise ReportError(f"{out} cannot be written: {error.strerror}; name a file in a folder of yours") from None
