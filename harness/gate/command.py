"""What `semanir-bench gate` does with its options; `harness.cli` reads them, prints and exits."""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.gate import cells, document, exact, recount, run, samples, selftest, simulation, trees
from harness.gate.certificate import Certificate
from harness.gate.document import GateDocument
from harness.gate.measure import device_lock, fitted
from harness.gate.refusal import Refusal
from harness.gate.render import as_text, certificate_as_text, workflow_commands

FOLDER = Path("experiments") / "gate"
SPEC = FOLDER / "cells.yaml"
"""Not spec.yaml: every file of that name is a sweep, which `plan`, `list` and `doctor` read."""
BASELINE, WAIVERS = ".baseline.json", ".waivers.yaml"
"""Of each spec its own: specs may name cells alike, and a loss accepted on one device is not one on another."""
CERTIFICATES = "certificates"
VERDICT = document.NAME
DRAWS = 10_000

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options as they were written."""

    repository: Path
    base: str | None
    head: str
    spec: Path | None
    margin: str
    budget: str
    exact: bool
    enforce: bool
    out: Path | None
    seed: int | None


def gate(options: Options, *, say: Say, note: Say) -> GateDocument:
    """Run a gate, write what was asked for, say the report, and return it. `note` hears of progress."""
    found = _document(options, note)
    say(as_text(found))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in workflow_commands(found):
            say(line)
    return found


def write_baseline(options: Options, *, say: Say, note: Say) -> None:
    """Make the exact figures of the checkout the baseline, and say them. Raises `Refusal` where one has no value."""
    path = options.spec or options.repository / SPEC
    spec = cells.load(path)
    with trees.held_folder() as folder, device_lock(spec.device, note):
        tree = trees.in_place(options.repository)
        found = exact.figures(tree, spec.exact, worker=run.WORKER, folder=folder, say=note)
    exact.write_baseline(path.with_suffix(BASELINE), found)
    for cell in spec.exact:
        say(f"{cell.name:<32}{found[cell.name].value:>20,.6g} {exact.UNITS[cell.quantity]}")
    note(f"written: {path.with_suffix(BASELINE)}; kernels have their own: semanir-bench static --write")


def self_test(options: Options, folder: Path, *, say: Say, note: Say) -> None:
    """Perform the runs of a self-test that a folder does not hold yet, and write this machine's certificate."""
    path = options.spec or options.repository / SPEC
    request = replace(_request(options, cells.load(path), path), exactly=False)
    if (plan := request.spec.self_test) is None:
        raise Refusal("bad_spec", f"{path}: has no self_test; write how many runs of which backend and effect")
    if fitted(request.spec, request.budget_s).id != request.spec.id:
        raise Refusal("small_budget", "the spec's blocks do not fit this --budget: such runs certify another gate")
    selftest.perform(request, plan, folder, note)
    today = datetime.datetime.now(datetime.UTC).date()
    found = recount.certify(folder, spec=request.spec.id, today=today)
    written = recount.keep(found, folder, request.certificates)
    say(certificate_as_text(found))
    note(f"written: {written}, and beside it the runs; commit both, then: nox -s certificate")


def recounted(options: Options) -> list[Certificate]:
    """Return the committed certificates as their raw runs give them now. Raises `Refusal`."""
    return recount.recount((options.spec or options.repository / SPEC).parent / CERTIFICATES)


def simulate(path: Path, *, say: Say, draws: int = DRAWS) -> None:
    """Write the false-alarm rates of all rules on simulated null data into a file, as a table with its command."""
    from harness.gate.statistics import Rule

    found = list(simulation.rates(draws, Rule()))
    text = (
        "# False alarms on simulated data\n\n"
        f"Written by `semanir-bench gate --simulate`: {draws:,} draws of the program against itself for each column.\n"
        "`harness/gate/simulation.py` says what disturbs them. The exact test counts 256 patterns of signs, so the "
        "levels that it can\nreach next below 5 % and 1 % are 4.69 % and 0.78 %.\n\n"
        f"{simulation.as_markdown(found)}\n"
    )
    path.write_text(text, encoding="utf-8")
    say(text)


def schema() -> str:
    """Return the JSON Schema of a verdict document."""
    return json.dumps(document.json_schema(), indent=1, sort_keys=True) + "\n"


def _document(options: Options, note: Say) -> GateDocument:
    path = options.spec or options.repository / SPEC
    request = _request(options, cells.load(path), path)
    if (out := options.out) is None:
        return run.gate(request, note)
    out.mkdir(parents=True, exist_ok=True)
    found = run.gate(request, note, samples=out / samples.NAME)
    (out / VERDICT).write_text(document.as_json(found), encoding="utf-8")
    note(f"written: {out / VERDICT}" + (f" and {found.samples}" if found.samples else ""))
    return found


def _request(options: Options, spec: cells.GateSpec, path: Path) -> run.Request:
    if options.margin:
        rule = spec.rule.model_copy(update={"margin": margin_of(options.margin)})
        spec = spec.model_copy(update={"rule": rule})
    return run.Request(
        repository=options.repository,
        spec=spec,
        base=options.base,
        head=options.head,
        timed=not options.exact,
        exactly=True,
        baseline=path.with_suffix(BASELINE) if options.exact and options.base is None else None,
        waivers=path.with_suffix(WAIVERS),
        certificates=path.parent / CERTIFICATES,
        budget_s=seconds_of(options.budget),
        seed=run.default_seed() if options.seed is None else options.seed,
        enforce=options.enforce,
    )


def margin_of(text: str) -> float:
    """Read `3%` or `0.03`. Raises `Refusal`."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*", text)
    value = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < value < 1:
        raise Refusal("bad_spec", f"--margin {text}: write a share between 0 and 1, as in 3% or 0.03")
    return value


def seconds_of(text: str) -> float:
    """Read `6m`, `90s` or a number of seconds. Raises `Refusal`."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(s|m|h|)\s*", text)
    if not match or float(match[1]) <= 0:
        raise Refusal("small_budget", f"--budget {text}: write a time, as in 6m or 90s")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
