"""How tiles and the ensemble put an image together again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.inference import restore_ensemble, restore_tiled, restorer
from harness.record import Cell, Timing
from harness.tiles import overlap_of
from harness.trial import prepare

CELL = Cell(model="identity", task="denoise", dataset="bundled", setting="sigma=25", images=1, image_size=96)


def picture(height: int, width: int, channels: int = 3, *, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(1)).to(dtype)


def double(image: Tensor) -> Tensor:
    return functional.interpolate(image, scale_factor=2, mode="nearest")


class Watched(nn.Module):
    """The identity, which notes what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.shapes.append(tuple(image.shape))
        return image


def test_an_image_that_fits_into_a_tile_is_passed_whole() -> None:
    watched = Watched()
    image = picture(64, 40)
    assert torch.equal(restore_tiled(watched, image, tile=64, overlap=16, multiple=16), image)
    assert watched.shapes == [(1, 3, 64, 40)]


def test_no_tile_is_larger_than_asked_and_one_is_given_at_a_time() -> None:
    watched = Watched()
    restore_tiled(watched, picture(200, 90), tile=64, overlap=16, multiple=8)
    assert len(watched.shapes) > 6
    assert all(batch == 1 and max(height, width) <= 64 for batch, _, height, width in watched.shapes)


def test_tiles_begin_on_the_grid() -> None:
    phase = torch.arange(150)[:, None] % 2 + 2 * (torch.arange(150) % 2)
    image = phase[None, None].float()
    seen = []

    def network(tile: Tensor) -> Tensor:
        seen.append(tile[0, 0, :2, :2].tolist())
        return tile

    restore_tiled(network, image, tile=38, overlap=16, multiple=2)
    assert len(seen) > 9
    assert all(corner == [[0, 2], [1, 3]] for corner in seen)


def test_a_seam_is_a_ramp_between_tiles_that_disagree() -> None:
    calls = iter(range(2))
    restored = restore_tiled(
        lambda tile: torch.full_like(tile, float(next(calls))), picture(48, 80), tile=48, overlap=16
    )
    profile = restored[0, 0, 0]
    assert profile[:36].eq(0).all()
    assert profile[44:].eq(1).all()
    torch.testing.assert_close(profile[36:44], (torch.arange(8) + 0.5) / 8)


def test_what_lies_next_to_a_tiles_end_is_never_used() -> None:
    def spoiled(tile: Tensor) -> Tensor:
        out = torch.full_like(tile, torch.nan)
        out[..., 4:-4, 4:-4] = tile[..., 4:-4, 4:-4]
        return out

    restored = restore_tiled(spoiled, image := picture(130, 130), tile=64, overlap=16)
    inner = (..., slice(4, -4), slice(4, -4))
    assert torch.equal(restored[inner], image[inner])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_dtype_keeps_its_type_and_its_values(dtype: torch.dtype) -> None:
    image = picture(70, 90, dtype=dtype)
    restored = restore_tiled(double, image, tile=32, overlap=16, scale=2, multiple=4)
    assert restored.dtype == dtype
    assert torch.equal(restored, double(image))
    assert restore_ensemble(double, image).dtype == dtype


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tile": 64, "overlap": 8}, "at least 16"),
        ({"tile": 31, "overlap": 16}, "take at least 32"),
        ({"tile": 32, "overlap": 16, "multiple": 32}, "take at least 48"),
        ({"tile": 32, "overlap": 16, "scale": 2}, "scale 2 makes it 64x64"),
    ],
)
def test_what_cannot_be_tiled_is_refused_with_a_remedy(wrong: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        restore_tiled(nn.Identity(), picture(70, 70), **wrong)


def test_the_ensemble_shows_the_network_all_eight_views_once() -> None:
    watched = Watched()
    seen = []

    def network(image: Tensor) -> Tensor:
        seen.append(image.flatten().tolist())
        return watched(image)

    image = torch.arange(6.0).view(1, 1, 2, 3)
    assert torch.equal(restore_ensemble(network, image), image)
    assert len({(tuple(values), shape) for values, shape in zip(seen, watched.shapes, strict=True)}) == 8
    assert sorted(shape[-2:] for shape in watched.shapes) == [(2, 3)] * 4 + [(3, 2)] * 4


def test_the_ensemble_takes_a_preference_for_one_direction_away() -> None:
    def leaning(image: Tensor) -> Tensor:
        return functional.interpolate(image.roll(1, -1), scale_factor=2, mode="nearest")

    image = torch.zeros(1, 1, 9, 9)
    image[..., 4, 4] = 1.0
    mean = restore_ensemble(leaning, image)
    for turned in (mean.flip(-1), mean.flip(-2), torch.rot90(mean, 1, (-2, -1))):
        assert torch.equal(mean, turned)
    assert mean.sum() == leaning(image).sum()


def test_an_overlap_is_a_quarter_of_the_tile_and_at_least_16_pixels() -> None:
    assert [overlap_of(tile) for tile in (32, 64, 96, 512)] == [16, 16, 24, 128]


def test_a_cell_names_how_its_network_is_applied() -> None:
    image = picture(96, 70)
    for axes, calls, largest in (({}, 1, 96), ({"tile": 64}, 4, 64), ({"tile": 64, "ensemble": "x8"}, 32, 64)):
        watched = Watched()
        assert torch.equal(restorer(watched, CELL.model_copy(update=axes), scale=1)(image), image)
        assert len(watched.shapes) == calls
        assert max(max(shape[-2:]) for shape in watched.shapes) == largest


def test_a_window_of_the_cell_sets_the_grid() -> None:
    assert (
        restorer(nn.Identity(), CELL.model_copy(update={"tile": 64, "window": 7}), scale=1).keywords["multiple"] == 14
    )
    assert restorer(nn.Identity(), CELL.model_copy(update={"tile": 64}), scale=1).keywords["multiple"] == 16


@pytest.mark.parametrize(("task", "setting", "model"), [("sr", "scale=3", "bicubic"), ("denoise", "", "identity")])
def test_a_trial_restores_in_tiles_and_as_an_ensemble(task: str, setting: str, model: str) -> None:
    base = CELL.model_copy(update={"task": task, "setting": setting, "model": model, "image_size": 150})
    restored = [
        next(iter(prepare(base.model_copy(update=axes), Timing()).restored.values()))
        for axes in ({}, {"tile": 32}, {"ensemble": "x8"}, {"tile": 32, "ensemble": "x8"})
    ]
    for other in restored[1:]:
        torch.testing.assert_close(torch.from_numpy(other), torch.from_numpy(restored[0]), rtol=0, atol=1e-6)
