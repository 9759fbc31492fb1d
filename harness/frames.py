"""Results as one pandas table, for questions that no page asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import archive
from harness.store import COLUMNS, ResultStore, tidy

if TYPE_CHECKING:
    import pandas as pd

WHOLE = ("top_k", "window", "image_size", "images", "batch", "tile", "seed", "sample", "threads")
"""Columns of whole numbers, of which some may be missing."""


def frame(place: Path | str) -> pd.DataFrame:
    """Return all samples of a store, or of a file of records, a row each: the columns of `export`.

    `value` is float64 in the unit of `unit`; a row without a number has NaN there, its `status` and the `reason`. Of
    each number the newest record counts. Raises `StoreError` for a place that holds no results.
    """
    import pandas as pd

    found = pd.DataFrame(list(_rows(Path(place))), columns=list(COLUMNS))
    found["value"] = pd.to_numeric(found["value"], errors="coerce").astype("float64")
    for name in WHOLE:
        found[name] = pd.to_numeric(found[name], errors="coerce").astype("Int64")
    return found


def _rows(place: Path) -> Iterator[dict[str, Any]]:
    if place.is_file():
        for key, record in archive.read(place).records.items():
            yield from tidy(key, record.model_dump())
        return
    with ResultStore.open(place, create=False) as store:
        yield from store.rows()
