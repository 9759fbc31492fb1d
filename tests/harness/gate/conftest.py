from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.gate.cells import GateCell, GateSpec, Sampling
from harness.gate.document import GateDocument
from harness.gate.run import Request, gate
from harness.gate.statistics import Rule

CELLS = '''\
"""Kinds of cells that only this tree has: loops of plain Python, long enough to be told apart by their counts."""

import os


def _loop(count):
    def call():
        total = 0
        for number in range(count):
            total += number
        return total

    return call


def quick(cell, photo):
    return _loop({quick})


def other(cell, photo):
    return _loop({other})


def broken(cell, photo):
    {broken}
    return _loop(100)
'''


class Repository:
    """A git checkout of a package that is as small as it can be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("config", "user.email", "nobody@example.org")
        self.git("config", "user.name", "Nobody")

    def git(self, *arguments: str) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        ran = subprocess.run(
            ["git", "-C", str(self.folder), *arguments], capture_output=True, text=True, check=True, env=environment
        )
        return ran.stdout.strip()

    def write(self, *, quick: int = 4000, other: int = 4000, broken: str = "pass", init: str = "") -> Repository:
        package = self.folder / "semanir"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text(init)
        (package / "gate_cells.py").write_text(CELLS.format(quick=quick, other=other, broken=broken))
        return self

    def commit(self, message: str = "a change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "checkout")


RULE = Rule(launches=6, family=0.002)
"""An alarm of six launches needs 0.05 / 64, which Holm gives two cells at 0.2 %: so rarely may a test here fail."""


def spec_of(kinds: Sequence[str], *, rule: Rule = RULE) -> GateSpec:
    return GateSpec(
        question="is it slower?",
        cells=tuple(GateCell(name=kind, kind=kind, backend=None) for kind in kinds),
        sampling=Sampling(sample_ms=0.3, blocks=5),
        rule=rule,
    )


class Run:
    """Runs gates on the small package; its cells are loops of Python, and nothing imports torch."""

    def __init__(self, repository: Path, folder: Path) -> None:
        self._repository = repository
        self._folder = folder

    def request(self, *kinds: str, **changes: Any) -> Request:
        """Return what is asked for; `changes` replace its fields."""
        request = Request(
            repository=self._repository,
            spec=spec_of(kinds or ("quick", "other")),
            base=None,
            head="HEAD",
            timed=True,
            exactly=False,
            baseline=None,
            waivers=self._folder / "waivers.yaml",
            certificates=self._folder / "certificates",
            budget_s=600.0,
            seed=1,
            lock_folder=self._folder,
        )
        return replace(request, **changes)

    def __call__(self, *kinds: str, **changes: Any) -> GateDocument:
        """Run a gate, once again where it was void, as it asks for; its samples lie in the test's folder."""
        request, place = self.request(*kinds, **changes), self._folder / "samples.jsonl.gz"
        document = gate(request, lambda words: None, samples=place)
        return gate(request, lambda words: None, samples=place) if document.outcome == "void" else document


@pytest.fixture
def run(repository: Repository, tmp_path: Path) -> Run:
    return Run(repository.folder, tmp_path)
