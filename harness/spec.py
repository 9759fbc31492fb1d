"""Reads `experiments/<question>/spec.yaml` and says everything that is wrong with it at once."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from harness.catalog import suggest
from harness.catalogs import BACKENDS, METRICS, MODELS, TASKS
from harness.paper import Paper
from harness.record import Cell, Frozen, Timing, digest
from harness.task import InvalidSetting
from harness.weights import arm_and_seed
from harness.weights import unknown as unknown_weights
from harness.yaml_lines import (
    Items,
    Node,
    Place,
    Problem,
    ReadError,
    Refused,
    Scalar,
    Table,
    parse,
    read_text,
    resolve,
    shown,
)
from semanir.model import Request

AxisValue = str | int | None
Conditions = dict[str, tuple[AxisValue, ...]]
"""Per axis the values that match; a cell matches when every axis does."""

AXES = tuple(axis for axis in Cell.model_fields if axis != "benchmark")
"""What a spec can name: a benchmark of another program is imported, never asked for."""
REQUIRED_AXES = ("model", "task", "dataset")
CEILINGS: Mapping[str, int] = {
    "top_k": 2**20,
    "window": 2**10,
    "image_size": 2**14,
    "images": 2**20,
    "batch": 2**16,
    "tile": 2**14,
    "seed": 2**63 - 1,
}
"""The largest value an axis takes in a spec: beyond it lies a slip of the finger, not an experiment."""

PROFILE = "profile"
"""The metric that `profile: true` adds to a spec which does not name it, perhaps restricted, among its metrics."""

MAX_SHOWN = 100
"""Problems that the text of a `SpecError` lists before it counts the rest."""

Check = Callable[[object], str | None]
"""What is wrong with a value, and what would be right; None where it is right."""
Section = TypeVar("Section", bound=Frozen)


class SpecError(ValueError):
    """The user's input is wrong; carries every problem, and its text lists them one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.place.line or math.inf))
        lines = [str(problem) for problem in self.problems[:MAX_SHOWN]]
        if len(self.problems) > MAX_SHOWN:
            lines.append(f"and {len(self.problems) - MAX_SHOWN:,} more problems")
        super().__init__("\n".join(lines))


class Budget(Frozen):
    """What one cell, and the whole spec, may take."""

    cell_seconds: float = Field(default=120.0, gt=0, le=86_400)
    """Time limit of one metric of one cell, in seconds; beyond it the cell fails with `timeout`."""
    memory_mib: int = Field(default=4096, ge=1, le=2**24)
    """Cells whose forecast lies above are skipped with the forecast as the reason, in MiB."""
    max_cells: int = Field(default=100_000, ge=1, le=1_000_000)
    """A spec that unfolds into more cells is refused."""


class MetricChoice(Frozen):
    """A metric of the spec, perhaps restricted to some cells."""

    name: str
    only: Conditions = Field(default_factory=dict)
    """Where it is measured; everywhere when empty."""

    def admits(self, cell: Cell) -> bool:
        """Return whether the spec wants this metric of this cell."""
        return matches(self.only, cell)


class Exclusion(Frozen):
    """A rule that keeps cells, or some metrics of them, from being measured, and says why."""

    where: Conditions
    reason: str
    metrics: tuple[str, ...] = ()
    """What is not measured there; nothing is when empty."""

    def forbids(self, metric: str) -> bool:
        """Return whether a cell that the rule matches goes without this metric."""
        return not self.metrics or metric in self.metrics


class Sweep(Frozen):
    """A product of axes."""

    axes: dict[str, tuple[AxisValue, ...]]
    """Values of every axis that the sweep names, `setting` left out; see `values`."""
    settings: dict[str, tuple[str, ...]]
    """Per task of the sweep its settings, canonical; the task's default where the sweep names none."""

    def values(self, axis: str) -> tuple[AxisValue, ...]:
        """Return the values of an axis other than `setting`; the default where the sweep does not name it."""
        return self.axes[axis] if axis in self.axes else (Cell.model_fields[axis].default,)


class ExperimentSpec(Frozen):
    """A question and everything that decides which cells answer it."""

    name: str
    """The folder's name, or the file's stem where the file is not called spec.yaml."""
    question: str
    """What the experiment asks, in one sentence."""
    sweeps: tuple[Sweep, ...] = Field(min_length=1)
    """Products of axes, of which the spec is the union: one written as `axes`, or a list of such under `sweeps`."""
    metrics: tuple[MetricChoice, ...]
    timing: Timing = Timing()
    """How latencies are sampled."""
    budget: Budget = Budget()
    """What a cell and the whole spec may take."""
    exclude: tuple[Exclusion, ...] = ()
    """Cells that are skipped with the rule's reason; the first rule that matches speaks."""
    page: str = ""
    """The report's page that answers the question; `ablation` by default."""
    awaited: tuple[str, ...] = ()
    """Weights that do not exist yet: what needs them is skipped, where any other unknown name is a mistake."""
    smoke: tuple[str, ...] = ()
    """Overrides, as `--set` takes them, that make of it something tiny that runs every line anywhere (`--smoke`)."""
    paper: Paper = Paper()
    """Caption, label and names of its tables in print (`report --out table.tex`)."""
    comparisons: tuple[tuple[str, str], ...] = ()
    """Pairs of training arms, reference first, that its page compares; without it every arm with the first. An arm is
    named by its weights without the seed, or by the end of that after a dash: `w8` is `ablation-w8`."""
    text: str
    """The file as it was written."""
    path: Path

    @cached_property
    def digest(self) -> str:
        """Digest of what decides the cells and their metrics; words, place and comments do not count."""
        words = {"name", "question", "page", "awaited", "smoke", "paper", "comparisons", "text", "path"}
        return digest(self.model_dump(mode="json", exclude=words))

    def values(self, axis: str) -> tuple[AxisValue, ...]:
        """Return the values that an axis other than `setting` takes in any sweep, each once."""
        return tuple(dict.fromkeys(value for sweep in self.sweeps for value in sweep.values(axis)))

    @property
    def settings(self) -> dict[str, tuple[str, ...]]:
        """Return per task the settings that it takes in any sweep, each once."""
        found: dict[str, dict[str, None]] = {}
        for sweep in self.sweeps:
            for task, settings in sweep.settings.items():
                found.setdefault(task, {}).update(dict.fromkeys(settings))
        return {task: tuple(settings) for task, settings in found.items()}


def matches(where: Conditions, cell: Cell) -> bool:
    """Return whether every named axis of the cell has one of the values."""
    return all(getattr(cell, axis) in values for axis, values in where.items())


def arms_named(name: str, arms: Iterable[str]) -> list[str]:
    """Return the arm of this name, or those whose names end in it after a dash."""
    arms = list(arms)
    return [name] if name in arms else [arm for arm in arms if arm.endswith(f"-{name}")]


def load(path: Path | str, overrides: Sequence[str] = (), *, smoke: bool = False) -> ExperimentSpec:
    """Read a spec, with `--set` overrides such as `axes.top_k=64,128` or `timing.samples=5`.

    Lists are split at commas; the settings of `axes.setting.denoise=sigma=15;sigma=25` at semicolons. What is set
    below `axes` is set in every sweep of a spec that has several. `smoke` sets the spec's own `smoke` first.
    Raises `SpecError` with every problem of the file and of the overrides.
    """
    path = Path(path)
    try:
        text = read_text(path)
    except ReadError as error:
        raise SpecError([error.problem]) from None
    root, problems = parse(text, str(path))
    if root is None:
        raise SpecError(problems)
    reader = _Reader(problems, altered=smoke or bool(overrides))
    for override in _smoke_lines(root, path, problems) if smoke else ():
        root = _override(root, override, problems, option="smoke")
    for override in overrides:
        root = _override(root, override, problems)
    spec = reader.spec(root, text, path)
    if spec is None:
        raise SpecError(problems)
    return spec


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a spec file, for editors."""
    fields = ExperimentSpec.model_json_schema()
    describe = {key: entry.get("description", "") for key, entry in fields["properties"].items()}
    values = {axis: _axis_schema(axis) for axis in AXES}
    conditions = {"type": "object", "additionalProperties": False, "minProperties": 1, "properties": values}
    metric_names = METRICS.names()
    restricted = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": {
            name: {"type": "object", "additionalProperties": False, "properties": {"only": conditions}}
            for name in metric_names
        },
    }
    settings = {
        "type": "object",
        "description": "Per task its degradations; the task's default where it is not named.",
        "additionalProperties": False,
        "properties": {task: _one_or_more({"type": "string"}) for task in TASKS},
    }
    axes = {
        "type": "object",
        "description": "Values of each axis; the spec asks for their product.",
        "additionalProperties": False,
        "required": list(REQUIRED_AXES),
        "properties": values | {"setting": settings},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "semanir-bench experiment",
        "type": "object",
        "additionalProperties": False,
        "required": ["question", "metrics"],
        "oneOf": [{"required": ["axes"]}, {"required": ["sweeps"]}],
        "properties": {
            "question": {"type": "string", "minLength": 1, "description": describe["question"]},
            "axes": axes,
            "sweeps": {"type": "array", "minItems": 1, "description": describe["sweeps"], "items": axes},
            "metrics": {
                "description": "What is measured; restrict it as in memory: {only: {task: [denoise]}}.",
                **_one_or_more({"anyOf": [{"enum": metric_names}, restricted]}),
            },
            "profile": {
                "type": "boolean",
                "default": False,
                "description": f"Trace some passes of every cell: the metric {PROFILE}, where metrics do not name it.",
            },
            "timing": {**Timing.model_json_schema(), "description": describe["timing"]},
            "budget": {**Budget.model_json_schema(), "description": describe["budget"]},
            "page": {"type": "string", "minLength": 1, "description": describe["page"]},
            "awaited": {"description": describe["awaited"], **_one_or_more({"type": "string", "minLength": 1})},
            "paper": {**_paper_schema(), "description": describe["paper"]},
            "comparisons": {
                "type": "array",
                "minItems": 1,
                "description": describe["comparisons"],
                "items": {
                    "type": "array",
                    "items": {"type": "string", "minLength": 1},
                    "minItems": 2,
                    "maxItems": 2,
                },
            },
            "smoke": {"description": describe["smoke"], **_one_or_more({"type": "string", "pattern": "="})},
            "exclude": {
                "type": "array",
                "description": describe["exclude"],
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["where", "reason"],
                    "properties": {
                        "where": conditions,
                        "reason": {"type": "string", "minLength": 1},
                        "metrics": _one_or_more({"enum": metric_names}),
                    },
                },
            },
        },
    }


def _paper_schema() -> dict[str, Any]:
    schema = Paper.model_json_schema()
    named = {"type": "object", "additionalProperties": {"type": ["string", "number"], "minLength": 1}}
    names = {"type": "object", "additionalProperties": False, "properties": dict.fromkeys(AXES, named)}
    properties: dict[str, Any] = schema["properties"]
    properties["label"] |= {"pattern": f"^{_LABEL.pattern}$"}
    properties["names"] = {"description": properties["names"]["description"], **names}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _axis_schema(axis: str) -> dict[str, Any]:
    value = dict(Cell.model_json_schema()["properties"][axis])
    description = value.pop("description", None)
    value = {key: content for key, content in value.items() if key not in ("title", "default")}
    names = _known_datasets() if axis == "dataset" else _axis_names(axis)
    schema = _one_or_more({"enum": names} if names else value)
    return schema | ({"description": description} if description else {})


def _one_or_more(value: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [value, {"type": "array", "items": value, "minItems": 1, "uniqueItems": True}]}


def _axis_names(axis: str) -> list[str]:
    """Return every name that an axis takes; empty where it takes more than names."""
    match axis:
        case "model":
            return [
                f"{family}/{name}" if name else family for family in MODELS for name in MODELS[family].configurations
            ]
        case "backend":
            return ["none", *BACKENDS.names()]
        case "task":
            return TASKS.names()
        case "dataset":
            from harness import datasets

            return datasets.names()
    return []


def _known_datasets() -> list[str]:
    """Return the datasets that are here and those that a person can get."""
    from harness import datasets

    return datasets.known()


def _unknown_name(axis: str, name: str) -> str | None:
    """Return what is wrong with a name on an axis, or None."""
    match axis:
        case "model":
            return _unknown_model(name)
        case "backend":
            return None if name == "none" or name in BACKENDS else BACKENDS.unknown(name)
        case "task":
            return None if name in TASKS else TASKS.unknown(name)
        case "dataset":
            from harness import datasets

            try:
                datasets.resolve(name)
            except datasets.DatasetError as error:
                return str(error)
            return None
        case "weights":
            blank = "is blank; write `none`, `shipped` or the name of trained weights"
            return unknown_weights(name) if name.strip() else blank
    return None


def _unknown_model(name: str) -> str | None:
    family, slash, configuration = name.partition("/")
    if family not in MODELS:
        return MODELS.unknown(family)
    configurations = MODELS[family].configurations
    if configuration in configurations and bool(slash) == bool(configuration):
        return None
    known = [f"{family}/{other}" if other else family for other in configurations]
    return f"no configuration '{configuration}' of '{family}'.{suggest(name, known)} It has: {', '.join(known)}"


@cache
def _validator(axis: str) -> Callable[[object], object]:
    """Return what checks one value of an axis: the type and bounds of `Cell`, plus the ceiling."""
    about = Cell.model_fields[axis]
    ceiling = Field(le=CEILINGS[axis]) if axis in CEILINGS else Field()
    annotated: Any = cast(Any, Annotated)[(about.annotation, *about.metadata, ceiling)]
    return TypeAdapter(annotated, config=ConfigDict(strict=True)).validate_python


def _smoke_lines(root: Node, path: Path, problems: list[Problem]) -> tuple[str, ...]:
    """Return the overrides of the spec's `smoke`; what is wrong with the list itself is found where it is read."""
    if not isinstance(root, Table) or "smoke" not in root.entries:
        remedy = "write a list of overrides, as in [axes.image_size=32, timing.samples=2], or leave --smoke out"
        problems.append(Problem(Place(str(path)), "smoke", f"the spec has none; {remedy}"))
        return ()
    _, listed = root.entries["smoke"]
    return tuple(node.text for node in _nodes(listed) if isinstance(node, Scalar))


def _override(root: Node, override: str, problems: list[Problem], option: str = "--set") -> Node:
    """Return the tree with the value of `axes.top_k=64,128` in its place; the usual checks see it there."""
    place = Place(f"{option} {override if override.isprintable() else shown(override)}")
    dotted, equals, raw = override.partition("=")
    keys = [key.strip() for key in dotted.split(".")]
    if not equals or not all(keys):
        problems.append(Problem(place, "", "is no key=value; write it like axes.top_k=64,128"))
        return root
    match keys:
        case ["axes", "setting", _]:
            node: Node = Items(place, tuple(Scalar(place, text.strip(), text.strip()) for text in raw.split(";")))
        case ["axes", key] if key != "setting":
            node = _scalars(place, raw)
        case ["metrics"]:
            node = _scalars(place, raw)
        case ["question"]:
            node = Scalar(place, raw, raw)
        case ["timing" | "budget", _] | ["profile"]:
            node = Scalar(place, resolve(raw.strip()), raw.strip())
        case [("axes" | "timing" | "budget" | "exclude"), *_]:
            problems.append(Problem(place, dotted, "cannot be set as a whole; set one key, as in timing.samples=5"))
            return root
        case _:
            node = Scalar(place, raw, raw)
    if keys[0] == "axes" and isinstance(root, Table) and "axes" not in root.entries and "sweeps" in root.entries:
        at, sweeps = root.entries["sweeps"]
        if isinstance(sweeps, Items):
            planted = tuple(_planted(sweep, keys[1:], node, problems) for sweep in sweeps.nodes)
            return replace(root, entries={**root.entries, "sweeps": (at, replace(sweeps, nodes=planted))})
    return _planted(root, keys, node, problems)


def _scalars(place: Place, raw: str) -> Items:
    words = [word.strip() for word in raw.split(",")] if raw.strip() else []
    return Items(place, tuple(Scalar(place, resolve(word), word) for word in words))


def _planted(node: Node, keys: Sequence[str], leaf: Node, problems: list[Problem]) -> Node:
    if not keys:
        return leaf
    if not isinstance(node, Table):
        problems.append(Problem(leaf.place, ".".join(keys), f"cannot be set: the spec has {_kind(node)} there"))
        return node
    at, below = node.entries.get(keys[0], (leaf.place, Table(leaf.place, {})))
    planted = _planted(below, keys[1:], leaf, problems)
    if len(keys) == 1:
        at = leaf.place
    return replace(node, entries={**node.entries, keys[0]: (at, planted)})


class _Reader:
    """Walks the tree once, adds every problem to the list, and returns what could be understood."""

    def __init__(self, problems: list[Problem], *, altered: bool = False) -> None:
        self.problems = problems
        self.altered = altered
        """Some values of the file may have been replaced."""
        self._awaited: tuple[str, ...] = ()

    def spec(self, root: Node, text: str, path: Path) -> ExperimentSpec | None:
        """Return the spec; None where anything was reported."""
        known = (
            *("question", "axes", "sweeps", "metrics", "timing", "budget"),
            *("exclude", "profile", "page", "awaited", "smoke", "paper", "comparisons"),
        )
        several = isinstance(root, Table) and "sweeps" in root.entries
        top = self._table(root, "", known, required=("question", "sweeps" if several else "axes", "metrics"))
        if top is None:
            return None
        if "axes" in top and "sweeps" in top:
            self._report(top["axes"].place, "axes", "the spec has sweeps as well; make this an item of them")
        question = self._words(top["question"], "question") if "question" in top else ""
        timing = self._model(Timing, top.get("timing"), "timing")
        budget = self._model(Budget, top.get("budget"), "budget")
        page = self._scalar(top["page"], "page", _not_a_page) if "page" in top else None
        if "awaited" in top:
            self._awaited = tuple(map(str, self._list(top["awaited"], "awaited", _not_a_name)))
        smoke = tuple(map(str, self._list(top["smoke"], "smoke", _not_an_override))) if "smoke" in top else ()
        sweeps = self._sweeps(top, budget.max_cells)
        metrics = self._metrics(top["metrics"]) if "metrics" in top else ()
        wanted = self._scalar(top["profile"], "profile", _not_yes_or_no) if "profile" in top else None
        if wanted and wanted.value and all(choice.name != PROFILE for choice in metrics):
            metrics += (MetricChoice(name=PROFILE),)
        exclude = self._exclusions(top["exclude"]) if "exclude" in top else ()
        paper = self._paper(top["paper"], sweeps) if "paper" in top else Paper()
        comparisons = self._comparisons(top["comparisons"], sweeps) if "comparisons" in top else ()
        if self.problems:
            return None
        resolved = path.resolve()
        return ExperimentSpec(
            name=(resolved.parent.name or "spec") if path.name == "spec.yaml" else path.stem,
            question=question,
            sweeps=sweeps,
            metrics=metrics,
            timing=timing,
            budget=budget,
            exclude=exclude,
            page=page.text.strip() if page else "",
            awaited=self._awaited,
            smoke=smoke,
            paper=paper,
            comparisons=comparisons,
            text=text,
            path=path,
        )

    # the sections, in the order of the file

    def _sweeps(self, top: Mapping[str, Node], max_cells: int) -> tuple[Sweep, ...]:
        """Return the one sweep of `axes`, or those of the list."""
        if "axes" in top:
            nodes = {"axes": top["axes"]}
        elif not isinstance(listed := top.get("sweeps"), Items):
            if listed is not None and not isinstance(listed, Refused):
                remedy = "write a list of axes: - {model: [...], task: [...], dataset: [...]}"
                self._report(listed.place, "sweeps", f"is {_kind(listed)}; {remedy}")
            return ()
        else:
            if not listed.nodes:
                self._report(listed.place, "sweeps", "empty list; write at least one sweep, or `axes` alone")
            nodes = {f"sweeps.{number}": node for number, node in enumerate(listed.nodes, start=1)}
        sweeps = tuple(self._axes(node, where) for where, node in nodes.items())
        self._check_count(nodes, max_cells)
        return sweeps

    def _axes(self, node: Node, where: str) -> Sweep:
        table = self._table(node, where, AXES, required=REQUIRED_AXES)
        if table is None:
            return Sweep(axes={}, settings={})
        axes = {axis: self._axis(axis, table[axis], f"{where}.{axis}") for axis in table if axis != "setting"}
        tasks = [cast(str, task) for task in axes.get("task", ())]
        narrowed = "task" in table and not table["task"].place.line
        settings = self._settings(table["setting"], where, tasks, narrowed) if "setting" in table else {}
        for task in tasks:
            settings.setdefault(task, (TASKS[task].canonical(TASKS[task].defaults),))
        self._check_top_k(table, where, axes)
        return Sweep(axes=axes, settings={task: settings[task] for task in tasks})

    def _axis(self, axis: str, node: Node, where: str) -> tuple[AxisValue, ...]:
        """Return the values of an axis that are right; a bare value is a list of one."""

        def check(value: object) -> str | None:
            try:
                _validator(axis)(value)
            except ValidationError as error:
                return _complaint(error.errors()[0], value)
            if not isinstance(value, str) or (axis == "weights" and value in self._awaited):
                return None
            return _unknown_name(axis, value)

        values = self._list(node, where, check)
        if axis == "dataset":
            values = self._spelled(node, where, values)
        return tuple(cast(AxisValue, value) for value in values)

    def _spelled(self, node: Node, where: str, values: list[object]) -> list[object]:
        """Return datasets in their own spelling; two spellings of one are reported."""
        from harness import datasets

        spelled: list[object] = list(dict.fromkeys(datasets.resolve(str(value)) for value in values))
        if len(spelled) < len(values):
            self._report(node.place, where, f"two of these are one dataset: {', '.join(map(str, values))}; keep one")
        return spelled

    def _settings(self, node: Node, sweep: str, tasks: Sequence[str], narrowed: bool) -> dict[str, tuple[str, ...]]:
        """Return canonical settings by task; those of a task that `--set` took away are not read."""
        table = self._table(node, f"{sweep}.setting", TASKS.names())
        settings = {}
        for task, listed in (table or {}).items():
            where = f"{sweep}.setting.{task}"
            if task in tasks:
                settings[task] = self._setting_texts(listed, where, [task])
            elif not narrowed:
                here = f"{sweep}.task"
                remedy = f"add it to {here} or remove this; {here} has {', '.join(tasks) or 'no valid task'}"
                whole = "spec" if sweep == "axes" else "sweep"
                self._report(listed.place, where, f"'{task}' is no task of this {whole}; {remedy}")
        return settings

    def _setting_texts(self, node: Node, where: str, tasks: Sequence[str]) -> tuple[str, ...]:
        """Return the canonical forms that the tasks give to the settings; one task has to know each."""
        example = TASKS[tasks[0]].canonical(TASKS[tasks[0]].defaults) if tasks else "sigma=25"
        canonical: dict[str, None] = {}

        def check(value: object) -> str | None:
            if not isinstance(value, str):
                return f"{shown(value)} is {_kind(value)}; write key=value, as in '{example}'"
            refusals = []
            for task in tasks:
                try:
                    canonical[TASKS[task].canonical(TASKS[task].parse(value))] = None
                except InvalidSetting as error:
                    refusals.append(str(error))
            if not tasks or len(refusals) < len(tasks):
                return None
            return refusals[0] if len(tasks) == 1 else f"no task has a setting {shown(value)}; {refusals[0]}"

        values = self._list(node, where, check)
        if len(tasks) == 1 and len(canonical) < len(values):
            self._report(node.place, where, f"two of these are one setting: {', '.join(map(str, values))}; keep one")
        return tuple(canonical)

    def _metrics(self, node: Node) -> tuple[MetricChoice, ...]:
        if isinstance(node, Items) and not node.nodes:
            self._report(node.place, "metrics", f"empty list; write at least one of: {', '.join(METRICS.names())}")
        choices: dict[str, MetricChoice] = {}
        for item in _nodes(node):
            only: Conditions = {}
            name_node = item
            if isinstance(item, Table):
                if len(item.entries) != 1:
                    remedy = "write one name, or one name with its restriction: memory: {only: {task: [denoise]}}"
                    self._report(item.place, "metrics", f"an item has {len(item.entries)} keys; {remedy}")
                    continue
                name, (at, content) = next(iter(item.entries.items()))
                name_node = Scalar(at, name, name)
                table = self._table(content, f"metrics.{name}", ("only",), required=("only",))
                only = self._conditions(table["only"], f"metrics.{name}.only") if table and "only" in table else {}
            if scalar := self._scalar(name_node, "metrics", _unknown_metric):
                if scalar.text in choices:
                    self._report(scalar.place, "metrics", f"'{scalar.text}' is listed twice; keep one")
                choices.setdefault(scalar.text, MetricChoice(name=scalar.text, only=only))
        return tuple(choices.values())

    def _exclusions(self, node: Node) -> tuple[Exclusion, ...]:
        if isinstance(node, Refused):
            return ()
        if not isinstance(node, Items):
            remedy = "write a list of rules: - {where: {backend: [mask]}, reason: too slow to wait for}"
            self._report(node.place, "exclude", f"is {_kind(node)}; {remedy}")
            return ()
        rules = []
        for number, item in enumerate(node.nodes, start=1):
            where = f"exclude.{number}"
            known = ("where", "reason", "metrics")
            table = self._table(item, where, known, required=known[:2]) or {}
            conditions = self._conditions(table["where"], f"{where}.where") if "where" in table else {}
            reason = self._words(table["reason"], f"{where}.reason") if "reason" in table else ""
            listed = self._list(table["metrics"], f"{where}.metrics", _unknown_metric) if "metrics" in table else []
            rules.append(Exclusion(where=conditions, reason=reason, metrics=tuple(map(str, listed))))
        return tuple(rules)

    def _paper(self, node: Node, sweeps: Sequence[Sweep]) -> Paper:
        table = self._table(node, "paper", tuple(Paper.model_fields)) or {}
        caption = self._words(table["caption"], "paper.caption") if "caption" in table else ""
        label = self._scalar(table["label"], "paper.label", _not_a_label) if "label" in table else None
        axes = (self._table(table["names"], "paper.names", AXES) if "names" in table else None) or {}
        names = {axis: self._printed(axis, named, sweeps) for axis, named in axes.items()}
        return Paper(caption=caption, label=label.text if label else "", names=names)

    def _printed(self, axis: str, node: Node, sweeps: Sequence[Sweep]) -> dict[str, str]:
        """Return what is printed for values of an axis. It may name values that `--set` took away."""
        where = f"paper.names.{axis}"
        known: Iterable[str] = _value_texts(axis, sweeps)
        if self.altered and isinstance(node, Table):
            known = node.entries
        table = self._table(node, where, tuple(known)) or {}
        read = {key: self._scalar(value, f"{where}.{key}", _not_printable) for key, value in table.items()}
        return {key: scalar.text.strip() for key, scalar in read.items() if scalar}

    def _comparisons(self, node: Node, sweeps: Sequence[Sweep]) -> tuple[tuple[str, str], ...]:
        """Return pairs of names of arms. They may name arms that `--set` took away."""
        if isinstance(node, Refused):
            return ()
        if not isinstance(node, Items) or not node.nodes:
            said = "empty list" if isinstance(node, Items) else f"is {_kind(node)}"
            remedy = "write a list of pairs, reference first: [[w8, w8-dense], [w8, w8-cosine]]"
            self._report(node.place, "comparisons", f"{said}; {remedy}")
            return ()
        sets = [] if self.altered else _arms_by_set(sweeps)
        found: dict[object, tuple[tuple[str, str], Place]] = {}
        for number, item in enumerate(node.nodes, start=1):
            where = f"comparisons.{number}"
            if not isinstance(item, Items) or len(item.nodes) != 2:
                if not isinstance(item, Refused):
                    said = f"is a list of {len(item.nodes)}" if isinstance(item, Items) else f"is {_kind(item)}"
                    self._report(item.place, where, f"{said}; write two arms, reference first, as in [w8, w8-dense]")
                continue
            reference, arm = (self._scalar(each, where, lambda name: _not_an_arm(name, sets)) for each in item.nodes)
            if reference is None or arm is None:
                continue
            pair = (reference.text.strip(), arm.text.strip())
            if complaint := _not_a_pair(*pair, sets):
                self._report(item.place, where, complaint)
            elif (key := _meaning(*pair, sets)) in found:
                self._report(item.place, where, f"says the same as {found[key][1]}; keep one")
            else:
                found[key] = (pair, item.place)
        return tuple(pair for pair, _ in found.values())

    def _conditions(self, node: Node, where: str) -> Conditions:
        """Return what a rule looks for. It may name values that the axes lack: `--set` may have taken them away."""
        table = self._table(node, where, AXES)
        if isinstance(node, Table) and not node.entries:
            self._report(node.place, where, "names no axis; write at least one, as in {task: [denoise]}")
        found = {
            axis: self._axis(axis, values, f"{where}.{axis}")
            for axis, values in (table or {}).items()
            if axis != "setting"
        }
        if table and "setting" in table:
            tasks = [cast(str, task) for task in found.get("task", ())] or TASKS.names()
            found["setting"] = self._setting_texts(table["setting"], f"{where}.setting", tasks)
        return found

    def _model(self, kind: type[Section], node: Node | None, where: str) -> Section:
        """Return a section of single values, its defaults where it is not there or wrong."""
        table = (self._table(node, where, tuple(kind.model_fields)) if node else None) or {}
        read = {key: self._scalar(value, f"{where}.{key}", lambda value: None) for key, value in table.items()}
        values = {key: scalar.value for key, scalar in read.items() if scalar}
        try:
            return kind.model_validate(values, strict=True)
        except ValidationError as error:
            for detail in error.errors():
                key = str(detail["loc"][0])
                self._report(table[key].place, f"{where}.{key}", _complaint(detail, values[key]))
            return kind()

    # rules that look at several axes

    def _check_top_k(self, table: Mapping[str, Node], where: str, axes: Conditions) -> None:
        if "top_k" not in table:
            return
        windows = axes.get("window", (None,))
        sides = [window for window in windows if isinstance(window, int)]
        if None in windows:
            sides += [side for model in axes.get("model", ()) if (side := _own_window(str(model))) is not None]
        if not sides:
            return
        largest = max(sides)
        node = table["top_k"]
        for item in _nodes(node):
            if isinstance(item, Scalar) and type(item.value) is int and largest**2 < item.value <= CEILINGS["top_k"]:
                tokens = f"the {largest**2} tokens of the largest window, {largest}"
                remedy = f"write at most {largest**2}, or a window of at least {math.isqrt(item.value - 1) + 1}"
                self._report(item.place, f"{where}.top_k", f"{item.value} exceeds {tokens}; {remedy}")

    def _check_count(self, sweeps: Mapping[str, Node], max_cells: int) -> None:
        """Count the cells before anything is unfolded, wrong values included."""
        lengths = {where: _lengths(node) for where, node in sweeps.items() if isinstance(node, Table)}
        counts = {where: math.prod(found.values()) for where, found in lengths.items()}
        if (count := sum(counts.values())) <= max_cells:
            return
        where = max(counts, key=lambda where: counts[where])
        largest = sorted(lengths[where], key=lambda axis: -lengths[where][axis])[:3]
        named = ", ".join(f"{axis} ({lengths[where][axis]:,})" for axis in largest if lengths[where][axis] > 1)
        share = "" if len(counts) == 1 else f" in {len(counts)} sweeps, {counts[where]:,} of them here"
        message = f"{count:,} cells{share}; budget.max_cells allows {max_cells:,}: shorten the largest axes, {named}"
        self._report(sweeps[where].place, where, message)

    # nodes

    def _table(
        self, node: Node, where: str, known: Sequence[str], required: Sequence[str] = ()
    ) -> dict[str, Node] | None:
        """Return the known entries of a mapping; None, reported, where it is none."""
        if not isinstance(node, Table):
            if not isinstance(node, Refused):
                self._report(node.place, where, f"is {_kind(node)}; write a mapping with {', '.join(known)}")
            return None
        for key, (at, _) in node.entries.items():
            if key not in known:
                near = suggest(key, list(known)).strip().replace("Did", "did")
                self._report(at, _joined(where, key), f"unknown key; {near or 'write one of: ' + ', '.join(known)}")
        for key in required:
            if key not in node.entries:
                names = _axis_names(key) if key in REQUIRED_AXES else []
                hint = f", with one or more of: {', '.join(names)}" if names else ""
                self._report(node.place, _joined(where, key), f"required key is missing; add it{hint}")
        return {key: value for key, (_, value) in node.entries.items() if key in known}

    def _list(self, node: Node, where: str, check: Check) -> list[object]:
        """Return the values of a list, or of one bare value, that pass the check and come once."""
        if isinstance(node, Items) and not node.nodes:
            self._report(node.place, where, "empty list; write at least one value, or remove the key")
        seen: dict[object, Place] = {}
        before, nodes = len(self.problems), _nodes(node)
        for number, item in enumerate(nodes):
            if len(self.problems) - before >= MAX_SHOWN:  # each costs a search for the nearest name
                message = f"{MAX_SHOWN} values are wrong; {len(nodes) - number:,} more were not looked at"
                self._report(item.place, where, message)
                break
            if scalar := self._scalar(item, where, check):
                if scalar.value in seen:
                    first = f"first at {seen[scalar.value]}"
                    self._report(item.place, where, f"{shown(scalar.value)} is listed twice, {first}; keep one")
                seen.setdefault(scalar.value, item.place)
        return list(seen)

    def _scalar(self, node: Node, where: str, check: Check) -> Scalar | None:
        """Return a single value that the check accepts; None, reported, for anything else."""
        if isinstance(node, Refused):
            return None
        complaint: str | None
        if not isinstance(node, Scalar):
            complaint = f"is {_kind(node)}; write a single value"
        elif node.blank:
            complaint = "no value; write one, or remove the key"
        elif isinstance(node.value, float) and not math.isfinite(node.value):
            complaint = f"{node.text} is no finite number; write one"
        elif (complaint := check(node.value)) is None:
            return node
        self._report(node.place, where, complaint)
        return None

    def _words(self, node: Node, where: str) -> str:
        """Return a sentence; an empty one where none is written."""

        def check(value: object) -> str | None:
            if not isinstance(value, str):
                return f"{shown(value)} is {_kind(value)}; write a sentence"
            return None if value.strip() else "is blank; write a sentence"

        scalar = self._scalar(node, where, check)
        return scalar.text.strip() if scalar else ""

    def _report(self, place: Place, where: str, message: str) -> None:
        self.problems.append(Problem(place, where, message))


def _own_window(model: str) -> int | None:
    """Return the side in tokens of the window that a model takes where none is named; None where it keeps no k."""
    family, _, configuration = model.partition("/")
    if "top_k" not in MODELS[family].uses:
        return None
    request = Request(configuration=configuration, channels=3, scale=1, height=64, width=64)
    return math.isqrt(max(problem.tokens for problem in MODELS[family].problems(request)))


def _not_a_name(value: object) -> str | None:
    if not isinstance(value, str):
        return f"{shown(value)} is {_kind(value)}; write the name of weights"
    return None if value.strip() else "is blank; write the name of weights"


def _not_a_page(value: object) -> str | None:
    """Only the form: which pages there are is known where reports are made."""
    if not isinstance(value, str):
        return f"{shown(value)} is {_kind(value)}; write the name of a page, as in ablation"
    return None if value.strip() else "is blank; write the name of a page, as in ablation"


def _not_yes_or_no(value: object) -> str | None:
    return None if isinstance(value, bool) else f"{shown(value)} is {_kind(value)}; write true or false"


def _not_a_label(value: object) -> str | None:
    if isinstance(value, str) and _LABEL.fullmatch(value):
        return None
    return f"{shown(value)} is no label; write letters, digits, and : . _ - between them, as in tab:topk"


def _not_printable(value: object) -> str | None:
    if value is None or isinstance(value, bool):
        return f"{shown(value)} is no text; write what is printed, in quotes"
    return None if str(value).strip() else "is blank; write what is printed"


def _value_texts(axis: str, sweeps: Iterable[Sweep]) -> list[str]:
    """Return an axis's values as a spec writes them, and the arms of weights that have seeds."""
    values: list[AxisValue] = []
    for sweep in sweeps:
        values += itertools.chain(*sweep.settings.values()) if axis == "setting" else sweep.values(axis)
    texts = ["null" if value is None else str(value) for value in values]
    arms = [arm_and_seed(text)[0] for text in texts] if axis == "weights" else []
    return list(dict.fromkeys([*texts, *arms]))


def _arms_by_set(sweeps: Iterable[Sweep]) -> list[list[str]]:
    """Return the arms of each task, setting and dataset; a model without weights is an arm of its own."""
    found: dict[tuple[AxisValue, ...], dict[str, None]] = {}
    for sweep in sweeps:
        weights = [str(each) for each in sweep.values("weights")]
        arms = [arm_and_seed(each)[0] for each in weights if each != "none"]
        arms += [str(model) for model in sweep.values("model")] if "none" in weights else []
        for task, settings in sweep.settings.items():
            for judged in itertools.product([task], settings, sweep.values("dataset")):
                found.setdefault(judged, {}).update(dict.fromkeys(arms))
    return [list(arms) for arms in found.values()]


def _not_an_arm(name: object, sets: Sequence[Sequence[str]]) -> str | None:
    if not isinstance(name, str):
        return f"{shown(name)} is {_kind(name)}; write the name of an arm"
    if not (name := name.strip()):
        return "is blank; write the name of an arm"
    meant = [arms_named(name, arms) for arms in sets]
    if several := next((each for each in meant if len(each) > 1), None):
        return f"'{name}' is more than one arm: {', '.join(several)}; write more of the name"
    if any(meant) or not sets:
        return None
    arms = list(dict.fromkeys(itertools.chain(*sets)))
    parts = [arm.split("-") for arm in arms]
    ends = ["-".join(each[start:]) for each in parts for start in range(len(each))]
    return f"no arm named '{name}'.{suggest(name, ends)} It has: {', '.join(arms)}"


def _not_a_pair(reference: str, arm: str, sets: Sequence[Sequence[str]]) -> str | None:
    if reference == arm:
        return f"compares '{arm}' with itself; name two arms"
    meant = [(arms_named(reference, arms), arms_named(arm, arms)) for arms in sets]
    if any(first and second and first != second for first, second in meant) or not sets:
        return None
    if any(first and first == second for first, second in meant):
        return f"'{reference}' and '{arm}' are one arm; name two"
    return f"'{reference}' and '{arm}' share no task, setting and dataset; name arms that are judged on the same images"


def _meaning(reference: str, arm: str, sets: Sequence[Sequence[str]]) -> object:
    """Return what two names compare, in whatever words and order: equal for two pairs that say the same."""
    if not sets:
        return frozenset((reference, arm))
    pairs = ((arms_named(reference, arms), arms_named(arm, arms)) for arms in sets)
    return tuple(frozenset(one + other) if one and other else None for one, other in pairs)


def _not_an_override(value: object) -> str | None:
    if isinstance(value, str) and "=" in value:
        return None
    return f"{shown(value)} is no key=value; write it like axes.image_size=32"


def _lengths(sweep: Table) -> dict[str, int]:
    """Return how many values each axis has; the settings belong to their tasks."""
    table = {axis: node for axis, (_, node) in sweep.entries.items()}
    lengths = {
        axis: len(_nodes(node)) for axis, node in table.items() if axis in AXES and axis not in ("task", "setting")
    }
    tasks, settings = table.get("task"), table.get("setting")
    names = [item.value for item in _nodes(tasks) if isinstance(item, Scalar)] if tasks else [None]
    listed = (
        {key: len(_nodes(node)) for key, (_, node) in settings.entries.items()} if isinstance(settings, Table) else {}
    )
    lengths["task with its settings"] = sum(listed.get(str(name), 1) for name in names)
    return lengths


def _unknown_metric(name: object) -> str | None:
    if not isinstance(name, str):
        return f"{shown(name)} is {_kind(name)}; write one of: {', '.join(METRICS.names())}"
    return None if name in METRICS else METRICS.unknown(name)


def _complaint(detail: ErrorDetails, value: object) -> str:
    """Say in the words of a spec what pydantic found."""
    bounds = detail.get("ctx", {})
    match detail["type"]:
        case "greater_than_equal":
            return f"{shown(value)} is too small; write at least {bounds['ge']}"
        case "greater_than":
            return f"{shown(value)} is too small; write more than {bounds['gt']}"
        case "less_than_equal":
            return f"{shown(value)} is too large; write at most {bounds['le']}"
        case "literal_error":
            near = suggest(str(value), re.findall(r"'(\w+)'", bounds["expected"]))
            return f"{shown(value)} is not known; write {bounds['expected']}.{near}"
        case kind if kind in _WANTED:
            said = "null is no value here" if value is None else f"{shown(value)} is {_kind(value)}"
            return f"{said}; write {_WANTED[kind]}"
    return f"{shown(value)}: {detail['msg']}"


_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9:._-]*[A-Za-z0-9])?")

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a name",
}


def _kind(value: object) -> str:
    """Return what a person calls a node or a value."""
    match value:
        case Items():
            return "a list"
        case Table():
            return "a mapping"
        case Scalar():
            return _kind(value.value)
        case None:
            return "null"
        case bool():
            return "a truth value"
        case int():
            return "a whole number"
        case float():
            return "a fraction"
    return "text"


def _nodes(node: Node) -> tuple[Node, ...]:
    return node.nodes if isinstance(node, Items) else (node,)


def _joined(where: str, key: str) -> str:
    key = key if key.isprintable() and len(key) <= 60 else shown(key)
    return f"{where}.{key}" if where else key
