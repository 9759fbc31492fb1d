"""Laws of tiles and of the x8 ensemble, on any size, tile and scale."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from harness.inference import restore_ensemble, restore_tiled
from harness.tiles import LEAST_OVERLAP, overlap_of

sides = st.integers(1, 150)
scales = st.integers(1, 4)


@st.composite
def tilings(draw: st.DrawFn) -> dict[str, int]:
    """A tile, an overlap that it allows and a grid that leaves a step."""
    overlap = draw(st.integers(LEAST_OVERLAP, 24))
    tile = draw(st.integers(2 * overlap, 80))
    return {"tile": tile, "overlap": overlap, "multiple": draw(st.integers(1, min(16, tile - overlap)))}


def picture(height: int, width: int) -> Tensor:
    return torch.rand(1, 2, height, width, generator=torch.Generator().manual_seed(height * 1000 + width))


@given(sides, sides, tilings(), scales)
def test_tiles_of_what_changes_nothing_are_the_image(
    height: int, width: int, tiling: dict[str, int], scale: int
) -> None:
    def enlarge(image: Tensor) -> Tensor:
        return functional.interpolate(image, scale_factor=scale, mode="nearest")

    image = picture(height, width)
    assert torch.equal(restore_tiled(enlarge, image, **tiling, scale=scale), enlarge(image))


@given(sides, sides, tilings(), scales, st.data())
def test_tiles_of_a_local_operator_are_the_whole_image_wherever_its_border_is_out_of_reach(
    height: int, width: int, tiling: dict[str, int], scale: int, data: st.DataObject
) -> None:
    reach = data.draw(st.integers(0, tiling["overlap"] // 4))
    generator = torch.Generator().manual_seed(reach)
    # Whole numbers: their sums are exact in any order, so that equal means equal to the last bit.
    kernel = torch.randint(-4, 5, (2, 2, 2 * reach + 1, 2 * reach + 1), generator=generator).float()

    def network(image: Tensor) -> Tensor:
        filtered = functional.conv2d(image, kernel, padding=reach)
        return functional.interpolate(filtered, scale_factor=scale, mode="nearest")

    image = (16 * picture(height, width)).floor()
    assert torch.equal(restore_tiled(network, image, **tiling, scale=scale), network(image))


@given(sides, sides, tilings())
def test_tiles_stay_between_what_the_tiles_themselves_say(height: int, width: int, tiling: dict[str, int]) -> None:
    generator = torch.Generator().manual_seed(height)

    def network(image: Tensor) -> Tensor:
        return torch.ones_like(image) * torch.rand((), generator=generator)

    restored = restore_tiled(network, picture(height, width), **tiling)
    assert restored.shape[-2:] == (height, width)
    assert 0.0 <= float(restored.min()) <= float(restored.max()) <= 1.0


@given(st.integers(32, 4096))
def test_every_tile_that_a_cell_may_name_has_room_for_its_overlap(tile: int) -> None:
    assert tile >= 2 * overlap_of(tile) >= 2 * LEAST_OVERLAP


@given(sides, sides, scales)
def test_an_ensemble_of_what_turns_with_its_input_changes_nothing(height: int, width: int, scale: int) -> None:
    def enlarge(image: Tensor) -> Tensor:
        return functional.interpolate(image, scale_factor=scale, mode="nearest")

    image = picture(height, width)
    assert torch.equal(restore_ensemble(enlarge, image), enlarge(image))


@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 3), st.booleans())
def test_an_ensemble_turns_with_its_input(height: int, width: int, quarters: int, mirrored: bool) -> None:
    kernel = torch.arange(18.0, dtype=torch.float64).view(2, 1, 3, 3)

    def network(image: Tensor) -> Tensor:
        return functional.conv2d(image, kernel, padding=1, groups=2)

    def turn(image: Tensor) -> Tensor:
        return torch.rot90(image.flip(-1) if mirrored else image, quarters, (-2, -1))

    image = picture(height, width).double()
    torch.testing.assert_close(restore_ensemble(network, turn(image)), turn(restore_ensemble(network, image)))
