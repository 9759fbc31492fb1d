"""The records of one attention layer by every backend side by side: who was tried, what was measured, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from harness.catalogs import BACKENDS
from harness.contest.names import SIZES, Kind, Name, parse, reasons
from harness.record import Measured, Measurement
from reports.machines import in_short
from reports.results import Result
from semanir.attention.problem import ITEM_BYTES, Flops, Problem

QUANTITIES: Mapping[str, tuple[str, str, str]] = {
    "forward": ("kernels", "forward", "one attention layer without gradients"),
    "backward": ("kernels", "backward", "gradients of q, k and v, after an untimed forward"),
    "bias.forward": ("kernels_bias", "forward with position bias", "a table entry is added to every score"),
    "bias.backward": ("kernels_bias", "backward with position bias", "gradients of q, k and v"),
    "bias.backward_with_table": (
        "kernels_bias",
        "backward with position bias and its table",
        "gradients of q, k, v and the table: what it takes more than the one above is the table's share",
    ),
    "sparse.forward": ("kernels_sparse", "forward, sparse weighting", "softmax and squared ReLU, as AST"),
    "sparse.backward": ("kernels_sparse", "backward, sparse weighting", "gradients of q, k and v"),
    "selection": ("selection", "selection", "scores of all pairs and the k best of each row, by who selects"),
    "dictionary": ("selection", "dictionary", "selection and the packings that a backend's forward reads"),
}
"""Per quantity the metric that measures it, its title and what it is."""


@dataclass(frozen=True, eq=False)
class Contest:
    """What the records of one cell say, by quantity, kind and contender."""

    result: Result

    @cached_property
    def samples(self) -> Mapping[Name, Measurement]:
        """Every measurement that belongs to a contender."""
        found = [each for metric in self.result.records for each in self.result.measurements(metric)]
        return {name: each for each in found if (name := parse(each.name)) is not None}

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """The sizes of the workload; empty where nothing was measured."""
        named = {each.name: each for metric in self.result.records for each in self.result.measurements(metric)}
        return {size: int(named[f"workload.{size}"].samples[0]) for size in SIZES if f"workload.{size}" in named}

    @cached_property
    def absences(self) -> Mapping[tuple[str, str], str]:
        """Why contenders have no times."""
        outcomes = [record.outcome for record in self.result.records.values() if record]
        notes = [note for outcome in outcomes if isinstance(outcome, Measured) for note in outcome.notes]
        return reasons(tuple(notes))

    @property
    def machine(self) -> str:
        """The machine in short, which tables do not mix; empty where nothing was measured."""
        found = (record for record in self.result.records.values() if record and isinstance(record.outcome, Measured))
        return next((in_short(record.environment) for record in found), "")

    @property
    def tokens(self) -> int:
        """N of its windows."""
        return (self.result.cell.window or 0) ** 2

    def of(self, quantity: str, kind: Kind, contender: str) -> Measurement | None:
        """Return the samples of a contender."""
        return self.samples.get(Name(quantity, kind, contender))

    def contenders(self, quantity: str) -> list[str]:
        """Return everybody who was tried."""
        tried = [name.contender for name in self.samples if name.quantity == quantity]
        return [*tried, *(contender for of, contender in self.absences if of == quantity)]

    def why_not(self, quantity: str, contender: str) -> str:
        """Return why there is no number."""
        metric = QUANTITIES[quantity][0]
        return self.absences.get((quantity, contender)) or self.result.why_not(metric)

    def flops(self, quantity: str, contender: str) -> Flops | None:
        """Count a forward by the formula of the backend; None for other quantities and without sizes."""
        prefix, _, last = quantity.rpartition(".")
        if last != "forward" or contender not in BACKENDS or not self.sizes:
            return None
        sizes, cell = self.sizes, self.result.cell
        problem = Problem(
            device=cell.device,
            dtype=cell.dtype,
            windows=sizes["windows"],
            heads=sizes["heads"],
            tokens=sizes["tokens"],
            top_k=sizes["top_k"],
            head_dim=sizes["head_dim"],
            kept_pairs=sizes["windows"] * sizes["tokens"] * sizes["top_k"],
            has_bias=prefix == "bias",
            weighting="sparse" if prefix == "sparse" else "softmax",
        )
        return BACKENDS[contender].flops(problem)

    def moved_bytes(self) -> int:
        """Return what q, k, v and the output hold together."""
        sizes = self.sizes
        tensor = sizes["windows"] * sizes["heads"] * sizes["tokens"] * sizes["head_dim"]
        return 4 * tensor * ITEM_BYTES[self.result.cell.dtype]
