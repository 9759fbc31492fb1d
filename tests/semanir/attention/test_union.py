"""Union lists: what a tile of queries visits, found two ways, and attention over it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, library
from torch.utils.flop_counter import FlopCounterMode

from harness.catalogs import BACKENDS
from semanir.attention import dictionary, reference, union
from semanir.attention.backends.triton import tiles
from semanir.attention.checks import AttentionError
from semanir.attention.dictionary import DictionaryError, KeyDictionary
from semanir.attention.selection import launch
from semanir.attention.union import KeyUnion
from tests.semanir.attention.cases import CASES, DEVICE, Case
from tests.semanir.attention.test_backends import gradients, problem_of, relative_error

BACKEND = BACKENDS["triton_union"]
ATTEND = BACKEND.load()
SMALL = [
    case
    for case in CASES
    if case.name
    in {
        "without_bias",
        "every_key_without_dictionary",
        "tokens_below_a_tile",
        "shifted_rows_admit_fewer_than_k",
        "sparse_weighting",
    }
]
TILED = [
    Case("two_tiles_in_rows", window=9, top_k=4, windows=2),
    Case("patches", window=16, top_k=6, windows=2),
    Case("patches_shifted", window=16, top_k=30, windows=4, heads=1, shifted=True),
    Case("patches_packed", window=16, top_k=3, windows=1, packed=True, head_dim=30),
    Case("patches_sparse", window=16, top_k=9, windows=1, weighting=CASES[-1].weighting),
]


def with_lists(kept: KeyDictionary) -> KeyDictionary:
    return dataclasses.replace(kept, union=union.find(kept.form("bits"), kept.tokens))


def attend(q: Tensor, k: Tensor, v: Tensor, kept: KeyDictionary | None, **options: object) -> Tensor:
    return ATTEND(q, k, v, None if kept is None else with_lists(kept), **options)


@pytest.mark.parametrize("case", [*SMALL, *TILED], ids=lambda case: case.name)
def test_attention_over_lists_agrees_with_the_reference(case: Case) -> None:
    kept, options = case.kept(), case.options()
    out = attend(*case.inputs(), kept, **options)
    assert relative_error(out, reference.attend(*case.inputs(), kept, **options)) <= 1e-6


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1e-3), (torch.bfloat16, 8e-3)], ids=str)
def test_it_does_so_in_half_precision(dtype: torch.dtype, tolerance: float) -> None:
    case = TILED[0]
    q, k, v = (x.to(dtype) for x in case.inputs())
    out = attend(q, k, v, case.kept(), **case.options())
    assert out.dtype == dtype
    assert relative_error(out, reference.attend(q, k, v, case.kept(), **case.options())) <= tolerance


@pytest.mark.parametrize("case", TILED[:2], ids=lambda case: case.name)
def test_its_gradients_are_those_of_dense_attention_in_float64(case: Case) -> None:
    found = gradients(attend, case, torch.float32)
    expected = gradients(BACKENDS["mask"].load(), case, torch.float64)
    for argument, gradient in expected.items():
        least = max(float(gradient.norm()), case.windows**0.5 * case.window)
        assert (found[argument].double() - gradient).norm() <= 1e-5 * least, argument


@pytest.mark.parametrize("case", [*(case for case in SMALL if case.top_k), *TILED[:3]], ids=lambda case: case.name)
def test_a_list_names_the_keys_that_one_query_of_the_tile_keeps_in_both_ways_to_find_it(case: Case) -> None:
    kept = case.kept()
    pairs, bits = kept.form("boolean"), kept.form("bits")
    by_torch, by_triton = union.find(bits, kept.tokens), launch.unite(bits, kept.tokens)
    for field in dataclasses.fields(KeyUnion):
        assert torch.equal(getattr(by_torch, field.name), getattr(by_triton, field.name)), field.name
    assert torch.equal(by_torch.boolean(), pairs)
    tile = union.tile_of_tokens(kept.tokens, DEVICE)
    for w in range(case.windows):
        for t in range(int(tile.max()) + 1):
            expected = pairs[w, tile == t].any(0).nonzero()[:, 0]
            count = int(by_torch.counts[w, t])
            assert torch.equal(by_torch.keys[w, t, :count].long(), expected)
            assert not by_torch.keys[w, t, count:].any()


def test_tiles_are_squares_of_a_window_that_has_whole_ones_and_rows_of_others() -> None:
    squares = union.tile_of_tokens(16 * 16, DEVICE).view(16, 16)
    assert squares[::8, ::8].tolist() == [[0, 1], [2, 3]]
    assert torch.equal(squares, squares[::8, ::8].repeat_interleave(8, 0).repeat_interleave(8, 1))
    rows = union.tile_of_tokens(9 * 9, DEVICE)
    assert rows.tolist() == [0] * 64 + [1] * 17


def test_a_dictionary_has_lists_where_they_are_asked_for_however_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.randn(5, 64, 6, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    built = [
        dictionary.build(features, 3, forms={"union"}, selector=selector, validate=True).lists()
        for selector in ("torch", "triton")
    ]
    monkeypatch.setattr(union, "SCORE_ELEMENTS", 2 * 64**2)
    built.append(dictionary.build(features, 3, forms={"union"}, selector="torch").lists())
    for field in dataclasses.fields(KeyUnion):
        first, *others = (getattr(each, field.name) for each in built)
        assert all(torch.equal(first, other) for other in others)


def test_a_dictionary_without_lists_says_what_to_ask_for() -> None:
    case = CASES[0]
    with pytest.raises(DictionaryError, match="without the form 'union'; pass forms=\\{'union'\\}"):
        ATTEND(*case.inputs(), case.kept(), **case.options())


def test_validation_finds_a_list_that_lacks_a_kept_key() -> None:
    built = with_lists(CASES[0].kept())
    lists = built.lists()
    wrong = lists.keys.clone()
    wrong[1, 0, 0], wrong[1, 0, 1] = lists.keys[1, 0, 1], lists.keys[1, 0, 0]
    with pytest.raises(DictionaryError, match="union"):
        dataclasses.replace(built, union=dataclasses.replace(lists, keys=wrong)).validate()


def test_lists_of_another_shape_are_refused_with_their_name() -> None:
    case = CASES[0]
    kept = with_lists(case.kept())
    lists = kept.lists()
    fewer_windows = KeyUnion(lists.keys[:1], lists.counts[:1], lists.bits[:1])
    with pytest.raises(AttentionError, match=r"kept.union.keys: shape \(1, 1, 128\); lists for q have \(3, 1, 128\)"):
        ATTEND(*case.inputs(), dataclasses.replace(kept, union=fewer_windows), **case.options())


@pytest.mark.parametrize(
    ("window", "top_k", "refused"), [(32, 64, False), (32, 65, True), (16, 4, True), (40, 100, False)]
)
def test_it_is_for_large_windows_and_few_keys_and_names_what_else_to_take(
    window: int, top_k: int, refused: bool
) -> None:
    problem = dataclasses.replace(problem_of(CASES[0]), tokens=window**2, top_k=top_k)
    reason = BACKEND.unsupported(problem)
    assert (reason is not None) == refused
    assert reason is None or "take triton" in reason


def test_torch_counts_what_is_visited() -> None:
    case = Case("few", window=16, top_k=2, windows=2, heads=2)
    kept = with_lists(case.kept())
    counts = kept.lists().counts
    with FlopCounterMode(display=False) as counted:
        ATTEND(*case.inputs(), kept, **case.options())
    side = tiles.tile("forward_listed", 256, 16, 4).keys
    visited = sum(64 * side * -(-int(count) // side) for count in counts.flatten())
    assert counted.get_total_flops() == 4 * visited * case.heads * case.head_dim
    assert counted.get_total_flops() < BACKEND.flops(problem_of(case)).spent


def test_an_empty_batch_has_empty_lists_and_an_empty_result() -> None:
    q = torch.zeros(0, 2, 64, 16, device=DEVICE)
    for selector in ("torch", "triton"):
        kept = dictionary.build(torch.zeros(0, 64, 4, device=DEVICE), 3, forms={"union"}, selector=selector)
        assert ATTEND(q, q, q, kept).shape == q.shape


def test_the_operator_describes_itself_to_torch() -> None:
    kept = CASES[0].kept()
    library.opcheck(torch.ops.semanir.unite, (kept.form("bits"), kept.tokens))
