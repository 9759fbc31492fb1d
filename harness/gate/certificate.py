"""What this gate is known to do on a class of machine: its false-alarm rate and its power, measured, with intervals.

A certificate is made of whole runs of the gate: the program against itself, and against a copy with extra work in one
backend. It holds for one class of machine, one version of the measuring code and one spec, and not for ever.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from harness.environment import version_of
from harness.gate.cells import GateSpec
from harness.gate.document import CertificateShown
from harness.gate.refusal import Refusal
from harness.gate.statistics import at_least, at_most, clopper_pearson, cluster_bootstrap
from harness.record import Environment, Frozen, digest

LIFETIME = datetime.timedelta(days=180)
MEASURING = (
    "child.py",
    *(f"gate/{name}.py" for name in ("cells", "interpreter", "launch", "load", "measure", "statistics", "trees")),
    "gate/worker.py",
)
"""Files of `harness` that decide a timing verdict: another version of them has other error rates."""


class Share(Frozen):
    """A rate that was counted."""

    hits: int
    trials: int

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %, exact (Clopper and Pearson)."""
        return clopper_pearson(self.hits, self.trials)

    @property
    def words(self) -> str:
        """As in `0 of 100 (0.0 to 3.6 %)`."""
        low, high = self.interval
        return f"{self.hits} of {self.trials} ({low * 100:.1f} to {high * 100:.1f} %)"


class Power(Frozen):
    """How often a slow-down of one backend was found."""

    backend: str
    effect: float
    """Extra work that was put in, as a share of the operation's time: 0.1 is +10 %."""
    seen: float
    """Median ratio over all comparisons, less one: what the extra work cost in truth."""
    found: Share
    """Comparisons of that backend's cells."""
    blamed: Share
    """Comparisons of all other cells that were called slower."""
    exchanged: Share
    """Comparisons of that backend's cells with base for head and head for base, a speed-up, that were called slower."""


class Certificate(Frozen):
    """One file, beside the raw samples that it was made from."""

    schema_version: Literal[1] = 1
    date: datetime.date
    gate_class: str
    environment: Environment
    procedure: str
    """Digest of the measuring code."""
    spec: str
    source: str
    """Digest of the package that was measured."""
    gates: int
    """Runs of the program against itself."""
    hours: tuple[str, ...]
    """UTC hours in which they began."""
    false_alarms: Share
    """Cells called slower or faster that are neither; all runs of the program against itself."""
    clusters: tuple[tuple[int, int], ...]
    """False alarms and comparisons of each run: cells of one run share its hour."""
    voided: Share
    """Runs whose sentinel raised an alarm."""
    power: tuple[Power, ...]
    launch_sd: float
    """Standard deviation of a launch value, the median over cells of the runs of the program against itself."""
    timed_s: float
    """How long a run of the program against itself timed its cells, the median; exact figures come on top."""
    overhead: float
    """Share of that in which no sample was taken: imports, compilation, warming up; the median."""
    rivals: dict[str, Share]
    """False alarms of the usual rules on the same samples."""
    pressure_median: float | None
    """Share of time in which somebody waited for a processor while the samples were taken."""
    load_average_median: float | None
    runs: dict[str, str]
    """Name of each file of samples to its sha256."""

    @property
    def bootstrap(self) -> tuple[float, float]:
        """Interval of the false-alarm rate with whole runs drawn anew."""
        return cluster_bootstrap(self.clusters, seed=0)

    def shown(self) -> CertificateShown:
        """Return the figures that every report of this class prints."""
        false = self.false_alarms
        return CertificateShown(
            date=self.date.isoformat(),
            comparisons=false.trials,
            false_alarms=false.hits,
            false_alarm_at_most=at_most(false.hits, false.trials),
            power={
                f"{power.effect:+.0%} in {power.backend}": f"{power.found.hits} of {power.found.trials} "
                f"(at least {at_least(power.found.hits, power.found.trials):.1%})"
                for power in self.power
            },
            launch_sd=self.launch_sd,
        )


def gate_class(environment: Environment) -> str:
    """Return the digest of what one certificate holds for: machine, device, kernel, and the versions that compute."""
    versions = {name: version_of(name) for name in ("torch", "triton", "numpy")}
    python = ".".join(environment.python.split(".")[:2])
    return digest([environment.machine_class, environment.system, python, versions])


def procedure() -> str:
    """Return the digest of the code that measures and judges."""
    found = hashlib.sha256()
    for name in MEASURING:
        found.update((Path(__file__).parents[1] / name).read_bytes())
    return found.hexdigest()[:16]


def read(path: Path) -> Certificate:
    """Read a certificate. Raises `Refusal` (bad_certificate) for a file that is none."""
    try:
        return Certificate.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise Refusal("bad_certificate", f"{path.name} is no certificate ({what})") from None


def write(found: Certificate, folder: Path) -> Path:
    """Write a certificate into a folder, under the name of its class of machine, and return its path."""
    path = folder / f"{found.gate_class}.json"
    content = json.dumps(found.model_dump(mode="json"), indent=1, sort_keys=True)
    path.write_text(f"{content}\n", encoding="utf-8")
    return path


def holding(
    folder: Path, environment: Environment, spec: GateSpec, *, today: datetime.date
) -> tuple[Certificate | None, str]:
    """Return the certificate that holds here and now, or None and why none does."""
    own = gate_class(environment)
    path = folder / f"{own}.json"
    if not path.is_file():
        others = len(list(folder.glob("*.json"))) if folder.is_dir() else 0
        foreign = f"; {others} of other machines are foreign here" if others else ""
        return None, f"no certificate for this class of machine ({own}){foreign}: timing verdicts are advisory"
    try:
        found = read(path)
    except Refusal as refusal:
        return None, f"{refusal}: timing verdicts are advisory"
    if reason := objection(found, own, spec, today):
        return None, f"{reason}: timing verdicts are advisory"
    return found, ""


def objection(found: Certificate, own_class: str, spec: GateSpec, today: datetime.date) -> str:
    """Return why a certificate is refused, or an empty text."""
    if found.gate_class != own_class:
        return f"the certificate is foreign: it was made on {found.gate_class}, this is {own_class}"
    if is_outdated(found):
        return f"the certificate of {found.date} is stale: the measuring code has changed since"
    if found.spec != spec.id:
        return f"the certificate of {found.date} is stale: it holds for other cells or another rule"
    if today - found.date > LIFETIME:
        return f"the certificate of {found.date} is stale: it is older than {LIFETIME.days} days"
    return ""


def is_outdated(found: Certificate) -> bool:
    """Return whether it was made with another version of the code that measures and judges."""
    return found.procedure != procedure()


def launch_sd(values: Sequence[Sequence[float]]) -> float:
    """Return the median over cells of the standard deviation between launches."""
    found = np.median([np.std(of_cell, ddof=1) for of_cell in values if len(of_cell) > 1])
    return round(float(found), 6)  # so that another machine counts the same
