"""The command, the committed baselines, and kernels made worse on purpose; everything compiles without a GPU.

That the kernels cost what their baseline says is a part of the exact gate: `tests/harness/gate/test_exact.py`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import cli
from harness.environment import version_of
from harness.static import baseline, measure, report
from harness.static.comparison import compare
from harness.static.cost import TARGETS, Compiled, Cost, StaticError
from harness.static.table import as_table

ROOT = Path(__file__).parents[3]
COST = Cost(
    registers=154,
    spill_store_bytes=0,
    spill_load_bytes=0,
    shared_bytes=0,
    warps=4,
    resident_blocks=3,
    products=0,
    scores=None,
    is_loop=True,
    mix={"FADD": 10},
)

needs_triton = pytest.mark.skipif(not version_of("triton"), reason="triton is not installed; it exists for Linux")


def call(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, ["static", *arguments])
    return result.exit_code, result.stdout, result.stderr


@needs_triton
def test_a_kernel_made_worse_on_purpose_is_found(tmp_path: Path) -> None:
    """Too few registers make one spill; float32 without TF32 leaves another without tensor cores."""
    ran = subprocess.run(
        [sys.executable, Path(__file__).with_name("worsen.py")],
        env=measure.environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    before, now = ([Compiled.model_validate(one) for one in json.loads(line)] for line in ran.stdout.splitlines())
    committed = {entry.name: entry.cost for entry in before if entry.cost is not None}
    assert not any(difference.is_worse for difference in compare(committed, before, "sm_90"))
    spilled, scalar = compare(committed, now, "sm_90")
    assert spilled.is_worse
    assert re.search(r"bytes of spill stores 0 -> \d{2,}, bytes of spill loads 0 -> \d{2,}", str(spilled))
    assert scalar.is_worse
    assert re.search(r"tensor-core instructions \d+ -> 0", str(scalar))
    rule = "rule broken: forward/N=1024 fp32 bias sm_90: no tensor-core instruction in the inner loop"
    assert rule in as_table("sm_90", now)
    assert rule not in as_table("sm_90", before)


@pytest.mark.parametrize("version", ["3.6.0", "3.7.1"])
def test_a_baseline_holds_every_kernel_that_is_launched_in_few_launches(version: str) -> None:
    modules = [*ROOT.glob("semanir/attention/backends/triton/*.py"), ROOT / "semanir/attention/selection/launch.py"]
    launched = {name for path in modules for name in re.findall(r"\b\w+\.(\w+)\[\(", path.read_text())}
    assert len(launched) > 5
    for target in TARGETS:
        costs = baseline.read(version, target)
        assert {name.partition("/")[0] for name in costs} == launched
        assert len(costs) <= 35


def test_a_version_without_a_baseline_names_those_that_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "triton_version", lambda: "9.9.9")
    code, out, err = call("--check")
    assert (code, out) == (2, "")
    assert "no baseline for triton 9.9.9 and sm_80; there is one for 3.6.0 (sm_80, sm_90); 3.7.1 (sm_80, sm_90)" in err
    assert "--write" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--target", "sm90"), "no target 'sm90'. Did you mean 'sm_90'?"),
        (("--check", "--write"), "choose one"),
        (("--write", "--only", "forward"), "leave --only out"),
    ],
)
def test_wrong_input_exits_with_2_and_says_what_would_work(arguments: tuple[str, ...], words: str) -> None:
    code, _, err = call(*arguments)
    assert code == 2
    assert words in err


def test_writing_a_target_keeps_the_others_and_the_same_costs_make_the_same_file(tmp_path: Path) -> None:
    path = baseline.write("1.2.3", {"sm_80": {"b/N=64": COST, "a/N=64": COST}}, folder=tmp_path)
    baseline.write("1.2.3", {"sm_90": {"a/N=64": COST}}, folder=tmp_path)
    first = path.read_text()
    assert list(json.loads(first)["targets"]) == ["sm_80", "sm_90"]
    assert baseline.read("1.2.3", "sm_80", folder=tmp_path) == {"a/N=64": COST, "b/N=64": COST}
    baseline.write("1.2.3", {"sm_80": {"a/N=64": COST, "b/N=64": COST}}, folder=tmp_path)
    assert path.read_text() == first


def test_a_damaged_baseline_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.2.3.json").write_text('{"triton": "1.2.3"}')
    with pytest.raises(StaticError, match=r"1\.2\.3\.json: not a baseline of this project"):
        baseline.read("1.2.3", "sm_80", folder=tmp_path)


def test_a_kernel_that_does_not_compile_is_shown_and_keeps_the_baseline_from_being_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def one_broken(target: str, *, only: str) -> list[Compiled]:
        return [Compiled(place=0, name="a/N=64", cost=COST), Compiled(place=1, name="b/N=64", error="PTXASError: full")]

    def never(version: str, costs: Mapping[str, Mapping[str, Cost]]) -> Path:
        raise AssertionError("written")

    monkeypatch.setattr(report, "measure", one_broken)
    monkeypatch.setattr(baseline, "write", never)
    code, out, _ = call("--target", "sm_80", "--write")
    assert code == 1
    assert "rule broken: b/N=64 sm_80: does not compile: PTXASError: full" in out
