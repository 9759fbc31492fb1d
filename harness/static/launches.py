"""Which kernels a GPU would compile for representative problems, as Triton's own launcher specialises them.

The real launch code runs on tensors that nobody reads, with a stand-in for the device and Triton's cache hook in the
place of the compiler: tiles, constants, alignments and options are those of a GPU, and no second list of them exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from semanir.attention import packing
from semanir.attention.backends.triton import launch
from semanir.attention.problem import UNION_TILE
from semanir.attention.selection import launch as selection
from semanir.attention.union import KeyUnion

HEADS = 6
IMAGE_TOKENS = 128 * 128
"""The image whose windows are attended to: enough of them that no count of windows is 1."""


@dataclass(frozen=True, kw_only=True)
class Attention:
    """One attention layer, whose kernels are compiled: forward, and backward where it is trained."""

    name: str
    window: int
    """Side of the window in tokens."""
    head_dim: int = 32
    dtype: torch.dtype = torch.bfloat16
    bias: bool = False
    """A bias table and one scale a head, as SemanIR learns them."""
    sparse: bool = False
    """AST's weighting, which is scaled by one number."""
    trained: bool = True
    table: bool = False
    """The bias table's gradient, too."""
    listed: bool = False
    """The forward visits union lists."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """One dictionary: its rows of bits, and their transposition where `transposed`."""

    name: str
    window: int
    shifted: bool = False
    """The windows are shifted, so that regions are kept apart."""
    transposed: bool = False
    united: bool = False
    """Union lists are made of its bits."""


PROBLEMS: tuple[Attention | Selection, ...] = (
    Attention(name="N=64 bf16 bias", window=8, bias=True, table=True),
    Attention(name="N=256 bf16 bias", window=16, bias=True),
    Attention(name="N=1024 bf16 bias", window=32, bias=True, table=True),
    Attention(name="N=256 bf16", window=16),
    Attention(name="N=1024 bf16", window=32),
    Attention(name="N=64 bf16 bias sparse", window=8, bias=True, sparse=True),
    Attention(name="N=1024 fp32 bias", window=32, bias=True, dtype=torch.float32, trained=False),
    Attention(name="N=1024 bf16 bias d=30", window=32, bias=True, head_dim=30, trained=False),
    Attention(name="N=1024 bf16 bias lists", window=32, bias=True, trained=False, listed=True),
    Selection(name="N=64", window=8),
    Selection(name="N=256", window=16),
    Selection(name="N=1024", window=32, transposed=True, united=True),
    Selection(name="N=1024 shifted", window=32, shifted=True),
)
"""At most 35 launches, so that a target compiles in less than a minute on two cores."""


@dataclass(frozen=True)
class Launch:
    """One compilation that a GPU would do."""

    name: str
    """Kernel and problem."""
    function: JITFunction[Any]
    specialization: str
    """Triton's own description: signature, constants, alignments and options, as JSON."""
    scores: int | None
    """Scores that a block computes in one pass of its loop; None for kernels without tiles of scores."""


class _NoDevice:
    """Answers what Triton's launcher asks of a device before it compiles."""

    def __init__(self, target: GPUTarget) -> None:
        self._target = target

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def record(capability: int) -> list[Launch]:
    """Return the launches of all problems for compute capability `capability` (90 for sm_90), equal ones once.

    Once a process, before it compiles anything: Triton would launch what it has compiled. Its driver stays a stand-in.
    """
    driver.set_active(_NoDevice(GPUTarget("cuda", capability, 32)))
    found: dict[str, Launch] = {}
    for problem in PROBLEMS:
        with _recorded(problem.name, found):
            match problem:
                case Attention():
                    _attend(problem)
                case Selection():
                    _select(problem)
    return list(found.values())


@contextmanager
def _recorded(problem: str, found: dict[str, Launch]) -> Iterator[None]:
    def note(*, key: str, fn: Any, compile: dict[str, Any], **_: Any) -> bool:  # noqa: A002 - Triton's name
        function = fn.jit_function
        constants = {function.arg_names[path[0]]: value for path, value in compile["constants"].items()}
        tiled = "QUERIES" in constants and "KEYS" in constants
        launched = Launch(
            name=f"{function.__name__}/{problem}",
            function=function,
            specialization=compile["specialization_data"],
            scores=constants["QUERIES"] * constants["KEYS"] if tiled else None,
        )
        found.setdefault(f"{fn.name}{key}", launched)
        return True  # stands for "compiled already": the launcher returns without a kernel

    before = knobs.runtime.jit_cache_hook
    knobs.runtime.jit_cache_hook = note
    try:
        yield
    finally:
        knobs.runtime.jit_cache_hook = before


def _attend(problem: Attention) -> None:
    tokens = problem.window**2
    windows = IMAGE_TOKENS // tokens
    # As the projection of a layer leaves them: query, key and value of all heads in one row of memory.
    packed = torch.empty(windows, tokens, 3, HEADS, problem.head_dim, dtype=problem.dtype)
    q, k, v = packed.permute(2, 0, 3, 1, 4)
    bits = torch.empty(windows, tokens, packing.words(tokens), dtype=torch.int32)
    call = launch.Call(
        q,
        k,
        v,
        bits,
        table=torch.zeros((2 * problem.window - 1) ** 2, HEADS) if problem.bias else None,
        scale=torch.ones(HEADS) if problem.bias and not problem.sparse else problem.head_dim**-0.5,
        factors=torch.ones(2) if problem.sparse else None,
        window=problem.window if problem.bias else 1,
        union=_lists(windows, tokens, bits) if problem.listed else None,
    )
    out, lse = launch.attend(call)
    if problem.trained:
        launch.differentiate(call, torch.empty_like(out), out, lse, bits, table=problem.table)


def _lists(windows: int, tokens: int, bits: torch.Tensor) -> KeyUnion:
    tiles = -(-tokens // UNION_TILE)
    keys = torch.empty(windows, tiles, packing.words(tokens) * 32, dtype=torch.int16)
    return KeyUnion(keys, torch.empty(windows, tiles, dtype=torch.int32), bits)


def _select(problem: Selection) -> None:
    tokens = problem.window**2
    windows = IMAGE_TOKENS // tokens
    scores = torch.empty(windows, tokens, tokens)
    regions = torch.zeros(windows, tokens, dtype=torch.uint8) if problem.shifted else None
    bits, _ = selection.select(scores, tokens // 2, regions=regions)
    if problem.transposed:
        selection.transpose(bits)
    if problem.united:
        selection.unite(bits, tokens)
