"""Figures without noise: how they are compared, and what happens to one that has no value."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.environment import version_of
from harness.gate import cells, document, exact, kernels, trees
from harness.gate.cells import ExactCell
from harness.gate.exact import Found
from harness.gate.refusal import Refusal
from harness.gate.run import WORKER, loss
from harness.static import baseline

ROOT = Path(__file__).parents[3]
SPEC = cells.load(ROOT / "experiments" / "gate" / "cells.yaml")


def named(name: str) -> ExactCell:
    return next(cell for cell in SPEC.exact if cell.name == name)


def compared(quantity: str, base: float | None, head: float | None, **keys: object) -> tuple[str, str]:
    cell = ExactCell.model_validate({"name": "x", "kind": "model", "quantity": quantity, **keys})
    (verdict,) = exact.compare([cell], {"x": Found(base)}, {"x": Found(head, "" if head else "head: it broke")})
    return verdict.status, verdict.reason


@pytest.mark.parametrize(
    ("quantity", "base", "head", "status"),
    [
        ("parameters", 1000.0, 1000.0, "same"),
        ("parameters", 1000.0, 999.0, "worse"),
        ("flops", 1e9, 1e9, "same"),
        ("flops", 1e9, 1e9 + 1, "worse"),
        ("flops", 1e9, 1e9 - 1, "better"),
        ("memory", 100.0, 103.4, "same"),
        ("memory", 100.0, 103.6, "worse"),
        ("memory", 100.0, 96.4, "better"),
        ("memory", 0.0, 0.4, "same"),
        ("agreement", 2e-7, 3e-7, "same"),
        ("agreement", 2e-7, 9e-7, "worse"),
        ("agreement", 2e-7, 2e-5, "worse"),
        ("agreement", 2e-7, float("nan"), "worse"),
        ("psnr", 30.0, 29.991, "same"),
        ("psnr", 30.0, 29.98, "worse"),
        ("psnr", 30.0, 30.2, "better"),
        ("psnr", 30.0, float("nan"), "worse"),
        ("flops", 1.0, None, "not_measured"),
        ("flops", None, 1.0, "not_measured"),
    ],
)
def test_a_figure_is_judged_by_the_tolerance_of_its_quantity(
    quantity: str, base: float | None, head: float | None, status: str
) -> None:
    found, reason = compared(quantity, base, head)
    assert found == status
    assert bool(reason) == (status != "same" and base is not None)


def test_an_error_beyond_what_the_dtype_allows_is_worse_even_where_it_was_so_before() -> None:
    assert compared("agreement", 9e-6, 1.1e-5)[0] == "worse"
    assert compared("agreement", 5e-3, 6e-3, dtype="bfloat16")[0] == "same"


def test_tolerances_are_those_of_the_agreement_before_timing() -> None:
    from harness.agreement import TOLERANCE

    assert exact.AGREEMENT == TOLERANCE


def test_a_loss_is_a_factor_of_what_it_was() -> None:
    (verdict,) = exact.compare([named("flops-sdpa")], {"flops-sdpa": Found(100.0)}, {"flops-sdpa": Found(120.0)})
    assert loss(verdict) == pytest.approx(1.2)
    psnr = verdict.model_copy(update={"quantity": "psnr", "base": 30.0, "head": 24.0})
    assert loss(psnr) == pytest.approx(1.25)


def test_a_baseline_comes_back_and_one_with_holes_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    exact.write_baseline(path, {"b": Found(2.0), "a": Found(1e-7)})
    assert exact.read_baseline(path) == {"a": Found(1e-7), "b": Found(2.0)}
    before = path.read_bytes()
    with pytest.raises(Refusal, match="head: it broke"):
        exact.write_baseline(path, {"a": Found(None, "head: it broke"), "b": Found(1.0)})
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["", "[]", '{"schema_version": 2, "values": {}}', '{"values": {"a": "much"}}'])
def test_what_is_no_baseline_is_refused_with_the_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "baseline.json"
    with pytest.raises(Refusal, match="there is no baseline"):
        exact.read_baseline(path)
    path.write_text(text)
    with pytest.raises(Refusal, match="--write-baseline"):
        exact.read_baseline(path)


def test_a_figure_that_the_spec_no_longer_asks_for_is_told() -> None:
    (verdict,) = exact.gone([], {"old": Found(1.0)})
    assert (verdict.cell, verdict.status) == ("old", "not_measured")
    assert "taken out on purpose" in verdict.reason


def test_a_figure_that_the_baseline_does_not_hold_is_not_measured() -> None:
    (verdict,) = exact.compare([named("flops-sdpa")], {}, {"flops-sdpa": Found(1.0)})
    assert (verdict.status, verdict.reason) == ("not_measured", "not in the baseline")


def test_the_committed_baseline_holds_every_figure_of_the_default_spec() -> None:
    held = json.loads((ROOT / "experiments" / "gate" / "cells.baseline.json").read_text())["values"]
    assert held.keys() == {cell.name for cell in SPEC.exact}


@pytest.mark.skipif(
    not (baseline.FOLDER / f"{version_of('triton')}.json").exists(),
    reason=f"no baseline for triton {version_of('triton')}; semanir-bench static --write makes one",
)
def test_this_checkout_passes_the_exact_gate(tmp_path: Path) -> None:
    """Parameters, FLOPs, agreement, memory, the PSNR of all shipped weights, and the kernels' static cost."""
    command = [sys.executable, "-m", "harness.cli", "gate", "--exact", "--out", str(tmp_path)]
    apart = os.environ | {"TMPDIR": str(tmp_path)}  # the lock of this machine may be held
    ran = subprocess.run(command, cwd=ROOT, env=apart, capture_output=True, text=True, check=False, timeout=600)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = document.parse((tmp_path / document.NAME).read_text())
    assert {each.cell for each in found.exact} == {cell.name for cell in SPEC.exact} | {"static-sm_90"}


def test_a_cell_that_cannot_be_takes_no_other_with_it(tmp_path: Path) -> None:
    chosen = [named(name) for name in ("parameters-small", "flops-sdpa")]
    broken = named("flops-small").model_copy(update={"name": "broken", "model": "semanir/huge"})
    found = exact.figures(
        trees.in_place(ROOT), [*chosen, broken], worker=WORKER, folder=tmp_path, say=lambda words: None
    )
    committed = exact.read_baseline(ROOT / "experiments" / "gate" / "cells.baseline.json")
    verdicts = exact.compare(chosen, committed, found)
    assert {verdict.cell: verdict.status for verdict in verdicts} == dict.fromkeys([c.name for c in chosen], "same")
    assert found["broken"].value is None
    assert found["broken"].reason.startswith("head: ")


def test_a_worker_that_dies_takes_one_figure_with_it_and_not_the_next(tmp_path: Path) -> None:
    package = tmp_path / "tree" / "semanir"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text("import os\nos._exit(9)\n")
    chosen = [named("parameters-small"), named("flops-sdpa")]
    found = exact.figures(trees.in_place(tmp_path / "tree"), chosen, worker=WORKER, folder=tmp_path, say=lambda w: None)
    assert "head's worker exited with code 9" in found["parameters-small"].reason
    # The installed package has that module: a tree that lacks it must not be completed from there.
    assert found["flops-sdpa"].reason == "head: ModuleNotFoundError: this tree has no module 'semanir.attention'"


def test_a_target_without_a_baseline_is_not_measured(tmp_path: Path) -> None:
    (verdict,) = kernels.verdicts(["sm_90"], folder=tmp_path)
    assert (verdict.cell, verdict.status) == ("static-sm_90", "not_measured")
    assert "no baseline for triton" in verdict.reason
