"""The words of the experiment that cross a file or process boundary: cells, measurements, outcomes, records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from semanir.attention.problem import DeviceKind, DtypeName, Similarity
from semanir.model import Score, Shift

Copied = TypeVar("Copied", bound="Frozen")


class Frozen(BaseModel):
    """A value: never changed in place, never carrying a field that it does not declare."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True)

    def model_copy(self: Copied, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Copied:
        """Copy without what was derived from the old content: an id that was read before is not carried over."""
        copy = super().model_copy(update=update, deep=deep)
        for name in copy.__dict__.keys() - type(copy).model_fields.keys():
            del copy.__dict__[name]
        return copy


def digest(content: object) -> str:
    """Return 16 hex digits that depend on the JSON content alone, not on the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Cell(Frozen):
    """One point of the experiment: a value per axis. Defaults never change, so ids stay (a golden test)."""

    model: str
    """`family/configuration`, as in `semanir/small`."""
    task: str
    dataset: str
    setting: str
    """The degradation in its canonical form, as in `sigma=25`; see `harness.task`."""
    backend: str = "none"
    """The attention backend; `none` for a model without attention."""
    weights: str = "none"
    """Name of trained weights; `shipped` takes those of the project that fit model, task and setting."""
    top_k: int | None = Field(default=None, ge=1)
    """Keys kept per query; None keeps every key."""
    window: int | None = Field(default=None, ge=1)
    """Side of the attention window in tokens."""
    sharing: Literal["stage", "layer"] = "stage"
    """One dictionary for all layers of a stage, or a new one for each layer."""
    similarity: Similarity | None = None
    """How the dictionary compares tokens; None takes the model's own rule, as for `shift` and `score`."""
    shift: Shift | None = None
    """Which windows are shifted: every second stage, every second layer, or none."""
    score: Score | None = None
    """How queries and keys are compared: cosine with a continuous bias, dot with a bias table, or dot alone."""
    image_size: int | None = Field(default=None, ge=8)
    """Side in pixels of the centred square cut from each target; None takes the whole image."""
    images: int | None = Field(default=None, ge=1)
    """How many images of the dataset, from its first; None takes all."""
    batch: int = Field(default=1, ge=1)
    """Copies of the first image in a call, for cost metrics."""
    tile: int | None = Field(default=None, ge=32)
    """Side in input pixels of the overlapping tiles that an image is restored in, one at a time; None restores it
    whole. Cost metrics measure one forward pass of the network all the same."""
    ensemble: Literal["none", "x8"] = "none"
    """`x8` restores the mean over the eight flips and rotations of the input; cost metrics measure one of them."""
    dtype: DtypeName = "float32"
    device: DeviceKind = "cpu"
    seed: int = Field(default=0, ge=0)
    benchmark: str | None = Field(default=None, min_length=1)
    """Full name of a benchmark that another program timed; such a cell is imported, no spec asks for it, and what it
    has of model, task, dataset and setting is `none`."""

    @cached_property
    def id(self) -> str:
        """Digest of the content, with defaults left out: a new axis with a default keeps old ids."""
        return digest(self.model_dump(exclude_defaults=True))


class Timing(Frozen):
    """How a latency is sampled. Its digest is part of a latency record's key."""

    warmup_ms: float = Field(default=200.0, ge=0, le=60_000)
    """Load before the first sample, in milliseconds."""
    sample_ms: float = Field(default=30.0, gt=0, le=60_000)
    """A sample repeats the call until it lasts about this long, in milliseconds."""
    samples: int = Field(default=10, ge=2, le=100_000)
    """Samples taken; all are stored."""
    threads: int = Field(default=1, ge=1, le=1024)
    """Threads that torch may use while it is timed."""
    cap_ms: float = Field(default=15_000.0, gt=0, le=3_600_000)
    """Where contenders are sampled side by side until their medians are known to 1 %: when to stop all the same."""

    @cached_property
    def id(self) -> str:
        """Digest of the content, defaults left out."""
        return digest(self.model_dump(exclude_defaults=True))


class Measurement(Frozen):
    """One measured quantity with its raw samples: never only a mean."""

    name: str
    """The quantity, as in `psnr` or `flops.spent`."""
    unit: str
    samples: tuple[float, ...] = Field(min_length=1)
    labels: tuple[str, ...] = ()
    """What each sample belongs to (an image's name); empty for repetitions of one thing."""

    @model_validator(mode="after")
    def _one_label_a_sample(self) -> Measurement:
        if self.labels and len(self.labels) != len(self.samples):
            raise ValueError(f"{self.name}: {len(self.labels)} labels for {len(self.samples)} samples")
        return self


class Measured(Frozen):
    """The cell ran and gave numbers."""

    kind: Literal["measured"] = "measured"
    measurements: tuple[Measurement, ...] = Field(min_length=1)
    notes: tuple[str, ...] = ()
    """What a reader of these numbers has to know, as in `the dispatcher counts 0 for this backend`."""


class Skipped(Frozen):
    """The cell was not run, and why."""

    kind: Literal["skipped"] = "skipped"
    reason: str


FailureKind = Literal["out_of_memory", "timeout", "crashed", "error"]


class Failed(Frozen):
    """The cell was run and did not end well. It is tried again on resume."""

    kind: Literal["failed"] = "failed"
    failure: FailureKind
    error: str


Outcome = Annotated[Measured | Skipped | Failed, Field(discriminator="kind")]


class Environment(Frozen):
    """Which machine, software and flags a record comes from. Holds nothing that names a person or a host."""

    machine_class: str
    """Digest of what makes two machines comparable: processor, cores, device, driver."""
    cpu: str
    cores: int | None
    """None where an imported file does not say, as of the memory."""
    memory_gib: float | None
    system: str
    """Kernel and C library, as in `Linux 6.1 glibc 2.36`."""
    device: str
    """Name of the accelerator, or `cpu`; `unknown` of what was imported."""
    driver: str = ""
    python: str
    versions: dict[str, str]
    """Distribution name to version, for everything that computes."""
    threads: int | None = None
    """torch's threads in the worker; None where no worker ran."""
    tf32: bool | None = None
    deterministic: bool | None = None
    load_average: float | None = None
    """One-minute load when the cell started."""


class Imported(Frozen):
    """What another program wrote of a benchmark beside its times; commit and machine of the record are its own, too."""

    program: str
    """With its version, as in `pytest-benchmark 5.3.1`."""
    project: str
    """Whose commit it is."""
    branch: str
    group: str
    params: dict[str, JsonValue]
    extra_info: dict[str, JsonValue]
    """What the benchmark left of its own accord."""
    clock: str
    """The function that times were read from."""


class Record(Frozen):
    """One metric of one cell, with everything that is needed to judge or repeat it."""

    cell: Cell
    metric: str
    protocol: str = ""
    """Id of the protocol that judged the images; empty for metrics that judge none."""
    timing: str = ""
    """Id of the timing rule; empty for metrics that time nothing."""
    source: str
    """Digest of the code and weights behind the numbers, see `harness.sources`; of what was imported, of its file."""
    outcome: Outcome
    artifacts: dict[str, str] = {}
    """Role to file name in the store's `artifacts` folder, as in `restored:astronaut`."""
    environment: Environment
    degraded: dict[str, str] = {}
    """Image name to sha256 of its degraded pixels: equal inputs in every process, or a named mismatch."""
    spec: str
    """Digest of the spec that asked for it first."""
    commit: str
    dirty: bool
    started_at: str
    """UTC, ISO 8601."""
    duration_s: float = Field(ge=0)
    imported: Imported | None = None
    """None for what this program measured."""

    @cached_property
    def key(self) -> str:
        """Two records with one key measure the same thing; reports show the latest."""
        return record_key(
            self.cell.id, self.metric, self.protocol, self.timing, self.source, self.environment.machine_class
        )

    @property
    def finished(self) -> bool:
        """False where a resumed run tries again: whatever made it fail may have been mended."""
        return not isinstance(self.outcome, Failed)


def record_key(cell_id: str, metric: str, protocol: str, timing: str, source: str, machine_class: str) -> str:
    """Return the key under which a record is found again, known before anything runs."""
    return digest([cell_id, metric, protocol, timing, source, machine_class])


def to_json(value: Frozen) -> dict[str, Any]:
    """Return plain data for JSON, defaults included."""
    return value.model_dump(mode="json")
