"""`semanir-bench train` as a person starts it: killed and resumed, on two processes, out of room, and to a good end."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from harness import cli, fidelity
from harness.training.spec import load
from harness.training.validation import Validator

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "experiments" / "train" / "smoke.yaml"
COMMAND = ["-m", "harness.cli", "train", str(SMOKE)]
SHORT = ["steps=24", "batch=4", "patch=32", "checkpoint_every=4", "validation.every=100", "validation.image_size=32"]


def arguments(folder: Path, *overrides: str) -> list[str]:
    return ["--out", str(folder), *(word for override in overrides for word in ("--set", override))]


def run(command: list[str], *, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, cwd=ROOT, timeout=timeout
    )


def run_here(*arguments: str) -> tuple[int, str]:
    """Train in this process, which has imported torch already; return the exit code and what was said of an end."""
    result = CliRunner().invoke(cli.app, ["train", str(SMOKE), *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "checkpoints" / "step-00000024.safetensors").read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_training_killed_again_and_again_equals_one_that_ran_through(tmp_path: Path) -> None:
    code, said = run_here(*arguments(tmp_path / "whole", *SHORT))
    assert code == 0, said
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    randomness = random.Random(0)
    kills = 0
    killed = tmp_path / "killed"
    while not (killed / "smoke.json").exists():
        process = subprocess.Popen(
            [sys.executable, *COMMAND, *arguments(killed, *SHORT), "--resume"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        assert process.stdout is not None
        process.stdout.readline()  # the training begins
        time.sleep(randomness.uniform(0.05, 0.5))
        if kills < 3 and process.poll() is None:
            process.kill()
            kills += 1
        said = process.communicate(timeout=200)[0]
        assert process.returncode in (0, -9), said
    assert kills
    assert digest(killed) == digest(tmp_path / "whole")
    assert (killed / "smoke.safetensors").read_bytes() == (tmp_path / "whole" / "smoke.safetensors").read_bytes()


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one_with_the_whole_batch(tmp_path: Path) -> None:
    """After one step AdamW's first moment is a tenth of the clipped gradient; sums differ by float32's rounding."""
    once = ["steps=1", "batch=4", "patch=32", "precision=32-true", "validation.image_size=32", "clip.first_norm=1e9"]
    code, said = run_here(*arguments(tmp_path / "alone", *once))
    assert code == 0, said
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    shared = run([*launcher, *COMMAND, *arguments(tmp_path / "shared", *once)])
    assert shared.returncode == 0, shared.stderr
    assert "2 processes" in shared.stdout
    assert shared.stdout.count("smoke.json") == 1
    one, two = (
        load_file(tmp_path / name / "checkpoints" / "step-00000001.safetensors") for name in ("alone", "shared")
    )
    assert one.keys() == two.keys()
    moments = [name for name in one if name.endswith("exp_avg")]
    assert len(moments) > 20
    largest = max(float(np.abs(one[name]).max()) for name in moments)
    for name in moments:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-4, atol=1e-6 * largest, err_msg=name)
    assert json.loads((tmp_path / "shared" / "smoke.json").read_text())["training"]["processes"] == 2


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_the_training_with_1_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    room = 4_000  # the files that come before the first checkpoint fit, its tensors do not
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {resource.RLIM_INFINITY})); "
        "from harness.cli import main; main()"
    )
    failed = run(["-c", code, *COMMAND[2:], *arguments(tmp_path / "out", *SHORT)])
    assert failed.returncode == 1, failed.stderr
    assert "the checkpoint could not be written (File too large); make room and go on with --resume" in failed.stderr
    assert list((tmp_path / "out" / "checkpoints").iterdir()) == []
    code, said = run_here(*arguments(tmp_path / "out", *SHORT), "--resume")
    assert code == 0, said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "code", "words"),
    [
        (
            ["optimiser={learning_rate: 1e15, warmup: 0}", "steps=30"],
            1,
            "keeps the newest checkpoint, if any; --resume goes on from there",
        ),
        (["stepz=3"], 2, "did you mean 'steps'?"),
        (["data.1.exclude=[coffee.png]"], 2, "bundled/camera is bundled/camera of a test set (the same pixels)"),
        (["data=[{folder: nowhere}]"], 2, "nowhere: there is no such folder"),
    ],
)
def test_what_ends_a_training_is_said_in_words_and_by_the_exit_code(
    tmp_path: Path, overrides: list[str], code: int, words: str
) -> None:
    ended, said = run_here(*arguments(tmp_path, *SHORT, *overrides))
    assert ended == code, said
    assert words in said


@pytest.mark.slow
def test_the_smoke_training_beats_total_variation_on_the_photograph_that_it_never_saw(tmp_path: Path) -> None:
    """The classical method gets the best of its weights, chosen on the very image (Chambolle 2004)."""
    from skimage.restoration import denoise_tv_chambolle

    trained = run([*COMMAND, *arguments(tmp_path)], timeout=600)
    assert trained.returncode == 0, trained.stderr
    spec = load(SMOKE)
    protocol = spec.task_itself.protocol(spec.validation_setting)
    (pair,) = Validator(spec).pairs
    assert pair.name == "camera"
    classical = max(
        fidelity.psnr(
            protocol.prepare(denoise_tv_chambolle(pair.degraded[..., 0], weight=weight)[..., None]),
            protocol.prepare(pair.target),
        )
        for weight in np.arange(0.05, 0.16, 0.01)
    )
    card = json.loads((tmp_path / "smoke.json").read_text())["training"]
    assert card["validation"]["psnr_db"] > classical + 0.1
