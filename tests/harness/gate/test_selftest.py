"""The gate's test of itself: which runs there are, and what is injected into them."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from harness.gate import cells, document, selftest
from harness.gate.cells import Effect, SelfTest
from harness.gate.refusal import Refusal
from harness.gate.selftest import Trial
from tests.harness.gate.conftest import Repository, Run

ROOT = Path(__file__).parents[3]
SPEC = cells.load(ROOT / "experiments" / "gate" / "cells.yaml")


def test_a_plan_has_every_run_once_and_the_kinds_take_turns() -> None:
    effects = (Effect(share=0.1, runs=4), Effect(share=0.05, runs=1))
    trials = list(selftest.trials(SelfTest(itself=2, backend="mask", effects=effects)))
    assert len({trial.name for trial in trials}) == len(trials) == 7
    assert [trial.effect for trial in trials].count(0.1) == 4
    kinds = [trial.effect for trial in trials]
    assert kinds != sorted(kinds)
    assert Trial("mask-5-01", "mask", 0.05) in trials


def test_runs_with_extra_work_hold_all_cells_of_the_backend_and_one_of_every_other_kind() -> None:
    chosen = list(selftest.around(SPEC, "sdpa"))
    own = [cell for cell in chosen if cell.backend == "sdpa"]
    assert own == [cell for cell in SPEC.cells if cell.backend == "sdpa" and cell.kind == "attention"]
    assert {cell.backend for cell in chosen} >= {"mask", "gather", "flex", "sdpa", None}
    with pytest.raises(Refusal, match="another backend"):
        selftest.injected(SPEC, "triton")


@pytest.fixture
def patched(tmp_path: Path) -> ModuleType:
    """Load a copy of a backend with extra work in it, as a worker would."""
    own = ROOT / "semanir" / "attention" / "backends" / "mask" / "attend.py"
    place = tmp_path / "semanir" / "attention" / "backends" / "mask"
    place.mkdir(parents=True)
    shutil.copyfile(own, place / "attend.py")
    cell = next(cell for cell in SPEC.cells if cell.name == "mask-backward")
    small = cell.model_copy(update={"windows": 2, "tokens": 16, "heads": 1, "head_dim": 8, "top_k": 4})
    forward = small.model_copy(update={"direction": "forward"})
    selftest.inject(tmp_path, "mask", {selftest.key(small): 3, selftest.key(forward): 2})
    selftest.inject(tmp_path, "mask", {selftest.key(small): 5, selftest.key(forward): 7})
    assert (place / "attend.py").read_text().count("_GATE_COUNTS =") == 1, "a second injection replaces the first"
    spec = importlib.util.spec_from_file_location("patched_attend", place / "attend.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["patched_attend"] = module
    spec.loader.exec_module(module)
    return module


def test_extra_work_is_done_where_it_is_asked_for_and_changes_no_result(patched: ModuleType) -> None:
    from semanir.attention import dictionary
    from semanir.attention.backends.mask.attend import attend

    done: list[int] = []
    patched.gate_extra = done.append
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 1, 16, 8, generator=generator)
    kept = dictionary.build(torch.randn(2, 16, 4, generator=generator), 4, forms={"boolean", "additive", "indices"})
    assert torch.equal(patched.attend(q, k, v, kept, scale=0.3), attend(q, k, v, kept, scale=0.3))
    assert done == [7]
    q.requires_grad_()
    out = patched.attend(q, k, v, kept, scale=0.3)
    assert done == [7], "a backward cell's forward is not timed"
    (found,) = torch.autograd.grad(out.sum(), q)
    (expected,) = torch.autograd.grad(attend(q, k, v, kept, scale=0.3).sum(), q)
    assert torch.equal(found, expected)
    assert done == [7, 5]
    with torch.no_grad():
        patched.attend(q[:1], k[:1], v[:1], None)
    assert done == [7, 5, 0], "an unknown call gets none"


def test_the_extra_work_is_work(patched: ModuleType) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        patched.gate_extra(4)
    assert counter.get_total_flops() == 4 * 2 * 64**3


def test_an_interrupted_self_test_goes_on_where_it_stopped(repository: Repository, run: Run, tmp_path: Path) -> None:
    repository.write().commit()
    said: list[str] = []
    (tmp_path / "runs" / "itself-01").mkdir(parents=True)
    (tmp_path / "runs" / "itself-01" / "gate.json").write_text("{}")
    request = run.request("quick")
    selftest.perform(request, SelfTest(itself=2, backend="sdpa"), tmp_path / "runs", said.append)
    assert said[0] == "itself-01: measured before"
    assert document.parse((tmp_path / "runs" / "itself-02" / "gate.json").read_text()).base is not None
    extra = SelfTest(itself=1, backend="sdpa", effects=(Effect(share=0.1, runs=1),))
    with pytest.raises(Refusal, match="no attention of 'sdpa'"):
        selftest.perform(request, extra, tmp_path / "runs", said.append)
