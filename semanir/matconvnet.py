"""Networks as MatConvNet published them: the convolutions of a `.mat` file, of MATLAB 7.3 or older."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semanir.checkpoints import CheckpointError

Convolution = tuple[Tensor, Tensor]
"""Weight `Cout x Cin x H x W` and bias `Cout`."""
Layer = tuple[str, list[np.ndarray]]
"""Type and weights of a layer, their axes in MATLAB's order: H, W, Cin, Cout."""


def convolutions(file: Path) -> list[Convolution]:
    """Read the convolutions of a network, in order. Raises `CheckpointError`.

    MATLAB writes HDF5 from version 7.3 on, which needs h5py (the extra `foreign`), and its own format before.
    """
    try:
        with file.open("rb") as stream:
            new = stream.read(10) == b"MATLAB 7.3"
        layers = _hdf5_layers(file) if new else _old_layers(file)
    except OSError as error:
        raise CheckpointError(
            f"{file}: cannot be read ({_first_line(error)}); check the path or get it again"
        ) from error
    found = []
    for number, (kind, arrays) in enumerate(layers, start=1):
        match kind, len(arrays):
            case "conv", 2:
                found.append(_convolution(*arrays))
            case "relu", 0:
                pass
            case _:
                remedy = "only convolutions with a bias and ReLUs are read: merge batch normalisation first"
                raise CheckpointError(f"{file}: layer {number} is '{kind}' with {len(arrays)} arrays; {remedy}")
    return found


def _hdf5_layers(file: Path) -> list[Layer]:
    try:
        import h5py
    except ModuleNotFoundError:
        remedy = "install the extra: pip install 'semanir-bench[foreign]'"
        raise CheckpointError(f"{file}: is a MATLAB 7.3 file, which needs h5py; {remedy}") from None
    layers: list[Layer] = []
    with h5py.File(file, "r") as opened:
        try:
            for reference in opened["net/layers"][()].ravel():
                layer = opened[reference]
                kind = "".join(chr(letter) for letter in layer["type"][()].ravel())
                weights = layer.get("weights")
                # An empty cell array is stored as its size, not as references.
                held = weights[()].ravel() if weights is not None and weights.dtype == object else ()
                layers.append((kind, [opened[each][()].T for each in held]))  # HDF5 has MATLAB's axes backwards
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise _no_network(file, error) from error
    return layers


def _old_layers(file: Path) -> list[Layer]:
    from scipy.io import loadmat

    layers: list[Layer] = []
    try:
        for cell in loadmat(file)["net"][0, 0]["layers"].ravel():
            layer = cell[0, 0]
            held = layer["weights"].ravel() if "weights" in layer.dtype.names else ()
            layers.append((str(layer["type"][0]), list(held)))
    except Exception as error:  # scipy lets ValueError, TypeError, zlib.error and others escape from damaged files
        raise _no_network(file, error) from error
    return layers


def _convolution(weight: np.ndarray, bias: np.ndarray) -> Convolution:
    """MATLAB drops trailing axes of length one, as that of a single output channel."""
    filters = weight.reshape(*weight.shape, *[1] * (4 - weight.ndim))
    ordered = np.ascontiguousarray(filters.transpose(3, 2, 0, 1), dtype=np.float32)
    return torch.from_numpy(ordered), torch.from_numpy(np.ascontiguousarray(bias.ravel(), dtype=np.float32))


def _no_network(file: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{file}: holds no MatConvNet network that can be read ({_first_line(error)}); get it again")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
