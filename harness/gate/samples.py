"""The file of a gate's samples: a block a line, packed. A verdict names it and its sha256."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

from harness.gate.launch import Block

NAME = "samples.jsonl.gz"


def write(path: Path, blocks: Sequence[Block]) -> str:
    """Write every sample with its load, in the order of time, and return the file's sha256; equal blocks, equal bytes.

    16 launches of 21 cells in 16 blocks each take 0.4 MiB.
    """
    text = "".join(f"{block.model_dump_json(exclude_none=True)}\n" for block in blocks)
    packed = gzip.compress(text.encode(), mtime=0)
    path.write_bytes(packed)
    return hashlib.sha256(packed).hexdigest()


def read(path: Path) -> list[Block]:
    """Read them back."""
    return [Block.model_validate_json(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


def sha256_of(path: Path) -> str:
    """Return the digest by which a verdict or a certificate knows a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
