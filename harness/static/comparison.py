"""What changed against a baseline, in words: worse, or merely different."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.static.cost import Compiled, Cost

GROWTH = 0.03
"""Instructions of the inner loop may grow by this fraction."""


@dataclass(frozen=True)
class Difference:
    """One kernel that is not what it was."""

    kernel: str
    """Kernel, problem and target, as in `forward/N=1024 bf16 sm_90`."""
    changes: tuple[str, ...]
    """As in `registers 154 -> 182`."""
    is_worse: bool

    def __str__(self) -> str:
        return f"{self.kernel}: {', '.join(self.changes)}"


def compare(baseline: Mapping[str, Cost], compiled: Sequence[Compiled], target: str) -> list[Difference]:
    """Return all kernels that differ, those that are worse first.

    What does not compile, is not in the baseline, or is launched no longer counts as worse: a baseline that does not
    describe the launched kernels guards nothing.
    """
    found = []
    for entry in compiled:
        kernel, before = f"{entry.name} {target}", baseline.get(entry.name)
        if entry.cost is None:
            found.append(Difference(kernel, (f"does not compile: {entry.error}",), is_worse=True))
        elif before is None:
            found.append(Difference(kernel, ("not in the baseline",), is_worse=True))
        elif before != entry.cost:
            changes = list(_changes(before, entry.cost))
            words = tuple(words for words, _ in changes)
            found.append(Difference(kernel, words, is_worse=any(is_worse for _, is_worse in changes)))
    gone = baseline.keys() - {entry.name for entry in compiled}
    found += [Difference(f"{name} {target}", ("no longer launched",), is_worse=True) for name in sorted(gone)]
    return sorted(found, key=lambda difference: not difference.is_worse)


def _changes(before: Cost, now: Cost) -> Iterator[tuple[str, bool]]:
    """Yield each change in words, and whether it alone makes the kernel worse; another tile or block is neither."""
    products = (before.tensor_instructions, now.tensor_instructions)
    for words, old, new, is_worse in (
        ("scores of a tile", before.scores, now.scores, False),
        ("warps of a block", before.warps, now.warps, False),
        # Registers cost nothing until a warp less is resident.
        ("registers", before.registers, now.registers, False),
        ("resident warps", before.resident_warps, now.resident_warps, now.resident_warps < before.resident_warps),
        ("shared memory in bytes", before.shared_bytes, now.shared_bytes, now.shared_bytes > before.shared_bytes),
        ("bytes of spill stores", before.spill_store_bytes, now.spill_store_bytes, _spills_more(before, now)),
        ("bytes of spill loads", before.spill_load_bytes, now.spill_load_bytes, _spills_more(before, now)),
        ("spills in the inner loop", before.loop_spills, now.loop_spills, now.loop_spills > before.loop_spills),
        ("products of tiles in the source", before.products, now.products, False),
        ("tensor-core instructions", *products, _lost_products(before, now)),
        ("128-bit loads", before.wide_loads, now.wide_loads, _lost_wide_loads(before, now)),
    ):
        if old != new:
            yield f"{words} {old} -> {new}", is_worse
    if before.is_loop != now.is_loop:
        yield ("no loop -> a loop" if now.is_loop else "a loop -> no loop, counted whole"), False
    if (before.mix, before.work) != (now.mix, now.work):
        yield _change_of_work(before, now)


def _spills_more(before: Cost, now: Cost) -> bool:
    return now.spill_store_bytes + now.spill_load_bytes > before.spill_store_bytes + before.spill_load_bytes


def _lost_products(before: Cost, now: Cost) -> bool:
    """A wider instruction does the work of several: fewer of them tell something where the kind is the same."""
    if now.tensor_instructions == 0:
        return before.tensor_instructions > 0
    same_tile = (before.scores, before.warps) == (now.scores, now.warps)
    same_kind = _tensor_kinds(before) == _tensor_kinds(now)
    return same_tile and same_kind and now.tensor_instructions < before.tensor_instructions


def _lost_wide_loads(before: Cost, now: Cost) -> bool:
    """A smaller tile needs fewer; where narrow ones stand in their place, or none is left, they are lost."""
    return now.wide_loads < before.wide_loads and (now.wide_loads == 0 or now.narrow_loads > before.narrow_loads)


def _change_of_work(before: Cost, now: Cost) -> tuple[str, bool]:
    growth = now.work / before.work - 1
    unit = "pass" if now.scores is None else "score"
    words = f"inner loop {before.instructions} -> {now.instructions} instructions"
    return f"{words} ({before.work:.4g} -> {now.work:.4g} a {unit}, {growth:+.1%})", growth > GROWTH


def _tensor_kinds(cost: Cost) -> set[str]:
    return {name for name in cost.mix if name.endswith("MMA")}
