"""What a restoration task is: how it degrades a target, in which settings, and how the result is judged."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.catalog import suggest
from harness.material import Material
from harness.protocol import Protocol
from semanir.model import Holds

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32, UInt

Value = int | float | str
Setting = Mapping[str, Value]
"""The degradation's parameters, every key of `Task.defaults` present. A range stays text, as in `5..50`."""

RANGE = ".."
"""Between the ends of a range."""

SMALLEST_SIDE = 8
"""Pixels: every task degrades any image at least this large in both directions."""


class InvalidSetting(ValueError):
    """A setting that its task does not know; the message names key, rule and remedy."""


def generator(seed: int, image_name: str) -> np.random.Generator:
    """Return the randomness of one image: a function of seed and name alone, in every process and order."""
    import numpy as np

    entropy = hashlib.sha256(f"{seed}/{image_name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(entropy, "big")))


@dataclass(frozen=True, kw_only=True)
class Task:
    """One of the restoration tasks. Holds no state and no torch."""

    summary: str
    defaults: Setting
    """Every parameter with its default; the first is the main one and always shown."""
    rules: Mapping[str, tuple[Value, ...] | range | tuple[float, float]]
    """Per parameter: the allowed values (a tuple of str or int), a range of int, or `(low, high)` floats."""
    ranged: tuple[str, ...] = ()
    """Numbers that may also be a range, as in `sigma=5..50`: each image draws its own, see `draw`."""
    channels: Callable[[Setting], int]
    """1 for gray, 3 for colour."""
    scale: Callable[[Setting], int]
    """Target side over degraded side; 1 but for super-resolution."""
    protocol: Callable[[Setting], Protocol]
    prepare_target: Callable[[UInt[np.ndarray, "H W c"], Setting], UInt[np.ndarray, "h w C"]]
    """Any gray or colour image of 8 or 16 bits -> the target: channels by the task's convention, sides a multiple
    of what the degradation divides by (cut at the right and the bottom, as MATLAB scripts do)."""
    degrade: Callable[[UInt[np.ndarray, "H W C"], Setting, np.random.Generator], Float32[np.ndarray, "h w C"]]
    """A prepared target and a setting without ranges -> degraded image in units of one (noise is not clipped)."""
    upscale: Callable[[Float32[np.ndarray, "h w C"], Setting], Float32[np.ndarray, "H W C"]] = (
        lambda degraded, setting: degraded
    )
    """Degraded image -> the target's size, without learning; the image itself where nothing is scaled."""
    input_protocol: Callable[[Setting], Protocol] | None = None
    """How the degraded image itself is judged where that differs: published noisy rows clip no noise."""
    holds: Callable[[Setting], Holds] = lambda setting: "image"
    """What a network receives; a mosaic only where the setting asks for it uninterpolated."""
    only: Mapping[str, tuple[str, tuple[Value, ...]]] = field(default_factory=dict)
    """Parameters that mean something only beside some values of another: `angle` with kind=rain or snow."""
    material: Callable[[Setting], Material | None] = lambda setting: None
    """The file that the degradation reads, where it reads one that does not come with the project."""

    def parse(self, text: str) -> Setting:
        """Read `sigma=25,color=gray`; `default` or nothing gives the defaults. Raises `InvalidSetting`."""
        given: dict[str, Value] = {}
        for part in () if text.strip() in ("", "default") else text.split(","):
            key, equals, raw = (piece.strip() for piece in part.partition("="))
            if not equals or not raw:
                example = self.canonical(self.defaults)
                raise InvalidSetting(f"'{part.strip()}' is no key=value pair; write it like '{example}'")
            if key not in self.defaults:
                known = list(self.defaults)
                raise InvalidSetting(f"unknown key '{key}'.{suggest(key, known)} It has: {', '.join(known)}")
            if key in given:
                raise InvalidSetting(f"{key} is given twice; keep one of '{text.strip()}'")
            given[key] = self._value(key, raw)
        setting = {**self.defaults, **given}
        for key in given:
            other, values = self.only.get(key, (key, (given[key],)))
            if setting[other] not in values:
                allowed = " or ".join(f"{other}={value}" for value in values)
                given_by = f"{other}={setting[other]}"
                raise InvalidSetting(f"{key} means nothing with {given_by}; it belongs to {allowed}")
        return setting

    def canonical(self, setting: Setting) -> str:
        """Return the one spelling of a setting: the main parameter, then what differs from its default."""
        main = next(iter(self.defaults))
        shown = [key for key in self.defaults if key == main or setting[key] != self.defaults[key]]
        return ",".join(f"{key}={_spelled(setting[key])}" for key in shown)

    def draw(self, setting: Setting, randomness: np.random.Generator) -> Setting:
        """Return the setting of one image: each range gives way to a number, uniform between its ends.

        Drawn in the order of `defaults`, before anything else of the image; whole numbers reach both ends. A
        setting without ranges draws nothing, so the randomness that follows stays what it was.
        """
        return {key: self._drawn(key, value, randomness) for key, value in setting.items()}

    def _drawn(self, key: str, value: Value, randomness: np.random.Generator) -> Value:
        if key not in self.ranged or not isinstance(value, str):
            return value
        low, high = value.split(RANGE)
        if isinstance(self.defaults[key], float):
            return float(randomness.uniform(float(low), float(high)))
        return int(randomness.integers(int(low), int(high), endpoint=True))

    def _value(self, key: str, raw: str) -> Value:
        if key not in self.ranged or RANGE not in raw:
            return self._single(key, raw)
        ends = [end.strip() for end in raw.split(RANGE)]
        if len(ends) != 2 or not all(ends):
            example = f"{key}={_spelled(self.rules[key][0])}{RANGE}{_spelled(self.rules[key][-1])}"
            raise InvalidSetting(f"{key}: '{raw}' is no range; write two ends, as in {example}")
        low, high = (self._single(key, end) for end in ends)
        if float(low) >= float(high):
            raise InvalidSetting(f"{key}: {raw} is empty; write the smaller end first, or one number alone")
        return f"{_spelled(low)}{RANGE}{_spelled(high)}"

    def _single(self, key: str, raw: str) -> Value:
        kind = type(self.defaults[key])
        try:
            value = kind(raw)
        except ValueError:
            wanted = "number" if kind is float else "whole number"
            raise InvalidSetting(f"{key}: '{raw}' is no {wanted}") from None
        rule = self.rules[key]
        if isinstance(value, float):
            low, high = float(rule[0]), float(rule[-1])
            if not low <= value <= high:
                raise InvalidSetting(f"{key}: {raw} lies outside {low:g}..{high:g}")
            return value + 0.0  # -0.0 and 0.0 are one setting
        if value not in rule:
            raise InvalidSetting(f"{key}: '{raw}' is not one of {_allowed(rule)}.{suggest(raw, [*map(str, rule)])}")
        return value


def _allowed(rule: Sequence[Value]) -> str:
    if not isinstance(rule, range):
        return ", ".join(map(str, rule))
    return f"{rule[0]}..{rule[-1]}" if rule.step == 1 else f"{rule[0]}, {rule[1]}, .. {rule[-1]}"


def _spelled(value: Value) -> str:
    return value if isinstance(value, str) else str(value).removesuffix(".0")
