"""Counts what tiles of queries would visit: a network restores its images, and its dictionaries are looked at.

Shapes: W windows, N tokens in a window (queries), M keys of a window, T tiles of a window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor
from torch.nn import functional

from harness.inference import restorer
from harness.record import Measurement
from harness.trial import Pair, Trial
from harness.unions.names import (
    ACCESSES,
    LOCAL,
    RANDOM,
    SHIFTED,
    TOKENS,
    Access,
    Name,
    Order,
    Statistic,
    random_share,
    tiles_of,
)
from semanir.attention.dictionary import KeyDictionary, select
from semanir.attention.regions import region_ids
from semanir.attention.signature import Attend

Shares = dict[Name, Float64[Tensor, " _"]]
"""For each name (of the mean) one share a window, the mean of its tiles."""
PAIRS = 2**26
"""Pairs of queries and keys that are looked at together: each is a byte in several copies."""
QUANTILES: Mapping[Statistic, float] = {"q10": 0.1, "q90": 0.9}


@dataclass
class Spy:
    """An attention that lets another one work and counts every dictionary that it is handed, once.

    Of shifted windows only those are counted that the shift does not cut: regions would shorten the unions of the
    others, the more the smaller the image is.
    """

    attend: Attend
    counted: list[Shares] = field(default_factory=list)
    """Windows of a dictionary in one call of the network each."""
    tokens: int = 0
    """N."""
    _seen: list[KeyDictionary] = field(default_factory=list)

    def begin(self) -> None:
        """Number the dictionaries of another call of the network from 1 again."""
        self._seen.clear()

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, kept: KeyDictionary | None, **options: Any) -> Tensor:
        """Attend; a call that keeps every key has no dictionary, and is not counted."""
        if kept is not None and all(kept is not other for other in self._seen):
            self._seen.append(kept)
            self.tokens = kept.tokens
            self._count(kept.form("boolean"), f"{len(self._seen)}")
        return self.attend(q, k, v, kept, **options)

    def _count(self, kept: Bool[Tensor, "W N N"], source: str) -> None:
        parts = kept.split(max(1, PAIRS // kept.shape[-1] ** 2))
        cuts = [cut(part) for part in parts]
        shifted = bool(cuts[-1][0][-1] and cuts[-1][1][-1])
        for part, (across, down) in zip(parts, cuts, strict=True):
            whole = part[~(across | down)] if shifted else part
            if len(whole):
                self.counted.append(count(whole, f"{source}{SHIFTED}" if shifted else source))


def measurements(trial: Trial) -> tuple[Measurement, ...]:
    """Return the shares of every dictionary, a sample an image, and those of the two rules beside them.

    Raises `ValueError` where no call of the network had a dictionary.
    """
    found: dict[Name, dict[str, float]] = {}
    tokens = 0
    for pair, spy in _restored(trial):
        tokens = spy.tokens
        for name, share in _of_image(spy.counted).items():
            found.setdefault(name, {})[pair.name] = share
    top_k = trial.cell.top_k
    if not found or top_k is None:
        raise ValueError(f"cell {trial.cell.id}: no attention of {trial.cell.model} had a dictionary to count")
    shares = {str(name): (tuple(of.values()), tuple(of)) for name, of in found.items()}
    shares |= {str(name): ((share,), ()) for name, share in beside(tokens, top_k).items()}
    return (
        Measurement(name=TOKENS, unit="tokens", samples=(float(tokens),)),
        *(Measurement(name=name, unit="1", samples=each, labels=labels) for name, (each, labels) in shares.items()),
    )


def count(kept: Bool[Tensor, "W N M"], source: str) -> Shares:
    """Return the share of a window's keys that a tile visits, for both orders, all tiles and all ways to visit."""
    places = morton(math.isqrt(kept.shape[1])).to(kept.device)
    orders: Mapping[Order, Tensor] = {"rows": kept, "patches": kept[:, places][:, :, places]}
    return {
        Name(source, order, queries, access, keys): visited(union_WTM, access, keys)
        for order, kept_in_order in orders.items()
        for queries, union_WTM in unions(kept_in_order)
        for access, keys in ACCESSES
    }


def unions(kept: Bool[Tensor, "W N M"]) -> Iterator[tuple[int, Bool[Tensor, "W T M"]]]:
    """Yield the queries of a tile with the unions of its tiles, each size made of the one before."""
    tokens, last = kept.shape[1], 1
    for queries in tiles_of(tokens):
        whole = queries == tokens
        kept, last = union(kept, kept.shape[1] if whole else queries // last), queries
        yield queries, kept


def union(kept: Bool[Tensor, "W N M"], queries: int) -> Bool[Tensor, "W T M"]:
    """Return the keys that any of `queries` consecutive queries keeps; the last tile may have fewer queries."""
    padded = functional.pad(kept, (0, 0, 0, -kept.shape[1] % queries))
    return padded.unflatten(1, (-1, queries)).any(2)


def visited(union: Bool[Tensor, "W T M"], access: Access, keys: int) -> Float64[Tensor, " W"]:
    """Return how many steps of `keys` keys the tiles of a window take, over those that all keys would take."""
    all_steps = -(-union.shape[-1] // keys)
    if access == "list":
        steps = -(-union.sum(-1) // keys)
    else:
        blocks = functional.pad(union, (0, -union.shape[-1] % keys)).unflatten(-1, (-1, keys))
        steps = blocks.any(-1).sum(-1)
    return steps.double().mean(-1) / all_steps


def morton(window: int) -> Int64[Tensor, " N"]:
    """Return the tokens of a window in the order of Morton's curve: bits of column and row in turn, column lowest."""
    side = torch.arange(window)
    bit = torch.arange(window.bit_length())
    spread = ((side[:, None] >> bit & 1) << 2 * bit).sum(-1)
    return (2 * spread[:, None] + spread).flatten().argsort()


def nearest(window: int, top_k: int) -> Bool[Tensor, "1 N N"]:
    """Return the rule that keeps the `top_k` nearest tokens of the window, itself included."""
    row, column = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    row, column = row.flatten(), column.flatten()
    distances = (row[:, None] - row).square() + (column[:, None] - column).square()
    return select(-distances[None].float(), top_k)


def beside(tokens: int, top_k: int) -> Mapping[Name, float]:
    """Return the shares of the two rules that look at no feature; windows are whole."""
    local = count(nearest(math.isqrt(tokens), top_k), LOCAL)
    shares = {name: float(share) for name, share in local.items()}
    for name in local:
        if name.access == "blocks" or name.keys == 1:
            drawn = random_share(tokens, top_k, queries=name.queries, keys=name.keys)
            shares[replace(name, source=RANDOM)] = drawn
    return shares


def cut(kept: Bool[Tensor, "W N N"]) -> tuple[Bool[Tensor, " W"], Bool[Tensor, " W"]]:
    """Tell of each window whether no query keeps a key beyond the seam across it, and beyond the one down it.

    The seams are those that a shift by half a window makes in the windows at the end of a map: one way in the last row
    and the last column, both ways in the last window. A dictionary does not say whether its windows were shifted;
    where nothing cuts them, queries beside a seam keep keys beyond it.
    """
    window = math.isqrt(kept.shape[-1])
    regions = torch.from_numpy(region_ids(window, window, window, window // 2)[0].astype(np.int64)).to(kept.device)

    def apart(sides: Tensor) -> Tensor:
        return ~(kept & (sides[:, None] != sides)).any(-1).any(-1)

    return apart(regions // 3), apart(regions % 3)


def _restored(trial: Trial) -> Iterator[tuple[Pair, Spy]]:
    """Restore image after image as the cell asks, and yield what was seen of each."""
    assert trial.backend is not None
    spy = Spy(trial.backend.load())
    network = trial.build(attend=spy, forms=trial.backend.needs | {"boolean"})

    def spied(image: Tensor) -> Tensor:
        spy.begin()
        return network(image)

    restore = restorer(spied, trial.cell, scale=trial.task.scale(trial.setting))
    for pair in trial.pairs:
        spy.counted.clear()
        with torch.inference_mode():
            restore(_tensor(pair, trial))
        yield pair, spy


def _tensor(pair: Pair, trial: Trial) -> Float[Tensor, "1 C h w"]:
    image = torch.from_numpy(np.ascontiguousarray(pair.degraded)).permute(2, 0, 1)[None]
    return image.to(trial.cell.device, getattr(torch, trial.cell.dtype))


def _of_image(counted: list[Shares]) -> Mapping[Name, float]:
    """Join the windows of all calls, tiles of the image included, and reduce them to the mean and two quantiles."""
    joined: dict[Name, list[Tensor]] = {}
    for shares in counted:
        for name, of_windows in shares.items():
            joined.setdefault(name, []).append(of_windows)
    reduced = {}
    for name, parts in joined.items():
        windows = torch.cat(parts)
        reduced[name] = float(windows.mean())
        for statistic, level in QUANTILES.items():
            reduced[replace(name, statistic=statistic)] = float(windows.quantile(level))
    return reduced
