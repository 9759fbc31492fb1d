from __future__ import annotations

import pytest

from harness.static.sass import inner_loop, instructions, mix, moved_bytes, registers

KERNEL = """
 Function kernel:
  REG:154 STACK:0 SHARED:0 LOCAL:0 CONSTANT[0]:568 TEXTURE:0 SURFACE:0 SAMPLER:0

        code for sm_90
        /*0000*/                   LDC R1, c[0x0][0x28] ;                          /* 0x00000a00ff017b82 */
                                                                                   /* 0x000fe20000000800 */
        /*0010*/              @!P0 BRA 0x40 ;                                      /* 0x0000000000008947 */
        /*0020*/                   STL.64 [R1], R4 ;                               /* 0x0000000401007387 */
        /*0030*/                   STL [R1+0x8], R6 ;                              /* 0x0000080601007387 */
        /*0040*/                   LDGSTS.E.BYPASS.LTC128B.128 [R3], desc[UR8][R4.64], P1 ;
        /*0050*/                   LDG.E.128.CONSTANT R8, desc[UR8][R4.64] ;
        /*0060*/               @P1 LDG.E.U16 R9, desc[UR8][R6.64] ;
        /*0070*/                   LDG.E R9, desc[UR8][R6.64] ;
        /*0080*/                   HGMMA.64x128x16.F32.BF16 R24, gdesc[UR4], !UPT ;
        /*0090*/                   MUFU.EX2 R7, R7 ;
        /*00a0*/                   MUFU.RCP R7, R7 ;
        /*00b0*/                   FFMA.FTZ R2, R3, R4, -R5 ;
        /*00c0*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P1, [R7+URZ], R0 ;
        /*00d0*/              @!P1 BRA 0xc0 ;                                      /* 0x0000000000008947 */
        /*00e0*/                   FSEL R2, R3, -INF , P0 ;
        /*00f0*/                   LOP3.LUT P0, RZ, R3, 0x1, RZ, 0xc0, !PT ;
        /*0100*/         @!UPT UIADD3 UR4, UR4, 0x10, URZ ;
        /*0110*/                   LDL.64 R4, [R1] ;
        /*0120*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0130*/              @!P0 BRA 0x40 ;
        /*0140*/                   EXIT ;
        /*0150*/                   BRA 0x150;
        /*0160*/                   NOP;
"""

WITHOUT_LOOP = """
        /*0000*/                   HMMA.16816.F32.BF16 R4, R8, R12, R4 ;
        /*0010*/                   EXIT ;
        /*0020*/                   BRA 0x20;
"""


def nested(outer: int, inner: int) -> str:
    """Write a loop of `inner` additions inside a loop of `outer` more."""
    lines = ["FADD R0, R0, R1"] * (outer + inner) + [f"@P0 BRA {16 * outer:#x}", "@P1 BRA 0x0", "EXIT"]
    return "\n".join(f"        /*{16 * place:04x}*/    {line} ;" for place, line in enumerate(lines))


def test_every_instruction_is_read_with_its_predicate_left_out_and_padding_too() -> None:
    code = instructions(KERNEL)
    assert [line.address for line in code] == list(range(0, 0x160, 0x10))
    assert code[6].opcode == "LDG.E.U16"
    assert code[16].opcode == "UIADD3"
    assert registers(KERNEL) == 154


def test_a_text_without_resource_usage_is_an_error() -> None:
    with pytest.raises(ValueError, match="no resource usage"):
        registers("cuobjdump fatal: no kernel")


def test_the_inner_loop_is_neither_a_spin_inside_it_nor_the_branch_that_ends_a_kernel() -> None:
    body = inner_loop(instructions(KERNEL))
    assert body.is_loop
    assert (body.instructions[0].address, body.instructions[-1].address) == (0x40, 0x130)


def test_a_kernel_without_a_loop_is_counted_whole() -> None:
    body = inner_loop(instructions(WITHOUT_LOOP))
    assert not body.is_loop
    assert mix(body.instructions) == {"HMMA": 1, "branch": 2}


@pytest.mark.parametrize(("outer", "inner", "length"), [(10, 20, 21), (20, 10, 32)])
def test_of_nested_loops_the_inner_one_counts_where_it_holds_half_of_the_instructions(
    outer: int, inner: int, length: int
) -> None:
    assert len(inner_loop(instructions(nested(outer, inner))).instructions) == length


def test_instructions_are_counted_by_what_they_do_and_loads_by_their_width() -> None:
    """The 128 in LTC128B is a cache hint, not a width."""
    assert mix(inner_loop(instructions(KERNEL)).instructions) == {
        "LDGSTS.128": 1,
        "LDG.128": 1,
        "LDG.16": 1,
        "LDG.32": 1,
        "HGMMA": 1,
        "MUFU.EX2": 1,
        "MUFU": 1,
        "FFMA": 1,
        "wait": 1,
        "FSEL": 1,
        "LOP3": 1,
        "IADD": 1,
        "LDL": 1,
        "BAR": 1,
        "branch": 2,
    }
    assert mix(instructions(KERNEL.replace("LTC128B.128", "LTC128B")))["LDGSTS.32"] == 1


def test_spilled_bytes_follow_the_width_of_each_spill() -> None:
    code = instructions(KERNEL)
    assert (moved_bytes(code, "STL"), moved_bytes(code, "LDL")) == (12, 8)


def test_an_unknown_instruction_is_counted_too() -> None:
    assert mix(instructions("/*0000*/ NEWTHING.E R1 ;")) == {"other": 1}
