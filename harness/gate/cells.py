"""The gate's spec: which cells are timed, which figures are compared exactly, and by which rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.catalog import suggest
from harness.catalogs import BACKENDS, MODELS
from harness.gate.refusal import Refusal
from harness.gate.statistics import Rule
from harness.record import Frozen, digest
from harness.spec import SpecError
from harness.training.reading import Document, Keys, plain, tree, validate
from harness.yaml_lines import Problem
from semanir.attention.problem import DeviceKind, DtypeName, Form, Similarity
from semanir.weights import cards

SENTINEL = "sentinel"
"""The cell of every run that is the same code on both sides."""
KINDS = ("attention", "dictionary", "model")
Quantity = Literal["parameters", "flops", "agreement", "memory", "psnr"]

WANTED: dict[str, tuple[str, ...]] = {
    "attention": ("backend", "windows", "tokens", "heads", "head_dim", "top_k"),
    "dictionary": ("windows", "tokens", "top_k", "forms"),
    "model": ("model", "size"),
}
"""Keys without which a cell of a kind means nothing."""


class GateCell(Frozen):
    """One operation: an attention call, the building of a dictionary, or a pass of a network."""

    name: str = Field(pattern=r"^[a-z0-9][A-Za-z0-9.-]*$")
    """What verdicts and waivers call it."""
    kind: str
    """`attention`, `dictionary` or `model`."""
    direction: Literal["forward", "backward"] = "forward"
    """Of an attention call its gradients after an untimed forward; of a model a training step without optimiser."""
    backend: str | None = None
    model: str | None = None
    """`family/configuration`."""
    windows: int | None = Field(default=None, ge=1)
    tokens: int | None = Field(default=None, ge=4)
    """Of a window; a square number."""
    heads: int | None = Field(default=None, ge=1)
    head_dim: int | None = Field(default=None, ge=1)
    top_k: int | None = Field(default=None, ge=1)
    bias: bool = False
    sparse: bool = False
    """AST's weighting."""
    forms: tuple[Form, ...] | None = None
    """Packings that a dictionary is built with."""
    similarity: Similarity | None = None
    channels: int | None = Field(default=None, ge=1)
    """Of a dictionary's features, or of a network's image."""
    size: int | None = Field(default=None, ge=8)
    """Side of a network's input in pixels."""
    window: int | None = Field(default=None, ge=1)
    scale: int | None = Field(default=None, ge=1)
    batch: int | None = Field(default=None, ge=1)
    dtype: DtypeName | None = None
    device: DeviceKind | None = None
    cold: bool = False
    """Time single calls with the caches flushed before each."""
    rounds: int | None = None

    def request(self) -> dict[str, Any]:
        """Return what a worker is told: everything that is not left at its default."""
        return self.model_dump(mode="json", exclude_defaults=True)


class ExactCell(GateCell):
    """One figure that does not depend on time."""

    quantity: Quantity
    weights: str | None = None
    """Of a PSNR: the name of shipped weights."""
    setting: str | None = None
    """Of a PSNR: how the photograph is degraded, where the weights' own setting needs pairs of images."""


class Sampling(Frozen):
    """How much is measured."""

    sample_ms: float = Field(default=15.0, gt=0, le=10_000)
    """A sample repeats the call until it lasts about this long."""
    blocks: int = Field(default=12, ge=4, le=1000)
    """ABBA or BAAB blocks of a cell in a launch."""
    threads: int = Field(default=1, ge=1, le=256)
    """Of torch, on both sides."""


class Shipped(Frozen):
    """How the PSNR of shipped weights is measured that the spec does not name by themselves."""

    backend: str
    window: int = Field(ge=2)
    top_k: int = Field(ge=1)
    size: int = Field(default=64, ge=16)
    """Side of the photograph in pixels."""


class Effect(Frozen):
    """A slow-down that the gate's test of itself puts in."""

    share: float = Field(gt=0, le=10)
    """Extra work as a share of the operation's time: 0.1 is +10 %."""
    runs: int = Field(ge=1)


class SelfTest(Frozen):
    """What the gate's test of itself runs."""

    itself: int = Field(ge=1)
    """Runs of the program against itself."""
    backend: str
    """That gets extra work."""
    effects: tuple[Effect, ...] = ()


class GateSpec(Frozen):
    """Everything that a gate is asked to do."""

    question: str
    cells: tuple[GateCell, ...] = Field(min_length=1)
    exact: tuple[ExactCell, ...] = ()
    static: tuple[str, ...] = ()
    """GPUs that the kernels are compiled for, as in `sm_90`."""
    shipped: Shipped | None = None
    """With it, every set of shipped weights has its PSNR compared: none can be forgotten."""
    self_test: SelfTest | None = None
    sampling: Sampling = Sampling()
    rule: Rule = Rule()

    @property
    def device(self) -> DeviceKind:
        """Of all timed cells."""
        return self.cells[0].device or "cpu"

    @property
    def sentinel(self) -> GateCell:
        """The A/A cell of this spec's device; without torch where no other cell needs it."""
        if not self.with_torch:
            return GateCell(name=SENTINEL, kind="plain_sentinel", rounds=2000)
        rounds = 40 if self.device == "cuda" else 5
        return GateCell(name=SENTINEL, kind=SENTINEL, device=self.device, rounds=rounds)

    @property
    def with_torch(self) -> bool:
        """Whether any cell is of the project's own kinds."""
        return any(cell.kind in KINDS for cell in self.cells)

    @property
    def id(self) -> str:
        """Digest of what is timed and how it is judged."""
        return digest([self.model_dump(mode="json", exclude_defaults=True, include={"cells", "sampling", "rule"})])


def load(path: Path) -> GateSpec:
    """Read a spec. Raises `Refusal` (bad_spec) with every problem and its line."""
    try:
        document = plain(*tree(path))
        spec = validate(GateSpec, document)
        if problems := list(_problems(spec, document)):
            raise SpecError(problems)
    except SpecError as error:
        raise Refusal("bad_spec", str(error)) from None
    return spec.model_copy(update={"exact": (*spec.exact, *shipped(spec))})


def shipped(spec: GateSpec) -> Iterator[ExactCell]:
    """Yield a PSNR for each set of shipped weights that the spec does not name by itself."""
    named = {cell.weights for cell in spec.exact}
    for name, card in cards().items():
        if spec.shipped is None or name in named:
            continue
        cell = ExactCell(
            name=f"psnr-{name}",
            kind="model",
            quantity="psnr",
            weights=name,
            model=card.model,
            size=spec.shipped.size,
        )
        if "backend" in MODELS[card.model.partition("/")[0]].uses:
            found = spec.shipped
            cell = cell.model_copy(update={"backend": found.backend, "window": found.window, "top_k": found.top_k})
        yield cell


def _problems(spec: GateSpec, document: Document) -> Iterator[Problem]:
    groups: list[tuple[str, Sequence[GateCell]]] = [("cells", spec.cells), ("exact", spec.exact)]
    counts = Counter(cell.name for _, cells in groups for cell in cells)
    for group, cells in groups:
        for place, cell in enumerate(cells):
            keys: Keys = (group, place)
            if counts[cell.name] > 1 or cell.name == SENTINEL:
                yield document.problem((*keys, "name"), f"'{cell.name}' is taken; verdicts go by name: write another")
            for key, complaint in _complaints(cell):
                yield document.problem((*keys, key), complaint)
            if (cell.device or "cpu") != spec.device and group == "cells":
                yield document.problem(keys, "is on another device than the first cell; write a spec for each device")
    if not spec.rule.can_alarm(len(spec.cells)):
        yield document.problem(
            ("rule",),
            f"{spec.rule.launches} launches can never call one of {len(spec.cells)} cells slower at a family level of "
            f"{spec.rule.family:g}; write more launches or fewer cells",
        )


def _complaints(cell: GateCell) -> Iterator[tuple[str, str]]:
    if cell.kind not in KINDS:
        yield "kind", f"no kind '{cell.kind}'.{suggest(cell.kind, list(KINDS))} There are: {', '.join(KINDS)}"
        return
    for key in WANTED[cell.kind]:
        if getattr(cell, key) is None and not (isinstance(cell, ExactCell) and cell.quantity == "psnr"):
            yield key, f"required for kind '{cell.kind}'; add it"
    if cell.backend is not None and cell.backend not in BACKENDS:
        yield "backend", f"no backend '{cell.backend}'.{suggest(cell.backend, BACKENDS.names())}"
    family = (cell.model or "").partition("/")[0]
    if cell.model is not None and family not in MODELS.names():
        yield "model", f"no model '{family}'.{suggest(family, MODELS.names())}"
    if cell.tokens is not None and round(cell.tokens**0.5) ** 2 != cell.tokens:
        yield "tokens", f"{cell.tokens} is no square number; windows are square"
    if isinstance(cell, ExactCell) and cell.quantity == "psnr" and cell.weights not in cards():
        known = list(cards())
        yield "weights", f"no shipped weights '{cell.weights}'.{suggest(str(cell.weights), known)}"
