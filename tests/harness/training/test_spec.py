"""Training specs: what they may say, and how they say what is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.catalogs import TASKS
from harness.spec import SpecError
from harness.training.spec import TrainingSpec, load, load_all

COMMITTED = sorted((Path(__file__).parents[3] / "experiments" / "train").glob("*.yaml"))

Load = Callable[..., TrainingSpec]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_every_committed_spec_is_right_wherever_its_images_are(path: Path) -> None:
    for spec in load_all(path):
        windows = {window.window for window in spec.windows} or {None}
        assert spec.validation_window[0] in windows


def test_there_is_a_spec_for_each_task_and_their_weights_have_names_of_their_own() -> None:
    specs = [spec for path in COMMITTED for spec in load_all(path)]
    assert {spec.task for spec in specs} == set(TASKS)
    assert len({spec.name for spec in specs}) == len(specs)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stepz=4", r"--set stepz=4: stepz: unknown key; did you mean 'steps'\?"),
        ("optimiser.xyz=1", r"optimiser\.xyz: unknown key; write one of: learning_rate, betas"),
        ("steps=0", r"steps: 0 is too small; write at least 1"),
        ("steps=many", r"steps: 'many' is not a whole number"),
        ("ema=1.0", r"ema: 1\.0 is too large; write less than 1"),
        ("precision=fp8", r"precision: 'fp8' is not known; write 'auto', 'bf16-mixed' or '32-true'"),
        ("optimiser=fast", r"optimiser: 'fast' is no mapping; write one with learning_rate"),
        ("data=[]", r"data: has 0 items; write at least 1"),
        ("data.1.exclude=[12003]", r"data\.1\.exclude\.1: 12003 is not a text: quote it"),
        ("data.1={exclude: [a]}", r"data\.1: write either `dataset`, a name, or `folder`"),
        ("data.2.odds=3", r"2: the list has items 1 to 1"),
        ("data.1.dataset=BSDS50", r"data\.1\.dataset: no dataset 'BSDS50'\. Did you mean 'BSDS500"),
        ("tests=[Set55]", r"tests\.1: no dataset 'Set55'"),
        ("model=semanir/smal", r"model: no 'semanir/smal'\. Did you mean 'semanir/small'\?"),
        ("model=bicubic", r"model: bicubic has nothing to train"),
        ("backend=mosk", r"backend: no backend 'mosk'\. Did you mean 'mask'\?"),
        ("backend=none", r"backend: semanir/nano needs an attention backend"),
        ("task=denoize", r"task: no task 'denoize'\. Did you mean 'denoise'\?"),
        ("setting=sigma=300", r"setting\.1: sigma: 300 lies outside 0\.\.100"),
        ("setting=[sigma=15, sigma=50]", r"the training sees several settings; say which one the card names"),
        ("setting=['sigma=15', 'color=rgb']", r"one network cannot serve both of sigma=15 and color=rgb"),
        ("windows=[]", r"semanir/nano needs windows"),
        ("windows.1.top_k=[2, 17]", r"windows\.1\.top_k: top_k 17 exceeds the 16 tokens of window 4"),
        ("validation.top_k=65", r"validation: top_k 65 exceeds the 16 tokens of window 4"),
        ("model=dncnn/S", r"backend: dncnn/S has no attention; remove the key"),
        ("colour.gain=[2, 1]", r"colour\.gain: 2\.0\.\.1\.0 is empty"),
        ("steps", r"is no key=value; write it like steps=200"),
        ("steps=", r"has no value"),
        ("name=My Net", r"name: 'My Net': String should match pattern"),
    ],
)
def test_a_mistake_is_named_with_its_place_the_rule_and_the_remedy(tiny: Load, override: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        tiny(override)


def test_problems_of_a_file_come_with_their_lines_all_at_once(tiny_file: Path) -> None:
    text = tiny_file.read_text().replace("batch: 4", "batch: 0").replace("steps: 12", "stepz: 12")
    tiny_file.write_text(text)
    with pytest.raises(SpecError) as raised:
        load(tiny_file)
    lines = text.splitlines()
    assert f"tiny.yaml:{lines.index('batch: 0') + 1}: batch: 0 is too small" in str(raised.value)
    assert f"tiny.yaml:{lines.index('stepz: 12') + 1}: stepz: unknown key" in str(raised.value)
    assert "tiny.yaml:1: steps: required key is missing" in str(raised.value)


def test_an_empty_file_is_told_what_to_hold(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing yet\n")
    with pytest.raises(SpecError, match=r"empty\.yaml:1: is empty; write at least name, task, data and steps"):
        load(file)


def test_one_value_stands_for_a_list_of_one(tiny: Load) -> None:
    assert tiny("windows.2.top_k=4") == tiny("windows.2.top_k=[4]")


def test_a_margin_keeps_the_scale(tiny: Load) -> None:
    with pytest.raises(SpecError, match=r"margin: 3 is no multiple of the scale, 2; write 2"):
        tiny("task=sr", "setting=scale=2", "margin=3")


def test_pairs_are_the_only_setting_of_a_source(tiny: Load) -> None:
    blur = ("task=deblur", "ships_as=kernel=pairs", "validation.setting=kernel=motion")
    with pytest.raises(SpecError, match=r"data\.1: pairs come from a dataset and are its only setting"):
        tiny(*blur, "setting=[kernel=pairs, kernel=motion]")
    with pytest.raises(SpecError, match=r"data\.1\.scales: pairs are not resized"):
        tiny(*blur, "setting=kernel=pairs", "data.1.scales=[1, 0.5]")


def test_differences_name_what_decides_the_weights_and_nothing_else(tiny: Load) -> None:
    earlier = tiny()
    assert tiny("checkpoint_every=9", "workers=2").differences(earlier) == []
    assert tiny("optimiser.learning_rate=1e-3", "windows.1.top_k=[2, 9]").differences(earlier) == [
        "windows.1.top_k.2: 8 then, 9 now",
        "optimiser.learning_rate: 0.003 then, 0.001 now",
    ]


def test_reading_a_spec_loads_no_torch(tiny_file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harness.training.spec import load; "
        f"load(Path({str(tiny_file)!r})); print({{'torch', 'lightning_fabric'}} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
