"""Trained weights applied to a person's own pictures, a file at a time."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt
from torch import Tensor

from harness import png, tiles
from harness.catalogs import BACKENDS
from harness.channels import bits_of, peak_of, rounded, units
from harness.datasets.pictures import profile_of, read_image
from harness.inference import Restore, restore_tiled
from harness.restoration import MOSAICS, Restoration, RestorationError, Restored
from semanir.attention.problem import Form
from semanir.attention.signature import Attend
from semanir.checkpoints import CheckpointError, restore


class Restorer:
    """A network with its weights, ready for pictures of any size."""

    def __init__(self, restoration: Restoration) -> None:
        """Build the network. Raises `RestorationError` where its weights are damaged or another's."""
        self.restoration = restoration
        self.network = _network(restoration)

    def restore(self, pixels: UInt[np.ndarray, "h w C"]) -> UInt[np.ndarray, "H W C"]:
        """Return the restored picture, of the same depth and channels. Taken as it is: nothing is degraded.

        A network for gray restores each channel of a colour picture; one for colour gets gray three times, and the
        mean of its answers counts. Raises `RestorationError` for a mosaic that was not interpolated.
        """
        card = self.restoration.weights.card
        if pixels.shape[-1] == 1 and card.task in MOSAICS:
            raise RestorationError(f"gray, and {card.task} completes colours; interpolate the mosaic first")
        apply: Restore = partial(
            restore_tiled,
            self.network,
            tile=self.restoration.tile,
            overlap=tiles.overlap_of(self.restoration.tile),
            scale=card.scale,
            multiple=tiles.grid_of(self.restoration.window),
        )
        with torch.inference_mode():
            restored = _as_picture(apply(_as_input(pixels, card.channels)), pixels.shape[-1])
        return rounded(restored.astype(np.float64) * peak_of(pixels), like=pixels)

    def restore_file(self, source: Path, file: Path) -> Restored:
        """Read a picture, restore it and write it as PNG, with the colour profile of its source.

        Raises `DatasetError` for what cannot be read, `RestorationError` for what cannot be restored or written.
        """
        if source.is_dir():
            raise RestorationError(f"{source}: is a folder; name its pictures, as in {source / '*.png'}")
        pixels = read_image(source)
        begun = time.perf_counter()
        try:
            restored = self.restore(pixels)
        except RestorationError as error:
            raise RestorationError(f"{source}: {error}") from None
        seconds = time.perf_counter() - begun
        _write(file, png.encode(restored, profile=profile_of(source)))
        height, width, channels = pixels.shape
        return Restored(
            source=source,
            file=file,
            height=height,
            width=width,
            channels=channels,
            bits=bits_of(pixels),
            seconds=seconds,
        )


def _network(restoration: Restoration) -> Restore:
    attend: Attend | None = None
    forms: frozenset[Form] = frozenset()
    if restoration.backend != "none":
        backend = BACKENDS[restoration.backend]
        os.environ.update(backend.worker_env(restoration.request.device))
        attend, forms = backend.load(), backend.forms(needs_grad=False)
    network = restoration.model.build(restoration.request, attend=attend, forms=forms)
    try:
        restore(network, restoration.weights.file, sha256=restoration.weights.card.sha256)
    except CheckpointError as error:
        raise RestorationError(str(error)) from None
    return network.eval()


def _as_input(pixels: UInt[np.ndarray, "h w C"], channels: int) -> Float[Tensor, "B c h w"]:
    """Return a batch that a network of so many channels takes: one image, or the three channels of colour."""
    planes = torch.from_numpy(units(pixels)).permute(2, 0, 1)
    if channels == 1:
        return planes[:, None].contiguous()
    return planes.expand(channels, -1, -1)[None].contiguous()


def _as_picture(restored: Float[Tensor, "B c H W"], channels: int) -> Float[np.ndarray, "H W C"]:
    """Undo `_as_input`; a gray picture that was restored as colour becomes the mean of the channels."""
    planes = restored.flatten(0, 1)
    if channels == 1:
        planes = planes.mean(0, keepdim=True)
    return planes.permute(1, 2, 0).cpu().numpy()


def _write(file: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise RestorationError(
            f"{file}: cannot be written ({error.strerror}); make room, or choose another -o"
        ) from None
