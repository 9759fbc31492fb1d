"""The costs of a target as a table of plain text."""

from __future__ import annotations

from collections.abc import Sequence

from harness.static.cost import Compiled, Cost, broken_rules

HEADINGS = (
    "kernel/problem",
    "regs",
    "spill",
    "KiB",
    "blocks",
    "warps",
    "loop",
    "/score",
    "tensor",
    "EX2",
    "fp32",
    "FSEL",
    "LOP3",
    "INT",
    "LDG128",
    "other",
    "LDS",
    "STS",
    "SHFL",
    "BAR",
    "LDL+STL",
)
LEGEND = (
    "regs a thread; spill bytes stored and loaded in the whole kernel; KiB of shared memory; blocks and warps resident "
    "on a multiprocessor.\nFrom 'loop' on: instructions a thread in one pass of the inner loop, and for each score of "
    "the tile; '*' is a kernel without a loop, counted whole."
)


def as_table(target: str, compiled: Sequence[Compiled]) -> str:
    """Return a line for each kernel, the rules that are broken, and a legend."""
    rows = [_row(entry.name, entry.cost) for entry in compiled if entry.cost is not None]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    lines = [f"{target}: {len(rows)} kernels"]
    for name, *numbers in [list(HEADINGS), *rows]:
        cells = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]))
    lines.append(LEGEND)
    for entry in compiled:
        reasons = [f"does not compile: {entry.error}"] if entry.cost is None else broken_rules(entry.cost)
        lines += [f"rule broken: {entry.name} {target}: {reason}" for reason in reasons]
    return "\n".join(lines)


def _row(name: str, cost: Cost) -> list[str]:
    def count(*names: str) -> str:
        return str(sum(cost.mix.get(name, 0) for name in names))

    return [
        name,
        str(cost.registers),
        f"{cost.spill_store_bytes}/{cost.spill_load_bytes}",
        f"{cost.shared_bytes / 1024:.0f}",
        str(cost.resident_blocks),
        str(cost.resident_warps),
        f"{cost.instructions}{'' if cost.is_loop else '*'}",
        "" if cost.scores is None else f"{cost.work:.2f}",
        str(cost.tensor_instructions),
        count("MUFU.EX2"),
        count("FFMA", "FMUL", "FADD", "FMNMX"),
        count("FSEL"),
        count("LOP3"),
        count("IADD", "ISETP"),
        str(cost.wide_loads),
        str(cost.narrow_loads),
        count("LDS", "LDSM"),
        count("STS"),
        count("SHFL"),
        count("BAR"),
        count("LDL", "STL"),
    ]
