"""What one compiled kernel costs on a target, and the rules that hold for every kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

WARP = 32
REGISTERS = 65536
"""Of a multiprocessor, all targets."""


@dataclass(frozen=True)
class Target:
    """Limits of a multiprocessor (CUDA C++ Programming Guide, technical specifications per compute capability)."""

    capability: int
    shared_bytes: int
    """Of one multiprocessor; a block takes 1 KiB beside its own."""
    warps: int = 64
    blocks: int = 32

    def resident_blocks(self, *, registers: int, warps: int, shared_bytes: int) -> int:
        """Return how many blocks of a kernel one multiprocessor holds at a time."""
        # Registers are given to warps by 256, and warps to the four schedulers evenly.
        granted = -(-registers * WARP // 256) * 256
        by_registers = REGISTERS // granted // 4 * 4 // warps
        return min(by_registers, self.warps // warps, self.shared_bytes // (shared_bytes + 1024), self.blocks)


TARGETS: Mapping[str, Target] = {
    "sm_80": Target(capability=80, shared_bytes=164 * 1024),
    "sm_90": Target(capability=90, shared_bytes=228 * 1024),
}
"""A100 and H100 or H200."""


class StaticError(Exception):
    """The static cost cannot be told; the message says why and what would work."""


class Cost(BaseModel):
    """What the compiler made of one launch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    registers: int
    """Of a thread."""
    spill_store_bytes: int
    """Of a thread, in the whole kernel, each instruction counted once."""
    spill_load_bytes: int
    shared_bytes: int
    """Of a block."""
    warps: int
    """Of a block."""
    resident_blocks: int
    """Of a multiprocessor."""
    products: int
    """Products of tiles in the kernel's source, which tensor cores should do."""
    scores: int | None
    """Scores that a block computes in one pass of the loop; None for kernels without tiles of scores."""
    is_loop: bool
    """False: the kernel has no loop, and the mix is that of the whole kernel."""
    mix: dict[str, int]
    """Instructions of the inner loop by what they do, per thread."""

    @property
    def resident_warps(self) -> int:
        """Of a multiprocessor."""
        return self.resident_blocks * self.warps

    @property
    def instructions(self) -> int:
        """Of the inner loop, per thread."""
        return sum(self.mix.values())

    @property
    def tensor_instructions(self) -> int:
        """Of the inner loop."""
        return sum(count for name, count in self.mix.items() if name.endswith("MMA"))

    @property
    def wide_loads(self) -> int:
        """Loads of 128 bits from global memory in the inner loop."""
        return self.mix.get("LDG.128", 0) + self.mix.get("LDGSTS.128", 0)

    @property
    def narrow_loads(self) -> int:
        """All other loads from global memory in the inner loop."""
        return sum(count for name, count in self.mix.items() if name.startswith("LDG")) - self.wide_loads

    @property
    def loop_spills(self) -> int:
        """Spill instructions of the inner loop."""
        return self.mix.get("LDL", 0) + self.mix.get("STL", 0)

    @property
    def work(self) -> float:
        """Instructions of a thread for each score of the tile, or for each pass of the loop where there is no tile."""
        return self.instructions if self.scores is None else self.instructions * self.warps * WARP / self.scores


class Compiled(BaseModel):
    """What became of one launch: a cost, or the reason why it does not compile."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: int
    """In the order of the problems."""
    name: str
    cost: Cost | None = None
    error: str = ""


def broken_rules(cost: Cost) -> Iterator[str]:
    """Say which of the rules for every kernel do not hold."""
    if cost.loop_spills:
        yield f"{cost.loop_spills} spill instructions in the inner loop"
    if cost.resident_blocks == 0:
        yield f"{cost.shared_bytes} bytes of shared memory and {cost.registers} registers: no block fits"
    if cost.products and not cost.tensor_instructions:
        yield "no tensor-core instruction in the inner loop"
    if cost.products and not cost.wide_loads:
        yield "no load of 128 bits in the inner loop"
