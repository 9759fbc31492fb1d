"""Whole trainings, a second each: they learn, they end clearly, and they go on as if nothing had happened."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.catalogs import BACKENDS, MODELS
from harness.training.checkpoints import newest
from harness.training.loop import Diverged, Step, Training, share_of_peak
from harness.training.run import Begun, Event, Judged, Saved, Shipped, WrongFolder, train
from harness.training.spec import Optimiser, TrainingSpec
from semanir.checkpoints import restore
from semanir.weights import Card

Load = Callable[..., TrainingSpec]


class Stopped(Exception):
    """Ends a training from outside, where a test wants it."""


def events_of(spec: TrainingSpec, folder: Path, *, resume: bool = False, stop_at: int | None = None) -> list[Event]:
    seen: list[Event] = []

    def listen(event: Event) -> None:
        seen.append(event)
        if isinstance(event, Step) and event.number == stop_at:
            raise Stopped

    train(spec, folder, resume=resume, listener=listen)
    return seen


def digest(folder: Path) -> str:
    """Of everything that the last step left: weights, their average, moments."""
    return hashlib.sha256((folder / "checkpoints" / "step-00000012.safetensors").read_bytes()).hexdigest()


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Step)]


def test_training_lowers_the_loss_and_ships_weights_that_load_again(tiny: Load, tmp_path: Path) -> None:
    spec = tiny("steps=60", "validation.every=30")
    events = events_of(spec, tmp_path)
    assert np.mean(losses(events)[-10:]) < 0.8 * np.mean(losses(events)[:10])
    assert [type(event) for event in events[:2]] == [Begun, Step]
    assert [event.step for event in events if isinstance(event, Judged)] == [30, 60]
    assert isinstance(events[-1], Shipped)

    text = (tmp_path / "tiny.json").read_text()
    card = Card(**json.loads(text))
    assert (card.name, card.model, card.task, card.setting) == ("tiny", "semanir/nano", "denoise", "sigma=25")
    assert {"recipe", "data", "licence", "minutes", "machine", "commit", "validation"} <= card.training.keys()
    assert card.training["data"] == [
        {"name": "bundled", "images": 5, "excluded": ["camera.png"], "source": "photographs of scikit-image's wheel"}
    ]
    judged = [event.judgement for event in events if isinstance(event, Judged)][-1]
    assert card.training["validation"]["psnr_db"] == round(judged.mean_db, 3)  # type: ignore[index]
    assert str(tmp_path) not in text

    backend = BACKENDS["sdpa"]
    network = MODELS["semanir"].build(spec.request(8, 4), attend=backend.load(), forms=backend.needs)
    restore(network, tmp_path / "tiny.safetensors", sha256=card.sha256)
    found = newest(tmp_path / "checkpoints")
    assert found is not None
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, found[1][f"average.{name}"], atol=2e-3, rtol=2e-3)


def test_a_card_names_no_folder_of_this_machine(tiny: Load, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "holiday").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)).save(tmp_path / "holiday" / "a.png")
    events_of(tiny("steps=1", f"data=[{{folder: {tmp_path / 'holiday'}}}]"), tmp_path / "out")
    text = (tmp_path / "out" / "tiny.json").read_text()
    assert str(tmp_path) not in text
    assert json.loads(text)["training"]["recipe"]["data"][0]["folder"] == "holiday"


@pytest.mark.parametrize(("stop_at", "precision"), [(2, "32-true"), (7, "32-true"), (9, "bf16-mixed"), (12, "32-true")])
def test_a_training_that_was_stopped_ends_bit_for_bit_like_one_that_was_not(
    tiny: Load, tmp_path: Path, stop_at: int, precision: str
) -> None:
    spec = tiny(f"precision={precision}")
    whole = events_of(spec, tmp_path / "whole")
    with pytest.raises(Stopped):
        events_of(spec, tmp_path / "parts", stop_at=stop_at)
    rest = events_of(spec, tmp_path / "parts", resume=True)
    kept = (stop_at - 1) // 3 * 3
    assert isinstance(rest[0], Begun)
    assert rest[0].done == kept
    assert losses(rest) == losses(whole)[kept:]
    assert digest(tmp_path / "parts") == digest(tmp_path / "whole")
    cards = [json.loads((tmp_path / part / "tiny.json").read_text()) for part in ("whole", "parts")]
    assert cards[0]["sha256"] == cards[1]["sha256"]
    assert cards[0]["training"]["validation"] == cards[1]["training"]["validation"]


def test_a_training_that_is_done_writes_its_card_again(tiny: Load, tmp_path: Path) -> None:
    events_of(tiny(), tmp_path)
    before = (tmp_path / "tiny.safetensors").read_bytes()
    (tmp_path / "tiny.safetensors").unlink()
    again = events_of(tiny(), tmp_path, resume=True)
    assert losses(again) == []
    assert not any(isinstance(event, Saved) for event in again)
    assert (tmp_path / "tiny.safetensors").read_bytes() == before


def test_a_seed_decides_the_weights(tiny: Load, tmp_path: Path) -> None:
    first, again, other = (
        losses(events_of(tiny("steps=3", f"seed={seed}"), tmp_path / name))
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert first == again != other


def test_going_on_with_another_spec_is_refused_and_the_keys_are_named(tiny: Load, tmp_path: Path) -> None:
    events_of(tiny(), tmp_path)
    with pytest.raises(WrongFolder, match=r"holds a training of 12 of 12 steps; add --resume to go on"):
        events_of(tiny(), tmp_path)
    with pytest.raises(WrongFolder, match=r"by another spec.*\n  batch: 4 then, 8 now\n  optimiser\.learning_rate: "):
        events_of(tiny("batch=8", "optimiser.learning_rate=1e-4"), tmp_path, resume=True)


def test_a_folder_that_cannot_be_made_is_said_before_the_first_step(tiny: Load, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WrongFolder, match=r"file/out: cannot be made \(Not a directory\); choose another --out"):
        events_of(tiny(), tmp_path / "file" / "out")


def test_going_on_with_other_images_is_refused_and_the_source_is_named(tiny: Load, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "holiday"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (2, 40, 40), np.uint8)
    Image.fromarray(noise[0]).save(folder / "a.png")
    spec = tiny("steps=3", f"data=[{{folder: {folder}}}]")
    events_of(spec, tmp_path / "out")
    Image.fromarray(noise[1]).save(folder / "b.png")
    with pytest.raises(WrongFolder, match=r"the images of holiday have changed since"):
        events_of(spec, tmp_path / "out", resume=True)


def test_a_loss_that_is_no_number_ends_the_training_and_the_last_good_checkpoint_stays(
    tiny: Load, tmp_path: Path
) -> None:
    spec = tiny("optimiser={learning_rate: 1e15, warmup: 0}", "checkpoint_every=1", "steps=30", "validation.every=99")
    with pytest.raises(Diverged, match=r"step \d+: the (loss|gradient) is (nan|inf); lower optimiser\.learning_rate"):
        events_of(spec, tmp_path)
    found = newest(tmp_path / "checkpoints")
    assert found is not None
    with pytest.raises(Diverged, match=rf"step {found[0].step + 1}: "):
        events_of(spec, tmp_path, resume=True)


def test_the_learning_rate_warms_up_and_ends_at_its_floor() -> None:
    optimiser = Optimiser(warmup=0.1, floor=0.01)
    shares = [share_of_peak(step, 100, optimiser) for step in range(100)]
    assert shares[0] == pytest.approx(1 / 11)
    assert max(shares) == shares[10] == 1
    assert all(later < earlier for earlier, later in itertools.pairwise(shares[10:]))
    assert shares[-1] == pytest.approx(0.01, abs=1e-3)


def test_every_step_runs_with_the_window_and_the_k_that_were_drawn(tiny: Load) -> None:
    from harness.training import data, devices

    spec = tiny()
    training = Training(spec, devices.connect(spec.precision))
    patches = data.Patches(spec, [data.read(source, pairs=False) for source in spec.data])
    for step in range(6):
        training.advance(lambda step: patches.batch(step, range(4)))
        drawn = data.draws(spec, step)
        assert (training.network.window, training.network.top_k) == (drawn.window, drawn.top_k)


def test_a_network_without_a_dictionary_trains_too(tiny: Load, tmp_path: Path) -> None:
    spec = tiny("model=dncnn/S", "backend=none", "windows=[]", "steps=2", "patch=8")
    assert isinstance(events_of(spec, tmp_path)[-1], Shipped)
    assert json.loads((tmp_path / "tiny.json").read_text())["training"]["validation"]["top_k"] is None
