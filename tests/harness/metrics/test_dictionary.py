"""Which patches are kept, and where they lie in the picture."""

from __future__ import annotations

import json
import math
from itertools import product
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.catalogs import BACKENDS
from harness.dictionaries import observe
from harness.dictionaries.choose import choose
from harness.dictionaries.scene import Area, Choice, Look, Scene, SceneError, Seen, decode, encode
from harness.metrics.dictionary import METRIC
from harness.record import Cell, Timing
from harness.trial import Trial
from semanir.attention import dictionary
from semanir.attention.regions import region_ids
from semanir.model import Request
from semanir.models.semanir import Configuration
from semanir.models.semanir.network import SemanIR

Place = tuple[int, int]


def cell_of(**axes: Any) -> Cell:
    fixed = {"model": "semanir/small", "task": "denoise", "dataset": "bundled", "setting": "sigma=25"}
    small = {"window": 8, "top_k": 8, "images": 1, "image_size": 48}
    return Cell(**{**fixed, "backend": "mask", "weights": "shipped", **small, **axes})


def network_of(
    *, top_k: int = 2, scale: int = 1, sharing: Literal["stage", "layer"] = "stage", **choices: Any
) -> SemanIR:
    """A random network, in whose first map a token's features are made of its own pixels alone."""
    torch.manual_seed(0)
    fixed = {"architecture": "columnar", "width": 8, "heads": 2, "stages": (2, 2), "unshuffle": 2, "bias_hidden": 4}
    configuration = Configuration(**{**fixed, "similarity": "cosine", "shift": "layer", **choices})
    request = Request(
        configuration="", channels=1, scale=scale, height=64, width=64, window=8, top_k=top_k, sharing=sharing
    )
    backend = BACKENDS["mask"]
    network = SemanIR(configuration, request, attend=backend.load(), forms=backend.needs | {"boolean"})
    with torch.no_grad():
        centre = network.first.weight[..., 1, 1].clone()
        network.first.weight.zero_()[..., 1, 1] = centre
    return network.eval()


def image_of(height: int, width: int, marks: dict[Place, float], side: int) -> Tensor:
    """A gray image, flat but for tokens of `side` pixels: one motif, mixed with another by the share that is given."""
    motif, other = torch.rand(2, side, side, generator=torch.Generator().manual_seed(3))
    image = torch.full((1, 1, height, width), 0.5)
    for (row, column), share in marks.items():
        mixed = (1 - share) * motif + share * other
        image[..., row * side : (row + 1) * side, column * side : (column + 1) * side] = mixed
    return image


def first_of(network: SemanIR, image: Tensor, at: Place, *, shift: int = 0) -> tuple[Seen, Look]:
    """What the first dictionary with this shift keeps for one token."""
    found = observe.seen(network, image, [Choice(row=at[0], column=at[1], kind="detailed")])
    seen = next(each for each in found if each.shift == shift)
    return seen, seen.looks[0]


# Where kept tokens lie


@pytest.mark.parametrize(
    ("height", "width", "query", "twin", "part"),
    [
        (64, 64, (2, 3), (5, 6), Area(top=0, left=0, height=8, width=8)),
        (64, 64, (10, 26), (13, 29), Area(top=8, left=24, height=8, width=8)),
        (32, 64, (12, 20), (9, 17), Area(top=8, left=16, height=8, width=8)),
        (64, 32, (31, 8), (24, 15), Area(top=24, left=8, height=8, width=8)),
    ],
)
def test_a_token_keeps_itself_and_its_twin(height: int, width: int, query: Place, twin: Place, part: Area) -> None:
    image = image_of(height, width, {query: 0, twin: 0}, side=2)
    seen, look = first_of(network_of(), image, query)
    assert (seen.rows, seen.columns, seen.side) == (height // 2, width // 2, 2)
    assert (look.row, look.column) == query
    assert look.part == part
    assert set(look.kept) == {query, twin}
    assert look.locality.distance == pytest.approx(math.dist(query, twin) / 2, abs=1e-4)


@pytest.mark.parametrize(
    ("query", "twin", "beyond", "part"),
    [
        # Windows of 8 that are shifted by 4 begin at rows and columns 4, 12 and 20, ...
        ((10, 13), (4, 19), (10, 11), Area(top=4, left=12, height=8, width=8)),
        # ... and those at the end hold four tokens of this border and four from the other side of the map.
        ((30, 9), (28, 4), (1, 9), Area(top=28, left=4, height=4, width=8)),
        ((2, 9), (3, 11), (30, 9), Area(top=0, left=4, height=4, width=8)),
        ((9, 31), (11, 28), (9, 2), Area(top=4, left=28, height=8, width=4)),
        ((30, 29), (29, 30), (30, 1), Area(top=28, left=28, height=4, width=4)),
        ((2, 29), (0, 31), (30, 29), Area(top=0, left=28, height=4, width=4)),
        ((2, 2), (3, 0), (30, 30), Area(top=0, left=0, height=4, width=4)),
    ],
)
def test_shifts_are_undone_and_no_key_lies_beyond_a_cut(query: Place, twin: Place, beyond: Place, part: Area) -> None:
    image = image_of(64, 64, dict.fromkeys((query, twin, beyond), 0.0), side=2)
    seen, look = first_of(network_of(), image, query, shift=4)
    assert seen.layers == (2,)
    assert (look.row, look.column) == query
    assert look.part == part
    assert set(look.kept) == {query, twin}


def test_keys_of_the_padding_lie_beyond_the_picture() -> None:
    """A bar of four rows at the lower border of 20 is mirrored: the token below it, in the padding, is alike."""
    image = image_of(20, 36, {}, side=2)
    image[..., 16:, 10:12] = 0.9
    seen, look = first_of(network_of(top_k=3), image, (9, 5))
    assert (seen.rows, seen.columns) == (16, 24)  # 20 x 36 pixels are padded to 32 x 48
    assert set(look.kept) == {(8, 5), (9, 5), (10, 5)}
    assert 10 * seen.side >= 20


@pytest.mark.parametrize(("scale", "unshuffle", "side"), [(1, 1, 1), (1, 2, 2), (2, 2, 2), (3, 1, 3)])
def test_a_tokens_side_is_counted_in_pixels_of_the_target(scale: int, unshuffle: int, side: int) -> None:
    """Super-resolution folds nothing: a token is an input pixel, which is `scale` pixels of the target."""
    folded = unshuffle if scale == 1 else 1
    query, twin = (3, 9), (6, 14)
    image = image_of(16 * folded, 24 * folded, {query: 0, twin: 0}, side=folded)
    seen, look = first_of(network_of(scale=scale, unshuffle=unshuffle), image, query)
    assert (seen.rows, seen.columns, seen.side) == (16, 24, side)
    assert set(look.kept) == {query, twin}


def test_a_coarser_maps_token_holds_the_chosen_one() -> None:
    network = network_of(architecture="unet", stages=(1, 1, 1, 1), unshuffle=1)
    found = observe.seen(network, torch.rand(1, 1, 64, 64), [Choice(row=37, column=22, kind="flat")])
    assert [(each.stage, each.side, each.rows) for each in found] == [(1, 1, 64), (2, 2, 32), (3, 1, 64), (4, 1, 64)]
    for each in found:
        look = each.looks[0]
        assert (look.row, look.column) == (37 // each.side, 22 // each.side)
        assert (look.row, look.column) in set(
            product(
                range(look.part.top, look.part.top + look.part.height),
                range(look.part.left, look.part.left + look.part.width),
            )
        )


def test_keys_are_ranked_by_their_similarity() -> None:
    query = (12, 12)
    marks = {query: 0.0, (8, 8): 0.6, (15, 15): 0.2, (8, 15): 0.4}
    _, look = first_of(network_of(top_k=4), image_of(64, 64, marks, side=2), query)
    assert look.kept == (query, (15, 15), (8, 15), (8, 8))


# Which dictionaries there are


def test_every_dictionary_is_seen_once_with_the_layers_that_attend_by_it() -> None:
    image = torch.rand(1, 1, 64, 64)

    def found(**choices: Any) -> list[tuple[int, tuple[int, ...], int, str]]:
        seen = observe.seen(network_of(stages=(3, 3), **choices), image, [Choice(row=0, column=0, kind="flat")])
        return [(each.stage, each.layers, each.shift, each.source) for each in seen]

    assert found(shift="stage") == [(1, (1, 2, 3), 0, "1"), (2, (1, 2, 3), 4, "2")]
    assert found(shift="layer") == [(stage, *rest) for stage in (1, 2) for rest in (
        ((1, 3), 0, f"{stage}.1"), ((2,), 4, f"{stage}.2")
    )]  # fmt: skip
    one_a_layer = found(shift="none", sharing="layer")
    assert one_a_layer == [(stage, (layer,), 0, f"{stage}.{layer}") for stage in (1, 2) for layer in (1, 2, 3)]
    assert found(shift="stage", top_k=64) == []


def test_a_dictionary_of_each_layer_ranks_by_what_that_layer_is_given() -> None:
    """Each ranking begins with the token itself: nothing has a higher cosine."""
    network = network_of(sharing="layer", shift="none", top_k=5)
    for each in observe.seen(network, torch.rand(1, 1, 64, 64), [Choice(row=7, column=20, kind="flat")]):
        assert each.looks[0].kept[0] == (7, 20)


def test_looking_changes_nothing() -> None:
    network, image = network_of(), torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        before = network(image)
        observe.seen(network, image, [Choice(row=1, column=1, kind="flat")])
        assert torch.equal(network(image), before)
    assert not any(module._forward_pre_hooks for module in network.modules())


# How near they lie


def whole(windows: int, tokens: int) -> Tensor:
    return torch.zeros(windows, tokens, dtype=torch.uint8)


def test_the_rules_beside_are_what_they_say() -> None:
    """In a window of 2 x 2 a query keeps itself and one key at distance 1."""
    kept = torch.eye(4, dtype=torch.bool)[None].clone()
    for query, key in ((0, 1), (1, 3), (2, 0), (3, 2)):
        kept[0, query, key] = True
    found = observe.locality(kept, 2, whole(1, 4))
    assert found.distance == 0.5
    assert found.random_distance == pytest.approx((0 + 1 + 1 + 2**0.5) / 4, abs=1e-4)
    # Of the two neighbours at distance 1 the lower index is the nearest: 1 for query 0, but 0 for query 1.
    assert found.nearest == pytest.approx((2 + 1 + 2 + 1) / 8)
    assert found.random_nearest == 0.5


def test_keys_drawn_at_random_lie_as_far_as_expected() -> None:
    regions = torch.from_numpy(region_ids(24, 24, 8, 4).copy())
    features = torch.rand(9, 64, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    kept = dictionary.build(
        features, 12, forms={"boolean"}, exclude_self=True, regions=regions, similarity="cosine"
    ).form("boolean")
    found = observe.locality(kept, 12, regions, exclude_self=True)
    assert found.distance == pytest.approx(found.random_distance, rel=0.03)
    assert found.nearest == pytest.approx(found.random_nearest, rel=0.06)


def test_keys_that_are_the_nearest_are_all_among_them() -> None:
    regions = torch.from_numpy(region_ids(16, 24, 8, 4).copy())
    row, column = torch.arange(64) // 8, torch.arange(64) % 8
    squares = (row[:, None] - row) ** 2 + (column[:, None] - column) ** 2
    admissible = regions[:, :, None] == regions[:, None, :]
    kept = dictionary.select(-squares[None].float().expand(len(regions), -1, -1), 9, admissible)
    found = observe.locality(kept, 9, regions)
    assert found.nearest == 1.0
    assert found.distance < found.random_distance
    assert 9 / 64 < found.random_nearest < 9 / 16  # parts of a window have fewer tokens, quarters the fewest: 16


# Which tokens are chosen


def test_the_chosen_are_the_most_detailed_and_a_flat_one_in_windows_of_their_own() -> None:
    target = np.full((96, 144, 1), 0.5, dtype=np.float32)
    noise = np.random.default_rng(0).random((12, 12, 1)).astype(np.float32)
    for strength, top, left in ((1.0, 8, 108), (0.5, 72, 16), (0.25, 40, 40), (0.2, 44, 52)):
        target[top : top + 12, left : left + 12] += strength * (noise - 0.5)
    chosen = choose(target, 2)
    assert [each.kind for each in chosen] == ["detailed"] * 3 + ["flat"]
    assert [(each.row // 16, each.column // 16) for each in chosen[:3]] == [(0, 3), (2, 0), (1, 1)]
    flat = chosen[3]
    assert np.ptp(target[2 * flat.row : 2 * flat.row + 2, 2 * flat.column : 2 * flat.column + 2]) == 0
    assert len({(each.row // 16, each.column // 16) for each in chosen}) == 4
    for i, one in enumerate(chosen):
        for other in chosen[:i]:
            assert max(abs(one.row - other.row), abs(one.column - other.column)) >= 16


@pytest.mark.parametrize(("height", "width", "side"), [(8, 8, 2), (8, 8, 4), (3, 3, 2), (40, 25, 2)])
def test_small_and_odd_pictures_give_tokens_that_lie_in_them_whole(height: int, width: int, side: int) -> None:
    target = np.random.default_rng(1).random((height, width, 3)).astype(np.float32)
    chosen = choose(target, side)
    assert 1 <= len(chosen) <= 4
    assert all((each.row + 1) * side <= height and (each.column + 1) * side <= width for each in chosen)


# The metric


@pytest.fixture(scope="module")
def reading() -> Any:
    return METRIC.measure(Trial(cell_of(), Timing()))


def test_the_metric_gives_numbers_of_each_stage_and_a_small_scene(reading: Any) -> None:
    names = {each.name: each for each in reading.measurements}
    kinds = ("distance", "random_distance", "nearest", "random_nearest")
    assert list(names) == [f"dictionary.{stage}.{kind}" for stage in (1, 2, 3) for kind in kinds]
    assert all(each.labels == ("chelsea",) for each in names.values())
    assert {each.unit for each in names.values()} == {"tokens", "1"}
    assert names["dictionary.1.random_nearest"].samples == (8 / 64,)
    assert len(reading.artifacts["dictionary"]) < 6_000
    scene = decode(reading.artifacts["dictionary"])
    assert (scene.height, scene.width, scene.window, scene.top_k) == (48, 48, 8, 8)
    assert json.loads(reading.artifacts["dictionary"])["schema_version"] == 1
    for seen in scene.dictionaries:
        assert len(seen.looks) == len(scene.choices)
        assert all(len(set(look.kept)) == 8 for look in seen.looks)


def test_the_trained_networks_keep_nearer_keys_than_chance_would(reading: Any) -> None:
    for seen in decode(reading.artifacts["dictionary"]).dictionaries:
        assert seen.locality.distance < seen.locality.random_distance
        assert seen.locality.nearest > seen.locality.random_nearest


def test_one_image_is_looked_at_and_the_choice_is_that_of_every_window_and_k(reading: Any) -> None:
    other = METRIC.measure(Trial(cell_of(images=2, window=16, top_k=64), Timing()))
    first, second = (decode(each.artifacts["dictionary"]) for each in (reading, other))
    assert first.image == second.image
    assert first.choices == second.choices
    assert METRIC.measure(Trial(cell_of(), Timing())) == reading


def test_a_super_resolved_pictures_positions_are_those_of_the_target() -> None:
    cell = cell_of(task="sr", setting="scale=2", image_size=64)
    scene = decode(METRIC.measure(Trial(cell, Timing())).artifacts["dictionary"])
    assert (scene.height, scene.width) == (64, 64)
    assert {(seen.side, seen.rows) for seen in scene.dictionaries} == {(2, 32)}


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ({"top_k": None}, "every key is kept, so nothing is chosen"),
        ({"top_k": 64}, "every key is kept, so nothing is chosen"),
        ({"weights": "none"}, "no weights"),
        ({"model": "nonlocal_means", "backend": "none"}, "no dictionary"),
        ({}, None),
    ],
)
def test_what_has_no_dictionary_says_why(axes: dict[str, Any], reason: str | None) -> None:
    assert METRIC.unsupported(cell_of(**axes)) == reason


def test_a_network_that_keeps_every_key_is_refused_with_its_cell() -> None:
    cell = cell_of(window=None, top_k=64)
    with pytest.raises(ValueError, match=f"cell {cell.id}: no attention of semanir/small had a dictionary to look at"):
        METRIC.measure(Trial(cell, Timing()))


def test_scenes_are_read_as_they_are_written_and_other_content_is_refused(reading: Any) -> None:
    content = reading.artifacts["dictionary"]
    assert encode(decode(content)) == content
    newer = {**json.loads(content), "schema_version": 2}
    for other in (json.dumps(newer).encode(), b"{}", b"\x89PNG", b""):
        with pytest.raises(SceneError, match="measure the metric anew with this version"):
            decode(other)
    assert isinstance(decode(content), Scene)
