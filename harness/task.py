"""What a restoration task is: how a target is degraded, in which settings, and by which protocol it is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.catalog import suggest
from harness.protocol import Protocol

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32, UInt8

Value = int | float | str
Setting = Mapping[str, Value]
"""The degradation's parameters, every key of `Task.defaults` present."""


class InvalidSetting(ValueError):
    """A setting that its task does not know; the message names key, rule and remedy."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One of the restoration tasks. Holds no state and no torch."""

    summary: str
    defaults: Setting
    """Every parameter with its default; the first is the main one and always shown."""
    rules: Mapping[str, tuple[Value, ...] | range | tuple[float, float]]
    """Per parameter: the allowed values (a tuple of str or int), a range of int, or `(low, high)` floats."""
    channels: Callable[[Setting], int]
    """1 for gray, 3 for colour."""
    scale: Callable[[Setting], int]
    """Target side over degraded side; 1 but for super-resolution."""
    protocol: Callable[[Setting], Protocol]
    degrade: Callable[[UInt8[np.ndarray, "H W C"], Setting, np.random.Generator], Float32[np.ndarray, "h w C"]]
    """Target with 8-bit values -> degraded image in units of one (0..1; noise is not clipped)."""

    def parse(self, text: str) -> Setting:
        """Read `sigma=25,color=gray`; `default` or an empty text gives the defaults. Raises `InvalidSetting`."""
        setting = dict(self.defaults)
        if text in ("", "default"):
            return setting
        for part in text.split(","):
            key, equals, raw = (piece.strip() for piece in part.partition("="))
            if not equals or not raw:
                raise InvalidSetting(f"'{part}' is no key=value pair; write it like '{self.canonical(self.defaults)}'")
            if key not in self.defaults:
                known = list(self.defaults)
                raise InvalidSetting(f"unknown key '{key}'.{suggest(key, known)} It has: {', '.join(known)}")
            setting[key] = self._value(key, raw)
        return setting

    def canonical(self, setting: Setting) -> str:
        """Return the one spelling of a setting: the main parameter, then whatever differs from its default."""
        main = next(iter(self.defaults))
        shown = [key for key in self.defaults if key == main or setting[key] != self.defaults[key]]
        return ",".join(f"{key}={setting[key]}" for key in shown)

    def _value(self, key: str, raw: str) -> Value:
        kind = type(self.defaults[key])
        try:
            value = kind(raw)
        except ValueError:
            raise InvalidSetting(f"{key}: '{raw}' is no {kind.__name__}") from None
        rule = self.rules[key]
        if kind is float:
            low, high = rule[0], rule[-1]
            if not low <= value <= high:
                raise InvalidSetting(f"{key}: {raw} lies outside {low}..{high}")
        elif value not in rule:
            allowed = f"{rule[0]}..{rule[-1]}" if isinstance(rule, range) else ", ".join(map(str, rule))
            raise InvalidSetting(f"{key}: '{raw}' is not one of {allowed}")
        return value
