"""Feature maps <-> windows: padding by reflection, cyclic shift, partition."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def pad_to_multiple(image: Float[Tensor, "B C h w"], multiple: int) -> Float[Tensor, "B C H W"]:
    """Reflect the lower and right border until both sides are multiples of `multiple`.

    Reflection repeats as often as needed, so an image may be smaller than its padding; a side of one pixel is
    repeated. No padded pixel is special to what follows: crop the result back.
    """
    height, width = image.shape[-2:]
    for axis, side in ((-2, height), (-1, width)):
        padded = -(-side // multiple) * multiple
        if padded != side:
            period = max(2 * (side - 1), 1)
            position = torch.arange(padded, device=image.device) % period
            image = image.index_select(axis, torch.minimum(position, period - position).clamp(max=side - 1))
    return image


def partition(features: Shaped[Tensor, "B H W C"], window: int, shift: int = 0) -> Shaped[Tensor, "windows N C"]:
    """Roll by `-shift` and cut into windows in raster order, image by image. H and W are multiples of `window`."""
    batch, height, width, channels = features.shape
    if shift:
        features = features.roll((-shift, -shift), (1, 2))
    grid = features.view(batch, height // window, window, width // window, window, channels)
    return grid.transpose(2, 3).reshape(-1, window * window, channels)


def merge(
    windows: Shaped[Tensor, "windows N C"], height: int, width: int, window: int, shift: int = 0
) -> Shaped[Tensor, "B H W C"]:
    """Undo `partition`."""
    channels = windows.shape[-1]
    grid = windows.view(-1, height // window, width // window, window, window, channels)
    features = grid.transpose(2, 3).reshape(-1, height, width, channels)
    return features.roll((shift, shift), (1, 2)) if shift else features
