"""What a paper prints of an experiment's tables: caption, label and names. It decides no cell and no number."""

from __future__ import annotations

from pydantic import Field

from harness.record import Frozen


class Paper(Frozen):
    """The words of a spec's `paper`; each may be left out."""

    caption: str = ""
    """The caption of a report's one table; where there are several, all captions begin with it."""
    label: str = ""
    """By which `\\ref` finds that table, as in `tab:topk`; where there are several, all labels begin with it."""
    names: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Per axis what is printed for a value, which is written as the axis has it, `null` included. For `weights` the
    name that several seeds share, as `topk-fixed` of `topk-fixed-s0`, is a value too."""
