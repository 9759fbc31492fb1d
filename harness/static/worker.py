"""Compiles one part of the launches for one target, in a process of its own; `harness.static.measure` starts it.

What it finds goes into a file, a line of JSON each: Triton and its tools print on both streams.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from triton import knobs

from harness.static import sass
from harness.static.cost import TARGETS, Compiled, Cost, Target
from harness.static.launches import Launch, record


def main(target_name: str, part: int, parts: int, only: str, found: Path) -> None:
    """Write the costs of every `parts`-th launch, from `part` on, whose name holds `only`."""
    target = TARGETS[target_name]
    chosen = [(place, launch) for place, launch in enumerate(record(target.capability)) if only in launch.name]
    with found.open("w", encoding="utf-8") as file:
        for place, launch in chosen[part::parts]:
            print(compiled(place, launch, target).model_dump_json(), file=file, flush=True)


def compiled(place: int, launch: Launch, target: Target) -> Compiled:
    """Compile one launch; a kernel that does not compile is told with its reason."""
    try:
        cost = _cost(launch, target)
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        return Compiled(place=place, name=launch.name, error=f"{type(error).__name__}: {(lines or ['no reason'])[-1]}")
    return Compiled(place=place, name=launch.name, cost=cost)


def _cost(launch: Launch, target: Target) -> Cost:
    kernel = launch.function.preload(launch.specialization)
    text = _disassemble(kernel.asm["cubin"])
    code = sass.instructions(text)
    body = sass.inner_loop(code)
    registers, warps, shared_bytes = sass.registers(text), kernel.metadata.num_warps, kernel.metadata.shared
    return Cost(
        registers=registers,
        spill_store_bytes=sass.moved_bytes(code, "STL"),
        spill_load_bytes=sass.moved_bytes(code, "LDL"),
        shared_bytes=shared_bytes,
        warps=warps,
        resident_blocks=target.resident_blocks(registers=registers, warps=warps, shared_bytes=shared_bytes),
        products=len(re.findall(r"\btt\.dot\b", kernel.asm["ttir"])),
        scores=launch.scores,
        is_loop=body.is_loop,
        mix=sass.mix(body.instructions),
    )


def _disassemble(cubin: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        command = [knobs.nvidia.cuobjdump.path, "-res-usage", "-sass", str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], Path(sys.argv[5]))
