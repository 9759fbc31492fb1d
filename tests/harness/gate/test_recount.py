"""Certificates: what is counted from the runs of a self-test, and what may not be counted."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness import cli
from harness.gate import cells, certificate, document, recount, samples
from harness.gate.cells import SENTINEL
from harness.gate.certificate import Certificate, Share
from harness.gate.document import GateDocument
from harness.gate.refusal import Refusal
from tests.harness.gate.simulated import SPEC, simulated, write

ROOT = Path(__file__).parents[3]
TODAY = datetime.date(2026, 11, 21)
MOST_BYTES = 1.5 * 2**20
"""Of a committed file; `tests/test_house.py` holds all of them to it."""


@pytest.fixture(scope="module")
def self_test(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `--self-test` leaves it: three runs of the program against itself, two of a slower sdpa."""
    folder = tmp_path_factory.mktemp("self-test")
    for seed in range(3):
        write(*simulated(seed=seed), folder / f"itself-{seed + 1:02}")
    for seed in (10, 11):
        write(*simulated(seed=seed, effects={"sdpa-forward": 0.2}), folder / f"sdpa-20-{seed - 9:02}")
    return folder


@pytest.fixture(scope="module")
def certified(self_test: Path) -> Certificate:
    return recount.certify(self_test, spec=SPEC.id, today=TODAY)


@pytest.fixture
def runs(self_test: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(self_test, tmp_path / "runs"))


@pytest.fixture
def certificates(certified: Certificate, self_test: Path, tmp_path: Path) -> Path:
    """A folder that holds a certificate with its runs beside it, as it is committed."""
    recount.keep(certified, self_test, tmp_path / "certificates")
    return tmp_path / "certificates"


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as found:
        action()
    assert found.value.kind == "bad_certificate"
    return str(found.value)


def change(run: Path, **changes: Any) -> None:
    """Write another verdict over that of a run."""
    found = document.parse((run / document.NAME).read_text())
    (run / document.NAME).write_text(document.as_json(found.model_copy(update=changes)))


def read(run: Path) -> GateDocument:
    return document.parse((run / document.NAME).read_text())


def test_a_certificate_is_counted_from_runs_and_names_their_files(certified: Certificate, self_test: Path) -> None:
    found = certified
    assert (found.gates, found.false_alarms, found.voided) == (3, Share(hits=0, trials=9), Share(hits=0, trials=5))
    assert found.clusters == ((0, 3),) * 3
    assert len(found.hours) == 3
    verdicts = [read(self_test / f"itself-{number:02}") for number in (1, 2, 3)]
    assert found.timed_s == sorted(verdict.timed_s for verdict in verdicts)[1]
    assert found.overhead == pytest.approx(sorted(1 - each.sampled_s / each.timed_s for each in verdicts)[1], abs=1e-4)
    (power,) = found.power
    assert (power.backend, power.effect) == ("sdpa", 0.2)
    assert power.found == Share(hits=2, trials=2)
    assert power.blamed == Share(hits=0, trials=4)
    assert power.exchanged == Share(hits=0, trials=2)
    assert power.seen == pytest.approx(0.2, abs=0.02)
    assert set(found.runs) == {
        f"{run}/{file}"
        for run in ("itself-01", "itself-02", "itself-03", "sdpa-20-01", "sdpa-20-02")
        for file in ("gate.json", "samples.jsonl.gz")
    }


def test_the_usual_rules_see_the_same_samples_and_alarm_where_runs_follow_each_other(certified: Certificate) -> None:
    rivals = certified.rivals
    assert len(rivals) == 6
    # Three cells and the sentinel, eight launches in twos; a second stage has more of them.
    assert {share.trials for share in rivals.values()} == {3 * 4 * 4}
    drifting = {name: share.hits for name, share in rivals.items() if name.endswith("one run after the other")}
    beside = {name: share.hits for name, share in rivals.items() if name.endswith("side by side")}
    assert sum(drifting.values()) > 5 * sum(beside.values())
    assert all(drifting.values())


def test_a_detection_counts_at_the_level_of_the_whole_spec(runs: Path) -> None:
    """A run of fewer cells corrects for fewer: that must not make the extra work easier to find."""
    (rate,) = {one.p for one in read(runs / "sdpa-20-01").cells if one.backend == "sdpa"}
    assert rate is not None
    for name in ("sdpa-20-01", "sdpa-20-02"):
        shutil.rmtree(runs / name)
    few = SPEC.model_copy(update={"cells": SPEC.cells[2:], "rule": SPEC.rule.model_copy(update={"family": 0.0004})})
    whole = SPEC.model_copy(update={"rule": few.rule})
    for seed in range(3):
        write(*simulated(whole, seed=seed), runs / f"itself-{seed + 1:02}")
    write(*simulated(few, seed=10, effects={"sdpa-forward": 0.2}), runs / "sdpa-20-01")
    assert [cell.status for cell in read(runs / "sdpa-20-01").cells] == ["slower"]
    (power,) = recount.certify(runs, spec=whole.id, today=TODAY).power
    assert rate > whole.rule.family / 3
    assert power.found == Share(hits=0, trials=1)


def test_an_injected_cell_that_was_not_measured_was_not_found(runs: Path) -> None:
    held = read(runs / "sdpa-20-01")
    lost = [
        one.model_copy(update={"status": "not_measured", "first": (), "second": (), "p": None, "reason": "died"})
        if one.backend == "sdpa"
        else one
        for one in held.cells
    ]
    change(runs / "sdpa-20-01", cells=tuple(lost))
    (power,) = recount.certify(runs, spec=SPEC.id, today=TODAY).power
    assert (power.found, power.exchanged) == (Share(hits=1, trials=2), Share(hits=0, trials=2))


def test_a_void_run_counts_as_void_and_not_as_quiet(runs: Path) -> None:
    write(*simulated(seed=1, effects={SENTINEL: 0.1}), runs / "itself-02")
    assert read(runs / "itself-02").outcome == "void"
    found = recount.certify(runs, spec=SPEC.id, today=TODAY)
    assert found.gates == 2
    assert found.voided == Share(hits=1, trials=5)


def test_runs_that_do_not_belong_together_are_not_certified(runs: Path, tmp_path: Path) -> None:
    def certify() -> Certificate:
        return recount.certify(runs, spec=SPEC.id, today=TODAY)

    empty = tmp_path / "empty"
    assert "no valid run of the program" in refused(lambda: recount.certify(empty, spec=SPEC.id, today=TODAY))
    assert "another spec" in refused(lambda: recount.certify(runs, spec="0" * 16, today=TODAY))
    base = read(runs / "itself-02").base
    assert base is not None
    change(runs / "itself-02", base=base.model_copy(update={"digest": "e" * 64}))
    assert "several versions of the package" in refused(certify)
    change(runs / "itself-02", base=base, gate_class="f" * 16)
    assert "2 classes of machine" in refused(certify)


def test_a_verdict_that_its_samples_do_not_give_is_not_certified(runs: Path) -> None:
    def certify() -> Certificate:
        return recount.certify(runs, spec=SPEC.id, today=TODAY)

    run = runs / "itself-01"
    honest = read(run)
    quiet = tuple(cell.model_copy(update={"status": "same"}) for cell in read(runs / "sdpa-20-01").cells)
    better = honest.cells[0].model_copy(update={"first": (0.0,) * 8})
    change(run, cells=(better, *honest.cells[1:]))
    assert f"{run}: the launches of mask-forward are not those of its samples" in refused(certify)
    change(run, cells=honest.cells, outcome="void")
    assert "its sentinel says something else than its outcome" in refused(certify)
    change(run, outcome=honest.outcome, sentinel=None)
    assert "has no sentinel" in refused(certify)
    change(run, sentinel=honest.sentinel)
    certify()
    change(runs / "sdpa-20-01", cells=quiet)
    assert "sdpa-forward is same in its verdict and slower by its samples" in refused(certify)


def test_samples_that_a_verdict_does_not_name_are_not_counted(runs: Path) -> None:
    other = runs / "itself-02" / samples.NAME
    shutil.copyfile(other, runs / "itself-01" / samples.NAME)
    words = refused(lambda: recount.certify(runs, spec=SPEC.id, today=TODAY))
    assert f"{runs / 'itself-01' / samples.NAME}: is not the file of samples" in words


# What is committed


def test_a_certificate_and_its_runs_lie_side_by_side_and_give_the_same_count_again(
    certificates: Path, self_test: Path
) -> None:
    own = certificate.gate_class(read(self_test / "itself-01").environment)
    assert sorted(path.name for path in certificates.iterdir()) == [own, f"{own}.json"]
    (again,) = recount.recount(certificates)
    assert again == certificate.read(certificates / f"{own}.json")
    recount.keep(again, certificates / own, certificates)
    assert recount.recount(certificates) == [again], "kept where it lies already"


def test_runs_of_an_older_certificate_do_not_stay(certificates: Path, certified: Certificate, self_test: Path) -> None:
    shutil.copytree(self_test / "itself-01", certificates / certified.gate_class / "itself-99")
    assert "itself-99" in refused(lambda: recount.recount(certificates))
    recount.keep(certified, self_test, certificates)
    assert not (certificates / certified.gate_class / "itself-99").exists()


def test_a_count_that_its_runs_do_not_give_is_refused(certificates: Path) -> None:
    (path,) = certificates.glob("*.json")
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"launch_sd": 0.001}))
    assert f"{path}: launch_sd is 0.001, but its runs give 0.0" in refused(lambda: recount.recount(certificates))
    path.write_text(json.dumps(content | {"procedure": "f" * 16}))
    (found,) = recount.recount(certificates)
    assert certificate.is_outdated(found), "an old certificate is still counted, and says that it is old"
    file = certificates / path.stem / "itself-01" / samples.NAME
    file.write_bytes(file.read_bytes() + b"\0")
    assert f"{file}: is not what {path.name} was counted from" in refused(lambda: recount.recount(certificates))
    file.unlink()
    assert f"{file}: is missing" in refused(lambda: recount.recount(certificates))
    path.write_text("{}")
    assert "is no certificate" in refused(lambda: recount.recount(certificates))


def test_the_largest_file_of_samples_can_be_committed(tmp_path: Path) -> None:
    """All cells of the default spec in both stages, with as many blocks as it takes at most."""
    spec = cells.load(ROOT / "experiments" / "gate" / "cells.yaml")
    verdict, blocks = simulated(spec, effects={cell.name: 0.5 for cell in spec.cells})
    assert {len(cell.second) for cell in verdict.cells} == {8}
    write(verdict, blocks, tmp_path)
    assert (tmp_path / samples.NAME).stat().st_size < MOST_BYTES / 2


MARKER = "<!-- Everything below is written by `nox -s certificate`. -->"


def call(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, ["gate", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_one_command_writes_the_tables_of_all_certificates_below_the_marker(certificates: Path, tmp_path: Path) -> None:
    shutil.copyfile(ROOT / "experiments" / "gate" / "cells.yaml", tmp_path / "cells.yaml")
    readme = tmp_path / "README.md"
    readme.write_text(f"# gate\n\n{MARKER}\n\nold tables\n")
    code, out, _ = call("--spec", tmp_path / "cells.yaml", "--recount", readme)
    assert (code, out.strip()) == (0, str(readme))
    text = readme.read_text()
    assert text.startswith(f"# gate\n\n{MARKER}\n\n## ")
    assert "old tables" not in text
    assert "| this gate | 0 of 9 | 0.0% | 0.0% to 33.6% |" in text
    for rule in ("pytest-benchmark, mean:10%", "asv, Mann-Whitney p \\< .002 and 10 %", "minimum of N, 5 %"):
        for arrangement in ("one run after the other", "side by side"):
            assert f"| {rule}, {arrangement} | " in text
    assert "| +20% in sdpa | +" in text
    assert "- holds: for the measuring code as it is" in text
    call("--spec", tmp_path / "cells.yaml", "--recount", readme)
    assert readme.read_text() == text
    (path,) = certificates.glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"procedure": "f" * 16}))
    call("--spec", tmp_path / "cells.yaml", "--recount", readme)
    assert "- holds: no longer: the measuring code has changed since" in readme.read_text()


def test_without_a_certificate_the_command_says_how_to_get_one(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"{MARKER}\n\nnone yet\n")
    code, out, err = call("--spec", tmp_path / "cells.yaml", "--recount", readme)
    assert (code, out) == (2, "")
    assert f"{tmp_path / 'certificates'} holds no certificate" in err
    assert "semanir-bench gate --self-test DIR" in err
    assert readme.read_text().endswith("none yet\n")


def test_the_committed_tables_are_those_of_the_committed_certificates(tmp_path: Path) -> None:
    committed = ROOT / "experiments" / "gate"
    readme = tmp_path / "README.md"
    shutil.copyfile(committed / "README.md", readme)
    assert MARKER in readme.read_text()
    code, _, _ = call("--recount", readme)
    assert code == (0 if list((committed / "certificates").glob("*.json")) else 2)
    assert readme.read_text() == (committed / "README.md").read_text(), "nox -s certificate"
