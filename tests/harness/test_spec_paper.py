"""What a spec says of its tables in print."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.paper import Paper
from harness.spec import SpecError, json_schema, load

SPEC = """\
question: What does k cost?
axes:
  model: [semanir/nano]
  weights: [none, topk-fixed-s0, topk-fixed-s1]
  task: [denoise]
  dataset: bundled
  backend: [gather, sdpa]
  top_k: [8, null]
  setting:
    denoise: ["sigma=25"]
metrics: [psnr]
awaited: [topk-fixed-s0, topk-fixed-s1]
"""

PAPER = """\
paper:
  caption: Few keys are enough.
  label: tab:topk
  names:
    backend: {sdpa: "Ours & theirs"}
    weights: {topk-fixed: fixed k, topk-fixed-s1: another}
    top_k: {8: eight, null: every key}
    setting: {sigma=25: σ = 25}
"""


@pytest.fixture
def written(tmp_path: Path):
    def write(paper: str) -> Path:
        path = tmp_path / "spec.yaml"
        path.write_text(SPEC + paper, encoding="utf-8")
        return path

    return write


def complaints(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(path, overrides)
    return [line.replace(str(path), "spec.yaml") for line in str(caught.value).splitlines()]


def test_a_paper_has_caption_label_and_names(written):
    assert load(written(PAPER)).paper == Paper(
        caption="Few keys are enough.",
        label="tab:topk",
        names={
            "backend": {"sdpa": "Ours & theirs"},
            "weights": {"topk-fixed": "fixed k", "topk-fixed-s1": "another"},
            "top_k": {"8": "eight", "null": "every key"},
            "setting": {"sigma=25": "σ = 25"},
        },
    )


def test_a_spec_says_nothing_of_paper_by_default(written):
    assert load(written("")).paper == Paper()


def test_a_paper_changes_no_cell_and_no_digest(written):
    plain, printed = load(written("")), load(written(PAPER))
    assert printed.sweeps == plain.sweeps
    assert printed.digest == plain.digest


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("paper: {captoin: x}", "paper.captoin: unknown key; did you mean 'caption'?"),
        ("paper: [x]", "paper: is a list; write a mapping with caption, label, names"),
        ("paper: {caption: 5}", "paper.caption: 5 is a whole number; write a sentence"),
        ("paper: {label: 'tab topk'}", "paper.label: 'tab topk' is no label; write letters, digits, and : . _ -"),
        ("paper: {label: 'tab:}'}", "paper.label: 'tab:}' is no label;"),
        ("paper: {names: {bakend: {sdpa: x}}}", "paper.names.bakend: unknown key; did you mean 'backend'?"),
        ("paper: {names: {backend: {sdpaa: x}}}", "paper.names.backend.sdpaa: unknown key; did you mean 'sdpa'?"),
        ("paper: {names: {top_k: {16: x}}}", "paper.names.top_k.16: unknown key; write one of: 8, null"),
        ("paper: {names: {weights: {topk-fixd: x}}}", "unknown key; did you mean 'topk-fixed'?"),
        ("paper: {names: {backend: {sdpa: null}}}", "paper.names.backend.sdpa: null is no text; write what is printed"),
        ("paper: {names: {backend: {sdpa: ' '}}}", "paper.names.backend.sdpa: is blank; write what is printed"),
        ("paper: {names: {backend: [sdpa]}}", "paper.names.backend: is a list; write a mapping with gather, sdpa"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_would_be_right(written, wrong, said):
    (line,) = complaints(written(wrong))
    assert line.startswith("spec.yaml:13: ")
    assert said in line


def test_a_name_of_a_value_that_was_set_aside_is_no_mistake(written):
    assert load(written(PAPER), ["axes.backend=gather", "axes.top_k=16"]).paper == load(written(PAPER)).paper


def test_editors_know_what_a_paper_holds():
    schema = json_schema()["properties"]["paper"]
    assert list(schema["properties"]) == ["caption", "label", "names"]
    assert "backend" in schema["properties"]["names"]["properties"]
    assert schema["properties"]["names"]["additionalProperties"] is False
