"""Specs: what they mean, and what is said about broken ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness import archive
from harness import spec as specs
from harness.catalogs import METRICS, TASKS
from harness.plan import expand
from harness.record import Cell, Timing
from harness.runner import run
from harness.spec import MetricChoice, SpecError, json_schema, load
from harness.store import ResultStore, StoredPlan
from harness.yaml_lines import MAX_BYTES, resolve
from semanir.weights import cards

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").rglob("spec.yaml"))

GOOD = """\
question: What does k cost?
axes:
  model: [semanir/nano]
  task: [denoise, jpeg]
  dataset: bundled
  backend: [gather, mask]
  top_k: [8, null]
  window: [8, 16]
  setting:
    denoise: ["sigma=25", "sigma=15,color=rgb"]
metrics:
  - psnr
  - memory: {only: {task: [denoise]}}
timing: {samples: 5}
budget:
  memory_mib: 1024
exclude:
  - where: {backend: [mask], top_k: [8], setting: [sigma=25.0]}
    reason: too slow to wait for
"""


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str | bytes, name: str = "spec.yaml") -> Path:
        path = tmp_path / "topk" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def complaints(path: Path, *overrides: str) -> list[str]:
    """Return the lines of the error, with the path cut down to the file's name."""
    with pytest.raises(SpecError) as caught:
        load(path, overrides)
    return [line.replace(str(path), "spec.yaml") for line in str(caught.value).splitlines()]


def without(line: str, text: str = GOOD) -> str:
    assert line in text
    return text.replace(line, "")


def swapped(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_good_spec_says_what_it_means(written):
    spec = load(written(GOOD))
    assert spec.name == "topk"
    assert spec.question == "What does k cost?"
    assert spec.values("dataset") == ("bundled",)
    assert spec.values("top_k") == (8, None)
    assert spec.values("seed") == (0,)
    assert "seed" not in spec.sweeps[0].axes
    assert len(spec.sweeps) == 1
    assert spec.settings == {"denoise": ("sigma=25", "sigma=15,color=rgb"), "jpeg": (default_of("jpeg"),)}
    assert [choice.name for choice in spec.metrics] == ["psnr", "memory"]
    assert spec.metrics[1].only == {"task": ("denoise",)}
    assert spec.timing == Timing(samples=5)
    assert (spec.budget.memory_mib, spec.budget.cell_seconds) == (1024, 120.0)
    assert spec.exclude[0].where["setting"] == ("sigma=25",)
    assert spec.text == GOOD


def default_of(task: str) -> str:
    return TASKS[task].canonical(TASKS[task].defaults)


def test_a_file_with_a_name_of_its_own_names_the_spec(written):
    assert load(written(GOOD, "night.yaml")).name == "night"


def test_weights_that_are_awaited_or_that_a_path_names_need_not_be_here(written):
    named = swapped("  dataset: bundled", "  dataset: bundled\n  weights: [gray-to-come, DnCNN-S/absent.mat]")
    spec = load(written(named + "awaited: gray-to-come\n"))
    assert spec.values("weights") == ("gray-to-come", "DnCNN-S/absent.mat")
    assert spec.awaited == ("gray-to-come",)


def test_what_is_awaited_decides_no_cell_and_no_digest(written):
    assert load(written(GOOD + "awaited: gray-to-come\n")).digest == load(written(GOOD)).digest


def test_a_model_that_keeps_no_k_says_nothing_against_one(written):
    text = without("  window: [8, 16]\n", swapped("top_k: [8, null]", "top_k: [8, 64]"))
    assert load(written(text)).values("top_k") == (8, 64)
    plain = text.replace("semanir/nano", "dncnn/S").replace("[8, 64]", "[8, 500]")
    assert load(written(plain)).values("top_k") == (8, 500)


def test_a_digest_depends_on_content_and_not_on_words(written):
    digest = load(written(GOOD)).digest
    assert load(written(swapped("What does k cost?", "And how much?") + "# a remark\n")).digest == digest
    assert load(written(swapped("top_k: [8, null]", "top_k: [8]"))).digest != digest
    assert load(written(GOOD), ["timing.samples=6"]).digest != digest


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.parent.name)
def test_every_experiment_of_the_project_is_valid(path: Path):
    spec = load(path)
    assert spec.name == path.parent.name
    assert spec.question.endswith("?")
    assert path.with_name("README.md").read_text().count(spec.question) == 1


def test_the_quickstart_crosses_four_backends_with_all_six_tasks():
    spec = load(next(path for path in EXPERIMENTS if path.parent.name == "quickstart"))
    assert len(spec.values("backend")) == 4
    assert sorted(map(str, spec.values("task"))) == TASKS.names()


MALFORMED = {
    "a misspelt axis": (
        swapped("  window: [8, 16]", "  windw: [8, 16]"),
        ["spec.yaml:8: axes.windw: unknown key; did you mean 'window'?"],
    ),
    "an unknown section": (
        GOOD + "colour: red\n",
        ["spec.yaml:20: colour: unknown key; write one of: question, axes, sweeps, metrics, timing, budget, exclude"],
    ),
    "a duplicate key": (
        GOOD.replace("  backend", "  top_k: [4]\n  backend"),
        ["spec.yaml:8: axes.top_k: duplicate key; first on line 6: keep one of them"],
    ),
    "three times one key": (
        GOOD + "timing: {}\ntiming: {}\n",
        [
            "spec.yaml:20: timing: duplicate key; first on line 14: keep one of them",
            "spec.yaml:21: timing: duplicate key; first on line 14: keep one of them",
        ],
    ),
    "a missing question": (
        without("question: What does k cost?\n"),
        ["spec.yaml:1: question: required key is missing; add it"],
    ),
    "a missing axis": (
        without("  dataset: bundled\n"),
        ["spec.yaml:3: axes.dataset: required key is missing; add it, with one or more of: bundled"],
    ),
    "an empty axis": (
        swapped("[8, 16]", ""),
        ["spec.yaml:8: axes.window: no value; write one, or remove the key"],
    ),
    "an empty list": (
        swapped("[8, 16]", "[]"),
        ["spec.yaml:8: axes.window: empty list; write at least one value, or remove the key"],
    ),
    "a text for a number": (
        swapped("[8, 16]", "[8, '16', 3.5, yes, true, [4], {a: 1}]"),
        [
            "spec.yaml:8: axes.window: '16' is text; write a whole number",
            "spec.yaml:8: axes.window: 3.5 is a fraction; write a whole number",
            "spec.yaml:8: axes.window: 'yes' is text; write a whole number",
            "spec.yaml:8: axes.window: true is a truth value; write a whole number",
            "spec.yaml:8: axes.window: is a list; write a single value",
            "spec.yaml:8: axes.window: is a mapping; write a single value",
        ],
    ),
    "a number for a name": (
        swapped("[gather, mask]", "[7]"),
        ["spec.yaml:6: axes.backend: 7 is a whole number; write a name"],
    ),
    "null where there must be a value": (
        swapped("[gather, mask]", "[null]"),
        ["spec.yaml:6: axes.backend: null is no value here; write a name"],
    ),
    "values out of range": (
        swapped("[8, 16]", "[0, 99999]"),
        [
            "spec.yaml:8: axes.window: 0 is too small; write at least 1",
            "spec.yaml:8: axes.window: 99999 is too large; write at most 1024",
        ],
    ),
    "a choice of few": (
        swapped("  window: [8, 16]", "  window: [8, 16]\n  sharing: [stages]"),
        ["spec.yaml:9: axes.sharing: 'stages' is not known; write 'stage' or 'layer'. Did you mean 'stage'?"],
    ),
    "a value listed twice": (
        swapped("[8, 16]", "\n    - 8\n    - 8"),
        ["spec.yaml:10: axes.window: 8 is listed twice, first at spec.yaml:9; keep one"],
    ),
    "a backend that does not exist": (
        swapped("[gather, mask]", "[gathr]"),
        ["spec.yaml:6: axes.backend: no backend 'gathr'. Did you mean 'gather'? It has: "],
    ),
    "a task that does not exist": (
        swapped("[denoise, jpeg]", "[denoise, jpg]"),
        ["spec.yaml:4: axes.task: no task 'jpg'. Did you mean 'jpeg'? It has: "],
    ),
    "a dataset that is not here": (
        swapped("dataset: bundled", "dataset: [bundeld]"),
        ["spec.yaml:5: axes.dataset: no dataset 'bundeld'. Did you mean 'bundled'? It has: "],
    ),
    "a model that does not exist": (
        swapped("semanir/nano", "semanr/nano"),
        ["spec.yaml:3: axes.model: no model 'semanr'. Did you mean 'semanir'? It has: "],
    ),
    "a configuration that does not exist": (
        swapped("semanir/nano", "semanir/nan"),
        [
            "spec.yaml:3: axes.model: no configuration 'nan' of 'semanir'. "
            "Did you mean 'semanir/nano'? It has: semanir/small, "
        ],
    ),
    "a model without its configuration": (
        swapped("semanir/nano", "semanir"),
        ["spec.yaml:3: axes.model: no configuration '' of 'semanir'."],
    ),
    "a metric that does not exist": (
        swapped("- psnr", "- pnsr"),
        ["spec.yaml:12: metrics: no metric 'pnsr'. Did you mean 'psnr'? It has: "],
    ),
    "a metric listed twice": (
        swapped("- psnr", "- psnr\n  - psnr"),
        ["spec.yaml:13: metrics: 'psnr' is listed twice; keep one"],
    ),
    "a metric with two names": (
        swapped("- psnr", "- {psnr: {only: {task: [jpeg]}}, ssim: {}}"),
        ["spec.yaml:12: metrics: an item has 2 keys; write one name, or one name with its restriction"],
    ),
    "a metric restricted in a wrong word": (
        swapped("{only:", "{olny:"),
        [
            "spec.yaml:13: metrics.memory.olny: unknown key; did you mean 'only'?",
            "spec.yaml:13: metrics.memory.only: required key is missing; add it",
        ],
    ),
    "a restriction to an unknown axis": (
        swapped("{task: [denoise]}", "{tsk: [denoise]}"),
        ["spec.yaml:13: metrics.memory.only.tsk: unknown key; did you mean 'task'?"],
    ),
    "no metric at all": (
        without("\n  - psnr\n  - memory: {only: {task: [denoise]}}").replace("metrics:", "metrics: []"),
        ["spec.yaml:11: metrics: empty list; write at least one of: "],
    ),
    "a setting that its task does not know": (
        swapped('"sigma=25"', '"sgma=25"'),
        ["spec.yaml:10: axes.setting.denoise: unknown key 'sgma'. Did you mean 'sigma'? It has: sigma, color"],
    ),
    "a setting that is a number": (
        swapped('"sigma=25"', "25"),
        ["spec.yaml:10: axes.setting.denoise: 25 is a whole number; write key=value, as in 'sigma=25'"],
    ),
    "two spellings of one setting": (
        swapped("sigma=15,color=rgb", "sigma=25.0"),
        ["spec.yaml:10: axes.setting.denoise: two of these are one setting: sigma=25, sigma=25.0; keep one"],
    ),
    "a setting for a task that is not asked for": (
        swapped("    denoise: [", "    sr: [scale=2]\n    denoise: ["),
        [
            "spec.yaml:10: axes.setting.sr: 'sr' is no task of this spec; "
            "add it to axes.task or remove this; axes.task has denoise, jpeg"
        ],
    ),
    "a k that no window can hold": (
        swapped("top_k: [8, null]", "top_k: [8, 300]"),
        [
            "spec.yaml:7: axes.top_k: 300 exceeds the 256 tokens of the largest window, 16; "
            "write at most 256, or a window of at least 18"
        ],
    ),
    "a k that the model's own window cannot hold": (
        without("  window: [8, 16]\n", swapped("top_k: [8, null]", "top_k: [8, 65]")),
        [
            "spec.yaml:7: axes.top_k: 65 exceeds the 64 tokens of the largest window, 8; "
            "write at most 64, or a window of at least 9"
        ],
    ),
    "weights that nobody knows": (
        swapped("  dataset: bundled", "  dataset: bundled\n  weights: denoise-grey-25"),
        [
            "spec.yaml:6: axes.weights: no weights named 'denoise-grey-25'. Did you mean 'denoise-gray-25'? "
            f"It has: none, shipped, {', '.join(cards())}; "
        ],
    ),
    "weights that nobody knows, in a rule": (
        swapped("{backend: [mask], top_k: [8]", "{weights: [shiped], top_k: [8]"),
        ["spec.yaml:18: exclude.1.where.weights: no weights named 'shiped'. Did you mean 'shipped'? "],
    ),
    "awaited weights without a name": (
        GOOD + "awaited: [3]\n",
        ["spec.yaml:20: awaited: 3 is a whole number; write the name of weights"],
    ),
    "a thousand million cells": (
        swapped(
            "  window: [8, 16]",
            f"  window: {list(range(1, 1001))}\n  seed: {list(range(1000))}\n  batch: {list(range(1, 1001))}",
        ),
        [
            "spec.yaml:3: axes: 12,000,000,000 cells; budget.max_cells allows 100,000: "
            "shorten the largest axes, window (1,000), seed (1,000), batch (1,000)"
        ],
    ),
    "a wrong type of section": (
        swapped("timing: {samples: 5}", "timing: [5]"),
        ["spec.yaml:14: timing: is a list; write a mapping with warmup_ms, sample_ms, samples, threads"],
    ),
    "an endless number": (
        swapped("samples: 5", "warmup_ms: .inf"),
        ["spec.yaml:14: timing.warmup_ms: .inf is no finite number; write one"],
    ),
    "too few samples": (
        swapped("samples: 5", "samples: 1, sample_ms: 0"),
        [
            "spec.yaml:14: timing.sample_ms: 0 is too small; write more than 0",
            "spec.yaml:14: timing.samples: 1 is too small; write at least 2",
        ],
    ),
    "a misspelt budget": (
        swapped("memory_mib", "memory_mb"),
        ["spec.yaml:16: budget.memory_mb: unknown key; did you mean 'memory_mib'?"],
    ),
    "a rule without a reason": (
        without("    reason: too slow to wait for\n"),
        ["spec.yaml:18: exclude.1.reason: required key is missing; add it"],
    ),
    "a rule that is a word": (
        GOOD.partition("exclude:")[0] + "exclude: mask\n",
        ["spec.yaml:17: exclude: is text; write a list of rules: "],
    ),
    "a rule without an axis": (
        swapped("{backend: [mask], top_k: [8], setting: [sigma=25.0]}", "{}"),
        ["spec.yaml:18: exclude.1.where: names no axis; write at least one, as in {task: [denoise]}"],
    ),
    "a rule for a setting that no task has": (
        swapped("[sigma=25.0]", "[volume=11]"),
        ["spec.yaml:18: exclude.1.where.setting: no task has a setting 'volume=11'; unknown key 'volume'."],
    ),
    "a rule for a metric that does not exist": (
        swapped("    reason: too slow", "    metrics: [pnsr]\n    reason: too slow"),
        ["spec.yaml:19: exclude.1.metrics: no metric 'pnsr'. Did you mean 'psnr'?"],
    ),
    "a question that is a number": (
        swapped("What does k cost?", "42"),
        ["spec.yaml:1: question: 42 is a whole number; write a sentence"],
    ),
    "a tag that would run code": (
        swapped("[8, 16]", "!!python/object/apply:os.system ['true']"),
        [
            "spec.yaml:8: axes.window: tag '!!python/object/apply:os.system' is refused: "
            "a spec is plain data and runs no code; remove the tag"
        ],
    ),
    "an anchor and its alias": (
        swapped("[8, null]", "&k [8, null]").replace("[8, 16]", "*k"),
        [
            "spec.yaml:7: axes.top_k: anchor '&k' is refused: a spec spells everything out; remove it",
            "spec.yaml:8: axes.window: alias '*k' is refused: a spec spells everything out; copy the value",
        ],
    ),
    "a key that is a list": (
        GOOD + "? [a, b]\n: c\n",
        ["spec.yaml:20: a key must be one word; quote it if it is meant as text"],
    ),
    "a tab": (
        swapped("  backend:", "\tbackend:"),
        ["spec.yaml:6: broken YAML: "],
    ),
    "an open bracket": (
        GOOD + "x: [1, 2\n",
        ["spec.yaml:21: broken YAML: "],
    ),
    "a second document": (
        GOOD + "---\na: 1\n",
        ["spec.yaml:20: a second document begins; a spec is one document: split the file"],
    ),
    "a control character": (
        GOOD + "# \x07\n",
        ["spec.yaml:20: holds a control character; remove it"],
    ),
    "an escape beyond Unicode": (
        GOOD + 'x: "\\UFFFFFFFF"\n',
        ["spec.yaml:20: broken YAML near this line: "],
    ),
    "nesting without end": (
        "a: " + "[" * 100_000,
        ["spec.yaml:1: a.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1: is nested deeper than 20 levels; "],
    ),
    "text that is no UTF-8": (
        GOOD.encode() + b"# \xff\n",
        ["spec.yaml:20: byte 0xff is no UTF-8; save the file as UTF-8"],
    ),
    "nothing": ("", ["spec.yaml:1: is empty; write at least a question, axes and metrics"]),
    "a remark alone": ("# later\n", ["spec.yaml:1: is empty; write at least a question, axes and metrics"]),
    "a list": ("- a\n- b\n", ["spec.yaml:1: is a list; write a mapping with question, axes, sweeps, metrics, "]),
    "a word": ("hello", ["spec.yaml:1: is text; write a mapping with question, axes, sweeps, metrics, "]),
}


@pytest.mark.parametrize(("text", "expected"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_spec_is_refused_with_line_and_remedy(written, text: str | bytes, expected: list[str]):
    found = complaints(written(text))
    assert len(found) == len(expected), found
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_all_errors_of_a_spec_come_at_once_in_the_order_of_its_lines(written):
    text = swapped("semanir/nano", "semanir/nan").replace("[8, 16]", "[x]").replace("psnr", "pnsr")
    lines = [line.split(":")[1] for line in complaints(written(text.replace("samples", "sampels")))]
    assert lines == ["3", "8", "12", "14"]


def test_a_list_of_a_thousand_mistakes_is_cut_short_and_counted(written):
    found = complaints(written(swapped("[8, 16]", str([0] * 1000))))
    assert len(found) == 101
    assert found[-1].endswith("100 values are wrong; 900 more were not looked at") or "more problems" in found[-1]


def test_a_large_file_is_refused_by_its_size(written):
    bomb = "a: &a [x, x, x, x]\n" + "".join(f"a{i}: &a{i} [*a, *a, *a]\n" for i in range(40_000))
    [line] = complaints(written(bomb))
    assert len(bomb) > MAX_BYTES
    assert line == f"spec.yaml: has {len(bomb):,} bytes; a spec may have 256 KiB: write less, or several specs"


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path):
    [line] = complaints(tmp_path)
    assert line == f"spec.yaml: is a folder; give a file, as in {tmp_path / 'spec.yaml'}".replace(
        str(tmp_path), "spec.yaml"
    )
    assert complaints(tmp_path / "x.yaml")[0].startswith("spec.yaml: no such file; ")
    assert complaints(tmp_path / ("x" * 5000))[0].startswith("spec.yaml: cannot be read: ")


def test_an_override_replaces_a_value_of_the_file(written):
    path = written(GOOD)
    assert load(path, ["axes.top_k=4, null"]).values("top_k") == (4, None)
    assert load(path, ["axes.seed=1,2"]).values("seed") == (1, 2)
    assert load(path, ["metrics=ssim,flops"]).metrics[1].name == "flops"
    assert load(path, ["budget.cell_seconds=1.5"]).budget.cell_seconds == 1.5
    assert load(path, ["question=Why, though?"]).question == "Why, though?"


def test_settings_are_split_at_semicolons_since_they_hold_commas(written):
    spec = load(written(GOOD), ["axes.setting.denoise=sigma=5,color=rgb; sigma=50"])
    assert spec.settings["denoise"] == ("sigma=5,color=rgb", "sigma=50")


def test_fewer_tasks_by_override_leave_the_settings_of_the_others_unread(written):
    assert load(written(GOOD), ["axes.task=jpeg"]).settings == {"jpeg": (default_of("jpeg"),)}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("axes.windw=8", "axes.windw: unknown key; did you mean 'window'?"),
        ("axes.window=8,x", "axes.window: 'x' is text; write a whole number"),
        ("axes.window=", "axes.window: empty list; write at least one value, or remove the key"),
        ("axes.window", "is no key=value; write it like axes.top_k=64,128"),
        ("axes..window=8", "is no key=value; write it like axes.top_k=64,128"),
        ("axes=8", "axes: cannot be set as a whole; set one key, as in timing.samples=5"),
        ("timing.samples=5,6", "timing.samples: '5,6' is text; write a whole number"),
        ("timing.samples=", "timing.samples: no value; write one, or remove the key"),
        ("axs.window=8", "axs: unknown key; did you mean 'axes'?"),
        ("question.mark=1", "mark: cannot be set: the spec has text there"),
        ("axes.setting.denoise=sigma=x", "axes.setting.denoise: sigma: 'x' is no number"),
    ],
)
def test_a_wrong_override_is_reported_at_its_own_place(written, override: str, message: str):
    assert complaints(written(GOOD), override) == [f"--set {override}: {message}"]


SEVERAL = """\
question: Do both hold?
sweeps:
  - model: semanir/nano
    task: [denoise, jpeg]
    dataset: bundled
    backend: [gather, mask]
    setting:
      denoise: [sigma=25, sigma=50]
  - model: nonlocal_means
    task: denoise
    dataset: bundled
    seed: [0, 1]
    setting:
      denoise: [sigma=15, sigma=25]
metrics: [psnr]
budget: {max_cells: 30}
"""


def test_several_sweeps_are_read_each_with_its_own_axes(written):
    spec = load(written(SEVERAL))
    assert [sweep.values("model") for sweep in spec.sweeps] == [("semanir/nano",), ("nonlocal_means",)]
    assert [sweep.values("seed") for sweep in spec.sweeps] == [(0,), (0, 1)]
    assert spec.values("model") == ("semanir/nano", "nonlocal_means")
    assert spec.values("task") == ("denoise", "jpeg")
    assert spec.settings == {"denoise": ("sigma=25", "sigma=50", "sigma=15"), "jpeg": (default_of("jpeg"),)}


def test_one_sweep_means_what_axes_mean(written):
    one = GOOD.replace("axes:\n  model", "sweeps:\n- model")
    assert load(written(one)).digest == load(written(GOOD)).digest


def test_smoke_sets_its_overrides_before_those_of_the_command_line(written):
    text = GOOD + "smoke: [axes.window=8, timing.samples=2]\n"
    assert load(written(text)).values("window") == (8, 16)
    small = load(written(text), ["timing.samples=3"], smoke=True)
    assert small.values("window") == (8,)
    assert small.timing.samples == 3
    assert load(written(text)).digest == load(written(GOOD)).digest
    assert small.digest != load(written(GOOD)).digest


def test_a_spec_names_its_page_which_changes_no_cell(written):
    assert load(written(GOOD)).page == ""
    named = load(written(GOOD + "page: arms\n"))
    assert named.page == "arms"
    assert named.digest == load(written(GOOD)).digest


ARMS = """\
question: Which arm?
sweeps:
  - {model: semanir/small, task: denoise, dataset: bundled, backend: sdpa, weights: [x-w8-s0, x-w8-s1, x-w8-dense-s0]}
  - {model: ast/peer, task: denoise, dataset: bundled, backend: mask, weights: [x-y-dense-s0, none]}
  - {model: semanir/small, task: jpeg, dataset: bundled, backend: sdpa, weights: [x-jpeg-w8-s0, x-jpeg-assa-s0]}
awaited: [x-w8-s0, x-w8-s1, x-w8-dense-s0, x-y-dense-s0, x-jpeg-w8-s0, x-jpeg-assa-s0]
metrics: [psnr]
"""


def test_a_spec_names_the_arms_that_are_compared_which_changes_no_cell(written):
    assert load(written(ARMS)).comparisons == ()
    named = load(written(ARMS + "comparisons: [[w8, w8-dense], [x-w8, ast/peer], [w8, assa]]\n"))
    assert named.comparisons == (("w8", "w8-dense"), ("x-w8", "ast/peer"), ("w8", "assa"))
    assert named.digest == load(written(ARMS)).digest


def test_comparisons_travel_with_the_plan_into_a_committed_file(written, tmp_path: Path):
    """Its weights are not here, so that everything is skipped and nothing runs."""
    named = load(written(ARMS.replace(", none]", "]") + "comparisons: [[w8, w8-dense]]\n"))
    store = ResultStore.open(tmp_path / "store")
    run(expand(named), store)
    (plan,) = store.plans()
    archive.write(tmp_path / "records.jsonl", plan, {})
    assert archive.read(tmp_path / "records.jsonl").plan.comparisons == (("w8", "w8-dense"),)
    old = plan.model_dump(exclude={"comparisons"})
    assert StoredPlan.model_validate(old).comparisons == ()


def test_a_comparison_may_name_an_arm_that_was_set_away(written):
    few = ["axes.weights=x-w8-s0"]
    assert load(written(ARMS + "comparisons: [[w8, w8-dense]]\n"), few).comparisons == (("w8", "w8-dense"),)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("w8", "comparisons: is text; write a list of pairs, reference first: [[w8, w8-dense], [w8, w8-cosine]]"),
        ("[]", "comparisons: empty list; write a list of pairs, reference first: [[w8, w8-dense], [w8, w8-cosine]]"),
        ("[w8]", "comparisons.1: is text; write two arms, reference first, as in [w8, w8-dense]"),
        ("[[w8]]", "comparisons.1: is a list of 1; write two arms, reference first, as in [w8, w8-dense]"),
        ("[[w8, 3]]", "comparisons.1: 3 is a whole number; write the name of an arm"),
        ("[[w8, ' ']]", "comparisons.1: is blank; write the name of an arm"),
        (
            "[[w8, w8-dens]]",
            "comparisons.1: no arm named 'w8-dens'. Did you mean 'w8-dense'? It has: x-w8, x-w8-dense,",
        ),
        ("[[w8, x-w8-s0]]", "comparisons.1: no arm named 'x-w8-s0'. Did you mean"),
        ("[[w8, dense]]", "comparisons.1: 'dense' is more than one arm: x-w8-dense, x-y-dense; write more of the name"),
        ("[[w8, w8]]", "comparisons.1: compares 'w8' with itself; name two arms"),
        ("[[w8, x-w8]]", "comparisons.1: 'w8' and 'x-w8' are one arm; name two"),
        ("[[w8-dense, assa]]", "comparisons.1: 'w8-dense' and 'assa' share no task, setting and dataset; name arms"),
        ("[[w8, assa], [assa, w8]]", "comparisons.2: says the same as spec.yaml:8; keep one"),
        ("[[w8, w8-dense], [x-w8-dense, x-w8]]", "comparisons.2: says the same as spec.yaml:8; keep one"),
    ],
)
def test_wrong_comparisons_are_reported_with_their_line(written, added: str, message: str):
    (line,) = complaints(written(ARMS + f"comparisons: {added}\n"))
    assert line.startswith(f"spec.yaml:8: {message}")


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("page: 3\n", "page: 3 is a whole number; write the name of a page, as in ablation"),
        ("page: ' '\n", "page: is blank; write the name of a page, as in ablation"),
        ("page: [arms]\n", "page: is a list; write a single value"),
    ],
)
def test_a_page_that_is_no_name_is_reported(written, added: str, message: str):
    (line,) = complaints(written(GOOD + added))
    assert line.endswith(message)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("", "spec.yaml: smoke: the spec has none; write a list of overrides"),
        ("smoke: [axes.windw=8]\n", "smoke axes.windw=8: axes.windw: unknown key; did you mean 'window'?"),
        ("smoke: [samples]\n", "smoke samples: is no key=value"),
    ],
)
def test_a_wrong_smoke_is_reported(written, added: str, message: str):
    with pytest.raises(SpecError) as caught:
        load(written(GOOD + added), smoke=True)
    assert message in str(caught.value)


def test_every_smoke_of_the_project_is_read_and_runs_without_a_gpu():
    for path in EXPERIMENTS:
        if load(path).smoke:
            assert load(path, smoke=True).values("device") == ("cpu",)


def test_an_override_of_axes_goes_into_every_sweep(written):
    spec = load(written(SEVERAL), ["axes.seed=3", "axes.images=2"])
    assert [(sweep.values("seed"), sweep.values("images")) for sweep in spec.sweeps] == [((3,), (2,))] * 2
    assert complaints(written(SEVERAL), "axes.sed=3") == [
        f"--set axes.sed=3: sweeps.{number}.sed: unknown key; did you mean 'seed'?" for number in (1, 2)
    ]


def several(old: str, new: str) -> str:
    assert old in SEVERAL
    return SEVERAL.replace(old, new)


MALFORMED_SWEEPS = {
    "axes and sweeps": (
        SEVERAL + "axes: {model: semanir/nano, task: denoise, dataset: bundled}\n",
        ["spec.yaml:17: axes: the spec has sweeps as well; make this an item of them"],
    ),
    "no list": (
        "question: Why?\nsweeps: {model: semanir/nano}\nmetrics: [psnr]\n",
        ["spec.yaml:2: sweeps: is a mapping; write a list of axes: "],
    ),
    "an empty list": (
        "question: Why?\nsweeps: []\nmetrics: [psnr]\n",
        ["spec.yaml:2: sweeps: empty list; write at least one sweep, or `axes` alone"],
    ),
    "a word among them": (
        several("metrics:", "  - all\nmetrics:"),
        ["spec.yaml:15: sweeps.3: is text; write a mapping with model, task, "],
    ),
    "a sweep without its dataset": (
        several("    dataset: bundled\n    seed", "    seed"),
        ["spec.yaml:9: sweeps.2.dataset: required key is missing; add it, with one or more of: bundled"],
    ),
    "a misspelt axis of the second": (
        several("seed: [0, 1]", "sed: [0, 1]"),
        ["spec.yaml:12: sweeps.2.sed: unknown key; did you mean 'seed'?"],
    ),
    "a setting for a task of another sweep": (
        several("      denoise: [sigma=15", "      jpeg: [quality=10]\n      denoise: [sigma=15"),
        [
            "spec.yaml:14: sweeps.2.setting.jpeg: 'jpeg' is no task of this sweep; "
            "add it to sweeps.2.task or remove this; sweeps.2.task has denoise"
        ],
    ),
    "a k that its own window cannot hold": (
        several("seed: [0, 1]", "window: 4\n    top_k: 17"),
        ["spec.yaml:13: sweeps.2.top_k: 17 exceeds the 16 tokens of the largest window, 4; "],
    ),
    "too many cells together": (
        several("seed: [0, 1]", f"seed: {list(range(13))}"),
        [
            "spec.yaml:9: sweeps.2: 32 cells in 2 sweeps, 26 of them here; budget.max_cells allows 30: "
            "shorten the largest axes, seed (13), task with its settings (2)"
        ],
    ),
}


@pytest.mark.parametrize(("text", "expected"), MALFORMED_SWEEPS.values(), ids=MALFORMED_SWEEPS)
def test_malformed_sweeps_are_refused_with_line_and_remedy(written, text: str, expected: list[str]):
    test_a_malformed_spec_is_refused_with_line_and_remedy(written, text, expected)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("~", None),
        ("", None),
        ("TRUE", True),
        ("yes", "yes"),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("0o18", "0o18"),
        ("1_000", "1_000"),
        ("-1.5e3", -1500.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("1" * 50, float("1" * 50)),
        ("12:30", "12:30"),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, value: object):
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


@pytest.mark.parametrize(
    ("added", "overrides", "expected"),
    [
        ("", (), []),
        ("profile: false\n", (), []),
        ("profile: true\n", (), [MetricChoice(name="profile")]),
        ("", ("profile=true",), [MetricChoice(name="profile")]),
        ("profile: true\n", ("profile=false",), []),
    ],
)
def test_a_spec_asks_for_profiles_in_one_word(written, added: str, overrides: tuple[str, ...], expected: list):
    spec = load(written(GOOD + added), overrides)
    assert [choice for choice in spec.metrics if choice.name not in ("psnr", "memory")] == expected


def test_a_profile_that_is_among_the_metrics_stays_restricted(written):
    listed = GOOD.replace("  - psnr\n", "  - psnr\n  - profile: {only: {backend: [mask]}}\n")
    restricted = MetricChoice(name="profile", only={"backend": ("mask",)})
    assert restricted in load(written(listed + "profile: true\n")).metrics
    assert len(load(written(listed + "profile: true\n")).metrics) == 3


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("profile: yes\n", "profile: 'yes' is text; write true or false"),
        ("profile: 1\n", "profile: 1 is a whole number; write true or false"),
        ("profile: [true]\n", "profile: is a list; write a single value"),
    ],
)
def test_a_profile_is_asked_for_or_not(written, added: str, message: str):
    (line,) = complaints(written(GOOD + added))
    assert line.endswith(message)


def test_the_schema_knows_every_key_and_name():
    properties = json_schema()["properties"]
    axes = properties["axes"]["properties"]
    assert set(axes) == set(Cell.model_fields) - {"benchmark"}, "a benchmark is imported, never asked for"
    assert axes["task"]["anyOf"][0] == {"enum": TASKS.names()}
    assert "semanir/small" in axes["model"]["anyOf"][0]["enum"]
    assert axes["window"]["description"] == "Side of the attention window in tokens."
    assert properties["metrics"]["anyOf"][0]["anyOf"][0] == {"enum": METRICS.names()}
    assert set(properties["timing"]["properties"]) == set(Timing.model_fields)
    assert "Time limit" in properties["budget"]["properties"]["cell_seconds"]["description"]


def test_every_key_of_the_schema_is_a_key_of_the_reader(written):
    known = {"question", "axes", "sweeps", "metrics", "timing", "budget", "exclude", "page", "awaited", "smoke"}
    assert set(json_schema()["properties"]) == known | {"profile", "paper", "comparisons"}
    assert json_schema()["properties"]["sweeps"]["items"] == json_schema()["properties"]["axes"]
    assert set(specs.CEILINGS) <= set(Cell.model_fields)


def test_reading_and_unfolding_a_spec_imports_no_torch():
    code = (
        "import sys; from harness.plan import expand; from harness.spec import json_schema, load\n"
        f"json_schema(); expand(load({str(EXPERIMENTS[0])!r})); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
