"""Committed costs: a JSON file for each version of triton, beside this module."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.static.cost import Cost, StaticError

FOLDER = Path(__file__).parent / "baselines"


class Baseline(BaseModel):
    """The costs of all kernels under one version of triton."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    triton: str
    targets: dict[str, dict[str, Cost]]
    """By target, then by kernel and problem."""


def read(version: str, target: str, *, folder: Path = FOLDER) -> Mapping[str, Cost]:
    """Return the costs of a target. Raises `StaticError` that names the versions and targets there are."""
    found = _load(folder / f"{version}.json")
    if found is None or target not in found.targets:
        raise StaticError(
            f"no baseline for triton {version} and {target}; there is one for {_available(folder)}. "
            "Install one of these, or write one from the kernels as they are: "
            f"semanir-bench static --target {target} --write"
        )
    return found.targets[target]


def write(version: str, costs: Mapping[str, Mapping[str, Cost]], *, folder: Path = FOLDER) -> Path:
    """Write the costs of some targets, keep those of others, and return the file."""
    path = folder / f"{version}.json"
    before = _load(path)
    targets = dict(before.targets if before else {}) | {target: dict(found) for target, found in costs.items()}
    text = json.dumps(Baseline(triton=version, targets=targets).model_dump(), indent=1, sort_keys=True)
    try:
        folder.mkdir(exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise StaticError(f"{path}: cannot be written ({error.strerror}); use a checkout, installed with -e") from None
    return path


def _load(path: Path) -> Baseline | None:
    if not path.is_file():
        return None
    try:
        return Baseline.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise StaticError(f"{path}: not a baseline of this project ({error.errors()[0]['msg']}); remove it") from None


def _available(folder: Path) -> str:
    found = [_load(path) for path in sorted(folder.glob("*.json"))]
    return "; ".join(f"{one.triton} ({', '.join(sorted(one.targets))})" for one in found if one) or "no version yet"
