"""From a store to a file: picks the plan, builds its page and writes it whole."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.catalog import Catalog
from harness.store import ResultStore, StoredPlan
from reports.document import Document
from reports.renderers.html import render

PAGES: Catalog[Callable[..., Document]] = Catalog("reports.pages", "build", kind="page")


class NothingToReportError(LookupError):
    """The store holds no plan, or not the one asked for; the message says which it has."""


def publish(
    store: ResultStore,
    out: Path,
    *,
    store_name: str = "",
    page: str = "ablation",
    plan: str = "",
    baseline: str | None = None,
) -> Path:
    """Write the report of a store's plan to `out` and return its path; an older report is replaced at once.

    `plan` is a spec's digest (its first digits) or an experiment's name; the newest plan by default.
    `store_name` is how the report's commands name the store; the folder's path by default.
    """
    chosen = _choose(store.plans(), plan, store.folder)
    records = store.latest({entry.key for entry in chosen.entries})

    def artifact(name: str) -> bytes:
        path = store.artifacts / name
        return path.read_bytes() if path.is_file() else b""

    document = PAGES[page](
        records, chosen, artifact=artifact, store_name=store_name or str(store.folder), baseline=baseline
    )
    _write(out, render(document, artifact=artifact))
    return out


def _choose(plans: list[StoredPlan], wanted: str, folder: Path) -> StoredPlan:
    for plan in plans:
        if not wanted or plan.digest.startswith(wanted) or plan.name == wanted:
            return plan
    if not plans:
        raise NothingToReportError(f"{folder} holds no plan yet; `semanir-bench run SPEC --out {folder}` stores one")
    names = ", ".join(f"{plan.name} ({plan.digest[:7]})" for plan in plans)
    raise NothingToReportError(f"{folder} holds no plan '{wanted}'; it has: {names}")


def _write(out: Path, text: str) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=out.parent, delete=False) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(out)
