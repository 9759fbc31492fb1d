"""Reads NVIDIA machine code as `cuobjdump -sass` prints it: instructions, the inner loop, what they do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P[T\d]+\s+)?([A-Z][A-Z0-9_.]*)([^;]*);")
RESOURCES = re.compile(r"REG:(\d+)\s+STACK:(\d+)\s+SHARED:(\d+)\s+LOCAL:(\d+)")

WIDTHS = {"U8": 8, "S8": 8, "U16": 16, "S16": 16, "64": 64, "128": 128}
"""Bits that a memory instruction moves per thread, by its suffix; 32 without one."""
BY_WIDTH = {"LDG", "STG", "LDGSTS"}

GROUPS = {
    "FFMA": "FFMA FFMA32I",
    "FMUL": "FMUL FMUL32I",
    "FADD": "FADD FADD32I",
    "FMNMX": "FMNMX FMNMX3",
    "FSEL": "FSEL SEL USEL",
    "FSETP": "FSETP FSET",
    "LOP3": "LOP3 LOP LOP32I PLOP3 SHF SHL SHR PRMT BMSK SGXT USGXT ULOP3 USHF UPRMT UPLOP3 R2P P2R",
    "IADD": "IADD IADD3 IADD32I IMAD IMUL LEA IABS IMNMX VIADD VIMNMX VIADDMNMX UIADD3 UIMAD ULEA POPC FLO",
    "ISETP": "ISETP UISETP",
    "convert": "F2F F2FP F2I I2F I2FP HADD2 FRND",
    "move": "MOV MOV32I UMOV CS2R S2R S2UR R2UR LDC ULDC",
    "LDS": "LDS",
    "LDSM": "LDSM",
    "STS": "STS STSM",
    "SHFL": "SHFL",
    "vote": "VOTE VOTEU REDUX CREDUX",
    "LDL": "LDL",
    "STL": "STL",
    "atomic": "ATOM ATOMG ATOMS RED REDG",
    "BAR": "BAR",
    "wait": "WARPSYNC SYNCS DEPBAR LDGDEPBAR WARPGROUP WARPGROUPSET FENCE MEMBAR",
    "branch": "BRA BRX JMP CALL RET EXIT BSSY BSYNC BREAK",
}
"""Opcodes that count as one kind of work; those of the uniform data path (U...) with the others."""
GROUP_OF = {opcode: group for group, opcodes in GROUPS.items() for opcode in opcodes.split()}


@dataclass(frozen=True)
class Instruction:
    """One line of machine code."""

    address: int
    opcode: str
    """With its suffixes, as in `LDG.E.128`."""
    operands: str

    @property
    def name(self) -> str:
        """The opcode without suffixes."""
        return self.opcode.partition(".")[0]

    @property
    def bits(self) -> int:
        """Bits that a load or store moves per thread."""
        return next((WIDTHS[part] for part in self.opcode.split(".")[1:] if part in WIDTHS), 32)


@dataclass(frozen=True)
class Body:
    """The instructions that a kernel spends its time in."""

    instructions: Sequence[Instruction]
    is_loop: bool
    """False where the kernel has no loop: then the body is the whole kernel."""


def instructions(text: str) -> list[Instruction]:
    """Parse a disassembly of one kernel; padding (`NOP`) is left out."""
    found = (Instruction(int(address, 16), opcode, operands) for address, opcode, operands in INSTRUCTION.findall(text))
    return [instruction for instruction in found if instruction.opcode != "NOP"]


def registers(text: str) -> int:
    """Read registers a thread from `cuobjdump -res-usage`. Raises `ValueError` where there are none."""
    if (found := RESOURCES.search(text)) is None:
        raise ValueError(f"no resource usage in what cuobjdump printed: {text[:200]!r}")
    return int(found[1])


def inner_loop(code: Sequence[Instruction]) -> Body:
    """Return the body of the innermost loop that holds at least half of the largest one's instructions.

    A loop is what a branch to a lower address closes. The half keeps a loop over tiles from losing to a spin of three
    instructions inside it, and a loop of little else than a loop from hiding that one.
    """
    loops = []
    for instruction in code:
        target = _target(instruction)
        if target is not None and target < instruction.address:
            loops.append([line for line in code if target <= line.address <= instruction.address])
    if not loops:
        return Body(code, is_loop=False)
    body = max(loops, key=len)
    while inner := [loop for loop in loops if _inside(loop, body) and 2 * len(loop) >= len(body)]:
        body = max(inner, key=len)
    return Body(body, is_loop=True)


def mix(code: Sequence[Instruction]) -> dict[str, int]:
    """Count instructions by what they do; global loads and stores by their width in bits, as in `LDG.128`."""
    return dict(Counter(map(_group, code)))


def moved_bytes(code: Sequence[Instruction], opcode: str) -> int:
    """Add up what all instructions of one opcode move, each counted once, per thread."""
    return sum(line.bits // 8 for line in code if line.name == opcode)


def _target(instruction: Instruction) -> int | None:
    addresses = re.findall(r"0x([0-9a-f]+)", instruction.operands)
    return int(addresses[-1], 16) if instruction.name == "BRA" and addresses else None


def _inside(inner: Sequence[Instruction], outer: Sequence[Instruction]) -> bool:
    return len(inner) < len(outer) and outer[0].address <= inner[0].address and inner[-1].address <= outer[-1].address


def _group(instruction: Instruction) -> str:
    name = instruction.name
    if name in BY_WIDTH:
        return f"{name}.{instruction.bits}"
    if name.endswith("MMA"):  # HMMA, HGMMA and those of other number formats
        return name
    if name == "MUFU":
        return "MUFU.EX2" if instruction.opcode.startswith("MUFU.EX2") else "MUFU"
    return GROUP_OF.get(name, "other")
