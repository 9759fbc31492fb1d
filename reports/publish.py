"""From a store, or from restored pictures, to a file: picks the plan, builds its page and writes it whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from harness.catalog import Catalog
from harness.inputs import mismatches
from harness.restoration import Restoration, Restored, Unrestored
from harness.store import ResultStore, StoredPlan
from reports import restored as restored_page
from reports.document import Document
from reports.inputs import with_mismatches
from reports.renderers import html, markdown

PAGES: Catalog[Callable[..., Document]] = Catalog("reports.pages", "build", kind="page")


class ReportError(Exception):
    """There is nothing to report, or nowhere to write it; the message says which plans or backends there are."""


def publish(
    store: ResultStore,
    out: Path,
    *,
    store_name: str = "",
    page: str = "",
    plan: str = "",
    baseline: str | None = None,
) -> Path:
    """Write the report of a store's plan to `out` and return its path; an older report is replaced at once.

    The suffix of `out` chooses the format: Markdown for `.md`, else HTML. `page` is the experiment's own by
    default, the one of its name, and `ablation` where there is none.
    `plan` is a spec's digest (its first digits) or an experiment's name; the newest plan by default.
    `store_name` is how the report's commands name the store; the folder's path by default.
    """
    chosen = _choose(store.plans(), plan, store.folder)
    backends = sorted({entry.cell.backend for entry in chosen.entries})
    if baseline is not None and baseline not in backends:
        raise ReportError(f"no backend '{baseline}' in this plan to compare with; it has: {', '.join(backends)}")
    records = store.latest({entry.key for entry in chosen.entries})

    def artifact(name: str) -> bytes:
        path = store.artifacts / name
        return path.read_bytes() if path.is_file() else b""

    document = PAGES[page or (chosen.name if chosen.name in PAGES else "ablation")](
        records, chosen, artifact=artifact, store_name=store_name or str(store.folder), baseline=baseline
    )
    document = with_mismatches(document, mismatches(store.inputs(), touching={entry.cell for entry in chosen.entries}))
    _write(out, markdown.render(document) if out.suffix == ".md" else html.render(document, artifact=artifact))
    return out


def publish_restored(
    restoration: Restoration, restored: Sequence[Restored], unrestored: Sequence[Unrestored], out: Path
) -> Path:
    """Write the page of restored pictures to `out`, HTML that needs no other file, and return its path."""
    document, pictures = restored_page.build(restoration, restored, unrestored)
    _write(out, html.render(document, artifact=lambda name: pictures[name]))
    return out


def _choose(plans: list[StoredPlan], wanted: str, folder: Path) -> StoredPlan:
    for plan in plans:
        if not wanted or plan.digest.startswith(wanted) or plan.name == wanted:
            return plan
    if not plans:
        raise ReportError(f"{folder} holds no plan yet; `semanir-bench run SPEC --out {folder}` stores one")
    names = ", ".join(f"{plan.name} ({plan.digest[:7]})" for plan in plans)
    raise ReportError(f"{folder} holds no plan '{wanted}'; it has: {names}")


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
