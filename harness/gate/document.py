"""The verdict document: what a gate found, as versioned JSON with a published schema. Other programs read this."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from harness.gate.refusal import Kind, Refusal
from harness.gate.statistics import Rule, Status
from harness.gate.waivers import State
from harness.record import Environment, Frozen

SCHEMA_VERSION = 1
"""Raised by any change that a reader could notice; readers refuse a version that they do not know."""
NAME = "gate.json"
SCHEMA_FILE = Path(__file__).parent / "verdict.schema.json"

ExactStatus = Literal["same", "better", "worse", "not_measured"]
Outcome = Literal["pass", "advisory", "fail", "void", "nothing_to_compare", "refused"]

EXIT_CODES: Mapping[Outcome, int] = {
    "pass": 0,
    "advisory": 0,
    "nothing_to_compare": 0,
    "fail": 1,
    "refused": 2,
    "void": 3,
}
"""`pass`: nothing got worse. `advisory`: something looks slower, but no certificate holds for this machine.
`nothing_to_compare`: equal sources. `fail`: something got worse, or a declared cell was not measured. `refused`: there
is no verdict, and the document says why. `void`: the A/A sentinel raised an alarm, so nothing else is believed."""


class Side(Frozen):
    """One of the two trees."""

    revision: str
    """As it was asked for."""
    commit: str
    dirty: bool
    digest: str
    """Of all files of the package; of a committed baseline, of the file."""


class CellVerdict(Frozen):
    """One timed cell."""

    cell: str
    kind: str
    backend: str | None
    direction: str
    status: Status
    ratio: float | None
    """Head's time over base's."""
    low: float | None
    """Lower end of the interval; None where the launches are too few to bound it."""
    high: float | None
    p: float | None
    """Of both stages together, before the correction for the number of cells."""
    reason: str
    """Why it is inconclusive or not measured."""
    base_ms: float | None
    """Median time of a call; says something on this machine and in this run alone."""
    head_ms: float | None
    first: tuple[float, ...]
    """Launch values ln(head / base) of the first stage."""
    second: tuple[float, ...]
    """Of the second stage, for cells that the first one chose."""
    waived: bool = False
    """True where a waiver covers the loss."""


class ExactVerdict(Frozen):
    """One figure that does not depend on time."""

    cell: str
    quantity: str
    unit: str
    status: ExactStatus
    base: float | None
    head: float | None
    tolerance: str
    """In words, as in `at most 5 % + 1 MiB more`."""
    reason: str
    waived: bool = False


class WaiverShown(Frozen):
    """A committed waiver and what it did in this run."""

    cell: str
    limit: str
    reason: str
    expires: str
    state: State
    used: bool


class Sentinel(Frozen):
    """The cell that is one code on both sides."""

    first: tuple[float, ...]
    second: tuple[float, ...]
    alarm: bool


class Neighbours(Frozen):
    """What else ran on the machine, over all samples."""

    pressure_median: float | None
    """Share of time in which somebody waited for a processor."""
    pressure_p95: float | None
    steal_p95: float | None
    load_average_median: float | None
    switches_per_s: float
    """Involuntary ones of the workers."""
    throttled_blocks: int | None
    """Left out because the clock was held down; None where nobody watched it, as on a CPU or without nvidia-ml-py."""


class CertificateShown(Frozen):
    """The figures of the certificate that holds for this class of machine."""

    date: str
    comparisons: int
    """A/A comparisons behind the false-alarm rate."""
    false_alarms: int
    false_alarm_at_most: float
    """Upper bound at 95 %."""
    power: dict[str, str]
    """By effect, in words, as in `+10 %`: `40 of 40 (at least 92.8 %)`."""
    launch_sd: float


class GateDocument(Frozen):
    """What one gate found."""

    schema_version: Literal[1] = 1
    outcome: Outcome
    exit_code: int
    started_at: str
    """UTC, ISO 8601."""
    base: Side | None
    head: Side | None
    spec: str
    """Digest of what was asked."""
    rule: Rule
    environment: Environment
    gate_class: str
    """Digest of machine, device and versions; a certificate holds for one class."""
    cells: tuple[CellVerdict, ...] = ()
    exact: tuple[ExactVerdict, ...] = ()
    sentinel: Sentinel | None = None
    neighbours: Neighbours | None = None
    certificate: CertificateShown | None = None
    certificate_note: str
    """Why no certificate holds; empty where one does."""
    waivers: tuple[WaiverShown, ...] = ()
    duration_s: float
    timed_s: float = 0.0
    """Time of the timed part: interpreters started, cells brought to life, samples taken."""
    sampled_s: float
    """Time that samples took."""
    seed: int
    samples: str = ""
    """Name of the file with every sample, beside this one."""
    samples_sha256: str = ""
    refusal: Kind | None = None
    message: str = Field(default="")
    """One sentence: what the outcome means here."""


def as_json(document: GateDocument) -> str:
    """Return the document as text; the same text for the same content."""
    return json.dumps(document.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False) + "\n"


def parse(text: str, source: str = "the document") -> GateDocument:
    """Read a document back. Raises `Refusal` (bad_document) for an unknown version and for anything that is none."""
    try:
        content = json.loads(text)
        version = content.get("schema_version") if isinstance(content, dict) else None
        if version != SCHEMA_VERSION:
            raise Refusal(
                "bad_document", f"{source}: schema version {version!r} is unknown; this program reads {SCHEMA_VERSION}"
            )
        return GateDocument.model_validate_json(text)
    except (json.JSONDecodeError, ValidationError) as error:
        first = str(error).partition("\n")[0]
        raise Refusal("bad_document", f"{source}: not a verdict of this gate ({first}); write one anew") from None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a document, which lies beside this module as `verdict.schema.json`."""
    schema = GateDocument.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "GateDocument", **schema}


def bounded(value: float | None) -> float | None:
    """JSON knows no infinity: an end that the launches do not bound is None."""
    return None if value is None or not math.isfinite(value) else value


def percentile(numbers: Sequence[float | None], share: float) -> float | None:
    """Return an order statistic of the numbers that are there; None of none."""
    known = sorted(number for number in numbers if number is not None)
    return known[min(len(known) - 1, math.floor(share * len(known)))] if known else None
