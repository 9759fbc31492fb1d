"""What only our kernels promise: every shape and tile, gradients without a gap, and all of torch around them."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, library
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from harness.catalogs import BACKENDS
from semanir.attention import reference
from semanir.attention.backends.triton import launch, operators, tiles
from semanir.attention.backends.triton.tiles import Tile
from semanir.attention.signature import SOFTMAX, Bias, Weighting
from tests.semanir.attention.cases import DEVICE, Case
from tests.semanir.attention.test_backends import problem_of, relative_error

ATTEND = BACKENDS["triton"].load()
PLAIN = Case("plain", window=4, top_k=5, windows=2, heads=2, head_dim=8)


@st.composite
def family(draw: st.DrawFn) -> Case:
    """Any problem that is small enough for the reference's loops."""
    window = draw(st.sampled_from([2, 3, 4, 5, 7, 8]))
    shifted = draw(st.booleans())
    return Case(
        "drawn",
        window=window,
        top_k=draw(st.none() | st.sampled_from([1, window**2]) | st.integers(1, window**2)),
        windows=4 if shifted else draw(st.integers(1, 2)),
        heads=draw(st.integers(1, 2)),
        head_dim=draw(st.sampled_from([1, 5, 8, 16, 30, 32, 33, 64])),
        shifted=shifted,
        ties=draw(st.booleans()),
        exclude_self=draw(st.booleans()),
        bias=draw(st.booleans()),
        packed=draw(st.booleans()),
        weighting=draw(st.sampled_from([SOFTMAX, Weighting(0.6, 0.4), Weighting(0.0, 1.0)])),
    )


@settings(max_examples=10)
@given(
    case=family(),
    queries=st.sampled_from([16, 32, 64]),
    keys=st.sampled_from([16, 32, 64]),
    parts=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.float16]),
)
def test_any_shape_in_any_tile_agrees_with_the_reference_forward_and_backward(
    case: Case, queries: int, keys: int, parts: int, dtype: torch.dtype
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "tile", lambda *problem: Tile(queries, keys))
        patch.setattr(launch, "PARTS", parts)  # of the windows, in the gradient of the table: also uneven ones
        agree(case, dtype)


@pytest.mark.parametrize(
    ("case", "tile", "dtype"),
    [
        (Case("two_blocks_of_bits", window=12, top_k=40, windows=3, heads=1, head_dim=8), Tile(64, 32), torch.float32),
        (Case("whole_blocks", window=16, top_k=30, windows=1, heads=1, head_dim=8), Tile(64, 128), torch.float32),
        (Case("queries_past_a_block", window=12, windows=1, heads=1, head_dim=8), Tile(128, 64), torch.float32),
        (Case("wide_heads", window=5, top_k=9, windows=2, heads=1, head_dim=80), Tile(16, 32), torch.float16),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else None,
)
def test_windows_of_more_than_one_block_agree_too(case: Case, tile: Tile, dtype: torch.dtype) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "tile", lambda *problem: tile)
        patch.setattr(launch, "PARTS", 2)
        agree(case, dtype)


def agree(case: Case, dtype: torch.dtype) -> None:
    """Hold output and all gradients to the reference in float64."""
    out, found = forward_and_gradients(ATTEND, case, dtype)
    expected, wanted = forward_and_gradients(reference.attend, case, dtype, exact=True)
    assert found.keys() == wanted.keys()
    tolerance = 1e-5 if dtype == torch.float32 else 2e-3
    assert relative_error(out, expected) <= tolerance
    # What the rounding of weights and scores to the input's precision can do to a sum that cancels: the scale's
    # gradient is the sum of q dQ / scale over all tokens, and errors are as large as its terms, not as their sum.
    size = {argument: max(float(each.norm()) for each in wanted.values()) for argument in wanted}
    terms = case.inputs()[0].double() * wanted["q"] / case.options()["scale"].view(-1, 1, 1)
    size["scale"] = max(size["scale"], float(terms.abs().sum()))
    for argument, gradient in wanted.items():
        error = float((found[argument].double() - gradient).norm())
        assert error <= tolerance * max(1.0, size[argument]), argument


def forward_and_gradients(
    attend: Any, case: Case, dtype: torch.dtype, *, exact: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return output and gradients; `exact` computes them in float64 from the same rounded inputs."""
    wide = torch.float64 if exact else dtype
    shared = torch.float64 if exact else torch.float32
    q, k, v = (x.to(dtype).to(wide) for x in case.inputs())
    if not case.packed:
        q, k, v = (x.contiguous() for x in (q, k, v))
    learned = {"q": q.requires_grad_(), "k": k.requires_grad_(), "v": v.requires_grad_()}
    options = case.options()
    learned["scale"] = options["scale"] = options["scale"].to(shared).requires_grad_()
    if options["bias"] is not None:
        learned["table"] = options["bias"].table.to(shared).requires_grad_()
        options["bias"] = Bias(learned["table"], options["bias"].index)
    if case.weighting.relu_squared is not None:
        factors = torch.tensor(
            [case.weighting.softmax, case.weighting.relu_squared], dtype=shared, device=DEVICE, requires_grad=True
        )
        options["weighting"] = Weighting(factors[0], factors[1])
        learned["factors"] = factors
    out = attend(q, k, v, case.kept(), **options)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(4)).to(DEVICE, dtype).to(wide)
    out.backward(weights)
    return out.detach(), {name: leaf.grad for name, leaf in learned.items() if leaf.grad is not None}


@pytest.mark.parametrize("scale", [0.0, -0.7])
@pytest.mark.parametrize("bias", [False, True])
def test_a_scale_that_is_no_positive_number_is_a_scale(scale: float, bias: bool) -> None:
    case = dataclasses.replace(PLAIN, bias=bias)
    options = case.options() | {"scale": scale}
    out = ATTEND(*case.inputs(), case.kept(), **options)
    assert relative_error(out, reference.attend(*case.inputs(), case.kept(), **options)) <= 1e-6


def test_scores_of_tens_of_thousands_stay_finite_in_both_directions() -> None:
    case = dataclasses.replace(PLAIN, bias=False)
    q, k, v = (x.requires_grad_() for x in case.inputs())
    out = ATTEND(q, k, v, case.kept(), scale=3e4)
    out.square().sum().backward()
    exact = [x.double().requires_grad_() for x in case.inputs()]
    expected = reference.attend(*exact, case.kept(), scale=3e4)
    expected.square().sum().backward()
    # Scores are that far off by float32's rounding alone, and a weight is off, relatively, by what its score is.
    rounding = float((exact[0] @ exact[1].mT).detach().abs().max()) * 3e4 * torch.finfo(torch.float32).eps
    assert 1e-3 < rounding < 0.1
    assert relative_error(out.detach(), expected.detach()) <= rounding
    assert relative_error(v.grad, exact[2].grad) <= rounding
    # Nearly all weights are 0 or 1 here, so the gradients of q and k are differences that cancel.
    assert all(torch.isfinite(x.grad).all() for x in (q, k))


def test_the_backward_gives_the_same_bits_from_run_to_run() -> None:
    case = Case("deterministic", window=8, top_k=20, windows=4, shifted=True)
    first, second = (forward_and_gradients(ATTEND, case, torch.float32)[1] for _ in range(2))
    for argument, gradient in first.items():
        assert torch.equal(gradient, second[argument]), argument


def test_a_dictionary_without_column_bits_gives_the_same_gradients() -> None:
    kept = PLAIN.kept()
    assert kept is not None
    without = dataclasses.replace(kept, column_bits=None)
    gradients = []
    for dictionary in (kept, without):
        q, k, v = (x.requires_grad_() for x in PLAIN.inputs())
        ATTEND(q, k, v, dictionary, **PLAIN.options()).square().sum().backward()
        gradients.append((q.grad, k.grad, v.grad))
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def test_bits_with_gaps_between_them_are_the_same_dictionary() -> None:
    kept = PLAIN.kept()
    assert kept is not None
    loose = {name: kept.form(name).repeat_interleave(2, -1)[..., ::2] for name in ("bits", "column_bits")}
    results = []
    for dictionary in (kept, dataclasses.replace(kept, **loose)):
        q, k, v = (x.requires_grad_() for x in PLAIN.inputs())
        out = ATTEND(q, k, v, dictionary, **PLAIN.options())
        out.square().sum().backward()
        results.append((out, q.grad, k.grad, v.grad))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("learned", [False, True])
def test_an_empty_batch_has_gradients_of_zero(learned: bool) -> None:
    case = dataclasses.replace(PLAIN, heads=3, weighting=Weighting(0.6, 0.4))
    options = case.options()
    options["scale"].requires_grad_()
    options["bias"].table.requires_grad_(learned)
    factors = torch.tensor([0.6, 0.4], requires_grad=True)
    options["weighting"] = Weighting(factors[0], factors[1])
    q, k, v = (x[:0].requires_grad_() for x in case.inputs())
    ATTEND(q, k, v, None, **options).sum().backward()
    assert q.grad.shape == q.shape
    assert torch.equal(options["scale"].grad, torch.zeros(3))
    assert torch.equal(factors.grad, torch.zeros(2))
    assert not learned or torch.equal(options["bias"].table.grad, torch.zeros(49, 3))


def operator_arguments(case: Case) -> tuple[Any, ...]:
    kept, options = case.kept(), case.options()
    assert kept is not None
    table = None if options["bias"] is None else options["bias"].table.requires_grad_()
    factors = None
    if case.weighting.relu_squared is not None:
        factors = torch.tensor([0.6, 0.4], requires_grad=True)
    q, k, v = (x.requires_grad_() for x in case.inputs())
    scales = options["scale"].requires_grad_()
    window = case.window if case.bias else 1
    return q, k, v, kept.bits, kept.column_bits, table, scales, factors, 0.0, window, kept.top_k


@pytest.mark.parametrize(
    "case",
    [
        PLAIN,
        dataclasses.replace(PLAIN, bias=False, packed=True),
        dataclasses.replace(PLAIN, weighting=Weighting(0.6, 0.4)),
    ],
    ids=["bias", "packed", "sparse"],
)
def test_the_operator_describes_itself_to_torch(case: Case) -> None:
    library.opcheck(torch.ops.semanir.attend, operator_arguments(case))


COMPILED = """
import torch
from tests.semanir.attention.test_triton import ATTEND, PLAIN

kept, options = PLAIN.kept(), PLAIN.options()
options["bias"].table.requires_grad_()


def block(q, k, v):
    return ATTEND(q * 2.0, k, v, kept, **options) + v


results = []
for run in (block, torch.compile(block, fullgraph=True, backend="aot_eager")):
    q, k, v = (x.requires_grad_() for x in PLAIN.inputs())
    options["bias"].table.grad = None
    out = run(q, k, v)
    out.square().sum().backward()
    results.append((out, q.grad, k.grad, v.grad, options["bias"].table.grad))
for one, other in zip(*results, strict=True):
    torch.testing.assert_close(one, other)
"""


def test_a_compiled_network_without_a_graph_break_gives_the_same() -> None:
    # In a process of its own: torch cannot trace the shape checker that wraps everything here.
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", COMPILED], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_autocast_computes_in_its_precision() -> None:
    kept, options = PLAIN.kept(), PLAIN.options()
    with torch.autocast("cpu", torch.bfloat16):
        out = ATTEND(*PLAIN.inputs(), kept, **options)
    assert out.dtype == torch.bfloat16
    assert relative_error(out, reference.attend(*PLAIN.inputs(), kept, **options)) <= 2e-2


def test_a_checkpointed_layer_gives_the_same_gradients() -> None:
    kept, options = PLAIN.kept(), PLAIN.options()
    gradients = []
    for recompute in (False, True):
        q, k, v = (x.requires_grad_() for x in PLAIN.inputs())
        if recompute:
            out = checkpoint(lambda *x: ATTEND(*x, kept, **options), q, k, v, use_reentrant=False)
        else:
            out = ATTEND(q, k, v, kept, **options)
        out.square().sum().backward()
        gradients.append((q.grad, k.grad, v.grad))
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def test_torch_counts_what_is_spent_and_on_request_what_is_useful() -> None:
    q, k, v = (x.requires_grad_() for x in PLAIN.inputs())
    kept = PLAIN.kept()
    flops = BACKENDS["triton"].flops(problem_of(PLAIN))
    with FlopCounterMode(display=False) as spent:
        out = ATTEND(q, k, v, kept, **PLAIN.options())
    assert spent.get_total_flops() == flops.spent
    with FlopCounterMode(display=False, custom_mapping=operators.USEFUL) as useful:
        out = ATTEND(q, k, v, kept, **PLAIN.options())
    assert useful.get_total_flops() == flops.useful
    with FlopCounterMode(display=False, custom_mapping=operators.USEFUL) as useful:
        out.sum().backward()
    assert useful.get_total_flops() == flops.useful * 5 // 2


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("weighting", [SOFTMAX, Weighting(0.6, 0.4)], ids=["softmax", "sparse"])
def test_the_operations_of_every_kernel_are_counted(bias: bool, weighting: Weighting) -> None:
    case = dataclasses.replace(PLAIN, bias=bias, weighting=weighting)
    options = case.options()
    if bias:
        options["bias"].table.requires_grad_()
    q, k, v = (x.requires_grad_() for x in case.inputs())
    kept = case.kept()
    one_product = 2 * case.windows * case.heads * 16**2 * 16  # 16 tokens, and heads of 8 padded to 16
    with FlopCounterMode(display=False) as counted:
        out = ATTEND(q, k, v, kept, **options)
    sparse = weighting is not SOFTMAX
    assert counted.get_total_flops() == (2 + sparse) * one_product
    with FlopCounterMode(display=False) as counted:
        out.sum().backward()
    assert counted.get_total_flops() == (7 + 2 * sparse + 2 * bias) * one_product


def test_a_slice_of_a_table_is_found_from_every_tile() -> None:
    """The span of the table that a tile reads holds every offset of its pairs, wherever tiles begin."""
    for window in (2, 3, 5, 7, 8, 12, 16, 24, 32):
        tokens, places = window**2, 2 * window - 1
        for side in (16, 32, 64, 128):
            span = tiles.table_span(window, tokens, Tile(side, side))
            for first_query in range(0, tokens, side):
                for first_key in range(0, tokens, side):
                    last_query, last_key = (min(first + side, tokens) - 1 for first in (first_query, first_key))
                    start = (first_query // window - last_key // window + window - 1) * places
                    stop = (last_query // window - first_key // window + window) * places
                    assert start >= 0
                    assert stop - start <= span
            assert span >> int(math.log2(span)) == 1


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("head_dim", [8, 20, 30, 32, 40, 64])
@pytest.mark.parametrize("window", [7, 8, 12, 16, 32])
def test_the_compiled_kernels_agree_with_dense_attention_in_float64(
    window: int, head_dim: int, dtype: torch.dtype
) -> None:
    """On a GPU only: real tiles, tensor cores and rounding, forward and backward, with a bias."""
    case = Case("compiled", window=window, top_k=window**2 // 4, windows=4, heads=2, head_dim=head_dim, shifted=True)
    tolerance = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}[dtype]
    out, found = forward_and_gradients(ATTEND, case, dtype)
    expected, wanted = forward_and_gradients(BACKENDS["mask"].load(), case, dtype, exact=True)
    assert relative_error(out, expected) <= tolerance
    for argument in ("q", "k", "v", "table"):
        assert relative_error(found[argument], wanted[argument]) <= 2 * tolerance, argument
    again = forward_and_gradients(ATTEND, case, dtype)[1]
    assert all(torch.equal(gradient, again[argument]) for argument, gradient in found.items())


@gpu
@pytest.mark.gpu
def test_a_cuda_graph_replays_the_layer() -> None:
    case = dataclasses.replace(PLAIN, bias=False)
    q, k, v = case.inputs()
    kept = case.kept()
    expected = reference.attend(q, k, v, kept, scale=0.3)
    graph = torch.cuda.CUDAGraph()
    ATTEND(q, k, v, kept, scale=0.3)  # compiles, which a graph cannot hold
    with torch.cuda.graph(graph):
        out = ATTEND(q, k, v, kept, scale=0.3)
    out.zero_()
    graph.replay()
    assert relative_error(out, expected) <= 1e-5
