"""What the numbers of one operator are called, for who writes them and who reads them. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from harness.catalogs import MODELS
from harness.record import Cell

Variant = Literal["plain", "bias", "sparse"]
"""Scores alone, with a position bias on them, or with AST's second branch beside the softmax."""
Kind = Literal["hot", "cold", "host", "memory", "reserved", "spent", "useful", "error", "repeatable", "parts"]
"""`hot` and `cold`: ms a call, the caches as the call before left them or flushed. `host`: ms until a call is launched.
`memory` and `reserved`: MiB above inputs and results, of tensors and of the allocator. `spent` and `useful`: FLOP by
formula. `error`: relative, of the worst window, a sample a tensor. `repeatable`: 1 where two calls gave the same bits.
`parts`: calls that do all windows."""

SIZES = ("windows", "heads", "tokens", "head_dim", "top_k")
"""Measurements `workload.<size>` of every record."""
YARDSTICK = "yardstick"
"""A contender that does the same in every cell, so that cells can be compared: a product of two square matrices."""
YARDSTICK_SIDE = 512
FLOOR = "floor"
"""The quantity that moves as many bytes as q, k, v and the output hold, and computes nothing."""


@dataclass(frozen=True)
class Quantity:
    """Something that every contender does: a forward, or the gradients of some tensors."""

    name: str
    gradients: tuple[str, ...] = ()
    """Of which tensors, after an untimed forward; empty for a forward."""


_TOKENS = ("q", "k", "v")
QUANTITIES: Mapping[Variant, tuple[Quantity, ...]] = {
    "plain": (Quantity("forward"), Quantity("backward", _TOKENS)),
    "bias": (
        Quantity("bias.forward"),
        Quantity("bias.backward", _TOKENS),
        Quantity("bias.backward_with_table", (*_TOKENS, "table")),
    ),
    "sparse": (Quantity("sparse.forward"), Quantity("sparse.backward", _TOKENS)),
}


@dataclass(frozen=True)
class Name:
    """The name of a measurement, as in `bias.forward.hot.mask`."""

    quantity: str
    kind: Kind
    contender: str

    def __str__(self) -> str:
        return f"{self.quantity}.{self.kind}.{self.contender}"


def parse(text: str) -> Name | None:
    """Undo `str(name)`; None for a measurement that belongs to no contender."""
    quantity, kind, contender = ("", "", *text.rsplit(".", 2))[-3:]
    return Name(quantity, kind, contender) if quantity and kind in get_args(Kind) else None  # type: ignore[arg-type]


def absence(quantity: str, contender: str, reason: str) -> str:
    """Return the note that says why a contender has no times."""
    return f"{quantity}.{contender}: {reason}"


def reasons(notes: tuple[str, ...]) -> dict[tuple[str, str], str]:
    """Undo `absence` for all notes: quantity and contender to reason."""
    found = {}
    for note in notes:
        subject, colon, reason = note.partition(": ")
        quantity, dot, contender = subject.rpartition(".")
        if colon and dot:
            found[quantity, contender] = reason
    return found


def unsupported(cell: Cell) -> str | None:
    """Return why a cell gives no workload, or None."""
    if cell.backend == "none" or "top_k" not in MODELS[cell.model.partition("/")[0]].uses:
        return "no dictionary"
    if cell.top_k is None:
        return "every key is kept: name a top_k"
    if cell.image_size is None:
        return "the images of a batch are of one size: name an image_size"
    return None
