"""Which weights a cell means, and why it has none, without torch."""

from __future__ import annotations

from harness.catalog import suggest
from harness.catalogs import MODELS
from harness.record import Cell
from semanir.weights import Card, cards


def card_of(cell: Cell) -> Card | None:
    """Return the weights that a cell names; None where it names none that exist and fit."""
    if cell.weights != "shipped":
        named = cards().get(cell.weights)
        return named if named and (named.model, named.task) == (cell.model, cell.task) else None
    wanted = (cell.model, cell.task, cell.setting)
    return next((card for card in cards().values() if (card.model, card.task, card.setting) == wanted), None)


def missing(cell: Cell) -> str | None:
    """Return the reason why a cell cannot restore anything, or None. A model without weights needs none."""
    if "weights" not in MODELS[cell.model.partition("/")[0]].uses or card_of(cell):
        return None
    if cell.weights in ("none", "shipped"):
        return "no weights"
    if cell.weights in cards():
        card = cards()[cell.weights]
        return f"weights '{cell.weights}' belong to {card.model} for {card.task}"
    return f"no weights named '{cell.weights}'.{suggest(cell.weights, list(cards()))}"
