"""The small weights that ship with the project: a safetensors file and a JSON card each, found by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known of a set of weights."""

    name: str
    model: str
    """`family/configuration`."""
    task: str
    setting: str
    """The degradation it was trained for, in the task's canonical spelling."""
    channels: int
    scale: int
    sha256: str
    """Of the safetensors file; checked at each load."""
    training: Mapping[str, object] = field(default_factory=dict)
    """How it was made: data and its licence note, steps, seed, machine, minutes, commit, validation numbers."""

    @property
    def file(self) -> Path:
        """The safetensors file beside the card."""
        return FOLDER / f"{self.name}.safetensors"


@cache
def cards() -> Mapping[str, Card]:
    """Read all cards, by name."""
    return {path.stem: Card(**json.loads(path.read_text())) for path in sorted(FOLDER.glob("*.json"))}
