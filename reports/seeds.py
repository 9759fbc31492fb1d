"""Cells that differ in the seed alone as one: means over seeds, and by how much seeds differ."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev

from reports.marks import Value
from reports.quantities import Quantity, Read
from reports.results import Result, but_seed, counted, number_text

_DECIMALS = re.compile(r"\{:\+?\.(\d)f\}")


def over_seeds(results: Sequence[Result], numbers: Sequence[Quantity]) -> tuple[Sequence[Result], Sequence[Quantity]]:
    """Return the cells of the first seed, and the columns that tell of each what all seeds measured together.

    Of every quantity that is judged image by image there are two: its mean over images and seeds, whose best is sought
    over both (`reports.paired`), and `sd`, the sample standard deviation of the seeds' means. A cell that lacks one of
    the seeds says which; quantities that no cell has with all of them are left out.
    """
    together: dict[object, dict[int, Result]] = {}
    for result in results:
        together.setdefault(but_seed(result), {})[result.cell.seed] = result
    seeds = sorted({result.cell.seed for result in results})
    firsts = [members[min(members)] for members in together.values()]
    found = []
    for quantity in numbers:
        if quantity.rivals == "judged alike":
            values = {each.cell.id: _values(together[but_seed(each)], seeds, quantity.read) for each in firsts}
            if all(isinstance(value, str) for value in values.values()):
                continue
            mean = f"{quantity.hint}; over {counted(len(seeds), 'seed')}: {', '.join(map(str, seeds))}"
            found.append(replace(quantity, hint=mean, read=_mean(values, quantity)))
            spread = "standard deviation of the seeds' means over images"
            form = _DECIMALS.sub(lambda found: f"{{:.{int(found[1]) + 1}f}}", quantity.form)
            sd = replace(
                quantity, label="sd", hint=spread, better="neither", form=form, read=_deviation(values, quantity)
            )
            found.append(sd)
    return firsts, found


def mean_over_seeds(results: Sequence[Result], read: Read) -> tuple[Sequence[Result], Read]:
    """Return the cells of the first seed, and a reading of means over images that are means over all seeds as well."""
    quantity = Quantity(label="", read=read, rivals="judged alike")
    firsts, found = over_seeds(results, [quantity])
    return firsts, found[0].read if found else read


Values = Mapping[str, Mapping[str, Value] | str]
"""Of each first cell the values of all seeds by cell, or why they have none together."""


def _values(members: Mapping[int, Result], seeds: Sequence[int], read: Read) -> Mapping[str, Value] | str:
    if missing := [seed for seed in seeds if seed not in members]:
        return f"no seed {missing[0]} in the plan"
    found: dict[str, Value] = {}
    for seed in seeds:
        value = read(members[seed])
        if isinstance(value, str):
            return f"{value} (seed {seed})"
        found[members[seed].cell.id] = value
    images = {frozenset(value.images or ()) for value in found.values()}
    return found if len(images) == 1 else "its seeds have other images"


def _mean(values: Values, quantity: Quantity) -> Read:
    def read(result: Result) -> Value | str:
        found = values[result.cell.id]
        if isinstance(found, str):
            return found
        of_images = [value.images or {} for value in found.values()]
        images = {name: tuple(each[name][0] for each in of_images) for name in of_images[0]}
        mean = fmean(value.value for value in found.values())
        return Value(value=mean, detail=_told(found, quantity), images=images or None)

    return read


def _deviation(values: Values, quantity: Quantity) -> Read:
    def read(result: Result) -> Value | str:
        found = values[result.cell.id]
        if isinstance(found, str):
            return found
        means = [value.value for value in found.values()]
        if not all(map(math.isfinite, means)):
            return "no finite mean of a seed"
        return Value(value=stdev(means), detail=_told(found, quantity))

    return read


def _told(found: Mapping[str, Value], quantity: Quantity) -> str:
    """Name every seed's mean with its cell, the first of which is the one that the number leads to."""
    form = quantity.form or "{:.4g}"
    means = (f"{number_text(value.value, form)} in cell {cell}" for cell, value in found.items())
    return f"of the means over images of {counted(len(found), 'seed')}: {', '.join(means)}"
