"""Pixels of 8 or 16 bits -> a PNG file; Pillow writes colour at 8 bits alone."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from jaxtyping import UInt

from harness.channels import bits_of

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, RGB = 0, 2
"""Colour types of the format (PNG specification, section 11.2.2)."""
UP = 2
"""The filter that stores a row as its difference to the row above."""


def encode(pixels: UInt[np.ndarray, "H W C"], *, profile: bytes = b"") -> bytes:
    """Return the file of an image of one or three channels, at its own depth, with an ICC profile where there is one.

    Raises `ValueError` for other channels.
    """
    height, width, channels = pixels.shape
    if channels not in (1, 3):
        raise ValueError(f"a picture has one channel or three, not {channels}")
    bits = bits_of(pixels)
    colour = GRAY if channels == 1 else RGB
    rows = np.ascontiguousarray(pixels, dtype=f">u{bits // 8}").reshape(height, -1).view(np.uint8)
    lines = np.empty((height, 1 + rows.shape[1]), np.uint8)
    lines[:, 0] = UP
    lines[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
    chunks = [
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)),
        _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)) if profile else b"",
        _chunk(b"IDAT", zlib.compress(lines.tobytes())),
        _chunk(b"IEND", b""),
    ]
    return SIGNATURE + b"".join(chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
