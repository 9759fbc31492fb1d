"""A real slow-down in one backend of a real copy of the tree: the gate names that backend and no other."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import pytest

from harness.gate import selftest
from harness.gate.cells import GateCell, GateSpec, Sampling
from harness.gate.run import Request, gate
from harness.gate.statistics import Rule
from harness.gate.trees import WORKTREE

ROOT = Path(__file__).parents[3]
SMALL = {"kind": "attention", "windows": 8, "tokens": 64, "heads": 2, "head_dim": 16, "top_k": 8}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a repository of its own that holds the package as it lies here, committed."""
    folder = tmp_path / "copy"
    folder.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "semanir"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    for command in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org", "commit", "--quiet", "-m", "as it is"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.mark.slow
@pytest.mark.timing
def test_the_backend_with_extra_work_is_called_slower_and_no_other(copy: Path, tmp_path: Path) -> None:
    cells = tuple(
        GateCell.model_validate({"name": f"{backend}-forward", "backend": backend, **SMALL})
        for backend in ("mask", "sdpa")
    )
    spec = GateSpec(
        question="which one?",
        cells=cells,
        sampling=Sampling(sample_ms=4.0, blocks=6),
        rule=Rule(launches=5, family=0.004),
    )
    counts = selftest.calibrate(copy, cells[:1], "mask", tmp_path, say=lambda words: None)
    selftest.inject(copy, "mask", {selftest.key(cells[0]): round(0.5 * counts["mask-forward"])})
    request = Request(
        repository=copy,
        spec=spec,
        base="HEAD",
        head=WORKTREE,
        timed=True,
        exactly=False,
        baseline=None,
        waivers=tmp_path / "waivers.yaml",
        certificates=tmp_path / "certificates",
        budget_s=900.0,
        seed=0,
        enforce=True,
        lock_folder=tmp_path,
    )
    document = gate(request, lambda words: None)
    assert {cell.cell: cell.status for cell in document.cells if cell.status == "slower"} == {"mask-forward": "slower"}
    assert (document.outcome, document.message) == ("fail", "slower: mask-forward")
    assert document.head is not None
    assert document.head.dirty
    assert document.started_at[:10] <= datetime.datetime.now(datetime.UTC).date().isoformat()
