"""What is read and written: specs, waivers, verdicts, certificates, and the pages made of them."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.environment import machine
from harness.gate import cells, certificate, document, waivers
from harness.gate.certificate import Certificate, Power, Share
from harness.gate.command import Options, gate, margin_of, schema, seconds_of
from harness.gate.document import CellVerdict, ExactVerdict, GateDocument, Sentinel, Side, WaiverShown
from harness.gate.load import Meter
from harness.gate.refusal import Refusal
from harness.gate.render import as_text, certificate_as_text, workflow_commands
from harness.gate.run import _concluded, _waived, backends_with_a_speed, neighbours
from harness.gate.statistics import Rule
from harness.gate.waivers import Waiver
from semanir.weights import cards
from tests.harness.gate.conftest import spec_of

ROOT = Path(__file__).parents[3]
TODAY = datetime.date(2026, 11, 21)
SPEC = ROOT / "experiments" / "gate" / "cells.yaml"


def refused(kind: str, path: Path, text: str, names: tuple[str, ...] = ("fast-one",)) -> str:
    path.write_text(text)
    with pytest.raises(Refusal) as found:
        cells.load(path) if kind == "bad_spec" else waivers.load(path, names, today=TODAY)
    assert found.value.kind == kind
    return str(found.value)


def verdict(**changes: object) -> CellVerdict:
    given = {
        "cell": "sdpa-forward",
        "kind": "attention",
        "backend": "sdpa",
        "direction": "forward",
        "status": "slower",
        "ratio": 1.112,
        "low": 1.09,
        "high": 1.13,
        "p": 0.0002,
        "reason": "",
        "base_ms": 20.5,
        "head_ms": 22.8,
        "first": (0.1,) * 8,
        "second": (0.11,) * 8,
    }
    return CellVerdict.model_validate(given | changes)


FIGURE = ExactVerdict(
    cell="psnr-x",
    quantity="psnr",
    unit="dB",
    status="worse",
    base=30.12,
    head=29.0,
    tolerance="at most 0.01 dB less",
    reason="30.120 -> 29.000 dB",
)


def a_document(**changes: object) -> GateDocument:
    side = Side(revision="main", commit="f" * 40, dirty=False, digest="0" * 64)
    environment = machine("cpu")
    given = {
        "outcome": "fail",
        "exit_code": 1,
        "started_at": "2026-11-21T12:00:00Z",
        "base": side,
        "head": side,
        "spec": "0" * 16,
        "rule": Rule(),
        "environment": environment,
        "gate_class": certificate.gate_class(environment),
        "cells": (verdict(),),
        "exact": (FIGURE,),
        "certificate_note": "no certificate for this class of machine",
        "duration_s": 100.0,
        "timed_s": 90.0,
        "sampled_s": 81.0,
        "seed": 3,
        "message": "slower: sdpa-forward",
    }
    return GateDocument.model_validate(given | changes)


def test_the_default_spec_covers_every_backend_that_has_a_speed_and_both_directions() -> None:
    spec = cells.load(SPEC)
    assert len(spec.cells) == 20
    attention = [cell for cell in spec.cells if cell.kind == "attention"]
    assert {cell.backend for cell in attention} == set(backends_with_a_speed("cpu"))
    backward = {cell.backend for cell in attention if cell.direction == "backward"}
    assert backward == {"mask", "gather", "sdpa"}, "FlexAttention has no backward on a CPU"
    assert {cell.kind for cell in spec.cells} == set(cells.KINDS)
    assert {cell.direction for cell in spec.cells if cell.kind == "model"} == {"forward", "backward"}
    assert spec.rule.can_alarm(len(spec.cells))


def test_the_spec_of_a_gpu_covers_every_backend_hot_and_cold() -> None:
    spec = cells.load(SPEC.with_name("gpu.yaml"))
    assert spec.device == "cuda"
    assert {cell.backend for cell in spec.cells if cell.kind == "attention"} == set(backends_with_a_speed("cuda"))
    assert {cell.cold for cell in spec.cells} == {True, False}


def test_the_default_spec_checks_every_kind_of_figure_and_all_shipped_weights() -> None:
    spec = cells.load(SPEC)
    assert {cell.quantity for cell in spec.exact} == {"parameters", "flops", "agreement", "memory", "psnr"}
    assert {cell.weights for cell in spec.exact if cell.quantity == "psnr"} == set(cards())
    agreeing = {(cell.backend, cell.direction) for cell in spec.exact if cell.quantity == "agreement"}
    assert {backend for backend, _ in agreeing} == {"mask", "gather", "sdpa", "triton", "triton_union", "flex"}
    assert ("triton", "backward") in agreeing
    assert spec.static


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("question: x\ncells: []\n", "cells"),
        ("question: x\ncells:\n  - {name: a, kind: attenton}\n", "Did you mean 'attention'"),
        ("question: x\ncells:\n  - {name: a, kind: model, modl: semanir/small}\n", "spec.yaml:3"),
        ("question: x\ncells:\n  - {name: a, kind: model, model: semanir/small}\n", "size: required for kind 'model'"),
        (
            "question: x\ncells:\n  - {name: a, kind: model, model: ast/nano, size: 8}\n"
            "  - {name: a, kind: model, model: ast/nano, size: 8}\n",
            "'a' is taken",
        ),
        (
            "question: x\nrule: {launches: 5, family: 0.001}\ncells:\n"
            "  - {name: a, kind: model, model: ast/nano, size: 8}\n"
            "  - {name: b, kind: model, model: ast/nano, size: 8}\n",
            "5 launches can never call one of 2 cells slower",
        ),
        (
            "question: x\ncells:\n  - {name: a, kind: attention, backend: sdpo, windows: 1, tokens: 65, heads: 1, "
            "head_dim: 8, top_k: 4}\n",
            "65 is no square number",
        ),
    ],
)
def test_a_wrong_spec_is_refused_with_its_line_and_a_remedy(tmp_path: Path, text: str, words: str) -> None:
    assert words in refused("bad_spec", tmp_path / "spec.yaml", text)


WAIVER = "waivers:\n  - {{cell: {cell}, limit: {limit}, reason: {reason}, expires: {expires}}}\n"
GOOD = {"cell": "fast-one", "limit": "1.2", "reason": "paid for a better network", "expires": "2026-12-31"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cell": "fast-on"}, "Did you mean 'fast-one'"),
        ({"limit": "0.9"}, "0.9 accepts no loss"),
        ({"limit": "much"}, "waivers.1.limit"),
        ({"reason": "why"}, "waivers.1.reason"),
        ({"expires": "soon"}, "waivers.1.expires"),
        ({"expires": "2028-01-01"}, "a waiver ends by itself"),
    ],
)
def test_a_bad_waiver_is_refused_with_its_line(tmp_path: Path, change: dict[str, str], words: str) -> None:
    said = refused("bad_waiver", tmp_path / "waivers.yaml", WAIVER.format(**(GOOD | change)))
    assert words in said
    assert "waivers.yaml:2" in said


def test_each_spec_has_waivers_of_its_own(tmp_path: Path) -> None:
    options = Options(
        repository=tmp_path,
        base=None,
        head="HEAD",
        spec=tmp_path / "cells.yaml",
        margin="",
        budget="60m",
        exact=False,
        enforce=False,
        out=None,
        seed=None,
    )
    (tmp_path / "cells.yaml").write_text(SPEC.read_text())
    wrong = tmp_path / "gpu.waivers.yaml"
    wrong.write_text(WAIVER.format(**GOOD))
    said: list[str] = []
    assert gate(options, say=said.append, note=said.append).refusal == "no_repository"
    wrong.rename(tmp_path / "cells.waivers.yaml")
    assert gate(options, say=said.append, note=said.append).refusal == "bad_waiver"
    assert "cells.waivers.yaml:2: waivers.1.cell: no cell 'fast-one'" in said[-1]


def test_a_waiver_ends_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "waivers.yaml"
    assert waivers.load(path, ["fast-one"], today=TODAY) == ()
    path.write_text(WAIVER.format(**GOOD))
    (waiver,) = waivers.load(path, ["fast-one"], today=TODAY)
    last = datetime.date(2026, 12, 31)
    assert waiver.accepts(1.2, today=last)
    assert not waiver.accepts(1.2, today=last + datetime.timedelta(days=1))
    assert waiver.state(last + datetime.timedelta(days=1)) == "expired"
    assert not waiver.accepts(1.21, today=last)
    assert not waiver.accepts(None, today=last), "a limit on a ratio covers no cell that was not measured"


def test_a_cell_has_one_waiver(tmp_path: Path) -> None:
    line = WAIVER.format(**GOOD).splitlines()[1]
    assert "has a waiver already" in refused("bad_waiver", tmp_path / "w.yaml", f"waivers:\n{line}\n{line}\n")


def test_a_document_comes_back_as_it_was_written() -> None:
    written = a_document()
    assert document.parse(document.as_json(written)) == written
    assert document.as_json(document.parse(document.as_json(written))) == document.as_json(written)


def test_the_published_schema_is_that_of_the_document() -> None:
    assert document.SCHEMA_FILE.read_text() == schema(), (
        "semanir-bench gate --schema > harness/gate/verdict.schema.json"
    )
    content = json.loads(document.as_json(a_document()))
    described = json.loads(schema())
    assert set(content) == set(described["properties"])
    assert described["properties"]["schema_version"]["const"] == 1


@pytest.mark.parametrize(
    "text", ["{}", "[]", "no json", '{"schema_version": 2}', '{"schema_version": 1, "outcome": "great"}']
)
def test_what_is_no_document_of_this_version_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as found:
        document.parse(text)
    assert found.value.kind == "bad_document"


def test_a_document_knows_no_infinity() -> None:
    assert document.bounded(float("inf")) is None
    with pytest.raises(ValueError, match="JSON compliant"):
        document.as_json(a_document(cells=(verdict(high=float("inf")),)))


def test_the_terminal_and_the_annotations_show_what_must_not_be_overlooked() -> None:
    waiver = WaiverShown(
        cell="mask-forward", limit="1.1", reason="it was | worth it", expires="2026-11-01", state="expired", used=False
    )
    lost = [
        verdict(cell=name, status="not_measured", ratio=None, reason="head: ValueError: <gone>")
        for name in ("flex-forward", "flex-backward")
    ]
    shown = a_document(cells=(verdict(), *lost), waivers=(waiver,))
    text = as_text(shown)
    for words in ("SLOWER", "NOT MEASURED", "WORSE", "1.112", "1.090 to 1.130", "8 + 8", "EXPIRED on 2026-11-01"):
        assert words in text, words
    assert "of which 90 timed, 10% of these not sampling" in text
    assert "flex-forward, flex-backward: head: ValueError: <gone>" in text, "a reason that many have stands once"
    lines = list(workflow_commands(shown))
    assert lines[0] == "::error title=sdpa-forward%3A slower::1.112"
    assert [line.partition(" ")[0] for line in lines] == ["::error"] * 4 + ["::warning"]


def test_a_heading_names_the_confidence_of_the_rule() -> None:
    assert "90% interval" in as_text(a_document(rule=Rule(confidence=0.9)))


def test_a_baseline_is_a_side_without_a_commit() -> None:
    baseline = Side(revision="baseline.json", commit="", dirty=False, digest="0" * 64)
    assert "base     baseline.json\n" in as_text(a_document(base=baseline, cells=()))


def test_what_is_waived_is_not_annotated() -> None:
    shown = a_document(cells=(verdict(waived=True),), exact=(FIGURE.model_copy(update={"waived": True}),))
    assert list(workflow_commands(shown)) == []
    assert "slower, waived" in as_text(shown)


@pytest.mark.parametrize(
    ("cells_", "figures", "binding", "outcome"),
    [
        ([verdict(status="same")], [], True, "pass"),
        ([verdict()], [], True, "fail"),
        ([verdict()], [], False, "advisory"),
        ([verdict(waived=True)], [], True, "pass"),
        ([verdict(status="inconclusive")], [], True, "pass"),
        ([verdict(status="not_measured")], [], False, "fail"),
        ([], [FIGURE], False, "fail"),
        ([], [FIGURE.model_copy(update={"status": "not_measured"})], False, "fail"),
        ([], [FIGURE.model_copy(update={"status": "better"})], False, "pass"),
    ],
)
def test_what_the_verdicts_mean_together(
    cells_: list[CellVerdict], figures: list[ExactVerdict], binding: bool, outcome: str
) -> None:
    found = _concluded(a_document(cells=tuple(cells_), exact=tuple(figures), message=""), binding=binding)
    assert found.outcome == outcome
    assert found.exit_code == document.EXIT_CODES[found.outcome]
    assert found.message


@pytest.mark.parametrize(
    ("first", "second", "launches", "outcome"),
    [
        (8, 8, (8, 8), "pass"),
        (8, 0, (8, 3), "fail"),
        (8, 0, (8, 0), "fail"),
        (7, 0, (7, 0), "fail"),
        (7, 0, (8, 0), "pass"),
    ],
    ids=["decided", "cut in stage 2", "before stage 2", "cut in stage 1", "lost to a throttled clock"],
)
def test_what_the_budget_left_undecided_does_not_pass(
    first: int, second: int, launches: tuple[int, int], outcome: str
) -> None:
    """A large slow-down takes much time: its gate must not pass for want of it. Seven launches never look slower."""
    cell = verdict(status="inconclusive", first=(0.5,) * first, second=(0.0,) * second, ratio=1.6)
    if first < 8:
        cell = cell.model_copy(update={"first": (0.0,) * first})
    sentinel = Sentinel(first=(0.0,) * launches[0], second=(0.0,) * launches[1], alarm=False)
    given = a_document(cells=(cell,), exact=(), message="", sentinel=sentinel)
    assert _concluded(given, binding=False).outcome == outcome
    waiver = Waiver(cell=cell.cell, limit=2.0, reason="the new rule is worth it", expires=TODAY)
    assert _concluded(_waived(given, [waiver], TODAY), binding=False).outcome == "pass"


def a_certificate(**changes: object) -> Certificate:
    environment = machine("cpu")
    given = {
        "date": TODAY,
        "gate_class": certificate.gate_class(environment),
        "environment": environment,
        "procedure": certificate.procedure(),
        "spec": spec_of(["quick"]).id,
        "source": "0" * 64,
        "gates": 5,
        "hours": ("2026-11-21T10", "2026-11-21T12"),
        "false_alarms": Share(hits=0, trials=100),
        "clusters": ((0, 20),) * 5,
        "voided": Share(hits=0, trials=5),
        "power": (
            Power(
                backend="sdpa",
                effect=0.1,
                seen=0.098,
                found=Share(hits=40, trials=40),
                blamed=Share(hits=0, trials=160),
                exchanged=Share(hits=0, trials=40),
            ),
        ),
        "launch_sd": 0.012,
        "timed_s": 400.0,
        "overhead": 0.2,
        "rivals": {},
        "pressure_median": 0.2,
        "load_average_median": 2.0,
        "runs": {},
    }
    return Certificate.model_validate(given | changes)


def test_a_certificate_says_what_its_counts_prove() -> None:
    shown = a_certificate().shown()
    assert shown.false_alarm_at_most == pytest.approx(0.0295, abs=1e-4)
    assert shown.power == {"+10% in sdpa": "40 of 40 (at least 92.8%)"}
    assert a_certificate().bootstrap == (0.0, 0.0)
    page = as_text(a_document(certificate=shown, certificate_note=""))
    assert "0 false alarms in 100 comparisons (at most 3.0%)" in page
    rivals = {"minimum of N, 5 %, side by side": Share(hits=7, trials=50)}
    text = certificate_as_text(a_certificate(rivals=rivals))
    assert re.search(r"^this gate +0 of 100 +0\.0% +0\.0% to 3\.6%$", text, re.MULTILINE)
    assert re.search(r"^minimum of N, 5 %, side by side +7 of 50 +14\.0% ", text, re.MULTILINE)
    assert re.search(r"^\+10% in sdpa +\+9\.8% +40 of 40 +91\.2% to 100\.0% +0 of 160 +0 of 40$", text, re.MULTILINE)


def held(folder: Path, found: Certificate, *, today: datetime.date = TODAY) -> tuple[Certificate | None, str]:
    folder.mkdir(exist_ok=True)
    own = certificate.gate_class(machine("cpu"))
    (folder / f"{own}.json").write_text(found.model_dump_json())
    return certificate.holding(folder, machine("cpu"), spec_of(["quick"]), today=today)


def test_a_certificate_of_this_class_and_code_holds(tmp_path: Path) -> None:
    found, note = held(tmp_path, a_certificate())
    assert found == a_certificate()
    assert note == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gate_class": "f" * 16}, "foreign"),
        ({"procedure": "f" * 16}, "measuring code has changed"),
        ({"spec": "f" * 16}, "other cells or another rule"),
        ({"date": TODAY - datetime.timedelta(days=181)}, "older than 180 days"),
    ],
)
def test_a_stale_or_foreign_certificate_is_refused(tmp_path: Path, change: dict[str, object], words: str) -> None:
    found, note = held(tmp_path, a_certificate(**change))
    assert found is None
    assert words in note
    assert "advisory" in note


def test_no_certificate_and_a_broken_one_are_told_apart(tmp_path: Path) -> None:
    spec = spec_of(["quick"])
    assert "no certificate for this class" in certificate.holding(tmp_path, machine("cpu"), spec, today=TODAY)[1]
    own = certificate.gate_class(machine("cpu"))
    (tmp_path / f"{own}.json").write_text("{}")
    assert "is no certificate" in certificate.holding(tmp_path, machine("cpu"), spec, today=TODAY)[1]


def test_a_certificate_carries_no_field_that_it_does_not_declare() -> None:
    with pytest.raises(ValidationError):
        a_certificate(trust="me")


def test_the_load_of_neighbours_is_read_from_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "cpu").write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=1000\n")
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 100 0 0\n")
    meter = Meter(proc=tmp_path)
    before = meter.read()
    (tmp_path / "pressure" / "cpu").write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=999000000\n")
    found = meter.since(before)
    assert found.pressure == 1.0
    assert found.steal == 0.0
    assert found.throttle is None
    bare = Meter(proc=tmp_path / "nothing")
    assert bare.since(bare.read()).pressure is None
    assert neighbours([]).pressure_median is None


def test_a_clock_that_nobody_watched_is_not_called_steady() -> None:
    gpu = machine("cpu").model_copy(update={"device": "NVIDIA H200"})
    unwatched = neighbours([])
    assert unwatched.throttled_blocks is None
    assert "the clock was not watched" in as_text(a_document(environment=gpu, neighbours=unwatched))
    assert "clock" not in as_text(a_document(neighbours=unwatched))
    watched = unwatched.model_copy(update={"throttled_blocks": 2})
    assert "2 throttled blocks" in as_text(a_document(environment=gpu, neighbours=watched))


@pytest.mark.parametrize(("text", "share"), [("3%", 0.03), ("0.03", 0.03), (" 12.5 %", 0.125)])
def test_a_margin_is_a_share(text: str, share: float) -> None:
    assert margin_of(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "3 percent", "-3%", "300%", "0"])
def test_a_margin_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="as in 3%"):
        margin_of(text)


@pytest.mark.parametrize(("text", "seconds"), [("6m", 360), ("90s", 90), ("90", 90), ("1.5h", 5400)])
def test_a_budget_is_a_time(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds
    with pytest.raises(Refusal, match="as in 6m"):
        seconds_of(f"{text} or so")
