"""What a training spec may say: everything that decides the weights, beside the pixels and the order of sums."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field

from harness import datasets
from harness.catalog import suggest
from harness.catalogs import BACKENDS, MODELS, TASKS
from harness.record import Frozen
from harness.spec import SpecError
from harness.task import InvalidSetting, Setting, Task
from harness.training import study as studies
from harness.training.reading import Document, Keys, validate
from harness.training.study import Study
from harness.weights import NAME, SWITCHES, named
from harness.yaml_lines import Place, Problem, shown
from semanir.attention.problem import Similarity
from semanir.model import Request, Score, Shift

Item = TypeVar("Item")


def _listed(value: object) -> object:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


OneOrMore = Annotated[tuple[Item, ...], BeforeValidator(_listed), Field(min_length=1)]
"""A list, or a bare value that stands for a list of one."""
Low = Annotated[float, Field(gt=0, le=10)]


class Source(Frozen):
    """Images to train on: a dataset by its name, or a folder."""

    dataset: str | None = None
    """As on the axis `dataset` of an experiment."""
    folder: Path | None = None
    """A folder of clean images; cards keep its last name alone."""
    exclude: tuple[str, ...] = ()
    """Files or names of images that are not trained on, as those that a test set holds too."""
    setting: OneOrMore[str] | None = None
    """Its own degradations in place of the spec's: `kind=pairs` takes the dataset's degraded images."""
    odds: float = Field(default=1.0, gt=0)
    """Chance of a patch to come from here, in relation to the other sources."""
    scales: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(default=(1.0,), min_length=1)
    """Sizes of the images, one drawn for each patch; under 1 they are reduced by MATLAB's bicubic."""

    @property
    def name(self) -> str:
        """What messages and cards call it."""
        return self.dataset or (self.folder.name if self.folder else "")


class Colour(Frozen):
    """How the colours of a clean patch are varied before it is degraded; each bound pair is drawn from uniformly."""

    saturation: tuple[Low, Low] = (1.0, 1.0)
    """Distance of the channels from their mean."""
    gain: tuple[Low, Low] = (1.0, 1.0)
    """Factor of each channel by itself."""


class Window(Frozen):
    """A window that some steps run with, and the k of those steps."""

    window: int = Field(ge=2, le=128)
    """Side in tokens."""
    top_k: OneOrMore[Annotated[int, Field(ge=1)]]
    """A fixed k, or a list of which each step draws one, the same in every process (the paper's random k)."""
    odds: float = Field(default=1.0, gt=0)
    """Chance of a step to use it, in relation to the other windows."""


class Optimiser(Frozen):
    """AdamW, linear warm-up and a cosine, all counted in steps."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """At the peak."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.99)
    weight_decay: float = Field(default=1e-2, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps."""
    floor: float = Field(default=1e-3, ge=0, le=1)
    """Share of the peak at the end."""


class Clip(Frozen):
    """The largest norm of all gradients together. Early spikes of a hundred times the median occur."""

    norm: float = Field(default=0.5, gt=0)
    first_norm: float = Field(default=1.0, gt=0)
    first_steps: int = Field(default=200, ge=0)
    """Steps with `first_norm`."""


class Loss(Frozen):
    """Charbonnier: the mean of `sqrt(difference^2 + epsilon^2)`."""

    kind: Literal["charbonnier"] = "charbonnier"
    epsilon: float = Field(default=1e-3, gt=0)


class Validation(Frozen):
    """How the averaged network is judged on the way and at the end, in float32, by the task's protocol."""

    dataset: str
    every: int = Field(ge=1)
    """Steps."""
    images: OneOrMore[str] | None = None
    """Names; all by default."""
    on_the_way: int | None = Field(default=None, ge=1)
    """How many of them, from the first, are judged before the end; all by default."""
    exclude: tuple[str, ...] = ()
    image_size: int | None = Field(default=None, ge=8)
    """Side of the centred square cut from each target."""
    setting: str | None = None
    """The degradation; by default the one that the weights ship for."""
    window: int | None = Field(default=None, ge=2)
    """By default the first window of the spec; for k its middle one."""
    top_k: int | None = Field(default=None, ge=1)


class TrainingSpec(Frozen):
    """One training, from images to weights with a card."""

    name: str = Field(pattern=rf"^{NAME}$")
    """Of the weights: `<name>.safetensors` and `<name>.json`."""
    model: str
    """`family/configuration`."""
    sharing: Literal["stage", "layer"] = "stage"
    """As on the axis of an experiment, like the three below: one dictionary a stage, or one a layer."""
    similarity: Similarity | None = None
    """How the dictionary compares tokens; the model's own rule by default."""
    shift: Shift | None = None
    """Which windows are shifted; the model's own rule by default."""
    score: Score | None = None
    """How queries and keys are compared, and which position bias is added; the model's own rule by default."""
    backend: str = "none"
    """The attention that trains; weights do not depend on it but for rounding."""
    task: str
    setting: OneOrMore[str]
    """The degradation. Of several, and within ranges as in `sigma=5..50`, each patch draws its own (blind training)."""
    ships_as: str | None = None
    """The setting that the card names; needed where training saw several."""
    data: tuple[Source, ...] = Field(min_length=1)
    tests: tuple[str, ...] = ()
    """Test sets, beside the validation set, that must share no image with the training data."""
    windows: tuple[Window, ...] = ()
    """For networks with a key-semantic dictionary. Several need parameters that do not depend on the window."""
    patch: int = Field(ge=8, le=2**14)
    """Side of a degraded patch in pixels."""
    margin: int = Field(default=0, ge=0, le=256)
    """Target pixels around a patch that are degraded with it and cut away: its border then looks like any place of
    an image. Settings with a grid (JPEG, a mosaic) need a multiple of it."""
    colour: Colour = Colour()
    batch: int = Field(ge=1, le=2**16)
    """Patches of a step, over all processes."""
    steps: int = Field(ge=1, le=10**8)
    optimiser: Optimiser = Optimiser()
    clip: Clip = Clip()
    loss: Loss = Loss()
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Share of its own past in the averaged weights, which are validated and shipped; smaller in the first steps."""
    precision: Literal["auto", "bf16-mixed", "32-true"] = "auto"
    """`auto`: bf16 autocast where the processor is made for it, else float32. The card tells which it was."""
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """Decides the first weights and, with step and place in the batch, every draw."""
    validation: Validation
    checkpoint_every: int = Field(default=250, ge=1)
    """Steps between two checkpoints; one more is written at the end."""
    workers: int = Field(default=0, ge=0, le=64)
    """Threads that make batches ahead; pays where an accelerator computes."""
    tensorboard: bool = False
    """Write scalars and pictures for TensorBoard too, where it is installed."""

    @cached_property
    def task_itself(self) -> Task:
        """The task of this name."""
        return TASKS[self.task]

    @cached_property
    def shipped_setting(self) -> Setting:
        """The setting that the card names."""
        return self.task_itself.parse(self.setting[0] if self.ships_as is None else self.ships_as)

    @cached_property
    def validation_setting(self) -> Setting:
        """The setting that the network is judged on."""
        text = self.validation.setting
        return self.shipped_setting if text is None else self.task_itself.parse(text)

    @cached_property
    def validation_window(self) -> tuple[int | None, int | None]:
        """Window and k that the network is judged with."""
        if not self.windows:
            return None, None
        window = self.validation.window or self.windows[0].window
        own = next((found for found in self.windows if found.window == window), self.windows[0])
        return window, self.validation.top_k or own.top_k[len(own.top_k) // 2]

    @property
    def target_side(self) -> int:
        """Side of a target patch in pixels."""
        return self.patch * self.task_itself.scale(self.shipped_setting)

    def settings(self, source: Source) -> tuple[Setting, ...]:
        """Return what patches of a source are degraded by, one drawn for each; a setting may hold ranges."""
        return tuple(self.task_itself.parse(text) for text in source.setting or self.setting)

    def request(self, window: int | None = None, top_k: int | None = None) -> Request:
        """Return the network as its model is asked for it, for patches of one process."""
        side = self.patch
        return Request(
            configuration=self.model.partition("/")[2],
            channels=self.task_itself.channels(self.shipped_setting),
            scale=self.task_itself.scale(self.shipped_setting),
            holds=self.task_itself.holds(self.shipped_setting),
            height=side,
            width=side,
            batch=self.batch,
            window=window,
            top_k=top_k,
            sharing=self.sharing,
            similarity=self.similarity,
            shift=self.shift,
            score=self.score,
            needs_grad=True,
        )

    def differences(self, earlier: TrainingSpec) -> list[str]:
        """Say which keys of an earlier spec decide other weights, or another history, than this one."""
        then, now = (_flat(spec.model_dump(mode="json", exclude=set(UNDECIDING))) for spec in (earlier, self))
        return [
            f"{key}: {then.get(key)} then, {now.get(key)} now"
            for key in dict.fromkeys([*then, *now])
            if then.get(key) != now.get(key)
        ]


UNDECIDING = ("checkpoint_every", "workers", "tensorboard")
"""Keys that may change when a training goes on: they decide no number."""


def _flat(content: object, key: str = "") -> dict[str, object]:
    """Return every single value by its dotted key, list items counted from 1."""
    if isinstance(content, dict):
        below = list(content.items())
    elif isinstance(content, list):
        below = list(enumerate(content, start=1))
    else:
        return {key: content}
    return {name: value for part, inner in below for name, value in _flat(inner, f"{key}.{part}".strip(".")).items()}


def load(path: Path, overrides: Sequence[str] = ()) -> TrainingSpec:
    """Read a file that declares one training. Raises `SpecError` with every problem of it and of the overrides."""
    found = load_all(path, overrides)
    if len(found) > 1:
        names = ", ".join(spec.name for spec in found)
        raise SpecError([Problem(Place(str(path)), "", f"declares {len(found)} trainings; choose one of: {names}")])
    return found[0]


def load_all(path: Path, overrides: Sequence[str] = ()) -> tuple[TrainingSpec, ...]:
    """Read every training that a file declares: its arms in their order, the seeds of each in theirs.

    Overrides come after those of the arms. Raises `SpecError` with every problem of the file, its arms and of them.
    """
    study = studies.read(path, overrides)
    bases: dict[str, TrainingSpec] = {}
    found: dict[str, Sequence[Problem]] = {}
    for arm in study.arms:
        found[arm.name] = arm.problems
        if arm.document is not None:
            try:
                bases[arm.name] = _checked(arm.document)
                found[arm.name] = list(_names_of(bases[arm.name], arm.name, study, arm.document))
            except SpecError as error:
                found[arm.name] = error.problems
    if problems := study.joined(found):
        raise SpecError(problems)
    return tuple(
        base.model_copy(update={"name": named(base.name, arm, seed), "seed": base.seed if seed is None else seed})
        for arm, base in bases.items()
        for seed in study.seeds or (None,)
    )


def _checked(document: Document) -> TrainingSpec:
    """Return the training that a document describes. Raises `SpecError` with every problem."""
    spec = validate(TrainingSpec, document, beside=studies.KEYS)
    problems = list(_names(spec)) or list(_settings(spec)) or [*_network(spec), *_patches(spec)]
    if problems:
        raise SpecError(document.problem(keys, message) for keys, message in problems)
    return spec


def _names_of(spec: TrainingSpec, arm: str, study: Study, document: Document) -> Iterator[Problem]:
    """Find names of trainings that arm and seed make too long."""
    longest = max((named(spec.name, arm, seed) for seed in study.seeds or (None,)), key=len)
    if not re.fullmatch(NAME, longest):
        message = f"{shown(longest)} has {len(longest)} letters and may have 64; shorten the name, or the arm's"
        yield document.problem(("name",), message)


Found = Iterator[tuple[Keys, str]]


def _names(spec: TrainingSpec) -> Found:
    """Find names that mean nothing."""
    family, _, configuration = spec.model.partition("/")
    if family not in MODELS:
        yield ("model",), MODELS.unknown(family)
    elif configuration not in MODELS[family].configurations:
        known = [f"{family}/{name}" if name else family for name in MODELS[family].configurations]
        yield ("model",), f"no '{spec.model}'.{suggest(spec.model, known)} It has: {', '.join(known)}"
    elif "weights" not in MODELS[family].uses:
        yield ("model",), f"{family} has nothing to train; choose a network"
    if spec.backend != "none" and spec.backend not in BACKENDS:
        yield ("backend",), BACKENDS.unknown(spec.backend)
    if spec.task not in TASKS:
        yield ("task",), TASKS.unknown(spec.task)
    for number, source in enumerate(spec.data):
        if (source.dataset is None) == (source.folder is None):
            yield ("data", number), "write either `dataset`, a name, or `folder`, a path"
        elif source.dataset is not None:
            yield from _dataset(("data", number, "dataset"), source.dataset)
    yield from _dataset(("validation", "dataset"), spec.validation.dataset)
    for number, name in enumerate(spec.tests):
        yield from _dataset(("tests", number), name)


def _dataset(keys: Keys, name: str) -> Found:
    try:
        datasets.resolve(name)
    except datasets.DatasetError as error:
        yield keys, str(error)


def _settings(spec: TrainingSpec) -> Found:
    """Find settings that the task does not know, that one network cannot serve, or that the card could not name."""
    task = spec.task_itself
    texts: list[tuple[Keys, str]] = [(("setting", number), text) for number, text in enumerate(spec.setting)]
    for number, source in enumerate(spec.data):
        texts += ((("data", number, "setting", place), text) for place, text in enumerate(source.setting or ()))
    texts += [(("validation", "setting"), spec.validation.setting)] if spec.validation.setting is not None else []
    texts += [(("ships_as",), spec.ships_as)] if spec.ships_as is not None else []
    kinds: dict[tuple[object, ...], str] = {}
    for keys, text in texts:
        try:
            setting = task.parse(text)
        except InvalidSetting as error:
            yield keys, str(error)
            continue
        kinds.setdefault((task.channels(setting), task.scale(setting), task.holds(setting)), text)
    if len(kinds) > 1:
        both = " and ".join(list(kinds.values())[:2])
        yield ("setting",), f"one network cannot serve both of {both}; train one for each"
    if spec.ships_as is None and len(spec.setting) > 1:
        example = task.canonical(task.defaults)
        yield (), f"the training sees several settings; say which one the card names, as in ships_as: {example}"


def _network(spec: TrainingSpec) -> Found:
    """Find what the model or its attention refuses."""
    model = MODELS[spec.model.partition("/")[0]]
    if "backend" in model.uses and spec.backend == "none":
        yield ("backend",), f"{spec.model} needs an attention backend; write one of: {', '.join(BACKENDS)}"
    if "backend" not in model.uses and spec.backend != "none":
        yield ("backend",), f"{spec.model} has no attention; remove the key"
    for key in SWITCHES:
        if key not in model.uses and getattr(spec, key) != TrainingSpec.model_fields[key].default:
            yield (key,), f"{spec.model} has no choice of it; remove the key"
    if "top_k" not in model.uses and spec.windows:
        yield ("windows",), f"{spec.model} has no dictionary and takes no window and k; remove the key"
        return
    if "top_k" in model.uses and not spec.windows:
        yield (), f"{spec.model} needs windows, as in windows: [{{window: 8, top_k: 16}}]"
        return
    choices: list[tuple[Keys, int | None, int | None]] = [
        (("windows", number, "top_k"), found.window, top_k)
        for number, found in enumerate(spec.windows)
        for top_k in found.top_k
    ]
    if spec.windows:
        choices.append((("validation",), *spec.validation_window))
    for keys, window, top_k in choices or [((), None, None)]:
        request = spec.request(window, top_k)
        reason = model.unsupported(request)
        if reason is None and spec.backend != "none":
            judged = (BACKENDS[spec.backend].unsupported(problem) for problem in model.problems(request))
            reason = next((f"{spec.backend} cannot train: {found}" for found in judged if found), None)
        if reason is not None:
            yield keys, reason
    sides: set[int | None] = {found.window for found in spec.windows}
    if sides:
        sides.add(spec.validation_window[0])
    if len({model.parameters(spec.request(side)) for side in sides}) > 1:
        yield ("windows",), f"the parameters of {spec.model} depend on the window; write one window"


def _patches(spec: TrainingSpec) -> Found:
    """Find what does not go together in making patches."""
    scale = spec.task_itself.scale(spec.shipped_setting)
    if spec.margin % scale:
        yield ("margin",), f"{spec.margin} is no multiple of the scale, {scale}; write {spec.margin // scale * scale}"
    for number, source in enumerate(spec.data):
        pairs = [datasets.wants_pairs(found) for found in spec.settings(source)]
        if any(pairs) and (len(pairs) > 1 or source.folder is not None):
            yield ("data", number), "pairs come from a dataset and are its only setting; list synthetic ones elsewhere"
        if any(pairs) and source.scales != (1.0,):
            yield ("data", number, "scales"), "pairs are not resized; remove the key"
    for keys, (low, high) in ((("saturation",), spec.colour.saturation), (("gain",), spec.colour.gain)):
        if low > high:
            yield ("colour", *keys), f"{low}..{high} is empty; write the smaller number first"
