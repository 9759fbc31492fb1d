"""Whole gates on a package of plain Python, and every way in which one cannot have a verdict."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import cli
from harness.environment import machine
from harness.gate import cells, certificate, samples
from harness.gate import launch as launching
from harness.gate import run as running
from harness.gate.cells import SENTINEL, GateCell
from harness.gate.document import EXIT_CODES
from harness.gate.interpreter import Interpreter
from harness.gate.measure import Timed, device_lock, fitted, joined
from harness.gate.refusal import Refusal
from harness.gate.statistics import Stages
from harness.gate.trees import Tree
from tests.harness.gate.conftest import Repository, Run, spec_of
from tests.harness.gate.test_documents import a_certificate

TOMORROW = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1)


def statuses(document) -> dict[str, str]:
    return {cell.cell: cell.status for cell in document.cells}


def test_a_slow_down_is_found_and_nothing_else_is_blamed(repository: Repository, run: Run, tmp_path: Path) -> None:
    repository.write(quick=4000).commit()
    repository.write(quick=8000).commit()
    document = run("quick", "other", enforce=True)
    assert statuses(document)["quick"] == "slower", document.model_dump_json()
    assert statuses(document)["other"] != "slower"
    assert (document.outcome, document.exit_code) == ("fail", 1)
    assert "slower: quick" in document.message
    found = document.cells[0]
    assert found.ratio is not None
    assert 1.6 < found.ratio < 2.5
    assert (len(found.first), len(found.second)) == (6, 6)
    blocks = samples.read(tmp_path / "samples.jsonl.gz")
    assert {block.cell for block in blocks} == {"quick", "other", SENTINEL}
    assert {block.order for block in blocks} == {"ABBA", "BAAB"}
    assert all(len(block.load) == 4 and block.load[0].load_average is not None for block in blocks)
    assert launching.values([block for block in blocks if block.launch == 0])["quick"] == pytest.approx(found.first[0])


def test_a_speed_up_is_no_loss_and_without_a_certificate_a_loss_is_advice(repository: Repository, run: Run) -> None:
    repository.write(quick=8000).commit()
    slow = repository.write(quick=4000).commit()
    document = run("quick")
    assert statuses(document) == {"quick": "faster"}
    assert (document.outcome, document.exit_code) == ("pass", 0)
    repository.write(quick=8000).commit()
    document = run("quick", base=slow)
    assert statuses(document) == {"quick": "slower"}
    assert (document.outcome, document.exit_code) == ("advisory", 0)
    assert "no certificate for this class of machine" in document.certificate_note


def test_equal_sources_are_nothing_to_compare(repository: Repository, run: Run) -> None:
    repository.write().commit()
    repository.commit("a change of nothing that is measured")
    document = run()
    assert (document.outcome, document.exit_code) == ("nothing_to_compare", 0)
    assert document.message.startswith("A/A, nothing to compare")
    assert document.cells == ()


def test_a_base_that_does_not_import_is_named_with_its_error(repository: Repository, run: Run) -> None:
    repository.write(init="raise RuntimeError('half a commit')\n").commit()
    repository.write().commit()
    document = run()
    assert (document.outcome, document.refusal, document.exit_code) == ("refused", "does_not_import", 2)
    assert "base" in document.message
    assert "half a commit" in document.message


def test_a_cell_that_kills_its_worker_is_not_measured_and_the_others_are(repository: Repository, run: Run) -> None:
    repository.write().commit()
    repository.write(broken="os.kill(os.getpid(), 9)").commit()
    document = run("quick", "broken")
    assert statuses(document)["broken"] == "not_measured"
    assert statuses(document)["quick"] != "not_measured"
    assert "head's worker was killed by signal 9 (SIGKILL)" in document.cells[1].reason
    assert (document.outcome, document.exit_code) == ("fail", 1)


def test_a_cell_that_base_cannot_run_is_not_measured_with_its_error(repository: Repository, run: Run) -> None:
    repository.write(broken="raise ValueError('no such backend')").commit()
    repository.write().commit()
    document = run("quick", "broken")
    assert statuses(document)["broken"] == "not_measured"
    assert document.cells[1].reason == "base: ValueError: no such backend"
    assert document.exit_code == 1
    assert "declared and not measured: broken" in document.message


def test_a_kind_that_no_tree_knows_is_not_measured(repository: Repository, run: Run) -> None:
    repository.write().commit()
    repository.write(quick=5).commit()
    document = run("nonsense")
    assert statuses(document) == {"nonsense": "not_measured"}
    assert "AttributeError" in document.cells[0].reason


def test_a_head_that_ends_its_interpreter_is_named_with_its_code(repository: Repository, run: Run) -> None:
    repository.write().commit()
    repository.write(init="import os\nif os.getcwd().endswith('b'):\n    os._exit(7)\n").commit()
    document = run()
    assert (document.outcome, document.refusal) == ("refused", "does_not_import")
    assert "exited with code 7" in document.message


def test_workers_that_keep_dying_end_the_gate(repository: Repository, run: Run) -> None:
    repository.write().commit()
    repository.write(broken="os.kill(os.getpid(), 9)").commit()
    deadly = tuple(GateCell(name=f"broken-{n}", kind="broken", backend=None) for n in range(4))
    document = run(spec=spec_of(["quick"]).model_copy(update={"cells": deadly}))
    assert (document.outcome, document.refusal, document.exit_code) == ("refused", "dead_worker", 2)
    assert "workers keep dying, last at broken-3: head's worker was killed by signal 9" in document.message


def test_a_certificate_makes_a_loss_fail_and_a_stale_one_leaves_it_advice(
    repository: Repository, run: Run, tmp_path: Path
) -> None:
    repository.write(quick=4000).commit()
    repository.write(quick=8000).commit()
    here = machine("cpu")
    own = certificate.gate_class(here)
    held = a_certificate(
        date=datetime.datetime.now(datetime.UTC).date(), gate_class=own, environment=here, spec=spec_of(["quick"]).id
    )
    (tmp_path / "certificates").mkdir()
    certificate.write(held, tmp_path / "certificates")
    document = run("quick")
    assert document.certificate == held.shown()
    assert (document.outcome, document.exit_code) == ("fail", 1)
    certificate.write(held.model_copy(update={"procedure": "f" * 16}), tmp_path / "certificates")
    document = run("quick")
    assert document.certificate is None
    assert "the measuring code has changed since" in document.certificate_note
    assert (document.outcome, document.exit_code) == ("advisory", 0)


def test_a_package_from_another_tree_is_refused(tmp_path: Path) -> None:
    """With the working directory in head, a path to base alone would import head and compare it with itself."""
    elsewhere = tmp_path / "elsewhere"
    own = tmp_path / "own"
    for folder in (elsewhere, own):
        (folder / "semanir").mkdir(parents=True)
    (elsewhere / "semanir" / "__init__.py").write_text("")
    (own / "semanir" / "__init__.py").write_text(f"__file__ = {str(elsewhere / 'semanir' / '__init__.py')!r}\n")
    tree = Tree("base", own, "old", "0" * 40, False, "")
    with Interpreter(tree, running.WORKER, threads=1) as side, pytest.raises(Refusal) as found:
        side.greet(with_torch=False)
    assert found.value.kind == "foreign_package"


def test_a_worker_starts_in_its_own_tree_whatever_the_path_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("own", "other"):
        (tmp_path / name / "semanir").mkdir(parents=True)
        (tmp_path / name / "semanir" / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "other"))
    monkeypatch.chdir(tmp_path / "other")
    tree = Tree("base", tmp_path / "own", "old", "0" * 40, False, "")
    with Interpreter(tree, running.WORKER, threads=1) as side:
        assert side.greet(with_torch=False)["file"] == str((tmp_path / "own" / "semanir" / "__init__.py").resolve())


def test_the_worker_imports_nothing_but_the_standard_library_torch_and_the_package() -> None:
    import ast

    statements = ast.walk(ast.parse(running.WORKER.read_text()))
    names = {alias.name for node in statements if isinstance(node, ast.Import) for alias in node.names}
    statements = ast.walk(ast.parse(running.WORKER.read_text()))
    names |= {str(node.module) for node in statements if isinstance(node, ast.ImportFrom)}
    tops = {name.partition(".")[0] for name in names}
    assert tops - sys.stdlib_module_names == {"torch", "semanir"}


def test_a_missing_device_is_named(repository: Repository, run: Run) -> None:
    if machine("cuda").device != "no CUDA device":
        pytest.skip("there is one here")
    repository.write().commit()
    repository.write(quick=5).commit()
    spec = spec_of(["quick"])
    spec = spec.model_copy(update={"cells": (spec.cells[0].model_copy(update={"device": "cuda"}),)})
    document = run(spec=spec)
    assert (document.outcome, document.refusal, document.exit_code) == ("refused", "missing_device", 2)


@pytest.mark.parametrize(("change", "kind"), [({"base": "nowhere"}, "unknown_revision"), ({}, "dirty_tree")])
def test_what_is_wrong_with_a_clone_is_a_refusal_with_a_name(
    repository: Repository, run: Run, change: dict[str, str], kind: str
) -> None:
    repository.write().commit()
    repository.write(quick=5).commit()
    if kind == "dirty_tree":
        repository.write(quick=6)
    document = run(**change)
    assert (document.outcome, document.refusal, document.exit_code) == ("refused", kind, 2)


def test_a_budget_that_is_too_small_is_refused_with_one_that_would_do(repository: Repository, run: Run) -> None:
    repository.write().commit()
    document = run(budget_s=10.0)
    assert document.refusal == "small_budget"
    assert "--budget 2m" in document.message


def test_a_small_budget_takes_blocks_away_and_never_launches() -> None:
    spec = spec_of(["quick"])
    longer = spec.model_copy(update={"sampling": spec.sampling.model_copy(update={"sample_ms": 200.0, "blocks": 40})})
    assert fitted(longer, 10_000.0).sampling.blocks == 40
    less = fitted(longer, 400.0)
    assert 4 <= less.sampling.blocks < 40
    assert less.rule == longer.rule


def test_an_alarm_of_the_sentinel_voids_the_run() -> None:
    quiet = (0.001, -0.002, 0.0, 0.002, -0.001, 0.001, -0.001, 0.0)
    biased = tuple(value + 0.05 for value in quiet)
    rule = spec_of(["quick"]).rule.model_copy(update={"launches": 8})
    assert not Timed(stages={SENTINEL: Stages(quiet)}).sentinel_alarm(rule)
    assert Timed(stages={SENTINEL: Stages(biased)}).sentinel_alarm(rule)
    assert Timed(stages={SENTINEL: Stages(quiet, biased)}).sentinel_alarm(rule)
    assert Timed(stages={}).sentinel_alarm(rule), "a run without its sentinel proves nothing"


def test_a_tree_that_slows_its_whole_interpreter_voids_the_run(repository: Repository, run: Run) -> None:
    """The sentinel is one code on both sides: where it differs, so would every cell, whatever its own code."""
    repository.write().commit()
    repository.write(init="import sys\nsys.setprofile(lambda *event: None)\n").commit()
    document = run("quick", enforce=True)
    assert document.sentinel is not None
    assert document.sentinel.alarm
    assert (document.outcome, document.exit_code) == ("void", EXIT_CODES["void"]) == ("void", 3)


def test_a_waiver_covers_a_loss_up_to_its_limit_and_is_shown(repository: Repository, run: Run, tmp_path: Path) -> None:
    repository.write(quick=4000).commit()
    repository.write(quick=8000).commit()
    text = "waivers:\n  - {{cell: quick, limit: {limit}, reason: the new rule is worth its time, expires: {day}}}\n"
    (tmp_path / "waivers.yaml").write_text(text.format(limit=3.0, day=TOMORROW))
    document = run("quick", enforce=True)
    assert (document.outcome, document.cells[0].status, document.cells[0].waived) == ("pass", "slower", True)
    assert (document.waivers[0].state, document.waivers[0].used) == ("active", True)
    (tmp_path / "waivers.yaml").write_text(text.format(limit=1.2, day=TOMORROW))
    document = run("quick", enforce=True)
    assert (document.outcome, document.cells[0].waived, document.waivers[0].used) == ("fail", False, False)
    (tmp_path / "waivers.yaml").write_text(text.format(limit=3.0, day=TOMORROW - datetime.timedelta(days=2)))
    document = run("quick", enforce=True)
    assert (document.outcome, document.cells[0].waived, document.waivers[0].state) == ("fail", False, "expired")


def test_the_command_writes_verdict_page_and_job_summary_and_annotates(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write().commit()
    repository.write(broken="raise ValueError('no such backend')").commit()
    monkeypatch.setattr(cli, "EXPERIMENTS", repository.folder / "experiments")
    monkeypatch.setattr(cells, "load", lambda path: spec_of(["broken"]))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # the lock of this machine may be held
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    ran = CliRunner().invoke(cli.app, ["gate", "--out", str(tmp_path / "out")])
    assert ran.exit_code == 1, ran.output
    assert "declared and not measured: broken" in ran.stdout
    assert any(line.startswith("::error") for line in ran.stdout.splitlines())
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"gate.json", "gate.html"}
    assert "declared and not measured: broken" in (tmp_path / "summary.md").read_text()


def test_a_self_test_takes_no_seed(tmp_path: Path) -> None:
    ran = CliRunner().invoke(cli.app, ["gate", "--self-test", str(tmp_path / "runs"), "--seed", "1"])
    assert ran.exit_code == 2
    assert "--self-test draws an order for each of its runs: leave --seed out" in ran.stderr
    assert not (tmp_path / "runs").exists()


def test_two_gates_wait_for_each_other(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom harness.gate.measure import device_lock\n"
        f"with device_lock('cpu', print, place=Path({str(tmp_path)!r})):\n"
        "    print('mine', flush=True)\n    sys.stdin.readline()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "mine\n"
        with subprocess.Popen([sys.executable, "-u", "-c", code], **pipes) as second:
            assert second.stdout is not None
            assert "another gate measures on this cpu" in second.stdout.readline()
            first.communicate("\n")
            assert second.stdout.readline() == "mine\n"
            second.communicate("\n")
    with device_lock("cpu", pytest.fail, place=tmp_path):
        pass


def test_a_second_stage_that_the_budget_cut_decides_nothing() -> None:
    first = {
        "quick": (0.1, 0.11, 0.1, 0.12, 0.1, 0.1),
        SENTINEL: (0.0, 0.001, 0.0, -0.001, 0.0, 0.0),
        "dead": (0.0,) * 6,
    }
    half = {name: values[:3] for name, values in first.items()}
    stages = joined(first, half, failed={"dead"}, launches=6)
    assert stages.keys() == {"quick", SENTINEL}
    assert stages["quick"].second == ()
    found = Timed(stages=stages).judged(spec_of(["quick"]))["quick"]
    assert found.status == "inconclusive"
    assert "the budget ended before" in found.reason
    assert joined(first, first, failed=set(), launches=6)["quick"].second == first["quick"]


def test_throttled_blocks_are_left_out_and_too_many_leave_no_value() -> None:
    from harness.gate.load import Load

    def block(head_ms: float, throttle: int) -> launching.Block:
        return launching.Block(
            launch=0,
            cell="x",
            order="ABBA",
            calls=1,
            ms=(1.0, head_ms, head_ms, 1.0),
            cpu_ms=(1, 1, 1, 1),
            switches=(0, 0, 0, 0),
            load=(Load(throttle=throttle),) * 4,
        )

    good = [block(1.1, 0)] * 8
    assert launching.values([*good, block(9.0, 0x40), block(9.0, 0x08)])["x"] == pytest.approx(0.0953, abs=1e-4)
    assert launching.values([*good, *[block(9.0, 0x40)] * 3]) == {}
    assert launching.values([*good, *[block(1.1, 0x04)] * 8])["x"] == pytest.approx(0.0953, abs=1e-4)


def test_samples_come_back_as_they_were_written_and_equal_samples_are_equal_files(
    repository: Repository, run: Run, tmp_path: Path
) -> None:
    repository.write().commit()
    repository.write(quick=4001).commit()
    document = run("quick")
    path = tmp_path / "samples.jsonl.gz"
    blocks = samples.read(path)
    again = tmp_path / "again.jsonl.gz"
    assert samples.write(again, blocks) == document.samples_sha256
    assert again.read_bytes() == path.read_bytes()
    assert json.loads(blocks[0].model_dump_json())["ms"] == list(blocks[0].ms)
