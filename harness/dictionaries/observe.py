"""Looks at the dictionaries of a network while it restores an image.

Shapes: W windows of N tokens, all of one image; C channels of a token; H x W tokens of a map, where named so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Integer
from torch import Tensor

from harness.dictionaries.choose import choose
from harness.dictionaries.scene import Area, Choice, Locality, Look, Scene, Seen
from harness.trial import Trial
from semanir.attention import dictionary, windows
from semanir.attention.dictionary import KeyDictionary
from semanir.attention.regions import region_ids
from semanir.models.semanir import stage_levels, stage_shifts
from semanir.models.semanir.network import SemanIR, Stage


def observe(trial: Trial) -> Scene:
    """Pass the cell's first image through its network once, whole, and return what the dictionaries keep.

    Raises `ValueError` where no layer has a dictionary, `TypeError` for a network whose stages are not SemanIR's.
    """
    assert trial.backend is not None
    pair, cell = trial.pairs[0], trial.cell
    network = trial.build(attend=trial.backend.load(), forms=trial.backend.needs | {"boolean"})
    if not isinstance(network, SemanIR):
        raise TypeError(f"cell {cell.id}: {cell.model} has other stages than SemanIR; leave the metric out for it")
    choices = choose(pair.target, network.fold * network.scale)
    image = torch.from_numpy(np.ascontiguousarray(pair.degraded)).permute(2, 0, 1)[None]
    found = seen(network, image.to(cell.device, getattr(torch, cell.dtype)), choices)
    if not found or network.top_k is None:
        raise ValueError(f"cell {cell.id}: no attention of {cell.model} had a dictionary to look at")
    height, width, _ = pair.target.shape
    return Scene(
        image=pair.name,
        height=height,
        width=width,
        window=network.window,
        top_k=network.top_k,
        choices=choices,
        dictionaries=found,
    )


@torch.inference_mode()
def seen(network: SemanIR, image: Float[Tensor, "1 C h w"], choices: Sequence[Choice]) -> tuple[Seen, ...]:
    """Return each dictionary of one forward pass in the order of use; those that keep every key are left out.

    The network has to make the form `boolean` among others.
    """
    watch = _Watch(network, choices)
    handles = []
    for stage in network.stages:
        assert isinstance(stage, Stage)
        handles.append(stage.register_forward_pre_hook(watch.enters))
        handles += [
            layer.register_forward_pre_hook(partial(watch.attends, stage, number))
            for number, layer in enumerate(stage.layers)
        ]
    try:
        network(image)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(watch.found)


def locality(
    kept: Bool[Tensor, "W N N"], top_k: int, regions: Integer[Tensor, "W N"], *, exclude_self: bool = False
) -> Locality:
    """Return how near the kept keys of all rows lie; rows that keep nothing do not count.

    `regions` numbers the tokens of each window, as for `dictionary.build`.
    """
    total = torch.zeros(5, dtype=torch.float64)
    patterns, of_window = regions.unique(dim=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        pairs = kept[of_window == number].sum(0)
        total += _totals(pairs, top_k, pattern, exclude_self).cpu()
    _, distance, random_distance, nearest, random_nearest = (total / total[0]).tolist()
    return Locality(
        distance=_rounded(distance),
        random_distance=_rounded(random_distance),
        nearest=_rounded(nearest),
        random_nearest=_rounded(random_nearest),
    )


@dataclass
class _Watch:
    """What hooks of the network's stages and layers come to see, dictionary by dictionary."""

    network: SemanIR
    choices: Sequence[Choice]
    found: list[Seen] = field(default_factory=list)
    _features: Tensor | None = None
    """The map that entered the stage."""
    _known: list[tuple[KeyDictionary, int]] = field(default_factory=list)
    """The stage's dictionaries so far, with their place among those found."""

    def enters(self, stage: Stage, arguments: tuple[Any, ...]) -> None:
        """Take the map from which the stage makes its dictionaries."""
        self._features = arguments[0]
        self._known.clear()

    def attends(self, stage: Stage, number: int, layer: Any, arguments: tuple[Any, ...]) -> None:
        """Look at the dictionary that a layer is handed, if it is a new one."""
        tokens, kept, window = arguments
        if kept is None or kept.top_k == kept.tokens:
            return
        for known, place in self._known:
            if known is kept:
                before = self.found[place]
                self.found[place] = before.model_copy(update={"layers": (*before.layers, number + 1)})
                return
        self._known.append((kept, len(self.found)))
        assert self._features is not None
        _, rows, columns, _ = self._features.shape
        shifts = stage_shifts(stage.configuration, stage.index, height=rows, width=columns, window=window)
        shift = shifts[number]
        compared = tokens if stage.per_layer else windows.partition(self._features, window, shift)
        self.found.append(self._seen(stage, number, kept, compared, (rows, columns), window, shift))

    def _seen(
        self,
        stage: Stage,
        number: int,
        kept: KeyDictionary,
        compared: Float[Tensor, "W N C"],
        shape: tuple[int, int],
        window: int,
        shift: int,
    ) -> Seen:
        configuration = stage.configuration
        rows, columns = shape
        boolean = kept.form("boolean")
        regions = torch.from_numpy(region_ids(rows, columns, window, shift).copy()).to(boolean.device)
        # What the network does to its features, done to the tokens' numbers: where each token of a window lies.
        places = windows.partition(torch.arange(rows * columns).view(1, rows, columns, 1), window, shift)[..., 0]
        level = stage_levels(configuration)[stage.index]

        def near(of: Bool[Tensor, "w N N"], regions: Tensor) -> Locality:
            return locality(of, kept.top_k, regions, exclude_self=configuration.exclude_self)

        def look(choice: Choice) -> Look:
            row, column = choice.row >> level, choice.column >> level
            ((w, i),) = (places == row * columns + column).nonzero().tolist()
            keys = boolean[w, i].nonzero().flatten()
            scores = dictionary.score(compared[w : w + 1], configuration.similarity)[0, i]
            # Stable: of equal scores the lowest index comes first.
            ranked = keys[scores[keys].sort(descending=True, stable=True).indices].cpu()
            alone = torch.zeros_like(boolean[w])
            alone[i] = boolean[w, i]
            part = places[w][(regions[w] == regions[w, i]).cpu()]
            return Look(
                row=row,
                column=column,
                part=_area(part, columns),
                kept=tuple(divmod(place, columns) for place in places[w][ranked].tolist()),
                locality=near(alone[None], regions[w : w + 1]),
            )

        return Seen(
            stage=stage.index + 1,
            layers=(number + 1,),
            stage_layers=len(stage.layers),
            shift=shift,
            rows=rows,
            columns=columns,
            side=self.network.fold * self.network.scale << level,
            locality=near(boolean, regions),
            looks=tuple(look(choice) for choice in self.choices),
        )


def _totals(
    pairs: Integer[Tensor, "N N"], top_k: int, regions: Integer[Tensor, " N"], exclude_self: bool
) -> Float64[Tensor, " 5"]:
    """Sum over pairs, counted as often as windows of one pattern keep them: 1, and what `Locality` has the means of."""
    tokens = len(regions)
    side = round(tokens**0.5)
    admissible = dictionary.admissible_pairs(regions[None], tokens, exclude_self, regions.device)
    assert admissible is not None
    place = torch.stack([torch.arange(tokens) // side, torch.arange(tokens) % side], -1).to(pairs.device)
    squares = (place[:, None] - place).square().sum(-1)
    near = dictionary.select(-squares[None].float(), top_k, admissible)[0]
    distances, possible = squares.double().sqrt(), admissible[0].sum(-1)
    of_row = pairs.sum(-1)
    return torch.stack(
        [
            of_row.sum().double(),
            (pairs * distances).sum(),
            (of_row * (admissible[0] * distances).sum(-1) / possible).sum(),
            pairs[near].sum().double(),
            (of_row * possible.clamp(max=top_k) / possible).sum(),
        ]
    )


def _area(places: Integer[Tensor, " _"], columns: int) -> Area:
    """Return the rectangle that these tokens of a map fill."""
    rows, across = places // columns, places % columns
    top, left = int(rows.min()), int(across.min())
    return Area(top=top, left=left, height=int(rows.max()) - top + 1, width=int(across.max()) - left + 1)


def _rounded(value: float) -> float:
    """Cut what differs from processor to processor, and what no one reads."""
    return round(value, 4)
