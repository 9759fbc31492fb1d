"""Weights in and out of files, safely: nothing in a file is ever run, checksums and names are checked first.

Ours are safetensors. Other people's are read from torch pickles, by torch's reader that builds tensors alone.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "network", "net")
"""Names under which training scripts keep a state beside optimizer, epoch and options; the first one found counts."""
PREFIXES = ("module.", "_orig_mod.")
"""What parallel and compiled wrappers write before every name."""


class CheckpointError(ValueError):
    """A file that is damaged, foreign, or made for another network; the message names file and remedy."""


def save(network: nn.Module, file: Path, *, dtype: torch.dtype = torch.float16) -> str:
    """Write all parameters as `dtype` and return the file's sha256. Half precision costs < 0.001 dB (TRAINING)."""
    state = {name: value.detach().to("cpu", dtype).contiguous() for name, value in network.state_dict().items()}
    try:
        save_file(state, file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file}: cannot be written ({error}); its folder must exist and have room") from error
    return hashlib.sha256(file.read_bytes()).hexdigest()


def restore(network: nn.Module, file: Path, *, sha256: str | None = None) -> None:
    """Load a file into a network, in the network's own dtype. Raises `CheckpointError` and then changes nothing."""
    content = _content(file)
    if sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise CheckpointError(
            f"{file}: its sha256 is {found[:12]}..., the card says {sha256[:12]}...; "
            f"get the file again: a shipped one with 'git checkout -- {file.name}', your own from where it was trained"
        )
    state = _safetensors(content, file)
    check(network.state_dict(), state, file)
    network.load_state_dict(state)


def read_state(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by name: a torch pickle (`.pth`, `.pt`, ...) or a safetensors file.

    A state that lies among optimizer, epoch and options is found (`WRAPPERS`), and prefixes that parallel training
    puts before every name are cut (`PREFIXES`). Raises `CheckpointError` for a file that is damaged, holds no state,
    or is a pickle that asks for anything but tensors and plain values: such a file could run code and is not read.
    """
    state: Any = _safetensors(_content(file), file) if file.suffix == ".safetensors" else _unpickled(file)
    while isinstance(state, Mapping) and (inner := _wrapped(state)) is not None:
        state = inner
    if not isinstance(state, Mapping) or not state or not all(isinstance(name, str) for name in state):
        held = f"a {type(state).__name__}" if not isinstance(state, Mapping) else f"{len(state)} entries"
        raise CheckpointError(
            f"{file}: holds no tensors by name but {held}; save the network's state_dict() with torch.save()"
        )
    others = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(
            f"{file}: {', '.join(others[:3])} of its {len(state)} entries are no tensors, and none of "
            f"{', '.join(WRAPPERS)} is among them; save the network's state_dict() with torch.save()"
        )
    named = {name: value.detach() for name, value in state.items()}
    while prefix := next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in named)), None):
        named = {name.removeprefix(prefix): value for name, value in named.items()}
    return named


def check(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], file: Path) -> None:
    """Compare names and shapes. Raises `CheckpointError`, naming `file` and what differs."""
    missing, foreign = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or foreign:
        raise CheckpointError(
            f"{file}: made for another network; it lacks {len(missing)} of its tensors "
            f"({', '.join(missing[:3])}) and brings {len(foreign)} others ({', '.join(foreign[:3])})"
        )
    for name, value in expected.items():
        if value.shape != found[name].shape:
            raise CheckpointError(
                f"{file}: {name} has shape {tuple(found[name].shape)}, the network wants {tuple(value.shape)}; "
                "ask for the configuration and window that the weights were made with"
            )


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"{file}: cannot be read ({error.strerror}); check the path")


def _safetensors(content: bytes, file: Path) -> dict[str, Tensor]:
    try:
        return load(content)
    except SafetensorError as error:
        raise CheckpointError(f"{file}: is no safetensors file ({error})") from error


def _unpickled(file: Path) -> object:
    try:
        with file.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on old formats
            return torch.load(stream, map_location="cpu", weights_only=True)
    except OSError as error:
        raise _unreadable(file, error) from error
    except pickle.UnpicklingError as error:
        # torch names what the pickle asked for, among advice on how to load it all the same.
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        wanted = f"asks for {asked[1]}" if asked else "holds more than tensors and plain values, or is no pickle"
        raise CheckpointError(
            f"{file}: {wanted}; reading such a file could run code, so it was not read. "
            "Where you trust its source, save its state_dict() by itself with torch.save() and use that"
        ) from error
    except Exception as error:  # a damaged archive breaks torch's reader in many ways
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{file}: is damaged or no torch checkpoint ({reason[:120]}); get it again") from error


def _wrapped(state: Mapping[Any, Any]) -> Mapping[Any, Any] | None:
    return next((state[name] for name in WRAPPERS if isinstance(state.get(name), Mapping)), None)
