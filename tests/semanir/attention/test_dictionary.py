from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import library

from semanir.attention import dictionary, packing
from semanir.attention.dictionary import DictionaryError, Selector
from semanir.attention.regions import kept_pairs, region_ids
from semanir.attention.selection import launch
from tests.semanir.attention.cases import CASES, DEVICE, FORMS


def stable_sort_selection(scores: np.ndarray, top_k: int, admissible: np.ndarray) -> np.ndarray:
    """Select independently: a stable sort of each row, best first, ties in the order of their index."""
    kept = np.zeros(scores.shape, dtype=bool)
    for place in np.ndindex(scores.shape[:2]):
        candidates = [j for j in range(scores.shape[2]) if admissible[place][j]]
        best = sorted(candidates, key=lambda j: -scores[place][j])[:top_k]
        kept[place][best] = True
    return kept


@given(
    seed=st.integers(0, 2**16),
    window=st.sampled_from([2, 3, 4, 5]),
    share=st.floats(0, 1),
    levels=st.integers(1, 50),
    exclude_self=st.booleans(),
    shifted=st.booleans(),
    selector=st.sampled_from(["torch", "triton"]),
)
def test_the_selection_is_that_of_a_stable_sort(
    seed: int, window: int, share: float, levels: int, exclude_self: bool, shifted: bool, selector: Selector
) -> None:
    tokens = window**2
    top_k = 1 + round(share * (tokens - 1))
    # Few levels make many ties; one level makes rows that are equal throughout.
    features = torch.from_numpy(np.random.default_rng(seed).integers(0, levels, (4, tokens, 3))).float().to(DEVICE)
    regions = torch.from_numpy(region_ids(2 * window, 2 * window, window, window // 2 * shifted).copy()).to(DEVICE)
    built = dictionary.build(
        features, top_k, forms=FORMS, regions=regions, exclude_self=exclude_self, selector=selector
    )

    ids = regions.cpu().numpy()
    admissible = ids[:, :, None] == ids[:, None, :]
    if exclude_self:
        alone = admissible.sum(-1) == 1
        admissible &= ~np.eye(tokens, dtype=bool) | alone[:, :, None]
    scores = (features @ features.mT).cpu().numpy()
    expected = stable_sort_selection(scores, top_k, admissible)
    np.testing.assert_array_equal(built.form("boolean").cpu().numpy(), expected)
    np.testing.assert_array_equal(built.counts.cpu().numpy(), np.minimum(admissible.sum(-1), top_k))
    built.validate()


@pytest.mark.parametrize(("window", "top_k"), [(9, 30), (12, 143), (13, 40)])
def test_both_selectors_keep_the_same_pairs_of_real_numbers(window: int, top_k: int) -> None:
    regions = torch.from_numpy(region_ids(window, 2 * window, window, window // 2).copy()).to(DEVICE)
    features = torch.randn(2, window**2, 6, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    features[0, : window**2 // 2] = 0.0  # negative and positive zeros, ties over half a window
    features[1] *= 1e18
    by_torch, by_triton = (
        dictionary.build(features, top_k, forms=FORMS, regions=regions, selector=selector)
        for selector in ("torch", "triton")
    )
    for form in FORMS:
        assert torch.equal(by_torch.form(form), by_triton.form(form)), form
    assert torch.equal(by_torch.counts, by_triton.counts)


def test_a_dictionary_of_many_windows_is_built_in_parts_that_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    regions = torch.from_numpy(region_ids(16, 24, 8, 4).copy())
    features = torch.randn(12, 64, 5)
    whole = dictionary.build(features, 20, forms=FORMS, regions=regions)
    monkeypatch.setattr(dictionary, "SCORE_ELEMENTS", 5 * 64**2)
    parts = dictionary.build(features, 20, forms=FORMS, regions=regions)
    for form in FORMS:
        assert torch.equal(whole.form(form), parts.form(form)), form


def test_a_region_may_have_any_number() -> None:
    features = torch.randn(1, 16, 4, device=DEVICE)
    regions = torch.zeros(1, 16, dtype=torch.int64, device=DEVICE)
    regions[:, 8:] = 256
    for selector in ("torch", "triton"):
        built = dictionary.build(features, 12, forms={"boolean"}, regions=regions, selector=selector)
        assert built.counts.unique().tolist() == [8]


def test_a_row_with_nan_keeps_its_share_all_the_same() -> None:
    scores = torch.randn(1, 16, 16, device=DEVICE)
    scores[0, 3] = float("nan")
    scores[0, 4, :12] = float("nan")
    bits, counts = launch.select(scores, 5)
    assert torch.equal(packing.boolean(bits, 16).sum(-1), counts.long())
    assert counts.unique().tolist() == [5]


def test_the_dictionary_operators_describe_themselves_to_torch() -> None:
    scores = torch.randn(2, 16, 16, device=DEVICE)
    regions = torch.zeros(1, 16, dtype=torch.uint8, device=DEVICE)
    library.opcheck(torch.ops.semanir.select, (scores, regions, 5, True))
    bits, _ = launch.select(scores, 5)
    library.opcheck(torch.ops.semanir.transpose_bits, (bits,))


def test_validation_names_keys_that_do_not_exist_and_packings_that_contradict() -> None:
    built = dictionary.build(torch.randn(2, 16, 4), 3, forms=FORMS)
    stray = built.form("indices").clone()
    stray[1, 2, 0] = 16
    with pytest.raises(DictionaryError, match=r"indices\[1, 2, 0\] = 16: keys are numbered from 0 to 15"):
        dataclasses.replace(built, indices=stray).validate()
    fewer = built.form("boolean").clone()
    fewer[0, 3, fewer[0, 3].nonzero()[0]] = False
    with pytest.raises(DictionaryError, match="boolean: row 3 of window 0 does not keep the 3 keys"):
        dataclasses.replace(built, boolean=fewer).validate()
    with pytest.raises(DictionaryError, match="keep different pairs"):
        dataclasses.replace(built, boolean=built.form("boolean").roll(1, -1)).validate()


@pytest.mark.parametrize("case", [case for case in CASES if case.top_k], ids=lambda case: case.name)
def test_all_packings_describe_the_same_pairs(case: CASES) -> None:  # type: ignore[valid-type]
    kept = case.kept()
    boolean = kept.form("boolean")
    assert torch.equal(kept.form("additive")[:, 0] == 0, boolean)
    assert torch.equal(torch.isinf(kept.form("additive")[:, 0]), ~boolean)
    bits, column_bits = kept.form("bits"), kept.form("column_bits")
    key = torch.arange(kept.tokens, device=DEVICE)
    # The documented place of a key: word t, bit 2 c + e of its block stand for key 8 c + 2 t + e.
    word, bit = key // 128 * 4 + key % 8 // 2, key % 128 // 8 * 2 + key % 2
    assert torch.equal(bits[..., word] >> bit & 1 == 1, boolean)
    assert torch.equal(column_bits[..., word] >> bit & 1 == 1, boolean.mT)
    kept.validate()
    rebuilt = torch.zeros_like(boolean)
    for w, i in np.ndindex(*kept.counts.shape):
        rebuilt[w, i, kept.form("indices")[w, i, : kept.counts[w, i]].long()] = True
    assert torch.equal(rebuilt, boolean)


@pytest.mark.parametrize(
    ("height", "width", "window", "shift"),
    [(16, 24, 8, 4), (12, 12, 4, 2), (8, 8, 8, 4), (15, 10, 5, 2), (16, 24, 8, 0), (4, 12, 4, 1)],
)
@pytest.mark.parametrize("top_k", [1, 5, 16])
@pytest.mark.parametrize("exclude_self", [False, True])
def test_pairs_are_counted_without_torch_as_they_are_kept(
    height: int, width: int, window: int, shift: int, top_k: int, exclude_self: bool
) -> None:
    regions = torch.from_numpy(region_ids(height, width, window, shift).copy())
    features = torch.randn(regions.shape[0], window**2, 4)
    built = dictionary.build(features, top_k, forms=(), regions=regions, exclude_self=exclude_self)
    assert int(built.counts.sum()) == kept_pairs(height, width, window, shift, top_k, exclude_self)


@pytest.mark.parametrize("similarity", ["dot", "cosine", "scaled_dot"])
def test_the_order_of_windows_and_the_dtype_of_features_do_not_change_the_choice(similarity: str) -> None:
    features = torch.randn(3, 16, 8).half()
    half = dictionary.build(features, 5, forms={"boolean"}, similarity=similarity)
    full = dictionary.build(features.float().flip(0), 5, forms={"boolean"}, similarity=similarity)
    assert torch.equal(half.form("boolean").flip(0), full.form("boolean"))


def test_cosine_ignores_the_length_of_features_and_dot_does_not() -> None:
    features = torch.randn(1, 16, 8)
    longer = features * torch.linspace(0.1, 10, 16)[:, None]
    kept = {
        (similarity, name): dictionary.build(x, 4, forms={"boolean"}, similarity=similarity).form("boolean")
        for similarity in ("dot", "cosine")
        for name, x in (("features", features), ("longer", longer))
    }
    assert torch.equal(kept["cosine", "features"], kept["cosine", "longer"])
    assert not torch.equal(kept["dot", "features"], kept["dot", "longer"])


def test_no_gradient_flows_through_the_dictionary() -> None:
    features = torch.randn(1, 16, 8, requires_grad=True)
    assert not dictionary.build(features, 4, forms={"additive"}).form("additive").requires_grad


@pytest.mark.parametrize("top_k", [0, 17])
def test_a_k_outside_the_window_is_refused_with_its_range(top_k: int) -> None:
    with pytest.raises(DictionaryError, match=f"top_k = {top_k}: a row of 16 tokens keeps between 1 and 16"):
        dictionary.build(torch.zeros(1, 16, 4), top_k, forms=())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_validation_finds_features_without_an_order(value: float) -> None:
    features = torch.zeros(1, 16, 4)
    features[0, 3, 1] = value
    with pytest.raises(DictionaryError, match="NaN or inf"):
        dictionary.build(features, 4, forms=(), validate=True)


def test_regions_that_do_not_fit_the_windows_are_refused() -> None:
    with pytest.raises(DictionaryError, match="regions"):
        dictionary.build(torch.zeros(3, 16, 4), 4, forms=(), regions=torch.zeros(2, 16, dtype=torch.uint8))


def test_a_packing_that_was_not_asked_for_is_named_with_the_remedy() -> None:
    built = dictionary.build(torch.zeros(1, 16, 4), 4, forms={"bits"})
    with pytest.raises(DictionaryError, match=r"forms=\{'indices'\}"):
        built.form("indices")
