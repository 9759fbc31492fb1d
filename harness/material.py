"""Files below the data root that the project reads and does not ship, and why one cannot be read, without torch."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Material:
    """A file that a degradation reads, from one of the registered sets."""

    path: str
    """Below the data root, with forward slashes, as in `kernels/Levin09.mat`."""
    entry: str
    """The registered set that it belongs to: what `semanir-bench data fetch` gets."""

    @property
    def file(self) -> Path:
        """Where it is looked for."""
        from harness import datasets

        return datasets.data_root() / self.path

    def missing(self) -> str | None:
        """Return the reason why the file cannot be read, or None. Records keep it: it names no folder."""
        if not self.file.is_file():
            place = "it is looked for in $SEMANIR_DATA, else in the user's data directory"
            return f"no file '{self.path}': {place}; semanir-bench data fetch {self.entry}"
        return needs_h5py(self.file, self.path)

    def sha256(self) -> str:
        """Return the digest of the file as it is here; empty where it is not."""
        return sha256_of(self.file) if self.file.is_file() else ""


def needs_h5py(file: Path, name: str) -> str | None:
    """Return how to get h5py where a file needs it and it is not installed: MATLAB writes HDF5 from 7.3 on."""
    with file.open("rb") as stream:
        hdf5 = stream.read(10) == b"MATLAB 7.3"
    if hdf5 and importlib.util.find_spec("h5py") is None:
        return f"'{name}' is a MATLAB 7.3 file, which needs h5py: pip install 'semanir-bench[foreign]'"
    return None


def sha256_of(file: Path) -> str:
    """Return the digest of a file, read again only once it was written again."""
    return _sha256(file, file.stat().st_mtime_ns)


@cache
def _sha256(file: Path, modified_ns: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
