"""Whole runs of the gate made of simulated samples: what a self-test leaves behind, without measuring anything."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harness.environment import machine
from harness.gate import certificate, document, run, samples
from harness.gate.cells import SENTINEL, GateCell, GateSpec, Sampling
from harness.gate.document import EXIT_CODES, GateDocument, Side
from harness.gate.launch import Block, values
from harness.gate.load import Load
from harness.gate.measure import Timed, joined
from harness.gate.simulation import draw
from harness.gate.statistics import Rule, screened

SHAPE = {"kind": "attention", "windows": 1, "tokens": 16, "heads": 1, "head_dim": 8, "top_k": 4}
SPEC = GateSpec(
    question="is it slower?",
    cells=tuple(
        GateCell.model_validate({"name": f"{backend}-forward", "backend": backend, **SHAPE})
        for backend in ("mask", "gather", "sdpa")
    ),
    sampling=Sampling(blocks=8),
    rule=Rule(),
)
CALL_MS = 20.0


def simulated(
    spec: GateSpec = SPEC,
    *,
    seed: int = 0,
    effects: Mapping[str, float] | None = None,
    disturbance: str = "drift",
) -> tuple[GateDocument, list[Block]]:
    """Return a run of the gate on simulated samples: `effects` by cell, the sentinel's among them, +10 % being 0.1."""
    rule = spec.rule
    names = [*(cell.name for cell in spec.cells), SENTINEL]
    chance, load = random.Random(seed), np.random.default_rng(seed)
    drawn = {
        name: draw(
            disturbance,
            1,
            seed=1000 * seed + place,
            launches=2 * rule.launches,
            blocks=spec.sampling.blocks,
            effect=(effects or {}).get(name, 0.0),
        )
        for place, name in enumerate(names)
    }

    def block(name: str, launch: int, number: int) -> Block:
        ms = CALL_MS * np.exp(drawn[name].times[0, launch, number])
        return Block(
            launch=launch,
            cell=name,
            order="BAAB" if drawn[name].sides[0, launch, number, 0] else "ABBA",
            calls=1,
            ms=tuple(round(float(each), 6) for each in ms),
            cpu_ms=tuple(round(float(each), 6) for each in ms),
            switches=tuple(int(each) for each in load.integers(0, 9, 4)),
            load=tuple(
                Load(pressure=round(float(each), 4), steal=0.0, load_average=round(2 + float(each), 2))
                for each in load.random(4)
            ),
        )

    timed = Timed(duration_s=200.0, versions={"torch": "2.13.0"})
    stages: list[dict[str, list[float]]] = []
    chosen = names
    for first_launch in (0, rule.launches):
        found: dict[str, list[float]] = {}
        for launch in range(first_launch, first_launch + rule.launches):
            order = [(name, number) for number in range(spec.sampling.blocks) for name in chosen]
            chance.shuffle(order)
            blocks = [block(name, launch, number) for name, number in order]
            timed.blocks += blocks
            for name, value in values(blocks).items():
                found.setdefault(name, []).append(value)
        stages.append(found)
        flagged = [name for name, of_cell in found.items() if name != SENTINEL and screened(of_cell, rule)]
        if not flagged:
            break
        chosen = [*flagged, SENTINEL]
    timed.stages = joined(stages[0], stages[1] if len(stages) > 1 else {}, failed=(), launches=rule.launches)
    environment = machine("cpu")
    side = Side(revision="HEAD", commit="f" * 40, dirty=False, digest="0" * 64)
    empty = GateDocument(
        outcome="pass",
        exit_code=EXIT_CODES["pass"],
        started_at=f"2026-11-21T{10 + seed % 10}:30:00+00:00",
        base=side,
        head=side,
        spec=spec.id,
        rule=rule,
        environment=environment,
        gate_class=certificate.gate_class(environment),
        certificate_note="no certificate for this class of machine",
        duration_s=250.0,
        sampled_s=180.0,
        seed=seed,
    )
    return run._concluded(run._with_times(empty, timed, spec), binding=True), timed.blocks


def write(verdict: GateDocument, blocks: list[Block], folder: Path) -> GateDocument:
    """Write a run as a gate would, and return the verdict as it was written."""
    folder.mkdir(parents=True, exist_ok=True)
    sha256 = samples.write(folder / samples.NAME, blocks)
    named = verdict.model_copy(update={"samples": samples.NAME, "samples_sha256": sha256})
    (folder / document.NAME).write_text(document.as_json(named), encoding="utf-8")
    return named
