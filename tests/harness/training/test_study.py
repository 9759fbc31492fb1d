"""Several trainings in one file: their names, their arms, and the command that trains them in order."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from harness import cli
from harness.catalogs import METRICS, MODELS
from harness.plan import request_for
from harness.record import Cell, Timing
from harness.spec import SpecError
from harness.spec import load as load_experiment
from harness.training.spec import TrainingSpec, load, load_all
from harness.trial import prepare
from harness.weights import NAME, arm_and_seed, named
from semanir.model import Request

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
ABLATIONS = (EXPERIMENTS / "train" / "ablations.yaml", EXPERIMENTS / "train" / "ablations-jpeg.yaml")
ASKING = ["attention", "sharing", "similarity", "topk", "window"]
"""The experiments that these networks were trained for."""

Load = Callable[..., TrainingSpec]

TINY_DATA = "  - {dataset: bundled, exclude: [camera.png]}"

ARMS = """\
arms:
  few: ["windows=[{window: 4, top_k: 2}]"]
  many:
    - "windows=[{window: 8, top_k: 32}]"
    - steps=1
seeds: [0, 3]
"""


@pytest.fixture
def study(tiny_file: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Write the tiny spec, on two small images of its own, with more text behind it."""
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        noise = np.random.default_rng(ord(name)).integers(0, 256, (40, 40), np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / f"{name}.png")
    own = f"  - folder: {tmp_path / 'images'}"
    text = tiny_file.read_text().replace("steps: 12", "steps: 2").replace(TINY_DATA, own)
    assert own in text

    def write(more: str = ARMS) -> Path:
        file = tmp_path / "study.yaml"
        file.write_text(text + more)
        return file

    return write


def call(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


# what a file declares


@pytest.mark.parametrize(
    ("more", "names", "seeds"),
    [
        ("", ["tiny"], [0]),
        ("seed: 5\n", ["tiny"], [5]),
        ("seeds: 5\n", ["tiny-s5"], [5]),
        ("seeds: [2, 0]\n", ["tiny-s2", "tiny-s0"], [2, 0]),
        ("arms: {b: [steps=3], a.1: []}\nseed: 7\n", ["tiny-b", "tiny-a.1"], [7, 7]),
        (ARMS, ["tiny-few-s0", "tiny-few-s3", "tiny-many-s0", "tiny-many-s3"], [0, 3, 0, 3]),
    ],
)
def test_trainings_are_named_by_arm_and_seed_in_the_order_of_the_file(
    study: Callable[..., Path], more: str, names: list[str], seeds: list[int]
) -> None:
    found = load_all(study(more))
    assert [spec.name for spec in found] == names
    assert [spec.seed for spec in found] == seeds


def test_an_arm_changes_the_base_and_the_command_line_has_the_last_word(study: Callable[..., Path]) -> None:
    few, many = (load_all(study())[index] for index in (0, 2))
    assert (few.windows[0].top_k, few.steps) == ((2,), 2)
    assert (many.windows[0].top_k, many.steps) == ((32,), 1)
    assert {spec.steps for spec in load_all(study(), ["steps=9"])} == {9}
    assert [spec.name for spec in load_all(study(), ["name=other", "seeds=[1]"])] == ["other-few-s1", "other-many-s1"]


def test_one_training_is_loaded_alone_and_of_several_one_has_to_be_chosen(study: Callable[..., Path]) -> None:
    assert load(study("seeds: [4]\n")).name == "tiny-s4"
    with pytest.raises(
        SpecError, match=r"study\.yaml: declares 4 trainings; choose one of: tiny-few-s0, tiny-few-s3, "
    ):
        load(study())


arms = st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True).filter(lambda arm: arm_and_seed(f"x-{arm}")[1] is None)


@given(name=arms, arm=st.just("") | arms, seed=st.none() | st.integers(0, 2**63 - 1))
def test_arm_and_seed_are_read_off_the_name_that_they_made(name: str, arm: str, seed: int | None) -> None:
    made = named(name, arm, seed)
    assert arm_and_seed(made) == (named(name, arm), seed) if seed is not None else made == named(name, arm)
    assert named(*(arm_and_seed(made)[0], "", seed)) == made


@pytest.mark.parametrize("name", ["topk", "topk-s", "s0", "-s0", "topk-s1a", "topk_s1", "DnCNN-S/net-s1.pth", ""])
def test_a_name_that_ends_otherwise_tells_no_seed(name: str) -> None:
    assert arm_and_seed(name) == (name, None)


# what is wrong with a file, and where


@pytest.mark.parametrize(
    ("more", "line", "message"),
    [
        ("arms: {a: [stepz=3]}\n", 0, "arms.a: stepz: unknown key; did you mean 'steps'?"),
        ("arms:\n  a: []\n  b:\n    - steps=0\n", 3, "arms.b: steps: 0 is too small; write at least 1"),
        ("arms:\n  a: [ema=0]\n  b: [steps]\n", 2, "arms.b: is no key=value; write it like steps=200"),
        (
            'arms:\n  a: []\n  b:\n    - "windows=[{window: 4, top_k: [2, 4, 17]}]"\n',
            3,
            "arms.b: windows.1.top_k: top_k 17 exceeds the 16 tokens of window 4",
        ),
        ("arms:\n  a: []\n  b: [windows.3.top_k=4]\n", 2, "arms.b: 3: the list has items 1 to 2; name one of them"),
        (
            "arms:\n  a: [model=dncnn/S, backend=none]\n  b: []\n",
            -10,
            "arms.a: windows: dncnn/S has no dictionary and takes no",
        ),
        (
            'arms:\n  a: [model=swinir/nano, "windows=[]", sharing=layer]\n',
            1,
            "arms.a: sharing: swinir/nano has no choice of it; remove the key",
        ),
        ("arms:\n  a: [seeds=3]\n", 1, "arms.a: an arm cannot set seeds, which is said of all arms; write it beside"),
        ("arms:\n  a: [name=mine]\n", 1, "arms.a: an arm cannot set name"),
        ("arms:\n  a:\n    - windows: 4\n", 2, "arms.a: is no override; write each as a text in quotes"),
        ("arms:\n  a: [3]\n", 1, "arms.a: is no override; write each as a text in quotes"),
        ("arms: [steps=3]\n", 0, "arms: names no arm; write a mapping from names to overrides"),
        ("arms: {}\n", 0, "arms: names no arm; write a mapping from names to overrides"),
        ("arms:\n  s1: []\n", 1, "arms: 's1': an arm's name has small letters, digits, dots and dashes, and does not"),
        ("arms:\n  k-s12: []\n", 1, "arms: 'k-s12': an arm's name has small letters"),
        ("arms:\n  Big: []\n", 1, "arms: 'Big': an arm's name has small letters"),
        ("seeds: []\n", 0, "seeds: empty list; write at least one seed, or remove the key"),
        ("seeds: [0, 1, 0]\n", 0, "seeds: 0 is listed twice; keep one"),
        ("seeds: [0, -1]\n", 0, "seeds: '-1' is no seed; write a whole number from 0"),
        ("seeds: [true]\n", 0, "seeds: 'true' is no seed; write a whole number from 0"),
        ("seeds: {a: 1}\n", 0, "seeds: 'a list or mapping' is no seed"),
        ("seed: 1\nseeds: [0]\n", 1, "seeds: the spec has `seed` as well; keep one of them"),
        ("armz: {a: []}\n", 0, "armz: unknown key; did you mean 'arms'?"),
    ],
)
def test_a_mistake_in_an_arm_is_named_with_its_line_and_the_usual_message(
    study: Callable[..., Path], more: str, line: int, message: str
) -> None:
    file = study(more)
    with pytest.raises(SpecError) as raised:
        load_all(file)
    first = len(file.read_text().splitlines()) - len(more.splitlines()) + 1
    [said] = str(raised.value).splitlines()
    assert said.startswith(f"{file}:{first + line}: ")
    assert message in said


def test_the_problems_of_all_arms_are_told_at_once_and_a_common_one_once(study: Callable[..., Path]) -> None:
    more = "arms:\n  a: [batch=0]\n  b: [patch=2]\n  c: []\n"
    with pytest.raises(SpecError) as raised:
        load_all(study("ema: 2\n" + more))
    said = [line.partition(": ")[2] for line in str(raised.value).splitlines()]
    assert said == [
        "ema: 2 is too large; write less than 1.0",
        "arms.a: batch: 0 is too small; write at least 1",
        "arms.b: patch: 2 is too small; write at least 8",
    ]


def test_what_only_one_arm_makes_wrong_of_the_base_names_the_arm(study: Callable[..., Path]) -> None:
    file = study("arms:\n  a: []\n  b: [task=sr, setting=scale=2]\nmargin: 3\n")
    with pytest.raises(SpecError) as raised:
        load_all(file)
    line = file.read_text().splitlines().index("margin: 3") + 1
    assert str(raised.value) == f"{file}:{line}: arms.b: margin: 3 is no multiple of the scale, 2; write 2"


def test_a_mistake_of_the_command_line_is_told_once(study: Callable[..., Path]) -> None:
    with pytest.raises(SpecError) as raised:
        load_all(study(), ["steps=0"])
    assert str(raised.value) == "--set steps=0: steps: 0 is too small; write at least 1"


def test_names_that_arm_and_seed_make_too_long_are_refused(study: Callable[..., Path]) -> None:
    assert len(load_all(study(f"arms: {{{'a' * 59}: []}}\n"))) == 1
    for more in (f"arms: {{{'a' * 60}: []}}\n", f"arms: {{{'a' * 57}: []}}\nseeds: 0\n"):
        with pytest.raises(SpecError, match=r"name: 'tiny-a+\.\.\. has 65 letters and may have 64; shorten the name"):
            load_all(study(more))


# the switches of a network


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("sharing=layer", "sharing", "layer"),
        ("similarity=cosine", "similarity", "cosine"),
        ("shift=none", "shift", "none"),
        ("score=dot_none", "score", "dot_none"),
    ],
)
def test_a_switch_reaches_the_network_and_counts_as_another_recipe(
    tiny: Load, override: str, key: str, value: str
) -> None:
    plain, switched = tiny().request(4, 2), tiny(override).request(4, 2)
    default = Request.__dataclass_fields__[key].default
    assert (getattr(plain, key), getattr(switched, key)) == (default, value)
    assert tiny(override).differences(tiny()) == [f"{key}: {default} then, {value} now"]


@pytest.mark.parametrize("override", ["sharing=layer", "similarity=cosine", "shift=layer", "score=dot_rpb"])
def test_a_switch_that_a_model_does_not_have_is_refused_with_the_remedy(tiny: Load, override: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(SpecError, match=rf"--set {override}: {key}: dncnn/S has no choice of it; remove the key"):
        tiny("model=dncnn/S", "backend=none", "windows=[]", override)


def test_a_table_of_positions_serves_one_window_the_one_of_the_validation_included(tiny: Load) -> None:
    table, wanted = "score=dot_rpb", r"windows: the parameters of semanir/nano depend on the window; write one window"
    with pytest.raises(SpecError, match=wanted):
        tiny(table)
    with pytest.raises(SpecError, match=wanted):
        tiny(table, "windows=[{window: 4, top_k: 2}]", "validation.window=8")
    assert tiny(table, "windows=[{window: 4, top_k: 2}]").score == "dot_rpb"


# the command


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_trainings_are_done_in_order_each_in_its_folder_and_finished_ones_are_passed_by(
    study: Callable[..., Path], tmp_path: Path
) -> None:
    file, out = study(), tmp_path / "out"
    code, said, _ = call("train", file, "--out", out, "--only", "tiny-many-s3", "--only", "tiny-few-s0")
    assert code == 0
    assert said.index("tiny-few-s0: ") < said.index("tiny-many-s3: ")
    assert names_in(out) == ["leaks.json", "tiny-few-s0", "tiny-many-s3"]
    assert len(json.loads((out / "leaks.json").read_text())) == 1  # the images were compared once for all
    card = json.loads((out / "tiny-few-s0" / "tiny-few-s0.json").read_text())
    assert card["name"] == "tiny-few-s0"
    assert {"arms", "seeds"}.isdisjoint(card["training"]["recipe"])
    assert card["training"]["recipe"]["sharing"] == "stage"
    before = (out / "tiny-few-s0" / "tiny-few-s0.safetensors").stat().st_mtime_ns

    some = ("--only", "tiny-few-s0", "--only", "tiny-few-s3")
    code, said, _ = call("train", file, "--out", out, "--resume", *some)
    assert code == 0
    assert f"tiny-few-s0: finished before, {out / 'tiny-few-s0' / 'tiny-few-s0.json'}" in said.replace("\n", "")
    assert "tiny-few-s3: 1" in said  # parameters, of a training that begins
    assert names_in(out) == ["leaks.json", "tiny-few-s0", "tiny-few-s3", "tiny-many-s3"]
    assert (out / "tiny-few-s0" / "tiny-few-s0.safetensors").stat().st_mtime_ns == before


def test_a_training_of_a_study_is_the_one_that_it_would_be_alone(study: Callable[..., Path], tmp_path: Path) -> None:
    """State that one training leaves in the process, as torch's generator, must not reach the next."""
    names = ("tiny-few-s0", "tiny-few-s3")
    assert (
        call("train", study(), "--out", tmp_path / "out", *(word for name in names for word in ("--only", name)))[0]
        == 0
    )
    alone = ("name=tiny-few-s3", "seed=3", "windows=[{window: 4, top_k: 2}]")
    sets = (word for override in alone for word in ("--set", override))
    assert call("train", study(""), "--out", tmp_path / "alone", *sets)[0] == 0
    files = tmp_path / "alone" / "tiny-few-s3.safetensors", tmp_path / "out" / "tiny-few-s3" / "tiny-few-s3.safetensors"
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_finished_training_by_another_spec_is_not_passed_by(study: Callable[..., Path], tmp_path: Path) -> None:
    some = ("--out", tmp_path / "out", "--only", "tiny-few-s0")
    assert call("train", study(), *some)[0] == 0
    code, _, said = call("train", study(), *some, "--resume", "--set", "ema=0.5")
    assert code == 2
    assert "holds a training by another spec; choose another --out, or undo:\n  ema: 0.999 then, 0.5 now" in said
    code, _, said = call("train", study(), *some)
    assert code == 2
    assert "add --resume to go on" in said


def test_a_training_whose_weights_are_damaged_is_not_passed_by(study: Callable[..., Path], tmp_path: Path) -> None:
    some = ("--out", tmp_path / "out", "--only", "tiny-few-s0")
    call("train", study(), *some)
    weights = tmp_path / "out" / "tiny-few-s0" / "tiny-few-s0.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    code, said, _ = call("train", study(), *some, "--resume")
    assert code == 0
    assert "finished before" not in said
    assert weights.read_bytes() == whole


def test_one_that_diverges_leaves_the_others_to_be_trained(study: Callable[..., Path], tmp_path: Path) -> None:
    file = study('arms:\n  wild: ["optimiser={learning_rate: 1e15, warmup: 0}", steps=30]\n  tame: []\n')
    code, _, said = call("train", file, "--out", tmp_path / "out")
    assert code == 1
    assert "tiny-wild: step " in said
    assert (tmp_path / "out" / "tiny-tame" / "tiny-tame.json").is_file()
    assert not (tmp_path / "out" / "tiny-wild" / "tiny-wild.json").exists()


@pytest.mark.parametrize(
    ("more", "known"), [(ARMS, "tiny-few-s0, tiny-few-s3, tiny-many-s0, tiny-many-s3"), ("", "tiny")]
)
def test_an_unknown_name_is_answered_with_all_names(study: Callable[..., Path], more: str, known: str) -> None:
    code, _, said = call("train", study(more), "--only", "tiny-few-s1")
    assert code == 2
    assert "--only tiny-few-s1: no training of this spec. Did you mean 'tiny" in said
    assert f"It has: {known}" in said


def test_a_spec_with_one_training_trains_in_the_folder_itself_and_its_weights_are_found_from_there(
    study: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell of the weights gives the number of their card, up to the rounding of what is shipped."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEMANIR_DATA", str(tmp_path / "nowhere"))
    assert call("train", study(""), "--out", "here")[0] == 0
    assert (tmp_path / "here" / "tiny.json").is_file()
    assert call("train", study(""))[0] == 0
    card = json.loads((tmp_path / "results" / "training" / "tiny" / "tiny.json").read_text())
    assert card["sha256"] == json.loads((tmp_path / "here" / "tiny.json").read_text())["sha256"]
    judged = card["training"]["validation"]
    cell = Cell(model="semanir/nano", weights="tiny", task="denoise", dataset="bundled", setting="sigma=25",
                backend="sdpa", window=judged["window"], top_k=judged["top_k"], image_size=32)  # fmt: skip
    [measured] = METRICS["psnr"].measure(prepare(cell, Timing())).measurements
    assert dict(zip(measured.labels, measured.samples, strict=True))["camera"] == pytest.approx(
        judged["psnr_db"], abs=0.02
    )


def test_a_name_means_a_spec_of_the_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "EXPERIMENTS", tmp_path / "experiments")
    monkeypatch.chdir(tmp_path)
    for place in ("experiments/train/topk.yaml", "topk.yaml"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("")
    meant = cli._training_file
    assert meant("topk.yaml") == Path("topk.yaml")
    assert meant("topk") == tmp_path / "experiments" / "train" / "topk.yaml"
    assert meant("absent") == Path("absent")


# the committed ones


def test_every_training_of_the_ablations_is_for_a_question_and_every_question_for_trainings_of_them() -> None:
    """Each network also runs as it was trained."""
    trainings = {spec.name: spec for study in ABLATIONS for spec in load_all(study)}
    awaited = set()
    for name in ASKING:
        experiment = load_experiment(EXPERIMENTS / name / "spec.yaml")
        used = set()
        for sweep in experiment.sweeps:
            for weights in sweep.values("weights"):
                if weights not in trainings:
                    continue
                used.add(weights)
                made = trainings[str(weights)]
                assert sweep.values("model") == (made.model,)
                assert sweep.settings == {made.task: (made.setting[0],)}
                for key in ("sharing", "similarity", "shift", "score"):
                    usual = "dot" if key == "similarity" else None
                    assert {value or usual for value in sweep.values(key)} == {getattr(made, key) or usual}
                if made.windows:
                    assert sweep.values("window") == (made.windows[0].window,)
                    assert set(made.windows[0].top_k) <= set(sweep.values("top_k"))
        assert used == set(experiment.awaited)
        assert used
        awaited |= used
    assert awaited == set(trainings)


@pytest.mark.parametrize(("study", "seeds"), [*zip(ABLATIONS, ({0, 1, 2}, {0}), strict=True)])
def test_the_arms_of_the_ablations_differ_in_the_network_alone(study: Path, seeds: set[int]) -> None:
    """Budget, data and randomness are equal, so that a difference in quality is one of the networks."""
    first, *others = load_all(study)
    network = {"model", "windows", "sharing", "similarity", "shift", "score"}
    for spec in others:
        if spec.seed == first.seed:
            changed = {line.partition(":")[0].partition(".")[0] for line in spec.differences(first)}
            assert changed - {"name"} <= network
    assert {arm_and_seed(spec.name)[1] for spec in (first, *others)} == seeds


def test_the_second_study_trains_as_the_first_but_for_its_task_and_what_it_leaves_out() -> None:
    first, second = (load_all(study)[0] for study in ABLATIONS)
    changed = {line.partition(":")[0].partition(".")[0] for line in second.differences(first)}
    assert changed == {"name", "task", "setting", "data", "tests", "validation"}


def test_both_networks_for_rain_are_trained_alike() -> None:
    ours, theirs = (load(EXPERIMENTS / "train" / f"{name}.yaml") for name in ("weather", "weather-ast"))
    changed = {re.sub(r"\.\d.*", "", line.partition(":")[0]) for line in theirs.differences(ours)}
    assert changed == {"name", "model", "windows", "validation.window", "validation.top_k"}


def test_the_networks_of_the_experiment_on_attention_are_of_equal_size() -> None:
    experiment = load_experiment(EXPERIMENTS / "attention" / "spec.yaml")
    counts = {}
    for sweep in experiment.sweeps:
        model = str(sweep.values("model")[0])
        cell = Cell(model=model, task="denoise", dataset="Set12", setting="sigma=25")
        counts[model] = MODELS[model.partition("/")[0]].parameters(request_for(cell))
    assert counts == {"semanir/small": 355_932, "ast/peer": 346_539, "ast/peer-dense": 346_529}


def test_names_of_weights_are_those_that_a_training_may_have() -> None:
    assert TrainingSpec.model_fields["name"].metadata[0].pattern == f"^{NAME}$"
