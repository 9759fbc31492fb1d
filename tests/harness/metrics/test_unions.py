"""The keys that the queries of a tile keep between them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.metrics.unions import METRIC
from harness.record import Cell, Timing
from harness.trial import Trial
from harness.unions import measure
from harness.unions.names import ACCESSES, LOCAL, RANDOM, SHIFTED, TOKENS, Name, parse, random_share, tiles_of
from semanir.attention import dictionary
from semanir.attention.regions import region_ids


def kept_of(tokens: int, *rows: tuple[int, set[int]]) -> Tensor:
    """One window in which every query keeps itself alone, but for the rows given."""
    kept = torch.eye(tokens, dtype=torch.bool)
    for query, keys in rows:
        kept[query] = False
        kept[query, list(keys)] = True
    return kept[None]


def share(kept: Tensor, **wanted: Any) -> float:
    name = Name(**{"source": "1", "order": "rows", "access": "list", "keys": 1, **wanted})
    (value,) = measure.count(kept, "1")[name].tolist()
    return value


def cell_of(**axes: Any) -> Cell:
    fixed = {"model": "semanir/small", "task": "denoise", "dataset": "bundled", "setting": "sigma=25"}
    return Cell(**{**fixed, "backend": "gather", "weights": "shipped", "window": 8, "top_k": 8, **axes})


def test_queries_that_keep_the_same_keys_need_those_alone() -> None:
    kept = kept_of(64, *((query, {0, 1, 40}) for query in range(64)))
    assert share(kept, queries=16) == share(kept, queries=64) == 3 / 64
    assert share(kept, queries=16, keys=32) == 1 / 2  # three keys are one step of 32, of two
    assert share(kept, queries=16, access="blocks", keys=16) == 2 / 4
    assert share(kept, queries=16, access="blocks", keys=32) == 1.0


def test_every_tile_counts_once_and_has_a_union_of_its_own() -> None:
    kept = kept_of(64, *((query, {query % 4}) for query in range(16)))
    assert share(kept, queries=16) == pytest.approx((4 + 16 + 16 + 16) / 4 / 64)
    assert share(kept, queries=32) == pytest.approx((20 + 32) / 2 / 64)
    assert share(kept, queries=64) == pytest.approx(52 / 64)


def test_tiles_and_blocks_that_reach_over_the_window_hold_what_is_left() -> None:
    """A window of 7 x 7 has 49 tokens: three tiles of 16 queries and one of a single query."""
    assert tiles_of(49) == (16, 32, 49)
    assert share(kept_of(49), queries=16) == pytest.approx((16 + 16 + 16 + 1) / 4 / 49)
    assert share(kept_of(49), queries=32) == pytest.approx((32 + 17) / 2 / 49)
    assert share(kept_of(49), queries=49, keys=32) == 1.0  # 49 keys are two steps of 32, as all keys are
    last = kept_of(49, (48, {48}), *((query, {0}) for query in range(48)))
    assert share(last, queries=16, access="blocks", keys=32) == pytest.approx(1 / 2)
    assert share(last, queries=49, access="blocks", keys=64) == 1.0


def test_patches_are_square_runs_of_the_window() -> None:
    order = measure.morton(16)
    assert sorted(order.tolist()) == list(range(256))
    for queries, (height, width) in {16: (4, 4), 32: (4, 8), 64: (8, 8), 128: (8, 16)}.items():
        for tile in order.split(queries):
            rows, columns = tile // 16, tile % 16
            assert (rows.unique().numel(), columns.unique().numel()) == (height, width)


def test_patches_of_queries_need_fewer_of_their_neighbours_than_rows() -> None:
    near = measure.nearest(16, 9)
    in_rows, in_patches = (share(near, queries=64, order=order) for order in ("rows", "patches"))
    assert in_patches < in_rows
    corner = (9 * 9 + 3) / 256  # a patch of 8 x 8, the ring on its two inner sides, and what the window's corners want
    assert in_patches == pytest.approx(corner, abs=3 / 256)


@settings(max_examples=8)
@given(st.integers(2, 6), st.integers(0, 10_000), st.floats(0.02, 0.6))
def test_a_share_is_what_loops_over_tiles_and_steps_count(window: int, seed: int, density: float) -> None:
    tokens = window**2
    kept = torch.rand(2, tokens, tokens, generator=torch.Generator().manual_seed(seed)) < density
    counted = measure.count(kept, "1")
    for name, of_windows in counted.items():
        order = list(range(tokens)) if name.order == "rows" else measure.morton(window).tolist()
        for w, of_window in enumerate(of_windows.tolist()):
            shares = []
            for begin in range(0, tokens, name.queries):
                tile = order[begin : begin + name.queries]
                union = [bool(kept[w, tile, key].any()) for key in order]
                pieces = [union[begin : begin + name.keys] for begin in range(0, tokens, name.keys)]
                steps = sum(map(any, pieces)) if name.access == "blocks" else -(-sum(union) // name.keys)
                shares.append(steps / len(pieces))
            assert of_window == pytest.approx(sum(shares) / len(shares))


@pytest.mark.parametrize(("tokens", "top_k", "queries", "keys"), [(64, 2, 4, 1), (64, 2, 4, 16), (49, 2, 4, 16)])
def test_the_expectation_of_random_keys_is_what_drawing_gives(tokens: int, top_k: int, queries: int, keys: int) -> None:
    expected = random_share(tokens, top_k, queries=queries, keys=keys)
    drawn = torch.rand(400, tokens, tokens, generator=torch.Generator().manual_seed(0)).argsort(-1) < top_k
    union = measure.union(drawn, queries)
    shares = measure.visited(union, "blocks", keys)
    assert float(shares.mean()) == pytest.approx(expected, abs=4 * float(shares.std()) / 20)


def test_the_expectation_for_single_keys_is_the_formula() -> None:
    assert random_share(1024, 64, queries=64, keys=1) == pytest.approx(1 - (1 - 64 / 1024) ** 64)
    assert random_share(256, 256, queries=64, keys=1) == 1.0
    assert random_share(64, 1, queries=1, keys=64) == 1.0


def test_the_nearest_keys_are_the_token_itself_and_its_neighbours() -> None:
    near = measure.nearest(5, 5)[0]
    assert near[12].nonzero().flatten().tolist() == [7, 11, 12, 13, 17]
    assert near[0].nonzero().flatten().tolist() == [0, 1, 2, 5, 6]
    assert (near.sum(-1) == 5).all()


def test_windows_that_a_shift_cuts_are_found() -> None:
    regions = torch.from_numpy(region_ids(24, 24, 8, 4).copy())
    kept = dictionary.build(torch.randn(9, 64, 4), 8, forms={"boolean"}, regions=regions).form("boolean")
    across, down = measure.cut(kept)
    assert across.tolist() == [False] * 6 + [True] * 3
    assert down.tolist() == [False, False, True] * 3
    whole = dictionary.build(torch.randn(9, 64, 4), 8, forms={"boolean"}).form("boolean")
    assert not torch.stack(measure.cut(whole)).any()


def test_a_dictionary_is_counted_once_and_only_in_windows_that_are_whole() -> None:
    spy = measure.Spy(lambda q, k, v, kept, **options: q)
    regions = torch.from_numpy(region_ids(24, 24, 8, 4).copy())
    plain = dictionary.build(torch.randn(9, 64, 4), 8, forms={"boolean"})
    shifted = dictionary.build(torch.randn(9, 64, 4), 8, forms={"boolean"}, regions=regions)
    q = torch.zeros(9, 1, 64, 4)
    for kept in (plain, plain, shifted, None, shifted):
        assert spy(q, q, q, kept) is q
    assert [{name.source for name in shares} for shares in spy.counted] == [{"1"}, {f"2{SHIFTED}"}]
    assert [len(next(iter(shares.values()))) for shares in spy.counted] == [9, 4]
    assert spy.tokens == 64


def test_a_network_gives_shares_of_each_dictionary_and_image() -> None:
    cell = cell_of(images=2, image_size=48)
    measurements = {each.name: each for each in METRIC.measure(Trial(cell, Timing())).measurements}
    assert measurements.pop(TOKENS).samples == (64.0,)
    names = {name: each for text, each in measurements.items() if (name := parse(text)) is not None}
    assert len(names) == len(measurements)
    assert {name.source for name in names} == {"1", f"2{SHIFTED}", "3", LOCAL, RANDOM}
    assert {name.queries for name in names} == {16, 32, 64}
    for name, each in names.items():
        learned = name.source not in (LOCAL, RANDOM)
        assert each.labels == (("chelsea", "motorcycle_left") if learned else ())
        assert all(8 / 64 - 1e-12 <= value <= 1 for value in each.samples)
    tile = {"order": "rows", "queries": 16, "access": "list", "keys": 1}
    low, mean, high = (names[Name("1", **tile, statistic=each)].samples[0] for each in ("q10", "mean", "q90"))
    assert low < mean < high
    assert all(str(name) == text for name, text in zip(names, measurements, strict=True))
    assert {(name.access, name.keys) for name in names if name.source == RANDOM} == {
        way for way in ACCESSES if way[0] == "blocks" or way[1] == 1
    }


def test_tiles_of_an_image_are_counted_together() -> None:
    whole, tiled = (
        {
            each.name: each
            for each in METRIC.measure(Trial(cell_of(images=1, image_size=48, tile=tile), Timing())).measurements
        }
        for tile in (None, 32)
    )
    assert whole.keys() == tiled.keys()
    assert whole != tiled


def test_names_are_read_as_they_are_written() -> None:
    name = Name("2-shifted", "patches", 64, "blocks", 32, "q90")
    assert str(name) == "unions.2-shifted.patches.64.blocks.32.q90"
    assert parse(str(name)) == name
    for other in (
        TOKENS,
        "psnr",
        "unions.1.rows.64.list.1",
        "unions.1.lines.64.list.1.mean",
        "unions.1.rows.x.list.1.mean",
    ):
        assert parse(other) is None


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ({"top_k": None}, "every key is kept, so every union is whole"),
        ({"top_k": 64}, "every key is kept, so every union is whole"),
        ({"weights": "none"}, "no weights"),
        ({"model": "nonlocal_means", "backend": "none"}, "no dictionary"),
        ({}, None),
    ],
)
def test_what_has_no_unions_says_why(axes: dict[str, Any], reason: str | None) -> None:
    assert METRIC.unsupported(cell_of(**axes)) == reason


def test_a_network_without_a_dictionary_is_refused_with_its_cell() -> None:
    cell = cell_of(images=1, image_size=16, window=None, top_k=64, shift="none")
    with pytest.raises(ValueError, match=f"cell {cell.id}: no attention of semanir/small had a dictionary to count"):
        METRIC.measure(Trial(cell, Timing()))


def test_windows_that_are_looked_at_in_parts_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = cell_of(images=1, image_size=48)
    at_once = METRIC.measure(Trial(cell, Timing()))
    monkeypatch.setattr(measure, "PAIRS", 4 * 64**2)
    assert METRIC.measure(Trial(cell, Timing())) == at_once
