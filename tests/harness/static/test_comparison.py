from __future__ import annotations

from typing import Any

import pytest

from harness.static.comparison import compare
from harness.static.cost import TARGETS, Compiled, Cost, broken_rules

MIX = {"HGMMA": 10, "MUFU.EX2": 66, "FFMA": 400, "LDGSTS.128": 4, "LDGSTS.32": 2, "BAR": 10}
BEFORE = Cost(
    registers=154,
    spill_store_bytes=0,
    spill_load_bytes=0,
    shared_bytes=38 * 1024,
    warps=4,
    resident_blocks=3,
    products=2,
    scores=64 * 128,
    is_loop=True,
    mix=MIX,
)
NAME = "forward/N=1024 bf16"


def changed(**changes: Any) -> Cost:
    return BEFORE.model_copy(update=changes)


def mixed(**changes: int) -> Cost:
    names = {name.replace("_", "."): count for name, count in changes.items()}
    return changed(mix={name: count for name, count in (MIX | names).items() if count})


def lines(now: Cost) -> list[tuple[bool, str]]:
    differences = compare({NAME: BEFORE}, [Compiled(place=0, name=NAME, cost=now)], "sm_90")
    return [(difference.is_worse, str(difference)) for difference in differences]


def test_equal_costs_do_not_differ() -> None:
    assert lines(BEFORE) == []


def test_what_got_worse_is_said_with_both_numbers() -> None:
    now = changed(registers=182, resident_blocks=2)
    assert lines(now) == [(True, "forward/N=1024 bf16 sm_90: registers 154 -> 182, resident warps 12 -> 8")]


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (changed(spill_store_bytes=8), "bytes of spill stores 0 -> 8"),
        (changed(spill_load_bytes=16), "bytes of spill loads 0 -> 16"),
        (changed(shared_bytes=39 * 1024), "shared memory in bytes 38912 -> 39936"),
        (changed(resident_blocks=0), "resident warps 12 -> 0"),
        (mixed(LDL=1), "spills in the inner loop 0 -> 1"),
        (mixed(HGMMA=0), "tensor-core instructions 10 -> 0"),
        (mixed(HGMMA=6), "tensor-core instructions 10 -> 6"),
        (mixed(LDGSTS_128=0), "128-bit loads 4 -> 0"),
        (mixed(LDGSTS_128=2, LDGSTS_32=10), "128-bit loads 4 -> 2"),
        (mixed(FFMA=415), "inner loop 492 -> 507 instructions (7.688 -> 7.922 a score, +3.0%)"),
        (changed(warps=8, resident_blocks=2), "warps of a block 4 -> 8"),
    ],
)
def test_each_loss_alone_makes_a_kernel_worse(now: Cost, words: str) -> None:
    ((is_worse, line),) = lines(now)
    assert is_worse
    assert words in line


@pytest.mark.parametrize(
    "now",
    [
        changed(registers=168),
        changed(registers=128, resident_blocks=4),
        changed(shared_bytes=1024),
        mixed(FFMA=414),
        mixed(FFMA=100),
        changed(scores=64 * 64, mix={name: count // 2 for name, count in MIX.items()}),
        mixed(HGMMA=0, HMMA=8, FFMA=380),
    ],
    ids=["registers alone", "fewer registers", "less shared memory", "2.8 %", "shorter", "half a tile", "wider kind"],
)
def test_what_costs_nothing_is_told_and_is_not_worse(now: Cost) -> None:
    ((is_worse, line),) = lines(now)
    assert not is_worse
    assert "->" in line


def test_a_baseline_that_does_not_describe_the_kernels_is_worse_than_none() -> None:
    compiled = [
        Compiled(place=0, name="new/N=64", cost=BEFORE),
        Compiled(place=1, name="broken/N=64", error="PTXASError: C7602"),
        Compiled(place=2, name=NAME, cost=changed(registers=100)),
    ]
    differences = compare({NAME: BEFORE, "gone/N=64": BEFORE}, compiled, "sm_80")
    assert [(difference.is_worse, str(difference)) for difference in differences] == [
        (True, "new/N=64 sm_80: not in the baseline"),
        (True, "broken/N=64 sm_80: does not compile: PTXASError: C7602"),
        (True, "gone/N=64 sm_80: no longer launched"),
        (False, "forward/N=1024 bf16 sm_80: registers 154 -> 100"),
    ]


def test_the_rules_for_every_kernel_say_what_is_broken() -> None:
    assert list(broken_rules(BEFORE)) == []
    broken = changed(resident_blocks=0, mix={"FFMA": 9, "LDL": 2, "STL": 1, "LDG.32": 4})
    assert [words.partition(" ")[0] for words in broken_rules(broken)] == ["3", "38912", "no", "no"]
    assert list(broken_rules(broken.model_copy(update={"products": 0, "mix": {"FFMA": 9}, "resident_blocks": 1}))) == []


@pytest.mark.parametrize(
    ("target", "registers", "warps", "shared_bytes", "blocks"),
    [
        ("sm_90", 154, 8, 43 * 1024, 1),
        ("sm_90", 128, 8, 43 * 1024, 2),
        ("sm_90", 154, 4, 38 * 1024, 3),
        ("sm_90", 110, 4, 21 * 1024, 4),
        ("sm_90", 255, 4, 43 * 1024, 2),
        ("sm_90", 32, 4, 0, 16),
        ("sm_90", 16, 1, 0, 32),
        ("sm_80", 64, 4, 82 * 1024, 1),
        ("sm_90", 64, 4, 82 * 1024, 2),
        ("sm_80", 64, 4, 164 * 1024, 0),
    ],
)
def test_resident_blocks_are_those_of_the_occupancy_rules(
    target: str, registers: int, warps: int, shared_bytes: int, blocks: int
) -> None:
    """Registers, shared memory with its KiB a block, warps, and blocks: whichever ends first."""
    found = TARGETS[target].resident_blocks(registers=registers, warps=warps, shared_bytes=shared_bytes)
    assert found == blocks
