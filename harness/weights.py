"""Which weights a cell means, and why it has none, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.catalog import suggest
from harness.catalogs import MODELS
from harness.material import needs_h5py, sha256_of
from harness.record import Cell
from semanir.model import Model
from semanir.weights import Card, cards

FOLDER = "weights"
"""Of the data root: where weights of third parties are looked for."""


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """Weights as other people published them: a file that the model itself reads."""

    name: str
    """Path below the data root's folder `weights`, as in `DnCNN-S/sigma=25.mat`."""
    file: Path
    sha256: str
    """Of the file as it is here."""


def card_of(cell: Cell) -> Card | Foreign | None:
    """Return the weights that a cell names; None where it names none that exist and fit."""
    if cell.weights == "shipped":
        wanted = (cell.model, cell.task, cell.setting)
        return next((card for card in cards().values() if (card.model, card.task, card.setting) == wanted), None)
    if named := cards().get(cell.weights):
        return named if (named.model, named.task) == (cell.model, cell.task) else None
    if not _is_path(cell.weights) or _unreadable(cell) is not None:
        return None
    file = foreign_folder() / cell.weights
    return Foreign(name=cell.weights, file=file, sha256=sha256_of(file))


def missing(cell: Cell) -> str | None:
    """Return the reason why a cell cannot restore anything, or None. A model without weights needs none."""
    if "weights" not in _model(cell).uses or card_of(cell):
        return None
    if cell.weights in ("none", "shipped"):
        return "no weights"
    if cell.weights in cards():
        card = cards()[cell.weights]
        return f"weights '{cell.weights}' belong to {card.model} for {card.task}"
    if _is_path(cell.weights):
        return _unreadable(cell)
    return f"no weights named '{cell.weights}'.{suggest(cell.weights, list(cards()))}"


def unknown(name: str) -> str | None:
    """Return what is wrong with a name that means no weights on any machine, or None.

    A path may lead to a file on another one, so here its absence is a reason to skip a cell and no mistake.
    """
    if name in ("none", "shipped") or name in cards() or _is_path(name):
        return None
    known = ["none", "shipped", *cards()]
    remedy = f"a file of the data root's folder '{FOLDER}' is named with its suffix, and what is yet to be trained is"
    return f"no weights named '{name}'.{suggest(name, known)} It has: {', '.join(known)}; {remedy} listed as `awaited`"


def foreign_folder() -> Path:
    """Return the folder that holds weights of third parties."""
    from harness import datasets

    return datasets.data_root() / FOLDER


def _is_path(name: str) -> bool:
    """Weights of third parties have a suffix; names of our own have none."""
    return PurePosixPath(name).suffix != ""


def _unreadable(cell: Cell) -> str | None:
    """Return the reason why a file of third parties cannot be used, or None. Records keep it: it names no folder."""
    family, name = cell.model.partition("/")[0], cell.weights
    formats = _model(cell).formats
    if not formats:
        return f"{family} reads no weights of third parties, so not '{name}'; write `shipped` or a name of our own"
    if PurePosixPath(name).suffix not in formats:
        return f"{family} reads {' and '.join(formats)} files; '{name}' is none"
    folder = foreign_folder()
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        return f"weights '{name}' lead out of the data root's folder '{FOLDER}'; write a path inside it"
    if not file.is_file():
        here = [found.relative_to(folder).as_posix() for found in sorted(folder.glob("**/*")) if found.is_file()]
        place = f"it is looked for in $SEMANIR_DATA/{FOLDER}, else in the user's data directory"
        return f"no file '{name}': {place}.{suggest(name, here)}"
    return needs_h5py(file, name)


def _model(cell: Cell) -> Model:
    return MODELS[cell.model.partition("/")[0]]
