"""Which model can do which task, asked of the models themselves, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.catalogs import MODELS, TASKS
from harness.task import Task
from semanir.model import Request


@dataclass(frozen=True)
class Support:
    """One model and, for each task that it can do, the setting in which it does; the task's default first."""

    model: str
    settings: Mapping[str, str]


def supported() -> Iterator[Support]:
    """Ask every configuration of every model about every task."""
    for family in MODELS:
        for configuration in MODELS[family].configurations:
            found = {name: _setting(family, configuration, TASKS[name]) for name in TASKS}
            settings = {name: setting for name, setting in found.items() if setting is not None}
            yield Support(f"{family}/{configuration}".removesuffix("/"), settings)


def as_markdown() -> str:
    """The table of models against tasks; a cell holds the setting where the task's default would not do."""
    names = TASKS.names()
    lines = [f"| model | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for row in supported():
        cells = [_mark(row.settings.get(name), TASKS[name]) for name in names]
        lines.append(f"| {row.model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mark(setting: str | None, task: Task) -> str:
    if setting is None:
        return "-"
    return "yes" if setting == task.canonical(task.defaults) else f"with `{setting}`"


def _setting(family: str, configuration: str, task: Task) -> str | None:
    """Return the default setting where it is supported, else the first with one parameter changed that is."""
    for setting in (task.defaults, *_variants(task)):
        request = Request(
            configuration=configuration,
            channels=task.channels(setting),
            scale=task.scale(setting),
            height=64,
            width=64,
            holds=task.holds(setting),
        )
        if MODELS[family].unsupported(request) is None:
            return task.canonical(setting)
    return None


def _variants(task: Task) -> Iterator[dict[str, Any]]:
    for key, rule in task.rules.items():
        if isinstance(rule, tuple) and isinstance(task.defaults[key], str):
            for value in rule:
                yield {**task.defaults, key: value}
